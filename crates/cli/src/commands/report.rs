//! `forage report`: writes the report of a run.

use std::path::PathBuf;

use anyhow::Result;

use crate::exit_code::{Code, Failure};
use crate::output::print_line;

/// Write the `report.html` of a run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the run.
    pub run: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    if !args.run.join("config.toml").exists() {
        return Err(Failure::new(
            Code::Input,
            format!("`{}` is not a run's folder", args.run.display()),
        )
        .hint("name a folder under `runs/`")
        .into());
    }
    print_line(crate::report::write(&args.run)?.display())?;
    Ok(())
}
