//! Evidence in our own format.

use std::collections::BTreeMap;

use forage_trajectory::{Evidence, EvidenceStep, Passage};
use serde_json::Value;

use super::passages::id_of_content;
use crate::error::{RowError, describe};
use crate::fields::{Object, field, id, structure};

const KEYS: [&str; 5] = ["shape", "entities", "aliases", "steps", "passages"];

/// Reads `evidence`, if it is ours: an object with one of our keys, or an empty one, which may be the
/// text of one. What other data sets call `evidence` is not ours, and is left alone.
pub(crate) fn evidence(row: &Object) -> Result<Option<Evidence>, RowError> {
    let Some(value) = field(row, "evidence") else { return Ok(None) };
    let says_ours = |text: &String| {
        KEYS.iter()
            .any(|key| text.contains(&format!("{key}\"")) || text.contains(&format!("{key}'")))
    };
    let value = match value {
        // A text that is not ours may be a sentence.
        Value::String(text) if !says_ours(text) => return Ok(None),
        value => structure("evidence", value)?,
    };
    let Value::Object(own) = value.as_ref() else { return Ok(None) };
    if !own.is_empty() && !KEYS.iter().any(|key| own.contains_key(*key)) {
        return Ok(None);
    }
    known("evidence", own, &KEYS)?;
    Ok(Some(Evidence {
        shape: text("evidence.shape", field(own, "shape"))?,
        entities: texts("evidence.entities", field(own, "entities"))?,
        aliases: aliases(field(own, "aliases"))?,
        steps: objects("evidence.steps", field(own, "steps"), step)?,
        passages: objects("evidence.passages", field(own, "passages"), passage)?,
    }))
}

fn aliases(value: Option<&Value>) -> Result<BTreeMap<String, Vec<String>>, RowError> {
    match value {
        None => Ok(BTreeMap::new()),
        Some(Value::Object(it)) => it
            .iter()
            .map(|(name, others)| Ok((name.clone(), texts("evidence.aliases", Some(others))?)))
            .collect(),
        Some(other) => Err(shape(
            "evidence.aliases",
            "aliases are an object of names with lists of texts",
            other,
        )),
    }
}

/// Refuses a key that is none of these: it would be lost.
fn known(path: &str, it: &Object, keys: &[&str]) -> Result<(), RowError> {
    match it.keys().find(|key| !keys.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => Err(RowError::Shape {
            key: path.to_owned(),
            expected: "its keys are those of docs/data-formats.md",
            found: format!("an object with the key `{key}`"),
        }),
    }
}

fn step(path: &str, it: &Object) -> Result<EvidenceStep, RowError> {
    known(path, it, &["question", "answer", "queries", "passage_ids"])?;
    Ok(EvidenceStep {
        question: text(&format!("{path}.question"), field(it, "question"))?,
        answer: text(&format!("{path}.answer"), field(it, "answer"))?,
        queries: texts(&format!("{path}.queries"), field(it, "queries"))?,
        passage_ids: texts(&format!("{path}.passage_ids"), field(it, "passage_ids"))?,
    })
}

fn passage(path: &str, it: &Object) -> Result<Passage, RowError> {
    let own =
        field(it, "id").map_or(Ok(String::new()), |value| id(&format!("{path}.id"), value))?;
    let title = text(&format!("{path}.title"), field(it, "title"))?;
    let text = text(&format!("{path}.text"), field(it, "text"))?;
    let id = if own.trim().is_empty() { id_of_content(&title, &text) } else { own };
    Ok(Passage { id, title, text })
}

fn objects<T>(
    path: &str,
    value: Option<&Value>,
    read: impl Fn(&str, &Object) -> Result<T, RowError>,
) -> Result<Vec<T>, RowError> {
    const EXPECTED: &str = "steps and passages are lists of objects";
    let items = list(path, value, EXPECTED)?;
    let items = items.iter().enumerate().map(|(idx, item)| {
        let path = format!("{path}[{idx}]");
        item.as_object().map_or_else(|| Err(shape(&path, EXPECTED, item)), |it| read(&path, it))
    });
    items.collect()
}

fn texts(path: &str, value: Option<&Value>) -> Result<Vec<String>, RowError> {
    let items = list(path, value, "a list of texts is expected")?;
    let items = items.iter().enumerate().filter(|(_, item)| !item.is_null());
    items.map(|(idx, item)| text(&format!("{path}[{idx}]"), Some(item))).collect()
}

fn list<'a>(
    path: &str,
    value: Option<&'a Value>,
    expected: &'static str,
) -> Result<&'a [Value], RowError> {
    match value {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(other) => Err(shape(path, expected, other)),
    }
}

fn text(path: &str, value: Option<&Value>) -> Result<String, RowError> {
    match value {
        None => Ok(String::new()),
        Some(Value::String(it)) => Ok(it.clone()),
        Some(Value::Number(it)) if !it.is_f64() => Ok(it.to_string()),
        Some(other) => Err(shape(path, "a text is expected", other)),
    }
}

fn shape(path: &str, expected: &'static str, found: &Value) -> RowError {
    RowError::Shape { key: path.to_owned(), expected, found: describe(found) }
}
