//! Loading of checkpoint folders in the layout of Hugging Face: `config.json`, and the weights in
//! `model.safetensors` or in shards that `model.safetensors.index.json` names.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};

use crate::config::{EMBEDDING, HEAD, ModelConfig};
use crate::decoder::Decoder;
use crate::error::{CheckpointError, CheckpointErrorKind};
use crate::json_file::read_json;
use crate::peft;
use crate::shards::Shards;
use crate::tensors::TensorFile;

/// Loads the configuration of a checkpoint folder (`config.json`).
pub fn load_config(folder: &Path) -> Result<ModelConfig, CheckpointError> {
    let path = folder.join("config.json");
    let fail = |kind| CheckpointError::new(&path, kind);
    ModelConfig::from_keys(read_json(&path)?).map_err(|err| fail(err.into()))
}

/// Loads a decoder from a checkpoint folder, its weights converted to f32; from a folder with a
/// LoRA adapter in PEFT's files, its base model and then the adapter.
///
/// The tensors of the folder must be just those of [`ModelConfig::parameters`]; everything is
/// checked before the first number is read. Weights are converted one tensor at a time: no more
/// memory is taken than they take in the end, and a window of a file. A tensor with numbers that
/// are not finite is loaded, and named in a warning of `tracing`.
///
/// # Errors
///
/// [`CheckpointError`] names the file, and the key or tensor.
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

    let wanted = specs.iter().map(|spec| (spec.name.as_str(), spec.shape));
    let weights = read_weights(folder, &shards, wanted, device, |_| {})?;
    Ok(Decoder::with_weights(&config, weights, device))
}

/// Refuses tensors that the model does not use.
///
/// Two kinds are harmless, and published: buffers that are computed from the configuration, and a
/// head that repeats the embedding it is tied to.
fn check_surplus(shards: &Shards, config: &ModelConfig) -> Result<(), CheckpointError> {
    let wanted = config.parameters().into_iter().map(|it| it.name).collect();
    let computed = config.model_type.spec().computed;
    shards.check_surplus(&wanted, |file: &TensorFile, name| {
        if computed.iter().any(|end| name.ends_with(end)) {
            return Ok(true);
        }
        Ok(name == HEAD && file.same(name, (shards.file_of(EMBEDDING)?, EMBEDDING))?)
    })
}

/// Reads tensors of these names and shapes, one after the other, and warns of those with numbers
/// that are not finite. `inspect` is called with the numbers of each.
pub(crate) fn read_weights<'a>(
    folder: &Path,
    shards: &Shards,
    wanted: impl Iterator<Item = (&'a str, [usize; 2])>,
    device: &Device,
    mut inspect: impl FnMut(&[f32]),
) -> Result<Vec<Tensor<2>>, CheckpointError> {
    let mut weights = Vec::with_capacity(wanted.size_hint().0);
    let mut damaged = Vec::new();
    for (name, shape) in wanted {
        let numbers = shards.file_of(name)?.read(name)?;
        if !numbers.iter().all(|it| it.is_finite()) {
            damaged.push(name);
        }
        inspect(&numbers);
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

/// Folder of the base model of an adapter.
fn base_of(adapter: &Path) -> Result<PathBuf, CheckpointError> {
    let fail = |kind| CheckpointError::new(adapter, kind);
    let base = peft::base_of_adapter(adapter)?.map(PathBuf::from);
    let base = base.ok_or_else(|| fail(CheckpointErrorKind::NoBase(None)))?;
    if !base.is_dir() || peft::is_adapter(&base) {
        return Err(fail(CheckpointErrorKind::NoBase(Some(base))));
    }
    Ok(base)
}

/// Weight files of a checkpoint folder: `model.safetensors`, or the shards of the index by name;
/// for an adapter, those of its base model and its own.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    if peft::is_adapter(folder) {
        let mut files = weight_files(&base_of(folder)?)?;
        files.push(folder.join(peft::WEIGHTS));
        return Ok(files);
    }
    Ok(Shards::open(folder)?.files.iter().map(|file| file.path().to_owned()).collect())
}
