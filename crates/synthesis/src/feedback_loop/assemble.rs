//! Assembly: the pairs that become questions of the data set.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use forage_trajectory::Question;
use serde::{Deserialize, Serialize};

use super::config::FeedbackLoopConfig;
use super::record::{ItemEnd, ItemRecord};
use crate::chat::Usage;

/// Accepted question: a pair that became a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AcceptedQuestion {
    /// Question.
    pub question: Question,
    /// Index of its item.
    pub index: u64,
    /// Round of its pair.
    pub round: usize,
    /// Target number of searches.
    pub target_steps: usize,
    /// Fewest searches of a right run.
    pub min_steps: usize,
    /// Share of right runs (Avg@K).
    pub average: f64,
}

/// Reason why an item became no question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropReason {
    /// No pair was made, or none could be attempted.
    Lost,
    /// No run of its last pair was right.
    Wrong,
    /// It was answered with fewer searches than `min_steps`.
    TooFewSteps,
    /// An earlier item has the same question.
    Duplicate,
    /// It is a near-duplicate of a question to be avoided.
    Contaminated,
    /// It was answered without searching.
    Guessable,
    /// It shares a link of its chain, or is a near-duplicate, of a question of another split.
    AcrossSplits,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Wrong => "wrong",
            Self::TooFewSteps => "too few steps",
            Self::Duplicate => "duplicate",
            Self::Contaminated => "contaminated",
            Self::Guessable => "guessable",
            Self::AcrossSplits => "across splits",
        })
    }
}

/// Accepted questions of a run, and the reasons of all dropped items.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Assembly {
    /// In the order of their items.
    pub accepted: Vec<AcceptedQuestion>,
    /// Number of dropped items by reason.
    pub dropped: BTreeMap<DropReason, usize>,
    /// Usage beyond that of the items: closed-book guesses.
    #[serde(default)]
    pub usage: Usage,
}

impl Assembly {
    /// Drops the questions of these items for a reason.
    pub fn drop_items(&mut self, reason: DropReason, indices: &BTreeSet<u64>) {
        let before = self.accepted.len();
        self.accepted.retain(|accepted| !indices.contains(&accepted.index));
        let n = before - self.accepted.len();
        if n > 0 {
            *self.dropped.entry(reason).or_default() += n;
        }
    }
}

/// Assembles the questions: of items that passed, the pair that passed; of items that went through
/// all rounds, the current pair if it is correct, even if easier than the target. Pairs with fewer
/// than `min_steps` searches are dropped, and all but the first of equal questions.
pub fn assemble(records: &[ItemRecord], config: &FeedbackLoopConfig) -> Assembly {
    let mut assembly = Assembly::default();
    let mut seen = HashSet::new();
    for record in records {
        match accept(record, config) {
            Ok(accepted) if seen.insert(plain(&accepted.question.text)) => {
                assembly.accepted.push(accepted);
            }
            Ok(_) => *assembly.dropped.entry(DropReason::Duplicate).or_default() += 1,
            Err(reason) => *assembly.dropped.entry(reason).or_default() += 1,
        }
    }
    assembly
}

fn accept(
    record: &ItemRecord,
    config: &FeedbackLoopConfig,
) -> Result<AcceptedQuestion, DropReason> {
    if let ItemEnd::Lost { .. } = record.end {
        return Err(DropReason::Lost);
    }
    let round = record.standing(config.rounds, config.update).ok_or(DropReason::Lost)?;
    let (pair, verdict) = record.rounds[round].tried().ok_or(DropReason::Lost)?;
    let min_steps = verdict.min_steps().ok_or(DropReason::Wrong)?;
    if min_steps < config.min_steps {
        return Err(DropReason::TooFewSteps);
    }
    Ok(AcceptedQuestion {
        question: pair.question(format!("sage-{:06}", record.index)),
        index: record.index,
        round,
        target_steps: record.target_steps,
        min_steps,
        average: verdict.average(),
    })
}

/// Questions are equal up to case and white space.
fn plain(question: &str) -> String {
    question.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feedback_loop::{AnswerType, PairVerdict, QaPair, Round, UpdateRule};

    /// A record whose rounds have these fewest searches; `None` is a wrong pair.
    fn record(index: u64, target_steps: usize, rounds: &[(&str, Option<usize>)]) -> ItemRecord {
        let tried = |(question, steps): &(&str, Option<usize>)| Round::Tried {
            pair: QaPair { question: (*question).to_owned(), ..QaPair::default() },
            verdict: PairVerdict {
                n_runs: 4,
                n_right: usize::from(steps.is_some()),
                shortest: steps.map(|it| (it, 0)),
                n_searches: 8,
            },
            lost: Vec::new(),
        };
        let passed =
            rounds.last().is_some_and(|(_, steps)| steps.is_some_and(|it| it >= target_steps));
        ItemRecord {
            index,
            target_steps,
            answer_type: AnswerType::Entity,
            document_id: String::new(),
            rounds: rounds.iter().map(tried).collect(),
            end: if passed { ItemEnd::Passed } else { ItemEnd::OutOfRounds },
            usage: Usage::default(),
        }
    }

    #[test]
    fn passes_of_any_round_and_whatever_is_correct_in_the_last() {
        type Case<'a> = (usize, &'a [(&'a str, Option<usize>)], Result<usize, DropReason>);
        let cases: [Case<'_>; 8] = [
            // Correct with 3 steps where 4 are wanted: not taken at round 0, it has to go on.
            (4, &[("a", Some(3)), ("b", Some(4))], Ok(1)),
            (3, &[("a", Some(3))], Ok(0)),
            // The same in the last round is taken.
            (6, &[("a", None), ("b", None), ("c", Some(3))], Ok(2)),
            (6, &[("a", Some(5)), ("b", Some(4)), ("c", Some(3))], Ok(2)),
            (6, &[("a", Some(5)), ("b", Some(5)), ("c", None)], Err(DropReason::Wrong)),
            (6, &[("a", None), ("b", None), ("c", Some(1))], Err(DropReason::TooFewSteps)),
            (2, &[("a", Some(2))], Ok(0)),
            (1, &[("a", Some(1))], Err(DropReason::TooFewSteps)),
        ];
        let config = FeedbackLoopConfig::default();
        for (steps, rounds, expected) in cases {
            let assembly = assemble(&[record(0, steps, rounds)], &config);
            let found = match assembly.accepted.as_slice() {
                [one] => Ok(one.round),
                _ => Err(*assembly.dropped.keys().next().unwrap()),
            };
            assert_eq!(found, expected, "S = {steps}, {rounds:?}");
        }
    }

    #[test]
    fn equal_questions_are_one() {
        let records = [
            record(0, 2, &[("Who  is it?", Some(2))]),
            record(1, 2, &[("who is it?", Some(3))]),
            record(2, 2, &[("Who was it?", Some(3))]),
        ];
        let assembly = assemble(&records, &FeedbackLoopConfig::default());
        let indices: Vec<_> = assembly.accepted.iter().map(|it| it.index).collect();
        assert_eq!(indices, [0, 2]);
        assert_eq!(assembly.dropped, BTreeMap::from([(DropReason::Duplicate, 1)]));
    }

    #[test]
    fn resampling_keeps_the_best() {
        let config =
            FeedbackLoopConfig { update: UpdateRule::Resample, ..FeedbackLoopConfig::default() };
        for (rounds, expected) in [
            (&[("a", Some(3)), ("b", Some(2)), ("c", None)][..], 0),
            (&[("a", Some(2)), ("b", Some(3)), ("c", Some(3))], 1),
            (&[("a", None), ("b", Some(2)), ("c", None)], 1),
            (&[("a", None), ("b", Some(6))], 1),
        ] {
            let assembly = assemble(&[record(0, 6, rounds)], &config);
            assert_eq!(assembly.accepted[0].round, expected, "{rounds:?}");
        }
    }
}
