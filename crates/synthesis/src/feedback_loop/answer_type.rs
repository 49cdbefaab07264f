//! Type of an answer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Type of an answer: number, date or entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerType {
    /// A number.
    Number,
    /// A date or a year.
    Date,
    /// A name.
    Entity,
}

impl fmt::Display for AnswerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::Date => "date",
            Self::Entity => "entity",
        })
    }
}
