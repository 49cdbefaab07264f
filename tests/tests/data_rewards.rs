//! Rows of published data sets under the rewards: the value of one trajectory, computed by hand, for
//! each format and reward, and a training step on the rows as they are published.

use std::path::{Path, PathBuf};

use forage_tests::{RUN_FILE, Scratch};
use forage_training::record::GroupRecord;
use forage_trajectory::{
    Group, Hit, Origin, Outcome, Passage, Question, Search, SegmentKind, Trajectory,
};
use serde_json::Value;

/// Rewards of the table, in the order of its columns.
const REWARDS: [&str; 5] =
    ["exact-match", "token-f1", "entity-match", "retrieval-recall", "step-search"];

/// A row: file, number of the question, values of the rewards, and the step reward of the search.
type Expected = (&'static str, usize, [Option<f64>; 5], Option<f64>);

/// The trajectory thinks of Velmora, searches for `Tarnmoor seat`, finds the first gold passage
/// (where there is none, a page about nothing of it), and answers `Velmora Osk`.
///
/// - exact match: no golden answer is `Velmora Osk`.
/// - token F1 against `Osk`: precision 1/2, recall 1, so 2/3; `River Osk` would be 1/2.
/// - entity-match, a group of one: `Velmora` is thought of, so the bonus is α = 0.3 of a wrong
///   answer; without entities 0.
/// - retrieval-recall: one of two gold passages, or of one.
/// - step-search: F1 + 0.618 · key. Only `StepSearch`'s own rows have reference queries: F1 of the
///   query with `seat of Tarnmoor` is 0.8, with the queries of the second sub-question 0, so the key
///   is 0.4.
/// - Its step: the gain is (1 + c) / 2, with the cosine c of the found passage and the other gold
///   passage. Of the words of the two, in the three documents, only `velmora` is shared: idf 1. The
///   found one has `is` twice, four words once, all with idf ln(4/3) + 1 = 1.287682, and `velmora`:
///   its square is 14.265000. The other one has seven words with idf ln 2 + 1 = 1.693147 and
///   `velmora`: 21.067229. So c = 1 / sqrt(14.265000 · 21.067229) = 0.057685.
const TABLE: [Expected; 10] = [
    ("musique", 0, [Some(0.0), Some(2.0 / 3.0), Some(0.3), Some(0.5), Some(2.0 / 3.0)], GAIN),
    ("flashrag", 0, [Some(0.0), Some(2.0 / 3.0), Some(0.3), Some(0.5), Some(2.0 / 3.0)], GAIN),
    (
        "2wikimultihopqa",
        0,
        [Some(0.0), Some(2.0 / 3.0), Some(0.3), Some(0.5), Some(2.0 / 3.0)],
        GAIN,
    ),
    ("hotpotqa", 0, [Some(0.0), Some(2.0 / 3.0), Some(0.3), Some(0.5), Some(2.0 / 3.0)], GAIN),
    ("search-r1", 1, [Some(0.0), Some(2.0 / 3.0), Some(0.3), Some(0.5), Some(2.0 / 3.0)], GAIN),
    (
        "stepsearch",
        0,
        [Some(0.0), Some(2.0 / 3.0), Some(0.3), Some(0.5), Some(2.0 / 3.0 + 0.618 * 0.4)],
        GAIN,
    ),
    ("nq", 0, [Some(0.0), Some(0.0), Some(0.0), Some(1.0), Some(0.0)], Some(1.0)),
    ("verl", 0, [Some(0.0), Some(2.0 / 3.0), Some(0.0), None, None], None),
    ("triviaqa", 0, [Some(0.0), Some(2.0 / 3.0), Some(0.0), None, None], None),
    ("popqa", 0, [Some(0.0), Some(0.0), Some(0.0), None, None], None),
];

const GAIN: Option<f64> = Some(0.528_842);

/// Rows of a data set as parquet.
fn rows(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/rows/{name}.parquet"))
}

fn say(trajectory: &mut Trajectory, kind: SegmentKind, tag: &str, content: &str) {
    let text = format!("<{tag}> {content} </{tag}>");
    let start = trajectory.tokens.len();
    trajectory.push_sampled(&[7; 4], &[-0.3; 4]);
    trajectory.tag(kind, &text, start..start + 4, Some(content));
}

/// The trajectory of the table.
fn trajectory(question: &Question) -> Trajectory {
    let mut it = Trajectory::new(&question.id, 0);
    it.push_given(Origin::Prompt, SegmentKind::Prompt, &question.text, &[9; 6]);
    say(&mut it, SegmentKind::Think, "think", "The seat is Velmora.");
    say(&mut it, SegmentKind::Search, "search", "Tarnmoor seat");
    let other = Passage { id: "other".into(), title: "Ulm".into(), text: "Ulm is far.".into() };
    let Passage { id, title, text } = question.evidence.passages.first().cloned().unwrap_or(other);
    let segment = it.segments.len() - 1;
    let page = format!("<information> {text} </information>");
    let hits = vec![Hit { id, title, text, score: 1.0 }];
    it.searches.push(Search { query: "Tarnmoor seat".into(), hits, segment, failure: None });
    it.push_given(Origin::Environment, SegmentKind::Information, &page, &[9; 8]);
    say(&mut it, SegmentKind::Answer, "answer", "Velmora Osk");
    it.outcome = Outcome::Answered;
    it
}

#[test]
fn every_format_and_reward_has_the_value_computed_by_hand() {
    let scratch = Scratch::new();
    let mut records = String::new();
    for (name, nth, _, _) in TABLE {
        let out = format!("{name}.jsonl");
        let path = rows(name).display().to_string();
        scratch.forage(["data", &path, "--out", &out]).done();
        let question: Question =
            serde_json::from_str(scratch.read(&out).lines().nth(nth).unwrap()).unwrap();
        let group = Group { trajectories: vec![trajectory(&question)], question };
        let record = GroupRecord { step: 0, split: "train".into(), group, grades: Vec::new() };
        records.push_str(&serde_json::to_string(&record).unwrap());
        records.push('\n');
    }
    scratch.write("groups.jsonl", records);
    for (column, reward) in REWARDS.into_iter().enumerate() {
        let replayed =
            scratch.forage(["reward", "replay", reward, "groups.jsonl", "--json"]).done();
        let grades: Vec<Value> = replayed
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["grade"].clone())
            .collect();
        assert_eq!(grades.len(), TABLE.len());
        for ((name, _, expected, step), grade) in TABLE.iter().zip(grades) {
            let found = grade["scored"]["reward"].as_f64();
            assert!(close(found, expected[column]), "{reward} on {name}: {grade}");
            if reward == "step-search" {
                let found = grade["scored"]["steps"][0].as_f64();
                assert!(close(found, *step), "step of {reward} on {name}: {grade}");
            }
        }
    }
}

fn close(found: Option<f64>, expected: Option<f64>) -> bool {
    match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() < 2e-6,
        (found, expected) => found == expected,
    }
}

#[test]
fn a_step_is_trained_on_rows_as_they_are_published() {
    let scratch = Scratch::ready();
    let musique = rows("musique").display().to_string();
    let corpus = ["--out", "q.jsonl", "--corpus", "corpus.jsonl"];
    scratch.forage([&["data", &musique], &corpus[..]].concat()).done();
    scratch.forage(["index", "--corpus", "corpus.jsonl", "--out", "index"]).done();
    for (name, nth, expected, _) in TABLE {
        let path = rows(name).display().to_string();
        let run_file = run_file(&path, &expected);
        scratch.write("run.toml", run_file);
        let checked = scratch.forage(["check", "run.toml"]).done();
        for (reward, _) in REWARDS.iter().zip(expected).filter(|(_, value)| value.is_some()) {
            let applies = format!("reward {reward} applies to ");
            assert!(checked.stdout.contains(&applies), "{name}: {}", checked.stdout);
        }
        let folder = format!("run-{name}");
        scratch.forage(["train", "run.toml", "--out", &folder]).done();
        let row = scratch.rows(&format!("{folder}/metrics.jsonl")).pop().unwrap();
        assert_eq!(row["step"], 1, "{name}");
        assert!(row["reward/mean"].is_number(), "{name}: {row}");
        // Search-R1's first row has no evidence, so that some rewards apply to one of two.
        let is_whole = row.get("reward/not_applicable").is_none();
        assert!(is_whole || nth > 0, "{name}: {row}");
    }
}

/// Run file over the rows, with the rewards that apply to them.
fn run_file(path: &str, expected: &[Option<f64>; 5]) -> String {
    let begin = RUN_FILE.find("[world]").unwrap();
    let rollout = RUN_FILE.find("[rollout]").unwrap();
    let reward = RUN_FILE.find("[reward.format]").unwrap();
    let optimizer = RUN_FILE.find("[optimizer]").unwrap();
    let rewards = REWARDS.iter().zip(expected).filter(|(_, value)| value.is_some());
    let sections = rewards.map(|(name, _)| format!("[reward.{name}]\nplugin = \"{name}\"\n\n"));
    let rewards = sections.collect::<Vec<_>>().concat();
    let text = format!(
        "{}[data]\ntrain = '{path}'\ndev = '{path}'\ntest = '{path}'\n\n[retriever]\nindex = \
         'index'\n\n{}{rewards}{}",
        &RUN_FILE[..begin],
        &RUN_FILE[rollout..reward],
        &RUN_FILE[optimizer..],
    );
    text.replace("steps = 8", "steps = 1")
        .replace("questions_per_step = 2", "questions_per_step = 1")
}
