//! The run file: one TOML file that says everything a run depends on.
//!
//! Each crate owns the struct of its section; [`RunConfig`] composes them. Unknown keys, and keys
//! that the asked-for command would not use, are errors.

mod check;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forage_model::{Family, LoraConfig, ModelConfig, NumberType, Rope};
use forage_optimizer::{AlgorithmConfig, OptimizerConfig, Schedule, Surrogate};
use forage_retriever::RetrieverConfig;
use forage_reward::{Combination, RewardSection};
use forage_rollout::RolloutConfig;
use forage_trajectory::{Sampling, Truncation};
use forage_world::{Perturbations, WorldSection};
use serde::{Deserialize, Serialize};

use crate::alarms::AlarmSection;
use crate::failure::{Code, Failure};
use crate::micro_batch::MicroBatches;

/// A run file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Name of the run; its folder is `runs/<name>` unless `--out` says otherwise.
    pub name: String,
    /// Every random number of the run follows from it.
    pub seed: u64,
    /// `cpu`.
    #[serde(default = "default_device")]
    pub device: String,
    /// The model to start from.
    pub model: ModelSection,
    /// Generates corpus and questions; excludes `data` and `retriever`.
    pub world: Option<WorldSection>,
    /// Questions from files; wants `retriever`.
    pub data: Option<DataSection>,
    /// The search engine over an existing index.
    pub retriever: Option<RetrieverConfig>,
    /// How an episode is played.
    pub rollout: RolloutConfig,
    /// Rewards by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reward: BTreeMap<String, RewardSection>,
    /// How they become the one that is trained on: their weighted sum, where nothing is said.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub combination: Combination,
    /// How rewards become a loss: GRPO with PPO's clip, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<AlgorithmConfig>,
    /// The critic, for estimators that need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critic: Option<CriticSection>,
    /// How weights follow the gradient.
    pub optimizer: OptimizerConfig,
    /// The reinforcement learning phase: `forage train`.
    pub training: Option<TrainingSection>,
    /// The supervised warm start: `forage sft`.
    pub sft: Option<SftSection>,
    /// Evaluation on held-out questions.
    pub evaluation: EvaluationSection,
    /// When a run warns of rewards that are earned otherwise than by answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<AlarmSection>,
}

/// Where the model comes from: one of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// A checkpoint folder in the layout of Hugging Face.
    pub path: Option<PathBuf>,
    /// A fresh model; `forage sft` trains a tokenizer for it.
    pub fresh: Option<FreshModel>,
    /// Adapters, which are then trained instead of the model of `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// Tokens whose keys and values generation keeps at once, over all sequences; without a limit
    /// where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_tokens: Option<usize>,
    /// What matrices are multiplied in; weights, gradients and the optimizer are f32 in any case.
    #[serde(default, skip_serializing_if = "is_f32")]
    pub compute: NumberType,
}

/// The shape of a fresh model, a Qwen2 decoder with a tied head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreshModel {
    /// Tokens of the tokenizer that is trained.
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

/// Question files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// Training questions, JSONL.
    pub train: PathBuf,
    /// Questions for evaluation while training, JSONL.
    pub dev: PathBuf,
    /// Questions for the evaluation before and after, JSONL.
    pub test: PathBuf,
}

/// The reinforcement learning phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSection {
    /// Optimizer steps.
    pub steps: u64,
    /// Questions a step.
    pub questions_per_step: usize,
    /// Trajectories a question (G).
    pub group_size: usize,
    /// Sampling temperature.
    #[serde(default = "default_temperature")]
    pub temperature: f32,
    /// Which tokens may be sampled; log-probabilities are those before anything is cut off.
    #[serde(default, skip_serializing_if = "is_default")]
    pub truncation: Truncation,
    /// Tokens of a micro-batch; a longer sequence is one by itself.
    pub micro_batch_tokens: usize,
    /// Whether layers are computed again on the way back, instead of kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gradient_checkpointing: bool,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Steps between saved training trajectories.
    pub save_trajectories_every: u64,
    /// Parts of a step's questions, each of which is an update of its own.
    #[serde(default = "default_one")]
    pub mini_batches: usize,
    /// Times that a step's trajectories are gone through.
    #[serde(default = "default_one")]
    pub epochs: usize,
    /// Dynamic sampling: groups that a step may play beyond its questions, for those without
    /// variance.
    #[serde(default)]
    pub extra_groups: usize,
    /// What is asked when; everything always, where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curriculum: Vec<Stage>,
    /// Steps between refreshes of the reference policy; it stays the start where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_every: Option<u64>,
    /// Decay of a moving average of the weights, which evaluations then use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving_average: Option<f64>,
    /// Steps in a row that may be skipped because something in them is not finite; at so many, the
    /// run ends.
    #[serde(default = "default_skip_limit")]
    pub skip_limit: u64,
}

/// A stage of the curriculum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The first step of it.
    pub from: u64,
    /// Questions of at most so many hops are asked.
    pub hops: usize,
}

/// The critic of PPO: a second decoder with a head of one number, which begins with the policy's
/// weights. What is not here is that of `[optimizer]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriticSection {
    /// Its peak learning rate.
    pub lr: f64,
    /// How that moves.
    #[serde(default)]
    pub schedule: Schedule,
}

/// The supervised warm start on scripted demonstrations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftSection {
    /// Tokens of a micro-batch.
    pub micro_batch_tokens: usize,
    /// Whether layers are computed again on the way back, instead of kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gradient_checkpointing: bool,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Steps between fresh worlds to learn in: nothing in them is worth remembering.
    pub world_every: u64,
    /// One after the other.
    pub phases: Vec<SftPhase>,
}

/// A phase of the warm start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftPhase {
    /// Optimizer steps.
    pub steps: u64,
    /// Learning rate at its beginning, as a share of `optimizer.lr`.
    pub lr_from: f64,
    /// Learning rate at its end, likewise; linear in between.
    pub lr_to: f64,
    /// Demonstrations a step.
    pub demonstrations: usize,
    /// Reading exercises a step.
    pub reading: usize,
    /// Comparison exercises a step.
    pub comparison: usize,
    /// Recall exercises a step.
    #[serde(default)]
    pub recall: usize,
    /// Bad habits of the demonstrations.
    #[serde(default)]
    pub habits: Perturbations,
}

/// Evaluation on held-out questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSection {
    /// Steps between evaluations on the dev questions, greedy.
    pub every: u64,
}

impl TrainingSection {
    /// How tokens are sampled.
    pub fn sampling(&self) -> Sampling {
        let (temperature, keep) = (self.temperature, self.truncation);
        if is_default(&keep) {
            Sampling::Temperature(temperature)
        } else {
            Sampling::Truncated { temperature, keep }
        }
    }

    /// How trajectories go through the model.
    pub fn micro_batches(&self) -> MicroBatches {
        let checkpointing = self.gradient_checkpointing;
        MicroBatches { tokens: self.micro_batch_tokens, checkpointing }
    }
}

impl SftSection {
    /// How demonstrations go through the model.
    pub fn micro_batches(&self) -> MicroBatches {
        let checkpointing = self.gradient_checkpointing;
        MicroBatches { tokens: self.micro_batch_tokens, checkpointing }
    }
}

impl FreshModel {
    /// The configuration of its checkpoint.
    pub fn config(&self) -> ModelConfig {
        ModelConfig {
            model_type: Family::Qwen2,
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

/// A run file with its text after all edits.
#[derive(Debug, Clone)]
pub struct RunFile {
    /// What it says.
    pub config: RunConfig,
    /// The text that was read, `--set` edits included.
    pub text: String,
    /// Where it was read from.
    pub path: PathBuf,
}

impl RunFile {
    /// Reads a run file and applies `KEY=VALUE` edits.
    pub fn read(path: &Path, edits: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            Failure::new(Code::Input, format!("run file `{}` cannot be read", path.display()))
                .hint("name a run file, for example `configs/quickstart.toml`")
        })?;
        Self::parse(path, &text, edits)
    }

    /// Parses the text of a run file.
    pub fn parse(path: &Path, text: &str, edits: &[String]) -> Result<Self> {
        let wrong = || {
            Failure::new(Code::Usage, format!("run file `{}` is wrong", path.display()))
                .hint("docs/configuration.md lists every key")
        };
        let mut document: toml_edit::DocumentMut = text.parse().with_context(wrong)?;
        for edit in edits {
            set(&mut document, edit)?;
        }
        let text = document.to_string();
        let config: RunConfig = toml::from_str(&text).with_context(wrong)?;
        config.check().with_context(wrong)?;
        Ok(Self { config, text, path: path.to_owned() })
    }
}

impl RunConfig {
    /// Checks what the types cannot say.
    fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(anyhow::anyhow!("{what}"));
        match (&self.model.path, &self.model.fresh) {
            (Some(_), None) | (None, Some(_)) => {}
            _ => return wrong("`model` wants one of `path` and `fresh`"),
        }
        match (&self.world, &self.data, &self.retriever) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            (Some(_), _, _) => {
                return wrong(
                    "`world` makes its own questions and index: drop `data` and `retriever`",
                );
            }
            (None, _, _) => {
                return wrong("without `world`, both `data` and `retriever` are needed");
            }
        }
        if let Some(retriever) = &self.retriever {
            retriever.check()?;
        }
        if let Some(lora) = &self.model.lora {
            lora.check().context("`model.lora`")?;
            if self.model.fresh.is_some() {
                return wrong("`model.lora` adapts the model of `model.path`, which is missing");
            }
        }
        self.rollout.validate()?;
        if self.rollout.chat && self.model.fresh.is_some() {
            return wrong("`rollout.chat` wants a chat template, and `model.fresh` has none");
        }
        if self.model.cache_tokens.is_some_and(|it| it < self.rollout.max_tokens) {
            return wrong(
                "`model.cache_tokens` is less than `rollout.max_tokens`: a trajectory would not fit",
            );
        }
        self.optimizer.check()?;
        if let Some(world) = &self.world {
            world.check()?;
        }
        if self.evaluation.every == 0 {
            return wrong("`evaluation.every` is 0");
        }
        if self.alarms.is_some() && self.training.is_none() {
            return wrong("`alarms` is used by `training` only, which is missing");
        }
        self.alarms.unwrap_or_default().check()?;
        if let Some(training) = &self.training {
            self.check_training(training)?;
            check_truncation(training.truncation)?;
            if self.reward.is_empty() {
                return wrong("`training` needs at least one `[reward.<name>]`");
            }
        } else if self.algorithm.is_some() || self.critic.is_some() {
            return wrong("`algorithm` and `critic` are used by `training` only, which is missing");
        } else if !self.reward.is_empty() || !is_plain(&self.combination) {
            return wrong(
                "`reward` and `combination` are used by `training` only, which is missing",
            );
        }
        let rewards = self.reward.iter().map(|(name, section)| (name.as_str(), section));
        forage_reward::check_rewards(rewards, &self.combination)?;
        if let Some(sft) = &self.sft {
            self.check_sft(sft)?;
        }
        if self.sft.is_some() == self.training.is_some() {
            return wrong("a run file has one of `training` and `sft`");
        }
        if self.model.fresh.is_some() && self.sft.is_none() {
            return wrong("`model.fresh` needs `sft`: a fresh model cannot search yet");
        }
        Ok(())
    }

    /// How rewards become a loss.
    pub fn algorithm(&self) -> AlgorithmConfig {
        let [low, high] = self.optimizer.clip();
        let default = || AlgorithmConfig::grpo(Surrogate::ppo(low, high));
        self.algorithm.clone().unwrap_or_else(default)
    }
}

/// Applies one `a.b=value`. The value is TOML; what is not is taken as a string.
pub(crate) fn set(document: &mut toml_edit::DocumentMut, edit: &str) -> Result<()> {
    let wrong = |what: &str| {
        Failure::new(Code::Usage, format!("`--set {edit}`: {what}"))
            .hint("write `--set section.key=value`, for example `--set optimizer.lr=3e-5`")
    };
    let (key, value) = edit.split_once('=').ok_or_else(|| wrong("there is no `=`"))?;
    let value: toml_edit::Value =
        value.parse().unwrap_or_else(|_| toml_edit::Value::from(value.to_owned()));
    let mut path: Vec<&str> = key.trim().split('.').collect();
    let last = path.pop().filter(|it| !it.is_empty()).ok_or_else(|| wrong("the key is empty"))?;
    let mut table = document.as_table_mut() as &mut dyn toml_edit::TableLike;
    for part in path {
        table = table
            .entry(part)
            .or_insert_with(toml_edit::table)
            .as_table_like_mut()
            .ok_or_else(|| wrong(&format!("`{part}` is no table")))?;
    }
    table.insert(last, toml_edit::value(value));
    Ok(())
}

fn is_plain(combination: &Combination) -> bool {
    *combination == Combination::default()
}

fn default_one() -> usize {
    1
}

fn default_skip_limit() -> u64 {
    3
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_f32(it: &NumberType) -> bool {
    *it == NumberType::F32
}

fn default_device() -> String {
    "cpu".to_owned()
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Refuses cuts that leave nothing, or that are no shares.
fn check_truncation(keep: Truncation) -> Result<()> {
    let is_share = |it: f32| (0.0..=1.0).contains(&it);
    if keep.top_k == Some(0) {
        anyhow::bail!("`training.truncation.top_k` is 0: no token would be left");
    }
    if keep.top_p.is_some_and(|it| !is_share(it) || it == 0.0) {
        anyhow::bail!("`training.truncation.top_p` must be above 0 and at most 1");
    }
    if keep.min_p.is_some_and(|it| !is_share(it)) {
        anyhow::bail!("`training.truncation.min_p` must be between 0 and 1");
    }
    Ok(())
}

fn default_temperature() -> f32 {
    1.0
}
