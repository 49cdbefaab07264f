//! Sharded safetensors: the files that hold the weights of a folder, `model.safetensors` or the
//! shards that `model.safetensors.index.json` names. They know names and files, and nothing of
//! models.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{CheckpointError, CheckpointErrorKind};
use crate::json_file::read_json;
use crate::other_weights::OtherWeights;
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
    /// Place of each tensor.
    places: BTreeMap<String, Place>,
}

/// Place of a tensor.
struct Place {
    /// Index of its file.
    file: usize,
    /// Name in the file.
    stored: String,
}

impl Shards {
    /// Opens `model.safetensors`, or else the files of the index.
    pub(crate) fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let (single, index) = (folder.join(WEIGHTS), folder.join(INDEX));
        if !single.exists() && index.exists() {
            return Self::open_index(folder, index);
        }
        if !single.exists() {
            let kind = CheckpointErrorKind::NoWeights(OtherWeights::of(folder));
            return Err(CheckpointError::new(folder, kind));
        }
        let file = TensorFile::open(&single)?;
        let place = |stored: String| (stored.clone(), Place { file: 0, stored });
        let places = file.names().into_iter().map(place).collect();
        Ok(Self { path: single, files: vec![file], places })
    }

    fn open_index(folder: &Path, path: PathBuf) -> Result<Self, CheckpointError> {
        let index: Index = read_json(&path)?;
        index.check_names(&path)?;
        let mut names: Vec<&String> = index.weight_map.values().collect();
        names.sort();
        names.dedup();
        let is_missing = |name: &&&String| !folder.join(name.as_str()).exists();
        let missing: Vec<String> =
            names.iter().filter(is_missing).map(|name| (*name).clone()).collect();
        if !missing.is_empty() {
            let kind = CheckpointErrorKind::MissingShards { missing, listed: names.len() };
            return Err(CheckpointError::new(&path, kind));
        }
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
            let place = |stored: String| (stored.clone(), Place { file: at, stored });
            places.extend(listed.into_iter().map(place));
        }
        Ok(Self { path, files, places })
    }

    /// The same tensors under other names. An error where two of them get the same name.
    pub(crate) fn renamed(self, new: impl Fn(&str) -> String) -> Result<Self, CheckpointError> {
        let Self { path, files, places: old } = self;
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        for place in old.into_values() {
            let name = new(&place.stored);
            if let Some(other) = places.get(&name) {
                let both = [other.stored.clone(), place.stored];
                let kind = CheckpointErrorKind::SameTensor { name, both };
                return Err(CheckpointError::new(&path, kind));
            }
            places.insert(name, place);
        }
        Ok(Self { path, files, places })
    }

    fn place(&self, name: &str) -> Result<(&TensorFile, &str), CheckpointError> {
        let missing =
            || CheckpointError::new(&self.path, CheckpointErrorKind::Missing(name.to_owned()));
        let place = self.places.get(name).ok_or_else(missing)?;
        Ok((&self.files[place.file], &place.stored))
    }

    /// Checks that a tensor is there, in this shape and in a number type that can be read.
    pub(crate) fn check(&self, name: &str, shape: &[usize]) -> Result<(), CheckpointError> {
        let (file, stored) = self.place(name)?;
        file.check(stored, shape)
    }

    /// Numbers of a tensor that [`Shards::check`] has passed, row by row, as f32.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let (file, stored) = self.place(name)?;
        file.read(stored)
    }

    /// Whether two tensors hold the same numbers in the same shape.
    pub(crate) fn same(&self, left: &str, right: &str) -> Result<bool, CheckpointError> {
        let ((file, left), right) = (self.place(left)?, self.place(right)?);
        file.same(left, right)
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Shapes of all tensors, by name.
    pub(crate) fn shapes(&self) -> BTreeMap<&str, &[usize]> {
        self.places
            .iter()
            .filter_map(|(name, place)| {
                Some((name.as_str(), self.files[place.file].shape(&place.stored)?))
            })
            .collect()
    }

    /// Refuses tensors that are not wanted, except those that `is_harmless` accepts.
    pub(crate) fn check_surplus(
        &self,
        wanted: &BTreeSet<String>,
        is_harmless: impl Fn(&str) -> bool,
    ) -> Result<(), CheckpointError> {
        for (name, place) in self.places.iter().filter(|&(name, _)| !wanted.contains(name)) {
            if !is_harmless(name) {
                let kind = CheckpointErrorKind::Surplus(place.stored.clone());
                return Err(CheckpointError::new(self.files[place.file].path(), kind));
            }
        }
        Ok(())
    }

    /// Path that an error about all tensors names.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
