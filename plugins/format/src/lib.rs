//! Format reward: for trajectories with valid tags, think, search, information, …, answer.
//!
//! The format reward of the empirical study that followed Search-R1 (arXiv 2505.15117; the table
//! is in its released code, `qa_em_format`). A trajectory is valid if it is
//! `think (search information think)* answer`, with only white space between the blocks: see
//! [`is_valid`].
//!
//! # Modes
//!
//! `mode = "search-r1"`, the default, is the whole table, including exact match. Do not use it
//! together with `exact-match`.
//!
//! | answer | valid | not valid |
//! |---|---|---|
//! | correct | 1 | 1 − `structure` |
//! | incorrect | `structure`, + `retrieval` if found | `final` |
//! | none | `structure`, + `retrieval` if found | 0 |
//!
//! "Found" means that a search result contains a golden answer, both normalized. The defaults are
//! those of the released scripts: `structure = 0.2`, `final = 0.1`, `retrieval = 0.0`.
//!
//! `mode = "validity"` is for use beside other rewards: `value` for a valid trajectory, else 0.
//! Default of `value`: 1.
//!
//! # Parts
//!
//! `valid`, and in `"search-r1"` also `em` and `retrieved`.
//!
//! # Departures
//!
//! - The published code searches the whole text for tags. Here the blocks are the segments of the
//!   host, and only text of the policy is searched: a page that was cut and lost its closing tag
//!   does not make a trajectory invalid.
//! - In `"search-r1"`, a question without golden answers is not applicable.
//! - A golden answer that is empty after normalization is found in no page, instead of in all.

#![forbid(unsafe_code)]

mod grammar;

use forage_reward_sdk::{prelude::*, text};

pub use grammar::is_valid;

/// Configuration of [`Format`]. An option that the mode does not use is an error.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Mode of the reward. Default: `search-r1`.
    pub mode: Mode,
    /// For `validity`: reward of a valid trajectory. Default: 1.
    pub value: Option<f64>,
    /// For `search-r1`: reward of a valid trajectory without a correct answer. Default: 0.2.
    pub structure: Option<f64>,
    /// For `search-r1`: reward of an incorrect answer in an invalid trajectory. Default: 0.1.
    #[serde(rename = "final")]
    pub final_: Option<f64>,
    /// For `search-r1`: additional reward of a valid trajectory that found a golden answer and did
    /// not give it. Default: 0.
    pub retrieval: Option<f64>,
}

/// Mode of the reward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Combined reward of the paper.
    #[default]
    SearchR1,
    /// Validity only.
    Validity,
}

/// Format reward.
#[derive(Debug)]
pub enum Format {
    /// Validity only.
    Validity {
        /// Reward of a valid trajectory.
        value: f64,
    },
    /// Combined reward of the paper.
    SearchR1 {
        /// Reward of a valid trajectory without a correct answer.
        structure: f64,
        /// Reward of an incorrect answer in an invalid trajectory.
        final_: f64,
        /// Additional reward for a golden answer that was found and not given.
        retrieval: f64,
    },
}

impl Reward for Format {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        let Config { mode, value, structure, final_, retrieval } = config;
        let named = [
            ("value", value),
            ("structure", structure),
            ("final", final_),
            ("retrieval", retrieval),
        ];
        for (name, option) in named {
            let Some(number) = option else { continue };
            if !number.is_finite() {
                return Err(RewardError::new(format!("`{name}` is {number}, which is not finite")));
            }
            if (name == "value") != (mode == Mode::Validity) {
                let mode = if mode == Mode::Validity { "validity" } else { "search-r1" };
                return Err(RewardError::new(format!("mode `{mode}` does not use `{name}`")));
            }
        }
        Ok(match mode {
            Mode::Validity => Self::Validity { value: value.unwrap_or(1.0) },
            Mode::SearchR1 => Self::SearchR1 {
                structure: structure.unwrap_or(0.2),
                final_: final_.unwrap_or(0.1),
                retrieval: retrieval.unwrap_or(0.0),
            },
        })
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        let valid = is_valid(&it.segments);
        match *self {
            Self::Validity { value } => {
                Score::new(if valid { value } else { 0.0 }).part("valid", as_number(valid)).into()
            }
            Self::SearchR1 { structure, final_, retrieval } => {
                let golds = &question.golden_answers;
                if golds.is_empty() {
                    return Ok(Grade::NotApplicable);
                }
                let answer = it.answer.as_deref();
                let em = it.clean_answer().map_or(0.0, |answer| text::exact_match(answer, golds));
                let retrieved = is_retrieved(golds, it);
                let reward = match (answer, valid) {
                    (Some(_), true) if em > 0.0 => 1.0,
                    (Some(_), false) if em > 0.0 => 1.0 - structure,
                    (_, true) => structure + if retrieved { retrieval } else { 0.0 },
                    (Some(_), false) => final_,
                    (None, false) => 0.0,
                };
                Score::new(reward)
                    .part("valid", as_number(valid))
                    .part("em", em)
                    .part("retrieved", as_number(retrieved))
                    .into()
            }
        }
    }
}

/// Whether a search result that the policy was shown contains a golden answer.
fn is_retrieved(golds: &[Text], trajectory: &Trajectory) -> bool {
    let is_page = |segment: &&Segment| {
        segment.origin == Origin::Environment && segment.kind == Kind::Information
    };
    let mut pages = trajectory.segments.iter().filter(is_page);
    pages.any(|page| text::sub_exact_match(&page.content, golds) > 0.0)
}

fn as_number(it: bool) -> f64 {
    f64::from(u8::from(it))
}

export_reward!(Format);

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml_like: &[(&str, f64)]) -> Config {
        let get = |name| toml_like.iter().find(|(it, _)| *it == name).map(|(_, value)| *value);
        Config {
            mode: Mode::SearchR1,
            value: get("value"),
            structure: get("structure"),
            final_: get("final"),
            retrieval: get("retrieval"),
        }
    }

    /// One search, whose result holds the golden answer `Paris` or does not.
    fn trajectory(valid: bool, found: bool, answer: Option<&str>) -> Trajectory<'static> {
        let page = if found { "It is PARIS." } else { "It is Lyon." };
        let hit = Hit { text: page.into(), ..Hit::default() };
        let mut it = Trajectory::default();
        if valid {
            it = it.think("hm");
        }
        it = it.search("capital", [hit]).think("hm");
        match answer {
            Some(answer) => it.answer(answer),
            None => it,
        }
    }

    fn reward(reward: &Format, it: &Trajectory) -> f64 {
        let question = Question::new("capital of France?", ["Paris"]);
        reward.score(&question, it).unwrap().reward().unwrap()
    }

    #[test]
    fn the_table_of_the_paper() {
        let paper = Format::new(config(&[("structure", 0.2), ("final", 0.1), ("retrieval", 0.1)]));
        let scripts = Format::new(Config::default()).unwrap();
        let paper = paper.unwrap();
        for (valid, found, answer, with_retrieval, as_released) in [
            (true, false, Some("paris"), 1.0, 1.0),
            (true, true, Some("paris"), 1.0, 1.0),
            (false, true, Some("paris"), 0.8, 0.8),
            (true, true, Some("Lyon"), 0.3, 0.2),
            (true, false, Some("Lyon"), 0.2, 0.2),
            (false, true, Some("Lyon"), 0.1, 0.1),
            (false, false, Some("Lyon"), 0.1, 0.1),
            (false, true, None, 0.0, 0.0),
        ] {
            let it = trajectory(valid, found, answer);
            let case = format!("valid {valid}, found {found}, answer {answer:?}");
            assert!((reward(&paper, &it) - with_retrieval).abs() < 1e-9, "{case}");
            assert!((reward(&scripts, &it) - as_released).abs() < 1e-9, "{case}");
        }
    }

    #[test]
    fn validity_alone_needs_no_golden_answers() {
        let mode = Mode::Validity;
        let format = Format::new(Config { mode, value: Some(0.5), ..Config::default() }).unwrap();
        for (valid, expected) in [(true, 0.5), (false, 0.0)] {
            let it = trajectory(valid, false, Some("Lyon"));
            let grade = format.score(&Question::default(), &it).unwrap();
            assert_eq!(grade.reward(), Some(expected));
        }
        let search_r1 = Format::new(Config::default()).unwrap();
        let it = trajectory(true, false, Some("Lyon"));
        assert_eq!(search_r1.score(&Question::default(), &it), Ok(Grade::NotApplicable));
    }

    #[test]
    fn options_of_the_other_mode_are_errors() {
        let err = Format::new(config(&[("value", 1.0)])).unwrap_err();
        assert_eq!(err.to_string(), "mode `search-r1` does not use `value`");
        let both = Config { mode: Mode::Validity, ..config(&[("final", 0.1)]) };
        let err = Format::new(both).unwrap_err();
        assert_eq!(err.to_string(), "mode `validity` does not use `final`");
    }
}
