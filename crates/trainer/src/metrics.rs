//! The numbers of one step, under stable names.

use std::collections::{BTreeMap, BTreeSet};

use forage_optimizer::{AlgorithmConfig, Ppo, Surrogate};
use forage_reward_sdk::text::exact_match;
use forage_trajectory::{Grade, Group, Outcome, Question, Trajectory};
use serde_json::{Map, Value, json};

use crate::batch::Batch;
use crate::config::TrainingSection;
use crate::improve::{CriticImprovement, Improvement};
use crate::roll_out::Played;

/// What a rollout and its grades say: `reward/…`, `outcome/…`, `rollout/…`, `groups/…`.
///
/// Of each part of a reward: its mean `reward/NAME/PART`, its deviation over all trajectories
/// `reward_std/NAME/PART`, and the share of groups that differ in it `reward_varied/NAME/PART`.
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
        row.insert(format!("reward_std/{name}"), json!(deviation(&values)));
        let varied = grades.iter().filter(|group| varies(group, name)).count();
        row.insert(format!("reward_varied/{name}"), json!(share(varied, grades.len())));
    }
    row.insert("reward/failed".into(), json!(n_failed));
    let zero_variance = grades.iter().filter(|group| !varied(group)).count();
    row.insert("groups/zero_variance".into(), json!(share(zero_variance, grades.len())));
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
    let pairs = groups.iter().flat_map(|it| it.trajectories.iter().map(|one| (&it.question, one)));
    let recalls: Vec<f64> = pairs.clone().filter_map(|(it, one)| gold_retrieved(it, one)).collect();
    if !recalls.is_empty() {
        row.insert("rollout/gold_retrieved".into(), json!(mean(&recalls)));
    }
    let correct = pairs.filter(|(question, one)| {
        let answer = one.final_answer();
        answer.is_some_and(|it| exact_match(it, &question.golden_answers) > 0.0)
    });
    let likelihoods: Vec<f64> = correct.filter_map(|(_, one)| mean_logprob(one)).collect();
    if !likelihoods.is_empty() {
        row.insert("policy/correct_logprob".into(), json!(mean(&likelihoods)));
    }
}

/// Whether the rewards of a group differ, so that it can tell its trajectories apart.
pub fn varied(group: &[Grade]) -> bool {
    deviation(&group.iter().filter_map(Grade::reward).collect::<Vec<_>>()) >= 1e-9
}

/// The share of the passages with the evidence that the searches of a trajectory found; `None`
/// where the evidence names none.
fn gold_retrieved(question: &Question, trajectory: &Trajectory) -> Option<f64> {
    let evidence = &question.evidence;
    let of_steps = evidence.steps.iter().flat_map(|it| &it.passage_ids);
    let gold: BTreeSet<&str> =
        evidence.passages.iter().map(|it| &it.id).chain(of_steps).map(String::as_str).collect();
    let hits = trajectory.searches.iter().flat_map(|it| &it.hits);
    let found: BTreeSet<&str> = hits.map(|it| it.id.as_str()).collect();
    let n_found = gold.intersection(&found).count();
    (!gold.is_empty()).then(|| share(n_found, gold.len()))
}

/// The mean log-probability of the policy's tokens, as they were sampled.
fn mean_logprob(trajectory: &Trajectory) -> Option<f64> {
    let n = trajectory.n_policy_tokens();
    // It is 0 where the environment wrote.
    let sum: f64 = trajectory.logprobs.iter().map(|it| f64::from(*it)).sum();
    (n > 0).then(|| sum / n as f64)
}

/// What was kept of a rollout, where a run file asks for more than all of it: `groups/…`,
/// `rollout/rejected`, `distillation/too_long`.
pub fn of_sampling(
    row: &mut Map<String, Value>,
    algorithm: &AlgorithmConfig,
    training: &TrainingSection,
    played: &Played,
    batch: &Batch,
) {
    if training.extra_groups > 0 {
        row.insert("groups/extra".into(), json!(played.n_extra));
        row.insert("groups/trained".into(), json!(batch.groups.len()));
    }
    if algorithm.correction.is_some() {
        row.insert("rollout/rejected".into(), json!(batch.n_rejected));
    }
    if batch.is_taught {
        row.insert("distillation/too_long".into(), json!(batch.n_too_long));
    }
}

/// Whether the trajectories of a group differ in a part, so that it can tell them apart.
fn varies(group: &[Grade], part: &str) -> bool {
    let value = |grade: &Grade| match grade {
        Grade::Scored(score) => score.parts.get(part).copied(),
        Grade::NotApplicable | Grade::Failed(_) => None,
    };
    deviation(&group.iter().filter_map(value).collect::<Vec<_>>()) > 1e-9
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

/// What the updates of a step say: `loss/…`, `optimizer/…`, `policy/…`, `rollout/mismatch…`,
/// `grad_norm/…`, `critic/…`, `distillation/…`.
///
/// Where a step is several updates, losses and norms are their means, and the mismatch is that of
/// the first, in which the weights are those that sampled.
pub fn of_update(row: &mut Map<String, Value>, algorithm: &AlgorithmConfig, it: &Improvement) {
    let Improvement { sums, first, .. } = it;
    let n_updates = it.norms.len().max(1) as f64;
    if !it.norms.is_empty() {
        row.insert("loss/policy".into(), json!(mean(&it.losses)));
        row.insert("loss/grad_norm".into(), json!(mean(&it.norms)));
    }
    row.insert("optimizer/lr".into(), json!(it.lr));
    row.insert("policy/entropy".into(), json!(sums.mean(sums.entropy)));
    row.insert("policy/clip_fraction".into(), json!(sums.mean(sums.n_clipped as f64)));
    row.insert("policy/trained_tokens".into(), json!(sums.n_tokens));
    // Where nothing of the first update moves the policy, there was nothing to compare.
    if first.n_tokens > 0 || it.norms.len() < 2 {
        row.insert("rollout/mismatch".into(), json!(first.mean(first.mismatch)));
        row.insert("rollout/mismatch_kl".into(), json!(first.mean(first.mismatch_kl)));
        row.insert("rollout/mismatch_max".into(), json!(first.mismatch_max));
    }
    if sums.n_tokens > 0 {
        row.insert("policy/ratio_min".into(), json!(sums.ratio_least));
        row.insert("policy/ratio_max".into(), json!(sums.ratio_most));
    }
    row.insert("policy/update_kl".into(), json!(sums.mean(sums.update_kl)));
    if matches!(algorithm.loss, Surrogate::Ppo(Ppo { dual_clip: Some(_), .. })) {
        let share = sums.mean(sums.n_dual_clipped as f64);
        row.insert("policy/dual_clip_fraction".into(), json!(share));
    }
    if algorithm.kl.is_some() {
        row.insert("policy/reference_kl".into(), json!(sums.mean(sums.reference_kl)));
    }
    if algorithm.llds.is_some() {
        row.insert("loss/llds".into(), json!(sums.llds / n_updates));
    }
    if sums.n_taught > 0 {
        row.insert("loss/distillation".into(), json!(sums.divergence / n_updates));
        row.insert("distillation/tokens".into(), json!(sums.n_taught));
        let gap = sums.entropy_gap / sums.n_taught as f64;
        row.insert("distillation/entropy_gap".into(), json!(gap));
    }
    for (part, norm) in &it.norms_by_part {
        row.insert(format!("grad_norm/{part}"), json!(norm / n_updates));
    }
    if let Some(CriticImprovement { sums, norms, lr, explained }) = &it.critic {
        let n = sums.n.max(1) as f64;
        row.insert("critic/loss".into(), json!(sums.loss / n));
        row.insert("critic/clip_fraction".into(), json!(sums.n_clipped as f64 / n));
        row.insert("critic/grad_norm".into(), json!(mean(norms)));
        row.insert("critic/explained_variance".into(), json!(explained));
        row.insert("critic/lr".into(), json!(lr));
    }
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

#[cfg(test)]
mod tests;
