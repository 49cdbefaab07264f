//! Checkpoint folders in the layout of Hugging Face, read: `config.json`, and the weights in
//! `model.safetensors` or in shards that `model.safetensors.index.json` names.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::Dtype;

use crate::config::{ConfigError, EMBEDDING, HEAD, ModelConfig};
use crate::decoder::Decoder;
use crate::peft;
use crate::shards::Shards;
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
    check_surplus(&shards, &config)?;

    let wanted = specs.iter().map(|it| (it.name.as_str(), it.shape));
    let weights = read_weights(folder, &shards, wanted, device, |_| {})?;
    Ok(Decoder::with_weights(&config, weights, device))
}

/// Refuses tensors that the model does not use.
///
/// Two kinds are harmless and published: numbers that are computed from the configuration, and a
/// head that repeats the embedding it is tied to.
fn check_surplus(shards: &Shards, config: &ModelConfig) -> Result<(), CheckpointError> {
    let wanted = config.parameters().into_iter().map(|it| it.name).collect();
    let computed = config.model_type.traits().computed;
    shards.check_surplus(&wanted, |file: &TensorFile, name| {
        if computed.iter().any(|end| name.ends_with(end)) {
            return Ok(true);
        }
        Ok(name == HEAD && file.same(name, (shards.file_of(EMBEDDING)?, EMBEDDING))?)
    })
}

/// Reads tensors of these names and shapes, one after the other, and warns of those with numbers
/// that are not finite. `seen` is shown the numbers of each.
pub(crate) fn read_weights<'a>(
    folder: &Path,
    shards: &Shards,
    wanted: impl Iterator<Item = (&'a str, [usize; 2])>,
    device: &Device,
    mut seen: impl FnMut(&[f32]),
) -> Result<Vec<Tensor<2>>, CheckpointError> {
    let mut weights = Vec::with_capacity(wanted.size_hint().0);
    let mut damaged = Vec::new();
    for (name, shape) in wanted {
        let numbers = shards.file_of(name)?.read(name)?;
        if !numbers.iter().all(|it| it.is_finite()) {
            damaged.push(name);
        }
        seen(&numbers);
        weights.push(Tensor::from_data(TensorData::new(numbers, shape), device));
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
    Ok(weights)
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

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    let fail = |kind| CheckpointError::new(path, kind);
    let text = std::fs::read(path).map_err(|err| fail(CheckpointErrorKind::Io(err)))?;
    serde_json::from_slice(&text).map_err(|err| fail(CheckpointErrorKind::Json(err)))
}
