//! Paths of a run that is read again, perhaps from elsewhere: its `config.toml` is the text of the
//! run file, whose relative paths begin in the folder that the run was started in.
//!
//! That folder is in `manifest.json`. A run without it, or one that was moved together with its
//! files, has them near its own folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use toml_edit::{DocumentMut, Item};

use crate::exit_code::{Code, Failure};
use crate::manifest::WORKING_DIRECTORY;
use crate::run_file::RunFile;

/// Keys of a run file that hold paths.
const PATHS: [&[&str]; 8] = [
    &["model", "path"],
    &["data", "train"],
    &["data", "dev"],
    &["data", "test"],
    &["retriever", "index"],
    &["retriever", "vectors"],
    &["retriever", "encoder", "path"],
    &["retriever", "record", "file"],
];

/// Reads the configuration of a run's folder, its relative paths resolved, and applies edits, whose
/// paths are taken as they are.
pub(crate) fn read(run: &Path, edits: &[String]) -> Result<RunFile> {
    let path = run.join("config.toml");
    let text = std::fs::read_to_string(&path).with_context(|| {
        Failure::new(Code::Input, format!("`{}` is no folder of a run", run.display()))
            .hint("name the folder of a run, which holds `config.toml`, or a run file")
    })?;
    // Text that is no TOML is refused by the run file.
    let text = match text.parse::<DocumentMut>() {
        Ok(mut document) => {
            resolve(&mut document, &starts(run));
            document.to_string()
        }
        Err(_) => text,
    };
    RunFile::parse(&path, &text, edits)
}

/// Folders in which relative paths of a run may begin, the most likely first.
fn starts(run: &Path) -> Vec<PathBuf> {
    let manifest = std::fs::read(run.join("manifest.json")).unwrap_or_default();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap_or_default();
    let recorded = manifest[WORKING_DIRECTORY].as_str().map(PathBuf::from);
    let run = std::path::absolute(run).unwrap_or_else(|_| run.to_owned());
    let here = std::env::current_dir().ok();
    recorded.into_iter().chain(here).chain(run.ancestors().take(3).map(Path::to_owned)).collect()
}

/// Replaces relative paths by those of the first folder that has such a file; where none has it, by
/// that of the first folder, which the error then names.
fn resolve(document: &mut DocumentMut, starts: &[PathBuf]) {
    for keys in PATHS {
        let Some(item) = item_mut(document.as_item_mut(), keys) else { continue };
        let Some(path) = item.as_str().map(PathBuf::from) else { continue };
        if path.is_absolute() || path.as_os_str().is_empty() {
            continue;
        }
        let mut found = starts.iter().map(|it| it.join(&path));
        let first = found.clone().next();
        if let Some(resolved) = found.find(|it| it.exists()).or(first) {
            *item = toml_edit::value(resolved.to_string_lossy().into_owned());
        }
    }
}

/// Item of a nested key, where it is there.
fn item_mut<'a>(item: &'a mut Item, keys: &[&str]) -> Option<&'a mut Item> {
    // `Item::get_mut` would insert what is not there.
    keys.iter().try_fold(item, |item, key| item.as_table_like_mut()?.get_mut(key))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn resolved(text: &str, starts: &[PathBuf]) -> DocumentMut {
        let mut document: DocumentMut = text.parse().unwrap();
        resolve(&mut document, starts);
        document
    }

    #[test]
    fn paths_are_found_where_the_run_began_or_near_it() {
        let folder = tempfile::tempdir().unwrap();
        let [began, moved] = ["began", "moved"].map(|it| folder.path().join(it));
        for file in ["began/q.jsonl", "moved/q.jsonl", "moved/index/x"] {
            fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
            fs::write(folder.path().join(file), "").unwrap();
        }
        let text = "[data]\ntrain = 'q.jsonl' # ours\ndev = '/q.jsonl'\ntest = 'none.jsonl'\n\
                    [retriever]\nindex = 'index'\nencoder = { path = 'q.jsonl' }\n\
                    [rollout]\nprompt = 'q.jsonl'\n";
        let found = resolved(text, &[began.clone(), moved.clone()]);
        let at = |item: &Item| item.as_str().map(PathBuf::from).unwrap();
        assert_eq!(at(&found["data"]["train"]), began.join("q.jsonl"));
        assert_eq!(at(&found["data"]["dev"]), Path::new("/q.jsonl"));
        assert_eq!(at(&found["data"]["test"]), began.join("none.jsonl"));
        assert_eq!(at(&found["retriever"]["index"]), moved.join("index"));
        assert_eq!(at(&found["retriever"]["encoder"]["path"]), began.join("q.jsonl"));
        assert_eq!(found["rollout"]["prompt"].as_str(), Some("q.jsonl"));
        assert_eq!(resolved("name = 'x'\n", &[began]).to_string(), "name = 'x'\n");
    }

    #[test]
    fn a_run_says_where_it_was_started() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("runs/x");
        fs::create_dir_all(&run).unwrap();
        let near = [run.clone(), folder.path().join("runs"), folder.path().to_owned()];
        assert_eq!(starts(&run)[1..], near);
        fs::write(run.join("manifest.json"), r#"{"working_directory": "/there"}"#).unwrap();
        let found = starts(&run);
        assert_eq!((found[0].as_path(), &found[2..]), (Path::new("/there"), &near[..]));
    }
}
