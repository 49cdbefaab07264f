//! `forage check`: everything that can fail before the first step, without taking it.

use std::path::PathBuf;

use anyhow::Result;

use crate::config::{RunConfig, RunFile};
use crate::playground::{generate, open_index};
use crate::questions::read_questions;
use crate::{model, plugins};

/// Check a run file and what it names.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run file.
    pub run_file: PathBuf,
    /// Change a key of the run file, for example `--set training.steps=5`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub edits: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let file = RunFile::read(&args.run_file, &args.edits)?;
    let config = &file.config;
    let device = model::device(&config.device)?;
    if let Some(path) = &config.model.path {
        let (decoder, tokenizer) = model::open(path, &device)?;
        println!(
            "model: {} weights, {} tokens, in {}",
            decoder.config().n_parameters(),
            tokenizer.vocab_size(),
            path.display()
        );
    }
    let folder = tempfile::tempdir()?;
    for (name, plugin) in plugins::load(&file, folder.path())?.rewards.plugins() {
        println!("reward {name}: {} {}", plugin.name(), plugin.version());
    }
    let n_train = check_questions(config)?;
    if let Some(training) = &config.training {
        let trajectories = training.questions_per_step * training.group_size;
        println!(
            "a step: {} questions x {} trajectories = {trajectories}, one optimizer step; \
             {} steps ask {} of {n_train} training questions",
            training.questions_per_step,
            training.group_size,
            training.steps,
            training.steps * training.questions_per_step as u64,
        );
    }
    Ok(())
}

/// Opens or generates the playground and returns the number of training questions.
fn check_questions(config: &RunConfig) -> Result<usize> {
    if let Some(section) = &config.world {
        let world = generate(section, config.seed)?;
        println!("world: {} passages", world.passages().len());
        return Ok(section.questions.train);
    }
    let (Some(data), Some(retriever)) = (&config.data, &config.retriever) else {
        unreachable!("a checked run file has a world, or data and a retriever");
    };
    let index = open_index(&retriever.index, &retriever.options())?;
    println!("index: {} passages, {}", index.manifest().passages, index.manifest().analyzer);
    for (name, path) in [("dev", &data.dev), ("test", &data.test)] {
        println!("{name}: {} questions", read_questions(path)?.len());
    }
    Ok(read_questions(&data.train)?.len())
}
