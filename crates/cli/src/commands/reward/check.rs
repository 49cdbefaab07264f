//! `forage reward check`: checks a plugin against the contract of rewards, in a child process.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{config, library};
use crate::exit_code::{Code, Failure};
use crate::output::{print, print_line};
use crate::plugin_check::{CheckOptions, CheckResult, check_plugin, table};

/// Check a plugin against the contract of rewards.
///
/// The plugin runs in a child process, so that a crash of it is reported too.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the plugin, or path of its library.
    pub plugin: String,
    /// Set a key of the reward's `config`, for example `--set alpha=0.3`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub edits: Vec<String>,
    /// Maximum time in seconds for scoring one group.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub deadline: f64,
    /// The reward depends on the order of the trajectories: do not check that it does not.
    #[arg(long)]
    pub ordered: bool,
    /// This process is the child.
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
    if args.in_this_process { check(args, &library, &config, deadline) } else { start_child() }
}

/// Runs the same command as a child process, and reports a plugin that ends it.
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
        // The child has printed what is wrong.
        Some(code) if !output.stdout.is_empty() => std::process::exit(code),
        // A plugin may also exit with a code, even with that of success.
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

fn check(args: &Args, library: &Path, config: &Value, deadline: Duration) -> Result<()> {
    let options = CheckOptions { config, deadline, any_order: !args.ordered };
    let checks = check_plugin(library, options);
    print_line(format_args!("{}\n\n{}", library.display(), table(&checks)))?;
    let failed =
        checks.iter().filter(|check| matches!(check.result, CheckResult::Failed(_))).count();
    if failed == 0 {
        return Ok(());
    }
    let what = format!("`{}` failed {failed} of {} checks", args.plugin, checks.len());
    Err(Failure::new(Code::Plugin, what)
        .hint("docs/how-to-add-a-reward.md says what a plugin has to keep")
        .into())
}
