//! `forage reward diff`: compares two rewards on stored trajectories.

use std::path::PathBuf;

use anyhow::Result;
use forage_reward_sdk::Grade;

use super::{open, score};
use crate::exit_code::{Code, Failure};
use crate::output::print;
use crate::reward_diff::{compare, report};
use crate::trajectory_files::read_all;

/// Compare two rewards on stored trajectories.
///
/// Prints the rank correlation, the number of advantages whose sign differs, and the trajectories
/// whose ranks differ most, with their text.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the first plugin, or path of its library.
    pub a: String,
    /// Name or path of the second plugin, which may be the first with another configuration.
    pub b: String,
    /// Files of stored trajectories.
    #[arg(required = true)]
    pub trajectories: Vec<PathBuf>,
    /// Set a key of the first reward's `config`.
    #[arg(long = "set-a", value_name = "KEY=VALUE")]
    pub edits_a: Vec<String>,
    /// Set a key of the second reward's `config`.
    #[arg(long = "set-b", value_name = "KEY=VALUE")]
    pub edits_b: Vec<String>,
    /// Number of trajectories to show.
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
    if comparison.n == 0 {
        let count = |grades: &[Vec<Grade>]| {
            grades.iter().flatten().filter(|grade| grade.reward().is_some()).count()
        };
        let (n_a, n_b) = (count(&scored_a), count(&scored_b));
        let what = format!(
            "no trajectory was scored by both: `{}` scored {n_a} and `{}` scored {n_b}",
            args.a, args.b
        );
        let hint = "`forage reward replay` says what one of them makes of the file";
        let grades = || scored_a.iter().chain(&scored_b).flatten();
        let has_failed = grades().any(|grade| matches!(grade, Grade::Failed(_)));
        let code = if has_failed { Code::Plugin } else { Code::Input };
        return Err(Failure::new(code, what).hint(hint).into());
    }
    Ok(())
}
