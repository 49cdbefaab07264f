//! Group-relative advantages (GRPO, Dr.GRPO, RLOO): one score for each trajectory of a question.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::episode::Episode;
use super::moments::SampleMoments;

/// GRPO: see [`grpo`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grpo {
    /// ε, and the advantage of a group of one. Default: `forage`.
    pub convention: GroupConvention,
}

/// Dr.GRPO: see [`dr_grpo`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrGrpo {
    /// Advantage of a group of one. Default: `forage`.
    pub convention: GroupConvention,
}

/// RLOO: see [`rloo`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rloo {
    /// Advantage of a group of one. Default: `forage`.
    pub convention: GroupConvention,
}

/// Convention of group-relative advantages, where systems differ in ε and in a group of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupConvention {
    /// ε = 1e-6; the baseline of a group of one is its own score, so its advantage is 0.
    #[default]
    Forage,
    /// ε = 1e-6; a group of one has baseline 0 and deviation 1, so its advantage is its score.
    /// Search-R1 and `SkyRL` do the same.
    Verl,
    /// ε = 1e-4; a group of one has advantage 0.
    Trl,
}

impl GroupConvention {
    /// ε, which is added to the standard deviation of a group.
    pub fn epsilon(self) -> f64 {
        match self {
            Self::Forage | Self::Verl => 1e-6,
            Self::Trl => 1e-4,
        }
    }
}

/// GRPO advantage (arXiv 2402.03300, section 4.1.2; Search-R1, arXiv 2503.09516).
///
/// A = (r - mean) / (std + ε) with the unbiased standard deviation, and ε by
/// [`GroupConvention::epsilon`].
///
/// `rewards` has one entry for each trajectory of the group. `None` is a trajectory without a
/// reward, because the reward or the infrastructure failed: it is in neither mean nor deviation,
/// and its advantage is `None`. A group without variance gets zeros. For a group of one, see
/// [`GroupConvention`].
pub fn grpo(rewards: &[Option<f64>], convention: GroupConvention) -> Vec<Option<f64>> {
    let moments = SampleMoments::of(rewards.iter().flatten().copied());
    let epsilon = convention.epsilon();
    if let Some(raw) = singleton(rewards, convention, |score| score / (1.0 + epsilon)) {
        return raw;
    }
    let deviation = moments.variance.sqrt();
    let advantage = |reward: f64| (reward - moments.mean) / (deviation + epsilon);
    rewards.iter().map(|reward| reward.map(advantage)).collect()
}

/// Dr.GRPO advantage (arXiv 2503.20783): A = r - mean, without GRPO's division, which favours
/// questions of little variance.
///
/// The whole method also needs `aggregation.name = "constant"`. `rewards` and the result as in
/// [`grpo`].
pub fn dr_grpo(rewards: &[Option<f64>], convention: GroupConvention) -> Vec<Option<f64>> {
    let moments = SampleMoments::of(rewards.iter().flatten().copied());
    let advantage = |reward: f64| reward - moments.mean;
    singleton(rewards, convention, |score| score)
        .unwrap_or_else(|| rewards.iter().map(|reward| reward.map(advantage)).collect())
}

/// RLOO advantage (arXiv 2402.14740, equation 8): the baseline is the mean of the other
/// trajectories of the group, A = r - (Σr - r) / (n - 1) = n / (n - 1) · (r - mean).
///
/// `rewards` and the result as in [`grpo`].
pub fn rloo(rewards: &[Option<f64>], convention: GroupConvention) -> Vec<Option<f64>> {
    let n = rewards.iter().flatten().count() as f64;
    let scale = if n > 1.0 { n / (n - 1.0) } else { 1.0 };
    singleton(rewards, convention, |score| score).unwrap_or_else(|| {
        let differences = dr_grpo(rewards, convention);
        differences.into_iter().map(|difference| difference.map(|it| it * scale)).collect()
    })
}

/// Advantages of a group of one, if the convention does not use its own score as the baseline.
fn singleton(
    rewards: &[Option<f64>],
    convention: GroupConvention,
    raw: impl Fn(f64) -> f64,
) -> Option<Vec<Option<f64>>> {
    let alone = rewards.iter().flatten().count() == 1;
    (alone && convention == GroupConvention::Verl)
        .then(|| rewards.iter().map(|reward| reward.map(&raw)).collect())
}

/// Indices of the episodes of each group; groups and indices in ascending order.
pub(super) fn members(episodes: &[Episode]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (idx, episode) in episodes.iter().enumerate() {
        groups.entry(episode.group).or_default().push(idx);
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type OfGroup = fn(&[Option<f64>], GroupConvention) -> Vec<Option<f64>>;

    const ALL: [OfGroup; 3] = [grpo, dr_grpo, rloo];

    fn check(rewards: &[f64], expected: &[f64]) {
        let rewards: Vec<Option<f64>> = rewards.iter().copied().map(Some).collect();
        let found = grpo(&rewards, GroupConvention::Forage);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found.unwrap() - expected).abs() < 1e-4, "{found:?} is not {expected}");
        }
    }

    #[test]
    fn vectors_of_the_papers() {
        check(&[1.0, 0.0, 0.0, 0.0], &[1.5, -0.5, -0.5, -0.5]);
        check(&[1.0, 0.0, 0.15], &[1.14348, -0.71081, -0.43267]);
        check(&[1.0, 0.15, 0.0, 0.0], &[1.48365, -0.28632, -0.59866, -0.59866]);
        check(&[0.3, 0.15, 0.0, 0.0], &[1.30557, 0.26111, -0.78334, -0.78334]);
    }

    /// Rewards that differ by as little as an ε.
    #[test]
    fn every_convention_has_its_epsilon() {
        for (convention, epsilon) in [
            (GroupConvention::Forage, 1e-6),
            (GroupConvention::Verl, 1e-6),
            (GroupConvention::Trl, 1e-4),
        ] {
            assert!((convention.epsilon() - epsilon).abs() < 1e-15, "{convention:?}");
            let found = grpo(&[Some(1e-4), Some(0.0)], convention)[0].unwrap();
            let expected = 5e-5 / (1e-4 / 2.0_f64.sqrt() + epsilon);
            assert!((found - expected).abs() < 1e-9, "{convention:?}: {found} is not {expected}");
        }
    }

    #[test]
    fn degenerate_groups_are_finite() {
        check(&[1.0, 1.0, 1.0], &[0.0, 0.0, 0.0]);
        check(&[1.0], &[0.0]);
        for of_group in ALL {
            for convention in [GroupConvention::Forage, GroupConvention::Verl, GroupConvention::Trl]
            {
                assert_eq!(of_group(&[], convention), []);
                assert_eq!(of_group(&[None, None], convention), [None, None]);
                let zeros = of_group(&[Some(0.3), None, Some(0.3)], convention);
                assert!(zeros.iter().flatten().all(|it| it.abs() < 1e-12), "{zeros:?}");
                let alone = of_group(&[None, Some(0.4)], convention);
                let expected = if convention == GroupConvention::Verl { 0.4 } else { 0.0 };
                assert!((alone[1].unwrap() - expected).abs() < 1e-5, "{convention:?} {alone:?}");
            }
        }
    }

    #[test]
    fn failed_trajectories_are_in_no_statistic() {
        for of_group in ALL {
            let with = of_group(&[Some(1.0), None, Some(0.0)], GroupConvention::Forage);
            let without = of_group(&[Some(1.0), Some(0.0)], GroupConvention::Forage);
            assert_eq!([with[0], with[2]], [without[0], without[1]]);
            assert_eq!(with[1], None);
        }
    }

    proptest! {
        #[test]
        fn advantages_sum_to_zero(rewards in prop::collection::vec(-5.0..5.0_f64, 2..20)) {
            let rewards: Vec<Option<f64>> = rewards.into_iter().map(Some).collect();
            for convention in [GroupConvention::Forage, GroupConvention::Verl, GroupConvention::Trl] {
                for of_group in ALL {
                    let sum: f64 = of_group(&rewards, convention).into_iter().flatten().sum();
                    prop_assert!(sum.abs() < 1e-6);
                }
            }
        }
    }
}
