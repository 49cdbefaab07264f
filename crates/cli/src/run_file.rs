//! Run file: one TOML file with everything that a run depends on.
//!
//! Each crate owns the struct of its section. [`RawRunConfig`] is the file as it is written, in
//! which every section may be missing. [`RunConfig`] is the result of the checks: a training or a
//! warm start, over a world or over data, with everything that it needs. Unknown keys, and keys
//! that the run would not use, are errors. docs/configuration.md has every key; a test compares the
//! two.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use forage_model::{LoraConfig, NumberType};
use forage_optimizer::{AdvantageEstimator, AlgorithmConfig, OptimizerConfig, Surrogate};
use forage_retriever::RetrieverConfig;
use forage_reward::{Combination, RewardSection};
use forage_rollout::RolloutConfig;
use forage_training::config::{
    AlarmSection, CriticSection, EvaluationSection, FreshModel, SftConfig, SftSection, TrainConfig,
    TrainingSection,
};
use forage_world::WorldSection;
use serde::{Deserialize, Serialize};

use crate::exit_code::{Code, Failure};
use crate::text_file;

/// Run file as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRunConfig {
    /// Name of the run; its folder is `runs/<name>` unless `--out` says otherwise.
    pub name: String,
    /// Seed of every random number of the run.
    pub seed: u64,
    /// Device: `cpu`, or where the program was built with it `cuda:N`, `wgpu` or `vulkan:N`.
    /// Default: `cpu`.
    #[serde(default = "default_device")]
    pub device: String,
    /// Initial model.
    pub model: ModelSection,
    /// Generated corpus and questions; excludes `data` and `retriever`.
    pub world: Option<WorldSection>,
    /// Question files; needs `retriever`.
    pub data: Option<DataSection>,
    /// Search engine over an existing corpus.
    pub retriever: Option<RetrieverConfig>,
    /// Agent loop.
    pub rollout: RolloutConfig,
    /// Rewards by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reward: BTreeMap<String, RewardSection>,
    /// Combination of the rewards. Default: their weighted sum.
    #[serde(default, skip_serializing_if = "is_default")]
    pub combination: Combination,
    /// Advantage estimator, loss and further terms. Default: GRPO with PPO's clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<AlgorithmConfig>,
    /// Critic, for estimators that need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critic: Option<CriticSection>,
    /// AdamW and the learning rate.
    pub optimizer: OptimizerConfig,
    /// Reinforcement learning: `forage train`.
    pub training: Option<TrainingSection>,
    /// Supervised warm start: `forage sft`.
    pub sft: Option<SftSection>,
    /// Evaluation on held-out questions.
    pub evaluation: EvaluationSection,
    /// Thresholds of the alarms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<AlarmSection>,
}

/// Initial model: one of `path` and `fresh`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSection {
    /// Model folder in the layout of Hugging Face.
    pub path: Option<PathBuf>,
    /// Shape of a fresh model; `forage sft` trains a tokenizer for it.
    pub fresh: Option<FreshModel>,
    /// LoRA adapters, which are then trained instead of the model of `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// Bound of the KV cache, in tokens over all sequences. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_tokens: Option<usize>,
    /// Type in which matrices are multiplied; weights, gradients and the optimizer are f32 in any
    /// case. Default: `f32`.
    #[serde(default, skip_serializing_if = "is_f32")]
    pub compute: NumberType,
}

/// Question files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// Training questions, JSONL.
    pub train: PathBuf,
    /// Questions for evaluation while training, JSONL.
    pub dev: PathBuf,
    /// Questions for the evaluations before and after training, JSONL.
    pub test: PathBuf,
}

/// Run file, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct RunConfig {
    /// Name of the run.
    pub name: String,
    /// Seed of every random number of the run.
    pub seed: u64,
    /// Name of the device.
    pub device: String,
    /// Options of the model.
    pub model: ModelOptions,
    /// Corpus and questions.
    pub source: Source,
    /// Agent loop.
    pub rollout: RolloutConfig,
    /// Task of the run, with its configuration.
    pub task: Task,
}

/// Options of a model, wherever it comes from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelOptions {
    /// LoRA adapters.
    pub lora: Option<LoraConfig>,
    /// Bound of the KV cache, in tokens. Default: no bound.
    pub cache_tokens: Option<usize>,
    /// Type in which matrices are multiplied.
    pub compute: NumberType,
}

/// Corpus and questions of a run.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a process")]
pub enum Source {
    /// Generated.
    World(WorldSection),
    /// From files, over an existing search engine.
    Data {
        /// Question files.
        data: DataSection,
        /// Search engine.
        retriever: RetrieverConfig,
    },
}

/// Task of a run.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a process")]
pub enum Task {
    /// Reinforcement learning.
    Train(TrainTask),
    /// Supervised warm start.
    Sft(SftTask),
}

/// Reinforcement learning from a model.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainTask {
    /// Folder of the initial model.
    pub model: PathBuf,
    /// Rewards by name.
    pub rewards: BTreeMap<String, RewardSection>,
    /// Combination of the rewards.
    pub combination: Combination,
    /// Configuration of the engine.
    pub config: TrainConfig,
}

/// Supervised warm start in a generated world.
#[derive(Debug, Clone, PartialEq)]
pub struct SftTask {
    /// Initial model.
    pub start: SftStart,
    /// World of the demonstrations.
    pub world: WorldSection,
    /// Configuration of the engine.
    pub config: SftConfig,
}

/// Initial model of a warm start.
#[derive(Debug, Clone, PartialEq)]
pub enum SftStart {
    /// Model of a folder.
    Model(PathBuf),
    /// Fresh model.
    Fresh(FreshModel),
}

/// Run file with its text after all edits.
#[derive(Debug, Clone)]
pub struct RunFile {
    /// Parsed configuration.
    pub config: RunConfig,
    /// Text that was read, `--set` edits included.
    pub text: String,
    /// Path that it was read from.
    pub path: PathBuf,
}

impl RunFile {
    /// Reads a run file and applies `KEY=VALUE` edits.
    pub fn read(path: &Path, edits: &[String]) -> Result<Self> {
        let text = text_file::read(path).with_context(|| {
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
        let raw: RawRunConfig = toml::from_str(&text).with_context(wrong)?;
        let config = RunConfig::try_from(raw).with_context(wrong)?;
        Ok(Self { config, text, path: path.to_owned() })
    }
}

impl RawRunConfig {
    /// Algorithm of the file; where it has none, GRPO with PPO's clip.
    pub(crate) fn algorithm_or_default(&self) -> AlgorithmConfig {
        let [low, high] = self.optimizer.clip();
        let default = || AlgorithmConfig::grpo(Surrogate::ppo(low, high));
        self.algorithm.clone().unwrap_or_else(default)
    }
}

impl RunConfig {
    /// Folder of the initial model; none where it is fresh.
    pub fn model_folder(&self) -> Option<&Path> {
        match &self.task {
            Task::Train(task) => Some(&task.model),
            Task::Sft(SftTask { start: SftStart::Model(path), .. }) => Some(path),
            Task::Sft(SftTask { start: SftStart::Fresh(_), .. }) => None,
        }
    }
}

impl TryFrom<RawRunConfig> for RunConfig {
    type Error = anyhow::Error;

    fn try_from(raw: RawRunConfig) -> Result<Self> {
        let RawRunConfig { model, world, data, retriever, .. } = raw.clone();
        let model_source = match (model.path, model.fresh) {
            (Some(path), None) => SftStart::Model(path),
            (None, Some(fresh)) => SftStart::Fresh(fresh),
            _ => bail!("`model` wants one of `path` and `fresh`"),
        };
        let source = source(world, data, retriever)?;
        let lora = model.lora;
        if let Some(lora) = &lora {
            lora.check().context("`model.lora`")?;
            if let SftStart::Fresh(_) = model_source {
                bail!("`model.lora` adapts the model of `model.path`, which is missing");
            }
        }
        raw.rollout.validate()?;
        if raw.rollout.chat && matches!(model_source, SftStart::Fresh(_)) {
            bail!("`rollout.chat` wants a chat template, and `model.fresh` has none");
        }
        if model.cache_tokens.is_some_and(|tokens| tokens < raw.rollout.max_tokens) {
            bail!(
                "`model.cache_tokens` is less than `rollout.max_tokens`: a trajectory would not fit"
            );
        }
        raw.optimizer.check()?;
        raw.evaluation.check()?;
        let task = task(&raw, model_source, &source)?;
        Ok(Self {
            name: raw.name,
            seed: raw.seed,
            device: raw.device,
            model: ModelOptions { lora, cache_tokens: model.cache_tokens, compute: model.compute },
            source,
            rollout: raw.rollout,
            task,
        })
    }
}

/// World or data, and nothing of the other.
fn source(
    world: Option<WorldSection>,
    data: Option<DataSection>,
    retriever: Option<RetrieverConfig>,
) -> Result<Source> {
    match (world, data, retriever) {
        (Some(world), None, None) => {
            world.check()?;
            Ok(Source::World(world))
        }
        (None, Some(data), Some(retriever)) => Ok(Source::Data { data, retriever }),
        (Some(_), _, _) => {
            bail!("`world` makes its own questions and index: drop `data` and `retriever`")
        }
        (None, _, _) => bail!("without `world`, both `data` and `retriever` are needed"),
    }
}

/// Training or warm start, and no key of the other.
fn task(raw: &RawRunConfig, start: SftStart, source: &Source) -> Result<Task> {
    if raw.alarms.is_some() && raw.training.is_none() {
        bail!("`alarms` is used by `training` only, which is missing");
    }
    raw.alarms.unwrap_or_default().check()?;
    match (&raw.training, &raw.sft) {
        (Some(training), None) => {
            let SftStart::Model(model) = start else {
                bail!("`model.fresh` needs `sft`: a fresh model cannot search yet");
            };
            Ok(Task::Train(train_task(raw, training, model)?))
        }
        (None, Some(sft)) => {
            refuse_training_keys(raw)?;
            let Source::World(world) = source else {
                bail!("`sft` demonstrates in a generated world: `world` is missing");
            };
            sft.check()?;
            for phase in &sft.phases {
                phase.habits.check()?;
            }
            if raw.optimizer.clips() {
                bail!("`optimizer.clip_low` and `optimizer.clip_high` are not used by `sft`");
            }
            let config = SftConfig {
                seed: raw.seed,
                rollout: raw.rollout.clone(),
                sft: sft.clone(),
                optimizer: raw.optimizer.clone(),
                evaluation: raw.evaluation.clone(),
                cache_tokens: raw.model.cache_tokens,
            };
            Ok(Task::Sft(SftTask { start, world: world.clone(), config }))
        }
        (training, _) => {
            if training.is_none() {
                refuse_training_keys(raw)?;
            }
            bail!("a run file has one of `training` and `sft`")
        }
    }
}

/// Refuses sections of reinforcement learning in a file that has none.
fn refuse_training_keys(raw: &RawRunConfig) -> Result<()> {
    if raw.algorithm.is_some() || raw.critic.is_some() {
        bail!("`algorithm` and `critic` are used by `training` only, which is missing");
    }
    if !raw.reward.is_empty() || !is_default(&raw.combination) {
        bail!("`reward` and `combination` are used by `training` only, which is missing");
    }
    Ok(())
}

/// Reinforcement learning, with everything that its sections ask of each other.
fn train_task(raw: &RawRunConfig, training: &TrainingSection, model: PathBuf) -> Result<TrainTask> {
    let algorithm = raw.algorithm_or_default();
    algorithm.check()?;
    if raw.algorithm.is_some() && raw.optimizer.clips() {
        bail!(
            "`optimizer.clip_low` and `optimizer.clip_high` are not used with `algorithm`, whose \
             `loss` has its own"
        );
    }
    let critic = critic(raw.critic.as_ref(), &algorithm.advantage)?;
    check_group_size(training, &algorithm.advantage)?;
    training.check()?;
    check_uses(training, &algorithm)?;
    training.check_truncation()?;
    if raw.reward.is_empty() {
        bail!("`training` needs at least one `[reward.<name>]`");
    }
    let rewards = raw.reward.iter().map(|(name, section)| (name.as_str(), section));
    forage_reward::check_rewards(rewards, &raw.combination)?;
    Ok(TrainTask {
        model,
        rewards: raw.reward.clone(),
        combination: raw.combination.clone(),
        config: TrainConfig {
            seed: raw.seed,
            rollout: raw.rollout.clone(),
            training: training.clone(),
            algorithm,
            critic,
            optimizer: raw.optimizer.clone(),
            evaluation: raw.evaluation.clone(),
            alarms: raw.alarms.unwrap_or_default(),
            cache_tokens: raw.model.cache_tokens,
        },
    })
}

/// The critic: there if and only if the estimator needs one.
fn critic(
    section: Option<&CriticSection>,
    advantage: &AdvantageEstimator,
) -> Result<Option<CriticSection>> {
    match (section, advantage.needs_critic()) {
        (None, true) => bail!(
            "`critic` is missing, which `algorithm.advantage` `gae` and `step-gae` need: give \
             `critic.lr`"
        ),
        (Some(_), false) => {
            bail!("`critic` is used by `algorithm.advantage` `gae` and `step-gae` only")
        }
        (Some(critic), true) => {
            critic.check()?;
            Ok(Some(critic.clone()))
        }
        (None, false) => Ok(None),
    }
}

/// Refuses groups of one where trajectories are compared with each other.
fn check_group_size(training: &TrainingSection, advantage: &AdvantageEstimator) -> Result<()> {
    let compares =
        !advantage.needs_critic() && !matches!(advantage, AdvantageEstimator::ReinforcePlusPlus(_));
    if training.group_size < 2 && (compares || training.extra_groups > 0) {
        bail!("`training.group_size` must be 2 or more: a group of one has no advantage");
    }
    Ok(())
}

/// Refuses keys that the algorithm would not use.
fn check_uses(training: &TrainingSection, algorithm: &AlgorithmConfig) -> Result<()> {
    if training.reference_every.is_some() && algorithm.kl.is_none() {
        bail!("`training.reference_every` is used by `algorithm.kl` only, which is missing");
    }
    if algorithm.llds.is_some() && training.n_updates() < 2 {
        return Err(anyhow!(
            "`algorithm.llds` acts from the second update of a step on: raise \
             `training.mini_batches` or `training.epochs`"
        ));
    }
    Ok(())
}

/// Applies an edit `a.b=value`. A value that is no TOML is taken as a string.
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

fn default_device() -> String {
    "cpu".to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_f32(compute: &NumberType) -> bool {
    *compute == NumberType::F32
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
