//! Combination of several rewards to one: the section `[combination]` of a run file.
//!
//! [`combine`] is a pure function of the grades of one group and of weights. It knows no plugin.

use std::path::Path;

use forage_reward_sdk::wire;
use forage_trajectory::statistics::{mean, standard_deviation};
use forage_trajectory::{Grade, Score};
use serde::{Deserialize, Serialize};

use crate::{PluginError, PluginErrorKind, RewardGate};

/// Keeps the quotient finite for a group of equal rewards; the value of GRPO in verl.
const EPSILON: f64 = 1e-6;

/// Combination of rewards: the section `[combination]` of a run file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Combination {
    /// Combination rule. Default: `sum`.
    pub rule: CombinationRule,
    /// For `lexicographic`: names of rewards, the most important first. Rewards that are not named
    /// are computed and logged, but not trained on. Default: empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<String>,
}

/// Combination rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CombinationRule {
    /// Weighted sum.
    #[default]
    Sum,
    /// Weighted sum of rewards that are first standardized within their group, with the unbiased
    /// standard deviation: GDPO (arXiv 2601.05242, equations 4 and 5). A reward with a larger scale
    /// does not dominate the others. The normalization over the batch is left to the optimizer.
    NormalizeThenSum,
    /// Lexicographic rank: the group is sorted by the first reward, ties by the second, and so on.
    /// The combined reward is the rank, from 0 for the worst to 1 for the best.
    Lexicographic,
}

impl Combination {
    /// Checks `order`.
    pub(crate) fn check(&self, is_known: impl Fn(&str) -> bool) -> Result<(), PluginError> {
        let lexicographic = self.rule == CombinationRule::Lexicographic;
        let twice = |at: &usize| self.order[..*at].contains(&self.order[*at]);
        let problem = if !lexicographic && !self.order.is_empty() {
            "is used by the rule `lexicographic` only".to_owned()
        } else if lexicographic && self.order.is_empty() {
            "is empty: the rule `lexicographic` wants it".to_owned()
        } else if let Some(at) = (0..self.order.len()).find(twice) {
            format!("names `{}` twice", self.order[at])
        } else if let Some(unknown) = self.order.iter().find(|it| !is_known(it)) {
            format!("names `{unknown}`, which is no reward")
        } else {
            return Ok(());
        };
        let kind = PluginErrorKind::Setting { key: "order", problem };
        Err(PluginError::new(Path::new("[combination]"), kind))
    }
}

/// Grades of a group by one reward.
pub(crate) struct Column<'a> {
    pub(crate) name: &'a str,
    /// Weight, including the factor of the schedule.
    pub(crate) weight: f64,
    pub(crate) gate: Option<&'a RewardGate>,
    /// One grade for each trajectory.
    pub(crate) grades: Vec<wire::Grade>,
}

/// Combines the grades of a group of `n` trajectories: one grade for each trajectory.
///
/// - A reward that failed fails the trajectory, whatever its weight.
/// - A reward that is not applicable adds nothing. If none is applicable, neither is the result.
/// - A reward with a closed gate counts as 0, and so do its step rewards.
/// - Step rewards are added up with their weights under every rule.
/// - The parts are those of all rewards: `NAME`, before weight and gate, `NAME/PART`, and
///   `NAME/open` for a reward with a gate.
pub(crate) fn combine(combination: &Combination, columns: &[Column<'_>], n: usize) -> Vec<Grade> {
    let counted: Vec<Vec<Option<f64>>> = columns
        .iter()
        .map(|column| (0..n).map(|at| counted(columns, column, at)).collect())
        .collect();
    let failed: Vec<Option<String>> = (0..n).map(|at| failure(columns, at)).collect();
    let is_in = |column: &Column<'_>| match combination.rule {
        CombinationRule::Lexicographic => combination.order.iter().any(|it| it == column.name),
        CombinationRule::Sum | CombinationRule::NormalizeThenSum => true,
    };
    let rewards: Vec<f64> = match combination.rule {
        CombinationRule::Sum => sums(columns, &counted, n),
        CombinationRule::NormalizeThenSum => {
            let without_failed = |column: &Vec<Option<f64>>| -> Vec<Option<f64>> {
                let kept = column.iter().zip(&failed);
                kept.map(|(value, failed)| value.filter(|_| failed.is_none())).collect()
            };
            let standardized: Vec<_> =
                counted.iter().map(|column| standardize(&without_failed(column))).collect();
            sums(columns, &standardized, n)
        }
        CombinationRule::Lexicographic => {
            let key = |at: usize| -> Vec<f64> {
                let column = |name: &String| columns.iter().position(|it| it.name == name);
                let places = combination.order.iter().filter_map(column);
                // Adding 0 makes 0 and −0 equal.
                places.map(|place| counted[place][at].unwrap_or(0.0) + 0.0).collect()
            };
            let keys: Vec<_> = (0..n).map(|at| failed[at].is_none().then(|| key(at))).collect();
            ranks(&keys)
        }
    };
    let grade = |(at, failed): (usize, Option<String>)| {
        if let Some(reason) = failed {
            return Grade::Failed(reason);
        }
        let applies = columns
            .iter()
            .zip(&counted)
            .any(|(column, values)| is_in(column) && values[at].is_some());
        if !applies {
            return Grade::NotApplicable;
        }
        let mut score = Score { reward: rewards[at], ..Score::default() };
        for (column, counted) in columns.iter().zip(&counted) {
            column.add_to(&mut score, at, is_in(column), counted[at].is_some(), columns);
        }
        finite(score)
    };
    failed.into_iter().enumerate().map(grade).collect()
}

impl Column<'_> {
    /// Score of a trajectory, if there is one.
    fn score(&self, at: usize) -> Option<&wire::Score> {
        match &self.grades[at] {
            wire::Grade::Scored(score) => Some(score),
            _ => None,
        }
    }

    /// Whether the gate is open for a trajectory. A reward without a gate is always open.
    fn is_open(&self, columns: &[Column<'_>], at: usize) -> bool {
        let Some(gate) = self.gate else { return true };
        let other = columns.iter().find(|column| column.name == gate.reward);
        other.and_then(|it| it.score(at)).is_none_or(|score| score.reward >= gate.min)
    }

    /// Adds the parts and step rewards of a trajectory to its combined score.
    fn add_to(
        &self,
        sum: &mut Score,
        at: usize,
        is_in: bool,
        applies: bool,
        columns: &[Column<'_>],
    ) {
        let Some(score) = self.score(at).filter(|_| applies) else { return };
        let is_open = self.is_open(columns, at);
        sum.parts.insert(self.name.to_owned(), score.reward);
        for (part, value) in &score.parts {
            sum.parts.insert(format!("{}/{part}", self.name), *value);
        }
        if self.gate.is_some() {
            sum.parts.insert(format!("{}/open", self.name), f64::from(u8::from(is_open)));
        }
        if sum.steps.is_empty() {
            sum.steps.resize(score.steps.len(), 0.0);
        }
        if is_in && is_open {
            for (step, value) in sum.steps.iter_mut().zip(&score.steps) {
                *step += self.weight * value;
            }
        }
    }
}

/// Reward of a trajectory after the gate and before the weight; `None` without a score.
fn counted(columns: &[Column<'_>], column: &Column<'_>, at: usize) -> Option<f64> {
    let score = column.score(at)?;
    Some(if column.is_open(columns, at) { score.reward } else { 0.0 })
}

/// Reason why a trajectory fails: that of the first reward that failed.
fn failure(columns: &[Column<'_>], at: usize) -> Option<String> {
    columns.iter().find_map(|column| match &column.grades[at] {
        wire::Grade::Failed(reason) => Some(format!("reward `{}`: {reason}", column.name)),
        _ => None,
    })
}

/// Weighted sums of the rewards.
fn sums(columns: &[Column<'_>], counted: &[Vec<Option<f64>>], n: usize) -> Vec<f64> {
    let sum = |at: usize| {
        let terms = columns.iter().zip(counted);
        terms.map(|(column, values)| values[at].map_or(0.0, |value| column.weight * value)).sum()
    };
    (0..n).map(sum).collect()
}

/// Standardized values: `(x − mean) / (deviation + ε)` with the unbiased standard deviation; 0 for
/// a single value.
fn standardize(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let present: Vec<f64> = values.iter().copied().flatten().collect();
    let (center, deviation) = (mean(&present), standard_deviation(&present));
    let standardized = |value: f64| (value - center) / (deviation + EPSILON);
    values.iter().map(|value| value.map(standardized)).collect()
}

/// Rank of each key: the share of the other distinct keys that are smaller. Equal keys have equal
/// ranks.
fn ranks(keys: &[Option<Vec<f64>>]) -> Vec<f64> {
    let order = |a: &Vec<f64>, b: &Vec<f64>| {
        let places = a.iter().zip(b).map(|(a, b)| a.total_cmp(b));
        places.reduce(std::cmp::Ordering::then).unwrap_or(std::cmp::Ordering::Equal)
    };
    let mut distinct: Vec<&Vec<f64>> = keys.iter().flatten().collect();
    distinct.sort_by(|a, b| order(a, b));
    distinct.dedup_by(|a, b| order(a, b).is_eq());
    let most = distinct.len().saturating_sub(1).max(1) as f64;
    let rank =
        |key: &Vec<f64>| distinct.partition_point(|other| order(other, key).is_lt()) as f64 / most;
    keys.iter().map(|key| key.as_ref().map_or(0.0, rank)).collect()
}

/// Grade of a combined score, which fails if a sum is not finite or too large to be squared.
fn finite(score: Score) -> Grade {
    let fits = |value: f64| value.abs() <= wire::MOST_REWARD;
    if fits(score.reward) && score.steps.iter().copied().all(fits) {
        Grade::Scored(score)
    } else {
        Grade::Failed("the weighted sum of the rewards is not finite, or beyond 1e18".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(rewards: &[f64]) -> Vec<wire::Grade> {
        rewards.iter().map(|it| wire::Score::new(*it).steps([*it]).into()).collect()
    }

    fn column(name: &str, weight: f64, grades: Vec<wire::Grade>) -> Column<'_> {
        Column { name, weight, gate: None, grades }
    }

    fn rewards(combination: &Combination, columns: &[Column<'_>]) -> Vec<Option<f64>> {
        let n = columns[0].grades.len();
        combine(combination, columns, n).iter().map(Grade::reward).collect()
    }

    #[track_caller]
    fn close(found: &[Option<f64>], expected: &[f64]) {
        let same = found.len() == expected.len()
            && found.iter().zip(expected).all(|(a, b)| a.is_some_and(|a| (a - b).abs() < 1e-4));
        assert!(same, "{found:?}, {expected:?}");
    }

    #[test]
    fn gates() {
        let gate = RewardGate { reward: "format".to_owned(), min: 1.0 };
        let columns = [
            Column { gate: Some(&gate), ..column("answer", 1.0, scored(&[1.0, 1.0, 0.0])) },
            column("format", 0.1, scored(&[1.0, 0.5, 1.0])),
        ];
        let grades = combine(&Combination::default(), &columns, 3);
        close(&grades.iter().map(Grade::reward).collect::<Vec<_>>(), &[1.1, 0.05, 0.1]);
        let Grade::Scored(shut) = &grades[1] else { panic!("{grades:?}") };
        let parts: Vec<(&str, f64)> = shut.parts.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        assert_eq!(parts, [("answer", 1.0), ("answer/open", 0.0), ("format", 0.5)]);
        assert!((shut.steps[0] - 0.05).abs() < 1e-9, "a shut gate shuts the steps: {shut:?}");

        let silent = [
            Column { gate: Some(&gate), ..column("answer", 1.0, scored(&[1.0])) },
            column("format", 0.1, vec![wire::Grade::NotApplicable]),
        ];
        close(&rewards(&Combination::default(), &silent), &[1.0]);
    }

    #[test]
    fn normalize_then_sum() {
        let gdpo =
            Combination { rule: CombinationRule::NormalizeThenSum, ..Combination::default() };
        // Two rewards with equal sums, which GRPO cannot tell apart.
        let columns = [
            column("a", 1.0, scored(&[1.0, 0.0, 0.0, 0.0])),
            column("b", 1.0, scored(&[0.0, 1.0, 1.0, 0.0])),
        ];
        // Unbiased: a has deviation .5, b has deviation .57735.
        close(&rewards(&gdpo, &columns), &[0.633_975, 0.366_025, 0.366_025, -1.366_025]);
        // The scale of a reward does not matter, its weight does.
        let scaled = [
            column("a", 2.0, scored(&[100.0, 0.0, 0.0, 0.0])),
            column("b", 1.0, scored(&[0.0, 1.0, 1.0, 0.0])),
        ];
        close(&rewards(&gdpo, &scaled), &[2.133_975, -0.133_975, -0.133_975, -1.866_025]);
        close(&rewards(&gdpo, &[column("a", 1.0, scored(&[3.0, 3.0]))]), &[0.0, 0.0]);
        close(&rewards(&gdpo, &[column("a", 1.0, scored(&[3.0]))]), &[0.0]);

        // Failed trajectories are in no mean.
        let mut grades = scored(&[1.0, 0.0, 9.0]);
        grades[2] = wire::Grade::Failed("away".to_owned());
        let columns = [column("a", 2.0, grades), column("b", 1.0, scored(&[0.0, 0.0, 9.0]))];
        let found = rewards(&gdpo, &columns);
        close(&found[..2], &[2.0_f64.sqrt(), -(2.0_f64.sqrt())]);
        assert_eq!(found[2], None);
    }

    #[test]
    fn lexicographic() {
        let order = vec!["answer".to_owned(), "cost".to_owned()];
        let rule = Combination { rule: CombinationRule::Lexicographic, order };
        let columns = [
            column("cost", 1.0, scored(&[-0.1, 0.0, 0.0, -0.1, -0.0])),
            column("answer", 1.0, scored(&[1.0, 0.0, 1.0, 1.0, 0.0])),
            column("watched", 1.0, scored(&[5.0, 4.0, 3.0, 2.0, 1.0])),
        ];
        close(&rewards(&rule, &columns), &[0.5, 0.0, 1.0, 0.5, 0.0]);
        let Grade::Scored(score) = &combine(&rule, &columns, 5)[0] else { panic!() };
        assert_eq!(score.parts["watched"].to_bits(), 5.0_f64.to_bits());
        assert!((score.steps[0] - 0.9).abs() < 1e-9, "the watched one adds no step: {score:?}");

        let equal =
            [column("answer", 1.0, scored(&[1.0, 1.0])), column("cost", 1.0, scored(&[0.0; 2]))];
        close(&rewards(&rule, &equal), &[0.0, 0.0]);
        let none = [
            column("answer", 1.0, vec![wire::Grade::NotApplicable]),
            column("cost", 1.0, vec![wire::Grade::NotApplicable]),
            column("watched", 1.0, scored(&[1.0])),
        ];
        assert_eq!(rewards(&rule, &none), [None]);
    }
}
