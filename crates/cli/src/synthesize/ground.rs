//! Corpus of a synthesis, with its search engine.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use forage_retriever::{Corpus, IndexOptions, SearchEngine, SearchOptions, build_index};
use forage_synthesis::graph_generator::GraphGenerator;
use forage_synthesis::language_model::{ChatGeneratorConfig, ModelGeneratorConfig};
use forage_trajectory::Passage;
use forage_world::World;

use super::SynthesisConfig;
use super::section::{CorpusSection, GeneratorSection};
use crate::exit_code::unwritable;
use crate::exit_code::{Code, Failure};
use crate::search_engine::{open_engine, open_index};

/// Corpus of a run file.
pub(super) struct SynthesisCorpus {
    /// Generated world, where the corpus is one.
    pub(super) world: Option<World>,
    /// All passages.
    pub(super) passages: Vec<Passage>,
}

/// Generator of a run file, with its graph where it has one.
pub(super) enum CorpusGenerator<'a> {
    /// Random walks over the graph of the corpus.
    Graph(Box<GraphGenerator>),
    /// Chat model behind a server.
    Chat(&'a ChatGeneratorConfig),
    /// Local model.
    Model(&'a ModelGeneratorConfig),
}

impl SynthesisCorpus {
    /// Generates the world, or reads the files.
    pub(super) fn open(config: &SynthesisConfig) -> Result<Self> {
        let files = match &config.corpus {
            CorpusSection::World(section) => {
                let failure = Failure::new(Code::Usage, "the world cannot be made").hint(
                    "ask for more `world.entities`, and shares of `world.long_names` and `world.asides`",
                );
                let world = World::generate(section, config.seed).context(failure)?;
                return Ok(Self { passages: world.passages().to_vec(), world: Some(world) });
            }
            CorpusSection::Files(corpus) => &corpus.files,
        };
        let unreadable = || {
            Failure::new(Code::Input, "the corpus of the run file cannot be read")
                .hint("`corpus.files` names files of passages, as `forage index` reads")
        };
        let corpus = Corpus::files(files.iter().cloned()).with_context(unreadable)?;
        let passages = corpus
            .map(|row| row.map(|(_, passage)| passage))
            .collect::<Result<_, _>>()
            .with_context(unreadable)?;
        Ok(Self { world: None, passages })
    }

    /// Search engine of the run file; where it names none, one over an index that is made in
    /// `folder`, or was before.
    pub(super) fn engine(
        &self,
        config: &SynthesisConfig,
        folder: &Path,
    ) -> Result<Arc<SearchEngine>> {
        if let Some(retriever) = config.retriever() {
            return Ok(Arc::new(open_engine(retriever, &config.device)?));
        }
        if !folder.exists() {
            let corpus = Corpus::memory(self.passages.clone());
            build_index(corpus, folder, &IndexOptions::default(), &|_| {})
                .with_context(|| unwritable(folder))?;
        }
        Ok(Arc::new(open_index(folder, &SearchOptions::default())?.into()))
    }

    /// Generator of the run file, with the graph of the corpus where it needs one.
    pub(super) fn generator<'a>(&self, config: &'a SynthesisConfig) -> Result<CorpusGenerator<'a>> {
        let is_told = config.synthesis.tell_steps;
        let config = match &config.generator {
            GeneratorSection::Walker(config) => config.clone(),
            GeneratorSection::Chat(config) => return Ok(CorpusGenerator::Chat(config)),
            GeneratorSection::Model(config) => return Ok(CorpusGenerator::Model(config)),
        };
        let generator = match &self.world {
            Some(world) => GraphGenerator::of_world(world, config),
            None => GraphGenerator::of_passages(&self.passages, config)
                .context(Failure::new(Code::Input, "the corpus cannot be walked over"))?,
        };
        let generator = if is_told { generator } else { generator.without_target() };
        Ok(CorpusGenerator::Graph(Box::new(generator)))
    }

    /// Passages that items start from: those of the graph generator, or all. A corpus without any
    /// is refused.
    pub(super) fn documents(&self, generator: &CorpusGenerator<'_>) -> Result<Vec<Passage>> {
        let documents = match generator {
            CorpusGenerator::Graph(graph) => graph.passages(),
            CorpusGenerator::Chat(_) | CorpusGenerator::Model(_) => self.passages.clone(),
        };
        if documents.is_empty() {
            return Err(Failure::new(Code::Input, "the walker finds no facts in the corpus")
                .hint("it links passages whose texts mention each other's titles")
                .into());
        }
        Ok(documents)
    }
}
