//! Starts and builds reward plugins: the crates of `plugins/`.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;

use anyhow::{Context, ensure};
use clap::{Subcommand, ValueEnum};
use xshell::{Shell, cmd};

use crate::{build, metadata, product};

/// What is done with plugins.
#[derive(Debug, PartialEq, Subcommand)]
pub(crate) enum Command {
    /// Write a plugin that builds and passes its test
    New {
        /// Name in lower-case words joined by `-`, such as `exact-match`
        name: String,
        /// What it scores
        #[arg(long, value_enum, default_value_t = Template::Outcome)]
        template: Template,
    },
    /// Build a plugin and hold it to its contract, in a process of its own
    Check {
        /// Folder of `plugins/`
        name: String,
        /// Passed on to `forage reward check`, such as `--set value=2.0`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Build plugins in release and print where they are
    Build {
        /// Folders of `plugins/`; all of them where none is given
        names: Vec<String>,
    },
}

/// Template of a new plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// A value for every executed search, beside the reward
    Step,
    /// One trajectory by what came of it
    Outcome,
    /// Trajectories by what the others of their question did
    Group,
}

impl Template {
    /// Text of `src/lib.rs`, to be filled by [`fill`].
    fn source(self) -> &'static str {
        match self {
            Self::Step => include_str!("../templates/step.rs.in"),
            Self::Outcome => include_str!("../templates/outcome.rs.in"),
            Self::Group => include_str!("../templates/group.rs.in"),
        }
    }
}

/// Runs a command of `cargo xtask plugin`.
pub(crate) fn run(shell: &Shell, command: Command) -> anyhow::Result<()> {
    match command {
        Command::New { name, template } => new(shell, &name, template),
        Command::Check { name, arguments } => check(shell, &name, &arguments),
        Command::Build { names } if names.is_empty() => {
            all(shell)?.iter().try_for_each(|name| build_and_print(shell, name))
        }
        Command::Build { names } => names.iter().try_for_each(|name| build_and_print(shell, name)),
    }
}

fn build_and_print(shell: &Shell, name: &str) -> anyhow::Result<()> {
    ensure_is_plugin(shell, name)?;
    build::plugin(shell, name)?;
    println!("{}", built(name)?);
    Ok(())
}

/// Builds a plugin and lets the binary check its library, in a child process.
///
/// This crate links nothing of ours, so it cannot load the plugin itself.
fn check(shell: &Shell, name: &str, arguments: &[OsString]) -> anyhow::Result<()> {
    ensure_is_plugin(shell, name)?;
    build::plugin(shell, name)?;
    let mut all = vec![OsString::from("check"), built(name)?.into()];
    all.extend_from_slice(arguments);
    product::start(shell, "reward", &all)
}

/// Path of a plugin's library, which [`build::plugin`] makes.
fn built(name: &str) -> anyhow::Result<String> {
    Ok(metadata()?.target_directory.join("release").join(library(name)).into_string())
}

fn ensure_is_plugin(shell: &Shell, name: &str) -> anyhow::Result<()> {
    ensure!(
        build::is_plugin(shell, name),
        "`plugins/{name}` is no plugin; there are: {}",
        all(shell)?.join(", ")
    );
    Ok(())
}

/// Writes a new plugin from its template, and tries whether it builds and passes its test.
fn new(shell: &Shell, name: &str, template: Template) -> anyhow::Result<()> {
    check_name(name)?;
    let folder = format!("plugins/{name}");
    ensure!(!shell.path_exists(&folder), "`{folder}` exists already");
    let taken = metadata()?.packages.iter().any(|package| package.name == name);
    ensure!(!taken, "`{name}` is the name of another crate of this repository");

    let cargo_toml = format!("{folder}/Cargo.toml");
    let manifest = fill(include_str!("../templates/Cargo.toml.in"), name);
    let source = fill(template.source(), name);
    shell.write_file(&cargo_toml, manifest)?;
    shell.write_file(format!("{folder}/src/lib.rs"), source)?;
    cmd!(shell, "cargo build --manifest-path {cargo_toml} --lib").run()?;
    cmd!(shell, "cargo test --quiet --manifest-path {cargo_toml}")
        .run()
        .with_context(|| format!("`{folder}` is written, but its test fails"))?;

    println!(
        "\nWrote `{folder}`; it builds and passes its test.\n\
         Say what it pays for in {folder}/src/lib.rs, and add it to a run file:\n\n    \
         [reward.{name}]\n    plugin = \"{name}\"\n    weight = 1.0\n\n\
         `cargo xtask plugin check {name}` holds it to its contract, and `cargo xtask train`\n\
         builds it from there. If it stays in this repository, name\n\
         `{folder}` in ARCHITECTURE.md."
    );
    Ok(())
}

/// Refuses a name that cargo would.
///
/// A bad name would break `cargo metadata` for the whole workspace, so it is refused before
/// anything is written.
fn check_name(name: &str) -> anyhow::Result<()> {
    ensure!(
        build::is_kebab_case(name),
        "`{name}` is no name for a plugin: use lower-case words joined by `-`, such as `exact-match`"
    );
    let reserved = RESERVED.split(' ').any(|it| it == name);
    ensure!(!reserved, "`{name}` is reserved by Rust or cargo: add a word to it");
    Ok(())
}

/// Names that cargo refuses for a library, as far as they are in kebab case.
const RESERVED: &str = "\
    abstract alloc as async await become box break build const continue core crate deps do dyn \
    else enum examples extern false final fn for gen if impl in incremental let loop macro match \
    mod move mut override priv proc-macro pub ref return self static std struct super test trait \
    true try type typeof unsafe unsized use virtual where while yield";

/// Folders of `plugins/` that hold a crate.
fn all(shell: &Shell) -> anyhow::Result<Vec<String>> {
    let folders = shell.read_dir("plugins")?;
    let crates = folders.iter().filter(|folder| folder.join("Cargo.toml").is_file());
    Ok(crates.filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned())).collect())
}

fn fill(template: &str, name: &str) -> String {
    template.replace("{name}", name).replace("{Type}", &type_name(name))
}

/// `exact-match` becomes `ExactMatch`.
fn type_name(name: &str) -> String {
    name.split('-').map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

/// `exact-match` becomes `libexact_match.so`, or what the platform calls it.
fn library(name: &str) -> String {
    format!("{DLL_PREFIX}{}{DLL_SUFFIX}", name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_the_workspace_are_refused() {
        for name in ["exact-match", "f1", "recall-at-5"] {
            assert!(check_name(name).is_ok(), "`{name}`");
        }
        let bad = ["", "-", "Exact", "exact_match", "a--b", "a-", "5-hits", "../x", "a/b", "é"];
        for name in bad.into_iter().chain(["match", "test", "build"]) {
            assert!(check_name(name).is_err(), "`{name}`");
        }
    }

    #[test]
    fn templates_are_filled() {
        assert_eq!(
            fill("name = \"{name}\" {Type} {}", "recall-at-5"),
            "name = \"recall-at-5\" RecallAt5 {}"
        );
        let sources = Template::value_variants().iter().map(|it| it.source());
        for template in sources.chain([include_str!("../templates/Cargo.toml.in")]) {
            let filled = fill(template, "exact-match");
            assert!(!filled.contains("{name}") && !filled.contains("{Type}"), "{filled}");
        }
    }
}
