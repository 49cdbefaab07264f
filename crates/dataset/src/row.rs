//! Reading of one row.

use forage_trajectory::{Passage, Question};
use serde_json::Value;

use crate::answers::{golden_answers, source};
use crate::error::{RowError, describe};
use crate::evidence::evidence;
use crate::fields::{Object, field, id, index, object, text};
use crate::format::Format;
use crate::question_text::question_text;
use crate::visible::visible;

/// Row that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadRow {
    /// Format of the row.
    pub format: Format,
    /// The question. Its id is the one of the row, and empty where the row has none.
    pub question: Question,
    /// All passages of the row, distractors included.
    pub passages: Vec<Passage>,
}

/// Reads a row as a question with golden answers.
pub fn read_row(row: &Value) -> Result<ReadRow, RowError> {
    let Value::Object(row) = row else {
        return Err(RowError::NotAnObject { found: describe(row) });
    };
    let format = Format::of(row)?;
    let id = row_id(row, format)?;
    let text = question_text(row)?;
    let golden_answers = golden_answers(row, format)?;
    let found = evidence(row, &text, &golden_answers)?;
    let question = Question {
        id,
        text: visible(&text).into_owned(),
        golden_answers,
        evidence: found.evidence,
        source: source(row).unwrap_or_default(),
    };
    Ok(ReadRow { format, question, passages: found.passages })
}

/// Id of a row under the names of its format; empty if there is none.
fn row_id(row: &Object, format: Format) -> Result<String, RowError> {
    let keys: &[&str] = match format {
        Format::BrowseCompPlus => &["query_id", "id", "_id"],
        Format::TriviaQa => &["QuestionId", "question_id", "id", "_id"],
        Format::NaturalQuestions => &["id", "_id", "example_id"],
        _ => &["id", "_id", "qid", "question_id", "query_id"],
    };
    let mut found: Option<(&str, String)> = None;
    for key in keys {
        let id = field(row, key).map(|value| id(key, value)).transpose()?;
        let Some(id) = id.filter(|id| !id.trim().is_empty()) else { continue };
        match &found {
            None => found = Some((key, id)),
            Some((first, known)) if *known != id && ["id", "_id"].contains(first) => {
                return Err(RowError::Shape {
                    key: (*key).to_owned(),
                    expected: "two keys of the id agree",
                    found: format!("`{id}`, and `{first}` is `{known}`"),
                });
            }
            Some(_) => {}
        }
    }
    if let Some((_, id)) = found {
        return Ok(id);
    }
    Ok(if matches!(format, Format::Verl | Format::StepSearch) {
        id_of_extra_info(row).unwrap_or_default()
    } else {
        String::new()
    })
}

/// verl numbers the rows of a split: `train_0`.
fn id_of_extra_info(row: &Object) -> Option<String> {
    let extra = object(row, "extra_info")?;
    let idx = index(&extra, "index")?;
    Some(text(&extra, "split").map_or_else(|| idx.to_string(), |split| format!("{split}_{idx}")))
}
