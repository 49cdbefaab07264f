//! The knobs of the loop.

use serde::{Deserialize, Serialize};

use super::{AnswerType, Limits, SageError};

/// What becomes of a pair that did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Update {
    /// The generator is shown what happened, and changes the pair.
    Feedback,
    /// The generator begins again and is told nothing: the baseline, with the same number of
    /// agent runs a round.
    Resample,
}

/// The loop: the `[synthesis]` section of a run file. The defaults are the paper's (SAGE; the
/// released commands where paper and code differ).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SageConfig {
    /// Questions to attempt.
    pub items: u64,
    /// The fewest steps that are aimed at.
    pub steps_from: usize,
    /// The most steps that are aimed at.
    pub steps_to: usize,
    /// Types of answers, drawn uniformly.
    pub answer_types: Vec<AnswerType>,
    /// Independent runs of the agent a round (K).
    pub tries: usize,
    /// Rounds after the first (R).
    pub rounds: usize,
    /// What happens between rounds.
    pub update: Update,
    /// Pairs that were answered with fewer searches are dropped, whatever was aimed at.
    pub min_steps: usize,
    /// Items that are worked on at once.
    pub in_flight: usize,
    /// What the whole run may spend.
    pub limits: Limits,
}

impl Default for SageConfig {
    fn default() -> Self {
        Self {
            items: 20_000,
            steps_from: 2,
            steps_to: 10,
            answer_types: vec![AnswerType::Number, AnswerType::Date, AnswerType::Entity],
            tries: 4,
            rounds: 2,
            update: Update::Feedback,
            min_steps: 2,
            in_flight: 64,
            limits: Limits::default(),
        }
    }
}

impl SageConfig {
    /// Checks that every value can be used.
    pub fn check(&self) -> Result<(), SageError> {
        for (key, value) in [
            ("synthesis.items", self.items),
            ("synthesis.steps_from", self.steps_from as u64),
            ("synthesis.tries", self.tries as u64),
            ("synthesis.in_flight", self.in_flight as u64),
        ] {
            if value == 0 {
                return Err(SageError::Config { key, problem: "is 0".to_owned() });
            }
        }
        if self.in_flight > MOST_IN_FLIGHT {
            let problem = format!("is more than {MOST_IN_FLIGHT}: every item takes a thread");
            return Err(SageError::Config { key: "synthesis.in_flight", problem });
        }
        if self.steps_to < self.steps_from {
            let problem = format!("is {}, below `steps_from`", self.steps_to);
            return Err(SageError::Config { key: "synthesis.steps_to", problem });
        }
        if self.answer_types.is_empty() {
            return Err(SageError::Config {
                key: "synthesis.answer_types",
                problem: "is empty".to_owned(),
            });
        }
        self.limits.check()
    }
}

/// Threads that a process can be asked for everywhere.
const MOST_IN_FLIGHT: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_values_name_their_key() {
        type Edit = fn(&mut SageConfig);
        SageConfig::default().check().unwrap();
        let cases: [(Edit, &str); 7] = [
            (|it| it.items = 0, "`synthesis.items` is 0"),
            (|it| it.tries = 0, "`synthesis.tries` is 0"),
            (|it| it.steps_from = 0, "`synthesis.steps_from` is 0"),
            (|it| it.steps_to = 1, "`synthesis.steps_to` is 1, below `steps_from`"),
            (|it| it.answer_types.clear(), "`synthesis.answer_types` is empty"),
            (|it| it.in_flight = 1 << 20, "`synthesis.in_flight` is more than"),
            (|it| it.limits.money = Some(-1.0), "`synthesis.limits.money` is -1"),
        ];
        for (edit, expected) in cases {
            let mut config = SageConfig::default();
            edit(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
