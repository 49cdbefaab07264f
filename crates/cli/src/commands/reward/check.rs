//! `forage reward check`: holds a plugin to its contract, in a child process.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{config, library};
use crate::exit_code::{Code, Failure};
use crate::output::{print, print_line};
use crate::plugin_check::{Claims, Verdict, check_plugin, table};

/// Hold a plugin to the contract of rewards.
///
/// In a process of its own, which a plugin may end.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the plugin, or path of its library.
    pub plugin: String,
    /// A key of the reward's `config`, for example `--set alpha=0.3`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub edits: Vec<String>,
    /// Seconds that it may take for one group.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub deadline: f64,
    /// The reward depends on the order of the trajectories, and says so.
    #[arg(long)]
    pub ordered: bool,
    /// This is that process.
    #[arg(long, hide = true)]
    pub in_this_process: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let deadline = Duration::try_from_secs_f64(args.deadline).ok().filter(|it| !it.is_zero());
    let Some(deadline) = deadline else {
        let what = format!("`--deadline` is {}: it is a time above 0", args.deadline);
        return Err(Failure::new(Code::Usage, what).into());
    };
    let (library, config) = (library(&args.plugin)?, config(&args.edits)?);
    if args.in_this_process { try_it(args, &library, &config, deadline) } else { start_child() }
}

/// Runs the same command again, as a child, and says so where the plugin ends that.
fn start_child() -> Result<()> {
    let started = || -> std::io::Result<_> {
        Command::new(std::env::current_exe()?)
            .args(["reward", "check", "--in-this-process"])
            .args(std::env::args_os().skip(3))
            .output()
    };
    let output = started().context("cannot start the process that the plugin is tried in")?;
    print(&String::from_utf8_lossy(&output.stdout))?;
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) if !output.stdout.is_empty() => Ok(()),
        // The child has said what is wrong.
        Some(code) if !output.stdout.is_empty() => std::process::exit(code),
        // A plugin may also end it with an exit code, and even with that of success.
        _ => {
            let what = format!("the plugin ended the process it was tried in: {}", output.status);
            Err(Failure::new(Code::Plugin, what)
                .hint(
                    "it aborts, exits, or touches memory that is not its own: such a plugin \
                     would end a run without a checkpoint",
                )
                .into())
        }
    }
}

fn try_it(args: &Args, library: &Path, config: &Value, deadline: Duration) -> Result<()> {
    let claims = Claims { config, deadline, any_order: !args.ordered };
    let checks = check_plugin(library, claims);
    print_line(format_args!("{}\n\n{}", library.display(), table(&checks)))?;
    let failed = checks.iter().filter(|it| matches!(it.verdict, Verdict::Failed(_))).count();
    if failed == 0 {
        return Ok(());
    }
    let what = format!("`{}` failed {failed} of {} checks", args.plugin, checks.len());
    Err(Failure::new(Code::Plugin, what)
        .hint("docs/how-to-add-a-reward.md says what a plugin has to keep")
        .into())
}
