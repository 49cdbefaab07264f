//! Evidence of a row: what its keys say of the way to the answer.
//!
//! The keys are looked for in the row, in its `metadata` (`FlashRAG`, Search-R1) and in its
//! `extra_info` (`StepSearch`): the part of the row that has any gives all of them.

mod entities;
mod own;
mod passages;
mod steps;

use std::borrow::Cow;

use forage_trajectory::{Evidence, Passage};
use serde_json::Value;

use crate::error::{RowError, describe};
use crate::fields::{Object, field, id, object, records, structure, text, texts};
use crate::format::ground_truth;
use passages::Passages;

/// Evidence of a row, and all its passages.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) evidence: Evidence,
    pub(crate) passages: Vec<Passage>,
}

/// Reads the evidence and the passages of a row.
pub(crate) fn evidence(
    row: &Object,
    question: &str,
    answers: &[String],
) -> Result<Found, RowError> {
    if let Some(own) = own::evidence(row)? {
        let passages =
            own.passages.iter().filter(|passage| !passage.text.trim().is_empty()).cloned();
        return Ok(Found { passages: passages.collect(), evidence: own });
    }
    let parts = parts(row);
    let mut passages = Passages::default();
    let (mut steps, mut titles, mut shape) = (Vec::new(), Vec::new(), String::new());
    for part in &parts {
        let supporting = supporting_titles(part)?;
        passages::add_all(&mut passages, part, &supporting)?;
        if steps.is_empty() {
            steps = steps::steps(part, &mut passages)?;
        }
        if shape.is_empty() {
            text(part, "type").unwrap_or_default().clone_into(&mut shape);
        }
        titles.extend(supporting);
    }
    if let Some(searches) = searches(row) {
        let (key, documents) = documents(&parts)?;
        steps::add_queries(&mut steps, &searches, (key, &documents))?;
    }
    let with_title = passages.gold().filter(|passage| !passage.title.is_empty());
    titles.extend(with_title.map(|passage| passage.title.clone()));
    let inner = steps.iter().map(|step| step.answer.as_str());
    let names = titles.iter().map(String::as_str).chain(inner);
    let entities = entities::entities(names, question, answers);
    let gold = match gold_pids(row)? {
        ids if ids.is_empty() => passages.gold().cloned().collect(),
        ids => ids,
    };
    let evidence = Evidence {
        shape,
        entities: entities.names,
        aliases: entities.aliases,
        steps,
        passages: gold,
    };
    passages.all.retain(|passage| !passage.text.is_empty());
    Ok(Found { evidence, passages: passages.all })
}

/// The row, and what it has inside that may hold its evidence.
fn parts(row: &Object) -> Vec<Cow<'_, Object>> {
    let mut parts = vec![Cow::Borrowed(row)];
    if let Some(metadata) = object(row, "metadata") {
        let inner = object(&metadata, "metadata").map(Cow::into_owned);
        parts.push(metadata);
        parts.extend(inner.map(Cow::Owned));
    }
    parts.extend(object(row, "extra_info"));
    parts
}

/// Titles of the supporting facts, each once.
fn supporting_titles(part: &Object) -> Result<Vec<String>, RowError> {
    const KEY: &str = "supporting_facts";
    let Some(facts) = field(part, KEY) else { return Ok(Vec::new()) };
    let titles: Vec<String> = match records(KEY, facts, &["title", "sent_id"])? {
        Some(rows) => {
            rows.iter().filter_map(|row| text(row, "title")).map(passages::title).collect()
        }
        None => match facts {
            Value::Array(items) if items.iter().all(Value::is_string) => texts(KEY, facts)?,
            _ => {
                return Err(RowError::Shape {
                    key: KEY.to_owned(),
                    expected: "supporting facts are [[title, sentence], …]",
                    found: describe(facts),
                });
            }
        },
    };
    let mut once: Vec<String> = Vec::new();
    for title in titles {
        if !once.contains(&title) {
            once.push(title);
        }
    }
    Ok(once)
}

/// Reference queries of `StepSearch`: of the row, or those that its reward compares with.
fn searches(row: &Object) -> Option<Value> {
    let of_row = field(row, "sub_searchs").cloned();
    let of_truth = || field(ground_truth(row)?.as_object()?, "search_keys").cloned();
    let beside = || field(row, "search_keys").cloned();
    let is_some = |list: &Value| !list.as_array().is_some_and(Vec::is_empty);
    of_row.filter(is_some).or_else(of_truth).filter(is_some).or_else(beside).filter(is_some)
}

/// Ids of the documents of `StepSearch`, by step, and their key: `support_docs` in the files that it
/// trains with.
fn documents(parts: &[Cow<'_, Object>]) -> Result<(&'static str, Vec<Vec<String>>), RowError> {
    for key in ["sub_support_docs", "support_docs"] {
        if let Some(list) = parts.iter().find_map(|part| field(part, key)) {
            let documents = passages::documents(key, list)?;
            let ids = |step: Vec<Passage>| step.into_iter().map(|passage| passage.id).collect();
            return Ok((key, documents.into_iter().map(ids).collect()));
        }
    }
    Ok(("sub_support_docs", Vec::new()))
}

/// Gold passages by id alone.
fn gold_pids(row: &Object) -> Result<Vec<Passage>, RowError> {
    match field(row, "gold_pids") {
        None => Ok(Vec::new()),
        Some(value) => match structure("gold_pids", value)?.as_ref() {
            Value::Array(items) => items
                .iter()
                .filter(|pid| !pid.is_null())
                .map(|pid| Ok(Passage { id: id("gold_pids", pid)?, ..Passage::default() }))
                .collect(),
            other => Err(RowError::Shape {
                key: "gold_pids".to_owned(),
                expected: "gold passages are a list of ids",
                found: describe(other),
            }),
        },
    }
}
