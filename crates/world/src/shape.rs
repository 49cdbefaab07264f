//! Shape of a question: multi-hop bridge or comparison.

use std::fmt;

/// Shape of a question: the reasoning that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuestionShape {
    /// A chain of facts, each about the value of the one before.
    Bridge {
        /// Number of facts.
        hops: usize,
    },
    /// Two facts, and which of them is greater or smaller.
    Comparison,
}

impl fmt::Display for QuestionShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge { hops } => write!(f, "{hops}-hop"),
            Self::Comparison => f.write_str("comparison"),
        }
    }
}
