//! Applicability of a reward to the questions of a run, and what the questions lack.

use std::collections::BTreeMap;
use std::fmt;

use forage_reward_sdk::wire::{Applicability, Extent};

/// Applicability of a reward to questions.
///
/// Its text is a sentence for the user: `step-search applies to 0 of 19938 questions: 19938 lack gold
/// passages with text`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RewardApplicability {
    /// Name of the reward.
    pub reward: String,
    /// Number of questions.
    pub n_questions: usize,
    /// Number of questions to which the reward applies, in whole or in part.
    pub n_applicable: usize,
    /// Number of questions for which the plugin does not say whether it applies: it was built with
    /// an older SDK, or a program or server decides.
    pub n_unknown: usize,
    /// What questions lack to which the reward does not apply, with their number.
    pub lacks: BTreeMap<String, usize>,
    /// What questions lack of which a part of the reward can never be earned, with their number.
    pub partly_lacks: BTreeMap<String, usize>,
}

impl RewardApplicability {
    /// Applicability to no question yet.
    pub(crate) fn new(reward: &str) -> Self {
        Self { reward: reward.to_owned(), ..Self::default() }
    }

    /// Adds a question.
    pub(crate) fn add(&mut self, one: Applicability) {
        self.n_questions += 1;
        match one.extent {
            Extent::Whole => self.n_applicable += 1,
            Extent::Part => {
                self.n_applicable += 1;
                *self.partly_lacks.entry(one.lacks).or_default() += 1;
            }
            Extent::None => *self.lacks.entry(one.lacks).or_default() += 1,
            _ => self.n_unknown += 1,
        }
    }

    /// Whether the reward is known to apply to none of the questions.
    pub fn applies_to_none(&self) -> bool {
        self.n_questions > 0 && self.n_applicable == 0 && self.n_unknown == 0
    }

    /// Whether a part of the reward can be earned for none of the questions to which it applies,
    /// as E-GRPO's without entities.
    pub fn is_partial_for_all(&self) -> bool {
        self.n_applicable > 0 && self.partly_lacks.values().sum::<usize>() == self.n_applicable
    }
}

impl fmt::Display for RewardApplicability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reward, n_questions, n_applicable, n_unknown, lacks, partly_lacks } = self;
        if *n_unknown == *n_questions && *n_unknown > 0 {
            return write!(f, "{reward} does not say to which questions it applies");
        }
        write!(f, "{reward} applies to {n_applicable} of {n_questions} questions")?;
        let mut before = ": ";
        for (what, n) in lacks {
            write!(f, "{before}{n} {} {what}", lack(*n))?;
            before = ", ";
        }
        for (what, n) in partly_lacks {
            write!(f, "{before}{n} {} {what} and can earn only a part of it", lack(*n))?;
            before = ", ";
        }
        if *n_unknown > 0 {
            write!(f, "{before}for {n_unknown} it does not say")?;
        }
        Ok(())
    }
}

fn lack(n: usize) -> &'static str {
    if n == 1 { "lacks" } else { "lack" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(found: &[(usize, Applicability)]) -> RewardApplicability {
        let mut summary = RewardApplicability::new("r");
        for (n, one) in found {
            for _ in 0..*n {
                summary.add(one.clone());
            }
        }
        summary
    }

    #[test]
    fn sentences() {
        let (whole, unknown) = (Applicability::whole, Applicability::default);
        let none = || Applicability::none("gold passages with text");
        let part = || Applicability::part("entities");
        for (found, applies_to_none, partial, expected) in [
            (vec![], false, false, "r applies to 0 of 0 questions"),
            (vec![(3, whole())], false, false, "r applies to 3 of 3 questions"),
            (
                vec![(2, none())],
                true,
                false,
                "r applies to 0 of 2 questions: 2 lack gold passages with text",
            ),
            (
                vec![(1, none()), (2, Applicability::none("golden answers")), (1, whole())],
                false,
                false,
                "r applies to 1 of 4 questions: 1 lacks gold passages with text, \
                 2 lack golden answers",
            ),
            (
                vec![(2, part()), (1, none())],
                false,
                true,
                "r applies to 2 of 3 questions: 1 lacks gold passages with text, \
                 2 lack entities and can earn only a part of it",
            ),
            (vec![(4, unknown())], false, false, "r does not say to which questions it applies"),
            (
                vec![(1, unknown()), (1, none())],
                false,
                false,
                "r applies to 0 of 2 questions: 1 lacks gold passages with text, \
                 for 1 it does not say",
            ),
        ] {
            let summary = summary(&found);
            assert_eq!(summary.to_string(), expected);
            assert_eq!(summary.applies_to_none(), applies_to_none, "{expected}");
            assert_eq!(summary.is_partial_for_all(), partial, "{expected}");
        }
    }
}
