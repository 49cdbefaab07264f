//! Batch of a training step: from graded trajectories to advantages, old and reference
//! log-probabilities, values, importance corrections and distillation targets.

use forage_model::Decoder;
use forage_optimizer::{
    AdvantageEstimate, AdvantageEstimator, AlgorithmConfig, Episode, Gae, GaeObservations, Gigpo,
    HindsightMembers, ImportanceCorrection, Inclusion, KlPlace, OverLengthRule, StepGae,
    estimate_advantages, importance_weights,
};
use forage_trajectory::statistics::mean;
use forage_trajectory::{Grade, Group, Purpose, Stream, Trajectory};

use crate::config::TrainingSection;
use crate::critic::{CriticState, ValueSample};
use crate::error::{ConfigurationError, TrainingError};
use crate::micro_batch::{ScoredTargets, log_probabilities};
use crate::policy_loss::DistillationTerm;
use crate::run::RunContext;
use crate::sample::Sample;
use crate::self_distillation::{DistillationTargets, distillation_targets};

/// Policies of a step.
#[derive(Debug, Clone, Copy)]
pub struct Policies<'a> {
    /// Policy that sampled, before the first update.
    pub decoder: &'a Decoder,
    /// Reference policy for the KL term.
    pub reference: &'a Decoder,
    /// Critic, for advantage estimators that need one.
    pub critic: Option<&'a CriticState>,
}

/// Trajectory in the loss.
#[derive(Debug, Clone)]
pub struct TrainedTrajectory {
    /// Sample of the policy's loss.
    pub sample: Sample,
    /// Sample of the critic's loss, where there is a critic.
    pub values: Option<ValueSample>,
}

/// Batch of a training step.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Trajectories in the loss, by group.
    pub groups: Vec<Vec<TrainedTrajectory>>,
    /// Mean advantage of every trajectory, by group; `None` where it is not in the loss.
    pub advantages: Vec<Vec<Option<f64>>>,
    /// Trajectories that the importance correction rejected.
    pub n_rejected: usize,
    /// Trajectories that are not distilled, since the teacher would read more than the model's
    /// positions.
    pub n_too_long: usize,
    /// Whether this step has self-distillation.
    pub is_distilled: bool,
}

/// Trajectory of a batch that is not complete yet.
struct Entry<'a> {
    trajectory: &'a Trajectory,
    group: usize,
    episode: Episode,
    sample: Sample,
    values: Vec<f32>,
}

/// Batch of a step, from groups and their grades.
///
/// # Errors
///
/// [`TrainingError::Advantage`] where the rewards do not fit the advantage estimator, and
/// [`ConfigurationError::NoStepRewards`].
pub fn make_batch(
    context: &RunContext<'_>,
    policies: Policies<'_>,
    groups: &[(&Group, &[Grade])],
    step: u64,
) -> Result<Batch, TrainingError> {
    let algorithm = &context.config.algorithm;
    check_step_rewards(&algorithm.advantage, groups)?;
    let max_tokens = policies.decoder.config().max_position_embeddings;
    let distillation = distill(context, groups, max_tokens, step)?;
    assemble(&context.config.training, algorithm, policies, groups, distillation)
}

/// [`make_batch`] with given distillation targets; `None` in a step without self-distillation.
pub(crate) fn assemble(
    training: &TrainingSection,
    algorithm: &AlgorithmConfig,
    policies: Policies<'_>,
    groups: &[(&Group, &[Grade])],
    distillation: Option<DistillationTargets>,
) -> Result<Batch, TrainingError> {
    let mut entries = entries(algorithm, groups)?;
    recompute(&mut entries, algorithm, policies, training);
    let episodes: Vec<Episode> = entries.iter().map(|entry| entry.episode.clone()).collect();
    let estimates =
        estimate_advantages(&algorithm.advantage, &episodes).map_err(TrainingError::Advantage)?;

    let mut batch = Batch {
        groups: vec![Vec::new(); groups.len()],
        advantages: vec![Vec::new(); groups.len()],
        n_rejected: 0,
        n_too_long: distillation.as_ref().map_or(0, |targets| targets.n_too_long),
        is_distilled: distillation.is_some(),
    };
    let mut distillation = distillation.into_iter().flat_map(|targets| targets.targets);
    for (mut entry, estimate) in entries.into_iter().zip(&estimates) {
        let distillation = distillation.next().flatten();
        let advantages = estimate.of_policy(&entry.episode);
        let kept = keep(algorithm.correction.as_ref(), &mut entry.sample, &advantages);
        batch.n_rejected += usize::from(estimate.trained && !kept);
        let in_loss = estimate.trained && kept;
        batch.advantages[entry.group].push(in_loss.then(|| mean_of_policy(estimate, &entry)));
        if in_loss {
            entry.sample.distillation = distillation;
            let values = policies.critic.map(|_| value_sample(algorithm, estimate, &entry));
            batch.groups[entry.group].push(TrainedTrajectory { sample: entry.sample, values });
        }
    }
    Ok(batch)
}

/// Entries of all trajectories, group by group.
fn entries<'a>(
    algorithm: &AlgorithmConfig,
    groups: &[(&'a Group, &[Grade])],
) -> Result<Vec<Entry<'a>>, TrainingError> {
    let mut entries = Vec::new();
    let scale = algorithm.advantage.step_scale();
    for (group_idx, (group, grades)) in groups.iter().enumerate() {
        for (trajectory, grade) in group.trajectories.iter().zip(*grades) {
            let episode = Episode::of(trajectory, grade, group_idx, scale)
                .map_err(TrainingError::Advantage)?;
            let episode = match algorithm.over_length {
                OverLengthRule::Train => episode,
                OverLengthRule::Exclude => episode.without_over_length(&trajectory.outcome),
            };
            let (episode, sample) = if algorithm.retrieved_tokens.are_masked() {
                (episode, Sample::of_trajectory(trajectory, 0.0))
            } else {
                (episode.with_observations(), Sample::of_response(trajectory))
            };
            entries.push(Entry { trajectory, group: group_idx, episode, sample, values: vec![] });
        }
    }
    Ok(entries)
}

/// Key that needs step rewards, as the end of a sentence, and the remedy where no reward gives any;
/// `None` for an estimator that does without.
pub fn user_of_step_rewards(
    advantage: &AdvantageEstimator,
) -> Option<(&'static str, &'static str)> {
    match advantage {
        AdvantageEstimator::StepGae(_) => {
            Some(("`algorithm.advantage.name = \"step-gae\"` places on their tokens", "`gae`"))
        }
        AdvantageEstimator::Gigpo(Gigpo { step_scale: Some(_), .. }) => {
            Some(("`algorithm.advantage.step_scale` multiplies", "leave the key out"))
        }
        _ => None,
    }
}

/// Refuses an estimator that needs step rewards where no reward gives any: it would silently be
/// another estimator, or a key would do nothing.
///
/// # Errors
///
/// [`ConfigurationError::NoStepRewards`] where trajectories with searches are scored, and no search
/// of any has a value.
pub fn check_step_rewards(
    advantage: &AdvantageEstimator,
    groups: &[(&Group, &[Grade])],
) -> Result<(), ConfigurationError> {
    let Some((user, otherwise)) = user_of_step_rewards(advantage) else { return Ok(()) };
    let mut is_missing = false;
    for (group, grades) in groups {
        for (trajectory, grade) in group.trajectories.iter().zip(*grades) {
            match grade {
                Grade::Scored(score) if !score.steps.is_empty() => return Ok(()),
                Grade::Scored(_) => is_missing |= !trajectory.searches.is_empty(),
                Grade::NotApplicable | Grade::Failed(_) => {}
            }
        }
    }
    if is_missing {
        return Err(ConfigurationError::NoStepRewards { user, otherwise });
    }
    Ok(())
}

/// Forward passes of a batch: old and reference log-probabilities, and values. Trajectories that
/// are in no statistic are left out.
fn recompute(
    entries: &mut [Entry<'_>],
    algorithm: &AlgorithmConfig,
    policies: Policies<'_>,
    training: &TrainingSection,
) {
    let (limit, temperature) = (training.micro_batch_tokens, training.temperature);
    let live: Vec<usize> = (0..entries.len())
        .filter(|&idx| entries[idx].episode.inclusion != Inclusion::Failed)
        .collect();
    let logprobs = |decoder: &Decoder, entries: &[Entry<'_>]| {
        let targets: Vec<ScoredTargets<'_>> =
            live.iter().map(|&idx| entries[idx].sample.scored_targets()).collect();
        log_probabilities(decoder, &targets, temperature, limit)
    };
    if !algorithm.retrieved_tokens.are_masked() {
        for (&idx, computed) in live.iter().zip(logprobs(policies.decoder, entries)) {
            let Sample { old_logprobs, rollout_logprobs, .. } = &mut entries[idx].sample;
            for ((old, rollout), computed) in
                old_logprobs.iter_mut().zip(rollout_logprobs).zip(computed)
            {
                if rollout.is_nan() {
                    *old = computed;
                }
            }
        }
    }
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
            live.iter().map(|&idx| positions_of(&entries[idx])).collect();
        let asked: Vec<ScoredTargets<'_>> = live
            .iter()
            .zip(&positions)
            .map(|(&idx, at)| ScoredTargets { tokens: &entries[idx].sample.tokens, at })
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

/// Positions of an episode, counted from the first token of the trajectory.
fn positions_of(entry: &Entry<'_>) -> Vec<usize> {
    let n = entry.trajectory.tokens.len();
    (n - entry.episode.policy.len()..n).collect()
}

/// Writes the advantages into a sample, weighted by the importance correction. False where the
/// correction leaves the trajectory out.
fn keep(
    correction: Option<&ImportanceCorrection>,
    sample: &mut Sample,
    advantages: &[f32],
) -> bool {
    sample.advantages = advantages.to_vec();
    let Some(correction) = correction else { return true };
    let lengths = [advantages.len()];
    let corrected =
        importance_weights(correction, &lengths, &sample.old_logprobs, &sample.rollout_logprobs);
    for (advantage, weight) in sample.advantages.iter_mut().zip(&corrected.weights) {
        *advantage *= weight;
    }
    corrected.kept[0]
}

fn mean_of_policy(estimate: &AdvantageEstimate, entry: &Entry<'_>) -> f64 {
    let positions = estimate.advantages.iter().zip(&entry.episode.policy);
    let of_policy: Vec<f64> =
        positions.filter(|(_, policy)| **policy).map(|(advantage, _)| *advantage).collect();
    mean(&of_policy)
}

/// Sample of the value loss: the policy's positions, or all of them where observations are steps
/// (Search-R1's code).
fn value_sample(
    algorithm: &AlgorithmConfig,
    estimate: &AdvantageEstimate,
    entry: &Entry<'_>,
) -> ValueSample {
    let all = matches!(
        algorithm.advantage,
        AdvantageEstimator::Gae(Gae { observations: GaeObservations::Include, .. })
            | AdvantageEstimator::StepGae(StepGae { observations: GaeObservations::Include, .. })
    );
    let counts = |&at: &usize| all || entry.episode.policy[at];
    let positions: Vec<usize> = (0..entry.episode.policy.len()).filter(counts).collect();
    let first = entry.trajectory.tokens.len() - entry.episode.policy.len();
    ValueSample {
        tokens: entry.sample.tokens.clone(),
        at: positions.iter().map(|it| first + it).collect(),
        old: positions.iter().map(|&at| entry.values[at]).collect(),
        returns: positions.iter().map(|&at| estimate.returns[at] as f32).collect(),
    }
}

/// Distillation targets of all trajectories, end to end; `None` in a step without
/// self-distillation.
fn distill(
    context: &RunContext<'_>,
    groups: &[(&Group, &[Grade])],
    max_tokens: usize,
    step: u64,
) -> Result<Option<DistillationTargets>, TrainingError> {
    let Some(term) = DistillationTerm::at_step(&context.config.algorithm, step) else {
        return Ok(None);
    };
    let seed = context.config.seed;
    let stream = Stream::new(seed, Purpose::HindsightLabels).at_step(step);
    let is_of_other = term.config.hindsight.members == HindsightMembers::OtherQuestion;
    let mut all = DistillationTargets::default();
    for (idx, (group, _)) in groups.iter().enumerate() {
        let stream = stream.of_member(idx as u64, 0);
        let quoted = if is_of_other { groups[(idx + 1) % groups.len()].0 } else { *group };
        if is_of_other && groups.len() == 1 {
            all.targets.resize(group.trajectories.len(), None);
            continue;
        }
        let of_group =
            distillation_targets(term.config, context.tokenizer, max_tokens, group, quoted, stream)
                .map_err(TrainingError::Model)?;
        all.n_too_long += of_group.n_too_long;
        all.targets.extend(of_group.targets);
    }
    Ok(Some(all))
}

#[cfg(test)]
pub(crate) mod tests;
