//! `forage sft`: the supervised warm start.

use std::path::PathBuf;

use anyhow::Result;

use crate::config::RunFile;
use crate::failure::{Code, Failure};
use crate::model::{device_of, tokenizer};
use crate::playground::survey;
use crate::prompt;
use crate::run_folder::{Opening, RunFolder};

/// Warm-start a model on scripted demonstrations.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run file with an `[sft]` section.
    pub run_file: PathBuf,
    /// Folder of the run; `runs/<name>` where it is not given.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Go on from the last checkpoint.
    #[arg(long)]
    pub resume: bool,
    /// Change a key of the run file, for example `--set optimizer.lr=3e-5`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub edits: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let file = RunFile::read(&args.run_file, &args.edits)?;
    if file.config.sft.is_none() {
        return Err(Failure::new(
            Code::Usage,
            format!("`{}` has no `[sft]` section", args.run_file.display()),
        )
        .hint("start it with `forage train`")
        .into());
    }
    let device = device_of(&file.config)?;
    if let Some(path) = &file.config.model.path {
        prompt::check(&file.config.rollout, &tokenizer(path)?, path)?;
    }
    survey(&file.config)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&file.config.name));
    let opening = if args.resume { Opening::Resume } else { Opening::Fresh };
    let run = RunFolder::open(&out, &file.text, opening)?;
    crate::sft::sft(&file.config, &run, &device)
}
