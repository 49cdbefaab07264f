//! TREC formats: runs, relevance judgements (qrels) and topics.
//!
//! | what | a line, or an entry |
//! |---|---|
//! | run | `topic Q0 passage rank score tag`; order and rank are not read, only the score is |
//! | judgements (qrels) | `topic 0 passage relevance` |
//! | topics | `topic<tab>query`; JSON lines with `id` and `question` or `query`; `<top>` entries of TREC; `<DOC>` entries as CACM has them |

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use forage_trajectory::Hit;
use serde::Deserialize;

/// Relevance judgements: relevance by passage, by topic. 0 and less is not relevant.
pub type Qrels = BTreeMap<String, BTreeMap<String, i64>>;

/// TREC run: the hits of a search engine with their scores, by topic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrecRun {
    /// Passages and their scores, by topic, in no order.
    pub topics: BTreeMap<String, Vec<(String, f32)>>,
}

/// TREC topic: a query with an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrecTopic {
    /// Id in runs and judgements.
    pub id: String,
    /// Query.
    pub query: String,
}

/// Unreadable TREC file.
#[derive(Debug, thiserror::Error)]
pub enum TrecError {
    /// File that cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Line in another format.
    #[error("{}:{line}: {what}", path.display())]
    Line {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Fault, in words.
        what: String,
    },
    /// File without an entry.
    #[error("`{}` has no {what}", path.display())]
    Empty {
        /// File.
        path: PathBuf,
        /// Entries that it should have.
        what: &'static str,
    },
}

impl TrecRun {
    /// Reads a run file. Scores are `f32`, as in `trec_eval`.
    pub fn read(path: &Path) -> Result<Self, TrecError> {
        let mut run = Self::default();
        let mut seen = HashSet::new();
        each_line(path, |line| {
            let [topic, _, passage, _, score, _] = columns(line)?;
            let score: f64 = score.parse().map_err(|_| format!("`{score}` is no score"))?;
            if score.is_nan() {
                return Err("the score is not a number".to_owned());
            }
            if !seen.insert((topic.to_owned(), passage.to_owned())) {
                return Err(format!("topic `{topic}` has `{passage}` twice"));
            }
            let found = run.topics.entry(topic.to_owned()).or_default();
            found.push((passage.to_owned(), score as f32));
            Ok(())
        })?;
        if run.topics.is_empty() {
            return Err(TrecError::Empty { path: path.to_owned(), what: "results" });
        }
        Ok(run)
    }

    /// Adds the hits of a topic. A topic without hits is not in a run.
    pub fn add(&mut self, topic: &str, hits: &[Hit]) {
        if !hits.is_empty() {
            let found = hits.iter().map(|hit| (hit.id.clone(), hit.score)).collect();
            self.topics.insert(topic.to_owned(), found);
        }
    }

    /// Text of the run file, ranked as it is evaluated.
    pub fn to_text(&self, tag: &str) -> String {
        let mut text = String::new();
        for (topic, found) in &self.topics {
            for (rank, (passage, score)) in ranked(found).into_iter().enumerate() {
                // As many digits as bring the same number back.
                let written = writeln!(text, "{topic} Q0 {passage} {} {score} {tag}", rank + 1);
                written.expect("a string takes everything");
            }
        }
        text
    }
}

/// Ranking in the order of `trec_eval`: higher scores first, equal ones by passage, descending.
pub(crate) fn ranked(found: &[(String, f32)]) -> Vec<(&str, f32)> {
    let mut ranking: Vec<(&str, f32)> =
        found.iter().map(|(passage, score)| (passage.as_str(), *score)).collect();
    // -0 and 0 are equal there; scores are never NaN.
    ranking.sort_by(|left, right| {
        right.1.partial_cmp(&left.1).expect("scores are numbers").then(right.0.cmp(left.0))
    });
    ranking
}

/// Reads relevance judgements.
pub fn read_qrels(path: &Path) -> Result<Qrels, TrecError> {
    let mut qrels = Qrels::new();
    each_line(path, |line| {
        let [topic, _, passage, relevance] = columns(line)?;
        let relevance =
            relevance.parse().map_err(|_| format!("`{relevance}` is no whole number"))?;
        let judged = qrels.entry(topic.to_owned()).or_default();
        if judged.insert(passage.to_owned(), relevance).is_some() {
            return Err(format!("topic `{topic}` judges `{passage}` twice"));
        }
        Ok(())
    })?;
    if qrels.is_empty() {
        return Err(TrecError::Empty { path: path.to_owned(), what: "judgements" });
    }
    Ok(qrels)
}

/// Reads topics in any of the formats above.
pub fn read_topics(path: &Path) -> Result<Vec<TrecTopic>, TrecError> {
    let read = |source| TrecError::Read { path: path.to_owned(), source };
    let text = fs::read(path).map_err(read)?;
    let text = String::from_utf8_lossy(&text);
    let topics = if text.contains("<top>") {
        text.split("<top>").skip(1).filter_map(classic_topic).collect()
    } else if text.contains("<DOCNO>") {
        text.split("<DOCNO>").skip(1).filter_map(document_topic).collect()
    } else {
        let mut topics = Vec::new();
        each_line(path, |line| {
            topics.push(if line.starts_with('{') { json_topic(line)? } else { tsv_topic(line)? });
            Ok(())
        })?;
        topics
    };
    if topics.is_empty() {
        return Err(TrecError::Empty { path: path.to_owned(), what: "topics" });
    }
    Ok(topics)
}

/// Topic of TREC: `<num> Number: 301 <title> International Organized Crime <desc> …`
fn classic_topic(entry: &str) -> Option<TrecTopic> {
    let field = |name: &str| {
        let value = entry.split_once(name)?.1;
        Some(value.split_once('<').map_or(value, |it| it.0).trim())
    };
    let id = field("<num>")?;
    let id = id.strip_prefix("Number:").unwrap_or(id).trim();
    let query = field("<title>")?;
    let query = query.strip_prefix("TrecTopic:").unwrap_or(query).trim();
    Some(TrecTopic { id: id.to_owned(), query: query.to_owned() })
}

/// Topic of CACM: `1 </DOCNO> What articles … </DOC>`
fn document_topic(entry: &str) -> Option<TrecTopic> {
    let (id, query) = entry.split_once("</DOCNO>")?;
    let query = query.split_once("</DOC>").map_or(query, |it| it.0);
    Some(TrecTopic { id: id.trim().to_owned(), query: query.trim().to_owned() })
}

fn tsv_topic(line: &str) -> Result<TrecTopic, String> {
    let (id, query) = line.split_once('\t').ok_or("a topic is `id<tab>query`")?;
    Ok(TrecTopic { id: id.trim().to_owned(), query: query.trim().to_owned() })
}

/// Topic in JSON.
#[derive(Deserialize)]
struct Row {
    #[serde(alias = "_id", alias = "qid")]
    id: serde_json::Value,
    #[serde(alias = "question", alias = "text")]
    query: String,
}

fn json_topic(line: &str) -> Result<TrecTopic, String> {
    let row: Row = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let id = match row.id {
        serde_json::Value::String(id) => id,
        serde_json::Value::Number(id) => id.to_string(),
        _ => return Err("`id` is a text or a number".to_owned()),
    };
    Ok(TrecTopic { id, query: row.query })
}

/// Calls `take` with every line that is not blank; an error names the line that it refuses.
fn each_line(
    path: &Path,
    mut take: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), TrecError> {
    let read = |source| TrecError::Read { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(read)?;
    for (idx, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() {
            let refused = |what| TrecError::Line { path: path.to_owned(), line: idx + 1, what };
            take(line).map_err(refused)?;
        }
    }
    Ok(())
}

/// Exactly N columns with space between them.
fn columns<const N: usize>(line: &str) -> Result<[&str; N], String> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let n = columns.len();
    columns.try_into().map_err(|_| format!("the line has {n} columns and not {N}"))
}
