//! `forage check`: dry run of a run file, which opens everything that it names.

use std::path::PathBuf;

use anyhow::Result;
use forage_optimizer::{DistillationConfig, DistillationPositions};
use forage_training::config::TrainConfig;
use forage_training::question_sampler::QuestionSampler;
use forage_trajectory::protocol::PromptThought;

use crate::environment::preflight;
use crate::exit_code::training_failure;
use crate::output::{message, print_line};
use crate::prompt::{self, PromptBudget};
use crate::run_file::{RunFile, Task};
use crate::synthesize::{self, SynthesisFile};
use crate::{model, plugins};

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
        opened = Some((path, tokenizer, decoder.config().max_position_embeddings));
    }
    let folder = tempfile::tempdir()?;
    let rewards = plugins::load(&file, folder.path())?.rewards;
    for (name, plugin) in rewards.plugins() {
        print_line(format_args!("reward {name}: {} {}", plugin.name(), plugin.version()))?;
    }
    let mut found = preflight(config)?;
    let [n_train, n_dev, n_test] = found.questions.each_ref().map(Vec::len);
    print_line(format_args!("corpus: {}", found.corpus))?;
    print_line(format_args!("questions: {n_train} train, {n_dev} dev, {n_test} test"))?;
    if let Some((folder, tokenizer, max_positions)) = opened {
        let first = found.questions[0].first().cloned().unwrap_or_default();
        let (text, tokens) = prompt::prompt(&config.rollout, &tokenizer, folder, &first)?;
        print_line(format_args!(
            "prompt: {} tokens for the first training question:",
            tokens.len()
        ))?;
        for line in text.lines() {
            print_line(format_args!("  | {line}"))?;
        }
        if let Some(note) = note_of_thought(&text) {
            print_line(note)?;
        }
        let rollout = &config.rollout;
        let budget = PromptBudget { rollout, tokenizer: &tokenizer, folder, max_positions };
        found.fit_prompts(budget)?;
    }
    for sentence in plugins::check_applicability(&rewards, &found.questions[0])? {
        print_line(format_args!("reward {sentence}"))?;
    }
    if let Task::Train(task) = &config.task {
        let advantage = &task.config.algorithm.advantage;
        plugins::check_step_rewards(&rewards, advantage, &found.questions[0])?;
        let training = &task.config.training;
        let sampler = QuestionSampler { all: &found.questions[0], training, seed: config.seed };
        sampler.check().map_err(|error| training_failure(error.into()))?;
        warn_without_queries(&task.config);
        let trajectories = training.questions_per_step * training.group_size;
        let updates = match training.n_updates() {
            1 => "one optimizer step".to_owned(),
            n => format!("{n} optimizer steps"),
        };
        print_line(format_args!(
            "a step: {} questions x {} trajectories = {trajectories}, {updates}; \
             {} steps ask {} of {} training questions",
            training.questions_per_step,
            training.group_size,
            training.steps,
            training.steps * training.questions_per_step as u64,
            found.questions[0].len(),
        ))?;
    }
    Ok(())
}

/// What a prompt does to the thought that follows it.
fn note_of_thought(prompt: &str) -> Option<&'static str> {
    match PromptThought::of(prompt) {
        PromptThought::None => None,
        PromptThought::Open => {
            Some("the prompt opens a thought: what the model writes up to `</think>` is one")
        }
        PromptThought::Empty => {
            Some("the prompt ends with an empty thought: the model writes after it")
        }
    }
}

/// Warns of self-distillation in a run without searches, whose queries it would distil.
fn warn_without_queries(config: &TrainConfig) {
    let of_queries =
        |config: &DistillationConfig| config.positions == DistillationPositions::Queries;
    let is_of_queries = config.algorithm.self_distillation.as_ref().is_some_and(of_queries);
    if is_of_queries && config.rollout.max_searches == 0 {
        message(
            "warning: `algorithm.self_distillation` distils queries, and with \
             `rollout.max_searches = 0` there are none",
        );
    }
}
