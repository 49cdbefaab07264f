//! `forage quickstart`: trains the tiny agent in a generated world, up to the report.

use std::path::PathBuf;

use anyhow::Result;

use crate::commands::{sft, train};
use crate::run_file::RunFile;

/// Train the tiny agent in a generated world and print what it learned.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run the warm start first, instead of starting from the checkpoint in `assets/`.
    #[arg(long)]
    pub from_scratch: bool,
    /// Seed of the world and of the training.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Run file of the training.
    #[arg(long, default_value = "configs/quickstart.toml")]
    pub run_file: PathBuf,
    /// Run file of the warm start.
    #[arg(long, default_value = "configs/warm-start.toml")]
    pub warm_start: PathBuf,
    /// Start of the run.
    #[command(flatten)]
    pub run: train::RunArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let mut edits = args.run.edits.clone();
    let mut out = args.run.out.clone();
    if let Some(seed) = args.seed {
        edits.push(format!("seed={seed}"));
        out = out.or_else(|| Some(PathBuf::from(format!("runs/quickstart-seed-{seed}"))));
    }
    if args.from_scratch {
        let folder = PathBuf::from("runs/warm-start");
        let done = folder.join("model/model.safetensors").exists();
        if !done {
            sft::run(&sft::Args {
                run_file: args.warm_start.clone(),
                out: Some(folder.clone()),
                resume: folder.join("config.toml").exists(),
                edits: Vec::new(),
            })?;
        }
        edits.push(format!("model.path={:?}", folder.join("model").display().to_string()));
    }
    let file = RunFile::read(&args.run_file, &edits)?;
    train::start(
        &file,
        &train::RunArgs {
            out,
            resume: args.run.resume,
            accept_new_plugins: args.run.accept_new_plugins,
            edits: Vec::new(),
        },
    )
}
