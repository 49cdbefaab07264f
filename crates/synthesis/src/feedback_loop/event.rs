//! Journal events.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::item::Item;
use super::record::ItemRecord;
use super::roles::Proposal;
use super::verdict::Attempt;
use crate::chat::Usage;
use crate::event_log::LogEvent;

/// Journal event: a finished step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JournalEvent {
    /// First line: the description of the run. Only a run with an equal description resumes it.
    Run(Value),
    /// A pair was proposed or revised, or could not be.
    Proposed {
        /// Index of the item.
        index: u64,
        /// The round.
        round: usize,
        /// The proposal, or the reason why there is none.
        proposal: Result<Proposal, String>,
        /// Usage of the step.
        #[serde(default, skip_serializing_if = "Usage::is_nothing")]
        usage: Usage,
    },
    /// A pair was attempted once, and the answer was judged.
    Tried {
        /// Index of the item.
        index: u64,
        /// The round.
        round: usize,
        /// Index of the run among the K runs.
        member: usize,
        /// The attempt.
        attempt: Attempt,
        /// Usage of the step.
        #[serde(default, skip_serializing_if = "Usage::is_nothing")]
        usage: Usage,
    },
    /// A question was attempted without searching.
    Guessed {
        /// Index of the item.
        index: u64,
        /// Whether any run was right.
        right: bool,
        /// Usage of the step.
        #[serde(default, skip_serializing_if = "Usage::is_nothing")]
        usage: Usage,
    },
    /// An item has ended.
    Done {
        /// Its specification.
        item: Item,
        /// Its record.
        record: ItemRecord,
    },
}

impl LogEvent for JournalEvent {
    fn of_run(run: Value) -> Self {
        Self::Run(run)
    }

    fn run(&self) -> Option<&Value> {
        match self {
            Self::Run(run) => Some(run),
            _ => None,
        }
    }

    fn index(&self) -> Option<u64> {
        match self {
            Self::Run(_) => None,
            Self::Proposed { index, .. }
            | Self::Tried { index, .. }
            | Self::Guessed { index, .. } => Some(*index),
            Self::Done { record, .. } => Some(record.index),
        }
    }
}

impl JournalEvent {
    /// Usage of the step.
    pub(super) fn usage(&self) -> Usage {
        match self {
            Self::Proposed { usage, .. }
            | Self::Tried { usage, .. }
            | Self::Guessed { usage, .. } => *usage,
            Self::Run(_) | Self::Done { .. } => Usage::default(),
        }
    }
}
