//! Corpus readers: passages in the records of files, in any of the shapes that are published.
//!
//! A record has an id, in `id`, `_id`, `docid`, `doc_id` or `pid`, and a text: in `text` or
//! `content` with an optional `title`, or in `contents`, where the title stands in double quotes on
//! the first line (`"\"Title\"\nText"`, as in Search-R1 and its relatives). Shapes may be mixed,
//! and other keys are ignored. What files may be is the business of `forage-records`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use forage_records::{Place, Record, Records, describe_keys};
use forage_trajectory::Passage;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, Visitor};

use crate::contents::split_contents;
use crate::corpus_error::CorpusError;
use crate::manifest::MANIFEST_FILE;

/// Corpus: a stream of passages, in the order of their records.
pub struct Corpus {
    source: Source,
}

enum Source {
    Files(Records),
    Memory { passages: std::vec::IntoIter<Passage>, place: Place },
}

impl Corpus {
    /// Corpus of files, one after the other; `-` is standard input.
    ///
    /// A folder stands for the files of records below it, in the order of their paths. Fails if a
    /// file does not exist, before anything is read.
    pub fn files(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, CorpusError> {
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        for path in &paths {
            if let Some(what) = own_folder(path) {
                return Err(CorpusError::OwnOutput { path: path.clone(), what });
            }
        }
        Ok(Self { source: Source::Files(Records::open(paths)?) })
    }

    /// Corpus in memory.
    pub fn memory(passages: Vec<Passage>) -> Self {
        let place = Place::line(Path::new("<memory>").into(), 0);
        Self { source: Source::Memory { passages: passages.into_iter(), place } }
    }

    /// Size of all files on disk, in bytes, where it is known.
    pub fn total_bytes(&self) -> Option<u64> {
        match &self.source {
            Source::Files(records) => records.total_bytes(),
            Source::Memory { .. } => None,
        }
    }

    /// Bytes read so far, before decompression.
    pub fn bytes_read(&self) -> u64 {
        match &self.source {
            Source::Files(records) => records.bytes_read(),
            Source::Memory { .. } => 0,
        }
    }
}

impl Iterator for Corpus {
    type Item = Result<(Place, Passage), CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Files(records) => {
                let record = records.next()?;
                let passage = |record: Record| Ok((record.place().clone(), passage(&record)?));
                Some(record.map_err(CorpusError::from).and_then(passage))
            }
            Source::Memory { passages, place } => {
                let passage = passages.next()?;
                place.number += 1;
                Some(Ok((place.clone(), passage)))
            }
        }
    }
}

/// Record of a corpus in any of the known shapes.
#[derive(Deserialize)]
struct Row {
    id: Option<Id>,
    #[serde(rename = "_id")]
    beir_id: Option<Id>,
    docid: Option<Id>,
    doc_id: Option<Id>,
    pid: Option<Id>,
    title: Option<String>,
    text: Option<String>,
    content: Option<String>,
    contents: Option<String>,
    golden_answers: Option<IgnoredAny>,
}

/// Id: a text, or a whole number as it is written.
struct Id(String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}

struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = Id;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a text or a whole number")
    }

    fn visit_str<E: Error>(self, id: &str) -> Result<Id, E> {
        Ok(Id(id.to_owned()))
    }

    fn visit_string<E: Error>(self, id: String) -> Result<Id, E> {
        Ok(Id(id))
    }

    fn visit_i64<E: Error>(self, id: i64) -> Result<Id, E> {
        Ok(Id(id.to_string()))
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<Id, E> {
        Ok(Id(id.to_string()))
    }
}

/// Two keys that name one thing, and differ.
struct Differ(&'static str, &'static str);

impl Row {
    /// Id, where there is one.
    fn id(&mut self) -> Result<Option<String>, Differ> {
        let ids = [
            ("id", self.id.take()),
            ("_id", self.beir_id.take()),
            ("docid", self.docid.take()),
            ("doc_id", self.doc_id.take()),
            ("pid", self.pid.take()),
        ];
        only(ids.into_iter().filter_map(|(key, id)| Some((key, id?.0))))
    }

    /// Title and text, where there is a text. An empty text gives way to `contents`.
    fn title_and_text(&mut self) -> Result<Option<(String, String)>, Differ> {
        let texts = [("text", self.text.take()), ("content", self.content.take())];
        let texts: Vec<_> = texts.into_iter().filter_map(|(key, it)| Some((key, it?))).collect();
        let has_text = !texts.is_empty();
        let key = texts.iter().find(|(_, text)| !text.is_empty()).map_or("text", |(key, _)| *key);
        let text = only(texts.into_iter().filter(|(_, text)| !text.is_empty()))?;
        let title = self.title.take().unwrap_or_default();
        match (text, self.contents.take()) {
            (Some(text), Some(contents)) if !contents.is_empty() => {
                if !contents.contains(text.trim()) {
                    return Err(Differ(key, "contents"));
                }
                let (quoted, _) = split_contents(&contents);
                let title = if title.is_empty() { quoted.to_owned() } else { title };
                Ok(Some((title, text)))
            }
            (Some(text), _) => Ok(Some((title, text))),
            (None, Some(contents)) => Ok(Some(titled(title, &contents))),
            (None, None) => Ok(has_text.then_some((title, String::new()))),
        }
    }
}

/// The value that all keys have.
fn only(
    mut values: impl Iterator<Item = (&'static str, String)>,
) -> Result<Option<String>, Differ> {
    let Some((first_key, first)) = values.next() else { return Ok(None) };
    match values.find(|(_, value)| *value != first) {
        Some((key, _)) => Err(Differ(first_key, key)),
        None => Ok(Some(first)),
    }
}

/// Title and text of `contents`. A first line that is not the title belongs to the text.
fn titled(title: String, contents: &str) -> (String, String) {
    let (first, rest) = contents.split_once('\n').unwrap_or((contents, ""));
    if !title.is_empty() && first.trim() == title.trim() {
        return (title, rest.to_owned());
    }
    let (quoted, text) = split_contents(contents);
    if title.is_empty() || quoted == title {
        (quoted.to_owned(), text.to_owned())
    } else {
        (title, contents.to_owned())
    }
}

fn passage(record: &Record) -> Result<Passage, CorpusError> {
    let mut row: Row =
        record.parse().map_err(|error| own_output(record).unwrap_or(error.into()))?;
    let differ = |Differ(first, second)| {
        record.bad(format!("`{first}` and `{second}` name one thing, and differ"))
    };
    let id = row.id().map_err(differ)?.or_else(|| record.key().map(str::to_owned));
    let id = id.ok_or_else(|| lacks(record, "`id` (or `_id`, `docid`, `doc_id`, `pid`)"))?;
    if id.is_empty() {
        return Err(record.bad("the id of the passage is an empty text").into());
    }
    if row.golden_answers.is_some() {
        return Err(own_output(record).unwrap_or_else(|| {
            record.bad("it has `golden_answers`: this is a question, not a passage").into()
        }));
    }
    let (title, text) = row
        .title_and_text()
        .map_err(differ)?
        .ok_or_else(|| lacks(record, "`text`, `contents` or `content`"))?;
    Ok(Passage { id, title, text })
}

/// What a folder is, where this program wrote it for something else.
fn own_folder(path: &Path) -> Option<&'static str> {
    let has = |name: &str| path.join(name).exists();
    if has(MANIFEST_FILE) {
        Some("an index of forage")
    } else if has("metrics.jsonl") && has("config.toml") {
        Some("the folder of a run of forage")
    } else {
        None
    }
}

/// Error that a record is no passage, since it has none of some keys.
fn lacks(record: &Record, keys: &str) -> CorpusError {
    if let Some(error) = own_output(record) {
        return error;
    }
    match record.clone().into_object() {
        Ok(object) => {
            let found = describe_keys(object.keys().map(String::as_str));
            record.bad(format!("the passage has no {keys}; it has {found}")).into()
        }
        Err(error) => error.into(),
    }
}

/// Error for what this program writes beside corpora.
fn own_output(record: &Record) -> Option<CorpusError> {
    let object = record.clone().into_object().ok()?;
    let has = |keys: &[&str]| keys.iter().all(|key| object.contains_key(*key));
    let what = if has(&["golden_answers", "evidence"]) {
        "a file of questions"
    } else if has(&["step", "split", "group", "grades"]) {
        "a trajectories file of forage"
    } else if has(&["question_id", "tokens", "segments"]) {
        "a file of trajectories of forage"
    } else if has(&["analyzer", "fingerprint", "passages"]) {
        "the manifest of an index of forage"
    } else {
        return None;
    };
    let file: &Arc<Path> = &record.place().file;
    Some(CorpusError::OwnOutput { path: file.to_path_buf(), what })
}
