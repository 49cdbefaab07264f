//! A point for the right answer: exact match.
//!
//! The outcome reward of Search-R1 (arXiv 2503.09516, section 3.4). A prediction is right when it
//! equals any golden answer, both normalized as `SQuAD` does: lower case, no punctuation, no
//! articles, single spaces.
//!
//! # Options
//!
//! `metric`: `"em"` (default), or `"sub-em"`, which also pays where the golden answer is a part of
//! the prediction, as the evaluation of Search-R1 and others has it. A policy that is trained with
//! `"sub-em"` learns to answer with lists.
//!
//! # Parts
//!
//! `em` (or `sub-em`) and `f1`, the word F1, for people: it is not paid for.
//!
//! # Departures
//!
//! - The published code looks for the last answer tag in the whole text, pages included, and skips
//!   the example in its prompt by counting. Here the trainer says what the policy answered.
//! - A question without golden answers is not applicable, instead of 0.
//! - With `"sub-em"`, a golden answer of which normalization leaves nothing matches nothing.

#![forbid(unsafe_code)]

use forage_reward_sdk::{prelude::*, text};

/// Configuration of [`ExactMatch`].
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What counts as right.
    #[serde(default)]
    pub metric: Metric,
}

/// What counts as right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// A golden answer.
    #[default]
    Em,
    /// A text with a golden answer in it.
    SubEm,
}

/// A point for the right answer.
#[derive(Debug)]
pub struct ExactMatch {
    metric: Metric,
}

impl Reward for ExactMatch {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        Ok(Self { metric: config.metric })
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        let golds = &question.golden_answers;
        if golds.is_empty() {
            return Ok(Grade::NotApplicable);
        }
        let Some(answer) = it.answer.as_deref() else {
            return Score::new(0.0).part(self.metric.name(), 0.0).part("f1", 0.0).into();
        };
        let right = match self.metric {
            Metric::Em => text::exact_match(answer, golds),
            Metric::SubEm => text::sub_exact_match(answer, golds),
        };
        let f1 = text::token_f1(answer, golds);
        Score::new(right).part(self.metric.name(), right).part("f1", f1).into()
    }
}

impl Metric {
    fn name(self) -> &'static str {
        match self {
            Self::Em => "em",
            Self::SubEm => "sub-em",
        }
    }
}

export_reward!(ExactMatch);

#[cfg(test)]
mod tests {
    use super::*;

    fn score(metric: Metric, golds: &[&str], answer: Option<&str>) -> Grade {
        let reward = ExactMatch::new(Config { metric }).unwrap();
        let question = Question::new("?", golds.iter().copied());
        let trajectory = Trajectory::default().search("x", []);
        let trajectory = match answer {
            Some(answer) => trajectory.answer(answer),
            None => trajectory,
        };
        reward.score(&question, &trajectory).unwrap()
    }

    #[test]
    fn pays_for_golden_answers() {
        for (metric, golds, answer, reward, f1) in [
            (Metric::Em, ["Beatles"].as_slice(), Some("The  Beatles!"), 1.0, 1.0),
            (Metric::Em, &["Lyon", "Paris"], Some("paris"), 1.0, 1.0),
            (Metric::Em, &["Paris"], Some("Paris, France"), 0.0, 2.0 / 3.0),
            (Metric::SubEm, &["Paris"], Some("Paris, France"), 1.0, 2.0 / 3.0),
            (Metric::SubEm, &["Paris"], Some("Lyon"), 0.0, 0.0),
            (Metric::Em, &["yes"], Some("no"), 0.0, 0.0),
            (Metric::Em, &["Paris"], Some(""), 0.0, 0.0),
            (Metric::Em, &["Paris"], None, 0.0, 0.0),
            // Not even a golden answer of which nothing is left is found in silence.
            (Metric::Em, &["The The"], None, 0.0, 0.0),
        ] {
            let Grade::Scored(found) = score(metric, golds, answer) else { panic!("{answer:?}") };
            assert!((found.reward - reward).abs() < 1e-9, "{metric:?} {answer:?}: {found:?}");
            assert!((found.parts["f1"] - f1).abs() < 1e-9, "{metric:?} {answer:?}: {found:?}");
            assert_eq!(found.parts[metric.name()].to_bits(), found.reward.to_bits());
        }
    }

    #[test]
    fn has_no_opinion_without_golden_answers() {
        assert_eq!(score(Metric::Em, &[], Some("Paris")), Grade::NotApplicable);
    }
}
