//! A value for every search, and a reward for the queries: `StepSearch`.
//!
//! arXiv 2505.15107 (EMNLP 2025). Of a trajectory with searches `t = 1 … T`,
//!
//! ```text
//! step t    scale · (G^t − P^t)             what it brought, less what it brought again: `steps`
//! outcome   F1(answer) + key_weight · key   0 (or −1) where the format is broken
//! key       1/M Σ_i max_j max_t F1(query t, reference query j of sub-question i)
//! ```
//!
//! The trainer puts the value of a search on the last token of its `</search>` and the outcome on
//! the last token. A reward that looks at whole trajectories only wants `placement = "outcome"`.
//!
//! # Options
//!
//! `preset = "paper"` or `"released"` sets all of them; [`Config`] has each with both values.
//!
//! # Parts
//!
//! `f1`, `key`, `gain` and `penalty` (sums over the searches, before weights and scale), `valid`.
//!
//! # Departures
//!
//! - Segments, queries and passages are those of the trainer. The released code finds them in the
//!   text, where an information block that the policy made up counts as a search.
//! - A query with a tag of the grammar inside, or of more than `max_words`, earns neither a step
//!   value nor a key; what it found counts as seen. Such an answer has an F1 of 0.
//! - The paper's redundancy compares passages: here by id. The key of the paper is not said to
//!   depend on the format; here nothing is paid where the format is broken.
//! - F1 is not rounded to four digits.

#![forbid(unsafe_code)]

mod key;
pub mod steps;
pub mod tfidf;

use forage_reward_sdk::grammar::{has_tags, is_block};
use forage_reward_sdk::{prelude::*, text};

use steps::Coverage;

/// Configuration of [`StepSearch`]. Absent options are those of the preset.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where options come from that are not given.
    pub preset: Preset,
    /// What the key reward is multiplied with. 0.618 in the released code; the paper gives no
    /// number, so both presets have that one.
    pub key_weight: Option<f64>,
    /// How queries are matched with sub-questions. Paper `"best"`, released `"latest"`.
    pub key: Option<Key>,
    /// What step values are multiplied with. Paper 1. The released code says 0.6 and, by adding to
    /// an array in place, has the effect of 1.6, which is the value of `"released"`.
    pub step_scale: Option<f64>,
    /// What G is multiplied with. 1 in both; 0 is the paper's ablation.
    pub gain: Option<f64>,
    /// What P is multiplied with. 1 in both; 0 is the paper's ablation.
    pub penalty: Option<f64>,
    /// Which passages count as found again. Paper `"earlier"`, released `"text-and-round"`.
    pub redundancy: Option<Redundancy>,
    /// What a valid trajectory is. Paper `"strict"`, released `"ends-with-answer"`.
    pub format: Option<Format>,
    /// The outcome of an invalid trajectory, which has step values of 0. Paper 0, released −1.
    pub failure: Option<f64>,
    /// Where step values go. `"steps"` in both.
    pub placement: Placement,
    /// What a question without gold passages gets. `"not-applicable"`; the released code pays the
    /// outcome alone.
    pub without_passages: Option<WithoutPassages>,
    /// Words of a query, and of an answer, that is no list. 64 in both, which is ours.
    pub max_words: Option<usize>,
}

/// Where options come from that are not given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The formulas of the paper.
    #[default]
    Paper,
    /// What the released code does.
    Released,
}

/// How queries are matched with sub-questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// Each sub-question has its best query.
    Best,
    /// Each query belongs to its best sub-question, which has the latest of its queries.
    Latest,
}

/// Which passages count as found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Redundancy {
    /// Those that an earlier search found, by id.
    Earlier,
    /// Those whose text was found before, also by the same search.
    TextAndRound,
}

/// What a valid trajectory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// It has a thought and a search, proper search blocks only, and one answer, at the end.
    Strict,
    /// It has an answer at the end.
    EndsWithAnswer,
}

/// Where step values go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// To their searches.
    #[default]
    Steps,
    /// Into the reward of the trajectory, as a sum.
    Outcome,
}

/// What a question without gold passages gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WithoutPassages {
    /// No opinion.
    NotApplicable,
    /// The outcome, and no step values.
    OutcomeOnly,
}

/// A value for every search, and a reward for the queries.
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

    /// The same for each of them: trajectories of one question find the same passages.
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

    /// Whether a search may earn something: one block, no tag inside, not a list.
    fn is_paid(&self, it: &Trajectory, search: &Search) -> bool {
        it.is_clean(search) && text::n_words(&search.query) <= self.max_words
    }

    fn is_valid(&self, it: &Trajectory) -> bool {
        let written = || it.segments.iter().filter(|it| it.origin == Origin::Policy);
        let of_kind = |kind| written().filter(move |it| it.kind == kind);
        let last = it.segments.iter().rfind(|it| !it.text.trim().is_empty());
        if !last.is_some_and(|it| it.kind == Kind::Answer && is_block(it)) {
            return false;
        }
        self.format == Format::EndsWithAnswer
            || (of_kind(Kind::Think).any(is_block)
                && !it.searches.is_empty()
                && of_kind(Kind::Search).all(is_block)
                && of_kind(Kind::Answer).count() == 1
                && of_kind(Kind::Other).all(|it| !has_tags(&it.text)))
    }
}

export_reward!(StepSearch);

#[cfg(test)]
mod tests;
