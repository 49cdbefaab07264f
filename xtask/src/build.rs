//! Builds in release: the program, and plugins one by one.

use std::path::Path;

use xshell::{Shell, cmd};

/// Package with the binary `forage`.
pub(crate) const PROGRAM_PACKAGE: &str = "forage-cli";

/// Builds the binary `forage`.
pub(crate) fn program(shell: &Shell) -> anyhow::Result<()> {
    Ok(cmd!(shell, "cargo build --release --package {PROGRAM_PACKAGE} --bin forage").run()?)
}

/// Builds the library of one plugin.
///
/// One command a plugin: cargo unifies the features of what it builds together, so a library
/// built beside others could differ from the same library built alone, and a run refuses to
/// resume with a library of another hash. By its manifest, since some dependency may have the
/// plugin's name.
pub(crate) fn plugin(shell: &Shell, name: &str) -> anyhow::Result<()> {
    Ok(cmd!(shell, "cargo build --release --manifest-path plugins/{name}/Cargo.toml --lib")
        .run()?)
}

/// Whether a name is that of a crate in `plugins/`, not a path or a plugin from elsewhere.
pub(crate) fn is_plugin(shell: &Shell, name: &str) -> bool {
    is_kebab_case(name) && shell.path_exists(Path::new("plugins").join(name).join("Cargo.toml"))
}

/// Whether a name is made of lower-case words joined by `-` and begins with a letter.
pub(crate) fn is_kebab_case(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit())
    };
    name.starts_with(|it: char| it.is_ascii_lowercase()) && name.split('-').all(is_word)
}
