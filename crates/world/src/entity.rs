//! Entities, the facts that link them, and the splits that they belong to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::relation::{EntityKind, Relation};

/// Part of the world, and of a data set.
///
/// Facts link only within a split, and no two splits share a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Training split.
    Train,
    /// Validation split.
    Dev,
    /// Test split.
    Test,
}

impl Split {
    /// All splits.
    pub const ALL: [Self; 3] = [Self::Train, Self::Dev, Self::Test];
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        })
    }
}

/// Index of an entity, and of its passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityId(pub(crate) usize);

impl EntityId {
    /// Position among all entities, which is that of its passage among all passages.
    pub const fn index(self) -> usize {
        self.0
    }
}

/// Entity: the subject of facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Kind of entity.
    pub kind: EntityKind,
    /// Unique within its kind; a book may be named like a film.
    pub name: String,
    /// Split that it belongs to.
    pub split: Split,
    /// Its facts, no relation twice.
    pub facts: Vec<Fact>,
}

/// Fact of an entity: relation and value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// Relation.
    pub relation: Relation,
    /// Its value.
    pub value: FactValue,
    /// Relation of the inline fact: a fact of the linked entity that the passage states beside this
    /// one.
    pub inline: Option<Relation>,
}

/// Value of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactValue {
    /// Another entity of the same split.
    Entity(EntityId),
    /// A year, from 1900 to 1999.
    Year(u32),
    /// A number of two digits.
    Count(u32),
    /// A number of two digits, in thousands, written `43 thousand`: of all forms the one with the
    /// fewest tokens that a tokenizer always splits alike.
    Thousands(u32),
}

impl Entity {
    /// Name with the word for its kind: `film Veltor`. A person is named without: people are
    /// recognized by their given names.
    pub fn with_kind(&self) -> String {
        match self.kind {
            EntityKind::Person => self.name.clone(),
            kind => format!("{kind} {}", self.name),
        }
    }

    /// Value of a relation, where it is known.
    pub fn value(&self, relation: Relation) -> Option<FactValue> {
        self.fact(relation).map(|fact| fact.value)
    }

    /// Fact of a relation, where it is known.
    pub fn fact(&self, relation: Relation) -> Option<&Fact> {
        self.facts.iter().find(|fact| fact.relation == relation)
    }
}

impl FactValue {
    /// Number, where it is one.
    pub const fn number(self) -> Option<u32> {
        match self {
            Self::Entity(_) => None,
            Self::Year(number) | Self::Count(number) | Self::Thousands(number) => Some(number),
        }
    }
}
