//! The rewards of a run: asked, forgiven up to a limit, and combined.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forage_reward_sdk::wire;
use forage_trajectory::{Grade, Group, Outcome, Trajectory};
use serde_json::Value;

use crate::combination::{Column, combine};
use crate::section::{RewardSection, check_rewards};
use crate::{Combination, Plugin, PluginError, PluginErrorKind, to_wire};

/// All rewards of a run, combined to one for each trajectory.
///
/// - The parts of a score are `NAME`, the reward before its weight, and `NAME/PART`.
/// - A reward that does not apply adds nothing; where none applies, the result does not either.
/// - A reward that fails fails the trajectory.
/// - A trajectory that the infrastructure failed is graded [`Grade::Failed`] without asking: the
///   plugins see its siblings only.
/// - Step values are added up with the same weights. A reward without them adds nothing to any.
/// - A plugin that misbehaves fails all trajectories of the group, whose grades come from one call,
///   until [`RewardSection::tolerate`] of them are used up. Then its error is the answer.
/// - A plugin that says of more than [`RewardSection::failed_limit`] trajectories that it could not
///   score them is an error too.
#[derive(Debug)]
pub struct Rewards {
    rewards: Vec<Loaded>,
    combination: Combination,
}

#[derive(Debug)]
struct Loaded {
    name: String,
    section: RewardSection,
    plugin: Plugin,
    /// Trajectories that were left without a grade so far.
    n_tolerated: AtomicUsize,
    /// Trajectories that it said it could not score so far.
    n_failed: AtomicUsize,
}

impl Rewards {
    /// Loads the plugin of every section: (name, section, library).
    ///
    /// Without sections, no trajectory has a reward.
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
            Ok(Loaded {
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

    /// The rewards by name, with their plugins.
    pub fn plugins(&self) -> impl Iterator<Item = (&str, &Plugin)> {
        self.rewards.iter().map(|it| (it.name.as_str(), &it.plugin))
    }

    /// One grade a trajectory, in their order, outside of training: with the weights of step 0.
    pub fn score(&self, group: &Group) -> Result<Vec<Grade>, PluginError> {
        self.grade_at(group, None)
    }

    /// One grade a trajectory, in their order, after some training steps.
    pub fn score_at(&self, group: &Group, step: u64) -> Result<Vec<Grade>, PluginError> {
        self.grade_at(group, Some(step))
    }

    fn grade_at(&self, group: &Group, step: Option<u64>) -> Result<Vec<Grade>, PluginError> {
        let told = wire::Group { step, ..to_wire(group) };
        let n_told = told.trajectories.len();
        let request = Arc::new(told.to_bytes());
        let mut columns = Vec::with_capacity(self.rewards.len());
        // A group of which nothing is left is not worth a call.
        for reward in self.rewards.iter().filter(|_| n_told > 0) {
            columns.push(Column {
                name: &reward.name,
                weight: reward.section.weight_at(step.unwrap_or(0)),
                gate: reward.section.gate.as_ref(),
                grades: reward.ask(&told, &request)?,
            });
        }
        let mut combined = combine(&self.combination, &columns, n_told).into_iter();
        let grade = |trajectory: &Trajectory| match &trajectory.outcome {
            Outcome::Failed(reason) => Grade::Failed(reason.clone()),
            _ => combined.next().expect("every trajectory that did not fail was graded"),
        };
        Ok(group.trajectories.iter().map(grade).collect())
    }
}

impl Loaded {
    fn ask(
        &self,
        told: &wire::Group,
        request: &Arc<Vec<u8>>,
    ) -> Result<Vec<wire::Grade>, PluginError> {
        let err = match self.plugin.score_bytes(told, request) {
            Ok(grades) => return self.within_limit(told, grades),
            Err(err) => err.in_reward(&self.name),
        };
        let n = told.trajectories.len();
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

    /// Counts what the plugin says it could not score. The error names the first of the group.
    fn within_limit(
        &self,
        told: &wire::Group,
        grades: Vec<wire::Grade>,
    ) -> Result<Vec<wire::Grade>, PluginError> {
        let mut failed =
            told.trajectories.iter().zip(&grades).filter_map(|(it, grade)| match grade {
                wire::Grade::Failed(reason) => Some((it.member, reason.clone())),
                _ => None,
            });
        let Some((member, reason)) = failed.next() else { return Ok(grades) };
        let n_new = 1 + failed.count();
        let n = n_new + self.n_failed.fetch_add(n_new, Ordering::Relaxed);
        match self.section.failed_limit {
            Some(limit) if n > limit => {
                let kind = PluginErrorKind::TooManyFailed { n, limit, member, reason };
                let err = PluginError::new(self.plugin.path(), kind);
                Err(err.on_question(&told.question.id).in_reward(&self.name))
            }
            _ => Ok(grades),
        }
    }
}
