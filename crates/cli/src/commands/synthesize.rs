//! `forage synthesize`: training questions of a wanted difficulty from a corpus.

use std::path::PathBuf;

use anyhow::Result;
use forage_training::run_folder::{Opening, RunFolder};

use crate::output::print_line;
use crate::synthesize::{SynthesisFile, synthesize};

/// Generate training questions of a given difficulty from a world or a corpus
///
/// A generator proposes, an agent tries several times, and what happened goes back to the
/// generator, round after round. Whatever is finished is in the journal of the run's folder: a run
/// that was killed goes on with `--resume`, and so does one that is to make more items.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run file with a `[synthesis]` section
    #[arg(default_value = "configs/synthesize.toml")]
    pub run_file: PathBuf,
    /// Folder of the run. Default: `runs/<name>`
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Resume from the journal; items, limits and splits may differ from before
    #[arg(long)]
    pub resume: bool,
    /// Change a key of the run file, for example `--set synthesis.items=50`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub edits: Vec<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let file = SynthesisFile::read(&args.run_file, &args.edits)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&file.config.name));
    let opening = if args.resume { Opening::Resume } else { Opening::Fresh };
    if args.resume {
        file.replace_in(&out)?;
    }
    let run =
        RunFolder::open_with(&out, &file.text, opening, &SynthesisFile::effective_configurations)?;
    synthesize(&file, &run)?;
    print_line(format_args!("questions in {}", out.display()))?;
    Ok(())
}
