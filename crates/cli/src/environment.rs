//! Environment of a run: opens its files, or generates its world.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forage_retriever::{
    Analyzer, Bm25, Corpus, EngineConfig, IndexManifest, IndexOptions, SearchOptions, build_index,
};
use forage_training::environment::Environment;
use forage_training::run_folder::{RunFolder, jsonl};
use forage_trajectory::{BoxError, Passage, Question, Retriever};
use forage_world::{Split, World, WorldError, WorldSection};

use crate::exit_code::{Code, Failure, unwritable};
use crate::gold_passages;
use crate::prompt::{PromptBudget, QuestionUse};
use crate::questions::read_questions;
use crate::run_file::{RunConfig, Source};
use crate::search_engine::{open_engine, open_index};

/// Opens the environment of a run: the files of its run file, or its world, which is generated into
/// the run's folder. The manifest is that of the index, where there is one.
pub fn open(config: &RunConfig, run: &RunFolder) -> Result<(Environment, Option<IndexManifest>)> {
    let (splits, retriever) = match &config.source {
        Source::World(section) => {
            let folder = run.path("world");
            if !folder.exists() {
                write_world(&generate(section, config.seed)?, section, config.seed, &folder)?;
            }
            let index = open_index(&folder.join("index"), &SearchOptions::default())?;
            let splits =
                ["train", "dev", "test"].map(|split| folder.join(format!("{split}.jsonl")));
            (splits, index.into())
        }
        Source::Data { data, retriever } => {
            let splits = [&data.train, &data.dev, &data.test].map(Clone::clone);
            (splits, open_engine(retriever, &config.device)?)
        }
    };
    let manifest = retriever.manifest().cloned();
    let [train, dev, test] = read_splits(&config.source, &splits)?;
    let environment = Environment { train, dev, test, retriever: Box::new(retriever) };
    Ok((environment, manifest))
}

/// Questions of the training, dev and test splits.
fn read_splits(source: &Source, paths: &[PathBuf; 3]) -> Result<[Vec<Question>; 3]> {
    let mut splits: [Vec<Question>; 3] = Default::default();
    for (idx, path) in paths.iter().enumerate() {
        // A file of several splits is read, and warned of, once.
        splits[idx] = match paths[..idx].iter().position(|other| other == path) {
            Some(first) => splits[first].clone(),
            None => read_questions(path)?,
        };
    }
    if let Source::Data { retriever, .. } = source {
        gold_passages::fill(splits.iter_mut().flatten(), retriever)?;
    }
    Ok(splits)
}

/// Builds a search engine in memory, for the worlds of a warm start.
pub fn build_retriever(passages: Vec<Passage>) -> Result<Box<dyn Retriever>, BoxError> {
    let options = SearchOptions::default();
    Ok(Box::new(Bm25::in_memory(passages, Analyzer::default(), &options)?))
}

/// Summary of a run file's questions and search engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Preflight {
    /// Corpus, in words.
    pub corpus: String,
    /// Questions of the training, dev and test splits.
    pub questions: [Vec<Question>; 3],
}

impl Preflight {
    /// Checks the prompts of all questions, and leaves out the training questions that cannot be
    /// asked.
    pub fn fit_prompts(&mut self, budget: PromptBudget<'_>) -> Result<()> {
        let [train, dev, test] = &mut self.questions;
        budget.check("train", train, QuestionUse::Training)?;
        budget.check("dev", dev, QuestionUse::Evaluation)?;
        budget.check("test", test, QuestionUse::Evaluation)?;
        budget.retain(train)
    }
}

/// Opens the questions and the search engine of a run file, or generates its world. Writes nothing,
/// so that a run that cannot start leaves no folder.
pub fn preflight(config: &RunConfig) -> Result<Preflight> {
    match &config.source {
        Source::World(section) => {
            let world = generate(section, config.seed)?;
            let splits = questions_of(&world, section, config.seed)?;
            let analyzer = IndexOptions::default().analyzer;
            Ok(Preflight {
                corpus: corpus(world.passages().len() as u64, analyzer.name()),
                questions: splits.map(|(_, questions)| questions),
            })
        }
        Source::Data { data, retriever } => {
            let engine = open_engine(retriever, &config.device)?;
            let paths = [&data.train, &data.dev, &data.test].map(Clone::clone);
            Ok(Preflight {
                corpus: engine.manifest().map_or_else(
                    || corpus_of_server(&retriever.engine),
                    |manifest| corpus(manifest.passages, &manifest.analyzer),
                ),
                questions: read_splits(&config.source, &paths)?,
            })
        }
    }
}

fn corpus_of_server(engine: &EngineConfig) -> String {
    match engine {
        EngineConfig::Web(web) => format!("the web, by {:?}; it was not asked", web.engine),
        server => format!("what `{}` searches; it was not asked", server.location()),
    }
}

fn corpus(passages: u64, analyzer: &str) -> String {
    format!("{passages} passages, analyzer {analyzer}")
}

/// Generates the world of a run file.
pub fn generate(section: &WorldSection, seed: u64) -> Result<World> {
    section.generate(seed).map_err(impossible)
}

/// Writes corpus, questions and index of a world, whole or not at all.
pub fn write_world(world: &World, section: &WorldSection, seed: u64, folder: &Path) -> Result<()> {
    let splits = questions_of(world, section, seed)?;
    let fill = |part: &Path| -> Result<(), BoxError> {
        std::fs::write(part.join("corpus.jsonl"), jsonl(world.passages())?)?;
        for (split, questions) in &splits {
            std::fs::write(part.join(format!("{split}.jsonl")), jsonl(questions)?)?;
        }
        let corpus = Corpus::memory(world.passages().to_vec());
        build_index(corpus, &part.join("index"), &IndexOptions::default(), &|_| {})?;
        Ok(())
    };
    let written = forage_fs::write_folder(folder, fill);
    written.map_err(anyhow::Error::from_boxed).with_context(|| unwritable(folder))
}

/// The questions of a world, by split.
fn questions_of(
    world: &World,
    section: &WorldSection,
    seed: u64,
) -> Result<[(Split, Vec<Question>); 3]> {
    section.questions(world, seed).map_err(impossible)
}

/// A world that cannot be made as the run file asks.
fn impossible(error: WorldError) -> anyhow::Error {
    let failure = Failure::new(Code::Usage, "the world cannot be made")
        .hint("ask for more `world.entities` or for fewer `world.questions`");
    anyhow::Error::new(error).context(failure)
}
