//! Log of reference queries: one line for each question that is done.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chat::Usage;
use crate::event_log::{EventLog, LogError, LogEvent};

/// Queries of a sub-question.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepQueries {
    /// Queries that are kept, in the order of the model.
    pub kept: Vec<String>,
    /// Number of queries that were written but not kept.
    pub dropped: usize,
    /// Why there is none, where none was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Event of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueryEvent {
    /// First line: the description of the run.
    Run(Value),
    /// A question is done.
    Written {
        /// Index of the question among all.
        index: u64,
        /// Queries by sub-question.
        steps: Vec<StepQueries>,
        /// Usage of the chat model.
        #[serde(default, skip_serializing_if = "Usage::is_nothing")]
        usage: Usage,
    },
}

impl LogEvent for QueryEvent {
    fn of_run(run: Value) -> Self {
        Self::Run(run)
    }

    fn run(&self) -> Option<&Value> {
        match self {
            Self::Run(run) => Some(run),
            Self::Written { .. } => None,
        }
    }

    fn index(&self) -> Option<u64> {
        match self {
            Self::Run(_) => None,
            Self::Written { index, .. } => Some(*index),
        }
    }
}

/// Open log of reference queries, with what it held when it was opened.
#[derive(Debug)]
pub struct QueryLog {
    pub(super) log: EventLog<QueryEvent>,
    pub(super) done: BTreeMap<u64, Vec<StepQueries>>,
    pub(super) used: Usage,
}

impl QueryLog {
    /// Opens a log, or begins one; see [`EventLog::open`].
    pub fn open(path: &Path, run: &Value) -> Result<Self, LogError> {
        let mut done = BTreeMap::new();
        let mut used = Usage::default();
        let log = EventLog::open(path, run, |event| {
            if let QueryEvent::Written { index, steps, usage } = event {
                used += usage;
                done.insert(index, steps);
            }
        })?;
        Ok(Self { log, done, used })
    }

    /// Number of questions that were done when the log was opened.
    pub fn n_done(&self) -> usize {
        self.done.len()
    }
}
