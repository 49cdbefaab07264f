//! What a question is to be like, before there is one.

use std::fmt;

use forage_trajectory::{BoxError, Passage, Purpose, Stream};
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::SageConfig;

/// What kind of thing the answer is.
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

/// One question to be made. What it is to be like stays the same over its rounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Index in the run; its random numbers follow from it.
    pub index: u64,
    /// How many searches it should take (S).
    pub target_steps: usize,
    /// What kind of thing the answer should be.
    pub answer_type: AnswerType,
    /// Where the generator begins (d).
    pub document: Passage,
}

/// A corpus that documents are drawn from.
pub trait Documents: Send + Sync {
    /// How many passages there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A passage, by its index.
    fn passage(&self, index: u64) -> Result<Passage, BoxError>;
}

impl Documents for [Passage] {
    fn len(&self) -> u64 {
        <[Passage]>::len(self) as u64
    }

    fn passage(&self, index: u64) -> Result<Passage, BoxError> {
        let passage = usize::try_from(index).ok().and_then(|it| self.get(it));
        passage.cloned().ok_or_else(|| format!("there is no passage {index}").into())
    }
}

impl Documents for Vec<Passage> {
    fn len(&self) -> u64 {
        Documents::len(self.as_slice())
    }

    fn passage(&self, index: u64) -> Result<Passage, BoxError> {
        Documents::passage(self.as_slice(), index)
    }
}

impl Item {
    /// Draws the item of an index: document, steps and type of answer, each uniformly. A function
    /// of seed and index alone.
    pub fn draw(
        config: &SageConfig,
        documents: &dyn Documents,
        seed: u64,
        index: u64,
    ) -> Result<Self, BoxError> {
        let mut rng = Stream::new(seed, Purpose::Items).of_member(index, 0).rng();
        if documents.is_empty() {
            return Err("the corpus is empty".into());
        }
        let document = documents.passage(rng.random_range(0..documents.len()))?;
        let target_steps = rng.random_range(config.steps_from..=config.steps_to);
        let answer_type = config.answer_types.choose(&mut rng).copied();
        let answer_type = answer_type.ok_or("there is no type of answer to choose from")?;
        Ok(Self { index, target_steps, answer_type, document })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn items_are_functions_of_their_index() {
        let config = SageConfig::default();
        let passage = |it: usize| Passage { id: format!("{it}"), ..Passage::default() };
        let documents: Vec<Passage> = (0..50).map(passage).collect();
        let draw = |index| Item::draw(&config, &documents, 3, index).unwrap();
        let items: Vec<Item> = (0..400).map(draw).collect();
        assert_eq!(items[7], draw(7));
        let steps: BTreeSet<_> = items.iter().map(|it| it.target_steps).collect();
        assert_eq!(steps, (2..=10).collect());
        let types: BTreeSet<_> = items.iter().map(|it| it.answer_type).collect();
        assert_eq!(types.len(), 3);
        let ids: BTreeSet<_> = items.iter().map(|it| &it.document.id).collect();
        assert!(ids.len() > 45);
        assert!(Item::draw(&config, &Vec::new(), 3, 0).is_err());
    }
}
