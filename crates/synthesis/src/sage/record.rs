//! What became of an item, round by round, without its traces.

use forage_trajectory::{Evidence, Question};
use serde::{Deserialize, Serialize};

use super::{AnswerType, Item, Pair, Update, Usage, Verdict};

/// A round of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Round {
    /// A pair was made and tried.
    Tried {
        /// The pair.
        pair: Pair,
        /// What became of it.
        verdict: Verdict,
        /// Why runs were lost, one reason a lost run.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lost: Vec<String>,
    },
    /// No pair was made; the one before stands.
    NotMade {
        /// Why.
        reason: String,
    },
}

impl Round {
    /// The pair and its verdict, where one was made.
    pub fn tried(&self) -> Option<(&Pair, &Verdict)> {
        match self {
            Self::Tried { pair, verdict, .. } => Some((pair, verdict)),
            Self::NotMade { .. } => None,
        }
    }
}

/// How an item ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Its last pair is correct and as hard as wanted.
    Passed,
    /// All rounds are over.
    OutOfRounds,
    /// No run of its last pair came to an end, or no pair was ever made.
    Lost {
        /// Why.
        reason: String,
    },
}

/// A finished item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// Index in the run.
    pub index: u64,
    /// How many searches were wanted.
    pub target_steps: usize,
    /// What kind of answer was wanted.
    pub answer_type: AnswerType,
    /// Id of the document.
    pub document_id: String,
    /// What happened, from round 0.
    pub rounds: Vec<Round>,
    /// How it ended.
    pub end: End,
    /// What it took.
    pub usage: Usage,
}

impl ItemRecord {
    /// An item that has ended.
    pub(crate) fn new(item: &Item, rounds: Vec<Round>, end: End, usage: Usage) -> Self {
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

    /// The round whose pair stands after `rounds` rounds of updates: with feedback the newest; of
    /// resampling the best, which is the first that passes, or else the hardest correct one, or
    /// else the newest.
    pub fn standing(&self, rounds: usize, update: Update) -> Option<usize> {
        let tried = || {
            let so_far = self.rounds.iter().take(rounds + 1).enumerate();
            so_far.filter_map(|(idx, it)| Some((idx, it.tried()?.1)))
        };
        let newest = tried().next_back().map(|(idx, _)| idx);
        match update {
            Update::Feedback => newest,
            Update::Resample => tried()
                .find(|(_, it)| it.passes(self.target_steps))
                .or_else(|| hardest(tried().filter(|(_, it)| it.is_correct())))
                .map(|(idx, _)| idx)
                .or(newest),
        }
    }
}

/// The first of those with the most steps.
fn hardest<'a>(tried: impl Iterator<Item = (usize, &'a Verdict)>) -> Option<(usize, &'a Verdict)> {
    tried.reduce(|best, it| if it.1.min_steps() > best.1.min_steps() { it } else { best })
}

impl Pair {
    /// The pair as a question of a data set.
    pub fn question(&self, id: String) -> Question {
        let Self { question, golden_answers, evidence } = self.clone();
        let shape = match evidence.shape.as_str() {
            "" => "synthesized".to_owned(),
            shape => shape.to_owned(),
        };
        let evidence = Evidence { shape, ..evidence };
        Question { id, text: question, golden_answers, evidence }
    }
}
