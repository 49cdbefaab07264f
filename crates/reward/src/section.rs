//! Configuration of a reward: the sections `[reward.NAME]` of a run file.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::plugin::DEADLINE;
use crate::{Combination, CombinationRule, PluginError, PluginErrorKind, RewardGate};

/// Settings of a reward: the section `[reward.NAME]` of a run file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardSection {
    /// Name of the plugin, or path of its library.
    pub plugin: String,
    /// Weight of the reward. With 0 it is computed and logged, but not trained on. Default: 1.
    #[serde(default = "one")]
    pub weight: f64,
    /// Weight schedule: `[step, factor]` points, such as `[[0, 0.0], [100, 1.0]]`. The weight is
    /// multiplied by the factor, which is linear between the points and constant beyond them;
    /// outside of training it is that of step 0. Default: no schedule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<(u64, f64)>,
    /// Gate: a condition on another reward, without which this one counts as 0. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<RewardGate>,
    /// Deadline for scoring one group, in seconds. Default: 60.
    #[serde(default = "deadline", skip_serializing_if = "is_default_deadline")]
    pub deadline_s: f64,
    /// Number of trajectories in a run that may be left without a grade because the plugin
    /// panicked, broke its contract or missed its deadline. They are left out of the loss and
    /// counted; one more ends the run. Default: 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tolerate: usize,
    /// Number of trajectories in a run for which the plugin may return
    /// [`Failed`](crate::wire::Grade::Failed). They are left out of the loss and counted; one more
    /// ends the run. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_limit: Option<usize>,
    /// Configuration of the plugin, which alone knows its keys. Default: empty.
    #[serde(default)]
    pub config: Map<String, Value>,
}

impl RewardSection {
    /// Weight after some training steps.
    pub(crate) fn weight_at(&self, step: u64) -> f64 {
        self.weight * factor_at(&self.schedule, step)
    }

    /// Deadline as a duration. [`RewardSection::deadline_s`] was checked.
    pub(crate) fn deadline(&self) -> Duration {
        Duration::try_from_secs_f64(self.deadline_s).unwrap_or(DEADLINE)
    }

    /// The first invalid key, and what is wrong with its value.
    fn problem(&self) -> Option<(&'static str, String)> {
        if !self.weight.is_finite() {
            return Some(("weight", format!("is {}, which is not finite", self.weight)));
        }
        if !self.schedule.is_sorted_by(|a, b| a.0 < b.0) {
            return Some(("schedule", "wants points of ascending steps".to_owned()));
        }
        if let Some((step, factor)) = self.schedule.iter().find(|(_, it)| !it.is_finite()) {
            let problem = format!("is {factor} at step {step}, which is not finite");
            return Some(("schedule", problem));
        }
        if !(self.deadline_s > 0.0 && Duration::try_from_secs_f64(self.deadline_s).is_ok()) {
            let problem = format!("is {}: it is a time above 0", self.deadline_s);
            return Some(("deadline_s", problem));
        }
        None
    }
}

/// Checks the reward sections of a run file: their values, the rewards they refer to, and keys that
/// the combination would ignore.
///
/// # Errors
///
/// [`PluginErrorKind::Setting`] for the first invalid key.
pub fn check_rewards<'a>(
    sections: impl IntoIterator<Item = (&'a str, &'a RewardSection)>,
    combination: &Combination,
) -> Result<(), PluginError> {
    let sections: Vec<_> = sections.into_iter().collect();
    let is_known = |name: &str| sections.iter().any(|(it, _)| *it == name);
    for (name, section) in &sections {
        let wrong = |key, problem| {
            let kind = PluginErrorKind::Setting { key, problem };
            Err(PluginError::new(Path::new(&section.plugin), kind).in_reward(name))
        };
        if let Some((key, problem)) = section.problem() {
            return wrong(key, problem);
        }
        if let Some(gate) = &section.gate {
            if gate.reward == *name || !is_known(&gate.reward) {
                let problem = format!("names `{}`, which is no other reward", gate.reward);
                return wrong("gate", problem);
            }
            if !gate.min.is_finite() {
                return wrong("gate", format!("wants {}, which is not finite", gate.min));
            }
        }
        if combination.rule == CombinationRule::Lexicographic {
            let unused = "is not used by the rule `lexicographic`".to_owned();
            if (section.weight - 1.0).abs() > 0.0 {
                return wrong("weight", unused);
            }
            if !section.schedule.is_empty() {
                return wrong("schedule", unused);
            }
        }
    }
    combination.check(is_known)
}

/// Factor of a weight schedule at a step; 1 for a schedule without points.
fn factor_at(points: &[(u64, f64)], step: u64) -> f64 {
    let after = points.partition_point(|(at, _)| *at <= step);
    match (after.checked_sub(1).map(|it| points[it]), points.get(after)) {
        (Some((from, low)), Some(&(to, high))) => {
            low + (high - low) * (step - from) as f64 / (to - from) as f64
        }
        (Some((_, factor)), None) | (None, Some(&(_, factor))) => factor,
        (None, None) => 1.0,
    }
}

fn one() -> f64 {
    1.0
}

fn deadline() -> f64 {
    DEADLINE.as_secs_f64()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_default_deadline(it: &f64) -> bool {
    (it - deadline()).abs() < f64::EPSILON
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(it: &usize) -> bool {
    *it == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> RewardSection {
        toml::from_str(&format!("plugin = \"x\"\n{text}")).unwrap()
    }

    #[test]
    fn weights_follow_their_schedule() {
        let it = section("weight = 2.0\nschedule = [[10, 0.0], [20, 1.0], [40, 0.5]]");
        for (step, expected) in [(0, 0.0), (10, 0.0), (15, 1.0), (20, 2.0), (30, 1.5), (99, 1.0)] {
            assert!((it.weight_at(step) - expected).abs() < 1e-9, "{step}");
        }
        assert!((section("").weight_at(7) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_is_told() {
        let lexicographic = |order: &[&str]| Combination {
            rule: CombinationRule::Lexicographic,
            order: order.iter().map(|&it| it.to_owned()).collect(),
        };
        let sum = Combination::default;
        for (text, combination, message) in [
            ("weight = inf", sum(), "`weight` is inf, which is not finite"),
            ("schedule = [[5, 1], [5, 2]]", sum(), "`schedule` wants points of ascending steps"),
            ("schedule = [[5, nan]]", sum(), "`schedule` is NaN at step 5, which is not finite"),
            ("deadline_s = 0.0", sum(), "`deadline_s` is 0: it is a time above 0"),
            ("deadline_s = inf", sum(), "`deadline_s` is inf: it is a time above 0"),
            ("gate = { reward = 'r' }", sum(), "`gate` names `r`, which is no other reward"),
            ("gate = { reward = 'z' }", sum(), "`gate` names `z`, which is no other reward"),
            (
                "gate = { reward = 'other', least = inf }",
                sum(),
                "`gate` wants inf, which is not finite",
            ),
            (
                "weight = 2.0",
                lexicographic(&["r"]),
                "`weight` is not used by the rule `lexicographic`",
            ),
            (
                "schedule = [[0, 1.0]]",
                lexicographic(&["r"]),
                "`schedule` is not used by the rule `lexicographic`",
            ),
            ("", lexicographic(&[]), "`order` is empty: the rule `lexicographic` wants it"),
            ("", lexicographic(&["r", "r"]), "`order` names `r` twice"),
            ("", lexicographic(&["z"]), "`order` names `z`, which is no reward"),
            (
                "",
                Combination { order: vec!["r".to_owned()], ..sum() },
                "`order` is used by the rule `lexicographic` only",
            ),
        ] {
            let (one, other) = (section(text), section(""));
            let err = check_rewards([("r", &one), ("other", &other)], &combination).unwrap_err();
            assert_eq!(err.kind().to_string(), message);
        }
        let gated = section("gate = { reward = 'other' }\ntolerate = 3\ndeadline_s = 0.5");
        assert!(check_rewards([("r", &gated), ("other", &section(""))], &sum()).is_ok());
        assert_eq!(gated.deadline(), Duration::from_millis(500));
    }
}
