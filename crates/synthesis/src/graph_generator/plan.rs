//! Plan of a question: the facts that it goes through.

use serde::{Deserialize, Serialize};

/// Plan of a question: its facts, by their indices in the graph.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Chain of facts, each about the value of the one before; or two that are joined at their
    /// ends.
    pub(super) chains: Vec<Vec<usize>>,
    /// Of two compared chains, whether the question asks for the greater one.
    #[serde(default)]
    pub(super) greater: bool,
    /// Facts and nodes that failed before.
    #[serde(default)]
    pub(super) avoided: Avoided,
}

/// Facts and nodes that a chain must not go through again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Avoided {
    /// Facts that were not needed, or not read.
    pub(super) facts: Vec<usize>,
    /// Nodes that were not found by their names.
    pub(super) nodes: Vec<usize>,
}

impl Plan {
    /// Plan of a single chain.
    pub(super) fn chain(chain: Vec<usize>) -> Self {
        Self { chains: vec![chain], ..Self::default() }
    }

    /// Number of its facts.
    pub(super) fn n_facts(&self) -> usize {
        self.chains.iter().map(Vec::len).sum()
    }
}
