//! Text of the question: the first key that holds one.

use std::borrow::Cow;

use serde_json::Value;

use crate::error::{RowError, describe, keys};
use crate::fields::{Object, field, object, structure, text};

/// Keys whose content is a question, the surest first.
const KEYS: [&str; 5] = ["question", "Question", "query", "question_text", "text"];

/// What templates of prompts put before the question.
const MARK: &str = "Question:";

/// Reads the question.
///
/// `question` is the question whatever stands in `text`, which other data sets have for a passage;
/// only a `text` that is clearly another question is an error.
pub(crate) fn question_text(row: &Object) -> Result<String, RowError> {
    let mut blank = None;
    for key in KEYS {
        let Some(value) = field(row, key) else { continue };
        match value {
            Value::String(it) if it.trim().is_empty() => blank = blank.or(Some(key)),
            Value::String(it) => return without_rival(row, key, it),
            // Google's Natural Questions: the text with its tokens.
            Value::Object(it) if text(it, "text").is_some() => {
                return Ok(text(it, "text").unwrap_or_default().to_owned());
            }
            other if key != "text" => return Err(not_a_text(key, other)),
            _ => {}
        }
    }
    let extra = object(row, "extra_info").unwrap_or_default();
    if let Some(it) = text(&extra, "question") {
        return Ok(it.to_owned());
    }
    if let Some(it) = field(row, "prompt") {
        return of_prompt(it);
    }
    let found = blank
        .map_or_else(|| format!("the row has {}", keys(row)), |key| format!("`{key}` is blank"));
    Err(RowError::NoQuestion { found })
}

fn not_a_text(key: &str, value: &Value) -> RowError {
    RowError::Shape {
        key: key.to_owned(),
        expected: "a question is a text",
        found: describe(value),
    }
}

fn without_rival(row: &Object, key: &'static str, question: &str) -> Result<String, RowError> {
    let rival = text(row, "text").filter(|_| key != "text").map(str::trim);
    let is_question =
        |text: &str| text.ends_with('?') && !text.contains(". ") && !text.contains('\n');
    let trimmed = question.trim();
    // The first four keys name nothing but questions.
    let mut others = KEYS[..4].iter().filter(|other| **other != key);
    let differs = |other: &&&'static str| {
        text(row, other).is_some_and(|other| !other.trim().is_empty() && other.trim() != trimmed)
    };
    if let Some(other) = others.find(differs).filter(|_| key != "text") {
        return Err(RowError::TwoQuestions { one: key, other });
    }
    if rival.is_some_and(|rival| rival != trimmed && is_question(rival)) && is_question(trimmed) {
        return Err(RowError::TwoQuestions { one: key, other: "text" });
    }
    Ok(question.to_owned())
}

/// Question of the messages of a prompt: what follows the last `Question:` of the last message of
/// the user, or the whole message.
fn of_prompt(prompt: &Value) -> Result<String, RowError> {
    let prompt = structure("prompt", prompt)?;
    let content = match prompt.as_ref() {
        Value::String(it) => Cow::Borrowed(it.as_str()),
        Value::Array(messages) => user_content(messages).ok_or_else(|| RowError::NoQuestion {
            found: "`prompt` has no message of the role `user` with a text".to_owned(),
        })?,
        other => {
            return Err(RowError::Shape {
                key: "prompt".to_owned(),
                expected: "a prompt is a list of messages with `role` and `content`",
                found: describe(other),
            });
        }
    };
    let question =
        content.rsplit_once(MARK).map_or(content.as_ref(), |(_, question)| question).trim();
    if question.is_empty() {
        return Err(RowError::NoQuestion {
            found: "nothing follows `Question:` in `prompt`".to_owned(),
        });
    }
    Ok(question.to_owned())
}

fn user_content(messages: &[Value]) -> Option<Cow<'_, str>> {
    let users = messages.iter().filter_map(Value::as_object).rev();
    let last = users.into_iter().find(|message| text(message, "role") == Some("user"))?;
    match field(last, "content")? {
        Value::String(it) => Some(Cow::Borrowed(it)),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| text(part.as_object()?, "text"));
            Some(Cow::Owned(texts.collect::<Vec<_>>().join("\n")))
        }
        _ => None,
    }
}
