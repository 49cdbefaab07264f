//! `forage corpus`: what a corpus has of the questions that are asked of it.

pub mod audit;

use anyhow::Result;

/// Examine a corpus.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Audit(audit::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Audit(args) => audit::run(args),
    }
}
