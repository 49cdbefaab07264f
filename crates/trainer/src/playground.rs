//! Where a run plays: the questions, the search engine, and the world they may come from.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use forage_model::{EncoderOptions, TextEncoder};
use forage_retriever::{
    Bm25, Corpus, EncoderConfig, EngineError, IndexOptions, Manifest, RetrieverConfig,
    SearchEngine, SearchOptions, build,
};
use forage_trajectory::{BoxError, Embedder, Question};
use forage_world::{Split, World, WorldError, WorldSection};

use crate::config::RunConfig;
use crate::failure::{Code, Failure};
use crate::model;
use crate::questions::read_questions;
use crate::run_folder::{RunFolder, unwritable};

/// Questions by split, and the search engine.
pub struct Playground {
    /// The generated world, where there is one.
    pub world: Option<World>,
    /// For training.
    pub train: Vec<Question>,
    /// For evaluation while training.
    pub dev: Vec<Question>,
    /// For the evaluation before and after.
    pub test: Vec<Question>,
    /// The search engine.
    pub retriever: SearchEngine,
}

impl Playground {
    /// Opens the files of a run file, or generates its world into the run's folder.
    pub fn open(config: &RunConfig, run: &RunFolder) -> Result<Self> {
        if let Some(section) = &config.world {
            let world = generate(section, config.seed)?;
            let folder = run.path("world");
            if !folder.exists() {
                write_world(&world, section, config.seed, &folder)?;
            }
            let index = open_index(&folder.join("index"), &SearchOptions::default())?;
            let [train, dev, test] = ["train", "dev", "test"]
                .map(|it| read_questions(&folder.join(format!("{it}.jsonl"))));
            return Ok(Self {
                world: Some(world),
                train: train?,
                dev: dev?,
                test: test?,
                retriever: index.into(),
            });
        }
        let (Some(data), Some(retriever)) = (&config.data, &config.retriever) else {
            unreachable!("a checked run file has a world, or data and a retriever");
        };
        Ok(Self {
            world: None,
            train: read_questions(&data.train)?,
            dev: read_questions(&data.dev)?,
            test: read_questions(&data.test)?,
            retriever: open_engine(retriever, &config.device)?,
        })
    }
}

/// Opens an index for a person who may have named the wrong folder.
pub fn open_index(index: &Path, options: &SearchOptions) -> Result<Bm25> {
    Bm25::open(index, options).with_context(|| {
        Failure::new(Code::Input, format!("cannot search the index `{}`", index.display()))
            .hint("build it with `forage index --corpus FILE --out DIR`")
    })
}

/// Loads an encoder onto the device of this name.
pub fn encoder(config: &EncoderConfig, device: &str) -> Result<TextEncoder, BoxError> {
    let EncoderConfig { path, query_prefix, passage_prefix, max_tokens } = config.clone();
    let options = EncoderOptions { query_prefix, passage_prefix, max_tokens };
    Ok(TextEncoder::load(&path, &model::device(device)?, &options)?)
}

/// Opens the search engine of a run file. An encoder computes on the device of this name.
pub fn open_engine(config: &RetrieverConfig, device: &str) -> Result<SearchEngine> {
    let load = |it: &EncoderConfig| -> Result<Arc<dyn Embedder>, BoxError> {
        Ok(Arc::new(encoder(it, device)?))
    };
    SearchEngine::open(config, &load).map_err(|error| {
        let failure = match (&error, &config.index) {
            (EngineError::Config(_) | EngineError::Client(_), _) => {
                Failure::new(Code::Usage, "the search engine of the run file cannot be used")
                    .hint("docs/configuration.md lists every key")
            }
            (EngineError::Encoder { .. }, _) => {
                Failure::new(Code::Input, "the encoder of the run file cannot be used")
                    .hint("`retriever.encoder.path` is the folder of a model such as e5 or MiniLM")
            }
            (EngineError::Dense(_), _) => {
                Failure::new(Code::Input, "the vectors of the run file cannot be searched")
                    .hint("`forage index --vectors` makes them, with the same index and model")
            }
            (EngineError::Record(_), _) => {
                Failure::new(Code::Input, "the record of searches cannot be used")
                    .hint("`retriever.record` names its file and its mode, `record` or `replay`")
            }
            (EngineError::Index(_), index) => {
                let index = index.as_deref().unwrap_or(Path::new("")).display();
                Failure::new(Code::Input, format!("cannot search the index `{index}`"))
                    .hint("build it with `forage index --corpus FILE --out DIR`")
            }
        };
        anyhow::Error::from(error).context(failure)
    })
}

/// What a run file's questions and search engine amount to.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// What is searched, in words.
    pub corpus: String,
    /// Questions of the training, dev and test splits.
    pub questions: [usize; 3],
    /// The first for training.
    pub first: Question,
}

/// Finds out whether a run file's questions and search engine can be had. Writes nothing, so that
/// a run that cannot begin leaves no folder.
pub fn survey(config: &RunConfig) -> Result<Survey> {
    if let Some(section) = &config.world {
        let world = generate(section, config.seed)?;
        let asked = questions_of(&world, section, config.seed)?;
        return Ok(Survey {
            corpus: corpus(world.passages().len() as u64, IndexOptions::default().analyzer.name()),
            questions: asked.each_ref().map(|(_, it)| it.len()),
            first: asked[0].1.first().cloned().unwrap_or_default(),
        });
    }
    let (Some(data), Some(retriever)) = (&config.data, &config.retriever) else {
        unreachable!("a checked run file has a world, or data and a retriever");
    };
    let engine = open_engine(retriever, &config.device)?;
    let train = read_questions(&data.train)?;
    let [n_dev, n_test] = [read_questions(&data.dev)?.len(), read_questions(&data.test)?.len()];
    let questions = [train.len(), n_dev, n_test];
    let first = train.into_iter().next().unwrap_or_default();
    let of_index = |it: &Manifest| corpus(it.passages, &it.analyzer);
    let of_server = || {
        let urls = [
            retriever.remote.as_ref().map(|it| &it.url),
            retriever.elastic.as_ref().map(|it| &it.url),
            retriever.qdrant.as_ref().map(|it| &it.url),
        ];
        match (urls.into_iter().flatten().next(), &retriever.web) {
            (Some(url), _) => format!("what `{url}` searches; it was not asked"),
            (None, Some(web)) => format!("the web, by {:?}; it was not asked", web.engine),
            (None, None) => unreachable!("a checked section names an index or an engine"),
        }
    };
    let corpus = engine.manifest().map_or_else(of_server, of_index);
    Ok(Survey { corpus, questions, first })
}

fn corpus(passages: u64, analyzer: &str) -> String {
    format!("{passages} passages, analyzer {analyzer}")
}

/// The world of a run file.
pub fn generate(section: &WorldSection, seed: u64) -> Result<World> {
    section.generate(seed).map_err(impossible)
}

/// Writes corpus, questions and index of a world, as a whole.
pub fn write_world(world: &World, section: &WorldSection, seed: u64, folder: &Path) -> Result<()> {
    let asked = questions_of(world, section, seed)?;
    let parent = folder.parent().unwrap_or(Path::new("."));
    // The parent of a relative name is empty.
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let write = || -> Result<()> {
        let part = tempfile::Builder::new().prefix(".part-").tempdir_in(parent)?;
        std::fs::write(part.path().join("corpus.jsonl"), jsonl(world.passages())?)?;
        for (split, questions) in &asked {
            std::fs::write(part.path().join(format!("{split}.jsonl")), jsonl(questions)?)?;
        }
        let corpus = Corpus::memory(world.passages().to_vec());
        build(corpus, &part.path().join("index"), &IndexOptions::default(), &|_| {})?;
        std::fs::rename(part.path(), folder)?;
        // Nothing is left for it to remove.
        let _ = part.keep();
        Ok(())
    };
    write().with_context(|| unwritable(folder))
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

fn jsonl<T: serde::Serialize>(rows: &[T]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut lines, row)?;
        lines.push(b'\n');
    }
    Ok(lines)
}
