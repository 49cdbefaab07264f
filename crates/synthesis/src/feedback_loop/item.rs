//! Item: the specification of a question before one is made.

use forage_trajectory::{BoxError, Passage, Purpose, Stream};
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::answer_type::AnswerType;
use super::config::FeedbackLoopConfig;

/// Specification of one question; it stays the same over all rounds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Index in the run, which determines its random numbers.
    pub index: u64,
    /// Target number of searches (S).
    pub target_steps: usize,
    /// Target type of the answer.
    pub answer_type: AnswerType,
    /// Document that the generator starts from (d).
    pub document: Passage,
}

/// Corpus that documents are drawn from.
pub trait Documents: Send + Sync {
    /// Number of passages.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The passage of an index.
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
    /// Draws the item of an index: document, target steps and answer type, each uniformly. A
    /// function of seed and index alone.
    ///
    /// # Errors
    ///
    /// An empty corpus, an empty list of answer types, or a passage that cannot be read.
    pub fn draw(
        config: &FeedbackLoopConfig,
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
        let config = FeedbackLoopConfig::default();
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
