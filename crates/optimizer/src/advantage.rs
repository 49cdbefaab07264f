//! Advantages of the trajectories of one question.

/// Added to the deviation, as verl and Search-R1 do.
const EPSILON: f64 = 1e-6;

/// Group-relative advantages (GRPO, arXiv 2402.03300; Search-R1, arXiv 2503.09516).
///
/// A = (r - mean) / (std + 1e-6) with the unbiased deviation. A trajectory without a reward
/// (`None`: the reward or the infrastructure failed) is in neither mean nor deviation and gets no
/// advantage. Departure from verl, which gives a singleton its raw score: the baseline of a group
/// of one is its own score, so its advantage is 0. A group without variance gets zeros.
pub fn group_advantages(rewards: &[Option<f64>]) -> Vec<Option<f64>> {
    let scored: Vec<f64> = rewards.iter().flatten().copied().collect();
    let n = scored.len() as f64;
    let mean = scored.iter().sum::<f64>() / n.max(1.0);
    let squares: f64 = scored.iter().map(|it| (it - mean).powi(2)).sum();
    let deviation = if n > 1.0 { (squares / (n - 1.0)).sqrt() } else { 0.0 };
    let advantage = |reward: f64| (reward - mean) / (deviation + EPSILON);
    rewards.iter().map(|it| it.map(advantage)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(rewards: &[f64], expected: &[f64]) {
        let rewards: Vec<Option<f64>> = rewards.iter().copied().map(Some).collect();
        let found = group_advantages(&rewards);
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

    #[test]
    fn degenerate_groups_are_finite() {
        check(&[1.0, 1.0, 1.0], &[0.0, 0.0, 0.0]);
        check(&[1.0], &[0.0]);
        assert_eq!(group_advantages(&[]), []);
        assert_eq!(group_advantages(&[None, None]), [None, None]);
    }

    #[test]
    fn failed_trajectories_are_in_no_statistic() {
        let with = group_advantages(&[Some(1.0), None, Some(0.0)]);
        let without = group_advantages(&[Some(1.0), Some(0.0)]);
        assert_eq!([with[0], with[2]], [without[0], without[1]]);
        assert_eq!(with[1], None);
    }

    proptest! {
        #[test]
        fn advantages_sum_to_zero(rewards in prop::collection::vec(-5.0..5.0_f64, 2..20)) {
            let rewards: Vec<Option<f64>> = rewards.into_iter().map(Some).collect();
            let sum: f64 = group_advantages(&rewards).into_iter().flatten().sum();
            prop_assert!(sum.abs() < 1e-6);
        }
    }
}
