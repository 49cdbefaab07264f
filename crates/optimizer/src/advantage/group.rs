//! Advantages of the trajectories of one question, from one score each.

use std::collections::BTreeMap;

use super::{Convention, Episode, Moments};

/// GRPO (arXiv 2402.03300, section 4.1.2; Search-R1, arXiv 2503.09516).
///
/// A = (r - mean) / (std + ε) with the unbiased deviation; ε by [`Convention::epsilon`]. A
/// trajectory without a reward (`None`: the reward or the infrastructure failed) is in neither mean
/// nor deviation and gets no advantage. A group without variance gets zeros. A group of one: see
/// [`Convention`].
pub fn grpo(rewards: &[Option<f64>], convention: Convention) -> Vec<Option<f64>> {
    let moments = Moments::of(rewards.iter().flatten().copied());
    let epsilon = convention.epsilon();
    if let Some(raw) = singleton(rewards, convention, |score| score / (1.0 + epsilon)) {
        return raw;
    }
    let deviation = moments.variance.sqrt();
    let advantage = |reward: f64| (reward - moments.mean) / (deviation + epsilon);
    rewards.iter().map(|it| it.map(advantage)).collect()
}

/// Dr.GRPO (arXiv 2503.20783): A = r - mean, without the division that favours questions of
/// little variance. With `aggregation.name = "constant"` it is the whole method.
pub fn dr_grpo(rewards: &[Option<f64>], convention: Convention) -> Vec<Option<f64>> {
    let moments = Moments::of(rewards.iter().flatten().copied());
    singleton(rewards, convention, |score| score)
        .unwrap_or_else(|| rewards.iter().map(|it| it.map(|it| it - moments.mean)).collect())
}

/// RLOO (arXiv 2402.14740, equation 8): the baseline is the mean of the other trajectories,
/// A = r - (Σr - r) / (n - 1) = n / (n - 1) · (r - mean).
pub fn rloo(rewards: &[Option<f64>], convention: Convention) -> Vec<Option<f64>> {
    let n = rewards.iter().flatten().count() as f64;
    let scale = if n > 1.0 { n / (n - 1.0) } else { 1.0 };
    singleton(rewards, convention, |score| score).unwrap_or_else(|| {
        dr_grpo(rewards, convention).into_iter().map(|it| it.map(|it| it * scale)).collect()
    })
}

/// The advantages of a group of one, where the convention does not make its score the baseline.
fn singleton(
    rewards: &[Option<f64>],
    convention: Convention,
    raw: impl Fn(f64) -> f64,
) -> Option<Vec<Option<f64>>> {
    let alone = rewards.iter().flatten().count() == 1;
    (alone && convention == Convention::Verl)
        .then(|| rewards.iter().map(|it| it.map(&raw)).collect())
}

/// Indices of the episodes of each group, both in order.
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

    type OfGroup = fn(&[Option<f64>], Convention) -> Vec<Option<f64>>;

    const ALL: [OfGroup; 3] = [grpo, dr_grpo, rloo];

    fn check(rewards: &[f64], expected: &[f64]) {
        let rewards: Vec<Option<f64>> = rewards.iter().copied().map(Some).collect();
        let found = grpo(&rewards, Convention::Forage);
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
        for (convention, epsilon) in
            [(Convention::Forage, 1e-6), (Convention::Verl, 1e-6), (Convention::Trl, 1e-4)]
        {
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
            for convention in [Convention::Forage, Convention::Verl, Convention::Trl] {
                assert_eq!(of_group(&[], convention), []);
                assert_eq!(of_group(&[None, None], convention), [None, None]);
                let zeros = of_group(&[Some(0.3), None, Some(0.3)], convention);
                assert!(zeros.iter().flatten().all(|it| it.abs() < 1e-12), "{zeros:?}");
                let alone = of_group(&[None, Some(0.4)], convention);
                let expected = if convention == Convention::Verl { 0.4 } else { 0.0 };
                assert!((alone[1].unwrap() - expected).abs() < 1e-5, "{convention:?} {alone:?}");
            }
        }
    }

    #[test]
    fn failed_trajectories_are_in_no_statistic() {
        for of_group in ALL {
            let with = of_group(&[Some(1.0), None, Some(0.0)], Convention::Forage);
            let without = of_group(&[Some(1.0), Some(0.0)], Convention::Forage);
            assert_eq!([with[0], with[2]], [without[0], without[1]]);
            assert_eq!(with[1], None);
        }
    }

    proptest! {
        #[test]
        fn advantages_sum_to_zero(rewards in prop::collection::vec(-5.0..5.0_f64, 2..20)) {
            let rewards: Vec<Option<f64>> = rewards.into_iter().map(Some).collect();
            for convention in [Convention::Forage, Convention::Verl, Convention::Trl] {
                for of_group in ALL {
                    let sum: f64 = of_group(&rewards, convention).into_iter().flatten().sum();
                    prop_assert!(sum.abs() < 1e-6);
                }
            }
        }
    }
}
