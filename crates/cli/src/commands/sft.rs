//! `forage sft`: the supervised warm start.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use forage_model::{Decoder, Tokenizer};
use forage_training::run_folder::{Opening, RunFolder};
use forage_training::sft::{self, SftContext};

use crate::effective_configuration::effective_configurations;
use crate::environment::{self, build_retriever, generate, preflight};
use crate::exit_code::{Code, Failure};
use crate::manifest;
use crate::model::{device_of, open_trainable, tokenizer};
use crate::progress::TerminalObserver;
use crate::prompt::{self, PromptBudget, QuestionUse};
use crate::run_file::{RunConfig, RunFile, SftStart, SftTask, Task};

/// Warm-start a model by supervised fine-tuning on scripted demonstrations.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run file with an `[sft]` section.
    pub run_file: PathBuf,
    /// Folder of the run. Default: `runs/<name>`.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Resume from the last checkpoint.
    #[arg(long)]
    pub resume: bool,
    /// Change a key of the run file, for example `--set optimizer.lr=3e-5`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub edits: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let file = RunFile::read(&args.run_file, &args.edits)?;
    let config = &file.config;
    let Task::Sft(task) = &config.task else {
        return Err(Failure::new(
            Code::Usage,
            format!("`{}` has no `[sft]` section", args.run_file.display()),
        )
        .hint("start it with `forage train`")
        .into());
    };
    let device = device_of(config)?;
    if let SftStart::Model(path) = &task.start {
        prompt::check(&config.rollout, &tokenizer(path)?, path)?;
    }
    preflight(config)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&config.name));
    let opening = if args.resume { Opening::Resume } else { Opening::Fresh };
    let run = RunFolder::open_with(&out, &file.text, opening, &effective_configurations)?;
    let (environment, _) = environment::open(config, &run)?;
    run.write_json("manifest.json", &manifest::of(config))?;
    let (decoder, tokenizer) = start(config, task, &device)?;
    let budget = PromptBudget {
        rollout: &config.rollout,
        tokenizer: &tokenizer,
        folder: config.model_folder().unwrap_or(&out),
        max_positions: decoder.config().max_position_embeddings,
    };
    budget.check("dev", &environment.dev, QuestionUse::Evaluation)?;
    let context = SftContext {
        config: &task.config,
        run: &run,
        environment: &environment,
        world: &task.world,
        build_retriever: &build_retriever,
        tokenizer: &tokenizer,
        observer: &TerminalObserver::default(),
    };
    Ok(sft::sft(&context, decoder)?)
}

/// Initial model and its tokenizer: loaded, or fresh.
fn start(config: &RunConfig, task: &SftTask, device: &Device) -> Result<(Decoder, Tokenizer)> {
    match &task.start {
        SftStart::Model(path) => open_trainable(&config.model, path, config.seed, device),
        SftStart::Fresh(fresh) => {
            let world = generate(&task.world, config.seed)?;
            let texts =
                sft::tokenizer_texts(&world, &task.world.mix, &config.rollout, config.seed)?;
            Ok(sft::fresh_model(fresh, &texts, config.model.compute, config.seed, device)?)
        }
    }
}
