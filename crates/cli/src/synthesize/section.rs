//! Configuration of a synthesis.
//!
//! [`SynthesisConfig`] has one value for each choice: a corpus, a generator, an agent and a judge.
//! How they stand in TOML, and which keys exclude each other, is in `raw.rs`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use forage_retriever::RetrieverConfig;
use forage_rollout::RolloutConfig;
use forage_synthesis::chat::{BudgetLimits, ChatConfig};
use forage_synthesis::feedback_loop::{FeedbackLoopConfig, SplitShares};
use forage_synthesis::graph_generator::GraphGeneratorConfig;
use forage_synthesis::language_model::{
    ChatAgentConfig, ChatGeneratorConfig, ChatJudgeConfig, ModelGeneratorConfig,
};
use forage_world::WorldConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Configuration of a synthesis: the run file of `forage synthesize`.
#[derive(Debug, Clone, PartialEq)]
pub struct SynthesisConfig {
    /// Name of the run. Its folder is `runs/<name>` unless `--out` names another.
    pub name: String,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Device of local models: `cpu`, `cuda:0`, … Default: `cpu`.
    pub device: String,
    /// Corpus: `[world]`, or `[corpus]` with or without `[retriever]`.
    pub corpus: CorpusSection,
    /// Feedback loop.
    pub synthesis: FeedbackLoopConfig,
    /// Question generator.
    pub generator: GeneratorSection,
    /// Search agent.
    pub agent: AgentSection,
    /// Judge of answers.
    pub judge: JudgeSection,
    /// Filters and splits of the questions.
    pub questions: QuestionSection,
}

/// Corpus of a synthesis.
#[derive(Debug, Clone, PartialEq)]
pub enum CorpusSection {
    /// A generated world, whose splits are those of the questions. It gets an index of its own.
    World(WorldConfig),
    /// Files.
    Files(Box<FileCorpus>),
}

/// Corpus of files, which is read into memory.
#[derive(Debug, Clone, PartialEq)]
pub struct FileCorpus {
    /// Files of JSON lines, or folders of them.
    pub files: Vec<PathBuf>,
    /// Search engine. Default: BM25 over an index that is made of the corpus.
    pub retriever: Option<RetrieverConfig>,
}

/// Question generator: `[generator.walker]`, `[generator.chat]` or `[generator.model]`.
#[derive(Debug, Clone, PartialEq)]
pub enum GeneratorSection {
    /// Random walks over the facts of the corpus.
    Walker(GraphGeneratorConfig),
    /// Chat model behind a server, which searches.
    Chat(Box<ChatGeneratorConfig>),
    /// Local model, which searches.
    Model(ModelGeneratorConfig),
}

/// Search agent: `[agent.model]` or `[agent.chat]`.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentSection {
    /// Local model, with the agent loop of training.
    Model {
        /// The model.
        model: AgentModel,
        /// Agent loop: `[rollout]`.
        rollout: Box<RolloutConfig>,
    },
    /// Chat model behind a server.
    Chat(Box<ChatAgentConfig>),
}

/// Local model as the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentModel {
    /// Folder of the model.
    pub path: PathBuf,
    /// Sampling temperature. Default: 1.
    #[serde(default = "default_temperature")]
    pub temperature: f32,
}

/// Judge of answers: a plugin or `[judge.chat]`.
#[derive(Debug, Clone, PartialEq)]
pub enum JudgeSection {
    /// Reward plugin.
    Plugin(PluginJudgeSection),
    /// Chat model behind a server, with the prompt of SAGE.
    Chat(Box<ChatJudgeConfig>),
}

/// Reward plugin as the judge.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginJudgeSection {
    /// Name of the plugin: `exact-match`, `token-f1`, `llm-judge`, …
    pub plugin: String,
    /// Configuration of the plugin. Default: empty.
    pub config: Map<String, Value>,
    /// Least reward of a right answer. Default: 1.
    pub least: f64,
}

/// Filters and splits of the questions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuestionSection {
    /// Shares of the dev and test questions; a generated world has splits of its own. Default: all
    /// questions are for training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<SplitShares>,
    /// Question files for decontamination: near-duplicates of their questions are dropped. Default:
    /// none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<PathBuf>,
    /// Closed-book attempts per question; one right answer drops it. Default: 0.
    pub guesses: usize,
}

const fn default_temperature() -> f32 {
    1.0
}

/// Device of local models where a run file names none.
pub(super) fn default_device() -> String {
    "cpu".to_owned()
}

impl SynthesisConfig {
    /// Checks that every value can be used.
    pub(super) fn check(&self) -> Result<()> {
        self.synthesis.check()?;
        self.check_corpus()?;
        match &self.generator {
            GeneratorSection::Walker(walker) => walker.check()?,
            GeneratorSection::Chat(chat) => chat.server.check().context("`generator.chat`")?,
            GeneratorSection::Model(model) => model.check()?,
        }
        match &self.agent {
            AgentSection::Model { model, rollout } => {
                rollout.validate()?;
                if !(model.temperature.is_finite() && model.temperature > 0.0) {
                    bail!("`agent.model.temperature` must be positive")
                }
            }
            AgentSection::Chat(chat) => chat.server.check().context("`agent.chat`")?,
        }
        match &self.judge {
            JudgeSection::Plugin(plugin) if !plugin.least.is_finite() => {
                bail!("`judge.least` must be a number")
            }
            JudgeSection::Plugin(_) => {}
            JudgeSection::Chat(chat) => chat.server.check().context("`judge.chat`")?,
        }
        self.check_limits()?;
        if !self.computes() && self.device != default_device() {
            bail!("`device` is used by models of our own, and there is none")
        }
        Ok(())
    }

    fn check_corpus(&self) -> Result<()> {
        match &self.corpus {
            CorpusSection::World(_) if self.questions.shares.is_some() => {
                bail!("`world` has its own splits: drop `questions.shares`")
            }
            CorpusSection::Files(corpus) if corpus.files.is_empty() => {
                bail!("`corpus.files` is empty")
            }
            CorpusSection::World(_) | CorpusSection::Files(_) => {}
        }
        if let Some(SplitShares { dev, test }) = self.questions.shares
            && !(dev >= 0.0 && test >= 0.0 && dev + test < 1.0)
        {
            bail!("`questions.shares` wants shares that leave something to train on")
        }
        Ok(())
    }

    /// Refuses limits that nothing would spend from.
    fn check_limits(&self) -> Result<()> {
        let BudgetLimits { tokens, money } = self.synthesis.limits;
        let asks_servers = self.servers().next().is_some();
        if money.is_some() && !asks_servers {
            bail!("`synthesis.limits.money` holds servers to a budget, and none is asked")
        }
        let has_local = matches!(self.generator, GeneratorSection::Model(_));
        if tokens.is_some() && !asks_servers && !has_local {
            bail!("`synthesis.limits.tokens` holds language models to a budget, and none is asked")
        }
        Ok(())
    }

    /// Whether a local model computes on `device`.
    fn computes(&self) -> bool {
        matches!(self.agent, AgentSection::Model { .. })
            || matches!(self.generator, GeneratorSection::Model(_))
            || self.retriever().is_some_and(|retriever| retriever.encoder().is_some())
    }

    /// Search engine of the run file, where it names one.
    pub fn retriever(&self) -> Option<&RetrieverConfig> {
        match &self.corpus {
            CorpusSection::World(_) => None,
            CorpusSection::Files(corpus) => corpus.retriever.as_ref(),
        }
    }

    /// The servers of all chat models.
    fn servers(&self) -> impl Iterator<Item = &ChatConfig> {
        let generator = match &self.generator {
            GeneratorSection::Chat(chat) => Some(&chat.server),
            GeneratorSection::Walker(_) | GeneratorSection::Model(_) => None,
        };
        let agent = match &self.agent {
            AgentSection::Chat(chat) => Some(&chat.server),
            AgentSection::Model { .. } => None,
        };
        let judge = match &self.judge {
            JudgeSection::Chat(chat) => Some(&chat.server),
            JudgeSection::Plugin(_) => None,
        };
        [generator, agent, judge].into_iter().flatten()
    }
}
