//! Sharded safetensors: the files that hold the weights of a folder, `model.safetensors` or the
//! shards that `model.safetensors.index.json` names. They know names and files, and nothing of
//! models.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{CheckpointError, CheckpointErrorKind};
use crate::json_file::read_json;
use crate::tensors::TensorFile;

/// Index of a sharded checkpoint (`model.safetensors.index.json`).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Index {
    /// Total size, which nothing here reads.
    #[serde(default)]
    pub(crate) metadata: Map<String, Value>,
    /// File of each tensor.
    pub(crate) weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Refuses files outside the folder.
    fn check_names(&self, path: &Path) -> Result<(), CheckpointError> {
        for (name, file) in &self.weight_map {
            let mut components = Path::new(file).components();
            let is_plain = matches!(components.next(), Some(Component::Normal(_)));
            if !is_plain || components.next().is_some() {
                let (name, file) = (name.clone(), file.clone());
                let kind = CheckpointErrorKind::Outside { name, file };
                return Err(CheckpointError::new(path, kind));
            }
        }
        Ok(())
    }
}

/// Name of the file that holds all tensors.
pub(crate) const WEIGHTS: &str = "model.safetensors";

/// Name of the index.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// Files that together hold the tensors of a checkpoint.
pub(crate) struct Shards {
    /// Path that an error about all of them names.
    path: PathBuf,
    /// Files by name.
    pub(crate) files: Vec<TensorFile>,
    /// Index of the file of each tensor.
    places: BTreeMap<String, usize>,
}

impl Shards {
    /// Opens `model.safetensors`, or else the files of the index.
    pub(crate) fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let (single, index) = (folder.join(WEIGHTS), folder.join(INDEX));
        if !single.exists() && index.exists() {
            return Self::open_index(folder, index);
        }
        if !single.exists() {
            return Err(CheckpointError::new(folder, CheckpointErrorKind::NoWeights));
        }
        let file = TensorFile::open(&single)?;
        let places = file.names().into_iter().map(|name| (name, 0)).collect();
        Ok(Self { path: single, files: vec![file], places })
    }

    fn open_index(folder: &Path, path: PathBuf) -> Result<Self, CheckpointError> {
        let index: Index = read_json(&path)?;
        index.check_names(&path)?;
        let mut names: Vec<&String> = index.weight_map.values().collect();
        names.sort();
        names.dedup();
        let files = names
            .iter()
            .map(|name| TensorFile::open(&folder.join(name)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut places = BTreeMap::new();
        for (at, (file, file_name)) in files.iter().zip(&names).enumerate() {
            let found = file.names();
            let listed: BTreeSet<String> = index
                .weight_map
                .iter()
                .filter(|it| it.1 == *file_name)
                .map(|(name, _)| name.clone())
                .collect();
            if let Some(name) = listed.difference(&found).next() {
                let kind = CheckpointErrorKind::Missing(name.clone());
                return Err(CheckpointError::new(file.path(), kind));
            }
            if let Some(name) = found.difference(&listed).next() {
                let kind = CheckpointErrorKind::Unlisted(name.clone());
                return Err(CheckpointError::new(file.path(), kind));
            }
            places.extend(listed.into_iter().map(|name| (name, at)));
        }
        Ok(Self { path, files, places })
    }

    /// File of a tensor.
    pub(crate) fn file_of(&self, name: &str) -> Result<&TensorFile, CheckpointError> {
        let missing =
            || CheckpointError::new(&self.path, CheckpointErrorKind::Missing(name.to_owned()));
        self.places.get(name).map(|&at| &self.files[at]).ok_or_else(missing)
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Refuses tensors that are not wanted, except those that `is_harmless` accepts.
    pub(crate) fn check_surplus(
        &self,
        wanted: &BTreeSet<String>,
        is_harmless: impl Fn(&TensorFile, &str) -> Result<bool, CheckpointError>,
    ) -> Result<(), CheckpointError> {
        for (name, &at) in self.places.iter().filter(|&(name, _)| !wanted.contains(name)) {
            let file = &self.files[at];
            if !is_harmless(file, name)? {
                let kind = CheckpointErrorKind::Surplus(name.clone());
                return Err(CheckpointError::new(file.path(), kind));
            }
        }
        Ok(())
    }
}
