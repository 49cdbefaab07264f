//! Errors of checkpoint folders: which file, and what is wrong with it.

use std::path::{Path, PathBuf};

use safetensors::tensor::Dtype;

use crate::keys::ConfigError;
use crate::tokenizer::TokenizerError;

/// Checkpoint that could not be read or written: the file, and as its source the kind of failure.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint `{path}`", path = path.display())]
pub struct CheckpointError {
    path: PathBuf,
    #[source]
    kind: CheckpointErrorKind,
}

/// Kinds of [`CheckpointError`].
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
    /// The base model of an adapter is not there.
    #[error("{}", no_base(.0.as_deref()))]
    NoBase(Option<PathBuf>),
    /// The index names a file that is not in the folder itself.
    #[error("the index puts tensor `{name}` into `{file}`, which is no file of the folder")]
    Outside {
        /// Name of the tensor.
        name: String,
        /// Path that the index gives.
        file: String,
    },
    /// The file is no safetensors file, or a truncated one.
    #[error("not a whole safetensors file")]
    Safetensors(#[source] safetensors::SafeTensorError),
    /// A tensor that the configuration asks for is not there.
    #[error("tensor `{0}` is missing: these weights belong to another model")]
    Missing(String),
    /// There is a tensor that the configuration has no place for.
    #[error("tensor `{0}` has no place in the model of `config.json`")]
    Surplus(String),
    /// A tensor stands in a file where the index does not expect it.
    #[error("tensor `{0}` is in this file, but not according to the index")]
    Unlisted(String),
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` has shape {found:?}, the model of `config.json` wants {expected:?}")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape that the configuration gives.
        expected: Vec<usize>,
    },
    /// A tensor is stored in a number type that is not read.
    #[error("tensor `{name}` is stored as {dtype:?}; f32, f16 and bf16 are read")]
    Dtype {
        /// Name of the tensor.
        name: String,
        /// Number type in the file.
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

    /// Kind of the failure.
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
