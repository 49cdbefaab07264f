//! Question files: JSON lines, with the keys of the published data sets.
//!
//! | key | read as |
//! |---|---|
//! | `id`, `_id` | id, a text or a number. Default: the line number |
//! | `question`, `text` | question |
//! | `golden_answers`, `answer`, `answers`, `answer_aliases` | golden answers, each a text or a list of texts |
//! | `evidence` | evidence, in our own format |
//! | `type` | shape of the evidence (`HotpotQA`) |
//! | `supporting_facts` | its titles are the entities of the evidence (`HotpotQA`) |
//! | `decomposition`, `question_decomposition` | steps of the evidence; `#1` becomes the answer of step 1 (`MuSiQue`) |
//! | `gold_pids` | ids of the gold passages |
//!
//! The first four lines are enough for Search-R1, `FlashRAG` and this program's own files. Other
//! keys are ignored.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use forage_trajectory::{Evidence, EvidenceStep, Passage, Question};
use serde::Deserialize;

use crate::exit_code::{Code, Failure};

/// Line of a question file, in any of the formats.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    #[serde(alias = "_id")]
    id: Option<Id>,
    #[serde(alias = "question")]
    text: String,
    golden_answers: Texts,
    #[serde(alias = "answers")]
    answer: Texts,
    answer_aliases: Texts,
    evidence: Option<Evidence>,
    r#type: String,
    supporting_facts: SupportingFacts,
    #[serde(alias = "question_decomposition")]
    decomposition: Vec<Step>,
    gold_pids: Vec<Id>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "an id is a text or a number")]
enum Id {
    Text(String),
    Number(serde_json::Number),
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "answers are a text or a list of texts")]
enum Texts {
    One(String),
    Many(Vec<String>),
}

/// `[[title, sentence], …]` of the original files, or `{"title": […]}` of their copies in tables.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "supporting facts are [[title, sentence], …]")]
enum SupportingFacts {
    Pairs(Vec<(String, serde_json::Value)>),
    Columns { title: Vec<String> },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Step {
    question: String,
    answer: String,
    gold_pid: Option<Id>,
}

/// Reads a question file. Every question must have a text, an answer, and a unique id.
pub fn read_questions(path: &Path) -> Result<Vec<Question>> {
    let shown = path.display();
    let failure = || {
        Failure::new(Code::Input, format!("cannot use the question file `{shown}`"))
            .hint("a line is {\"id\": \"1\", \"question\": \"…\", \"golden_answers\": [\"…\"]}")
    };
    let text = std::fs::read_to_string(path).with_context(failure)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut questions: Vec<Question> = Vec::new();
    let mut ids = HashSet::new();
    for (idx, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let question = question(line, idx + 1, &mut ids)
            .with_context(|| format!("{shown}:{}", idx + 1))
            .with_context(failure)?;
        questions.push(question);
    }
    if questions.is_empty() {
        return Err(anyhow!("it holds no question")).with_context(failure);
    }
    Ok(questions)
}

fn question(line: &str, number: usize, ids: &mut HashSet<String>) -> Result<Question> {
    let row: Row = serde_json::from_str(line).context("not a question in JSON")?;
    ensure!(!row.text.trim().is_empty(), "the question has no text");
    let mut golden_answers: Vec<String> = Vec::new();
    for answer in
        [row.golden_answers, row.answer, row.answer_aliases].into_iter().flat_map(Texts::list)
    {
        if !answer.trim().is_empty() && !golden_answers.contains(&answer) {
            golden_answers.push(answer);
        }
    }
    ensure!(!golden_answers.is_empty(), "the question has no answer");
    let id = row.id.map(Id::text).filter(|it| !it.is_empty()).unwrap_or_else(|| number.to_string());
    ensure!(ids.insert(id.clone()), "the id `{id}` is taken");
    let evidence = row.evidence.unwrap_or_else(|| Evidence {
        shape: row.r#type,
        entities: row.supporting_facts.titles(),
        steps: steps(row.decomposition),
        passages: row
            .gold_pids
            .into_iter()
            .map(|id| Passage { id: id.text(), ..Passage::default() })
            .collect(),
        ..Evidence::default()
    });
    Ok(Question { id, text: row.text, golden_answers, evidence, ..Question::default() })
}

/// Steps of a decomposition, with the answers of earlier steps inserted.
fn steps(decomposition: Vec<Step>) -> Vec<EvidenceStep> {
    let mut steps: Vec<EvidenceStep> = Vec::with_capacity(decomposition.len());
    for step in decomposition {
        let mut question = step.question;
        for (idx, before) in steps.iter().enumerate() {
            question = question.replace(&format!("#{}", idx + 1), &before.answer);
        }
        steps.push(EvidenceStep {
            question,
            answer: step.answer,
            queries: Vec::new(),
            passage_ids: step.gold_pid.map(Id::text).into_iter().collect(),
        });
    }
    steps
}

impl Id {
    fn text(self) -> String {
        match self {
            Self::Text(it) => it,
            Self::Number(it) => it.to_string(),
        }
    }
}

impl Default for Texts {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Texts {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(it) => vec![it],
            Self::Many(them) => them,
        }
    }
}

impl Default for SupportingFacts {
    fn default() -> Self {
        Self::Pairs(Vec::new())
    }
}

impl SupportingFacts {
    /// Each title once, in order.
    fn titles(self) -> Vec<String> {
        let all: Vec<String> = match self {
            Self::Pairs(pairs) => pairs.into_iter().map(|it| it.0).collect(),
            Self::Columns { title } => title,
        };
        let mut seen = HashSet::new();
        all.into_iter().filter(|title| seen.insert(title.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Question>> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        read_questions(file.path())
    }

    #[test]
    fn shapes_that_people_have() {
        // The line; its id, its answers, its hops.
        let table: [(&str, &str, &[&str], Option<usize>); 8] = [
            (r#"{"id": "a", "text": "who?", "golden_answers": ["x"]}"#, "a", &["x"], None),
            (
                r#"{"id": "test_0", "question": "who?", "golden_answers": ["x", "y"]}"#,
                "test_0",
                &["x", "y"],
                None,
            ),
            (r#"{"question": "who?", "golden_answers": "x"}"#, "1", &["x"], None),
            (r#"{"id": 7, "question": "who?", "answers": ["x", "x", " "]}"#, "7", &["x"], None),
            (
                r#"{"_id": "5a", "question": "who?", "answer": "x", "type": "bridge", "level": "hard", "supporting_facts": [["A", 0], ["A", 2], ["B", 1]], "context": []}"#,
                "5a",
                &["x"],
                None,
            ),
            (
                r#"{"id": "5b", "question": "who?", "answer": "x", "supporting_facts": {"title": ["A", "B"], "sent_id": [0, 1]}}"#,
                "5b",
                &["x"],
                None,
            ),
            (
                r##"{"id": "2hop", "question": "who?", "answer": "y", "answer_aliases": ["Y."], "decomposition": [{"question": "of?", "answer": "x", "gold_pid": 17}, {"question": "#1 >> follows", "answer": "y", "gold_pid": 8}], "gold_pids": [8, 17]}"##,
                "2hop",
                &["y", "Y."],
                Some(2),
            ),
            (
                r#"{"id": "3hop", "question": "who?", "answer": "y", "question_decomposition": [{"id": 4, "question": "of?", "answer": "x", "paragraph_support_idx": 3}]}"#,
                "3hop",
                &["y"],
                Some(1),
            ),
        ];
        for (line, id, answers, hops) in table {
            let found = read(line).unwrap().remove(0);
            assert_eq!((found.text.as_str(), found.id.as_str()), ("who?", id), "{line}");
            assert_eq!(found.golden_answers, answers, "{line}");
            assert_eq!(found.hops(), hops, "{line}");
        }
    }

    #[test]
    fn evidence_of_published_sets() {
        let hotpot = r#"{"id": "5a", "question": "who?", "answer": "x", "type": "bridge", "supporting_facts": [["A", 0], ["A", 2], ["B", 1]], "gold_pids": [5, 7]}"#;
        let evidence = read(hotpot).unwrap().remove(0).evidence;
        assert_eq!(
            (evidence.shape.as_str(), evidence.entities),
            ("bridge", vec!["A".into(), "B".into()])
        );
        let ids: Vec<&str> = evidence.passages.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, ["5", "7"]);

        let musique = r##"{"id": "2hop", "question": "who?", "answer": "y", "decomposition": [{"question": "of?", "answer": "x", "gold_pid": 17}, {"question": "#1 >> follows", "answer": "y", "gold_pid": 8}]}"##;
        let steps = read(musique).unwrap().remove(0).evidence.steps;
        assert_eq!(steps[1].question, "x >> follows");
        assert_eq!(steps[1].passage_ids, ["8"]);
    }

    #[test]
    fn our_own_questions_are_read_back() {
        let step =
            EvidenceStep { question: "of?".into(), answer: "x".into(), ..Default::default() };
        let question = Question {
            id: "q-1".into(),
            text: "who?".into(),
            golden_answers: vec!["y".into()],
            evidence: Evidence { shape: "bridge".into(), steps: vec![step], ..Default::default() },
            ..Default::default()
        };
        let line = serde_json::to_string(&question).unwrap();
        assert_eq!(read(&format!("\u{feff}{line}\n\n")).unwrap(), [question]);
    }

    #[test]
    fn bad_lines_are_named() {
        let good = r#"{"id": "1", "question": "who?", "answer": "x"}"#;
        for (line, expected) in [
            ("{", "not a question in JSON"),
            (r#"{"id": [1], "question": "who?"}"#, "an id is a text or a number"),
            (r#"{"question": "who?", "answer": 4}"#, "answers are a text or a list of texts"),
            (r#"{"id": "2", "answer": "x"}"#, "the question has no text"),
            (
                r#"{"id": "2", "question": "who?", "golden_answers": [""]}"#,
                "the question has no answer",
            ),
            (good, "the id `1` is taken"),
        ] {
            let error = format!("{:#}", read(&format!("{good}\n{line}\n")).unwrap_err());
            assert!(error.contains(":2: ") && error.contains(expected), "{error}");
        }
        let error = format!("{:#}", read("\n\n").unwrap_err());
        assert!(error.contains("it holds no question"), "{error}");
    }
}
