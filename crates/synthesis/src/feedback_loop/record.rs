//! Record of a finished item, round by round, without its traces.

use serde::{Deserialize, Serialize};

use super::answer_type::AnswerType;
use super::config::UpdateRule;
use super::item::Item;
use super::roles::QaPair;
use super::verdict::PairVerdict;
use crate::chat::Usage;

/// Round of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "nearly all rounds are tried")]
pub enum Round {
    /// A pair was made and attempted.
    Tried {
        /// The pair.
        pair: QaPair,
        /// Its verdict.
        verdict: PairVerdict,
        /// Reasons of lost runs, one per lost run.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lost: Vec<String>,
    },
    /// No pair was made; the previous one stays current.
    NotMade {
        /// The reason.
        reason: String,
    },
}

impl Round {
    /// Pair and its verdict, where one was made.
    pub fn tried(&self) -> Option<(&QaPair, &PairVerdict)> {
        match self {
            Self::Tried { pair, verdict, .. } => Some((pair, verdict)),
            Self::NotMade { .. } => None,
        }
    }
}

/// End of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemEnd {
    /// Its last pair is correct and as hard as the target.
    Passed,
    /// All rounds are over.
    OutOfRounds,
    /// No run of its last pair came to an end, or no pair was ever made.
    Lost {
        /// The reason.
        reason: String,
    },
}

/// Finished item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// Index in the run.
    pub index: u64,
    /// Target number of searches.
    pub target_steps: usize,
    /// Target type of the answer.
    pub answer_type: AnswerType,
    /// Id of the document.
    pub document_id: String,
    /// Its rounds, from round 0.
    pub rounds: Vec<Round>,
    /// Its end.
    pub end: ItemEnd,
    /// Usage of all its steps.
    pub usage: Usage,
}

impl ItemRecord {
    /// Record of an item that has ended.
    pub(crate) fn new(item: &Item, rounds: Vec<Round>, end: ItemEnd, usage: Usage) -> Self {
        Self {
            index: item.index,
            target_steps: item.target_steps,
            answer_type: item.answer_type,
            document_id: item.document.id.clone(),
            rounds,
            end,
            usage,
        }
    }

    /// Index of the round with the current pair after `rounds` updates: with feedback, the newest
    /// pair; with resampling, the first that passes, or else the hardest correct one, or else the
    /// newest.
    pub fn standing(&self, rounds: usize, update: UpdateRule) -> Option<usize> {
        let tried = || {
            let so_far = self.rounds.iter().take(rounds + 1).enumerate();
            so_far.filter_map(|(idx, round)| Some((idx, round.tried()?.1)))
        };
        let newest = tried().next_back().map(|(idx, _)| idx);
        match update {
            UpdateRule::Feedback => newest,
            UpdateRule::Resample => tried()
                .find(|(_, verdict)| verdict.passes(self.target_steps))
                .or_else(|| hardest(tried().filter(|(_, it)| it.is_correct())))
                .map(|(idx, _)| idx)
                .or(newest),
        }
    }
}

/// The first of those with the most steps.
fn hardest<'a>(
    tried: impl Iterator<Item = (usize, &'a PairVerdict)>,
) -> Option<(usize, &'a PairVerdict)> {
    tried.reduce(|best, next| if next.1.min_steps() > best.1.min_steps() { next } else { best })
}
