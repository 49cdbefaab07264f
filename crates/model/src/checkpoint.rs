//! Checkpoint folders in the layout of Hugging Face: `config.json` and `model.safetensors`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::config::{ConfigError, ModelConfig};
use crate::decoder::Decoder;

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
    Io(#[source] std::io::Error),
    /// `config.json` is no model configuration.
    #[error("`config.json` does not describe a model this program knows")]
    Json(#[source] serde_json::Error),
    /// The configuration asks for what is not computed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file is no safetensors file, or a truncated one.
    #[error("not a whole safetensors file")]
    Safetensors(#[source] safetensors::SafeTensorError),
    /// A tensor that the configuration asks for is not there.
    #[error("tensor `{0}` is missing: these weights belong to another model")]
    Missing(String),
    /// There is a tensor that the configuration knows nothing of.
    #[error("tensor `{0}` has no place in the model of `config.json`")]
    Surplus(String),
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
}

impl CheckpointError {
    /// What went wrong.
    pub fn kind(&self) -> &CheckpointErrorKind {
        &self.kind
    }
}

/// Reads `config.json` of a folder.
pub fn load_config(folder: &Path) -> Result<ModelConfig, CheckpointError> {
    let path = folder.join("config.json");
    let fail = |kind| CheckpointError { path: path.clone(), kind };
    let text = std::fs::read(&path).map_err(|err| fail(CheckpointErrorKind::Io(err)))?;
    let config: ModelConfig =
        serde_json::from_slice(&text).map_err(|err| fail(CheckpointErrorKind::Json(err)))?;
    config.check().map_err(|err| fail(err.into()))?;
    Ok(config)
}

/// Reads a decoder from `config.json` and `model.safetensors`, converting its weights to f32.
pub fn load(folder: &Path, device: &Device) -> Result<Decoder, CheckpointError> {
    let config = load_config(folder)?;
    let path = folder.join("model.safetensors");
    let specs = config.parameters();
    let shapes: Vec<(String, Vec<usize>)> = specs
        .iter()
        .map(|spec| {
            let [rows, columns] = spec.shape;
            let shape = if spec.role.is_vector() { vec![columns] } else { vec![rows, columns] };
            (spec.name.clone(), shape)
        })
        .collect();
    let weights = read_tensors(&path, &shapes)?
        .into_iter()
        .zip(&specs)
        .map(|(numbers, spec)| Tensor::from_data(TensorData::new(numbers, spec.shape), device))
        .collect();
    Ok(Decoder::with_weights(&config, weights, device))
}

/// Writes `config.json` and `model.safetensors` into an existing folder, in f32.
pub fn save(decoder: &Decoder, folder: &Path) -> Result<(), CheckpointError> {
    let path = folder.join("config.json");
    let fail = |kind| CheckpointError { path: path.clone(), kind };
    let json = serde_json::to_vec_pretty(decoder.config())
        .map_err(|err| fail(CheckpointErrorKind::Json(err)))?;
    write(&path, &json).map_err(|err| fail(CheckpointErrorKind::Io(err)))?;
    let tensors: Vec<(String, Vec<usize>, Vec<f32>)> = decoder
        .config()
        .parameters()
        .into_iter()
        .zip(decoder.weights())
        .map(|(spec, weight)| {
            let [rows, columns] = spec.shape;
            let shape = if spec.role.is_vector() { vec![columns] } else { vec![rows, columns] };
            (spec.name, shape, numbers(weight))
        })
        .collect();
    write_tensors(&folder.join("model.safetensors"), &tensors)
}

/// The numbers of a tensor, row by row.
pub fn numbers(tensor: &Tensor<2>) -> Vec<f32> {
    tensor.clone().into_data().try_into_vec_as().expect("f32 tensors read back as f32")
}

/// Reads named tensors as f32, in the given order. The file must hold just these.
pub fn read_tensors(
    path: &Path,
    expected: &[(String, Vec<usize>)],
) -> Result<Vec<Vec<f32>>, CheckpointError> {
    let fail = |kind| CheckpointError { path: path.to_owned(), kind };
    let bytes = std::fs::read(path).map_err(|err| fail(CheckpointErrorKind::Io(err)))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|err| fail(CheckpointErrorKind::Safetensors(err)))?;
    let mut views: BTreeMap<String, TensorView<'_>> = file.tensors().into_iter().collect();
    let mut all = Vec::with_capacity(expected.len());
    for (name, shape) in expected {
        let view =
            views.remove(name).ok_or_else(|| fail(CheckpointErrorKind::Missing(name.clone())))?;
        if view.shape() != shape.as_slice() {
            return Err(fail(CheckpointErrorKind::Shape {
                name: name.clone(),
                found: view.shape().to_vec(),
                expected: shape.clone(),
            }));
        }
        let numbers = to_f32(&view).ok_or_else(|| {
            fail(CheckpointErrorKind::Dtype { name: name.clone(), dtype: view.dtype() })
        })?;
        all.push(numbers);
    }
    match views.into_keys().next() {
        Some(name) => Err(fail(CheckpointErrorKind::Surplus(name))),
        None => Ok(all),
    }
}

/// Writes named tensors as f32, synced to disk.
pub fn write_tensors(
    path: &Path,
    tensors: &[(String, Vec<usize>, Vec<f32>)],
) -> Result<(), CheckpointError> {
    let fail = |kind| CheckpointError { path: path.to_owned(), kind };
    let mut views = Vec::with_capacity(tensors.len());
    for (name, shape, numbers) in tensors {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(numbers))
            .map_err(|err| fail(CheckpointErrorKind::Safetensors(err)))?;
        views.push((name.as_str(), view));
    }
    // `transformers` refuses a file that does not say what it was made for.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|err| fail(CheckpointErrorKind::Safetensors(err)))?;
    write(path, &bytes).map_err(|err| fail(CheckpointErrorKind::Io(err)))
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn to_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let bytes = view.data();
    let pairs = || bytes.chunks_exact(2).map(|it| [it[0], it[1]]);
    match view.dtype() {
        Dtype::F32 => Some(
            bytes
                .chunks_exact(4)
                .map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]))
                .collect(),
        ),
        Dtype::F16 => Some(pairs().map(|it| half::f16::from_le_bytes(it).to_f32()).collect()),
        Dtype::BF16 => Some(pairs().map(|it| half::bf16::from_le_bytes(it).to_f32()).collect()),
        _ => None,
    }
}
