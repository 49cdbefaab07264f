//! Where a run plays: the questions, the search engine, and the world they may come from.

use std::path::Path;

use anyhow::{Context, Result};
use forage_retriever::{Bm25, Corpus, IndexOptions, build};
use forage_synthesis::{Split, World, WorldConfig, questions};
use forage_trajectory::Question;

use crate::config::{RunConfig, WorldSection};
use crate::failure::{Code, Failure};
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
    pub retriever: Bm25,
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
            let options = forage_retriever::SearchOptions::default();
            let retriever = Bm25::open(&folder.join("index"), &options)?;
            let [train, dev, test] = ["train", "dev", "test"]
                .map(|it| read_questions(&folder.join(format!("{it}.jsonl"))));
            return Ok(Self {
                world: Some(world),
                train: train?,
                dev: dev?,
                test: test?,
                retriever,
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
            retriever: open_index(&retriever.index, &retriever.options())?,
        })
    }
}

/// Opens an index for a person who may have named the wrong folder.
pub fn open_index(index: &Path, options: &forage_retriever::SearchOptions) -> Result<Bm25> {
    Bm25::open(index, options).with_context(|| {
        Failure::new(Code::Input, format!("cannot search the index `{}`", index.display()))
            .hint("build it with `forage index --corpus FILE --out DIR`")
    })
}

/// The world of a run file.
pub fn generate(section: &WorldSection, seed: u64) -> Result<World> {
    Ok(World::generate(&WorldConfig { seed, entities: section.entities.clone() })?)
}

/// Writes corpus, questions and index of a world, as a whole.
pub fn write_world(world: &World, section: &WorldSection, seed: u64, folder: &Path) -> Result<()> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    let write = || -> Result<()> {
        let part = tempfile::Builder::new().prefix(".part-").tempdir_in(parent)?;
        std::fs::write(part.path().join("corpus.jsonl"), jsonl(world.passages())?)?;
        let counts = section.questions;
        for (split, count) in
            [(Split::Train, counts.train), (Split::Dev, counts.dev), (Split::Test, counts.test)]
        {
            let asked = questions(world, split, count, seed, &section.mix)?;
            std::fs::write(part.path().join(format!("{split}.jsonl")), jsonl(&asked)?)?;
        }
        let corpus = Corpus::memory(world.passages().to_vec());
        build(corpus, &part.path().join("index"), &IndexOptions::default(), &|_| {})?;
        std::fs::rename(part.keep(), folder)?;
        Ok(())
    };
    write().with_context(|| unwritable(folder))
}

fn jsonl<T: serde::Serialize>(rows: &[T]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut lines, row)?;
        lines.push(b'\n');
    }
    Ok(lines)
}
