//! Base model of an adapter: the folder that `base_model_name_or_path` of PEFT's
//! `adapter_config.json` leads to.
//!
//! PEFT writes the path that it was given, which may be relative to a folder that nobody knows any
//! more. It is looked for where such a path usually leads; where that is more than one folder, the
//! caller has to say which.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{CheckpointError, CheckpointErrorKind};
use crate::json_file::read_json;

/// Name of the file with the configuration of an adapter.
pub(crate) const CONFIG: &str = "adapter_config.json";

/// Whether a folder holds an adapter and not a model. [`load`](crate::load) reads both.
pub fn is_adapter(folder: &Path) -> bool {
    folder.join(CONFIG).exists() && !folder.join("config.json").exists()
}

/// Base model of an adapter as it is written: the folder or name in `base_model_name_or_path`,
/// where there is one.
pub fn base_of_adapter(folder: &Path) -> Result<Option<String>, CheckpointError> {
    let keys: Map<String, Value> = read_json(&folder.join(CONFIG))?;
    Ok(base_name(&keys).map(str::to_owned))
}

pub(crate) fn base_name(keys: &Map<String, Value>) -> Option<&str> {
    keys.get("base_model_name_or_path")?.as_str().filter(|it| !it.is_empty())
}

/// Folder of the base model of an adapter. A relative path is looked for in the working directory,
/// in the adapter's folder and the one around it; and where the adapter is a checkpoint of a run, in
/// the run's folder and the two around it.
///
/// # Errors
///
/// Where no folder of a model is found, all places that were tried; and where several are, those.
pub fn base_folder(adapter: &Path) -> Result<PathBuf, CheckpointError> {
    let fail = |kind| Err(CheckpointError::new(adapter, kind));
    let Some(name) = base_of_adapter(adapter)? else {
        return fail(CheckpointErrorKind::NoBase { name: None, tried: Vec::new() });
    };
    let tried = candidates(adapter, Path::new(&name));
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in tried.iter().filter(|folder| folder.join("config.json").exists()) {
        // Two ways to one folder are one.
        let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        let is_known = |known: &PathBuf| known.canonicalize().is_ok_and(|known| known == real);
        if !found.iter().any(is_known) {
            found.push(folder.clone());
        }
    }
    match found.len() {
        0 => fail(CheckpointErrorKind::NoBase { name: Some(name), tried }),
        1 => Ok(found.remove(0)),
        _ => {
            let found = found.iter().map(|folder| folder.display().to_string()).collect();
            fail(CheckpointErrorKind::SeveralBases { name, found })
        }
    }
}

/// Folders that a path may mean, absolute ones.
fn candidates(adapter: &Path, name: &Path) -> Vec<PathBuf> {
    if name.is_absolute() {
        return vec![name.to_owned()];
    }
    let adapter = absolute(adapter);
    let around = adapter.ancestors();
    // `RUN/checkpoints/step-000001`, and `average` in it.
    let run = adapter.ancestors().take(3).find(|it| it.ends_with("checkpoints"));
    let of_run = run.into_iter().flat_map(|checkpoints| checkpoints.ancestors().skip(1).take(3));
    let mut all: Vec<PathBuf> = vec![absolute(name)];
    for folder in around.take(2).chain(of_run).map(|folder| normal(&folder.join(name))) {
        if !all.contains(&folder) {
            all.push(folder);
        }
    }
    all
}

/// The same path from the root of the file system.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |it| normal(&it))
}

/// The same path without `.`.
fn normal(path: &Path) -> PathBuf {
    path.components().filter(|it| *it != std::path::Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    /// A folder with an adapter of this base.
    fn adapter(folder: &Path, base: &str) {
        fs::create_dir_all(folder).unwrap();
        let keys = json!({ "base_model_name_or_path": base });
        fs::write(folder.join(CONFIG), keys.to_string()).unwrap();
    }

    fn model_folder(folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("config.json"), "{}").unwrap();
    }

    #[test]
    fn a_base_is_found_from_anywhere() {
        for (place, base, model) in [
            ("a", "model", "a/model"),
            ("a", "model", "model"),
            ("a", "../model", "model"),
            ("runs/x/checkpoints/step-000001", "model", "runs/x/model"),
            ("runs/x/checkpoints/step-000001", "model", "runs/model"),
            ("runs/x/checkpoints/step-000001", "models/model", "models/model"),
            ("runs/x/checkpoints/step-000001/average", "./model", "model"),
        ] {
            let parent = tempfile::tempdir().unwrap();
            let (folder, model) = (parent.path().join(place), parent.path().join(model));
            adapter(&folder, base);
            let error = base_folder(&folder).unwrap_err();
            let kind = error.kind().to_string();
            assert!(kind.contains(&format!("`{base}`, which is no model folder here")), "{kind}");
            assert!(
                kind.contains(&format!("`{}`", model.display())) || base.contains(".."),
                "{kind}"
            );
            model_folder(&model);
            let found = base_folder(&folder).unwrap();
            assert!(found.is_absolute());
            assert_eq!(found.canonicalize().unwrap(), model.canonicalize().unwrap(), "{place}");
        }
    }

    #[test]
    fn a_base_that_may_be_two_folders_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("x/checkpoints/step-000001");
        adapter(&folder, "model");
        for model in ["x/model", "model"] {
            model_folder(&parent.path().join(model));
        }
        let kind = base_folder(&folder).unwrap_err().kind().to_string();
        assert!(kind.contains("may be any of") && kind.contains("x/model`"), "{kind}");
        // An absolute one is what it says.
        let model = parent.path().join("model");
        adapter(&folder, model.to_str().unwrap());
        assert_eq!(base_folder(&folder).unwrap(), model);
        // An adapter is no base.
        adapter(&folder, folder.to_str().unwrap());
        assert!(base_folder(&folder).is_err());
    }
}
