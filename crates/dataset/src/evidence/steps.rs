//! Sub-questions of a row, with their answers, reference queries and passages.

use forage_trajectory::EvidenceStep;
use serde_json::Value;

use super::passages::{self, Passages};
use crate::error::{RowError, describe, keys};
use crate::fields::{Object, field, first_text, id, index, records, structure, table, texts};

/// Reads the sub-questions of a part of the row, and adds the passages that only they have.
pub(crate) fn steps(part: &Object, found: &mut Passages) -> Result<Vec<EvidenceStep>, RowError> {
    let decomposed = ["question_decomposition", "decomposition"]
        .iter()
        .find_map(|key| field(part, key).map(|value| (*key, value)));
    if let Some((key, value)) = decomposed {
        return decomposition(key, value, found);
    }
    field(part, "evidences").map_or(Ok(Vec::new()), |it| triples(it, found))
}

/// `MuSiQue`'s steps, with the answers of earlier steps in the place of `#1`.
fn decomposition(
    key: &'static str,
    value: &Value,
    found: &mut Passages,
) -> Result<Vec<EvidenceStep>, RowError> {
    if let Some(questions) = questions_alone(key, value)? {
        return Ok(questions);
    }
    let rows = records(key, value, &["question", "answer"])?.ok_or_else(|| RowError::Shape {
        key: key.to_owned(),
        expected: "a decomposition is a list of objects with `question` and `answer`",
        found: describe(value),
    })?;
    let mut steps: Vec<EvidenceStep> = Vec::with_capacity(rows.len());
    for row in rows {
        let question = first_text(&row, &["question", "sub_question"]).unwrap_or_default();
        let answer = field(&row, "answer").map_or(Ok(Vec::new()), |it| texts(key, it))?;
        let step = EvidenceStep {
            question: fill_references(key, question, &steps)?,
            answer: answer.into_iter().next().unwrap_or_default(),
            queries: Vec::new(),
            passage_ids: passage_of_step(key, &row, found)?.into_iter().collect(),
        };
        steps.push(step);
    }
    Ok(steps)
}

/// Sub-questions without answers, as a list of texts.
fn questions_alone(key: &str, value: &Value) -> Result<Option<Vec<EvidenceStep>>, RowError> {
    let list = structure(key, value)?;
    let is_texts = list
        .as_array()
        .is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_string));
    if !is_texts {
        return Ok(None);
    }
    let step = |question| EvidenceStep { question, ..EvidenceStep::default() };
    Ok(Some(texts(key, &list)?.into_iter().map(step).collect()))
}

/// The passage of a step: its id, its number among the paragraphs, or itself.
fn passage_of_step(
    key: &str,
    row: &Object,
    found: &mut Passages,
) -> Result<Option<String>, RowError> {
    if let Some(it) = field(row, "gold_pid") {
        return id("gold_pid", it).map(Some);
    }
    if let Some(support) = field(row, "support_paragraph")
        && let Value::Object(support) = structure(key, support)?.as_ref()
        && let Some(passage) = passages::passage(key, support)?
    {
        return found.add(passage, true).map(Some);
    }
    paragraph_by_number(row, found)
}

/// The passage that `paragraph_support_idx` names, where the row has paragraphs. It is a gold one.
fn paragraph_by_number(row: &Object, found: &mut Passages) -> Result<Option<String>, RowError> {
    const KEY: &str = "paragraph_support_idx";
    let Some(number) = field(row, KEY).filter(|_| !found.by_number.is_empty()) else {
        return Ok(None);
    };
    let id = index(row, KEY).and_then(|idx| found.by_number.get(&idx)).cloned();
    let id = id.ok_or_else(|| RowError::Shape {
        key: KEY.to_owned(),
        expected: "a step names one of the paragraphs of its row by `idx`",
        found: describe(number),
    })?;
    found.mark_gold(&id);
    Ok(Some(id))
}

/// Puts the answers of earlier steps in the place of `#1`, `#2`, …. Nothing is before the first
/// step: there, `#1` is text. Later, a number that names no earlier answer is an error.
fn fill_references(key: &str, question: &str, before: &[EvidenceStep]) -> Result<String, RowError> {
    let mut parts = question.split('#');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let n_digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(n_digits);
        let step =
            number.parse::<usize>().ok().and_then(|number| before.get(number.checked_sub(1)?));
        if let Some(step) = step.filter(|step| !step.answer.trim().is_empty()) {
            filled.push_str(&step.answer);
            filled.push_str(rest);
        } else if before.is_empty() || n_digits == 0 {
            filled.push('#');
            filled.push_str(part);
        } else {
            return Err(RowError::Shape {
                key: key.to_owned(),
                expected: "`#1` and its like stand for the answer of an earlier step",
                found: format!("`#{number}` in step {}", before.len() + 1),
            });
        }
    }
    Ok(filled)
}

/// `2WikiMultihopQA`'s triples of subject, relation and object, as `MuSiQue` writes such steps:
/// `subject >> relation`.
fn triples(value: &Value, found: &Passages) -> Result<Vec<EvidenceStep>, RowError> {
    const EXPECTED: &str = "evidences are triples of subject, relation and object";
    let rows = table("evidences", value, &["fact", "relation", "entity"], EXPECTED)?;
    let entry = |row: &Object, names: &[&str]| -> Result<String, RowError> {
        let value = names.iter().find_map(|name| field(row, name));
        let found = value.map_or(Ok(Vec::new()), |value| texts("evidences", value))?;
        found.into_iter().find(|text| !text.trim().is_empty()).ok_or_else(|| RowError::Shape {
            key: "evidences".to_owned(),
            expected: EXPECTED,
            found: format!("one with {}", keys(row)),
        })
    };
    let step = |row: &Object| {
        let subject = passages::title(&entry(row, &["fact", "subject"])?);
        let relation = entry(row, &["relation"])?;
        Ok(EvidenceStep {
            question: format!("{subject} >> {relation}"),
            answer: entry(row, &["entity", "object"])?,
            queries: Vec::new(),
            passage_ids: found.ids_of_title(&subject),
        })
    };
    rows.iter().map(step).collect()
}

/// `StepSearch`: a list of reference queries for each step, and the documents of each.
pub(crate) fn add_queries(
    steps: &mut Vec<EvidenceStep>,
    searches: &Value,
    documents: (&str, &[Vec<String>]),
) -> Result<(), RowError> {
    let searches = structure("sub_searchs", searches)?;
    let Value::Array(groups) = searches.as_ref() else {
        return Err(RowError::Shape {
            key: "sub_searchs".to_owned(),
            expected: "reference queries are a list of lists of texts",
            found: describe(&searches),
        });
    };
    let is_aligned = steps.is_empty() || steps.len() == groups.len();
    if !is_aligned {
        steps.clear();
    }
    steps.resize_with(groups.len(), EvidenceStep::default);
    for (step, group) in steps.iter_mut().zip(groups) {
        step.queries = texts("sub_searchs", group)?;
        if step.queries.is_empty() && !group.is_null() && *group != Value::Array(Vec::new()) {
            return Err(RowError::Shape {
                key: "sub_searchs".to_owned(),
                expected: "reference queries are a list of lists of texts",
                found: format!("a list with {}", describe(group)),
            });
        }
    }
    add_documents(steps, documents)
}

/// Gives each step that names no passage its documents. Those of training files, `support_docs`,
/// need not be one a step.
fn add_documents(
    steps: &mut [EvidenceStep],
    (key, documents): (&str, &[Vec<String>]),
) -> Result<(), RowError> {
    if documents.is_empty() || (key == "support_docs" && documents.len() != steps.len()) {
        return Ok(());
    }
    if documents.len() != steps.len() {
        return Err(RowError::Shape {
            key: key.to_owned(),
            expected: "there are documents for each step of the reference queries",
            found: format!("a list of {} beside {} steps", documents.len(), steps.len()),
        });
    }
    for (step, ids) in steps.iter_mut().zip(documents) {
        if step.passage_ids.is_empty() {
            step.passage_ids.clone_from(ids);
        }
    }
    Ok(())
}
