//! A run file of a synthesis as it stands in TOML, before its sections are told apart.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use forage_retriever::RetrieverConfig;
use forage_rollout::RolloutConfig;
use forage_synthesis::feedback_loop::FeedbackLoopConfig;
use forage_synthesis::graph_generator::GraphGeneratorConfig;
use forage_synthesis::language_model::{
    ChatAgentConfig, ChatGeneratorConfig, ChatJudgeConfig, ModelGeneratorConfig,
};
use forage_world::WorldConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::section::{
    AgentModel, AgentSection, CorpusSection, FileCorpus, GeneratorSection, JudgeSection,
    PluginJudgeSection, QuestionSection, SynthesisConfig, default_device,
};

/// Run file of `forage synthesize`, as it stands in TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    name: String,
    seed: u64,
    #[serde(default = "default_device")]
    device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    world: Option<WorldConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    corpus: Option<RawCorpus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retriever: Option<RetrieverConfig>,
    synthesis: FeedbackLoopConfig,
    generator: RawGenerator,
    agent: RawAgent,
    judge: RawJudge,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollout: Option<RolloutConfig>,
    #[serde(default)]
    questions: QuestionSection,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCorpus {
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "GeneratorSection", default, deny_unknown_fields)]
struct RawGenerator {
    #[serde(skip_serializing_if = "Option::is_none")]
    walker: Option<GraphGeneratorConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat: Option<ChatGeneratorConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelGeneratorConfig>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename = "AgentSection", default, deny_unknown_fields)]
struct RawAgent {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<AgentModel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat: Option<ChatAgentConfig>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename = "JudgeSection", deny_unknown_fields)]
struct RawJudge {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    config: Map<String, Value>,
    #[serde(default = "default_least")]
    least: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chat: Option<ChatJudgeConfig>,
}

const fn default_least() -> f64 {
    1.0
}

impl RawConfig {
    /// Settings that a journal is resumed with only: all but those of the number of items, of how
    /// many run at once or in a batch, of the budget, of filters and splits, and of the connection
    /// to servers.
    pub(super) fn identity(&self) -> Result<Value> {
        let mut value = serde_json::to_value(self)?;
        let top = value.as_object_mut().ok_or_else(|| anyhow!("a run file is a table"))?;
        for key in ["name", "questions", "device"] {
            top.remove(key);
        }
        if let Some(synthesis) = top.get_mut("synthesis").and_then(Value::as_object_mut) {
            for key in ["items", "keep", "in_flight", "limits", "min_steps"] {
                synthesis.remove(key);
            }
        }
        let ours = top.get_mut("generator").and_then(|it| it.pointer_mut("/model"));
        if let Some(ours) = ours.and_then(Value::as_object_mut) {
            ours.remove("batch");
        }
        for part in ["generator", "agent", "judge"] {
            let server = top.get_mut(part).and_then(|it| it.pointer_mut("/chat/server"));
            if let Some(server) = server.and_then(Value::as_object_mut) {
                server.retain(|key, _| {
                    ["model", "max_tokens", "top_p", "extra"].contains(&key.as_str())
                });
            }
        }
        Ok(value)
    }

    /// Sections, each as the one kind that it is.
    pub(super) fn typed(self) -> Result<SynthesisConfig> {
        let Self { name, seed, device, synthesis, questions, .. } = self;
        Ok(SynthesisConfig {
            name,
            seed,
            device,
            corpus: corpus(self.world, self.corpus, self.retriever)?,
            synthesis,
            generator: self.generator.typed()?,
            agent: self.agent.typed(self.rollout)?,
            judge: self.judge.typed()?,
            questions,
        })
    }
}

impl SynthesisConfig {
    /// Parses the text of a run file, without checking its values.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str::<RawConfig>(text)?.typed()
    }
}

fn corpus(
    world: Option<WorldConfig>,
    corpus: Option<RawCorpus>,
    retriever: Option<RetrieverConfig>,
) -> Result<CorpusSection> {
    Ok(match (world, corpus, retriever) {
        (Some(_), None, Some(_)) => bail!("`world` makes its own index: drop `retriever`"),
        (Some(world), None, None) => CorpusSection::World(world),
        (None, Some(RawCorpus { files }), retriever) => {
            CorpusSection::Files(Box::new(FileCorpus { files, retriever }))
        }
        _ => bail!("a synthesis wants one of `world` and `corpus`"),
    })
}

impl RawGenerator {
    fn typed(self) -> Result<GeneratorSection> {
        Ok(match (self.walker, self.chat, self.model) {
            (Some(walker), None, None) => GeneratorSection::Walker(walker),
            (None, Some(chat), None) => GeneratorSection::Chat(Box::new(chat)),
            (None, None, Some(model)) => GeneratorSection::Model(model),
            _ => bail!("`generator` wants one of `walker`, `chat` and `model`"),
        })
    }
}

impl RawAgent {
    fn typed(self, rollout: Option<RolloutConfig>) -> Result<AgentSection> {
        Ok(match (self.model, self.chat, rollout) {
            (Some(model), None, Some(rollout)) => {
                AgentSection::Model { model, rollout: Box::new(rollout) }
            }
            (Some(_), None, None) => bail!("`agent.model` plays by `rollout`, which is missing"),
            (None, Some(_), Some(_)) => bail!("`rollout` is used by `agent.model` only"),
            (None, Some(chat), None) => AgentSection::Chat(Box::new(chat)),
            _ => bail!("`agent` wants one of `model` and `chat`"),
        })
    }
}

impl RawJudge {
    fn typed(self) -> Result<JudgeSection> {
        let Self { plugin, config, least, chat } = self;
        Ok(match (plugin, chat) {
            (Some(plugin), None) => {
                JudgeSection::Plugin(PluginJudgeSection { plugin, config, least })
            }
            (None, Some(_)) if !config.is_empty() => {
                bail!("`judge.config` is used by `judge.plugin` only")
            }
            (None, Some(_)) if least.to_bits() != default_least().to_bits() => {
                bail!("`judge.least` is used by `judge.plugin` only")
            }
            (None, Some(chat)) => JudgeSection::Chat(Box::new(chat)),
            _ => bail!("`judge` wants one of `plugin` and `chat`"),
        })
    }
}
