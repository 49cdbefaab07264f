//! Comparison of two rewards of the same trajectories.
//!
//! [`compare`] makes a [`RewardComparison`]: the rank correlation over all trajectories, and, as
//! training sees rewards only within a group, the number of advantages (reward minus the mean of
//! the group) whose sign differs. It knows no plugin.

use std::fmt::Write;

use forage_reward_sdk::{Grade, Kind};
use forage_trajectory::statistics::mean;

use crate::trajectory_files::StoredGroup;

/// Rewards that differ by less are equal, and a smaller advantage is 0.
const EPSILON: f64 = 1e-9;

/// Characters of an observation that are shown.
const OBSERVATION_WIDTH: usize = 160;

/// Rewards of one trajectory by two plugins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RewardPair {
    /// First reward.
    pub one: f64,
    /// Second reward.
    pub other: f64,
}

/// Trajectory that has different ranks by two rewards.
#[derive(Debug, Clone, PartialEq)]
pub struct Disagreement {
    /// Index of its group.
    pub group: usize,
    /// Index of the trajectory in its group.
    pub idx: usize,
    /// Rewards.
    pub rewards: RewardPair,
    /// Difference of its ranks, divided by the number of trajectories.
    pub distance: f64,
}

/// Comparison of two rewards.
#[derive(Debug, Clone, PartialEq)]
pub struct RewardComparison {
    /// Number of trajectories that both scored.
    pub n: usize,
    /// Number of trajectories that only one scored.
    pub n_one_sided: usize,
    /// Spearman's rank correlation; `None` where one of the rewards is constant.
    pub correlation: Option<f64>,
    /// Number of trajectories whose advantages have opposite signs.
    pub n_changed: usize,
    /// Number of groups that have variance by the first reward only, and by the second only.
    pub n_varied_in_one: [usize; 2],
    /// Trajectories whose ranks differ, by descending distance.
    pub disagreements: Vec<Disagreement>,
}

/// Whether the rewards of a group differ.
pub fn is_varied(grades: &[Grade]) -> bool {
    let mut rewards = grades.iter().filter_map(Grade::reward);
    let first = rewards.next();
    rewards.any(|reward| first.is_some_and(|first| (reward - first).abs() > EPSILON))
}

/// Compares the grades of two rewards for the same groups.
pub fn compare(a: &[Vec<Grade>], b: &[Vec<Grade>]) -> RewardComparison {
    let mut places = Vec::new();
    let mut pairs: Vec<RewardPair> = Vec::new();
    let (mut n_one_sided, mut n_changed, mut n_varied_in_one) = (0, 0, [0, 0]);
    for (group, (a, b)) in a.iter().zip(b).enumerate() {
        let first = pairs.len();
        for (idx, (a, b)) in a.iter().zip(b).enumerate() {
            match (a.reward(), b.reward()) {
                (Some(one), Some(other)) => {
                    places.push((group, idx));
                    pairs.push(RewardPair { one, other });
                }
                (None, None) => {}
                _ => n_one_sided += 1,
            }
        }
        n_changed += changed(&pairs[first..]);
        match (is_varied(a), is_varied(b)) {
            (true, false) => n_varied_in_one[0] += 1,
            (false, true) => n_varied_in_one[1] += 1,
            _ => {}
        }
    }
    let distances = rank_distances(&pairs);
    let all = places.into_iter().zip(&pairs).zip(distances);
    let mut disagreements: Vec<Disagreement> = all
        .map(|(((group, idx), rewards), distance)| Disagreement {
            group,
            idx,
            rewards: *rewards,
            distance,
        })
        .filter(|it| it.distance > EPSILON)
        .collect();
    // Stable: equal ones stay in the order of the files.
    disagreements.sort_by(|a, b| b.distance.total_cmp(&a.distance));
    let correlation = rank_correlation(&pairs);
    let n = pairs.len();
    RewardComparison { n, n_one_sided, correlation, n_changed, n_varied_in_one, disagreements }
}

/// Text of a comparison, with the first `show` disagreements.
pub fn report(stored: &[StoredGroup], it: &RewardComparison, show: usize) -> String {
    let correlation = it
        .correlation
        .map_or("none: one of them is always the same".to_owned(), |it| format!("{it:.4}"));
    let share = 100.0 * it.n_changed as f64 / it.n.max(1) as f64;
    let [only_a, only_b] = it.n_varied_in_one;
    let mut text = format!(
        "{} trajectories in {} groups scored by both, {} by one only\n\n  \
         rank correlation             {correlation}\n  \
         advantages of changed sign   {} ({share:.1} %)\n  \
         groups that differ           {only_a} by A only, {only_b} by B only\n",
        it.n,
        stored.len(),
        it.n_one_sided,
        it.n_changed,
    );
    for (rank, one) in it.disagreements.iter().take(show).enumerate() {
        let group = &stored[one.group].group;
        let RewardPair { one: a, other: b } = one.rewards;
        writeln!(
            text,
            "\n{}. question `{}`, member {}: A {a:.4}, B {b:.4}\n   {}\n   golden: {}",
            rank + 1,
            group.question.id,
            group.trajectories[one.idx].member,
            group.question.text,
            group.question.golden_answers.join(" | "),
        )
        .expect("a string takes all text");
        for segment in &group.trajectories[one.idx].segments {
            let shown = match segment.kind {
                Kind::Prompt => continue,
                Kind::Information => cut(segment.text.trim(), OBSERVATION_WIDTH),
                _ => segment.text.trim().to_owned(),
            };
            for line in shown.lines().filter(|line| !line.trim().is_empty()) {
                writeln!(text, "     {line}").expect("a string takes all text");
            }
        }
    }
    text
}

/// Spearman's rank correlation: Pearson's correlation of the ranks, where equal values share the
/// mean of their ranks.
///
/// `None` for fewer than two pairs, and where one side is constant.
pub fn rank_correlation(pairs: &[RewardPair]) -> Option<f64> {
    let (a, b) = ranks_of(pairs);
    let (center_a, center_b) = (mean(&a), mean(&b));
    let product = |x: &[f64], cx: f64, y: &[f64], cy: f64| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - cx) * (y - cy)).sum()
    };
    let spread = product(&a, center_a, &a, center_a) * product(&b, center_b, &b, center_b);
    (spread > EPSILON).then(|| product(&a, center_a, &b, center_b) / spread.sqrt())
}

/// Number of trajectories of a group whose advantages have opposite signs.
fn changed(pairs: &[RewardPair]) -> usize {
    let center = |value: fn(&RewardPair) -> f64| mean(&pairs.iter().map(value).collect::<Vec<_>>());
    let (one, other) = (center(|it| it.one), center(|it| it.other));
    let is_changed = |pair: &&RewardPair| {
        let (a, b) = (pair.one - one, pair.other - other);
        a.abs() > EPSILON && b.abs() > EPSILON && (a > 0.0) != (b > 0.0)
    };
    pairs.iter().filter(is_changed).count()
}

fn rank_distances(pairs: &[RewardPair]) -> Vec<f64> {
    let (a, b) = ranks_of(pairs);
    a.iter().zip(&b).map(|(a, b)| (a - b).abs() / pairs.len() as f64).collect()
}

fn ranks_of(pairs: &[RewardPair]) -> (Vec<f64>, Vec<f64>) {
    let of = |value: fn(&RewardPair) -> f64| ranks(&pairs.iter().map(value).collect::<Vec<_>>());
    (of(|it| it.one), of(|it| it.other))
}

/// Ranks, from 0; equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    for equal in order.chunk_by(|&a, &b| (values[a] - values[b]).abs() <= EPSILON) {
        let shared = from as f64 + (equal.len() - 1) as f64 / 2.0;
        for &idx in equal {
            ranks[idx] = shared;
        }
        from += equal.len();
    }
    ranks
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use forage_reward_sdk::{Group, Question, Score, Trajectory};

    use super::*;

    /// Pairs of rewards and their correlation.
    type Case<'a> = (&'a [(f64, f64)], Option<f64>);

    fn pairs(values: &[(f64, f64)]) -> Vec<RewardPair> {
        values.iter().map(|&(one, other)| RewardPair { one, other }).collect()
    }

    #[test]
    fn rank_correlations() {
        // The right-hand sides are those of `scipy.stats.spearmanr`.
        let cases: [Case<'_>; 6] = [
            (&[(1.0, 2.0), (2.0, 4.0), (3.0, 9.0)], Some(1.0)),
            (&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], Some(-1.0)),
            (&[(1.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 3.0)], Some(8.0 / 9.0)),
            (&[(1.0, 1.0), (1.0, 2.0)], None),
            (&[(1.0, 1.0)], None),
            (&[], None),
        ];
        for (values, expected) in cases {
            let found = rank_correlation(&pairs(values));
            match (found, expected) {
                (Some(found), Some(expected)) => {
                    assert!((found - expected).abs() < 1e-9, "{found}");
                }
                _ => assert_eq!(found, expected),
            }
        }
    }

    fn grades(values: &[Option<f64>]) -> Vec<Grade> {
        let grade = |it: &Option<f64>| {
            it.map_or(Grade::NotApplicable, |reward| Grade::Scored(Score::new(reward)))
        };
        values.iter().map(grade).collect()
    }

    #[test]
    fn what_changes_sign_is_counted_and_shown() {
        let a = [grades(&[Some(1.0), Some(0.0)]), grades(&[Some(0.0), Some(0.0), Some(1.0)])];
        let b = [grades(&[Some(0.2), Some(0.7)]), grades(&[Some(0.5), Some(0.5), None])];
        let found = compare(&a, &b);
        assert_eq!((found.n, found.n_one_sided, found.n_changed), (4, 1, 2));
        assert_eq!(found.n_varied_in_one, [1, 0]);

        let question = Question::new("who?", ["Paris", "City"]);
        let played = |it: &str| Trajectory::default().think("hm").answer(it);
        let stored: Vec<StoredGroup> = [2, 3]
            .map(|n| StoredGroup {
                group: Group {
                    question: question.clone(),
                    trajectories: (0..n).map(|it| played(&it.to_string())).collect(),
                    step: None,
                },
                rewards: vec![None; n],
            })
            .to_vec();
        expect![[r"
            4 trajectories in 2 groups scored by both, 1 by one only

              rank correlation             -0.8165
              advantages of changed sign   2 (50.0 %)
              groups that differ           1 by A only, 0 by B only

            1. question `q`, member 0: A 1.0000, B 0.2000
               who?
               golden: Paris | City
                 <think> hm </think>
                 <answer> 0 </answer>
        "]]
        .assert_eq(&report(&stored, &found, 1));
    }
}
