//! Files of published data sets, made by `tests/oracles/dataset_rows.py`, as JSON lines and parquet.

use std::path::PathBuf;

use forage_dataset::{Format, Ids, Questions, ReadOptions, ReadRow, read_questions};
use forage_trajectory::Question;

const QUESTION: &str = "Which river flows by the seat of Tarnmoor?";
const TARNMOOR: &str = "Tarnmoor is a county. Its seat is Velmora.";
const VELMORA: &str = "Velmora lies on the Osk. It has 4,100 people.";

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/rows").join(name)
}

fn rows(name: &str) -> Vec<ReadRow> {
    let rows = Questions::open([path(name)], ReadOptions::default()).unwrap();
    rows.map(|row| row.unwrap()).collect()
}

/// Question, answer, queries, and titles of the passages of a step.
type Step = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

/// What is expected of a row of a file.
struct Expected {
    file: &'static str,
    row: usize,
    format: Format,
    id: &'static str,
    source: &'static str,
    question: &'static str,
    answers: &'static [&'static str],
    shape: &'static str,
    entities: &'static [&'static str],
    steps:
        &'static [(&'static str, &'static str, &'static [&'static str], &'static [&'static str])],
    /// Title and text of each gold passage.
    gold: &'static [(&'static str, &'static str)],
    n_passages: usize,
}

const GOLD: &[(&str, &str)] = &[("Tarnmoor", TARNMOOR), ("Velmora", VELMORA)];
const BASE: Expected = Expected {
    file: "",
    row: 0,
    format: Format::Plain,
    id: "",
    source: "",
    question: QUESTION,
    answers: &["Osk", "River Osk"],
    shape: "",
    // The question names Tarnmoor, and the Osk is the answer.
    entities: &["Velmora"],
    steps: &[],
    gold: GOLD,
    n_passages: 3,
};

const STEPS: [Step; 2] = [
    ("Tarnmoor >> seat", "Velmora", &[], &["Tarnmoor"]),
    ("Which river does Velmora lie on?", "Osk", &[], &["Velmora"]),
];

const TABLE: &[Expected] = &[
    Expected { file: "musique", format: Format::MuSiQue, id: "2hop__11_12", steps: &STEPS, ..BASE },
    Expected {
        file: "flashrag",
        format: Format::FlashRag,
        id: "train_3",
        steps: &STEPS,
        n_passages: 2,
        ..BASE
    },
    Expected {
        file: "hotpotqa",
        format: Format::HotpotQa,
        id: "5a01",
        answers: &["Osk"],
        shape: "bridge",
        ..BASE
    },
    Expected {
        file: "hotpotqa",
        row: 1,
        format: Format::HotpotQa,
        id: "5a02",
        question: "Is Halvik older than Velmora?",
        answers: &["no"],
        shape: "comparison",
        // The question names both titles, one of them without `(port)`.
        entities: &[],
        gold: &[
            ("Halvik (port)", "Halvik is a port in Tarnmoor. It has 900 people."),
            ("Velmora", VELMORA),
        ],
        ..BASE
    },
    Expected {
        file: "2wikimultihopqa",
        format: Format::TwoWiki,
        id: "13f5",
        answers: &["Osk"],
        shape: "compositional",
        steps: &[
            ("Tarnmoor >> seat", "Velmora", &[], &["Tarnmoor"]),
            ("Velmora >> river", "Osk", &[], &["Velmora"]),
        ],
        ..BASE
    },
    Expected {
        file: "search-r1",
        format: Format::SearchR1,
        id: "train_0",
        source: "nq",
        question: "who built the port of halvik?",
        answers: &["Ada Vell"],
        entities: &[],
        gold: &[],
        n_passages: 0,
        ..BASE
    },
    Expected {
        file: "search-r1",
        row: 1,
        format: Format::SearchR1,
        id: "hotpotqa/train_0",
        source: "hotpotqa",
        answers: &["Osk"],
        shape: "bridge",
        ..BASE
    },
    Expected {
        file: "verl",
        format: Format::Verl,
        id: "train_7",
        source: "searchR1_nq",
        entities: &[],
        gold: &[],
        n_passages: 0,
        ..BASE
    },
    Expected {
        file: "stepsearch",
        format: Format::StepSearch,
        id: "musi_test_0",
        source: "musi",
        steps: &[
            ("", "", &["seat of Tarnmoor", "Tarnmoor county seat"], &["Tarnmoor"]),
            ("", "", &["river at Velmora", "Velmora river"], &["Velmora"]),
        ],
        n_passages: 2,
        ..BASE
    },
    Expected {
        file: "nq",
        format: Format::NaturalQuestions,
        id: "1",
        source: "nq_train_psgs_w100",
        question: "who built the port of halvik",
        answers: &["Ada Vell", "Vell"],
        entities: &[],
        gold: &[("Ada Vell", "Ada Vell built the port of Halvik.")],
        n_passages: 4,
        ..BASE
    },
    Expected {
        file: "triviaqa",
        format: Format::TriviaQa,
        id: "tc_1",
        question: "Which river flows by Velmora?",
        entities: &[],
        gold: &[],
        n_passages: 0,
        ..BASE
    },
    Expected {
        file: "popqa",
        format: Format::PopQa,
        id: "4222362",
        question: "What is Ada Vell's occupation?",
        answers: &["engineer", "builder", "engr."],
        entities: &[],
        gold: &[],
        n_passages: 0,
        ..BASE
    },
];

#[test]
fn each_format_as_json_and_as_parquet() {
    for expected in TABLE {
        for suffix in ["jsonl", "parquet"] {
            let name = format!("{}.{suffix}", expected.file);
            check(&name, expected, &rows(&name)[expected.row]);
        }
    }
}

fn check(name: &str, expected: &Expected, read: &ReadRow) {
    let Question { id, text, golden_answers, evidence, source } = &read.question;
    assert_eq!(read.format, expected.format, "{name}");
    assert_eq!((id.as_str(), source.as_str()), (expected.id, expected.source), "{name}");
    assert_eq!(text, expected.question, "{name}");
    assert_eq!(golden_answers, expected.answers, "{name}");
    assert_eq!(evidence.shape, expected.shape, "{name}");
    assert_eq!(evidence.entities, expected.entities, "{name}");
    let gold: Vec<(&str, &str)> =
        evidence.passages.iter().map(|it| (it.title.as_str(), it.text.as_str())).collect();
    assert_eq!(gold, expected.gold, "{name}");
    assert_eq!(read.passages.len(), expected.n_passages, "{name}");
    assert!(evidence.passages.iter().all(|it| read.passages.contains(it)), "{name}");
    let title = |id: &String| {
        read.passages.iter().find(|passage| passage.id == *id).map(|passage| passage.title.as_str())
    };
    assert_eq!(evidence.steps.len(), expected.steps.len(), "{name}");
    for (step, (question, answer, queries, titles)) in evidence.steps.iter().zip(expected.steps) {
        assert_eq!((step.question.as_str(), step.answer.as_str()), (*question, *answer), "{name}");
        assert_eq!(step.queries, *queries, "{name}");
        let of_step: Vec<&str> = step.passage_ids.iter().map(|id| title(id).unwrap()).collect();
        assert_eq!(of_step, *titles, "{name}");
    }
}

#[test]
fn a_passage_has_one_id_in_every_data_set_that_has_it() {
    let id = |name: &str| rows(name)[0].question.evidence.passages[1].id.clone();
    let names = ["musique.jsonl", "flashrag.jsonl", "hotpotqa.parquet", "2wikimultihopqa.jsonl"];
    for name in names {
        assert_eq!(id(name), id("stepsearch.parquet"), "{name}");
    }
    assert!(id("musique.jsonl").starts_with("Velmora#"));
    assert_eq!(rows("nq.jsonl")[0].question.evidence.passages[0].id, "311");
}

#[test]
fn ids_with_their_source() {
    let options = ReadOptions { ids: Ids::WithSource, ..ReadOptions::default() };
    let files =
        ["search-r1.parquet", "musique.jsonl", "popqa.parquet", "nq.jsonl", "musique.parquet"];
    let (questions, report) = read_questions(files.map(path), options).unwrap();
    let ids: Vec<&str> = questions.iter().map(|it| it.id.as_str()).collect();
    let expected = [
        "nq/train_0",
        "hotpotqa/train_0",
        "musique/2hop__11_12",
        "popqa/4222362",
        "nq_train_psgs_w100/1",
        "musique/2hop__11_12#2",
    ];
    assert_eq!(ids, expected);
    assert_eq!((report.n_questions(), report.refused, report.repeated_ids), (6, 0, 1));
    assert_eq!(report.formats[&Format::MuSiQue], 2);
    assert_eq!(report.sources["hotpotqa"], 1);
}

#[test]
fn rows_of_one_line_are_numbered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.json");
    let row = |text: &str| format!("{{\"question\": \"{text}\", \"answer\": \"x\"}}");
    std::fs::write(&path, format!("[{}, {}, {}]", row("a"), row("b"), row("c"))).unwrap();
    let (questions, report) = read_questions([path], ReadOptions::default()).unwrap();
    let ids: Vec<&str> = questions.iter().map(|it| it.id.as_str()).collect();
    assert_eq!((ids, report.repeated_ids), (vec!["1", "2", "3"], 0));
}

#[test]
fn a_bad_row_is_named_and_the_next_one_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.jsonl");
    let text = "{\"question\": \"a?\", \"answer\": \"x\"}\n{\"question\": \"b?\"}\n{\n\
                {\"question\": \"c?\", \"answer\": \"z\"}\n";
    std::fs::write(&path, text).unwrap();
    let mut rows = Questions::open([path], ReadOptions::default()).unwrap();
    let all: Vec<_> = rows.by_ref().collect();
    let errors: Vec<_> = all.iter().filter_map(|row| row.as_ref().err()).collect();
    assert!(errors.iter().all(|error| error.is_bad_row()), "{errors:?}");
    let first = errors[0].to_string();
    assert!(first.contains("q.jsonl:2: the question has no answer: the row has"), "{first}");
    assert!(errors[0].hint().is_some());
    assert_eq!(all.len(), 4, "{all:?}");
    assert_eq!(all[3].as_ref().unwrap().question.id, "4");
    assert_eq!((rows.report().n_questions(), rows.report().refused), (2, 2));
}

#[test]
fn a_file_without_a_question_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.jsonl");
    std::fs::write(&path, "\n\n").unwrap();
    let error = read_questions([path], ReadOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "it holds no question");
}
