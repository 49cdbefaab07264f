//! Comparisons with other programs: `cargo xtask oracles` runs the scripts of `tests/oracles`.
//!
//! Their results are committed, so that no test needs Python. Here they are computed again and
//! compared, and what Forage saves is loaded by transformers and peft.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use xshell::{Shell, cmd};

use crate::metadata;

/// Scripts whose output is the JSON file of the same name, byte for byte.
const EXACT: [&str; 2] = ["normalize", "tfidf"];

/// Runs the scripts with `python`. Default: an environment of their own in the target folder.
pub(crate) fn run(shell: &Shell, python: Option<PathBuf>) -> anyhow::Result<()> {
    let target = metadata()?.target_directory.into_std_path_buf();
    let python = match python {
        // The scripts run in the folder of the workspace.
        Some(python) => std::path::absolute(python)?,
        None => environment(shell, &target.join("oracles/python"))?,
    };
    for name in EXACT {
        eprintln!("\n{name}");
        let script = format!("tests/oracles/{name}.py");
        let committed = shell.read_file(format!("tests/oracles/{name}.json"))?;
        if cmd!(shell, "{python} {script}").quiet().read()?.trim_end() != committed.trim_end() {
            bail!("`{script}` writes something else than `tests/oracles/{name}.json`");
        }
    }
    eprintln!("\nsaved folders");
    let saved = target.join("oracles/saved");
    shell.remove_path(&saved)?;
    cmd!(shell, "cargo run --quiet --package forage-model --example saved -- {saved}").run()?;
    offline(cmd!(shell, "{python} tests/oracles/saved.py {saved}")).run()?;
    eprintln!("\nembeddings");
    let embed = ["run", "--quiet", "--package", "forage-model", "--example", "embed", "--"];
    offline(cmd!(shell, "{python} tests/oracles/minilm.py cargo {embed...}")).run()?;
    Ok(())
}

/// Makes a Python environment with what the scripts import; several gigabytes, most of them
/// `PyTorch`.
fn environment(shell: &Shell, folder: &Path) -> anyhow::Result<PathBuf> {
    let python = folder.join("bin/python");
    if !python.exists() {
        cmd!(shell, "python3 -m venv {folder}")
            .run()
            .context("Python 3.11 or later makes the environment; or name one with `--python`")?;
    }
    // Nothing happens where all is there.
    let requirements = "tests/oracles/requirements.txt";
    cmd!(shell, "{python} -m pip install --quiet --requirement {requirements}").run()?;
    Ok(python)
}

/// Forbids downloads of models: all of them are in folders.
fn offline(command: xshell::Cmd<'_>) -> xshell::Cmd<'_> {
    command.env("HF_HUB_OFFLINE", "1").env("TOKENIZERS_PARALLELISM", "false")
}
