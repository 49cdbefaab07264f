//! TREC formats: runs, relevance judgements (qrels) and topics.
//!
//! | what | a line, or an entry |
//! |---|---|
//! | run | `topic Q0 passage rank score tag`; order and rank are not read, only the score is |
//! | judgements (qrels) | `topic 0 passage relevance`; or as BEIR has them, `topic<tab>passage<tab>relevance` below the head `query-id corpus-id score` |
//! | topics | `topic<tab>query`; records with `id`, `_id`, `qid` or `query_id` and with `question`, `query` or `text`; `<top>` entries of TREC; `<DOC>` entries as CACM has them |
//!
//! Files may be compressed. Columns of a run have space between them, so that an id with a blank in
//! it cannot be written: [`check_run_id`].

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use forage_records::{
    Record, RecordError, Records, describe, describe_keys, is_parquet, open_text,
};
use forage_trajectory::Hit;
use serde_json::{Map, Value};

/// Columns of the head of BEIR's judgements.
const BEIR_HEAD: [&str; 3] = ["query-id", "corpus-id", "score"];
/// Keys of the id of a topic.
const ID_KEYS: [&str; 4] = ["id", "_id", "qid", "query_id"];
/// Keys of the query of a topic; without one it is in `text`, which else may be a passage.
const QUERY_KEYS: [&str; 2] = ["question", "query"];

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
    #[error(transparent)]
    Read(#[from] RecordError),
    /// Line in another format.
    #[error("{}:{line}: {what}", path.display())]
    Line {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Fault, in words.
        what: String,
    },
    /// Topic that is there twice.
    #[error("`{}` has the topic `{id}` twice", path.display())]
    Repeated {
        /// File.
        path: PathBuf,
        /// Id of the topic.
        id: String,
    },
    /// Id that a run cannot hold.
    #[error(
        "the id `{id}` is empty or has a blank in it, and a TREC run has blanks between its columns"
    )]
    Blank {
        /// Id of a topic or a passage.
        id: String,
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
    ///
    /// # Errors
    ///
    /// An id that [`check_run_id`] refuses.
    pub fn to_text(&self, tag: &str) -> Result<String, TrecError> {
        let mut text = String::new();
        for (topic, found) in &self.topics {
            check_run_id(topic)?;
            for (rank, (passage, score)) in ranked(found).into_iter().enumerate() {
                check_run_id(passage)?;
                // As many digits as bring the same number back.
                let written = writeln!(text, "{topic} Q0 {passage} {} {score} {tag}", rank + 1);
                written.expect("a string takes everything");
            }
        }
        Ok(text)
    }
}

/// Checks that a run can hold an id of a topic or a passage: one that is not empty and has no blank.
pub fn check_run_id(id: &str) -> Result<(), TrecError> {
    if id.is_empty() || id.contains(char::is_whitespace) {
        return Err(TrecError::Blank { id: id.to_owned() });
    }
    Ok(())
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
    let mut is_beir = None;
    each_line(path, |line| {
        if is_beir.is_none() {
            is_beir = Some(line.split_whitespace().eq(BEIR_HEAD));
            if is_beir == Some(true) {
                return Ok(());
            }
        }
        let [topic, passage, relevance] =
            if is_beir == Some(true) { beir_columns(line)? } else { qrels_columns(line)? };
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

fn qrels_columns(line: &str) -> Result<[&str; 3], String> {
    let [topic, _, passage, relevance] = columns(line)?;
    Ok([topic, passage, relevance])
}

/// Columns below BEIR's head. Ids may have blanks where there are tabs.
fn beir_columns(line: &str) -> Result<[&str; 3], String> {
    if !line.contains('\t') {
        return columns(line);
    }
    let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
    let n = columns.len();
    columns.try_into().map_err(|_| format!("the line has {n} columns and not 3"))
}

/// Reads topics in any of the formats above.
pub fn read_topics(path: &Path) -> Result<Vec<TrecTopic>, TrecError> {
    let topics = if is_parquet(path)? { topics_of_records(path)? } else { topics_of_text(path)? };
    if topics.is_empty() {
        return Err(TrecError::Empty { path: path.to_owned(), what: "topics" });
    }
    let mut seen = HashSet::new();
    match topics.iter().find(|topic| !seen.insert(&topic.id)) {
        Some(twice) => Err(TrecError::Repeated { path: path.to_owned(), id: twice.id.clone() }),
        None => Ok(topics),
    }
}

fn topics_of_text(path: &Path) -> Result<Vec<TrecTopic>, TrecError> {
    let lines = open_text(path)?.map(|line| Ok(line?.text));
    let lines: Vec<String> = lines.collect::<Result<_, RecordError>>()?;
    let text = lines.join("\n");
    if text.starts_with(['{', '[']) {
        topics_of_records(path)
    } else if text.contains("<top>") {
        Ok(text.split("<top>").skip(1).filter_map(classic_topic).collect())
    } else if text.contains("<DOCNO>") {
        Ok(text.split("<DOCNO>").skip(1).filter_map(document_topic).collect())
    } else {
        let mut topics = Vec::new();
        each_line(path, |line| {
            topics.push(tsv_topic(line)?);
            Ok(())
        })?;
        Ok(topics)
    }
}

fn topics_of_records(path: &Path) -> Result<Vec<TrecTopic>, TrecError> {
    let mut topics = Vec::new();
    for record in Records::open([path.to_owned()])? {
        topics.push(topic_of_record(record?)?);
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
    let query = query.strip_prefix("Topic:").unwrap_or(query).trim();
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

fn topic_of_record(record: Record) -> Result<TrecTopic, RecordError> {
    let key = record.key().map(|key| Value::String(key.to_owned()));
    let bad = record.clone();
    let object = record.into_object()?;
    let id = only(&object, &ID_KEYS).map_err(|what| bad.bad(what))?.or(key.as_ref());
    let query = only(&object, &QUERY_KEYS).map_err(|what| bad.bad(what))?;
    let text = object.get("text").filter(|text| !text.is_null());
    if let (Some(Value::String(query)), Some(Value::String(text))) = (query, text)
        && is_other_question(query, text)
    {
        return Err(bad.bad("the query and `text` are two different questions".to_owned()));
    }
    let query = query.or(text);
    let found = || describe_keys(object.keys().map(String::as_str));
    match (id, query) {
        (None, _) => Err(bad.bad(format!("the topic has no `id`; it has {}", found()))),
        (_, None) => {
            let what =
                format!("the topic has no `question`, `query` or `text`; it has {}", found());
            Err(bad.bad(what))
        }
        (Some(id), Some(Value::String(query))) => {
            Ok(TrecTopic { id: id_text(id).map_err(|what| bad.bad(what))?, query: query.clone() })
        }
        (_, Some(other)) => {
            Err(bad.bad(format!("the query is a text, and this is {}", describe(other))))
        }
    }
}

/// Whether a text beside a query is another question, and no passage.
fn is_other_question(query: &str, text: &str) -> bool {
    let is_question =
        |text: &str| text.ends_with('?') && !text.contains(". ") && !text.contains('\n');
    let (query, text) = (query.trim(), text.trim());
    query != text && is_question(query) && is_question(text)
}

/// Value of the one of these keys that an object has; null is no value.
fn only<'a>(object: &'a Map<String, Value>, keys: &[&str]) -> Result<Option<&'a Value>, String> {
    let found = keys.iter().filter_map(|key| Some((key, object.get(*key)?)));
    let found: Vec<_> = found.filter(|(_, value)| !value.is_null()).collect();
    let Some((first_key, first)) = found.first() else { return Ok(None) };
    match found.iter().find(|(_, value)| value != first) {
        Some((key, _)) => Err(format!("`{first_key}` and `{key}` name one thing, and differ")),
        None => Ok(Some(first)),
    }
}

fn id_text(id: &Value) -> Result<String, String> {
    match id {
        Value::String(id) => Ok(id.clone()),
        Value::Number(id) if !id.is_f64() => Ok(id.to_string()),
        other => Err(format!("`id` is a text or a whole number, and this is {}", describe(other))),
    }
}

/// Calls `take` with every line that is not blank; an error names the line that it refuses.
fn each_line(
    path: &Path,
    mut take: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), TrecError> {
    for line in open_text(path)? {
        let line = line?;
        let number = line.place.number;
        let refused = |what| TrecError::Line { path: path.to_owned(), line: number, what };
        take(&line.text).map_err(refused)?;
    }
    Ok(())
}

/// Exactly N columns with space between them.
fn columns<const N: usize>(line: &str) -> Result<[&str; N], String> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let n = columns.len();
    columns.try_into().map_err(|_| format!("the line has {n} columns and not {N}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &tempfile::TempDir, content: &str) -> PathBuf {
        let path = folder.path().join("file");
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn judgements_of_trec_and_of_beir() {
        let folder = tempfile::tempdir().unwrap();
        let expected = |passage: &str| {
            Qrels::from([("q1".to_owned(), BTreeMap::from([(passage.to_owned(), 1)]))])
        };
        for (content, passage) in [
            ("q1 0 d1 1\n", "d1"),
            ("\u{feff}q1\t0\td1\t1\r\n", "d1"),
            ("query-id\tcorpus-id\tscore\nq1\td1\t1\n", "d1"),
            ("query-id\tcorpus-id\tscore\nq1\tPort of Halvik\t1\n", "Port of Halvik"),
        ] {
            assert_eq!(
                read_qrels(&write(&folder, content)).unwrap(),
                expected(passage),
                "{content}"
            );
        }
        for (content, what) in [
            ("q1 d1 1\n", ":1: the line has 3 columns and not 4"),
            ("query-id\tcorpus-id\tscore\nq1\t0\td1\t1\n", ":2: the line has 4 columns and not 3"),
            ("query-id\tcorpus-id\tscore\n", "has no judgements"),
        ] {
            let error = read_qrels(&write(&folder, content)).unwrap_err().to_string();
            assert!(error.ends_with(what), "{error}");
        }
    }

    #[test]
    fn topics_in_every_format() {
        let folder = tempfile::tempdir().unwrap();
        for content in [
            "1\tport Halvik\n",
            "{\"_id\": \"1\", \"text\": \"port Halvik\", \"metadata\": {}}\n",
            "{\"id\": 1, \"question\": \"port Halvik\", \"text\": \"A passage.\"}\n",
            "[{\"qid\": 1, \"query\": \"port Halvik\"}]",
            "<top>\n<num> Number: 1\n\n<title> Topic: port Halvik\n<desc> …\n</top>\n",
            "<DOC>\n<DOCNO>\n1\n</DOCNO>\nport Halvik\n</DOC>\n",
        ] {
            let expected = [TrecTopic { id: "1".to_owned(), query: "port Halvik".to_owned() }];
            assert_eq!(read_topics(&write(&folder, content)).unwrap(), expected, "{content}");
        }
        for (content, what) in [
            ("1\ta\n1\tb\n", "has the topic `1` twice"),
            (
                "{\"id\": 1.5, \"query\": \"a\"}",
                "`id` is a text or a whole number, and this is the number 1.5",
            ),
            (
                "{\"id\": 1, \"_id\": 2, \"query\": \"a\"}",
                "`id` and `_id` name one thing, and differ",
            ),
            ("{\"id\": 1}", "the topic has no `question`, `query` or `text`; it has the key `id`"),
            ("", "has no topics"),
        ] {
            let error = read_topics(&write(&folder, content)).unwrap_err().to_string();
            assert!(error.ends_with(what), "{error}");
        }
    }

    #[test]
    fn a_run_is_read_back_or_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let run = |topic: &str, passage: &str| TrecRun {
            topics: [(topic.to_owned(), vec![(passage.to_owned(), 0.1)])].into(),
        };
        let text = run("q1", "d/1").to_text("tag").unwrap();
        assert_eq!(TrecRun::read(&write(&folder, &text)).unwrap(), run("q1", "d/1"));
        for (topic, passage) in
            [("q1", "Port of Halvik"), ("q\u{a0}1", "d"), ("q", ""), ("q\n", "d")]
        {
            assert!(matches!(run(topic, passage).to_text("tag"), Err(TrecError::Blank { .. })));
        }
    }
}
