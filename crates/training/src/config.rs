//! Configuration of the engine: the sections of a run file that it uses, each with its check.
//!
//! [`TrainConfig`] is what reinforcement learning needs, [`SftConfig`] what the warm start needs.
//! The command line reads the file and checks what sections require of each other.

use forage_model::{ModelConfig, ModelFamily, Rope};
use forage_optimizer::{AlgorithmConfig, LrSchedule, OptimizerConfig};
use forage_rollout::RolloutConfig;
use forage_trajectory::{Sampling, Truncation};
use forage_world::{Perturbations, Thoughts};
use serde::{Deserialize, Deserializer, Serialize};

use crate::micro_batch::MicroBatches;

/// Configuration of a training run.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainConfig {
    /// Seed of every random number of the run.
    pub seed: u64,
    /// Agent loop.
    pub rollout: RolloutConfig,
    /// Loop of reinforcement learning.
    pub training: TrainingSection,
    /// Advantage estimator, loss and further terms.
    pub algorithm: AlgorithmConfig,
    /// Critic; there if and only if the advantage estimator needs one.
    pub critic: Option<CriticSection>,
    /// AdamW and the learning rate.
    pub optimizer: OptimizerConfig,
    /// Evaluation on held-out questions.
    pub evaluation: EvaluationSection,
    /// Thresholds of the alarms.
    pub alarms: AlarmSection,
    /// Bound of the KV cache, in tokens. Default: no bound.
    pub cache_tokens: Option<usize>,
}

/// Configuration of a warm start.
#[derive(Debug, Clone, PartialEq)]
pub struct SftConfig {
    /// Seed of every random number of the run.
    pub seed: u64,
    /// Agent loop of the demonstrations and evaluations.
    pub rollout: RolloutConfig,
    /// Phases of supervised fine-tuning.
    pub sft: SftSection,
    /// AdamW and the learning rate.
    pub optimizer: OptimizerConfig,
    /// Evaluation on held-out questions.
    pub evaluation: EvaluationSection,
    /// Bound of the KV cache, in tokens. Default: no bound.
    pub cache_tokens: Option<usize>,
}

/// Reinforcement learning: the `[training]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSection {
    /// Training steps: each is a rollout and its updates.
    pub steps: u64,
    /// Questions a step.
    pub questions_per_step: usize,
    /// Trajectories a question (G).
    pub group_size: usize,
    /// Sampling temperature. Default: 1.
    #[serde(default = "default_temperature")]
    pub temperature: f32,
    /// Top-k, top-p and min-p sampling; log-probabilities are those before anything is cut off.
    /// Default: no truncation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub truncation: Truncation,
    /// Micro-batch size in tokens; a longer sequence is a micro-batch by itself.
    pub micro_batch_tokens: usize,
    /// Gradient checkpointing: layers are computed again in the backward pass instead of kept.
    /// Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gradient_checkpointing: bool,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Steps between saved training trajectories.
    pub save_trajectories_every: u64,
    /// Mini-batches a step: parts of its questions, each of which is an update. Default: 1.
    #[serde(default = "default_one")]
    pub mini_batches: usize,
    /// Epochs over the trajectories of a step. Default: 1.
    #[serde(default = "default_one")]
    pub epochs: usize,
    /// Dynamic sampling (DAPO): maximum number of groups that a step samples in addition, in place
    /// of groups whose rewards do not differ. Default: 0.
    #[serde(default)]
    pub extra_groups: usize,
    /// Curriculum. Default: all questions from the first step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curriculum: Vec<CurriculumStage>,
    /// Steps between refreshes of the reference policy. Default: it stays the initial policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_every: Option<u64>,
    /// Decay of the exponential moving average of the weights, which evaluations then use.
    /// Default: no average.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "moving_average")]
    pub ema_decay: Option<f64>,
    /// Steps in a row with an update that is not finite, at which the run ends. Default: 3.
    #[serde(default = "default_skip_limit")]
    pub skip_limit: u64,
    /// Steps from the first one on that may train no token, at which the run ends. Default: 10.
    #[serde(default = "default_untrained_limit")]
    pub untrained_limit: u64,
}

/// Stage of the curriculum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurriculumStage {
    /// First step of the stage.
    pub from: u64,
    /// Maximum number of hops of a question.
    pub hops: usize,
}

/// Critic of PPO: a second decoder with a value head, which begins with the policy's weights. Its
/// other options are those of `[optimizer]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriticSection {
    /// Peak learning rate.
    pub lr: f64,
    /// Learning rate schedule. Default: constant.
    #[serde(default, deserialize_with = "critic_schedule")]
    pub schedule: LrSchedule,
}

/// Supervised warm start on scripted demonstrations: the `[sft]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftSection {
    /// Micro-batch size in tokens.
    pub micro_batch_tokens: usize,
    /// Gradient checkpointing: layers are computed again in the backward pass instead of kept.
    /// Default: false.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gradient_checkpointing: bool,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Steps between fresh worlds, so that no world is memorized.
    pub world_every: u64,
    /// Whether thoughts name the next search, which the query then copies; else they say what was
    /// found, and what to search for is decided in the query. Default: true.
    #[serde(default = "default_true", skip_serializing_if = "is_true")]
    pub plan: bool,
    /// Phases, one after the other.
    pub phases: Vec<SftPhase>,
}

/// Phase of the warm start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftPhase {
    /// Optimizer steps.
    pub steps: u64,
    /// Learning rate at the beginning, as a share of `optimizer.lr`.
    pub lr_from: f64,
    /// Learning rate at the end, likewise; linear in between.
    pub lr_to: f64,
    /// Demonstrations a step.
    pub demonstrations: usize,
    /// Reading exercises a step.
    pub reading: usize,
    /// Comparison exercises a step.
    pub comparison: usize,
    /// Recall exercises a step. Default: 0.
    #[serde(default)]
    pub recall: usize,
    /// Demonstrations a step with a hindsight block, as the teacher of self-distillation reads them:
    /// the queries labelled CORRECT are those that follow, the others are of other attempts.
    /// Default: 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hindsight: usize,
    /// Perturbations of the demonstrations. Default: none.
    #[serde(default)]
    pub habits: Perturbations,
}

/// Evaluation on held-out questions: the `[evaluation]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSection {
    /// Steps between evaluations on the dev questions, with greedy decoding.
    pub every: u64,
}

/// Thresholds of the alarms: the `[alarms]` section. An alarm above its threshold is a warning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlarmSection {
    /// `alarm/reward_without_em`: rise of the mean reward over the last three evaluations, where
    /// exact match did not rise; 0 where it did. Default: 0.1.
    pub reward_without_em: f64,
    /// `alarm/copied_answers`: share of answers that are copied from what was retrieved by a
    /// trajectory without a thought. Default: 0.5.
    pub copied_answers: f64,
    /// `alarm/unsearched`: share of right answers that came without a search. Default: 0.5.
    pub unsearched: f64,
    /// `alarm/repeated_queries`: share of searches whose query its trajectory had asked before.
    /// Default: 0.5.
    pub repeated_queries: f64,
    /// `alarm/tagged_answers`: share of answers with tags of the protocol inside. Default: 0.05.
    pub tagged_answers: f64,
}

/// Shape of a fresh model, a Qwen2 decoder with a tied head: the `[model.fresh]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreshModel {
    /// Vocabulary size of the tokenizer that is trained.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the SwiGLU.
    pub intermediate_size: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Longest sequence, in tokens.
    pub max_positions: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
}

/// Error of a section: a value that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SectionError {
    /// A number that must not be 0 is.
    #[error("`{section}.{key}` is 0")]
    Zero {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A value is out of its range, or does not go with another.
    #[error("{0}")]
    Value(&'static str),
    /// A threshold is no number from 0 on.
    #[error("`alarms.{name}` is {threshold}: it is a number from 0 on")]
    Threshold {
        /// The alarm.
        name: &'static str,
        /// The threshold.
        threshold: f64,
    },
}

impl TrainingSection {
    /// Sampling of the rollouts.
    pub fn sampling(&self) -> Sampling {
        let (temperature, keep) = (self.temperature, self.truncation);
        if is_default(&keep) {
            Sampling::Temperature(temperature)
        } else {
            Sampling::Truncated { temperature, keep }
        }
    }

    /// Micro-batches of the updates.
    pub fn micro_batches(&self) -> MicroBatches {
        let checkpointing = self.gradient_checkpointing;
        MicroBatches { tokens: self.micro_batch_tokens, checkpointing }
    }

    /// Updates of the policy in a step.
    pub fn n_updates(&self) -> usize {
        self.mini_batches * self.epochs
    }

    /// Checks the values of the section by themselves.
    pub fn check(&self) -> Result<(), SectionError> {
        for (key, value) in [
            ("steps", self.steps),
            ("questions_per_step", self.questions_per_step as u64),
            ("group_size", self.group_size as u64),
            ("micro_batch_tokens", self.micro_batch_tokens as u64),
            ("checkpoint_every", self.checkpoint_every),
            ("save_trajectories_every", self.save_trajectories_every),
            ("mini_batches", self.mini_batches as u64),
            ("epochs", self.epochs as u64),
            ("reference_every", self.reference_every.unwrap_or(1)),
            ("skip_limit", self.skip_limit),
            ("untrained_limit", self.untrained_limit),
        ] {
            positive("training", key, value)?;
        }
        let wrong = |what| Err(SectionError::Value(what));
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return wrong("`training.temperature` must be positive");
        }
        if self.mini_batches > self.questions_per_step {
            return wrong("`training.mini_batches` is more than `training.questions_per_step`");
        }
        if self.ema_decay.is_some_and(|decay| !(decay > 0.0 && decay < 1.0)) {
            return wrong("`training.ema_decay` must be above 0 and below 1");
        }
        let stages = &self.curriculum;
        if stages.first().is_some_and(|stage| stage.from > 0)
            || !stages.is_sorted_by(|one, other| one.from < other.from)
        {
            return wrong("`training.curriculum` begins at step 0 and ascends in `from`");
        }
        Ok(())
    }

    /// Checks `training.truncation`: refuses cuts that leave nothing, or that are no shares.
    pub fn check_truncation(&self) -> Result<(), SectionError> {
        let is_share = |value: f32| (0.0..=1.0).contains(&value);
        let wrong = |what| Err(SectionError::Value(what));
        let Truncation { top_k, top_p, min_p } = self.truncation;
        if top_k == Some(0) {
            return wrong("`training.truncation.top_k` is 0: no token would be left");
        }
        if top_p.is_some_and(|share| !is_share(share) || share == 0.0) {
            return wrong("`training.truncation.top_p` must be above 0 and at most 1");
        }
        if min_p.is_some_and(|share| !is_share(share)) {
            return wrong("`training.truncation.min_p` must be between 0 and 1");
        }
        Ok(())
    }
}

impl CriticSection {
    /// Checks the learning rate.
    pub fn check(&self) -> Result<(), SectionError> {
        if self.lr.is_finite() && self.lr > 0.0 {
            return Ok(());
        }
        Err(SectionError::Value("`critic.lr` must be a positive number"))
    }
}

impl SftSection {
    /// Micro-batches of the updates.
    pub fn micro_batches(&self) -> MicroBatches {
        let checkpointing = self.gradient_checkpointing;
        MicroBatches { tokens: self.micro_batch_tokens, checkpointing }
    }

    /// Optimizer steps of all phases.
    pub fn n_steps(&self) -> u64 {
        self.phases.iter().map(|phase| phase.steps).sum()
    }

    /// Thoughts of the demonstrations.
    pub const fn thoughts(&self) -> Thoughts {
        if self.plan { Thoughts::Plan } else { Thoughts::Findings }
    }

    /// Checks that no size and no interval is 0.
    pub fn check(&self) -> Result<(), SectionError> {
        positive("sft", "micro_batch_tokens", self.micro_batch_tokens as u64)?;
        positive("sft", "checkpoint_every", self.checkpoint_every)?;
        positive("sft", "world_every", self.world_every)?;
        positive("sft", "phases", self.phases.len() as u64)
    }
}

impl EvaluationSection {
    /// Checks the interval.
    pub fn check(&self) -> Result<(), SectionError> {
        positive("evaluation", "every", self.every)
    }
}

impl AlarmSection {
    /// Checks that the thresholds are numbers from 0 on.
    pub fn check(&self) -> Result<(), SectionError> {
        let thresholds = [
            ("reward_without_em", self.reward_without_em),
            ("copied_answers", self.copied_answers),
            ("unsearched", self.unsearched),
            ("repeated_queries", self.repeated_queries),
            ("tagged_answers", self.tagged_answers),
        ];
        for (name, threshold) in thresholds {
            if threshold.is_nan() || threshold < 0.0 {
                return Err(SectionError::Threshold { name, threshold });
            }
        }
        Ok(())
    }
}

impl Default for AlarmSection {
    fn default() -> Self {
        Self {
            reward_without_em: 0.1,
            copied_answers: 0.5,
            unsearched: 0.5,
            repeated_queries: 0.5,
            tagged_answers: 0.05,
        }
    }
}

impl FreshModel {
    /// Model configuration of the shape.
    pub fn config(&self) -> ModelConfig {
        ModelConfig {
            model_type: ModelFamily::Qwen2,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            num_key_value_heads: self.kv_heads,
            head_dim: Some(self.hidden_size / self.heads.max(1)),
            max_position_embeddings: self.max_positions,
            rms_norm_eps: 1e-6,
            rope: Rope::plain(self.rope_theta),
            attention_bias: false,
            mlp_bias: false,
            tie_word_embeddings: true,
            // What enters a layer with variance 1 leaves its matrices with variance 1.
            initializer_range: (self.hidden_size.max(1) as f64).sqrt().recip(),
            other: serde_json::Map::new(),
        }
    }
}

#[cfg(test)]
impl FreshModel {
    /// Shape of the small decoder that tests train.
    pub(crate) fn of_two_layers(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            hidden_size: 16,
            intermediate_size: 24,
            layers: 2,
            heads: 2,
            kv_heads: 1,
            max_positions: 64,
            rope_theta: 100.0,
        }
    }
}

fn positive(section: &'static str, key: &'static str, value: u64) -> Result<(), SectionError> {
    if value == 0 { Err(SectionError::Zero { section, key }) } else { Ok(()) }
}

fn default_one() -> usize {
    1
}

const fn default_true() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_true(value: &bool) -> bool {
    *value
}

fn default_skip_limit() -> u64 {
    3
}

fn default_untrained_limit() -> u64 {
    10
}

fn default_temperature() -> f32 {
    1.0
}

fn critic_schedule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LrSchedule, D::Error> {
    LrSchedule::deserialize_at("critic.schedule", deserializer)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_numbers() {
        for text in ["unsearched = -1.0", "unsearched = nan"] {
            let section: AlarmSection = toml::from_str(text).unwrap();
            assert!(section.check().is_err(), "{text}");
        }
        assert!(toml::from_str::<AlarmSection>("unserched = 0.5").is_err());
        assert!(AlarmSection::default().check().is_ok());
    }

    #[test]
    fn errors_of_a_schedule_name_its_section() {
        for (schedule, expected) in [
            (
                "{ name = 'constant', floor = 0.1 }",
                "schedule.floor` is not used by `constant`, only by `linear`, `cosine`",
            ),
            (
                "{ name = 'linear', floor = 1.0 }",
                "schedule.floor` is 1, but must be at least 0 and below 1",
            ),
            (
                "{ name = 'cosine', warmup = { ratio = 1.5 } }",
                "schedule.warmup.ratio` is 1.5, but must be at least 0 and below 1",
            ),
        ] {
            let text = format!("lr = 1.0\nschedule = {schedule}");
            let of_critic = toml::from_str::<CriticSection>(&text).unwrap_err();
            assert_eq!(of_critic.message(), format!("`critic.{expected}"));
            let of_policy = toml::from_str::<OptimizerConfig>(&text).unwrap_err();
            assert_eq!(of_policy.message(), format!("`optimizer.{expected}"));
        }
    }
}
