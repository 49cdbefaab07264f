//! `forage check`: dry run of a run file, which opens everything that it names.

use std::path::PathBuf;

use anyhow::Result;
use forage_trajectory::protocol::PromptThought;

use crate::environment::{Preflight, preflight};
use crate::output::print_line;
use crate::run_file::{RunFile, Task};
use crate::synthesize::{self, SynthesisFile};
use crate::{model, plugins, prompt};

/// Check a run file, and open the model, plugins, questions and index that it names.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run file of any command.
    pub run_file: PathBuf,
    /// Change a key of the run file, for example `--set training.steps=5`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub edits: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    if SynthesisFile::is_one(&args.run_file) {
        let file = SynthesisFile::read(&args.run_file, &args.edits)?;
        let folder = tempfile::tempdir()?;
        for line in synthesize::survey(&file, folder.path())? {
            print_line(line)?;
        }
        return Ok(());
    }
    let file = RunFile::read(&args.run_file, &args.edits)?;
    let config = &file.config;
    let device = model::device_of(config)?;
    let mut opened = None;
    if let Some(path) = config.model_folder() {
        let (decoder, tokenizer) = model::open(path, &device)?;
        prompt::check(&config.rollout, &tokenizer, path)?;
        print_line(format_args!(
            "model: {} weights, {} tokens, in {}",
            decoder.config().n_parameters(),
            tokenizer.vocab_size(),
            path.display()
        ))?;
        opened = Some((path, tokenizer));
    }
    let folder = tempfile::tempdir()?;
    for (name, plugin) in plugins::load(&file, folder.path())?.rewards.plugins() {
        print_line(format_args!("reward {name}: {} {}", plugin.name(), plugin.version()))?;
    }
    let Preflight { corpus, questions: [n_train, n_dev, n_test], first } = preflight(config)?;
    print_line(format_args!("corpus: {corpus}"))?;
    print_line(format_args!("questions: {n_train} train, {n_dev} dev, {n_test} test"))?;
    if let Some((path, tokenizer)) = opened {
        let (text, tokens) = prompt::prompt(&config.rollout, &tokenizer, path, &first)?;
        print_line(format_args!(
            "prompt: {} tokens for the first training question:",
            tokens.len()
        ))?;
        for line in text.lines() {
            print_line(format_args!("  | {line}"))?;
        }
        let thought = match PromptThought::of(&text) {
            PromptThought::None => None,
            PromptThought::Open => {
                Some("the prompt opens a thought: what the model writes up to `</think>` is one")
            }
            PromptThought::Empty => {
                Some("the prompt ends with an empty thought: the model writes after it")
            }
        };
        if let Some(thought) = thought {
            print_line(thought)?;
        }
    }
    if let Task::Train(task) = &config.task {
        let training = &task.config.training;
        let trajectories = training.questions_per_step * training.group_size;
        let updates = match training.n_updates() {
            1 => "one optimizer step".to_owned(),
            n => format!("{n} optimizer steps"),
        };
        print_line(format_args!(
            "a step: {} questions x {} trajectories = {trajectories}, {updates}; \
             {} steps ask {} of {n_train} training questions",
            training.questions_per_step,
            training.group_size,
            training.steps,
            training.steps * training.questions_per_step as u64,
        ))?;
    }
    Ok(())
}
