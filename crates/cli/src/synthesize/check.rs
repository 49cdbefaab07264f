//! Dry run of a synthesis: everything that can fail before the first call.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use forage_retriever::SearchEngine;
use forage_synthesis::chat::ChatConfig;
use forage_synthesis::feedback_loop::FeedbackLoopConfig;

use super::ground::{CorpusGenerator, SynthesisCorpus};
use super::parts::SynthesisContext;
use super::section::{AgentSection, JudgeSection};
use super::{SynthesisConfig, SynthesisFile, avoided};
use crate::model::{self, device};
use crate::prompt;

/// Opens everything that a run file names, and describes it in a line each. Servers are not called.
/// Files are written into `folder` only.
pub fn survey(file: &SynthesisFile, folder: &Path) -> Result<Vec<String>> {
    let config = &file.config;
    let mut lines = Vec::new();
    let avoided = avoided(config)?;
    let context = SynthesisContext::new(config);

    let corpus = SynthesisCorpus::open(config)?;
    let engine = corpus.engine(config, &folder.join("index"))?;
    let generator = corpus.generator(config)?;
    let documents = corpus.documents(&generator)?;
    lines.push(format!("corpus: {} passages", corpus.passages.len()));
    lines.push(searched(config, &engine));

    let retriever = Arc::<SearchEngine>::clone(&engine);
    let line = match &generator {
        CorpusGenerator::Graph(graph) => {
            let n_facts = graph.n_facts();
            format!("generator: a walk over {n_facts} facts of {} passages", documents.len())
        }
        CorpusGenerator::Chat(chat) => format!("generator: {}", server(&chat.server)),
        CorpusGenerator::Model(ours) => format!("generator: the model `{}`", ours.path.display()),
    };
    context.generator(generator, retriever, &config.device)?;
    lines.push(line);
    lines.push(match &config.agent {
        AgentSection::Model { model: ours, rollout } => {
            let (decoder, tokenizer) = model::open(&ours.path, &device(&config.device)?)?;
            prompt::check(rollout, &tokenizer, &ours.path)?;
            format!(
                "agent: {} weights, {} tokens, in {}",
                decoder.config().n_parameters(),
                tokenizer.vocab_size(),
                ours.path.display()
            )
        }
        AgentSection::Chat(chat) => {
            context.client(&chat.server)?;
            format!("agent: {}", server(&chat.server))
        }
    });
    context.judge(file, &folder.join("plugins"))?;
    lines.push(match &config.judge {
        JudgeSection::Plugin(judge) => {
            format!("judge: the plugin {}, right from {}", judge.plugin, judge.least)
        }
        JudgeSection::Chat(chat) => format!("judge: {}", server(&chat.server)),
    });
    if !config.questions.avoid.is_empty() {
        lines.push(format!("avoided: {} questions", avoided.len()));
    }
    lines.push(most(config));
    Ok(lines)
}

fn searched(config: &SynthesisConfig, engine: &SearchEngine) -> String {
    match (config.retriever(), engine.manifest()) {
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

/// The most attempts of a run.
fn most(config: &SynthesisConfig) -> String {
    let FeedbackLoopConfig { items, steps_from, steps_to, tries, rounds, .. } = &config.synthesis;
    let of_an_item = (*rounds as u64).saturating_add(1).saturating_mul(*tries as u64);
    let attempts = items.saturating_mul(of_an_item);
    format!(
        "{items} items with S from {steps_from} to {steps_to}: {attempts} attempts of the agent at \
         most"
    )
}
