//! The updates of a step: epochs over mini-batches, critic first, each of them guarded.

use std::collections::BTreeMap;
use std::time::Duration;

use burn::tensor::Tensor;
use forage_model::{Critic, ModelConfig, ParameterSpec};
use forage_optimizer::{AlgorithmConfig, OptimizerConfig, global_norm};

use crate::batch::{Batch, Trained};
use crate::checkpoint::TrainState;
use crate::config::{CriticSection, RunConfig, TrainingSection};
use crate::critic::{CriticState, ValueSample, ValueSums, learn_values};
use crate::learner::{Learned, Objective, Sample, Sums, learn};
use crate::objective::{Normalizers, Reinforce};
use crate::update::{Step, Unstable};

/// What the updates of a step came to.
#[derive(Debug, Default)]
pub struct Improvement {
    /// Sums over the trained tokens of all updates that were taken.
    pub sums: Sums,
    /// Of the first update, in which the weights are those that sampled.
    pub first: Sums,
    /// The surrogate's loss of each update that was taken.
    pub losses: Vec<f64>,
    /// Norm of the gradient of each update, before clipping.
    pub norms: Vec<f64>,
    /// Norms of the gradient by part of the model, summed over the updates.
    pub norms_by_part: BTreeMap<&'static str, f64>,
    /// The policy's learning rate.
    pub lr: f64,
    /// How long the teacher's passes took, of all updates.
    pub teaching: Duration,
    /// What the critic did, where there is one.
    pub critic: Option<CriticImprovement>,
    /// The updates that were not taken.
    pub skipped: Vec<Skipped>,
}

/// What the critic's updates came to.
#[derive(Debug, Clone, Default)]
pub struct CriticImprovement {
    /// Sums over the positions of all updates that were taken.
    pub sums: ValueSums,
    /// Norm of the gradient of each update, before clipping.
    pub norms: Vec<f64>,
    /// Its learning rate.
    pub lr: f64,
    /// 1 - Var(return - value) / Var(return), before the first update.
    pub explained: f64,
}

/// An update that was not taken.
#[derive(Debug, Clone)]
pub struct Skipped {
    /// Why.
    pub why: Unstable,
    /// Whether it was the critic's.
    pub of_critic: bool,
    /// The epoch within the step.
    pub epoch: usize,
    /// The groups of its mini-batch, as indices into the batch.
    pub groups: std::ops::Range<usize>,
}

/// Trains policy and critic on a batch. The step of the state stays what it is.
pub fn improve(
    config: &RunConfig,
    algorithm: &AlgorithmConfig,
    state: &mut TrainState,
    batch: &Batch,
) -> Improvement {
    let training = config.training.as_ref().expect("a checked command has its section");
    let lr = config.optimizer.lr_at(state.step, training.steps);
    let mut improvement = Improvement { lr, ..Improvement::default() };
    let mut critic = state.critic.take().map(|it| {
        let section = config.critic.as_ref().expect("checked: a critic has its section");
        CriticTrainer::new(it, section, config, algorithm, state.step, batch)
    });
    let mut teaching = Duration::ZERO;
    let size = batch.groups.len().div_ceil(training.mini_batches).max(1);
    for epoch in 0..training.epochs {
        for first in (0..batch.groups.len().max(1)).step_by(size) {
            let groups = first..(first + size).min(batch.groups.len());
            let trained: Vec<&Trained> = batch.groups[groups.clone()].iter().flatten().collect();
            let mut skip = |why, of_critic| {
                let groups = groups.clone();
                improvement.skipped.push(Skipped { why, of_critic, epoch, groups });
            };
            if let Some(Err(why)) = critic.as_mut().map(|it| it.update(&trained, training)) {
                skip(why, true);
            }
            match update(config, algorithm, state, &trained, lr, &mut teaching) {
                Ok(taken) => improvement.add(taken),
                Err(why) => skip(why, false),
            }
        }
    }
    improvement.teaching = teaching;
    if let Some(critic) = critic {
        state.critic = Some(critic.state);
        improvement.critic = Some(critic.seen);
    }
    improvement
}

/// An update of the policy that was taken.
struct Taken {
    sums: Sums,
    loss: f64,
    norm: f64,
    norms_by_part: BTreeMap<&'static str, f64>,
}

impl Improvement {
    fn add(&mut self, taken: Taken) {
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

/// One update of the policy. The time of its teacher is added to `teaching`, taken or not.
fn update(
    config: &RunConfig,
    algorithm: &AlgorithmConfig,
    state: &mut TrainState,
    trained: &[&Trained],
    lr: f64,
    teaching: &mut Duration,
) -> Result<Taken, Unstable> {
    let training = config.training.as_ref().expect("a checked command has its section");
    let samples: Vec<&Sample> = trained.iter().map(|it| &it.sample).collect();
    let distillation = &algorithm.self_distillation;
    let objective = Reinforce {
        algorithm,
        temperature: training.temperature,
        distillation: distillation.as_ref().map_or(0.0, |it| it.coefficient_at(state.step)),
        normalizers: Normalizers::of(&samples),
    };
    let moving: Vec<&Sample> = samples.into_iter().filter(|it| objective.moves(it)).collect();
    let learned =
        learn(&state.decoder, &moving, Objective::Reinforce(objective), training.micro_batches());
    *teaching += learned.teaching;
    let Learned { gradients, sums, .. } = learned;
    let shape = state.decoder.config().clone();
    let specs = state.decoder.trainable_parameters();
    let norms_by_part = norms_by_part(&shape, &specs, &gradients);
    let step = Step { config: &config.optimizer, lr, specs: &specs };
    let weights = state.decoder.trainable();
    let (weights, norm) = step.take(&mut state.adamw, weights, sums.total, gradients)?;
    state.decoder = state.decoder.with_trainable(weights);
    Ok(Taken { sums, loss: sums.loss / objective.divisor() as f64, norm, norms_by_part })
}

/// A critic on its way through a step.
struct CriticTrainer {
    state: CriticState,
    config: OptimizerConfig,
    value: forage_optimizer::ValueConfig,
    specs: Vec<ParameterSpec>,
    seen: CriticImprovement,
}

impl CriticTrainer {
    fn new(
        state: CriticState,
        section: &CriticSection,
        config: &RunConfig,
        algorithm: &AlgorithmConfig,
        step: u64,
        batch: &Batch,
    ) -> Self {
        let n_steps = config.training.as_ref().map_or(0, |it| it.steps);
        let lr = section.lr * section.schedule.at(step, n_steps);
        let samples: Vec<&ValueSample> =
            batch.groups.iter().flatten().filter_map(|it| it.values.as_ref()).collect();
        let seen = CriticImprovement { lr, explained: explained(&samples), ..Default::default() };
        let specs = Critic::parameters(state.critic.decoder().config());
        let value = algorithm.value.unwrap_or_default();
        Self { state, config: config.optimizer.clone(), value, specs, seen }
    }

    /// One update of the critic.
    fn update(&mut self, trained: &[&Trained], training: &TrainingSection) -> Result<(), Unstable> {
        let samples: Vec<&ValueSample> =
            trained.iter().filter_map(|it| it.values.as_ref()).collect();
        let limit = training.micro_batch_tokens;
        let CriticState { critic, adamw } = &mut self.state;
        let (gradients, sums) = learn_values(critic, &samples, &self.value, limit);
        let step = Step { config: &self.config, lr: self.seen.lr, specs: &self.specs };
        let (weights, norm) = step.take(adamw, &critic.weights(), sums.loss, gradients)?;
        *critic = critic.with_weights(weights);
        self.seen.norms.push(norm);
        self.seen.sums.n += sums.n;
        self.seen.sums.loss += sums.loss;
        self.seen.sums.n_clipped += sums.n_clipped;
        Ok(())
    }
}

/// 1 - Var(return - value) / Var(return); 0 where returns do not differ.
fn explained(samples: &[&ValueSample]) -> f64 {
    let pairs = samples.iter().flat_map(|it| it.returns.iter().zip(&it.old));
    let pairs = pairs.map(|(returns, old)| (f64::from(*returns), f64::from(*old)));
    let returns = forage_optimizer::SampleMoments::of(pairs.clone().map(|it| it.0)).variance;
    let errors = forage_optimizer::SampleMoments::of(pairs.map(|it| it.0 - it.1)).variance;
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
    let layer = name.split_once("model.layers.").and_then(|it| it.1.split('.').next());
    match layer.and_then(|it| it.parse::<usize>().ok()) {
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
