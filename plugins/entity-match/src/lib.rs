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
//!        0          without an answer or over budget; with `strict`, also with an invalid format
//! ```
//!
//! # Options
//!
//! `alpha`, `alpha_schedule`, `matching`, `aliases`, `skip`, `where`, `strict`, `correct`, `judge`:
//! see [`Config`].
//!
//! # Parts
//!
//! `correct`, `gamma` (γ) and `bonus` (α γ̂, or 0 if it was not paid); with `strict` also `valid`.
//!
//! # Departures
//!
//! - The paper judges answers with a language model, which is `correct = "judge"`. By default they
//!   are compared with golden answers.
//! - In the paper a trajectory with an invalid format earns nothing, which is `strict`. By default
//!   an answer counts in whatever was written around it.
//! - `max γ` is over all trajectories of the group, including failed ones, as in equation 3.
//! - Entities that are listed twice count once, and blank ones do not count.
//! - `alpha_schedule`, `skip` and `matching = "words"` are ours. So are aliases in the run file; the
//!   paper's are part of the question (`evidence.aliases`).
//! - Characters that look the same are the same, also with `matching = "exact"`: see [`text::fold`].

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use forage_reward_sdk::grammar::{is_block, is_valid};
use forage_reward_sdk::judge::{self, Judge};
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
    /// Other names of entities, besides those of the question. Default: none.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Entities that do not count; the others are E. Default: none.
    pub skip: Vec<Skip>,
    /// Text in which entities are searched. Default: `thoughts`.
    pub r#where: Where,
    /// Whether a trajectory that does not strictly follow the format earns nothing, as in the paper:
    /// see [`is_valid`]. Default: false.
    pub strict: bool,
    /// Metric of correctness. Default: `em`.
    pub correct: Correct,
    /// Judge of `correct = "judge"`. Default: none.
    pub judge: Option<judge::Config>,
}

/// Entities that do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skip {
    /// Entities that the question names: to repeat them shows nothing.
    Question,
    /// Entities that are a golden answer.
    Answer,
}

/// Text in which entities are searched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// Well-formed `<think>` blocks.
    #[default]
    Thoughts,
    /// Everything after the prompt, search results too: the comparison of figure 5 of the paper,
    /// which found that it has many false positives.
    Trajectory,
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
    /// A language model finds the answer right.
    Judge,
}

/// Entity-match reward.
#[derive(Debug)]
pub struct EntityMatch {
    alpha: Vec<(u64, f64)>,
    matching: Matching,
    aliases: BTreeMap<String, Vec<String>>,
    skip: Vec<Skip>,
    r#where: Where,
    strict: bool,
    correct: Correct,
    /// There for [`Correct::Judge`], and only for it.
    judge: Option<Judge>,
}

impl Reward for EntityMatch {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        let Config { alpha, alpha_schedule, matching, aliases, skip, .. } = config;
        let Config { r#where, strict, correct, judge, .. } = config;
        if judge.is_some() != (correct == Correct::Judge) {
            return Err(RewardError::new("`judge` and `correct = \"judge\"` need each other"));
        }
        let judge = judge.map(Judge::new).transpose()?;
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
        Ok(Self { alpha, matching, aliases, skip, r#where, strict, correct, judge })
    }

    fn applicability(&self, question: &Question) -> Applicability {
        let is_paid = self.alpha.iter().any(|(_, alpha)| *alpha > 0.0);
        let is_listed = question.evidence.entities.iter().any(|entity| !entity.trim().is_empty());
        if question.golden_answers.is_empty() {
            Applicability::none("golden answers")
        } else if !is_paid || !self.entities(question).is_empty() {
            Applicability::whole()
        } else if is_listed {
            Applicability::part("entities that are not skipped")
        } else {
            Applicability::part("entities")
        }
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        let alone =
            Group { question: question.clone(), trajectories: vec![it.clone()], step: None };
        let mut grades = self.score_group(&alone)?;
        grades.pop().ok_or_else(|| RewardError::new("a group of one has one grade"))
    }

    fn score_group(&self, group: &Group) -> Result<Vec<Grade>, RewardError> {
        let question = &group.question;
        if question.golden_answers.is_empty() {
            return Ok(vec![Grade::NotApplicable; group.trajectories.len()]);
        }
        let entities = self.entities(question);
        let gammas: Vec<f64> =
            group.trajectories.iter().map(|it| self.gamma(&entities, it)).collect();
        let most = gammas.iter().copied().fold(0.0, f64::max);
        let alpha = self.alpha_at(group.step.unwrap_or(0));
        let verdicts = if let Some(judge) = &self.judge {
            judge.are_right(group)?
        } else {
            let verdict = |trajectory| Ok(self.is_correct(question, trajectory));
            group.trajectories.iter().map(verdict).collect()
        };
        let grade = |((trajectory, gamma), verdict): ((&Trajectory, f64), Result<bool, _>)| {
            let share = if most > 0.0 { gamma / most } else { 0.0 };
            match verdict {
                Ok(is_right) => self.grade(trajectory, gamma, alpha * share, is_right),
                Err(err) => Grade::Failed(RewardError::to_string(&err)),
            }
        };
        Ok(group.trajectories.iter().zip(gammas).zip(verdicts).map(grade).collect())
    }
}

impl EntityMatch {
    /// Grade of a trajectory with γ = `gamma`, to which `bonus` is paid for a wrong answer.
    fn grade(&self, it: &Trajectory, gamma: f64, bonus: f64, is_right: bool) -> Grade {
        let is_answered = it.clean_answer().is_some() && it.outcome == Outcome::Answered;
        let is_clean = !self.strict || is_valid(&it.segments);
        let correct = f64::from(u8::from(is_answered && is_right));
        let bonus = if is_answered && !is_right && is_clean { bonus } else { 0.0 };
        let reward = if is_clean { correct + bonus } else { 0.0 };
        let score = Score::new(reward).part("correct", correct).part("gamma", gamma);
        let score = score.part("bonus", bonus);
        if self.strict {
            score.part("valid", f64::from(u8::from(is_clean))).into()
        } else {
            score.into()
        }
    }

    /// Names of each entity that counts, in the form in which they are searched.
    fn entities(&self, question: &Question) -> Vec<Vec<String>> {
        let listed = question.evidence.entities.iter().map(|entity| entity.trim());
        let listed: BTreeSet<&str> = listed.filter(|it| !it.is_empty()).collect();
        let asked = self.prepared(&question.text);
        let names = |entity: &&str| -> Vec<String> {
            let ours = self.aliases.get(*entity).into_iter().flatten().map(String::as_str);
            let theirs = question.evidence.aliases.get(*entity);
            let theirs = theirs.into_iter().flatten().map(Text::as_str);
            std::iter::once(*entity).chain(ours).chain(theirs).map(str::to_owned).collect()
        };
        let counts = |names: &Vec<String>| {
            let is_asked = |name: &String| is_in(&self.prepared(name), &asked);
            let is_answer = |name: &String| text::exact_match(name, &question.golden_answers) > 0.0;
            !self.skip.iter().any(|skip| match skip {
                Skip::Question => names.iter().any(is_asked),
                Skip::Answer => names.iter().any(is_answer),
            })
        };
        let counted = listed.iter().map(names).filter(counts);
        counted.map(|names| names.iter().map(|it| self.prepared(it)).collect()).collect()
    }

    /// γ: the share of the entities that the reasoning mentions; 0 without entities.
    fn gamma(&self, entities: &[Vec<String>], it: &Trajectory) -> f64 {
        let is_read = |segment: &&Segment| match self.r#where {
            Where::Thoughts => segment.kind == Kind::Think && is_block(segment),
            Where::Trajectory => segment.origin != Origin::Prompt,
        };
        let read = it.segments.iter().filter(is_read);
        let read: Vec<String> = read.map(|segment| self.prepared(&segment.content)).collect();
        let is_named = |names: &&Vec<String>| {
            names.iter().any(|name| read.iter().any(|text| is_in(name, text)))
        };
        entities.iter().filter(is_named).count() as f64 / entities.len().max(1) as f64
    }

    /// Text in the form in which names are searched in reasoning. For `words` there are spaces
    /// around it, so that only whole words match.
    fn prepared(&self, name_or_thought: &str) -> String {
        match self.matching {
            Matching::Exact => text::fold(name_or_thought).into_owned(),
            Matching::Words => format!(" {} ", text::normalize_answer(name_or_thought)),
        }
    }

    /// Whether an answer is right without a judge.
    fn is_correct(&self, question: &Question, it: &Trajectory) -> bool {
        let golds = &question.golden_answers;
        let Some(answer) = it.clean_answer() else { return false };
        match self.correct {
            Correct::Em => text::exact_match(answer, golds) > 0.0,
            Correct::SubEm => {
                !text::is_list(answer, golds, MAX_ANSWER_WORDS)
                    && text::sub_exact_match(answer, golds) > 0.0
            }
            Correct::Judge => unreachable!("its verdicts are asked for as a group"),
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

/// Whether a text has a name, both prepared.
fn is_in(name: &str, text: &str) -> bool {
    !name.trim().is_empty() && text.contains(name)
}

export_reward!(EntityMatch);

#[cfg(test)]
mod tests;
