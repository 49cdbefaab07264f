//! Loading of checkpoint folders in the layout of Hugging Face: `config.json`, and the weights in
//! `model.safetensors` or in shards that `model.safetensors.index.json` names.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Map, Value};

use crate::adapter_base::{absolute, base_folder, is_adapter};
use crate::config::{EMBEDDING, HEAD, ModelConfig, TIE};
use crate::decoder::Decoder;
use crate::error::{CheckpointError, CheckpointErrorKind};
use crate::json_file::read_json;
use crate::mismatch::MismatchCause;
use crate::other_weights::OtherWeights;
use crate::peft;
use crate::shards::Shards;
use crate::tensor_names::canonical;

/// Loads the configuration of a checkpoint folder (`config.json`).
pub fn load_config(folder: &Path) -> Result<ModelConfig, CheckpointError> {
    Ok(read_config(folder)?.0)
}

/// Configuration of a folder, and whether its file has `tie_word_embeddings`.
fn read_config(folder: &Path) -> Result<(ModelConfig, bool), CheckpointError> {
    let path = folder.join("config.json");
    if let (false, Some(other)) = (path.exists(), OtherWeights::of(folder)) {
        let kind = CheckpointErrorKind::NoWeights(Some(other));
        return Err(CheckpointError::new(folder, kind));
    }
    let keys: Map<String, Value> = read_json(&path)?;
    let ties = keys.get(TIE).is_some_and(|it| !it.is_null());
    let config = ModelConfig::from_keys(keys);
    Ok((config.map_err(|err| CheckpointError::new(&path, err.into()))?, ties))
}

/// Loads a decoder from a checkpoint folder, its weights converted to f32; from a folder with a
/// LoRA adapter in PEFT's files, its base model ([`base_folder`](crate::base_folder)) and then the
/// adapter.
///
/// The tensors of the folder must be just those of [`ModelConfig::parameters`], under their names
/// or under those of wrappers such as `module.`; everything is checked before the first number is
/// read. Weights are converted one tensor at a time: no more memory is taken than they take in the
/// end, and a window of a file. A tensor with numbers that are not finite is loaded, and named in a
/// warning of `tracing`.
///
/// # Errors
///
/// [`CheckpointError`] names the file, and the key or tensor.
pub fn load(folder: &Path, device: &Device) -> Result<Decoder, CheckpointError> {
    if is_adapter(folder) {
        return load_adapted(folder, &base_folder(folder)?, device);
    }
    let (config, is_tie_given) = read_config(folder)?;
    let shards = open_decoder(folder, &config)?;
    check_tensors(&shards, &config, is_tie_given)?;
    let specs = config.parameters();
    let wanted = specs.iter().map(|spec| (spec.name.as_str(), spec.shape));
    let weights = read_weights(folder, &shards, wanted, device, |_| {})?;
    Ok(Decoder::with_weights(&config, weights, device))
}

/// Loads a decoder from the folder of an adapter and that of its base model.
pub fn load_adapted(
    adapter: &Path,
    base: &Path,
    device: &Device,
) -> Result<Decoder, CheckpointError> {
    let decoder = load(base, device)?.load_adapter(adapter)?;
    Ok(decoder.with_base(&absolute(base)))
}

/// Opens the weights of a decoder, under the names of transformers.
fn open_decoder(folder: &Path, config: &ModelConfig) -> Result<Shards, CheckpointError> {
    let shards = Shards::open(folder)?.renamed(canonical)?;
    // Programs that store shared tensors once may keep the name of the head.
    if config.tie_word_embeddings && !shards.has(EMBEDDING) {
        return shards.renamed(|name| {
            let name = canonical(name);
            if name == HEAD { EMBEDDING.to_owned() } else { name }
        });
    }
    Ok(shards)
}

/// Checks that the tensors are just those of a configuration. Two kinds more are harmless, and
/// published: buffers that are computed from the configuration, and a head that repeats the
/// embedding it is tied to.
fn check_tensors(
    shards: &Shards,
    config: &ModelConfig,
    is_tie_given: bool,
) -> Result<(), CheckpointError> {
    let is_tied = config.tie_word_embeddings;
    let specs = config.parameters();
    let has_no_head = !is_tied && !shards.has(HEAD);
    let mut wanted = specs.iter().filter(|spec| !(has_no_head && spec.name == HEAD));
    let computed = config.model_type.spec().computed;
    let all = specs.iter().map(|spec| spec.name.clone()).collect();
    let checked =
        wanted.try_for_each(|spec| shards.check(&spec.name, &spec.disk_shape())).and_then(|()| {
            shards.check_surplus(&all, |name| {
                name == HEAD || computed.iter().any(|end| name.ends_with(end))
            })
        });
    with_cause(checked, shards, config)?;
    let fail = |kind| Err(CheckpointError::new(shards.path(), kind));
    if has_no_head {
        let family = config.model_type.model_type();
        return fail(CheckpointErrorKind::NoHead { is_given: is_tie_given, family });
    }
    if is_tied && shards.has(HEAD) && !shards.same(HEAD, EMBEDDING)? {
        return fail(CheckpointErrorKind::OtherHead);
    }
    Ok(())
}

/// Adds the cause to a difference between tensors and configuration.
fn with_cause(
    checked: Result<(), CheckpointError>,
    shards: &Shards,
    config: &ModelConfig,
) -> Result<(), CheckpointError> {
    use CheckpointErrorKind::{Missing, Shape, Surplus};
    checked.map_err(|error| {
        if !matches!(error.kind(), Missing(_) | Surplus(_) | Shape { .. }) {
            return error;
        }
        let cause = MismatchCause::find(config, &shards.shapes());
        error.map_kind(|kind| CheckpointErrorKind::Mismatch { problem: Box::new(kind), cause })
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
        let numbers = shards.read(name)?;
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

/// Weight files of a checkpoint folder: `model.safetensors`, or the shards of the index by name;
/// for an adapter, those of its base model and its own.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    if is_adapter(folder) {
        let mut files = weight_files(&base_folder(folder)?)?;
        files.push(folder.join(peft::WEIGHTS));
        return Ok(files);
    }
    Ok(Shards::open(folder)?.files.iter().map(|file| file.path().to_owned()).collect())
}
