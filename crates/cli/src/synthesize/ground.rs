//! What is searched and walked over.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use forage_retriever::{Corpus, IndexOptions, SearchEngine, SearchOptions, build_index};
use forage_synthesis::sage::{Walker, WalkerConfig};
use forage_synthesis::{World, WorldConfig};
use forage_trajectory::Passage;

use super::SynthesisConfig;
use crate::environment::{open_engine, open_index};
use crate::exit_code::unwritable;
use crate::exit_code::{Code, Failure};

/// The corpus of a run file.
pub(super) struct Ground {
    /// Where the passages come from a generated world.
    pub(super) world: Option<World>,
    /// All of them.
    pub(super) passages: Vec<Passage>,
}

impl Ground {
    /// Generates the world, or reads the files.
    pub(super) fn open(config: &SynthesisConfig) -> Result<Self> {
        if let Some(section) = &config.world {
            let world = World::generate(&WorldConfig {
                seed: config.seed,
                entities: section.entities.clone(),
                long_names: section.long_names,
                asides: section.asides,
            });
            let world =
                world
                    .context(Failure::new(Code::Usage, "the world cannot be made").hint(
                        "ask for more `world.entities`, and shares of `world.long_names` and `world.asides`",
                    ))?;
            return Ok(Self { passages: world.passages().to_vec(), world: Some(world) });
        }
        let Some(corpus) = &config.corpus else {
            unreachable!("a checked run file has a corpus");
        };
        let unreadable = || {
            Failure::new(Code::Input, "the corpus of the run file cannot be read")
                .hint("`corpus.files` names files of JSON lines, as `forage index` reads")
        };
        let corpus = Corpus::files(corpus.files.iter().cloned()).with_context(unreadable)?;
        let passages = corpus
            .map(|it| it.map(|it| it.1))
            .collect::<Result<_, _>>()
            .with_context(unreadable)?;
        Ok(Self { world: None, passages })
    }

    /// The search engine of the run file; where it names none, one over an index that is made in
    /// `folder`, or was before.
    pub(super) fn engine(
        &self,
        config: &SynthesisConfig,
        folder: &Path,
    ) -> Result<Arc<SearchEngine>> {
        if let Some(retriever) = &config.retriever {
            return Ok(Arc::new(open_engine(retriever, &config.device)?));
        }
        if !folder.exists() {
            let corpus = Corpus::memory(self.passages.clone());
            build_index(corpus, folder, &IndexOptions::default(), &|_| {})
                .with_context(|| unwritable(folder))?;
        }
        Ok(Arc::new(open_index(folder, &SearchOptions::default())?.into()))
    }

    /// A walker over it.
    pub(super) fn walker(&self, config: &WalkerConfig) -> Result<Walker> {
        let config = config.clone();
        Ok(match &self.world {
            Some(world) => Walker::of_world(world, config),
            None => Walker::of_passages(&self.passages, config)
                .context(Failure::new(Code::Input, "the corpus cannot be walked over"))?,
        })
    }

    /// The passages that items are about: those that a walker can begin at, or all. A corpus that
    /// nothing can be asked about is refused.
    pub(super) fn documents(&self, walker: Option<&Walker>) -> Result<Vec<Passage>> {
        let documents = walker.map_or_else(|| self.passages.clone(), Walker::passages);
        if documents.is_empty() {
            return Err(Failure::new(Code::Input, "the walker finds no facts in the corpus")
                .hint("it links passages whose texts mention each other's titles")
                .into());
        }
        Ok(documents)
    }
}
