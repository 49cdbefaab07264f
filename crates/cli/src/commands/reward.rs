//! `forage reward`: tests and compares rewards without training.

pub mod check;
pub mod diff;
pub mod replay;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forage_reward::Plugin;
use forage_reward_sdk::Grade;
use serde_json::Value;

use crate::exit_code::plugin_failure;
use crate::exit_code::{Code, Failure};
use crate::plugins::search_folders;
use crate::progress::Progress;
use crate::run_file::set;
use crate::trajectory_files::StoredGroup;

/// Test or compare rewards without training.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Check(check::Args),
    Replay(replay::Args),
    Diff(diff::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Check(args) => check::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Diff(args) => diff::run(args),
    }
}

/// Library of a plugin: a path, or a name that is searched for in the folders of a run.
fn library(plugin: &str) -> Result<PathBuf> {
    forage_reward::find_plugin(plugin, &search_folders(Path::new("run.toml")))
        .map_err(plugin_failure)
}

/// Loads a plugin with its configuration.
fn open(plugin: &str, edits: &[String]) -> Result<Plugin> {
    let (library, config) = (library(plugin)?, config(edits)?);
    Plugin::load(&library, &config).map_err(plugin_failure)
}

/// Grades of stored groups, in their order.
fn score(plugin: &Plugin, stored: &[StoredGroup]) -> Result<Vec<Vec<Grade>>> {
    let mut progress = Progress::new("scoring", 0, stored.len() as u64);
    let mut all = Vec::with_capacity(stored.len());
    for it in stored {
        all.push(plugin.score(&it.group).map_err(plugin_failure)?);
        progress.set(all.len() as u64, "");
    }
    progress.finish();
    Ok(all)
}

/// Configuration of a reward from `KEY=VALUE` edits, with values in TOML.
fn config(edits: &[String]) -> Result<Value> {
    let mut document = toml_edit::DocumentMut::new();
    for edit in edits {
        set(&mut document, edit)?;
    }
    let table: toml::Table = toml::from_str(&document.to_string()).with_context(|| {
        Failure::new(Code::Usage, "`--set` does not make a configuration of a reward")
    })?;
    Ok(serde_json::to_value(table)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn edits_make_a_configuration() {
        let edits = ["alpha=0.3", "mode=validity", "a.b=[1, 2]"].map(str::to_owned);
        let expected = json!({ "alpha": 0.3, "mode": "validity", "a": { "b": [1, 2] } });
        assert_eq!(config(&edits).unwrap(), expected);
        assert_eq!(config(&[]).unwrap(), json!({}));
        assert!(config(&["alpha".to_owned()]).is_err());
    }
}
