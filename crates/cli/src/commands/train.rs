//! `forage train`: reinforcement learning from a run file.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forage_optimizer::OptimizerConfig;
use forage_training::checkpoint::TrainState;
use forage_training::environment::Environment;
use forage_training::record::GroupRecord;
use forage_training::run::RunContext;
use forage_training::run_folder::{Opening, RunFolder, jsonl};
use forage_training::train::{TrainingResults, train};
use forage_trajectory::Question;
use serde_json::{Value, json};

use crate::effective_configuration::effective_configurations;
use crate::environment::{self, preflight};
use crate::exit_code::unwritable;
use crate::exit_code::{Code, Failure, training_failure};
use crate::manifest;
use crate::output::{message, print_line};
use crate::progress::TerminalObserver;
use crate::prompt::PromptBudget;
use crate::run_file::{RunFile, Task};

use crate::{model, plugins, prompt, report, table, transcript};

/// Arguments of commands that start or resume a run.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Folder of the run. Default: `runs/<name>`.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Resume from the last checkpoint.
    #[arg(long)]
    pub resume: bool,
    /// Resume although the reward plugins have changed.
    #[arg(long, requires = "resume")]
    pub accept_new_plugins: bool,
    /// Change a key of the run file, for example `--set optimizer.lr=3e-5`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub edits: Vec<String>,
}

/// Train a search agent by reinforcement learning.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run file with a `[training]` section.
    pub run_file: PathBuf,
    /// Start of the run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let file = RunFile::read(&args.run_file, &args.run.edits)?;
    start(&file, &args.run)
}

/// Trains as a run file says, and prints transcripts and tables.
pub fn start(file: &RunFile, args: &RunArgs) -> Result<()> {
    let config = &file.config;
    let Task::Train(task) = &config.task else {
        return Err(Failure::new(
            Code::Usage,
            format!("`{}` has no `[training]` section", file.path.display()),
        )
        .hint("`forage sft` runs a warm start")
        .into());
    };
    let device = model::device_of(config)?;
    // Everything that can fail at once is tried before the folder is made.
    let (decoder, tokenizer) =
        model::open_trainable(&config.model, &task.model, config.seed, &device)?;
    prompt::check(&config.rollout, &tokenizer, &task.model)?;
    let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&config.name));
    let opening = if args.resume { Opening::Resume } else { Opening::Fresh };
    let scratch = tempfile::tempdir().with_context(|| unwritable(&std::env::temp_dir()))?;
    let loaded = plugins::load(file, scratch.path())?;
    let budget = PromptBudget {
        rollout: &config.rollout,
        tokenizer: &tokenizer,
        folder: &task.model,
        max_positions: decoder.config().max_position_embeddings,
    };
    let mut found = preflight(config)?;
    found.fit_prompts(budget)?;
    plugins::check_applicability(&loaded.rewards, &found.questions[0])?;
    let advantage = &task.config.algorithm.advantage;
    plugins::check_step_rewards(&loaded.rewards, advantage, &found.questions[0])?;
    drop(found);
    let run = RunFolder::open_with(&out, &file.text, opening, &effective_configurations)?;
    plugins::check_unchanged(&run, &loaded.manifest, args.accept_new_plugins)?;
    let loaded = plugins::load(file, &run.path("plugins"))?;
    let (mut environment, index) = environment::open(config, &run)?;
    let mut manifest = manifest::of(config);
    manifest["weights"] = hash_of_weights(&task.model)?.into();
    manifest["tokenizer"] = blake3::hash(tokenizer.json().as_bytes()).to_hex().to_string().into();
    manifest["plugins"] = loaded.manifest.clone().into();
    manifest["index"] = serde_json::to_value(&index)?;
    manifest["questions"] = hashes_of_questions(&environment)?;
    check_start(&run, &manifest)?;
    budget.retain(&mut environment.train)?;
    run.write_json("manifest.json", &manifest)?;
    if let Some((before, steps)) = run.raised_steps() {
        run.write_configuration(&file.text)?;
        message(going_on(&task.config.optimizer, before, steps));
    }

    let training = &task.config.training;
    message(format_args!(
        "{}: {} questions x {} trajectories a step, {} steps, {} weights, in {}",
        config.name,
        training.questions_per_step,
        training.group_size,
        training.steps,
        decoder.config().n_parameters(),
        out.display(),
    ));
    let context = RunContext {
        config: &task.config,
        run: &run,
        environment: &environment,
        grader: &loaded.rewards,
        tokenizer: &tokenizer,
        observer: &TerminalObserver::default(),
    };
    let results = train(&context, TrainState::new(decoder)).map_err(training_failure)?;
    let page = report::write(run.root())?;
    show(&run, &results)?;
    print_line(format_args!("report: {}", page.display()))?;
    Ok(())
}

/// Sentence about a run that goes on for more steps than it was started with.
fn going_on(optimizer: &OptimizerConfig, before: u64, steps: u64) -> String {
    let bits = |step: u64, n_steps: u64| optimizer.lr_at(step, n_steps).to_bits();
    let is_same = (0..before).all(|step| bits(step, before) == bits(step, steps));
    let schedule = if is_same {
        format!(
            "the schedule of the learning rate is the same, as if the run had been started with \
             {steps} steps"
        )
    } else {
        format!(
            "the schedule of the learning rate is now that of a run of {steps} steps, while the \
             steps that were taken had that of {before}: step {before} had {:e}, step {} has {:e}",
            optimizer.lr_at(before.saturating_sub(1), before),
            before + 1,
            optimizer.lr_at(before, steps),
        )
    };
    format!("`training.steps` was {before} and is {steps}: {schedule}")
}

/// Hash of the weights of a model's folder.
fn hash_of_weights(model: &Path) -> Result<String> {
    let mut weights = blake3::Hasher::new();
    for path in forage_model::weight_files(model)? {
        weights.update_mmap(path)?;
    }
    Ok(weights.finalize().to_hex().to_string())
}

/// Hashes of the questions of a run, by split.
fn hashes_of_questions(environment: &Environment) -> Result<Value> {
    let hash = |questions: &[Question]| -> Result<String> {
        Ok(blake3::hash(&jsonl(questions)?).to_hex().to_string())
    };
    Ok(json!({
        "train": hash(&environment.train)?,
        "dev": hash(&environment.dev)?,
        "test": hash(&environment.test)?,
    }))
}

/// Parts of a manifest that a run is resumed with unchanged: what they are, and the path of the part.
/// Their keys in a run file are in the text.
const OF_THE_START: [(&str, &str); 7] = [
    ("train questions (`data.train`, or those of `world`) are", "/questions/train"),
    ("dev questions (`data.dev`, or those of `world`) are", "/questions/dev"),
    ("test questions (`data.test`, or those of `world`) are", "/questions/test"),
    ("passages of the index (`retriever.index`, or those of `world`) are", "/index/fingerprint"),
    ("analyzer of the index (`retriever.index`) is", "/index/analyzer"),
    ("weights of the model (`model.path`) are", "/weights"),
    ("tokenizer of the model (`model.path`) is", "/tokenizer"),
];

/// Refuses to go on with other questions, another index or another model than the run was started
/// with. Runs of earlier versions do not say all of it.
fn check_start(run: &RunFolder, manifest: &Value) -> Result<()> {
    let path = run.path("manifest.json");
    let Ok(bytes) = std::fs::read(&path) else { return Ok(()) };
    let damaged = || Failure::new(Code::Input, format!("cannot use `{}`", path.display()));
    let started: Value = serde_json::from_slice(&bytes).with_context(damaged)?;
    for (what, path) in OF_THE_START {
        let [before, now] =
            [&started, manifest].map(|whole| whole.pointer(path).and_then(Value::as_str));
        if let (Some(before), Some(now)) = (before, now)
            && before != now
        {
            let message = format!("the {what} not what the run was started with");
            return Err(Failure::new(Code::Usage, message)
                .hint("bring it back, or start a new run with another `--out`")
                .into());
        }
    }
    Ok(())
}

/// Prints three transcripts, and the evaluations before and after training.
fn show(run: &RunFolder, results: &TrainingResults) -> Result<()> {
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let [before, after] = [&results.before[0], &results.after[0]].map(|evaluation| {
        let name = format!("trajectories/step-{:06}-greedy.jsonl.zst", evaluation.step);
        read_records(&run.path(&name))
    });
    let (before, after) = (before?, after?);
    // First the questions that were answered after training only, those of most hops first.
    let solved = |record: &GroupRecord| record.grades.first().and_then(|it| it.reward) == Some(1.0);
    let mut order: Vec<usize> = (0..after.len()).collect();
    order.sort_by_key(|&idx| {
        let taught = solved(&after[idx]) && !before.get(idx).is_some_and(solved);
        (!taught, std::cmp::Reverse(after[idx].group.question.hops()))
    });
    for &idx in order.iter().take(3) {
        print_line(transcript::render(&after[idx], 0, color, 100))?;
    }
    for (before, after) in results.before.iter().zip(&results.after) {
        print_line(table::before_after(before, after))?;
    }
    Ok(())
}

fn read_records(path: &Path) -> Result<Vec<GroupRecord>> {
    let failure = || Failure::new(Code::Input, format!("`{}` is damaged", path.display()));
    let bytes = std::fs::read(path).with_context(failure)?;
    let lines = zstd::decode_all(bytes.as_slice()).with_context(failure)?;
    serde_json::Deserializer::from_slice(&lines)
        .into_iter()
        .map(|it| it.with_context(failure))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_steps_say_what_becomes_of_the_learning_rate() {
        for (schedule, expected) in [
            ("", "the learning rate is the same, as if the run had been started with 4 steps"),
            ("schedule = { name = 'linear' }", "step 2 had 2e-3, step 3 has 2e-3"),
        ] {
            let optimizer: OptimizerConfig =
                toml::from_str(&format!("lr = 4e-3\n{schedule}")).unwrap();
            let told = going_on(&optimizer, 2, 4);
            assert!(told.starts_with("`training.steps` was 2 and is 4: "), "{told}");
            assert!(told.ends_with(expected), "{told}");
        }
    }
}
