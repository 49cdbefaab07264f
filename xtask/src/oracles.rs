//! `cargo xtask oracles`: other programs against ours, the scripts of `tests/oracles`.
//!
//! What they computed once is committed, and no test needs Python. Here they run again: the files
//! are made anew and compared, and what Forage saves is loaded by transformers and peft.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use xshell::{Shell, cmd};

use crate::metadata;

/// Scripts that write one JSON file of the same name, the same bytes every time.
const EXACT: [&str; 2] = ["normalize", "tfidf"];

/// Runs the scripts with `python`, or else in an environment of their own.
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

/// A Python environment with what the scripts import; several gigabytes, most of them `PyTorch`.
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

/// All models are in folders: nothing is looked for elsewhere.
fn offline(command: xshell::Cmd<'_>) -> xshell::Cmd<'_> {
    command.env("HF_HUB_OFFLINE", "1").env("TOKENIZERS_PARALLELISM", "false")
}
