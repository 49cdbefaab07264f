//! Exact-match reward: 1 for a correct answer, else 0.
//!
//! The outcome reward of Search-R1 (arXiv 2503.09516, section 3.4). An answer is correct if it
//! equals any golden answer, both normalized as in `SQuAD`: lower case, no punctuation, no
//! articles, single spaces.
//!
//! # Options
//!
//! - `metric`: `"em"`, or `"sub-em"`, which also pays for an answer that contains a golden answer,
//!   as in the evaluation of Search-R1 and others. Default: `"em"`.
//! - `aliases`: `"all"` golden answers count, or only the `"first"`, the canonical one in data sets
//!   that list it before its aliases. Default: `"all"`.
//! - `max_words`, for `"sub-em"` only: an answer with more words, and with more than the longest
//!   golden answer, earns 0. Otherwise a policy learns to answer with lists. Default: 20.
//! - `numbers`: `"squad"`, or `"compare"`, where numbers keep their signs and points and are equal
//!   if their values are. Default: `"squad"`.
//!
//! # Parts
//!
//! `em` (or `sub-em`), and `f1`, the token F1, which is logged and not paid for.
//!
//! # Departures
//!
//! - The published code searches for the last answer tag in the whole text, including pages, and
//!   skips the example in its prompt by counting. Here the answer is the one that the host
//!   parsed.
//! - An answer with a tag of the agent loop inside earns 0.
//! - A question without golden answers is not applicable, instead of 0.
//! - With `"sub-em"`, a golden answer that is empty after normalization has to be equal, and long
//!   answers earn 0.
//! - Characters that look the same are the same, and a golden answer that is empty after
//!   normalization keeps its articles or its punctuation: see [`text`].

#![forbid(unsafe_code)]

use forage_reward_sdk::{prelude::*, text};

/// Configuration of [`ExactMatch`].
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Metric of correctness. Default: `em`.
    pub metric: Metric,
    /// Golden answers that count. Default: `all`.
    pub aliases: Aliases,
    /// For `sub-em`: maximum number of words of an answer. Default: 20.
    pub max_words: Option<usize>,
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

/// Metric of correctness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Exact match: the answer equals a golden answer.
    #[default]
    Em,
    /// Substring exact match: the answer contains a golden answer.
    SubEm,
}

/// Golden answers that count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aliases {
    /// All golden answers.
    #[default]
    All,
    /// The first golden answer.
    First,
}

/// Exact-match reward.
#[derive(Debug)]
pub struct ExactMatch {
    metric: Metric,
    aliases: Aliases,
    max_words: usize,
    numbers: Numbers,
}

impl Reward for ExactMatch {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        let Config { metric, aliases, max_words, numbers } = config;
        if metric == Metric::Em && max_words.is_some() {
            return Err(RewardError::new("metric `em` does not use `max_words`"));
        }
        Ok(Self { metric, aliases, max_words: max_words.unwrap_or(20), numbers })
    }

    fn applicability(&self, question: &Question) -> Applicability {
        Applicability::by_golden_answers(question)
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        let golds = match self.aliases {
            Aliases::All => question.golden_answers.as_slice(),
            Aliases::First => &question.golden_answers[..question.golden_answers.len().min(1)],
        };
        if golds.is_empty() {
            return Ok(Grade::NotApplicable);
        }
        let Some(answer) = it.clean_answer() else {
            return Score::new(0.0).part(self.metric.name(), 0.0).part("f1", 0.0).into();
        };
        let is_list = text::is_list(answer, golds, self.max_words);
        let (right, f1) = match self.numbers {
            Numbers::Squad => self.metric.measure(answer, golds),
            Numbers::Compare => {
                let golds: Vec<String> = golds.iter().map(|it| text::mark_numbers(it)).collect();
                self.metric.measure(&text::mark_numbers(answer), &golds)
            }
        };
        let right = if self.metric == Metric::SubEm && is_list { 0.0 } else { right };
        Score::new(right).part(self.metric.name(), right).part("f1", f1).into()
    }
}

impl Metric {
    /// Correctness of an answer, and its token F1.
    fn measure<S: AsRef<str>>(self, answer: &str, golds: &[S]) -> (f64, f64) {
        let right = match self {
            Self::Em => text::exact_match(answer, golds),
            Self::SubEm => text::sub_exact_match(answer, golds),
        };
        (right, text::token_f1(answer, golds))
    }

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
        let config = Config { metric, ..Config::default() };
        let reward = ExactMatch::new(config).unwrap();
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
            // Golden answers that are empty after normalization.
            (Metric::Em, &["The The"], None, 0.0, 0.0),
            (Metric::Em, &["A"], Some("?"), 0.0, 0.0),
            (Metric::Em, &["A"], Some("the"), 0.0, 0.0),
            (Metric::Em, &["A"], Some("a"), 1.0, 1.0),
            (Metric::Em, &["+"], Some("-"), 0.0, 0.0),
            (Metric::SubEm, &["+"], Some("+"), 1.0, 1.0),
            (Metric::SubEm, &["A"], Some("banana"), 0.0, 0.0),
            (Metric::Em, &["Maeve O’Dunn"], Some("Maeve O'Dunn"), 1.0, 1.0),
            (Metric::Em, &["１９１１"], Some("1911"), 1.0, 1.0),
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

    #[test]
    fn numbers_may_be_compared() {
        let reward = |metric, numbers, gold: &str, answer: &str| {
            let config = Config { metric, numbers, ..Config::default() };
            let plugin = ExactMatch::new(config).unwrap();
            let it = Trajectory::default().answer(answer);
            plugin.score(&Question::new("?", [gold]), &it).unwrap().reward().unwrap()
        };
        for (gold, answer, squad, compared) in [
            ("3.5", "35", 1.0, 0.0),
            ("-5", "5", 1.0, 0.0),
            ("1.5%", "15%", 1.0, 0.0),
            ("$1.2 million", "$12 million", 1.0, 0.0),
            ("C++", "C", 1.0, 0.0),
            ("1,000", "1000", 1.0, 1.0),
            ("1911", "1911.0", 0.0, 1.0),
        ] {
            for metric in [Metric::Em, Metric::SubEm] {
                // `19110` contains `1911`, as characters.
                if metric == Metric::Em || gold != "1911" {
                    assert_eq!(
                        reward(metric, Numbers::Squad, gold, answer).to_bits(),
                        f64::to_bits(squad)
                    );
                }
                let found = reward(metric, Numbers::Compare, gold, answer);
                assert_eq!(found.to_bits(), f64::to_bits(compared), "{gold} {answer}");
            }
        }
    }

    #[test]
    fn questions_without_golden_answers_are_told() {
        let reward = ExactMatch::new(Config::default()).unwrap();
        let lacking = reward.applicability(&Question::default());
        assert_eq!(lacking, Applicability::none("golden answers"));
        assert_eq!(reward.applicability(&Question::new("?", ["x"])), Applicability::whole());
    }

    #[test]
    fn the_first_alias_may_be_the_only_one() {
        let config = Config { aliases: Aliases::First, ..Config::default() };
        let reward = ExactMatch::new(config).unwrap();
        let question = Question::new("?", ["New York City", "NYC"]);
        for (answer, expected) in [("new york city", 1.0), ("NYC", 0.0)] {
            let grade = reward.score(&question, &Trajectory::default().answer(answer)).unwrap();
            assert_eq!(grade.reward(), Some(expected), "{answer}");
        }
    }

    #[test]
    fn lists_and_tags_earn_nothing() {
        let list: Vec<String> = (0..3000).map(|it| format!("Entity{it}")).collect();
        let list = list.join(", ");
        for (metric, answer, expected) in [
            (Metric::SubEm, format!("{list}, Paris").as_str(), 0.0),
            (Metric::SubEm, "it is Paris, I think", 1.0),
            (Metric::SubEm, "<answer> Paris", 0.0),
            (Metric::SubEm, "<think> x </think> Paris", 0.0),
            (Metric::Em, "Paris", 1.0),
        ] {
            assert_eq!(score(metric, &["Paris"], Some(answer)).reward(), Some(expected));
        }
        // A golden answer may be longer than the limit.
        assert_eq!(score(Metric::SubEm, &[&list], Some(&list)).reward(), Some(1.0));
        let wrong = Config { max_words: Some(3), ..Config::default() };
        let err = ExactMatch::new(wrong).unwrap_err();
        assert_eq!(err.to_string(), "metric `em` does not use `max_words`");
    }
}
