//! What can fail before the first call of a synthesis, without making it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use forage_retriever::SearchEngine;
use forage_synthesis::chat::ChatConfig;
use forage_synthesis::sage::Walker;

use super::ground::Ground;
use super::parts::Common;
use super::{SynthesisConfig, SynthesisFile, avoided};
use crate::model::{self, device};
use crate::prompt;

/// Opens everything that a run file names and says what it found, a line each. Servers are not
/// asked. What is written goes into `folder`.
pub fn survey(file: &SynthesisFile, folder: &Path) -> Result<Vec<String>> {
    let config = &file.config;
    let mut lines = Vec::new();
    let avoided = avoided(config)?;
    let common = Common::new(config);

    let ground = Ground::open(config)?;
    let engine = ground.engine(config, &folder.join("index"))?;
    let walker = config.generator.walker.as_ref().map(|it| ground.walker(it)).transpose()?;
    let facts = walker.as_ref().map(Walker::n_facts);
    let documents = ground.documents(walker.as_ref())?;
    lines.push(format!("corpus: {} passages", ground.passages.len()));
    lines.push(searched(config, &engine));

    let retriever = Arc::<SearchEngine>::clone(&engine);
    common.generator(config, walker, retriever)?;
    let generator = &config.generator;
    lines.push(match (facts, &generator.chat, &generator.model) {
        (Some(facts), ..) => {
            format!("generator: a walk over {facts} facts of {} passages", documents.len())
        }
        (None, Some(chat), _) => format!("generator: {}", server(&chat.server)),
        (None, None, Some(ours)) => format!("generator: the model `{}`", ours.path.display()),
        (None, None, None) => unreachable!("a checked run file has a generator"),
    });
    lines.push(match (&config.agent.model, &config.agent.chat) {
        (Some(ours), _) => {
            let (decoder, tokenizer) = model::open(&ours.path, &device(&config.device)?)?;
            let rollout = config.rollout.as_ref().expect("checked: a model plays by `rollout`");
            prompt::check(rollout, &tokenizer, &ours.path)?;
            format!(
                "agent: {} weights, {} tokens, in {}",
                decoder.config().n_parameters(),
                tokenizer.vocab_size(),
                ours.path.display()
            )
        }
        (None, Some(chat)) => {
            common.client(&chat.server)?;
            format!("agent: {}", server(&chat.server))
        }
        (None, None) => unreachable!("a checked run file has an agent"),
    });
    common.judge(file, &folder.join("plugins"))?;
    lines.push(match (&config.judge.plugin, &config.judge.chat) {
        (Some(plugin), _) => {
            format!("judge: the plugin {plugin}, right from {}", config.judge.least)
        }
        (None, Some(chat)) => format!("judge: {}", server(&chat.server)),
        (None, None) => unreachable!("a checked run file has a judge"),
    });
    if !config.questions.avoid.is_empty() {
        lines.push(format!("avoided: {} questions", avoided.len()));
    }
    lines.push(most(config));
    Ok(lines)
}

fn searched(config: &SynthesisConfig, engine: &SearchEngine) -> String {
    match (&config.retriever, engine.manifest()) {
        (None, _) => "search: BM25, an index is made".to_owned(),
        (Some(_), Some(it)) => {
            format!("search: {} passages, analyzer {}", it.passages, it.analyzer)
        }
        (Some(_), None) => "search: a server; it was not asked".to_owned(),
    }
}

fn server(config: &ChatConfig) -> String {
    format!("{} at {}; it was not asked", config.model, config.url)
}

/// What a run may come to.
fn most(config: &SynthesisConfig) -> String {
    let it = &config.synthesis;
    let of_an_item = (it.rounds as u64).saturating_add(1).saturating_mul(it.tries as u64);
    let attempts = it.items.saturating_mul(of_an_item);
    format!(
        "{} items with S from {} to {}: {attempts} attempts of the agent at most",
        it.items, it.steps_from, it.steps_to
    )
}
