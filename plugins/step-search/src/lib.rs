//! Step rewards of `StepSearch`: information gain minus redundancy for every search, and search-key
//! and answer rewards for the trajectory.
//!
//! arXiv 2505.15107 (EMNLP 2025). For a trajectory with searches `t = 1 … T`,
//!
//! ```text
//! step t    scale · (G^t − P^t)             information gain minus redundancy: see `steps`
//! outcome   F1(answer) + key_weight · key   0 (or −1) with an invalid format
//! key       1/M Σ_i max_j max_t F1(query t, reference query j of sub-question i)
//! ```
//!
//! The host puts a step reward on the last token of its `</search>`, and the outcome on the last
//! token of the trajectory. Algorithms without step rewards use `placement = "outcome"`.
//!
//! # Options
//!
//! `preset = "paper"` or `"released"` sets all of them. [`Config`] has the values of both.
//!
//! # Parts
//!
//! `f1`, `key`, `gain` and `penalty` (sums over the searches, before weights and scale), `valid`.
//!
//! # Departures
//!
//! - Segments, queries and passages are those of the host. The released code finds them in the
//!   text, where an information block that the policy made up counts as a search.
//! - A query with a tag of the agent loop inside, or with more than `max_words` words, earns
//!   neither a step reward nor a key reward; its hits count as seen. Such an answer has an F1 of 0.
//! - The redundancy of the paper compares passages: here by identifier. In the paper the key reward
//!   does not depend on the format; here an invalid trajectory earns none.
//! - F1 is not rounded to four digits.

#![forbid(unsafe_code)]

mod key;
pub mod steps;
pub mod tfidf;

use forage_reward_sdk::grammar::{has_tags, is_block};
use forage_reward_sdk::{prelude::*, text};

use steps::Coverage;

/// Configuration of [`StepSearch`]. Options that are not given have the value of the preset.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Preset of the options that are not given. Default: `paper`.
    pub preset: Preset,
    /// Weight of the key reward. 0.618 in both presets: the value of the released code, since the
    /// paper gives none.
    pub key_weight: Option<f64>,
    /// Matching of queries with sub-questions. `"best"` in the paper, `"latest"` in the released
    /// code.
    pub key: Option<Key>,
    /// Scale of step rewards. 1 in the paper, 1.6 in the released code, which has a factor of 0.6
    /// and the effect of 1.6 because it adds to an array in place.
    pub step_scale: Option<f64>,
    /// Weight of the information gain G. 1 in both; 0 is an ablation of the paper.
    pub gain: Option<f64>,
    /// Weight of the redundancy penalty P. 1 in both; 0 is an ablation of the paper.
    pub penalty: Option<f64>,
    /// Passages that count as redundant. `"earlier"` in the paper, `"text-and-round"` in the
    /// released code.
    pub redundancy: Option<Redundancy>,
    /// Validity of the format. `"strict"` in the paper, `"ends-with-answer"` in the released code.
    pub format: Option<Format>,
    /// Outcome reward of an invalid trajectory; its step rewards are 0. 0 in the paper, −1 in the
    /// released code.
    pub failure: Option<f64>,
    /// Placement of step rewards. Default: `steps`.
    pub placement: Placement,
    /// Grade of a question without gold passages. `"not-applicable"` in the paper, `"outcome-only"`
    /// in the released code.
    pub without_passages: Option<WithoutPassages>,
    /// Maximum number of words of a query or an answer. 64 in both, which is our addition.
    pub max_words: Option<usize>,
}

/// Preset of options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Formulas of the paper.
    #[default]
    Paper,
    /// Behaviour of the released code.
    Released,
}

/// Matching of queries with sub-questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// Each sub-question is matched with its best query.
    Best,
    /// Each query is matched with its best sub-question, which keeps the latest of its queries.
    Latest,
}

/// Passages that count as redundant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Redundancy {
    /// Passages that an earlier search found, by identifier.
    Earlier,
    /// Passages with a text that was found before, also by the same search.
    TextAndRound,
}

/// Validity of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A trajectory with a `<think>` block, a search, only well-formed search blocks, and one
    /// answer, at the end.
    Strict,
    /// A trajectory with an answer at the end.
    EndsWithAnswer,
}

/// Placement of step rewards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// At their searches.
    #[default]
    Steps,
    /// In the reward of the trajectory, as a sum.
    Outcome,
}

/// Grade of a question without gold passages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutPassages {
    /// Not applicable.
    NotApplicable,
    /// Outcome reward without step rewards.
    OutcomeOnly,
}

/// Step rewards of `StepSearch`.
#[derive(Debug)]
pub struct StepSearch {
    key_weight: f64,
    key: Key,
    step_scale: f64,
    gain: f64,
    penalty: f64,
    redundancy: Redundancy,
    format: Format,
    failure: f64,
    placement: Placement,
    without_passages: WithoutPassages,
    max_words: usize,
}

impl Reward for StepSearch {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        let released = config.preset == Preset::Released;
        let it = Self {
            key_weight: config.key_weight.unwrap_or(0.618),
            key: config.key.unwrap_or(if released { Key::Latest } else { Key::Best }),
            step_scale: config.step_scale.unwrap_or(if released { 1.6 } else { 1.0 }),
            gain: config.gain.unwrap_or(1.0),
            penalty: config.penalty.unwrap_or(1.0),
            redundancy: config.redundancy.unwrap_or(if released {
                Redundancy::TextAndRound
            } else {
                Redundancy::Earlier
            }),
            format: config.format.unwrap_or(if released {
                Format::EndsWithAnswer
            } else {
                Format::Strict
            }),
            failure: config.failure.unwrap_or(if released { -1.0 } else { 0.0 }),
            placement: config.placement,
            without_passages: config.without_passages.unwrap_or(if released {
                WithoutPassages::OutcomeOnly
            } else {
                WithoutPassages::NotApplicable
            }),
            max_words: config.max_words.unwrap_or(64),
        };
        let numbers = [
            ("key_weight", it.key_weight),
            ("step_scale", it.step_scale),
            ("gain", it.gain),
            ("penalty", it.penalty),
            ("failure", it.failure),
        ];
        match numbers.iter().find(|(_, number)| !number.is_finite()) {
            Some((name, number)) => {
                Err(RewardError::new(format!("`{name}` is {number}, which is not finite")))
            }
            None => Ok(it),
        }
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        let mut coverage = Coverage::new(&question.evidence.passages);
        Ok(self.grade(question, it, &mut coverage))
    }

    /// Scores each trajectory with one [`Coverage`], because trajectories of one question find the
    /// same passages.
    fn score_group(&self, group: &Group) -> Result<Vec<Grade>, RewardError> {
        let question = &group.question;
        let mut coverage = Coverage::new(&question.evidence.passages);
        Ok(group.trajectories.iter().map(|it| self.grade(question, it, &mut coverage)).collect())
    }
}

impl StepSearch {
    fn grade<'a>(
        &self,
        question: &Question,
        it: &'a Trajectory<'a>,
        coverage: &mut Coverage<'a>,
    ) -> Grade {
        let golds = &question.golden_answers;
        let lacks = question.evidence.passages.is_empty();
        if golds.is_empty() || (lacks && self.without_passages == WithoutPassages::NotApplicable) {
            return Grade::NotApplicable;
        }
        let valid = self.is_valid(it);
        let paid: Vec<bool> = it.searches.iter().map(|search| self.is_paid(it, search)).collect();
        let queries = it.searches.iter().zip(&paid).filter(|(_, paid)| **paid);
        let queries: Vec<&str> = queries.map(|(search, _)| search.query.as_str()).collect();

        let answer =
            it.clean_answer().filter(|answer| !text::is_list(answer, golds, self.max_words));
        let f1 = answer.map_or(0.0, |answer| text::word_f1(answer, golds));
        let key = key::key(self.key, &question.evidence.steps, &queries);
        let outcome = if valid { f1 + self.key_weight * key } else { self.failure };
        let score = Score::new(outcome).part("f1", f1).part("key", key);
        let score = score.part("valid", f64::from(u8::from(valid)));
        if lacks {
            return score.into();
        }

        let found = steps::of_searches(coverage, &it.searches, self.redundancy);
        let value = |(step, paid): (&steps::Step, &bool)| {
            let value = self.gain * step.gain - self.penalty * step.penalty;
            if *paid && valid { self.step_scale * value } else { 0.0 }
        };
        let values: Vec<f64> = found.iter().zip(&paid).map(value).collect();
        let mut score = score
            .part("gain", found.iter().map(|it| it.gain).sum())
            .part("penalty", found.iter().map(|it| it.penalty).sum());
        match self.placement {
            Placement::Steps => score = score.steps(values),
            Placement::Outcome => score.reward += values.iter().sum::<f64>(),
        }
        score.into()
    }

    /// Whether a search can earn a reward: one block, no tag inside, and not a list.
    fn is_paid(&self, it: &Trajectory, search: &Search) -> bool {
        it.is_clean(search) && text::n_words(&search.query) <= self.max_words
    }

    fn is_valid(&self, it: &Trajectory) -> bool {
        let written = || it.segments.iter().filter(|it| it.origin == Origin::Policy);
        let of_kind = |kind| written().filter(move |it| it.kind == kind);
        let last = it.segments.iter().rfind(|segment| !segment.text.trim().is_empty());
        if !last.is_some_and(|segment| segment.kind == Kind::Answer && is_block(segment)) {
            return false;
        }
        self.format == Format::EndsWithAnswer
            || (of_kind(Kind::Think).any(is_block)
                && !it.searches.is_empty()
                && of_kind(Kind::Search).all(is_block)
                && of_kind(Kind::Answer).count() == 1
                && of_kind(Kind::Other).all(|segment| !has_tags(&segment.text)))
    }
}

export_reward!(StepSearch);

#[cfg(test)]
mod tests;
