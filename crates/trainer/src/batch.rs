//! From graded trajectories to what is trained: advantages, old and reference log-probabilities,
//! values, corrections, lessons.

use anyhow::{Context, Result};
use forage_model::Decoder;
use forage_optimizer::{
    Advantage, AlgorithmConfig, Correction, Episode, Estimate, KlPlace, Observations, OverLength,
    Standing, correct, estimate,
};
use forage_trajectory::{Grade, Group, Purpose, Stream, Trajectory};

use crate::config::TrainingSection;
use crate::critic::{CriticState, ValueSample};
use crate::failure::{Code, Failure};
use crate::hindsight::{Lessons, lessons};
use crate::learner::Sample;
use crate::micro_batch::{Asked, log_probabilities};
use crate::train::Parts;

/// The policies of a step.
#[derive(Debug, Clone, Copy)]
pub struct Policies<'a> {
    /// The weights that sampled, before the first update.
    pub decoder: &'a Decoder,
    /// Whom the policy is kept near to.
    pub reference: &'a Decoder,
    /// The critic, for estimators that need one.
    pub critic: Option<&'a CriticState>,
}

/// One trajectory that is in the loss.
#[derive(Debug, Clone)]
pub struct Trained {
    /// For the policy.
    pub sample: Sample,
    /// For the critic, where there is one.
    pub values: Option<ValueSample>,
}

/// What a step trains on.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The trajectories in the loss, by group.
    pub groups: Vec<Vec<Trained>>,
    /// The mean advantage of every trajectory; `None` where it is not in the loss.
    pub advantages: Vec<Vec<Option<f64>>>,
    /// Trajectories that the importance correction left out.
    pub n_rejected: usize,
    /// Trajectories whose lesson was longer than the model's positions.
    pub n_too_long: usize,
    /// Whether hindsight is used in this step.
    pub is_taught: bool,
}

/// A trajectory on its way into a batch.
struct Entry<'a> {
    trajectory: &'a Trajectory,
    group: usize,
    episode: Episode,
    sample: Sample,
    values: Vec<f32>,
}

/// Makes the batch of a step from some groups and their grades.
pub fn prepare(
    parts: &Parts<'_>,
    algorithm: &AlgorithmConfig,
    policies: Policies<'_>,
    played: &[(&Group, &[Grade])],
    step: u64,
) -> Result<Batch> {
    check_steps(&algorithm.advantage, played)?;
    let max_tokens = policies.decoder.config().max_position_embeddings;
    let taught = teach(parts, algorithm, played, max_tokens, step)?;
    assemble(parts.training(), algorithm, policies, played, taught)
}

/// The same, with what hindsight teaches, where it is used in this step.
pub(crate) fn assemble(
    training: &TrainingSection,
    algorithm: &AlgorithmConfig,
    policies: Policies<'_>,
    played: &[(&Group, &[Grade])],
    taught: Option<Lessons>,
) -> Result<Batch> {
    let mut entries = Vec::new();
    for (group_idx, (group, grades)) in played.iter().enumerate() {
        for (trajectory, grade) in group.trajectories.iter().zip(*grades) {
            let scale = algorithm.advantage.step_scale();
            let episode =
                Episode::of(trajectory, grade, group_idx, scale).with_context(misfitting)?;
            let episode = match algorithm.over_length {
                OverLength::Train => episode,
                OverLength::Exclude => episode.without_over_length(&trajectory.outcome),
            };
            let sample = Sample::of_trajectory(trajectory, 0.0);
            entries.push(Entry { trajectory, group: group_idx, episode, sample, values: vec![] });
        }
    }
    recompute(&mut entries, algorithm, policies, training);
    let episodes: Vec<Episode> = entries.iter().map(|it| it.episode.clone()).collect();
    let estimates = estimate(&algorithm.advantage, &episodes).with_context(misfitting)?;

    let mut batch = Batch {
        groups: vec![Vec::new(); played.len()],
        advantages: vec![Vec::new(); played.len()],
        n_rejected: 0,
        n_too_long: taught.as_ref().map_or(0, |it| it.n_too_long),
        is_taught: taught.is_some(),
    };
    let mut taught = taught.into_iter().flat_map(|it| it.lessons);
    for (mut entry, estimate) in entries.into_iter().zip(&estimates) {
        let lesson = taught.next().flatten();
        let advantages = estimate.of_policy(&entry.episode);
        let kept = keep(algorithm.correction.as_ref(), &mut entry.sample, &advantages);
        batch.n_rejected += usize::from(estimate.trained && !kept);
        let in_loss = estimate.trained && kept;
        batch.advantages[entry.group].push(in_loss.then(|| mean_of_policy(estimate, &entry)));
        if in_loss {
            entry.sample.lesson = lesson;
            let values = policies.critic.map(|_| value_sample(algorithm, estimate, &entry));
            batch.groups[entry.group].push(Trained { sample: entry.sample, values });
        }
    }
    Ok(batch)
}

/// A failure to make numbers of a trajectory.
fn misfitting() -> Failure {
    Failure::new(Code::Plugin, "the advantages of a step cannot be computed")
        .hint("a reward with values of steps has one for each executed search")
}

/// Refuses values of searches that nobody gives: the estimator would be another one, silently, or
/// a key would do nothing.
fn check_steps(advantage: &Advantage, played: &[(&Group, &[Grade])]) -> Result<()> {
    let (user, otherwise) = match advantage {
        Advantage::StepGae { .. } => {
            ("`algorithm.advantage.name = \"step-gae\"` places on their tokens", "`gae`")
        }
        Advantage::Gigpo { step_scale: Some(_), .. } => {
            ("`algorithm.advantage.step_scale` multiplies", "leave the key out")
        }
        _ => return Ok(()),
    };
    let mut is_missing = false;
    for (group, grades) in played {
        for (trajectory, grade) in group.trajectories.iter().zip(*grades) {
            match grade {
                Grade::Scored(it) if !it.steps.is_empty() => return Ok(()),
                Grade::Scored(_) => is_missing |= !trajectory.searches.is_empty(),
                Grade::NotApplicable | Grade::Failed(_) => {}
            }
        }
    }
    if is_missing {
        let what = format!("no reward gives the searches of a trajectory a value, which {user}");
        let hint =
            format!("use a reward with values of steps, such as `step-search`, or {otherwise}");
        return Err(Failure::new(Code::Usage, what).hint(hint).into());
    }
    Ok(())
}

/// Everything that takes a pass through a model: old and reference log-probabilities, and values.
/// Trajectories that are in no statistic are left out.
fn recompute(
    entries: &mut [Entry<'_>],
    algorithm: &AlgorithmConfig,
    policies: Policies<'_>,
    training: &TrainingSection,
) {
    let (limit, temperature) = (training.micro_batch_tokens, training.temperature);
    let live: Vec<usize> =
        (0..entries.len()).filter(|&it| entries[it].episode.standing != Standing::Failed).collect();
    let logprobs = |decoder: &Decoder, entries: &[Entry<'_>]| {
        let asked: Vec<Asked<'_>> = live.iter().map(|&it| entries[it].sample.asked()).collect();
        log_probabilities(decoder, &asked, temperature, limit)
    };
    if algorithm.correction.is_some() {
        for (&idx, old) in live.iter().zip(logprobs(policies.decoder, entries)) {
            entries[idx].sample.old_logprobs = old;
        }
    }
    if algorithm.kl.is_some() {
        for (&idx, reference) in live.iter().zip(logprobs(policies.reference, entries)) {
            entries[idx].sample.reference_logprobs = reference;
        }
    }
    if let Some(critic) = policies.critic {
        let positions: Vec<Vec<usize>> =
            live.iter().map(|&it| positions_of(&entries[it])).collect();
        let asked: Vec<Asked<'_>> = live
            .iter()
            .zip(&positions)
            .map(|(&it, at)| Asked { tokens: &entries[it].sample.tokens, at })
            .collect();
        for (&idx, values) in live.iter().zip(critic.values(&asked, limit)) {
            entries[idx].episode.values = values.iter().map(|it| f64::from(*it)).collect();
            entries[idx].values = values;
        }
    }
    if let Some(kl) = algorithm.kl.as_ref().filter(|it| it.place == KlPlace::Reward) {
        for &idx in &live {
            let Entry { episode, sample, .. } = &mut entries[idx];
            let (old, reference) = (&sample.old_logprobs, &sample.reference_logprobs);
            *episode = episode.clone().penalized(kl.coefficient, old, reference);
        }
    }
}

/// The positions of an episode, counted from the first token of the trajectory.
fn positions_of(entry: &Entry<'_>) -> Vec<usize> {
    let n = entry.trajectory.tokens.len();
    (n - entry.episode.policy.len()..n).collect()
}

/// Writes the advantages into a sample, weighted by the importance correction. False where the
/// correction leaves the trajectory out.
fn keep(correction: Option<&Correction>, sample: &mut Sample, advantages: &[f32]) -> bool {
    sample.advantages = advantages.to_vec();
    let Some(correction) = correction else { return true };
    let lengths = [advantages.len()];
    let corrected = correct(correction, &lengths, &sample.old_logprobs, &sample.rollout_logprobs);
    for (advantage, weight) in sample.advantages.iter_mut().zip(&corrected.weights) {
        *advantage *= weight;
    }
    corrected.kept[0]
}

fn mean_of_policy(estimate: &Estimate, entry: &Entry<'_>) -> f64 {
    let positions = estimate.advantages.iter().zip(&entry.episode.policy);
    let of_policy: Vec<f64> =
        positions.filter(|(_, policy)| **policy).map(|(advantage, _)| *advantage).collect();
    of_policy.iter().sum::<f64>() / of_policy.len().max(1) as f64
}

/// What the critic learns of a trajectory: the policy's positions, or all of them where
/// observations are steps (Search-R1's code).
fn value_sample(
    algorithm: &AlgorithmConfig,
    estimate: &Estimate,
    entry: &Entry<'_>,
) -> ValueSample {
    let all = matches!(
        algorithm.advantage,
        Advantage::Gae { observations: Observations::Include, .. }
            | Advantage::StepGae { observations: Observations::Include, .. }
    );
    let counts = |&at: &usize| all || entry.episode.policy[at];
    let positions: Vec<usize> = (0..entry.episode.policy.len()).filter(counts).collect();
    let first = entry.trajectory.tokens.len() - entry.episode.policy.len();
    ValueSample {
        tokens: entry.sample.tokens.clone(),
        at: positions.iter().map(|it| first + it).collect(),
        old: positions.iter().map(|&it| entry.values[it]).collect(),
        returns: positions.iter().map(|&it| estimate.returns[it] as f32).collect(),
    }
}

/// The lessons of all trajectories, end to end; `None` where hindsight is not used in this step.
fn teach(
    parts: &Parts<'_>,
    algorithm: &AlgorithmConfig,
    played: &[(&Group, &[Grade])],
    max_tokens: usize,
    step: u64,
) -> Result<Option<Lessons>> {
    let Some(config) =
        algorithm.self_distillation.as_ref().filter(|it| it.coefficient_at(step) > 0.0)
    else {
        return Ok(None);
    };
    let stream = Stream::new(parts.config.seed, Purpose::HindsightLabels).at_step(step);
    let mut all = Lessons::default();
    for (idx, (group, _)) in played.iter().enumerate() {
        let stream = stream.of_member(idx as u64, 0);
        let of_group = lessons(config, parts.tokenizer, max_tokens, group, stream)
            .map_err(anyhow::Error::from_boxed)?;
        all.n_too_long += of_group.n_too_long;
        all.lessons.extend(of_group.lessons);
    }
    Ok(Some(all))
}

#[cfg(test)]
pub(crate) mod tests;
