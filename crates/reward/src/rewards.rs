//! The rewards of a run, added up.

use std::path::PathBuf;

use forage_reward_sdk::wire;
use forage_trajectory::{BoxError, Grade, Grader, Group, Outcome, Score, Trajectory};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Plugin, PluginError, PluginErrorKind, to_wire};

/// One reward of the run file: the section `[reward.NAME]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardSection {
    /// Name of the plugin, or the path of its library.
    pub plugin: String,
    /// What the reward is multiplied with. 0 only watches.
    #[serde(default = "one")]
    pub weight: f64,
    /// Passed to the plugin, which alone knows what may be in it.
    #[serde(default)]
    pub config: Map<String, Value>,
}

fn one() -> f64 {
    1.0
}

/// All rewards of a run. Their weighted sum is the reward of a trajectory.
///
/// - The parts of the sum are `NAME`, the reward before its weight, and `NAME/PART`.
/// - A reward that does not apply adds nothing; where none applies, the sum does not either.
/// - A reward that fails fails the sum.
/// - A trajectory that the infrastructure failed is graded [`Grade::Failed`] without asking: the
///   plugins see its siblings only.
/// - Step values are summed with the same weights. A reward without them adds nothing to any step.
#[derive(Debug)]
pub struct Rewards {
    rewards: Vec<Weighted>,
}

#[derive(Debug)]
struct Weighted {
    name: String,
    weight: f64,
    plugin: Plugin,
}

impl Rewards {
    /// Loads the plugin of every section: (name, section, library).
    ///
    /// Without sections, no trajectory has a reward.
    pub fn load(sections: &[(String, RewardSection, PathBuf)]) -> Result<Self, PluginError> {
        let load = |(name, section, library): &(String, RewardSection, PathBuf)| {
            if !section.weight.is_finite() {
                let kind = PluginErrorKind::Weight(section.weight);
                return Err(PluginError::new(library, kind).in_reward(name));
            }
            let plugin = Plugin::load(library, &Value::Object(section.config.clone()))
                .map_err(|err| err.in_reward(name))?;
            Ok(Weighted { name: name.clone(), weight: section.weight, plugin })
        };
        Ok(Self { rewards: sections.iter().map(load).collect::<Result<_, _>>()? })
    }

    /// The rewards by name, with their plugins.
    pub fn plugins(&self) -> impl Iterator<Item = (&str, &Plugin)> {
        self.rewards.iter().map(|it| (it.name.as_str(), &it.plugin))
    }

    /// One grade a trajectory, in their order.
    pub fn score(&self, group: &Group) -> Result<Vec<Grade>, PluginError> {
        let told = to_wire(group);
        let mut sums: Vec<Grade> = vec![Grade::NotApplicable; told.trajectories.len()];
        if !sums.is_empty() {
            let request = told.to_bytes();
            for reward in &self.rewards {
                let grades = reward
                    .plugin
                    .score_bytes(&told, &request)
                    .map_err(|err| err.in_reward(&reward.name))?;
                for (sum, grade) in sums.iter_mut().zip(grades) {
                    reward.add(sum, grade);
                }
            }
        }
        let mut sums = sums.into_iter();
        let grade = |trajectory: &Trajectory| match &trajectory.outcome {
            Outcome::Failed(reason) => Grade::Failed(reason.clone()),
            _ => sums.next().expect("every trajectory that did not fail was graded"),
        };
        Ok(group.trajectories.iter().map(grade).collect())
    }
}

impl Grader for Rewards {
    fn grade(&self, group: &Group) -> Result<Vec<Grade>, BoxError> {
        Ok(self.score(group)?)
    }
}

impl Weighted {
    fn add(&self, sum: &mut Grade, grade: wire::Grade) {
        match (&mut *sum, grade) {
            (Grade::Failed(_), _) | (_, wire::Grade::NotApplicable) => {}
            (_, wire::Grade::Failed(reason)) => {
                *sum = Grade::Failed(format!("reward `{}`: {reason}", self.name));
            }
            (Grade::NotApplicable, wire::Grade::Scored(score)) => {
                let mut first = Score::default();
                self.add_score(&mut first, score);
                *sum = finite(first);
            }
            (Grade::Scored(so_far), wire::Grade::Scored(score)) => {
                self.add_score(so_far, score);
                *sum = finite(std::mem::take(so_far));
            }
        }
    }

    fn add_score(&self, sum: &mut Score, score: wire::Score) {
        sum.reward += self.weight * score.reward;
        sum.parts.insert(self.name.clone(), score.reward);
        for (part, value) in score.parts {
            sum.parts.insert(format!("{}/{part}", self.name), value);
        }
        if sum.steps.is_empty() {
            sum.steps.resize(score.steps.len(), 0.0);
        }
        for (step, value) in sum.steps.iter_mut().zip(score.steps) {
            *step += self.weight * value;
        }
    }
}

/// Finite numbers can have a sum that is not.
fn finite(score: Score) -> Grade {
    if score.reward.is_finite() && score.steps.iter().all(|it| it.is_finite()) {
        Grade::Scored(score)
    } else {
        Grade::Failed("the weighted sum of the rewards is not finite".to_owned())
    }
}
