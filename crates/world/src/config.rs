//! Configuration of a generated world (size and difficulty): the `[world]` section of a run file.

use serde::{Deserialize, Serialize};

use crate::entity::Split;

/// Size and difficulty of a generated world.
///
/// This is the whole `[world]` section of a run file that makes its own questions; a training run
/// adds the questions that are asked, in a [`WorldSection`](crate::WorldSection).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldConfig {
    /// Number of entities of each split.
    pub entities: EntityCounts,
    /// Share of invented names with three syllables instead of two, from 0 to 1. An agent that was
    /// trained in worlds without them spells few of them right. Default: 0.
    #[serde(default)]
    pub long_names: f64,
    /// Share of the links beside which a passage also states one fact of the linked entity, from 0
    /// to 1: an agent that reads it needs no search for that fact. In run files, the key is
    /// `asides`. Default: 0.
    #[serde(default, rename = "asides", skip_serializing_if = "is_zero")]
    pub inline_facts: f64,
}

/// Number of entities of each split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntityCounts {
    /// Training split. Default: 1600.
    pub train: usize,
    /// Validation split. Default: 400.
    pub dev: usize,
    /// Test split. Default: 400.
    pub test: usize,
}

impl Default for EntityCounts {
    fn default() -> Self {
        Self { train: 1600, dev: 400, test: 400 }
    }
}

impl EntityCounts {
    /// Count of one split.
    pub const fn of(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train,
            Split::Dev => self.dev,
            Split::Test => self.test,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn is_zero(share: &f64) -> bool {
    *share == 0.0
}
