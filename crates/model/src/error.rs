//! Errors of checkpoint folders: which file, and what is wrong with it.

use std::path::{Path, PathBuf};

use safetensors::tensor::Dtype;

use crate::config::{EMBEDDING, HEAD, TIE};
use crate::keys::ConfigError;
use crate::mismatch::MismatchCause;
use crate::other_weights::OtherWeights;
use crate::text_file::{JsonError, TextError};
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
    /// A text file could not be read.
    #[error(transparent)]
    Text(TextError),
    /// `config.json` or the index is no JSON of the right form.
    #[error("not the JSON that such a file holds")]
    Json(#[source] JsonError),
    /// The configuration asks for what is not computed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There are no weights in the folder that can be read.
    #[error("{}", no_weights(.0.as_ref()))]
    NoWeights(Option<OtherWeights>),
    /// The index names files that are not there.
    #[error(
        "{} of the {listed} files that the index names are not there: {}; fetch them too",
        missing.len(),
        quoted(missing)
    )]
    MissingShards {
        /// Names of the files.
        missing: Vec<String>,
        /// Number of files in the index.
        listed: usize,
    },
    /// The base model of an adapter is not there.
    #[error("{}", no_base(name.as_deref(), tried))]
    NoBase {
        /// Folder or name in `base_model_name_or_path`.
        name: Option<String>,
        /// Folders that it was looked for at.
        tried: Vec<PathBuf>,
    },
    /// The base model of an adapter may be any of several folders.
    #[error("`base_model_name_or_path` `{name}` may be any of {}", quoted(found))]
    SeveralBases {
        /// Relative path in `base_model_name_or_path`.
        name: String,
        /// Folders that it leads to.
        found: Vec<String>,
    },
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
    /// The file is shorter than its header says.
    #[error(
        "not a whole safetensors file: it has {found} bytes, and its header asks for {wanted}; \
         fetch it again"
    )]
    Truncated {
        /// Length of the file.
        found: u64,
        /// Length that the header gives.
        wanted: u64,
    },
    /// The tensors are not those of the configuration.
    #[error("{problem}; {cause}")]
    Mismatch {
        /// The first difference.
        problem: Box<CheckpointErrorKind>,
        /// Cause of all differences.
        cause: MismatchCause,
    },
    /// The file has no head, and the configuration does not tie it to the embedding.
    #[error("{}", no_head(*is_given, family))]
    NoHead {
        /// Whether `config.json` has `tie_word_embeddings`.
        is_given: bool,
        /// Family, by its `model_type`.
        family: &'static str,
    },
    /// The file has a head of its own, which the configuration ties to the embedding.
    #[error(
        "the config says that the head is tied to the embedding, but `{HEAD}` differs from \
         `{EMBEDDING}`: set `{TIE}` to false to use it, or remove the tensor"
    )]
    OtherHead,
    /// Two tensors are the same one of the model.
    #[error("tensors `{}` and `{}` are both `{name}` of the model", both[0], both[1])]
    SameTensor {
        /// Name of the tensor in the model.
        name: String,
        /// Names in the files.
        both: [String; 2],
    },
    /// A tensor that the configuration asks for is not there.
    #[error("tensor `{0}` is missing")]
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
    #[error(
        "tensor `{name}` is stored as {dtype:?}; f32, f16 and bf16 are read: use the model before \
         it was quantized"
    )]
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

    /// The same file with another kind of failure.
    pub(crate) fn map_kind(
        self,
        new: impl FnOnce(CheckpointErrorKind) -> CheckpointErrorKind,
    ) -> Self {
        Self { path: self.path, kind: new(self.kind) }
    }

    /// Kind of the failure.
    pub fn kind(&self) -> &CheckpointErrorKind {
        &self.kind
    }
}

impl From<TextError> for CheckpointErrorKind {
    fn from(error: TextError) -> Self {
        match error {
            TextError::Io(error) => Self::Io(error),
            error => Self::Text(error),
        }
    }
}

fn quoted(names: &[impl AsRef<str>]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    names.join(", ")
}

fn no_weights(other: Option<&OtherWeights>) -> String {
    let none = "there is neither `model.safetensors` nor `model.safetensors.index.json`";
    match other {
        Some(OtherWeights { found, mend }) => format!("{none}; there is `{found}`: {mend}"),
        None => none.to_owned(),
    }
}

fn no_base(name: Option<&str>, tried: &[PathBuf]) -> String {
    let Some(name) = name else {
        return "the adapter does not name its model in `base_model_name_or_path`".to_owned();
    };
    let tried: Vec<String> = tried.iter().map(|path| path.display().to_string()).collect();
    format!(
        "the adapter belongs to the model `{name}`, which is no model folder here: looked for {}",
        quoted(&tried)
    )
}

fn no_head(is_given: bool, family: &str) -> String {
    let says = if is_given {
        "the config says that the head is not tied".to_owned()
    } else {
        format!("the config has no `{TIE}`, so the head is not tied, as by default in `{family}`")
    };
    format!("{says}, but the file has none: set `{TIE}` to true")
}
