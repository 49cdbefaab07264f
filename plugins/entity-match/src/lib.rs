//! Entity-match reward of E-GRPO: partial reward of an incorrect answer for the entities that the
//! reasoning mentions.
//!
//! arXiv 2510.24694, section 3. With the entities `E` of a question,
//!
//! ```text
//! γ_i  = |{ e ∈ E : a <think> block of trajectory i mentions e }| / |E|
//! γ̂_i  = γ_i / max_j γ_j                       0 if the maximum is 0
//! R_i  = 1          for a correct answer
//!        α · γ̂_i    for an incorrect answer     α = 0.3
//!        0          without an answer, over budget, or with an invalid format
//! ```
//!
//! # Options
//!
//! `alpha`, `alpha_schedule`, `matching`, `aliases`, `correct`: see [`Config`].
//!
//! # Parts
//!
//! `correct`, `gamma` (γ) and `bonus` (α γ̂, or 0 if it was not paid).
//!
//! # Departures
//!
//! - The paper judges answers with a language model. Here they are compared with golden answers.
//! - `max γ` is over all trajectories of the group, including failed ones, as in equation 3.
//! - Entities that are listed twice count once, and blank ones do not count.
//! - `alpha_schedule`, `aliases` and `matching = "words"` are ours.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use forage_reward_sdk::grammar::is_block;
use forage_reward_sdk::{prelude::*, text};

/// Maximum number of words of an answer for `sub-em`: longer ones are lists.
const MAX_ANSWER_WORDS: usize = 20;

/// Configuration of [`EntityMatch`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// α, the maximum reward of an incorrect answer, from 0 to 1. Default: 0.3.
    pub alpha: Option<f64>,
    /// Schedule of α: `[step, α]` points, linear between the points and constant beyond them.
    /// Default: none.
    pub alpha_schedule: Option<Vec<(u64, f64)>>,
    /// Matching of entities. Default: `exact`.
    pub matching: Matching,
    /// Other names of entities. Default: none.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Metric of correctness. Default: `em`.
    pub correct: Correct,
}

/// Matching of entities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matching {
    /// The reasoning contains the name, character for character.
    #[default]
    Exact,
    /// The reasoning contains the words of the name, in order, both normalized.
    Words,
}

/// Metric of correctness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correct {
    /// Exact match: the answer equals a golden answer.
    #[default]
    Em,
    /// Substring exact match: the answer contains a golden answer, and has at most 20 words.
    SubEm,
}

/// Entity-match reward.
#[derive(Debug)]
pub struct EntityMatch {
    alpha: Vec<(u64, f64)>,
    matching: Matching,
    aliases: BTreeMap<String, Vec<String>>,
    correct: Correct,
}

impl Reward for EntityMatch {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        let Config { alpha, alpha_schedule, matching, aliases, correct } = config;
        let alpha = match (alpha, alpha_schedule) {
            (Some(_), Some(_)) => {
                return Err(RewardError::new("give one of `alpha` and `alpha_schedule`"));
            }
            (alpha, None) => vec![(0, alpha.unwrap_or(0.3))],
            (None, Some(points)) => points,
        };
        if alpha.is_empty() || !alpha.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(RewardError::new("`alpha_schedule` wants points of ascending steps"));
        }
        if let Some((_, wrong)) = alpha.iter().find(|(_, it)| !(0.0..=1.0).contains(it)) {
            return Err(RewardError::new(format!("an α of {wrong} is not between 0 and 1")));
        }
        Ok(Self { alpha, matching, aliases, correct })
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        let alone =
            Group { question: question.clone(), trajectories: vec![it.clone()], step: None };
        let mut grades = self.score_group(&alone)?;
        grades.pop().ok_or_else(|| RewardError::new("a group of one has one grade"))
    }

    fn score_group(&self, group: &Group) -> Result<Vec<Grade>, RewardError> {
        let golds = &group.question.golden_answers;
        if golds.is_empty() {
            return Ok(vec![Grade::NotApplicable; group.trajectories.len()]);
        }
        let entities = &group.question.evidence.entities;
        let gammas: Vec<f64> =
            group.trajectories.iter().map(|it| self.gamma(entities, it)).collect();
        let most = gammas.iter().copied().fold(0.0, f64::max);
        let alpha = self.alpha_at(group.step.unwrap_or(0));
        let grade = |(trajectory, gamma): (&Trajectory, f64)| {
            let answer =
                trajectory.clean_answer().filter(|_| trajectory.outcome == Outcome::Answered);
            let correct = answer.is_some_and(|answer| self.is_correct(answer, golds));
            let wrong = answer.is_some() && !correct;
            let bonus = if wrong && most > 0.0 { alpha * gamma / most } else { 0.0 };
            let correct = f64::from(u8::from(correct));
            let score = Score::new(correct + bonus).part("correct", correct);
            score.part("gamma", gamma).part("bonus", bonus).into()
        };
        Ok(group.trajectories.iter().zip(gammas).map(grade).collect())
    }
}

impl EntityMatch {
    /// γ: the share of the entities that the reasoning mentions; 0 without entities.
    fn gamma(&self, entities: &[Text], it: &Trajectory) -> f64 {
        let entities: BTreeSet<&str> =
            entities.iter().map(|entity| entity.trim()).filter(|it| !it.is_empty()).collect();
        let thoughts: Vec<String> = it
            .segments
            .iter()
            .filter(|segment| segment.kind == Kind::Think && is_block(segment))
            .map(|segment| self.prepared(&segment.content))
            .collect();
        let is_named = |entity: &&&str| {
            let aliases = self.aliases.get(**entity).into_iter().flatten().map(String::as_str);
            let mut names = std::iter::once(**entity).chain(aliases).map(|it| self.prepared(it));
            names.any(|name| {
                !name.trim().is_empty() && thoughts.iter().any(|thought| thought.contains(&name))
            })
        };
        entities.iter().filter(is_named).count() as f64 / entities.len().max(1) as f64
    }

    /// Text in the form in which names are searched in reasoning. For `words` there are spaces
    /// around it, so that only whole words match.
    fn prepared(&self, name_or_thought: &str) -> String {
        match self.matching {
            Matching::Exact => name_or_thought.to_owned(),
            Matching::Words => format!(" {} ", text::normalize_answer(name_or_thought)),
        }
    }

    fn is_correct(&self, answer: &str, golds: &[Text]) -> bool {
        match self.correct {
            Correct::Em => text::exact_match(answer, golds) > 0.0,
            Correct::SubEm => {
                !text::is_list(answer, golds, MAX_ANSWER_WORDS)
                    && text::sub_exact_match(answer, golds) > 0.0
            }
        }
    }

    fn alpha_at(&self, step: u64) -> f64 {
        let after = self.alpha.partition_point(|(at, _)| *at <= step);
        match (after.checked_sub(1).map(|before| self.alpha[before]), self.alpha.get(after)) {
            (Some((from, low)), Some(&(to, high))) => {
                low + (high - low) * (step - from) as f64 / (to - from) as f64
            }
            (Some((_, alpha)), None) | (None, Some(&(_, alpha))) => alpha,
            (None, None) => unreachable!("a schedule has at least one point"),
        }
    }
}

export_reward!(EntityMatch);

#[cfg(test)]
mod tests;
