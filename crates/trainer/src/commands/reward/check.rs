//! `forage reward check`: holds a plugin to its contract.

use std::time::Duration;

use anyhow::Result;

use super::{config, library};
use crate::failure::{Code, Failure};
use crate::plugin_check::{Claims, Verdict, check_plugin, table};

/// Hold a plugin to the contract of rewards.
///
/// A plugin that ends the process ends this one: `cargo xtask plugin check` starts it as a child.
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
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let deadline = Duration::try_from_secs_f64(args.deadline).ok().filter(|it| !it.is_zero());
    let Some(deadline) = deadline else {
        let what = format!("`--deadline` is {}: it is a time above 0", args.deadline);
        return Err(Failure::new(Code::Usage, what).into());
    };
    let library = library(&args.plugin)?;
    let config = config(&args.edits)?;
    let claims = Claims { config: &config, deadline, any_order: !args.ordered };
    let checks = check_plugin(&library, claims);
    println!("{}\n\n{}", library.display(), table(&checks));
    let failed = checks.iter().filter(|it| matches!(it.verdict, Verdict::Failed(_))).count();
    if failed == 0 {
        return Ok(());
    }
    let what = format!("`{}` failed {failed} of {} checks", args.plugin, checks.len());
    Err(Failure::new(Code::Plugin, what)
        .hint("docs/how-to-add-a-reward.md says what a plugin has to keep")
        .into())
}
