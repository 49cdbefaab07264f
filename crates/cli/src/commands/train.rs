//! `forage train`: reinforcement learning from a run file.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forage_model::Tokenizer;
use forage_retriever::IndexManifest;
use forage_training::checkpoint::TrainState;
use forage_training::record::GroupRecord;
use forage_training::run::RunContext;
use forage_training::run_folder::{Opening, RunFolder};
use forage_training::train::{TrainingResults, train};
use serde_json::{Value, json};

use crate::environment::{self, preflight};
use crate::exit_code::unwritable;
use crate::exit_code::{Code, Failure, training_failure};
use crate::output::print_line;
use crate::progress::TerminalObserver;
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
    preflight(config)?;
    let run = RunFolder::open(&out, &file.text, opening)?;
    plugins::check_unchanged(&run, &loaded.manifest, args.accept_new_plugins)?;
    let loaded = plugins::load(file, &run.path("plugins"))?;
    let (environment, index) = environment::open(config, &run)?;
    let manifest = manifest(file, &task.model, &tokenizer, &loaded.manifest, index.as_ref())?;
    run.write_json("manifest.json", &manifest)?;

    let training = &task.config.training;
    eprintln!(
        "{}: {} questions x {} trajectories a step, {} steps, {} weights, in {}",
        config.name,
        training.questions_per_step,
        training.group_size,
        training.steps,
        decoder.config().n_parameters(),
        out.display(),
    );
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

/// Manifest of the run: what it depends on besides its configuration.
fn manifest(
    file: &RunFile,
    model: &Path,
    tokenizer: &Tokenizer,
    plugins: &[Value],
    index: Option<&IndexManifest>,
) -> Result<Value> {
    let mut weights = blake3::Hasher::new();
    for path in forage_model::weight_files(model)? {
        weights.update_mmap(path)?;
    }
    Ok(json!({
        "name": file.config.name,
        "version": env!("CARGO_PKG_VERSION"),
        "commit": std::env::var("FORAGE_COMMIT").ok(),
        "device": file.config.device,
        "seed": file.config.seed,
        "model": model.display().to_string(),
        "weights": weights.finalize().to_hex().to_string(),
        "tokenizer": blake3::hash(tokenizer.json().as_bytes()).to_hex().to_string(),
        "plugins": plugins,
        "index": index,
    }))
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
