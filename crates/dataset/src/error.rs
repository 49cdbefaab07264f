//! What can be wrong with a row, in words of the data format.

use serde_json::{Map, Value};

/// What every hint about an unknown row ends in.
const KNOWN: &str = "a line is {\"id\": \"1\", \"question\": \"…\", \"golden_answers\": [\"…\"]}; \
                     docs/data-formats.md lists the published data sets that are read";

/// Row that is no question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The row is a list, a text or a number.
    #[error("the row is {found}, not an object with keys")]
    NotAnObject {
        /// What it is.
        found: String,
    },
    /// No key holds a question.
    #[error("the question has no text: {found}")]
    NoQuestion {
        /// Keys of the row, or the blank key.
        found: String,
    },
    /// Two keys hold two questions.
    #[error("`{one}` and `{other}` are two different questions")]
    TwoQuestions {
        /// Key of the first.
        one: &'static str,
        /// Key of the second.
        other: &'static str,
    },
    /// No key holds an answer.
    #[error("the question has no answer: {found}")]
    NoAnswer {
        /// Keys of the row, or the empty ones.
        found: String,
    },
    /// A key holds something that cannot be read as what it should be.
    #[error("{expected}, but `{key}` is {found}")]
    Shape {
        /// Path of the key.
        key: String,
        /// What is expected.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// A text that may be a list, or the rest of one.
    #[error(
        "`{key}` is a text that looks like a list, and cannot be read as one for certain: {found}"
    )]
    ListAsText {
        /// Path of the key.
        key: String,
        /// Beginning of the text.
        found: String,
    },
    /// The row is understood, and is no question that can be trained on.
    #[error("this is {what}")]
    NotAQuestion {
        /// What it is.
        what: String,
        /// Remedy.
        hint: &'static str,
    },
}

impl RowError {
    /// Remedy.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotAnObject { .. } | Self::NoQuestion { .. } | Self::NoAnswer { .. } => KNOWN,
            Self::TwoQuestions { .. } => "keep the key with the question of the row",
            Self::Shape { expected, .. } => shape_hint(expected),
            Self::ListAsText { .. } => {
                "write a list of texts; an answer that has brackets itself is a list of one: [\"[1]\"]"
            }
            Self::NotAQuestion { hint, .. } => hint,
        }
    }
}

fn shape_hint(expected: &str) -> &'static str {
    if expected == ANSWERS {
        "write answers as texts: \"yes\" and \"no\" for true and false, a number in quotes as it is to be compared"
    } else {
        KNOWN
    }
}

/// What answers have to be.
pub(crate) const ANSWERS: &str = "answers are a text or a list of texts";

/// What a value is, for messages.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(it) => format!("`{it}`"),
        Value::Number(it) => format!("the number `{it}`"),
        Value::String(it) => format!("the text `{}`", beginning(it)),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(map) => format!("an object with {}", keys(map)),
    }
}

/// Keys of an object, for messages.
pub(crate) fn keys(map: &Map<String, Value>) -> String {
    const MOST: usize = 12;
    let mut names: Vec<String> =
        map.keys().take(MOST).map(|key| format!("`{}`", beginning(key))).collect();
    match map.len() {
        0 => return "no keys".to_owned(),
        1 => return format!("the key {}", names[0]),
        n if n > MOST => names.push(format!("and {} more", n - MOST)),
        _ => {}
    }
    format!("the keys {}", names.join(", "))
}

/// The first 60 characters of a text.
pub(crate) fn beginning(text: &str) -> String {
    const MOST: usize = 60;
    let text = text.trim();
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain(['…']).collect()
}
