//! The numbers of one step, under stable names.

use std::collections::BTreeMap;

use forage_trajectory::{Grade, Group, Outcome, Trajectory};
use serde_json::{Map, Value, json};

use crate::learner::Sums;

/// What a rollout and its grades say: `reward/…`, `outcome/…`, `rollout/…`, `groups/…`.
pub fn of_groups(row: &mut Map<String, Value>, groups: &[Group], grades: &[Vec<Grade>]) {
    let trajectories: Vec<&Trajectory> = groups.iter().flat_map(|it| &it.trajectories).collect();
    let all: Vec<&Grade> = grades.iter().flatten().collect();
    let rewards: Vec<f64> = all.iter().filter_map(|it| it.reward()).collect();
    row.insert("reward/mean".into(), json!(mean(&rewards)));
    row.insert("reward/std".into(), json!(deviation(&rewards)));
    let mut parts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut n_failed = 0;
    for grade in &all {
        match grade {
            Grade::Scored(score) => {
                for (name, value) in &score.parts {
                    parts.entry(name).or_default().push(*value);
                }
            }
            Grade::NotApplicable => {}
            Grade::Failed(_) => n_failed += 1,
        }
    }
    for (name, values) in parts {
        row.insert(format!("reward/{name}"), json!(mean(&values)));
    }
    row.insert("reward/failed".into(), json!(n_failed));
    let zero_variance = grades.iter().filter(|group| {
        let rewards: Vec<f64> = group.iter().filter_map(Grade::reward).collect();
        deviation(&rewards) < 1e-9
    });
    row.insert("groups/zero_variance".into(), json!(share(zero_variance.count(), grades.len())));
    let n = trajectories.len();
    let per_trajectory =
        |f: &dyn Fn(&Trajectory) -> usize| share(trajectories.iter().map(|it| f(it)).sum(), n);
    row.insert("rollout/searches".into(), json!(per_trajectory(&|it| it.searches.len())));
    row.insert("rollout/policy_tokens".into(), json!(per_trajectory(&Trajectory::n_policy_tokens)));
    row.insert("rollout/tokens".into(), json!(per_trajectory(&|it| it.tokens.len())));
    for name in ["answered", "no_answer", "malformed", "over_length", "out_of_turns", "failed"] {
        let count = trajectories.iter().filter(|it| outcome_name(&it.outcome) == name).count();
        row.insert(format!("outcome/{name}"), json!(share(count, n)));
    }
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::NoAnswer => "no_answer",
        Outcome::Malformed => "malformed",
        Outcome::OverLength => "over_length",
        Outcome::OutOfTurns => "out_of_turns",
        Outcome::Failed(_) => "failed",
    }
}

/// What the update says: `loss/…`, `policy/…`, `rollout/mismatch…`.
pub fn of_update(row: &mut Map<String, Value>, sums: &Sums, n_tokens: usize, norm: f64, lr: f64) {
    row.insert("loss/policy".into(), json!(sums.loss / n_tokens.max(1) as f64));
    row.insert("loss/grad_norm".into(), json!(norm));
    row.insert("optimizer/lr".into(), json!(lr));
    row.insert("policy/entropy".into(), json!(sums.mean(sums.entropy)));
    row.insert("policy/clip_fraction".into(), json!(sums.mean(sums.n_clipped as f64)));
    row.insert("policy/trained_tokens".into(), json!(sums.n_tokens));
    row.insert("rollout/mismatch".into(), json!(sums.mean(sums.mismatch)));
    row.insert("rollout/mismatch_kl".into(), json!(sums.mean(sums.mismatch_kl)));
    row.insert("rollout/mismatch_max".into(), json!(sums.mismatch_max));
}

fn share(count: usize, of: usize) -> f64 {
    count as f64 / of.max(1) as f64
}

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The unbiased standard deviation; 0 of fewer than two.
fn deviation(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares: f64 = values.iter().map(|it| (it - center).powi(2)).sum();
    (squares / (values.len().max(2) - 1) as f64).sqrt()
}
