//! The run file of a synthesis: one TOML file that determines its questions.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::raw::RawConfig;
use super::section::SynthesisConfig;
use crate::exit_code::unwritable;
use crate::exit_code::{Code, Failure};
use crate::run_file::set;
use crate::text_file;

/// Run file of a synthesis with its text.
#[derive(Debug, Clone)]
pub struct SynthesisFile {
    /// Its configuration.
    pub config: SynthesisConfig,
    /// Its text, after all edits.
    pub text: String,
    /// Its path.
    pub path: PathBuf,
    /// Settings that a journal is resumed with only.
    pub identity: Value,
}

impl SynthesisFile {
    /// Whether a run file is one of a synthesis. A file that cannot be parsed is none: its errors
    /// are those of a training run.
    pub fn is_one(path: &Path) -> bool {
        let text = text_file::read(path).unwrap_or_default();
        text.parse::<toml_edit::DocumentMut>().is_ok_and(|it| it.contains_key("synthesis"))
    }

    /// Reads a run file and applies `KEY=VALUE` edits.
    pub fn read(path: &Path, edits: &[String]) -> Result<Self> {
        let text = text_file::read(path).with_context(|| {
            Failure::new(Code::Input, format!("run file `{}` cannot be read", path.display()))
                .hint("name a run file, for example `configs/synthesize.toml`")
        })?;
        let wrong = || {
            Failure::new(Code::Usage, format!("run file `{}` is wrong", path.display()))
                .hint("docs/configuration.md lists every key of a synthesis")
        };
        let mut document: toml_edit::DocumentMut = text.parse().with_context(wrong)?;
        for edit in edits {
            set(&mut document, edit)?;
        }
        let text = document.to_string();
        let raw: RawConfig = toml::from_str(&text).with_context(wrong)?;
        let identity = raw.identity()?;
        let config = raw.typed().with_context(wrong)?;
        config.check().with_context(wrong)?;
        Ok(Self { config, text, path: path.to_owned(), identity })
    }

    /// Configurations of a synthesis and of the one that it is resumed with, with the defaults of
    /// their keys; `None` where one of them is no such configuration.
    pub fn effective_configurations(before: &str, now: &str) -> Option<[String; 2]> {
        let effective = |text: &str| -> Option<String> {
            toml::to_string(&toml::from_str::<RawConfig>(text).ok()?).ok()
        };
        Some([effective(before)?, effective(now)?])
    }

    /// Replaces the configuration of a run's folder, if the journal depends on nothing in which the
    /// two differ. Any other is left for the folder to refuse.
    pub fn replace_in(&self, folder: &Path) -> Result<()> {
        let path = folder.join("config.toml");
        let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
        let Ok(before) = toml::from_str::<RawConfig>(&text) else { return Ok(()) };
        if text != self.text && before.identity()? == self.identity {
            std::fs::write(&path, &self.text).with_context(|| unwritable(&path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use forage_synthesis::feedback_loop::FeedbackLoopConfig;

    use super::*;
    use crate::synthesize::section::{AgentSection, GeneratorSection, JudgeSection};

    fn recipe(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
    }

    #[test]
    fn the_recipe_of_the_paper_has_its_values() {
        let config = SynthesisConfig::parse(&recipe("sage.toml")).unwrap();
        let FeedbackLoopConfig { in_flight, limits, .. } = config.synthesis;
        let published = FeedbackLoopConfig { in_flight, limits, ..FeedbackLoopConfig::default() };
        assert_eq!(config.synthesis, published);
        assert!(limits.money.is_some(), "a recipe that costs money says how much");
        let (GeneratorSection::Chat(generator), AgentSection::Chat(agent)) =
            (config.generator, config.agent)
        else {
            panic!("generator and agent of the paper are chat models");
        };
        assert_eq!((generator.searches, generator.hits), (20, 3));
        assert_eq!((agent.turns, agent.hits), (10, 3));
        assert_eq!((generator.temperature, generator.server.top_p), (1.0, Some(0.95)));
        assert!(matches!(config.judge, JudgeSection::Chat(_)));
    }

    #[test]
    fn a_run_may_go_on_with_more_but_not_with_others() {
        let text = recipe("synthesize.toml");
        let identity = |text: &str| {
            SynthesisConfig::parse(text).unwrap().check().unwrap();
            toml::from_str::<RawConfig>(text).unwrap().identity().unwrap()
        };
        let before = identity(&text);
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
            assert_eq!(identity(&text.replace(from, to)) == before, same, "{to}");
        }
    }

    #[test]
    fn sections_that_exclude_each_other_are_told_apart() {
        let text = recipe("synthesize.toml");
        let chat = "[generator.chat.server]\nurl = \"http://h/v1\"\nmodel = \"m\"\n";
        for (from, to, expected) in [
            ("[world]", "[retriever]\nindex = \"i\"\n\n[world]", "drop `retriever`"),
            ("[world]", "[corpus]\nfiles = []\n\n[world]", "one of `world` and `corpus`"),
            ("[generator.walker]\n", &format!("{chat}[generator.walker]\n"), "one of `walker`"),
            ("[agent.model]\npath = \"assets/tiny-agent\"", "[agent]", "one of `model` and `chat`"),
            ("plugin = \"exact-match\"", "", "`judge` wants one of `plugin` and `chat`"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = SynthesisConfig::parse(&text.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
