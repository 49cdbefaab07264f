//! Checks of the whole repository: format, lints, docs, tests. Each is a command of its own;
//! [`ci`] runs them all.

use std::ffi::OsString;

use anyhow::Context;
use xshell::{Shell, cmd};

use crate::{build, product, tidy};

/// A check of the whole repository.
type Check = fn(&Shell) -> anyhow::Result<()>;

/// Formats the code.
pub(crate) fn format(shell: &Shell) -> anyhow::Result<()> {
    Ok(cmd!(shell, "cargo fmt --all").run()?)
}

/// Fails where [`format()`] would change something.
pub(crate) fn check_format(shell: &Shell) -> anyhow::Result<()> {
    Ok(cmd!(shell, "cargo fmt --all --check").run()?)
}

/// Runs clippy; a warning is an error.
pub(crate) fn lint(shell: &Shell) -> anyhow::Result<()> {
    Ok(cmd!(shell, "cargo clippy --workspace --all-targets -- -D warnings").run()?)
}

/// Builds the API documentation; a warning is an error.
pub(crate) fn docs(shell: &Shell) -> anyhow::Result<()> {
    let command = cmd!(shell, "cargo doc --workspace --no-deps");
    Ok(command.env("RUSTDOCFLAGS", "-D warnings").run()?)
}

/// Compiles the program with the devices that the default build leaves out.
///
/// A quarter of an hour on two cores the first time, so no part of [`ci`]. Nothing is linked with
/// CUDA or Vulkan: both are looked for when the program runs.
pub(crate) fn check_devices(shell: &Shell) -> anyhow::Result<()> {
    // Each alone would find more, and take three times as long.
    let all = "cuda,wgpu,vulkan";
    let package = build::PROGRAM_PACKAGE;
    Ok(cmd!(shell, "cargo check --package {package} --all-targets --features {all}").run()?)
}

/// Runs all tests of the workspace, doctests included. Arguments choose some, and are those of
/// `cargo nextest run` where it is installed, of `cargo test` where it is not.
///
/// The tests start the real binary and load the real plugins, which no test target depends on,
/// so everything is built first. All commands select the whole workspace with its tests: another
/// selection has other features, and burn would be compiled a second time.
pub(crate) fn test(shell: &Shell, arguments: &[OsString]) -> anyhow::Result<()> {
    cmd!(shell, "cargo build --workspace --lib --bins --examples --tests").run()?;
    if cmd!(shell, "cargo nextest --version").quiet().ignore_stdout().ignore_stderr().run().is_err()
    {
        return Ok(cmd!(shell, "cargo test --workspace --no-fail-fast {arguments...}").run()?);
    }
    // First the doctests, which nextest does not run, so that its summary is the last line.
    if arguments.is_empty() {
        cmd!(shell, "cargo test --quiet --workspace --doc").run()?;
    }
    Ok(cmd!(shell, "cargo nextest run --workspace --no-fail-fast {arguments...}").run()?)
}

/// Runs the tests of the plugin boundary under valgrind.
///
/// It finds accesses to memory that is not allocated, and memory that is not freed. A minute or
/// two, and only where valgrind is installed, so no part of [`ci`].
pub(crate) fn valgrind(shell: &Shell) -> anyhow::Result<()> {
    let version = cmd!(shell, "rustc --version --verbose").quiet().read()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("`rustc --version --verbose` names no host")?;
    let runner = format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_"));
    let valgrind = "valgrind --quiet --error-exitcode=99 --leak-check=full \
                    --show-leak-kinds=definite --errors-for-leak-kinds=definite";
    // One test leaks on purpose; and here nothing is done in 200 ms.
    let skipped = ["--skip", "a_leak", "--skip", "too_slow"];
    let command = cmd!(shell, "cargo test --package forage-reward --test plugin --test c_plugin");
    Ok(command.arg("--").args(skipped).env(runner, valgrind).run()?)
}

/// Runs the benchmarks, with the allocator's settings of a run.
pub(crate) fn bench(shell: &Shell, arguments: &[OsString]) -> anyhow::Result<()> {
    let command = cmd!(shell, "cargo bench --package forage-benchmarks {arguments...}");
    Ok(command.envs(product::ALLOCATOR).run()?)
}

/// Runs every check, cheapest first.
///
/// The tests come last, so that the output ends with their summary.
pub(crate) fn ci(shell: &Shell) -> anyhow::Result<()> {
    let steps: [(&str, Check); 5] = [
        ("fmt --check", check_format),
        ("tidy", tidy::run),
        ("lint", lint),
        ("docs", docs),
        ("test", |shell| test(shell, &[])),
    ];
    for (idx, (name, step)) in steps.iter().enumerate() {
        eprintln!("\n[{}/{}] cargo xtask {name}", idx + 1, steps.len());
        step(shell)?;
    }
    Ok(())
}
