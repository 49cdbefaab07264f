//! Names of plugins in run files, the only part of them that xtask reads.
//!
//! A file that cannot be read or parsed names none. The binary reads it again and says what is
//! wrong with it, with line and exit code.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Run files among the arguments of a command: existing files that end in `.toml`, and the
/// run file within a run's folder.
pub(crate) fn among(arguments: &[OsString]) -> Vec<PathBuf> {
    arguments.iter().filter_map(|argument| run_file(Path::new(argument))).collect()
}

fn run_file(path: &Path) -> Option<PathBuf> {
    let inner = path.join("config.toml");
    if inner.is_file() {
        return Some(inner);
    }
    let is_toml = path.extension().is_some_and(|it| it == "toml");
    (is_toml && path.is_file()).then(|| path.to_owned())
}

/// The value of `plugin` in every `[reward.<name>]` table and in `[judge]`.
pub(crate) fn plugins(text: &str) -> Vec<String> {
    let Ok(file) = text.parse::<toml::Table>() else { return Vec::new() };
    let rewards = file.get("reward").and_then(toml::Value::as_table);
    rewards
        .into_iter()
        .flat_map(toml::Table::values)
        .chain(file.get("judge"))
        .filter_map(|reward| reward.get("plugin")?.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reward_table_names_its_plugin() {
        let cases: [(&str, &[&str]); 7] = [
            ("", &[]),
            (
                "[reward.answer]\nplugin = 'exact-match'\n[reward.form]\nplugin = 'format'\n",
                &["exact-match", "format"],
            ),
            ("reward.mine = { plugin = './libmine.so', weight = 0.5 }", &["./libmine.so"]),
            ("[reward.answer]\nweight = 1.0\n[other]\nplugin = 'format'\n", &[]),
            ("reward = 3", &[]),
            ("[judge]\nplugin = 'token-f1'\n", &["token-f1"]),
            ("[reward.answer\nplugin = 'exact-match'", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(plugins(text), expected, "{text}");
        }
    }

    #[test]
    fn run_files_are_found_among_other_arguments() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let arguments = ["--seed", "7", manifest, "missing.toml", env!("CARGO_MANIFEST_DIR")];
        assert_eq!(among(&arguments.map(OsString::from)), [PathBuf::from(manifest)]);
    }
}
