//! Configuration of the feedback loop.

use serde::{Deserialize, Serialize};

use super::answer_type::AnswerType;
use crate::chat::BudgetLimits;
use crate::config_error::ConfigError;

/// Update rule for a pair that did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateRule {
    /// The generator is given feedback, and revises the pair.
    Feedback,
    /// The generator proposes again without feedback: the baseline, with the same number of agent
    /// runs per round.
    Resample,
}

/// Configuration of the feedback loop: the `[synthesis]` section of a run file.
///
/// The defaults are those of SAGE (arXiv 2601.18202), and of its released commands where paper and
/// code differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FeedbackLoopConfig {
    /// Number of questions to attempt, or the most with `keep`. Default: 20,000.
    pub items: u64,
    /// Number of questions that pass, after which no more are attempted. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
    /// Lowest target number of searches. Default: 2.
    pub steps_from: usize,
    /// Highest target number of searches. Default: 10.
    pub steps_to: usize,
    /// Whether the generator is told the target number of searches. Default: true.
    #[serde(skip_serializing_if = "is_true")]
    pub tell_steps: bool,
    /// Answer types, drawn uniformly. Default: all three.
    pub answer_types: Vec<AnswerType>,
    /// Independent runs of the agent per round (K). Default: 4.
    pub tries: usize,
    /// Rounds after the first (R). Default: 2.
    pub rounds: usize,
    /// Update rule between rounds. Default: feedback.
    pub update: UpdateRule,
    /// Lowest number of searches of a kept question, whatever its target. Default: 2.
    pub min_steps: usize,
    /// Items in flight at once, a thread each. Default: 64.
    pub in_flight: usize,
    /// Budget of the whole run, over all roles and resumptions. Default: unlimited.
    pub limits: BudgetLimits,
}

impl Default for FeedbackLoopConfig {
    fn default() -> Self {
        Self {
            items: 20_000,
            keep: None,
            steps_from: 2,
            steps_to: 10,
            tell_steps: true,
            answer_types: vec![AnswerType::Number, AnswerType::Date, AnswerType::Entity],
            tries: 4,
            rounds: 2,
            update: UpdateRule::Feedback,
            min_steps: 2,
            in_flight: 64,
            limits: BudgetLimits::default(),
        }
    }
}

impl FeedbackLoopConfig {
    /// Checks that every value can be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (key, value) in [
            ("synthesis.items", self.items),
            ("synthesis.keep", self.keep.unwrap_or(1)),
            ("synthesis.steps_from", self.steps_from as u64),
            ("synthesis.tries", self.tries as u64),
            ("synthesis.in_flight", self.in_flight as u64),
        ] {
            if value == 0 {
                return Err(ConfigError { key, problem: "is 0".to_owned() });
            }
        }
        if self.in_flight > MAX_IN_FLIGHT {
            let problem = format!("is more than {MAX_IN_FLIGHT}: every item takes a thread");
            return Err(ConfigError { key: "synthesis.in_flight", problem });
        }
        if self.steps_to < self.steps_from {
            let problem = format!("is {}, below `steps_from`", self.steps_to);
            return Err(ConfigError { key: "synthesis.steps_to", problem });
        }
        if self.answer_types.is_empty() {
            return Err(ConfigError {
                key: "synthesis.answer_types",
                problem: "is empty".to_owned(),
            });
        }
        self.limits.check()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_true(value: &bool) -> bool {
    *value
}

/// A number of threads that every supported system can start.
const MAX_IN_FLIGHT: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_name_their_key() {
        type Edit = fn(&mut FeedbackLoopConfig);
        FeedbackLoopConfig::default().check().unwrap();
        let cases: [(Edit, &str); 8] = [
            (|config| config.items = 0, "`synthesis.items` is 0"),
            (|config| config.keep = Some(0), "`synthesis.keep` is 0"),
            (|config| config.tries = 0, "`synthesis.tries` is 0"),
            (|config| config.steps_from = 0, "`synthesis.steps_from` is 0"),
            (|config| config.steps_to = 1, "`synthesis.steps_to` is 1, below `steps_from`"),
            (|config| config.answer_types.clear(), "`synthesis.answer_types` is empty"),
            (|config| config.in_flight = 1 << 20, "`synthesis.in_flight` is more than"),
            (|config| config.limits.money = Some(-1.0), "`synthesis.limits.money` is -1"),
        ];
        for (edit, expected) in cases {
            let mut config = FeedbackLoopConfig::default();
            edit(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
