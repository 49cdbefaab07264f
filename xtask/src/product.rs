//! Builds the `forage` binary and the plugins a command needs, and becomes the binary.
//!
//! Nothing of a command's arguments is interpreted but the run files among them, and those only
//! for the names of plugins. Whatever is wrong with them, the binary says it better.

use std::ffi::OsString;
use std::process::Command;

#[cfg(not(unix))]
use anyhow::Context;
use cargo_metadata::camino::Utf8PathBuf;
use xshell::{Shell, cmd};

use crate::{build, metadata, run_file};

/// Variable with the folder of the plugins that are not beside the run file.
const PLUGIN_FOLDER: &str = "FORAGE_PLUGINS";

/// Variable with the commit that the binary was built from, for the manifest of a run.
const COMMIT: &str = "FORAGE_COMMIT";

/// Settings of glibc's allocator: freed memory is kept for the next tensor.
///
/// Tensors live for a moment. Without these, glibc gives the memory of each large one back to the
/// system and asks for it again: on a busy machine, training in batches of 4 was 30 to 45 %
/// slower, in batches of 16 no slower. Other allocators ignore them.
pub(crate) const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
    ("MALLOC_TRIM_THRESHOLD_", "8589934592"),
    ("MALLOC_TOP_PAD_", "67108864"),
];

/// Builds in release what `forage <command> <arguments>` needs, and runs it in the folder that
/// xtask was called from. Returns only where it could not be started.
pub(crate) fn start(shell: &Shell, command: &str, arguments: &[OsString]) -> anyhow::Result<()> {
    let binary = built(shell, &plugins(shell, command, arguments))?;
    let mut program = Command::new(&binary);
    program.arg(command).args(arguments);
    set_environment(shell, &mut program)?;
    replace_this_process(program, binary.as_str())
}

/// Builds the program and these plugins in release; returns the path of the program.
pub(crate) fn built(shell: &Shell, plugins: &[String]) -> anyhow::Result<Utf8PathBuf> {
    build::program(shell)?;
    for name in plugins {
        build::plugin(shell, name)?;
    }
    Ok(folder()?.join(format!("forage{}", std::env::consts::EXE_SUFFIX)))
}

/// Folder of what is built in release.
fn folder() -> anyhow::Result<Utf8PathBuf> {
    Ok(metadata()?.target_directory.join("release"))
}

/// Sets the variables that the program reads, for itself or for one that starts it.
pub(crate) fn set_environment(shell: &Shell, program: &mut Command) -> anyhow::Result<()> {
    // Somebody who has set it has said where their plugins are; ours are found beside the binary.
    if std::env::var_os(PLUGIN_FOLDER).is_none() {
        program.env(PLUGIN_FOLDER, folder()?);
    }
    if let Ok(commit) =
        cmd!(shell, "git describe --always --dirty --abbrev=12").ignore_stderr().read()
    {
        program.env(COMMIT, commit);
    }
    for (name, value) in ALLOCATOR {
        if std::env::var_os(name).is_none() {
            program.env(name, value);
        }
    }
    Ok(())
}

/// Plugins of this repository that a command will load: those of run files, and those that
/// `reward` names itself.
fn plugins(shell: &Shell, command: &str, arguments: &[OsString]) -> Vec<String> {
    let mut files = run_file::among(arguments);
    // What these read where no run file is named.
    if let "quickstart" | "synthesize" = command {
        files.push(shell.current_dir().join(format!("configs/{command}.toml")));
    }
    let texts = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    let mut names: Vec<_> = texts.flat_map(|text| run_file::plugins(&text)).collect();
    if command == "reward" {
        names.extend(arguments.iter().filter_map(|name| Some(name.to_str()?.to_owned())));
    }
    names.retain(|name| build::is_plugin(shell, name));
    names.sort();
    names.dedup();
    names
}

/// Becomes a program; returns only where it could not be started.
///
/// Ctrl-C, `kill`, the exit code and a death by a signal all concern one process, since `cargo
/// run` replaced itself by us in the same way.
#[cfg(unix)]
pub(crate) fn replace_this_process(mut program: Command, name: &str) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;

    Err(anyhow::Error::new(program.exec()).context(format!("cannot start `{name}`")))
}

/// Runs a program and ends with its exit code.
#[cfg(not(unix))]
pub(crate) fn replace_this_process(mut program: Command, name: &str) -> anyhow::Result<()> {
    let status = program.status().with_context(|| format!("cannot start `{name}`"))?;
    std::process::exit(status.code().unwrap_or(1))
}
