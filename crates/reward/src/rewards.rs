//! Rewards of a run: calls of the plugins, the limit of failures, and the combination.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forage_reward_sdk::wire;
use forage_trajectory::{BoxError, Grade, Grader, Group, Outcome, Trajectory};
use serde_json::Value;

use crate::combination::{Column, combine};
use crate::section::{RewardSection, check_rewards};
use crate::{Combination, Plugin, PluginError, PluginErrorKind, to_wire};

/// Rewards of a run, combined to one grade for each trajectory.
///
/// - The parts of a score are `NAME`, the reward before its weight, and `NAME/PART`.
/// - A reward that is not applicable adds nothing. If none is applicable, neither is the result.
/// - A reward that fails fails the trajectory.
/// - A trajectory with the outcome [`Outcome::Failed`] is graded [`Grade::Failed`] without a call:
///   plugins do not see it.
/// - Step rewards are added up with the same weights. A reward without step rewards adds nothing.
/// - A plugin that panics, breaks its contract or misses its deadline fails all trajectories of the
///   group, which are graded by one call, up to [`RewardSection::tolerate`] trajectories. After
///   that its error is returned.
/// - A plugin that returns `Failed` for more than [`RewardSection::failed_limit`] trajectories is
///   an error too.
#[derive(Debug)]
pub struct Rewards {
    rewards: Vec<LoadedReward>,
    combination: Combination,
}

/// Loaded reward: its plugin with its section and counters.
#[derive(Debug)]
struct LoadedReward {
    name: String,
    section: RewardSection,
    plugin: Plugin,
    /// Number of trajectories left without a grade so far.
    n_tolerated: AtomicUsize,
    /// Number of trajectories that the plugin could not score so far.
    n_failed: AtomicUsize,
}

impl Rewards {
    /// Loads the plugin of every section, given as (name, section, path of the library).
    ///
    /// Without sections, every grade is [`Grade::NotApplicable`].
    ///
    /// # Errors
    ///
    /// Invalid settings, and libraries that cannot be loaded.
    pub fn load(
        sections: &[(String, RewardSection, PathBuf)],
        combination: Combination,
    ) -> Result<Self, PluginError> {
        check_rewards(
            sections.iter().map(|(name, section, _)| (name.as_str(), section)),
            &combination,
        )?;
        let load = |(name, section, library): &(String, RewardSection, PathBuf)| {
            let plugin = Plugin::load(library, &Value::Object(section.config.clone()))
                .map_err(|err| err.in_reward(name))?
                .with_deadline(section.deadline());
            Ok(LoadedReward {
                name: name.clone(),
                section: section.clone(),
                plugin,
                n_tolerated: AtomicUsize::new(0),
                n_failed: AtomicUsize::new(0),
            })
        };
        let rewards = sections.iter().map(load).collect::<Result<_, _>>()?;
        Ok(Self { rewards, combination })
    }

    /// Names of the rewards, with their plugins.
    pub fn plugins(&self) -> impl Iterator<Item = (&str, &Plugin)> {
        self.rewards.iter().map(|reward| (reward.name.as_str(), &reward.plugin))
    }

    /// Scores a group outside of training, with the weights of step 0: one grade for each
    /// trajectory, in their order.
    ///
    /// # Errors
    ///
    /// A plugin that misbehaves beyond its limits.
    pub fn score(&self, group: &Group) -> Result<Vec<Grade>, PluginError> {
        self.grade_at(group, None)
    }

    /// Scores a group after some training steps: one grade for each trajectory, in their order.
    ///
    /// # Errors
    ///
    /// A plugin that misbehaves beyond its limits.
    pub fn score_at(&self, group: &Group, step: u64) -> Result<Vec<Grade>, PluginError> {
        self.grade_at(group, Some(step))
    }

    /// Scores a group at a step, or outside of training.
    fn grade_at(&self, group: &Group, step: Option<u64>) -> Result<Vec<Grade>, PluginError> {
        let sent = wire::Group { step, ..to_wire(group) };
        let n_sent = sent.trajectories.len();
        let request = Arc::new(sent.to_bytes());
        let mut columns = Vec::with_capacity(self.rewards.len());
        // A group without trajectories is not worth a call.
        for reward in self.rewards.iter().filter(|_| n_sent > 0) {
            columns.push(Column {
                name: &reward.name,
                weight: reward.section.weight_at(step.unwrap_or(0)),
                gate: reward.section.gate.as_ref(),
                grades: reward.score(&sent, &request)?,
            });
        }
        let mut combined = combine(&self.combination, &columns, n_sent).into_iter();
        let grade = |trajectory: &Trajectory| match &trajectory.outcome {
            Outcome::Failed(reason) => Grade::Failed(reason.clone()),
            _ => combined.next().expect("every trajectory that did not fail was graded"),
        };
        Ok(group.trajectories.iter().map(grade).collect())
    }
}

impl Grader for Rewards {
    fn grade(&self, group: &Group, step: u64) -> Result<Vec<Grade>, BoxError> {
        Ok(self.score_at(group, step)?)
    }
}

impl LoadedReward {
    /// Calls the plugin, and tolerates misbehaviour up to the limit.
    fn score(
        &self,
        sent: &wire::Group,
        request: &Arc<Vec<u8>>,
    ) -> Result<Vec<wire::Grade>, PluginError> {
        let err = match self.plugin.score_bytes(sent, request) {
            Ok(grades) => return self.within_limit(sent, grades),
            Err(err) => err.in_reward(&self.name),
        };
        let n = sent.trajectories.len();
        let n_before = self.n_tolerated.fetch_add(n, Ordering::Relaxed);
        if n_before + n > self.section.tolerate {
            return Err(err);
        }
        let reason = err.kind().to_string();
        tracing::warn!(
            "{err}: {reason}; {n} trajectories are excluded, {} of {} tolerated ones",
            n_before + n,
            self.section.tolerate,
        );
        Ok(vec![wire::Grade::Failed(reason); n])
    }

    /// Counts the trajectories that the plugin could not score. The error names the first of the
    /// group.
    fn within_limit(
        &self,
        sent: &wire::Group,
        grades: Vec<wire::Grade>,
    ) -> Result<Vec<wire::Grade>, PluginError> {
        let mut failed =
            sent.trajectories.iter().zip(&grades).filter_map(|(trajectory, grade)| match grade {
                wire::Grade::Failed(reason) => Some((trajectory.member, reason.clone())),
                _ => None,
            });
        let Some((member, reason)) = failed.next() else { return Ok(grades) };
        let n_new = 1 + failed.count();
        let n = n_new + self.n_failed.fetch_add(n_new, Ordering::Relaxed);
        match self.section.failed_limit {
            Some(limit) if n > limit => {
                let kind = PluginErrorKind::TooManyFailed { n, limit, member, reason };
                let err = PluginError::new(self.plugin.path(), kind);
                Err(err.on_question(&sent.question.id).in_reward(&self.name))
            }
            _ => Ok(grades),
        }
    }
}
