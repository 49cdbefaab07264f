//! Updates of a training step: epochs over mini-batches, critic first. An update that is not finite
//! is skipped.

use std::collections::BTreeMap;
use std::time::Duration;

use burn::tensor::Tensor;
use forage_model::{Critic, ModelConfig, ParameterSpec};
use forage_optimizer::{OptimizerConfig, ValueConfig, global_norm};

use crate::batch::{Batch, TrainedTrajectory};
use crate::checkpoint::TrainState;
use crate::config::{CriticSection, TrainConfig, TrainingSection};
use crate::critic::{CriticState, ValueLossStats, ValueSample, critic_gradient};
use crate::gradient::{Gradient, Objective, compute_gradient};
use crate::loss_stats::LossStats;
use crate::optimizer_step::{NonFinite, OptimizerStep};
use crate::policy_loss::{DistillationTerm, Normalizers, PolicyLoss};
use crate::sample::Sample;

/// Statistics of the updates of a step.
#[derive(Debug, Default)]
pub struct UpdateStats {
    /// Loss statistics over the trained tokens of all updates that were taken.
    pub sums: LossStats,
    /// Loss statistics of the first update, in which the weights are those that sampled.
    pub first: LossStats,
    /// Surrogate loss of each update that was taken.
    pub losses: Vec<f64>,
    /// Norm of the gradient of each update, before clipping.
    pub norms: Vec<f64>,
    /// Norms of the gradient by part of the model, summed over the updates.
    pub norms_by_part: BTreeMap<&'static str, f64>,
    /// Learning rate of the policy.
    pub lr: f64,
    /// Duration of the teacher's forward passes.
    pub teaching: Duration,
    /// Statistics of the critic's updates, where there is a critic.
    pub critic: Option<CriticStats>,
    /// Updates that were not finite and therefore skipped.
    pub skipped: Vec<SkippedUpdate>,
}

/// Statistics of the critic's updates.
#[derive(Debug, Clone, Default)]
pub struct CriticStats {
    /// Loss statistics over the positions of all updates that were taken.
    pub sums: ValueLossStats,
    /// Norm of the gradient of each update, before clipping.
    pub norms: Vec<f64>,
    /// Learning rate.
    pub lr: f64,
    /// 1 - Var(return - value) / Var(return), before the first update.
    pub explained: f64,
}

/// Skipped update: one that was not finite.
#[derive(Debug, Clone)]
pub struct SkippedUpdate {
    /// Quantity that was not finite.
    pub why: NonFinite,
    /// Whether it was an update of the critic.
    pub of_critic: bool,
    /// Epoch within the step.
    pub epoch: usize,
    /// Groups of the mini-batch, as indices into the batch.
    pub groups: std::ops::Range<usize>,
}

/// Updates policy and critic on the batch of a step. `state.step` is not changed.
pub fn update_policy(config: &TrainConfig, state: &mut TrainState, batch: &Batch) -> UpdateStats {
    let training = &config.training;
    let lr = config.optimizer.lr_at(state.step, training.steps);
    let mut sums = UpdateStats { lr, ..UpdateStats::default() };
    let mut critic = config.critic.as_ref().and_then(|section| {
        let critic = state.critic.take()?;
        Some(CriticTrainer::new(critic, section, config, state.step, batch))
    });
    let mut teaching = Duration::ZERO;
    let size = batch.groups.len().div_ceil(training.mini_batches).max(1);
    for epoch in 0..training.epochs {
        for first in (0..batch.groups.len().max(1)).step_by(size) {
            let groups = first..(first + size).min(batch.groups.len());
            let trained: Vec<&TrainedTrajectory> =
                batch.groups[groups.clone()].iter().flatten().collect();
            let mut skip = |why, of_critic| {
                let groups = groups.clone();
                sums.skipped.push(SkippedUpdate { why, of_critic, epoch, groups });
            };
            if let Some(Err(why)) = critic.as_mut().map(|critic| critic.update(&trained, training))
            {
                skip(why, true);
            }
            match update(config, state, &trained, lr, &mut teaching) {
                Ok(taken) => sums.add(taken),
                Err(why) => skip(why, false),
            }
        }
    }
    sums.teaching = teaching;
    if let Some(critic) = critic {
        state.critic = Some(critic.state);
        sums.critic = Some(critic.stats);
    }
    sums
}

/// Update of the policy that was taken.
struct PolicyUpdate {
    sums: LossStats,
    loss: f64,
    norm: f64,
    norms_by_part: BTreeMap<&'static str, f64>,
}

impl UpdateStats {
    fn add(&mut self, taken: PolicyUpdate) {
        if self.norms.is_empty() && self.skipped.is_empty() {
            self.first = taken.sums;
        }
        self.sums.add(&taken.sums);
        self.losses.push(taken.loss);
        self.norms.push(taken.norm);
        for (part, norm) in taken.norms_by_part {
            *self.norms_by_part.entry(part).or_default() += norm;
        }
    }
}

/// Update of the policy. The duration of its teacher's forward pass is added to `teaching`, whether
/// the update is taken or skipped.
fn update(
    config: &TrainConfig,
    state: &mut TrainState,
    trained: &[&TrainedTrajectory],
    lr: f64,
    teaching: &mut Duration,
) -> Result<PolicyUpdate, NonFinite> {
    let TrainConfig { training, algorithm, optimizer, .. } = config;
    let samples: Vec<&Sample> = trained.iter().map(|trained| &trained.sample).collect();
    let policy_loss = PolicyLoss {
        algorithm,
        temperature: training.temperature,
        distillation: DistillationTerm::at_step(algorithm, state.step),
        normalizers: Normalizers::of(&samples),
    };
    let moving: Vec<&Sample> =
        samples.into_iter().filter(|sample| policy_loss.moves(sample)).collect();
    let objective = Objective::PolicyLoss(policy_loss);
    let gradient = compute_gradient(&state.decoder, &moving, objective, training.micro_batches());
    *teaching += gradient.teaching;
    let Gradient { gradients, sums, .. } = gradient;
    let shape = state.decoder.config().clone();
    let specs = state.decoder.trainable_parameters();
    let norms_by_part = norms_by_part(&shape, &specs, &gradients);
    let step = OptimizerStep { config: optimizer, lr, specs: &specs };
    let weights = state.decoder.trainable();
    let (weights, norm) = step.apply(&mut state.adamw, weights, sums.total, gradients)?;
    state.decoder = state.decoder.with_trainable(weights);
    Ok(PolicyUpdate { sums, loss: sums.loss / policy_loss.divisor() as f64, norm, norms_by_part })
}

/// Critic during the updates of a step.
struct CriticTrainer {
    state: CriticState,
    optimizer: OptimizerConfig,
    value: ValueConfig,
    specs: Vec<ParameterSpec>,
    stats: CriticStats,
}

impl CriticTrainer {
    fn new(
        state: CriticState,
        section: &CriticSection,
        config: &TrainConfig,
        step: u64,
        batch: &Batch,
    ) -> Self {
        let lr = section.lr * section.schedule.at(step, config.training.steps);
        let trained = batch.groups.iter().flatten();
        let samples: Vec<&ValueSample> =
            trained.filter_map(|trained| trained.values.as_ref()).collect();
        let initial = CriticStats { lr, explained: explained(&samples), ..CriticStats::default() };
        let specs = Critic::parameters(state.critic.decoder().config());
        let value = config.algorithm.value.unwrap_or_default();
        Self { state, optimizer: config.optimizer.clone(), value, specs, stats: initial }
    }

    /// Update of the critic.
    fn update(
        &mut self,
        trained: &[&TrainedTrajectory],
        training: &TrainingSection,
    ) -> Result<(), NonFinite> {
        let samples: Vec<&ValueSample> =
            trained.iter().filter_map(|trained| trained.values.as_ref()).collect();
        let limit = training.micro_batch_tokens;
        let CriticState { critic, adamw } = &mut self.state;
        let (gradients, sums) = critic_gradient(critic, &samples, &self.value, limit);
        let step = OptimizerStep { config: &self.optimizer, lr: self.stats.lr, specs: &self.specs };
        let (weights, norm) = step.apply(adamw, &critic.weights(), sums.loss, gradients)?;
        *critic = critic.with_weights(weights);
        self.stats.norms.push(norm);
        self.stats.sums.add(&sums);
        Ok(())
    }
}

/// 1 - Var(return - value) / Var(return); 0 where returns do not differ.
fn explained(samples: &[&ValueSample]) -> f64 {
    let pairs = samples.iter().flat_map(|sample| sample.returns.iter().zip(&sample.old));
    let pairs = pairs.map(|(returns, old)| (f64::from(*returns), f64::from(*old)));
    let returns = forage_optimizer::SampleMoments::of(pairs.clone().map(|it| it.0)).variance;
    let errors =
        forage_optimizer::SampleMoments::of(pairs.map(|(returns, old)| returns - old)).variance;
    if returns > 0.0 { 1.0 - errors / returns } else { 0.0 }
}

/// Norms of the gradient of the embedding, the thirds of the layers, and what follows them.
fn norms_by_part(
    shape: &ModelConfig,
    specs: &[ParameterSpec],
    gradients: &[Tensor<2>],
) -> BTreeMap<&'static str, f64> {
    let mut parts: BTreeMap<&'static str, Vec<Tensor<2>>> = BTreeMap::new();
    for (spec, gradient) in specs.iter().zip(gradients) {
        parts.entry(part(&spec.name, shape.num_hidden_layers)).or_default().push(gradient.clone());
    }
    parts.into_iter().map(|(part, gradients)| (part, global_norm(&gradients))).collect()
}

fn part(name: &str, n_layers: usize) -> &'static str {
    let layer = name.split_once("model.layers.").and_then(|(_, rest)| rest.split('.').next());
    match layer.and_then(|number| number.parse::<usize>().ok()) {
        Some(layer) => ["early_layers", "middle_layers", "late_layers"][layer * 3 / n_layers],
        None if name.contains("embed") => "embedding",
        None => "head",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_models_of_any_depth() {
        let all = |n| (0..n).map(|it| part(&format!("model.layers.{it}.x"), n)).collect::<Vec<_>>();
        assert_eq!(all(1), ["early_layers"]);
        assert_eq!(all(3), ["early_layers", "middle_layers", "late_layers"]);
        assert_eq!(all(4), ["early_layers", "early_layers", "middle_layers", "late_layers"]);
        assert_eq!(part("model.embed_tokens.weight", 4), "embedding");
        assert_eq!(part("model.norm.weight", 4), "head");
        let adapter = "base_model.model.model.layers.3.mlp.up_proj.lora_A.weight";
        assert_eq!(part(adapter, 4), "late_layers");
    }

    #[test]
    fn a_critic_explains_what_it_foresees() {
        let sample = |old: [f32; 3]| ValueSample {
            returns: vec![0.0, 1.0, 2.0],
            old: old.to_vec(),
            ..ValueSample::default()
        };
        assert!((explained(&[&sample([0.0, 1.0, 2.0])]) - 1.0).abs() < 1e-12);
        assert!(explained(&[&sample([0.0; 3])]).abs() < 1e-12);
        assert!(explained(&[]).abs() < 1e-12);
    }
}
