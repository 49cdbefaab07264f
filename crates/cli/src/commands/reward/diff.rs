//! `forage reward diff`: where two rewards disagree about stored trajectories.

use std::path::PathBuf;

use anyhow::Result;

use super::{open, score};
use crate::output::print;
use crate::reward_diff::{compare, report};
use crate::trajectory_files::read_all;

/// Compare two rewards on stored trajectories.
///
/// Rank correlation, advantages whose sign differs, and the trajectories about which they disagree
/// most, with their text.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of a plugin, or path of its library.
    pub a: String,
    /// Name or path of another, or of the same with another configuration.
    pub b: String,
    /// Files of trajectories.
    #[arg(required = true)]
    pub trajectories: Vec<PathBuf>,
    /// A key of the first reward's `config`.
    #[arg(long = "set-a", value_name = "KEY=VALUE")]
    pub edits_a: Vec<String>,
    /// A key of the second reward's `config`.
    #[arg(long = "set-b", value_name = "KEY=VALUE")]
    pub edits_b: Vec<String>,
    /// How many disagreements are shown.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub show: usize,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let (a, b) = (open(&args.a, &args.edits_a)?, open(&args.b, &args.edits_b)?);
    let stored = read_all(&args.trajectories)?;
    let (scored_a, scored_b) = (score(&a, &stored)?, score(&b, &stored)?);
    let comparison = compare(&scored_a, &scored_b);
    print(&report(&stored, &comparison, args.show))?;
    Ok(())
}
