//! The run file: one TOML file that says everything a run depends on.
//!
//! Each crate owns the struct of its section; [`RunConfig`] composes them. Unknown keys, and keys
//! that the asked-for command would not use, are errors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forage_model::{Family, ModelConfig};
use forage_optimizer::OptimizerConfig;
use forage_retriever::RetrieverConfig;
use forage_reward::RewardSection;
use forage_rollout::RolloutConfig;
use forage_synthesis::{Entities, Habits, QuestionMix};
use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure};

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
    /// Rewards by name; their weighted sum is trained on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reward: BTreeMap<String, RewardSection>,
    /// How weights follow rewards.
    pub optimizer: OptimizerConfig,
    /// The reinforcement learning phase: `forage train`.
    pub training: Option<TrainingSection>,
    /// The supervised warm start: `forage sft`.
    pub sft: Option<SftSection>,
    /// Evaluation on held-out questions.
    pub evaluation: EvaluationSection,
}

/// Where the model comes from: one of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// A checkpoint folder in the layout of Hugging Face.
    pub path: Option<PathBuf>,
    /// A fresh model; `forage sft` trains a tokenizer for it.
    pub fresh: Option<FreshModel>,
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

/// A generated world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldSection {
    /// Entities of each split.
    pub entities: Entities,
    /// Questions of each split.
    pub questions: QuestionCounts,
    /// Hops and comparisons.
    #[serde(default)]
    pub mix: QuestionMix,
}

/// How many questions each split gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuestionCounts {
    /// For training.
    pub train: usize,
    /// For evaluation while training.
    pub dev: usize,
    /// For the evaluation before and after.
    pub test: usize,
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
    /// Tokens of a micro-batch, padding included; a longer sequence is one by itself.
    pub micro_batch_tokens: usize,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Steps between saved training trajectories.
    pub save_trajectories_every: u64,
}

/// The supervised warm start on scripted demonstrations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftSection {
    /// Tokens of a micro-batch, padding included.
    pub micro_batch_tokens: usize,
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
    pub habits: Habits,
}

/// Evaluation on held-out questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSection {
    /// Steps between evaluations on the dev questions, greedy.
    pub every: u64,
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
            rope_theta: Some(self.rope_theta),
            rope_parameters: None,
            rope_scaling: None,
            tie_word_embeddings: true,
            use_sliding_window: false,
            // What enters a layer with variance 1 leaves its matrices with variance 1.
            initializer_range: (self.hidden_size.max(1) as f64).sqrt().recip(),
            architectures: vec!["Qwen2ForCausalLM".to_owned()],
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
        self.rollout.validate()?;
        self.optimizer.check()?;
        if let Some(world) = &self.world {
            world.mix.check()?;
            let QuestionCounts { train, dev, test } = world.questions;
            for (split, count) in [("train", train), ("dev", dev), ("test", test)] {
                if count == 0 {
                    return Err(anyhow::anyhow!("`world.questions.{split}` is 0"));
                }
            }
        }
        if self.evaluation.every == 0 {
            return wrong("`evaluation.every` is 0");
        }
        if let Some(training) = &self.training {
            for (key, value) in [
                ("steps", training.steps),
                ("questions_per_step", training.questions_per_step as u64),
                ("micro_batch_tokens", training.micro_batch_tokens as u64),
                ("checkpoint_every", training.checkpoint_every),
                ("save_trajectories_every", training.save_trajectories_every),
            ] {
                if value == 0 {
                    return Err(anyhow::anyhow!("`training.{key}` is 0"));
                }
            }
            if training.group_size < 2 {
                return wrong(
                    "`training.group_size` must be 2 or more: a group of one has no advantage",
                );
            }
            if !(training.temperature.is_finite() && training.temperature > 0.0) {
                return wrong("`training.temperature` must be positive");
            }
            if self.reward.is_empty() {
                return wrong("`training` needs at least one `[reward.<name>]`");
            }
        } else if !self.reward.is_empty() {
            return wrong("`reward` is used by `training` only, which is missing");
        }
        if let Some(sft) = &self.sft {
            if self.world.is_none() {
                return wrong("`sft` demonstrates in a generated world: `world` is missing");
            }
            for (key, value) in [
                ("micro_batch_tokens", sft.micro_batch_tokens as u64),
                ("checkpoint_every", sft.checkpoint_every),
                ("world_every", sft.world_every),
            ] {
                if value == 0 {
                    return Err(anyhow::anyhow!("`sft.{key}` is 0"));
                }
            }
            for phase in &sft.phases {
                phase.habits.check()?;
            }
            let bounds = [self.optimizer.clip_low, self.optimizer.clip_high];
            if bounds != [forage_optimizer::DEFAULT_CLIP; 2] {
                return wrong(
                    "`optimizer.clip_low` and `optimizer.clip_high` are not used by `sft`",
                );
            }
        }
        if self.sft.is_some() == self.training.is_some() {
            return wrong("a run file has one of `training` and `sft`");
        }
        if self.model.fresh.is_some() && self.sft.is_none() {
            return wrong("`model.fresh` needs `sft`: a fresh model cannot search yet");
        }
        Ok(())
    }
}

/// Applies one `a.b=value`. The value is TOML; what is not is taken as a string.
fn set(document: &mut toml_edit::DocumentMut, edit: &str) -> Result<()> {
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

fn default_device() -> String {
    "cpu".to_owned()
}

fn default_temperature() -> f32 {
    1.0
}
