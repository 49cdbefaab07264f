//! The run file of a synthesis: one TOML file that says everything its questions depend on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use forage_retriever::RetrieverConfig;
use forage_rollout::RolloutConfig;
use forage_synthesis::Entities;
use forage_synthesis::chat::ChatConfig;
use forage_synthesis::language_model::{
    ChatAgentConfig, ChatGeneratorConfig, ChatJudgeConfig, ModelGeneratorConfig,
};
use forage_synthesis::sage::{Limits, SageConfig, Shares, WalkerConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::exit_code::unwritable;
use crate::exit_code::{Code, Failure};
use crate::run_file::{is_default, set};

/// A run file of `forage synthesize`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthesisConfig {
    /// Name of the run; its folder is `runs/<name>` unless `--out` says otherwise.
    pub name: String,
    /// Every random number of the run follows from it.
    pub seed: u64,
    /// What a model of our own computes on.
    #[serde(default = "default_device")]
    pub device: String,
    /// A generated corpus; excludes `corpus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub world: Option<SynthesisWorld>,
    /// A corpus of files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus: Option<CorpusSection>,
    /// The search engine; an index of the corpus is made where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retriever: Option<RetrieverConfig>,
    /// The loop.
    pub synthesis: SageConfig,
    /// Who makes pairs: one of the three.
    pub generator: GeneratorSection,
    /// Who tries them: one of the two.
    pub agent: AgentSection,
    /// Who says whether an answer is right: one of the two.
    pub judge: JudgeSection,
    /// How `agent.model` plays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutConfig>,
    /// Which pairs become questions of which split.
    #[serde(default)]
    pub questions: QuestionSection,
}

/// A generated world, whose splits are those of the questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthesisWorld {
    /// Entities of each split.
    pub entities: Entities,
    /// Share of names that are longer than those of other worlds.
    #[serde(default)]
    pub long_names: f64,
    /// Share of links beside which a passage tells a fact of what they lead to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub asides: f64,
}

/// A corpus of files, which is read into memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusSection {
    /// Files of JSON lines, or folders of them.
    pub files: Vec<PathBuf>,
}

/// Who makes pairs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GeneratorSection {
    /// A walk over the facts of the corpus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub walker: Option<WalkerConfig>,
    /// A language model behind a server, which searches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatGeneratorConfig>,
    /// A model of our own, which searches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelGeneratorConfig>,
}

/// Who tries pairs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSection {
    /// A model of our own, which plays as in training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<AgentModel>,
    /// A language model behind a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatAgentConfig>,
}

/// A model of our own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentModel {
    /// Its folder.
    pub path: PathBuf,
    /// Sampling temperature.
    #[serde(default = "default_temperature")]
    pub temperature: f32,
}

/// Who says whether an answer is right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeSection {
    /// A reward plugin: `exact-match`, `token-f1`, `llm-judge`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Passed to the plugin.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
    /// The least reward that is right.
    #[serde(default = "default_least")]
    pub least: f64,
    /// A language model behind a server, with the prompt of SAGE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatJudgeConfig>,
}

/// Which pairs become questions of which split.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuestionSection {
    /// Shares of the dev and test questions; a generated world has splits of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<Shares>,
    /// Question files whose questions are to be avoided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avoid: Vec<PathBuf>,
    /// How often a question is tried without searching; one right answer drops it.
    pub guesses: usize,
}

fn default_device() -> String {
    "cpu".to_owned()
}

const fn default_temperature() -> f32 {
    1.0
}

const fn default_least() -> f64 {
    1.0
}

/// A run file with its text after all edits.
#[derive(Debug, Clone)]
pub struct SynthesisFile {
    /// What it says.
    pub config: SynthesisConfig,
    /// The text that was read.
    pub text: String,
    /// Where it was.
    pub path: PathBuf,
}

impl SynthesisFile {
    /// Whether a run file is one of a synthesis. What cannot be read is none: whoever reads it as
    /// something else says what is wrong.
    pub fn is_one(path: &Path) -> bool {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.parse::<toml_edit::DocumentMut>().is_ok_and(|it| it.contains_key("synthesis"))
    }

    /// Reads a run file and applies `KEY=VALUE` edits.
    pub fn read(path: &Path, edits: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            Failure::new(Code::Input, format!("run file `{}` cannot be read", path.display()))
                .hint("name a run file, for example `configs/synthesize.toml`")
        })?;
        let wrong = || {
            Failure::new(Code::Usage, format!("run file `{}` is wrong", path.display()))
                .hint("`configs/sage.toml` has every key of a synthesis")
        };
        let mut document: toml_edit::DocumentMut = text.parse().with_context(wrong)?;
        for edit in edits {
            set(&mut document, edit)?;
        }
        let text = document.to_string();
        let config: SynthesisConfig = toml::from_str(&text).with_context(wrong)?;
        config.check().with_context(wrong)?;
        Ok(Self { config, text, path: path.to_owned() })
    }

    /// Takes the place of the configuration of a run's folder, where the two differ in nothing that
    /// the journal depends on. Others are left for the folder to refuse.
    pub fn replace_in(&self, folder: &Path) -> Result<()> {
        let path = folder.join("config.toml");
        let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
        let Ok(before) = toml::from_str::<SynthesisConfig>(&text) else { return Ok(()) };
        if text != self.text && before.identity()? == self.config.identity()? {
            std::fs::write(&path, &self.text).with_context(|| unwritable(&path))?;
        }
        Ok(())
    }
}

impl SynthesisConfig {
    /// Checks what the types cannot say.
    fn check(&self) -> Result<()> {
        self.synthesis.check()?;
        match (&self.world, &self.corpus) {
            (Some(_), None) if self.retriever.is_some() => {
                bail!("`world` makes its own index: drop `retriever`")
            }
            (Some(_), None) if self.questions.shares.is_some() => {
                bail!("`world` has its own splits: drop `questions.shares`")
            }
            (None, Some(corpus)) if corpus.files.is_empty() => bail!("`corpus.files` is empty"),
            (Some(_), None) | (None, Some(_)) => {}
            _ => bail!("a synthesis wants one of `world` and `corpus`"),
        }
        if let Some(Shares { dev, test }) = self.questions.shares
            && !(dev >= 0.0 && test >= 0.0 && dev + test < 1.0)
        {
            bail!("`questions.shares` wants shares that leave something to train on")
        }
        match (&self.generator.walker, &self.generator.chat, &self.generator.model) {
            (Some(walker), None, None) => walker.check()?,
            (None, Some(chat), None) => chat.server.check().context("`generator.chat`")?,
            (None, None, Some(model)) => model.check()?,
            _ => bail!("`generator` wants one of `walker`, `chat` and `model`"),
        }
        match (&self.agent.model, &self.agent.chat, &self.rollout) {
            (Some(model), None, Some(rollout)) => {
                rollout.validate()?;
                if !(model.temperature.is_finite() && model.temperature > 0.0) {
                    bail!("`agent.model.temperature` must be positive")
                }
            }
            (Some(_), None, None) => bail!("`agent.model` plays by `rollout`, which is missing"),
            (None, Some(_), Some(_)) => bail!("`rollout` is used by `agent.model` only"),
            (None, Some(chat), None) => chat.server.check().context("`agent.chat`")?,
            _ => bail!("`agent` wants one of `model` and `chat`"),
        }
        match (&self.judge.plugin, &self.judge.chat) {
            (Some(_), None) if !self.judge.least.is_finite() => {
                bail!("`judge.least` must be a number")
            }
            (Some(_), None) => {}
            (None, Some(_)) if !self.judge.config.is_empty() => {
                bail!("`judge.config` is used by `judge.plugin` only")
            }
            (None, Some(_)) if self.judge.least.to_bits() != default_least().to_bits() => {
                bail!("`judge.least` is used by `judge.plugin` only")
            }
            (None, Some(chat)) => chat.server.check().context("`judge.chat`")?,
            _ => bail!("`judge` wants one of `plugin` and `chat`"),
        }
        let Limits { tokens, money } = self.synthesis.limits;
        let asks_servers = self.servers().next().is_some();
        if money.is_some() && !asks_servers {
            bail!("`synthesis.limits.money` holds servers to a budget, and none is asked")
        }
        if tokens.is_some() && !asks_servers && self.generator.model.is_none() {
            bail!("`synthesis.limits.tokens` holds language models to a budget, and none is asked")
        }
        let computes = self.agent.model.is_some()
            || self.generator.model.is_some()
            || self.retriever.as_ref().is_some_and(|it| it.encoder().is_some());
        if !computes && self.device != default_device() {
            bail!("`device` is used by models of our own, and there is none")
        }
        Ok(())
    }

    /// The servers that are asked.
    fn servers(&self) -> impl Iterator<Item = &ChatConfig> {
        let generator = self.generator.chat.as_ref().map(|it| &it.server);
        let agent = self.agent.chat.as_ref().map(|it| &it.server);
        let judge = self.judge.chat.as_ref().map(|it| &it.server);
        [generator, agent, judge].into_iter().flatten()
    }

    /// What a journal must not be resumed without: everything but how many items there are, how
    /// many at once or in a batch, what they may cost, what becomes of them, and how servers are reached.
    pub fn identity(&self) -> Result<Value> {
        let mut value = serde_json::to_value(self)?;
        let top = value.as_object_mut().ok_or_else(|| anyhow!("a run file is a table"))?;
        for key in ["name", "questions", "device"] {
            top.remove(key);
        }
        if let Some(synthesis) = top.get_mut("synthesis").and_then(Value::as_object_mut) {
            for key in ["items", "in_flight", "limits", "min_steps"] {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
    }

    #[test]
    fn the_recipe_of_the_paper_has_its_values() {
        let config: SynthesisConfig = toml::from_str(&recipe("sage.toml")).unwrap();
        let SageConfig { in_flight, limits, .. } = config.synthesis;
        assert_eq!(config.synthesis, SageConfig { in_flight, limits, ..SageConfig::default() });
        assert!(limits.money.is_some(), "a recipe that costs money says how much");
        let (generator, agent) = (config.generator.chat.unwrap(), config.agent.chat.unwrap());
        assert_eq!((generator.searches, generator.hits), (20, 3));
        assert_eq!((agent.turns, agent.hits), (10, 3));
        assert_eq!((generator.temperature, generator.server.top_p), (1.0, Some(0.95)));
        assert!(config.judge.chat.is_some());
    }

    #[test]
    fn a_run_may_go_on_with_more_but_not_with_others() {
        let text = recipe("synthesize.toml");
        let read = |text: &str| -> SynthesisConfig {
            let config: SynthesisConfig = toml::from_str(text).unwrap();
            config.check().unwrap();
            config
        };
        let identity = read(&text).identity().unwrap();
        for (from, to, same) in [
            ("items = 200", "items = 300", true),
            ("in_flight = 16", "in_flight = 4", true),
            ("guesses = 1", "guesses = 2", true),
            ("seed = 1", "seed = 2", false),
            ("tries = 4", "tries = 5", false),
            ("rounds = 3", "rounds = 2", false),
            ("joins = 0.1", "joins = 0.2", false),
            ("max_searches = 8", "max_searches = 4", false),
        ] {
            assert!(text.contains(from), "{from}");
            let changed = read(&text.replace(from, to)).identity().unwrap();
            assert_eq!(changed == identity, same, "{to}");
        }
    }
}
