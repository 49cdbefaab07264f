//! Token-F1 reward: the token F1 of the answer.
//!
//! The metric of `SQuAD` (arXiv 1606.05250, section 6.1) and `HotpotQA` (arXiv 1809.09600), and the
//! outcome reward of `StepSearch` (arXiv 2505.15107) and others: the harmonic mean of precision and
//! recall over normalized words, for the golden answer with the highest F1.
//!
//! # Options
//!
//! - `rules`: `"hotpotqa"`, where `yes`, `no` and `noanswer` match as a whole or not at all, or
//!   `"squad"`, version 1.1, which has no such rule. Default: `"hotpotqa"`.
//! - `max_words`: an answer with more words, and with more than the longest golden answer, earns 0.
//!   Default: 64.
//! - `numbers`: `"squad"`, or `"compare"`, where numbers keep their signs and points and are equal
//!   if their values are. Default: `"squad"`.
//!
//! # Parts
//!
//! `f1`, and `em`, the exact match, which is logged and not paid for.
//!
//! # Departures
//!
//! - The limit on words: otherwise a list of every name in the corpus would earn a little.
//! - An answer with a tag of the agent loop inside earns 0.
//! - A question without golden answers is not applicable, instead of 0.
//! - Characters that look the same are the same; a golden answer that is empty after normalization
//!   keeps its articles or its punctuation; characters of Chinese and Japanese are words: see
//!   [`text`].

#![forbid(unsafe_code)]

use forage_reward_sdk::{prelude::*, text};

/// Configuration of [`TokenF1`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Rules of the metric. Default: `hotpotqa`.
    pub rules: Rules,
    /// Maximum number of words of an answer. Default: 64.
    pub max_words: usize,
    /// Comparison of numbers. Default: `squad`.
    pub numbers: Numbers,
}

/// Comparison of numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Numbers {
    /// As any other word: signs and points are deleted, so that 35 is 3.5.
    #[default]
    Squad,
    /// By their values: see [`text::mark_numbers`].
    Compare,
}

impl Default for Config {
    fn default() -> Self {
        Self { rules: Rules::default(), max_words: 64, numbers: Numbers::default() }
    }
}

/// Rules of the metric.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rules {
    /// `HotpotQA`: `yes`, `no` and `noanswer` match as a whole or not at all.
    #[default]
    HotpotQA,
    /// `SQuAD` v1.1: no special words.
    Squad,
}

/// Token-F1 reward.
#[derive(Debug)]
pub struct TokenF1 {
    config: Config,
}

impl Reward for TokenF1 {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        Ok(Self { config })
    }

    fn applicability(&self, question: &Question) -> Applicability {
        Applicability::by_golden_answers(question)
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        let golds = &question.golden_answers;
        if golds.is_empty() {
            return Ok(Grade::NotApplicable);
        }
        let is_answer = |answer: &&str| !text::is_list(answer, golds, self.config.max_words);
        let answer = it.clean_answer().filter(is_answer);
        let (f1, em) = answer.map_or((0.0, 0.0), |answer| match self.config.numbers {
            Numbers::Squad => self.config.rules.measure(answer, golds),
            Numbers::Compare => {
                let golds: Vec<String> = golds.iter().map(|it| text::mark_numbers(it)).collect();
                self.config.rules.measure(&text::mark_numbers(answer), &golds)
            }
        });
        Score::new(f1).part("f1", f1).part("em", em).into()
    }
}

impl Rules {
    /// Token F1 and exact match of an answer.
    fn measure<S: AsRef<str>>(self, answer: &str, golds: &[S]) -> (f64, f64) {
        let f1 = match self {
            Self::HotpotQA => text::token_f1(answer, golds),
            Self::Squad => text::word_f1(answer, golds),
        };
        (f1, text::exact_match(answer, golds))
    }
}

export_reward!(TokenF1);

#[cfg(test)]
mod tests {
    use super::*;

    fn reward(rules: Rules, golds: &[&str], answer: Option<&str>) -> Option<f64> {
        let plugin = TokenF1::new(Config { rules, ..Config::default() }).unwrap();
        let it = match answer {
            Some(answer) => Trajectory::default().answer(answer),
            None => Trajectory::default(),
        };
        let question = Question::new("?", golds.iter().copied());
        plugin.score(&question, &it).unwrap().reward()
    }

    #[test]
    fn pays_for_words() {
        let names: Vec<String> = (0..3000).map(|it| format!("Entity{it}")).collect();
        let names = names.join(" ");
        let list = format!("{names} Paris");
        for (golds, answer, hotpotqa, squad) in [
            (["Paris"].as_slice(), Some("Paris"), 1.0, 1.0),
            (&["Paris"], Some("Paris, France"), 2.0 / 3.0, 2.0 / 3.0),
            (&["Lyon", "capital of france"], Some("capital france"), 0.8, 0.8),
            (&["yes"], Some("yes it is"), 0.0, 0.5),
            (&["yes"], Some("Yes."), 1.0, 1.0),
            (&["Paris"], Some(list.as_str()), 0.0, 0.0),
            (&[names.as_str()], Some(names.as_str()), 1.0, 1.0),
            (&["Paris"], Some("<answer> Paris"), 0.0, 0.0),
            (&["Paris"], None, 0.0, 0.0),
        ] {
            for (rules, expected) in [(Rules::HotpotQA, hotpotqa), (Rules::Squad, squad)] {
                let found = reward(rules, golds, answer).unwrap();
                assert!((found - expected).abs() < 1e-9, "{rules:?} {answer:?}: {found}");
            }
        }
        assert_eq!(reward(Rules::Squad, &[], Some("Paris")), None);
    }

    #[test]
    fn numbers_may_be_compared() {
        let question = Question::new("?", ["3.5 million"]);
        for (numbers, answer, expected) in [
            (Numbers::Squad, "35 million", 1.0),
            (Numbers::Compare, "35 million", 0.5),
            (Numbers::Compare, "3.50 million", 1.0),
        ] {
            let plugin = TokenF1::new(Config { numbers, ..Config::default() }).unwrap();
            let grade = plugin.score(&question, &Trajectory::default().answer(answer)).unwrap();
            assert_eq!(grade.reward(), Some(expected), "{numbers:?} {answer}");
        }
    }

    #[test]
    fn characters_are_words_where_there_are_no_spaces() {
        let list = "東京大阪京都".repeat(20);
        for (golds, answer, expected) in [
            (["東京"], Some("日本東京"), 2.0 / 3.0),
            (["東京"], Some(list.as_str()), 0.0),
            (["A"], Some("?"), 0.0),
            (["A"], Some("a"), 1.0),
        ] {
            let found = reward(Rules::Squad, &golds, answer).unwrap();
            assert!((found - expected).abs() < 1e-9, "{answer:?}: {found}");
        }
    }
}
