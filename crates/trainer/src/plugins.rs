//! Finding reward plugins, copying them into the run, and keeping to them when it is resumed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forage_reward::{PluginError, PluginErrorKind, Rewards, copy_plugin, find_plugin};
use serde_json::{Value, json};

use crate::config::RunFile;
use crate::failure::{Code, Failure};
use crate::run_folder::{RunFolder, unwritable};

/// Loaded rewards and what the manifest says of them.
pub struct Loaded {
    /// The rewards.
    pub rewards: Rewards,
    /// Name, file and hash of each plugin.
    pub manifest: Vec<Value>,
}

/// Where plugins are looked for: beside the run file, in `plugins/` beside it, in the folders of
/// `FORAGE_PLUGINS`, beside the binary.
pub fn search_folders(run_file: &Path) -> Vec<PathBuf> {
    let beside = run_file.parent().unwrap_or(Path::new(".")).to_owned();
    let mut folders = vec![beside.clone(), beside.join("plugins")];
    if let Some(paths) = std::env::var_os("FORAGE_PLUGINS") {
        folders.extend(std::env::split_paths(&paths));
    }
    if let Ok(binary) = std::env::current_exe()
        && let Some(folder) = binary.parent()
    {
        folders.push(folder.to_owned());
    }
    folders
}

/// Copies the plugins of a run file into `folder` and loads the copies.
pub fn load(file: &RunFile, folder: &Path) -> Result<Loaded> {
    let folders = search_folders(&file.path);
    let mut sections = Vec::new();
    let mut manifest = Vec::new();
    for (name, section) in &file.config.reward {
        let library = find_plugin(&section.plugin, &folders).map_err(plugin_failure)?;
        let copied = copy_plugin(&library, folder).map_err(plugin_failure)?;
        manifest.push(json!({"name": name, "plugin": section.plugin, "blake3": copied.hash}));
        sections.push((name.clone(), section.clone(), copied.path));
    }
    let combination = file.config.combination.clone();
    let rewards = Rewards::load(&sections, combination).map_err(plugin_failure)?;
    Ok(Loaded { rewards, manifest })
}

/// Refuses plugins other than those the run was started with.
pub fn check_unchanged(run: &RunFolder, manifest: &[Value], accept_new: bool) -> Result<()> {
    let Ok(text) = std::fs::read(run.path("manifest.json")) else { return Ok(()) };
    let started: Value = serde_json::from_slice(&text)
        .with_context(|| Failure::new(Code::Input, "`manifest.json` of the run is damaged"))?;
    let before = started.get("plugins").and_then(Value::as_array).cloned().unwrap_or_default();
    if before == manifest || accept_new {
        return Ok(());
    }
    Err(Failure::new(Code::Plugin, "the run was started with other reward plugins")
        .hint("bring back the plugins it was started with, or say `--accept-new-plugins`")
        .into())
}

/// A plugin's error, with its exit code and hint. A copy that cannot be written is not the
/// plugin's fault.
pub fn plugin_failure(error: PluginError) -> anyhow::Error {
    if let PluginErrorKind::Copy { to, .. } = error.kind() {
        let failure = unwritable(to);
        return anyhow::Error::new(error).context(failure);
    }
    let hint = error.hint().or_else(|| match error.kind() {
        PluginErrorKind::Open(_) => Some(
            "a plugin is a shared library for this system: is the file whole, and built here?"
                .to_owned(),
        ),
        PluginErrorKind::Refused(_) => {
            Some("the plugin's documentation says what its `config` may hold".to_owned())
        }
        _ => None,
    });
    let failure = Failure::new(Code::Plugin, "a reward plugin failed");
    let failure = match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    };
    anyhow::Error::new(error).context(failure)
}
