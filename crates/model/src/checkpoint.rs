//! Checkpoint folders in the layout of Hugging Face, read: `config.json`, and the weights in
//! `model.safetensors` or in shards that `model.safetensors.index.json` names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{ConfigError, EMBEDDING, HEAD, ModelConfig};
use crate::decoder::Decoder;
use crate::peft;
use crate::tensors::TensorFile;
use crate::tokenizer::TokenizerError;

/// A checkpoint that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint `{path}`", path = path.display())]
pub struct CheckpointError {
    path: PathBuf,
    #[source]
    kind: CheckpointErrorKind,
}

/// The kinds of [`CheckpointError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointErrorKind {
    /// A file could not be read or written.
    #[error("file access failed")]
    Io(#[from] std::io::Error),
    /// `config.json` or the index is no JSON of the right form.
    #[error("not the JSON that such a file holds")]
    Json(#[source] serde_json::Error),
    /// The configuration asks for what is not computed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There are no weights in the folder.
    #[error("there is neither `model.safetensors` nor `model.safetensors.index.json`")]
    NoWeights,
    /// The model that an adapter belongs to is not there.
    #[error("{}", no_base(.0.as_deref()))]
    NoBase(Option<PathBuf>),
    /// The index names a file that is not in the folder itself.
    #[error("the index puts tensor `{name}` into `{file}`, which is no file of the folder")]
    Outside {
        /// The tensor.
        name: String,
        /// The file.
        file: String,
    },
    /// The file is no safetensors file, or a truncated one.
    #[error("not a whole safetensors file")]
    Safetensors(#[source] safetensors::SafeTensorError),
    /// A tensor that the configuration asks for is not there.
    #[error("tensor `{0}` is missing: these weights belong to another model")]
    Missing(String),
    /// There is a tensor that the configuration knows nothing of.
    #[error("tensor `{0}` has no place in the model of `config.json`")]
    Surplus(String),
    /// A tensor stands in a file where the index does not expect it.
    #[error("tensor `{0}` is in this file, but not according to the index")]
    Unlisted(String),
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` has shape {found:?}, the model of `config.json` wants {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// The shape of the model.
        expected: Vec<usize>,
    },
    /// A tensor is stored in a number type that is not read.
    #[error("tensor `{name}` is stored as {dtype:?}; f32, f16 and bf16 are read")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
    /// The tokenizer could not be written.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl CheckpointError {
    pub(crate) fn new(path: &Path, kind: CheckpointErrorKind) -> Self {
        Self { path: path.to_owned(), kind }
    }

    /// What went wrong.
    pub fn kind(&self) -> &CheckpointErrorKind {
        &self.kind
    }
}

fn no_base(base: Option<&Path>) -> String {
    match base {
        Some(base) => format!(
            "the adapter belongs to the model `{}`, which is no model folder here",
            base.display()
        ),
        None => "the adapter does not name its model in `base_model_name_or_path`".to_owned(),
    }
}

/// `model.safetensors.index.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Index {
    /// Sizes, for people.
    #[serde(default)]
    pub(crate) metadata: Map<String, Value>,
    /// The file of each tensor.
    pub(crate) weight_map: BTreeMap<String, String>,
}

/// Name of the file that holds all tensors.
pub(crate) const WEIGHTS: &str = "model.safetensors";

/// Name of the file that says which shard holds which tensor.
pub(crate) const INDEX: &str = "model.safetensors.index.json";

/// Reads `config.json` of a folder.
pub fn load_config(folder: &Path) -> Result<ModelConfig, CheckpointError> {
    let path = folder.join("config.json");
    let fail = |kind| CheckpointError::new(&path, kind);
    ModelConfig::from_keys(read_json(&path)?).map_err(|err| fail(err.into()))
}

/// Reads a decoder from a folder, its weights converted to f32. Of a folder with an adapter in PEFT's
/// files, first the model is read that it names, then the adapter.
///
/// The tensors of the folder must be just those of [`ModelConfig::parameters`]; everything is
/// checked before the first number is read. Weights are converted one tensor at a time: no more
/// memory is taken than they take in the end, and a window of a file. A tensor with numbers that
/// are not finite is loaded, and named in a warning of `tracing`.
pub fn load(folder: &Path, device: &Device) -> Result<Decoder, CheckpointError> {
    if peft::is_adapter(folder) {
        return load(&base_of(folder)?, device)?.load_adapter(folder);
    }
    let config = load_config(folder)?;
    let shards = Shards::open(folder)?;
    let specs = config.parameters();
    for spec in &specs {
        shards.file_of(&spec.name)?.check(&spec.name, &spec.disk_shape())?;
    }
    shards.check_surplus(&config)?;

    let mut weights = Vec::with_capacity(specs.len());
    let mut damaged = Vec::new();
    for spec in &specs {
        let numbers = shards.file_of(&spec.name)?.read(&spec.name)?;
        if !numbers.iter().all(|it| it.is_finite()) {
            damaged.push(spec.name.as_str());
        }
        weights.push(Tensor::from_data(TensorData::new(numbers, spec.shape), device));
    }
    if let Some(first) = damaged.first() {
        tracing::warn!(
            "checkpoint `{}`: tensor `{first}` holds numbers that are not finite{}",
            folder.display(),
            match damaged.len() {
                1 => String::new(),
                n => format!(", and so do {} others", n - 1),
            },
        );
    }
    Ok(Decoder::with_weights(&config, weights, device))
}

/// The folder of the model that an adapter belongs to.
fn base_of(adapter: &Path) -> Result<PathBuf, CheckpointError> {
    let fail = |kind| CheckpointError::new(adapter, kind);
    let base = peft::base_of_adapter(adapter)?.map(PathBuf::from);
    let base = base.ok_or_else(|| fail(CheckpointErrorKind::NoBase(None)))?;
    if !base.is_dir() || peft::is_adapter(&base) {
        return Err(fail(CheckpointErrorKind::NoBase(Some(base))));
    }
    Ok(base)
}

/// The files that hold the weights of a folder: one, or the shards of the index by name; for an
/// adapter, those of its model as well.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    if peft::is_adapter(folder) {
        let mut files = weight_files(&base_of(folder)?)?;
        files.push(folder.join(peft::WEIGHTS));
        return Ok(files);
    }
    Ok(Shards::open(folder)?.files.iter().map(|it| it.path().to_owned()).collect())
}

/// The numbers of a tensor, row by row.
pub fn numbers(tensor: &Tensor<2>) -> Vec<f32> {
    tensor.clone().into_data().try_into_vec_as().expect("f32 tensors read back as f32")
}

/// The files that together hold the tensors of a checkpoint.
struct Shards {
    /// Where an error about all of them points to.
    path: PathBuf,
    files: Vec<TensorFile>,
    /// The file of each tensor.
    places: BTreeMap<String, usize>,
}

impl Shards {
    /// Opens `model.safetensors`, or the files of the index.
    fn open(folder: &Path) -> Result<Self, CheckpointError> {
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
        for (name, file) in &index.weight_map {
            let mut components = Path::new(file).components();
            let is_plain = matches!(components.next(), Some(Component::Normal(_)));
            if !is_plain || components.next().is_some() {
                let (name, file) = (name.clone(), file.clone());
                return Err(CheckpointError::new(
                    &path,
                    CheckpointErrorKind::Outside { name, file },
                ));
            }
        }
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
                .map(|it| it.0.clone())
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

    fn file_of(&self, name: &str) -> Result<&TensorFile, CheckpointError> {
        let missing =
            || CheckpointError::new(&self.path, CheckpointErrorKind::Missing(name.to_owned()));
        self.places.get(name).map(|&at| &self.files[at]).ok_or_else(missing)
    }

    /// Refuses tensors that the model does not use.
    ///
    /// Two kinds are harmless and published: numbers that are computed from the configuration, and
    /// a head that repeats the embedding it is tied to.
    fn check_surplus(&self, config: &ModelConfig) -> Result<(), CheckpointError> {
        let wanted: BTreeSet<String> = config.parameters().into_iter().map(|it| it.name).collect();
        let computed = config.model_type.traits().computed;
        for (name, &at) in self.places.iter().filter(|it| !wanted.contains(it.0)) {
            let file = &self.files[at];
            if computed.iter().any(|end| name.ends_with(end)) {
                continue;
            }
            if name == HEAD && file.same(name, (self.file_of(EMBEDDING)?, EMBEDDING))? {
                continue;
            }
            let kind = CheckpointErrorKind::Surplus(name.clone());
            return Err(CheckpointError::new(file.path(), kind));
        }
        Ok(())
    }
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    let fail = |kind| CheckpointError::new(path, kind);
    let text = std::fs::read(path).map_err(|err| fail(CheckpointErrorKind::Io(err)))?;
    serde_json::from_slice(&text).map_err(|err| fail(CheckpointErrorKind::Json(err)))
}
