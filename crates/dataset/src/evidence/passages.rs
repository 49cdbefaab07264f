//! Passages of a row, and which of them are gold.
//!
//! A passage keeps the identifier that its data set gives it. Others get one that depends on their
//! title and text alone, so that it is the same in every file.

use std::collections::{BTreeMap, HashMap};

use forage_trajectory::Passage;
use serde_json::Value;
use unicode_normalization::UnicodeNormalization as _;

use crate::error::{RowError, describe, keys};
use crate::fields::{Object, field, first_text, id, index, records, structure, table, texts};

/// Passages of a row, each once.
#[derive(Debug, Default)]
pub(crate) struct Passages {
    /// All of them, in the order of the row.
    pub(crate) all: Vec<Passage>,
    /// For each, whether it states a fact that the answer needs.
    pub(crate) is_gold: Vec<bool>,
    by_id: HashMap<String, usize>,
    /// `MuSiQue`: ids by the number of the paragraph in its row.
    pub(crate) by_number: BTreeMap<u64, String>,
}

impl Passages {
    /// Adds a passage, and returns its id. One that was there by its id alone gets title and text.
    ///
    /// # Errors
    ///
    /// Another passage of that id.
    pub(crate) fn add(&mut self, passage: Passage, is_gold: bool) -> Result<String, RowError> {
        let id = passage.id.clone();
        let idx = *self.by_id.entry(id.clone()).or_insert(self.all.len());
        if idx == self.all.len() {
            self.all.push(passage);
            self.is_gold.push(false);
        } else if self.all[idx].text.is_empty() {
            self.all[idx] = passage;
        } else if !passage.text.is_empty() && self.all[idx].text != passage.text {
            return Err(RowError::Shape {
                key: format!("passage `{id}`"),
                expected: "a passage has one text",
                found: "two of that id with different texts in the row".to_owned(),
            });
        }
        self.is_gold[idx] |= is_gold;
        Ok(id)
    }

    /// Makes a passage a gold one.
    pub(crate) fn mark_gold(&mut self, id: &str) {
        if let Some(idx) = self.by_id.get(id) {
            self.is_gold[*idx] = true;
        }
    }

    /// The gold ones, in the order of the row.
    pub(crate) fn gold(&self) -> impl Iterator<Item = &Passage> {
        self.all.iter().zip(&self.is_gold).filter(|(_, is_gold)| **is_gold).map(|(it, _)| it)
    }

    /// Ids of the passages with a title.
    pub(crate) fn ids_of_title(&self, title: &str) -> Vec<String> {
        let titled = self.all.iter().filter(|passage| is_same_title(&passage.title, title));
        titled.map(|passage| passage.id.clone()).collect()
    }
}

/// Whether two titles are the same to a reader: composed or not, with or without blanks around.
fn is_same_title(one: &str, other: &str) -> bool {
    one == other || one.trim().nfc().eq(other.trim().nfc())
}

/// Identifier of a passage whose data set gives it none: its title without blanks, and a hash of
/// title and text.
pub(crate) fn id_of_content(title: &str, text: &str) -> String {
    const LONGEST: usize = 80;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(title.len() as u64).to_le_bytes());
    hasher.update(title.as_bytes());
    hasher.update(text.as_bytes());
    let hash = hasher.finalize().to_hex();
    let name: Vec<&str> = title.split_whitespace().collect();
    let name: String = name.join("_").chars().take(LONGEST).collect();
    let name = if name.is_empty() { "passage" } else { &name };
    format!("{name}#{}", &hash[..12])
}

/// Adds every passage of a part of the row: the row itself, or its `metadata`. `titles` are those
/// of the supporting facts.
pub(crate) fn add_all(
    passages: &mut Passages,
    part: &Object,
    titles: &[String],
) -> Result<(), RowError> {
    add_context(passages, part, titles)?;
    add_paragraphs(passages, part)?;
    add_contexts_of_dpr(passages, part)?;
    for (key, is_gold) in [
        ("gold_docs", true),
        ("evidence_docs", true),
        ("negative_docs", false),
        ("sub_support_docs", true),
        ("support_docs", true),
    ] {
        let Some(list) = field(part, key) else { continue };
        for passage in documents(key, list)?.into_iter().flatten() {
            passages.add(passage, is_gold)?;
        }
    }
    for key in ["entity_pages", "EntityPages", "search_results", "SearchResults"] {
        add_list(passages, part, key, |_| false)?;
    }
    Ok(())
}

/// `context` of HotpotQA and `2WikiMultihopQA`: titles with their sentences.
fn add_context(passages: &mut Passages, part: &Object, titles: &[String]) -> Result<(), RowError> {
    let Some(context) = field(part, "context") else { return Ok(()) };
    let rows = match records("context", context, &["title", "sentences"]) {
        // A passage as one text may begin with a bracket.
        Err(_) if titles.is_empty() => return Ok(()),
        rows => rows?,
    };
    // Beside supporting facts, it has their pages.
    let shape = |found: String| RowError::Shape {
        key: "context".to_owned(),
        expected: "beside `supporting_facts` there are pages with `title` and `sentences`",
        found,
    };
    let is_other = rows.is_none() && !titles.is_empty() && !context.is_string();
    if is_other {
        return Err(shape(describe(context)));
    }
    let mut found = Vec::new();
    for row in rows.unwrap_or_default() {
        match passage("context", &row)? {
            Some(passage) if passage.title.is_empty() => {}
            Some(passage) => found.push(passage),
            None if titles.is_empty() || row.contains_key("sentences") => {}
            None => return Err(shape(format!("an object with {}", keys(&row)))),
        }
    }
    // Where a page of the supporting facts is missing, as in HotpotQA's full-wiki setting, the rest
    // would pass for all of the evidence.
    let is_whole =
        titles.iter().all(|title| found.iter().any(|passage| is_same_title(&passage.title, title)));
    for passage in found {
        let is_gold = is_whole && titles.iter().any(|title| is_same_title(title, &passage.title));
        passages.add(passage, is_gold)?;
    }
    Ok(())
}

/// `paragraphs` of `MuSiQue`.
fn add_paragraphs(passages: &mut Passages, part: &Object) -> Result<(), RowError> {
    const EXPECTED: &str = "paragraphs are a list of objects with `title` and `paragraph_text`";
    let Some(paragraphs) = field(part, "paragraphs") else { return Ok(()) };
    for (position, row) in (0..).zip(table("paragraphs", paragraphs, &[], EXPECTED)?) {
        let it = passage("paragraphs", &row)?.ok_or_else(|| RowError::Shape {
            key: format!("paragraphs[{position}]"),
            expected: EXPECTED,
            found: format!("an object with {}", keys(&row)),
        })?;
        let is_gold =
            field(&row, "is_supporting").map_or(Ok(false), |it| truth("is_supporting", it))?;
        let id = passages.add(it, is_gold)?;
        passages.by_number.insert(index(&row, "idx").unwrap_or(position), id);
    }
    Ok(())
}

/// True or false, or what Python and tables write in their place.
fn truth(key: &str, value: &Value) -> Result<bool, RowError> {
    let truth = match value {
        Value::Bool(it) => Some(*it),
        Value::Number(it) => {
            [0.0, 1.0].iter().position(|one| it.as_f64() == Some(*one)).map(|it| it == 1)
        }
        Value::String(it) => match it.to_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    };
    truth.ok_or_else(|| RowError::Shape {
        key: key.to_owned(),
        expected: "it is true or false",
        found: describe(value),
    })
}

/// Documents of a list, by entry. An entry is a passage, the text of one, the id of one (a text
/// without a blank, or a number), or a list of passages.
pub(crate) fn documents(key: &str, list: &Value) -> Result<Vec<Vec<Passage>>, RowError> {
    let list = structure(key, list)?;
    match list.as_ref() {
        Value::Array(items) => items.iter().map(|item| documents_of(key, item)).collect(),
        Value::Object(_) => {
            let rows = table(key, &list, &[], DOCUMENTS)?;
            rows.into_iter().map(|row| Ok(vec![document(key, &Value::Object(row))?])).collect()
        }
        other => Err(no_document(key, other)),
    }
}

fn documents_of(key: &str, entry: &Value) -> Result<Vec<Passage>, RowError> {
    let entry = structure(key, entry)?;
    match entry.as_ref() {
        Value::Null => Ok(Vec::new()),
        // Two texts may be two passages, or the title and the text of one.
        Value::Array(items) if items.len() < 2 || items.iter().all(Value::is_object) => {
            items.iter().map(|item| document(key, item)).collect()
        }
        entry => Ok(vec![document(key, entry)?]),
    }
}

fn document(key: &str, entry: &Value) -> Result<Passage, RowError> {
    let by_id = |id: &str| Passage { id: id.to_owned(), ..Passage::default() };
    match entry {
        Value::Object(row) => {
            if let Some(it) = passage(key, row)? {
                return Ok(it);
            }
            own_id(row)?.map(|id| by_id(&id)).ok_or_else(|| no_document(key, entry))
        }
        Value::String(it) if it.trim().contains(char::is_whitespace) => {
            let text = it.trim().to_owned();
            Ok(Passage { id: id_of_content("", &text), title: String::new(), text })
        }
        Value::String(it) if !it.trim().is_empty() => Ok(by_id(it.trim())),
        Value::Number(_) => id(key, entry).map(|id| by_id(&id)),
        other => Err(no_document(key, other)),
    }
}

const DOCUMENTS: &str = "documents are objects with `title` and `text`, texts or ids";

fn no_document(key: &str, found: &Value) -> RowError {
    RowError::Shape { key: key.to_owned(), expected: DOCUMENTS, found: describe(found) }
}

/// DPR's lists of contexts. The first positive one is the gold passage, as DPR trains with it; the
/// others only contain the answer too.
fn add_contexts_of_dpr(passages: &mut Passages, part: &Object) -> Result<(), RowError> {
    add_list(passages, part, "positive_ctxs", |idx| idx == 0)?;
    add_list(passages, part, "negative_ctxs", |_| false)?;
    add_list(passages, part, "hard_negative_ctxs", |_| false)
}

fn add_list(
    passages: &mut Passages,
    part: &Object,
    key: &str,
    is_gold: impl Fn(usize) -> bool,
) -> Result<(), RowError> {
    const EXPECTED: &str = "passages are a list of objects with `title` and `text`";
    let Some(list) = field(part, key) else { return Ok(()) };
    for (idx, row) in table(key, list, &[], EXPECTED)?.into_iter().enumerate() {
        if let Some(it) = passage(key, &row)? {
            passages.add(it, is_gold(idx))?;
        }
    }
    Ok(())
}

/// Passage of an object with a text under any of the field's names; `None` without a text.
pub(crate) fn passage(path: &str, row: &Object) -> Result<Option<Passage>, RowError> {
    let named = first_text(row, &["title", "Title"]);
    // A line of a corpus of Search-R1 and FlashRAG: the title is the first line of `contents`.
    let first_line = first_text(row, &["contents"])
        .filter(|_| named.is_none() && first_text(row, &["text"]).is_none());
    if let Some((first, text)) = first_line.and_then(|contents| contents.split_once('\n')) {
        let (title, text) = (title(first), text.trim().to_owned());
        let own = field(row, "id").map(|it| id("id", it)).transpose()?;
        let id = own.or(own_id(row)?).unwrap_or_else(|| id_of_content(&title, &text));
        return Ok(Some(Passage { id, title, text }));
    }
    let Some(text) = body(path, row)? else { return Ok(None) };
    let title = title(named.unwrap_or_default());
    let id = own_id(row)?.unwrap_or_else(|| id_of_content(&title, &text));
    Ok(Some(Passage { id, title, text }))
}

/// Identifier that the data set gives a passage.
fn own_id(row: &Object) -> Result<Option<String>, RowError> {
    const KEYS: [&str; 4] = ["docid", "passage_id", "psg_id", "doc_id"];
    let own = KEYS.iter().find_map(|key| field(row, key).map(|it| id(key, it))).transpose()?;
    Ok(own.filter(|it| !it.is_empty()))
}

fn body(path: &str, row: &Object) -> Result<Option<String>, RowError> {
    const TEXTS: [&str; 6] =
        ["paragraph_text", "text", "contents", "wiki_context", "search_context", "paragraph"];
    if let Some(it) = first_text(row, &TEXTS) {
        return Ok(Some(it.to_owned()));
    }
    let Some(sentences) = field(row, "sentences").or_else(|| field(row, "content")) else {
        return Ok(None);
    };
    let joined = match sentences {
        // A text that only looks like a list is one sentence.
        Value::String(it) => structure(path, sentences)
            .and_then(|it| texts(path, &it))
            .unwrap_or_else(|_| vec![it.clone()]),
        list => texts(path, list)?,
    };
    let joined = join(&joined);
    Ok(Some(joined).filter(|text| !text.trim().is_empty()))
}

/// Sentences as one text, with a blank where neither side has one.
fn join(sentences: &[String]) -> String {
    let mut text = String::new();
    for sentence in sentences {
        let has_blank =
            text.ends_with(char::is_whitespace) || sentence.starts_with(char::is_whitespace);
        if !text.is_empty() && !has_blank {
            text.push(' ');
        }
        text.push_str(sentence);
    }
    text.trim().to_owned()
}

/// Title without the quotes that some copies put around all of them.
pub(crate) fn title(title: &str) -> String {
    let trimmed = title.trim();
    let inside = trimmed.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    inside
        .filter(|inside| !inside.is_empty() && !inside.contains('"'))
        .unwrap_or(trimmed)
        .to_owned()
}
