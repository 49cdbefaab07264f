//! Checkpoint folders in the layout of Hugging Face, written: what transformers and the servers
//! that take its folders load.
//!
//! Every file is written aside, synced and renamed, and so is the whole folder by [`save_folder`]:
//! who reads sees the old state or the new one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use burn::tensor::{FloatDType, Tensor};
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::checkpoint::{CheckpointError, CheckpointErrorKind, numbers};
use crate::config::ParameterSpec;
use crate::decoder::Decoder;
use crate::shards::{INDEX, Index, WEIGHTS};
use crate::tensors::{write_file, write_views};
use crate::tokenizer::Tokenizer;

/// How weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveOptions {
    /// Type of the numbers.
    pub number_type: NumberType,
    /// Bytes of tensors a file may hold; a tensor that is larger has a file of its own.
    pub max_shard_bytes: u64,
}

/// Types of numbers: in a file, and of what is multiplied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberType {
    /// 32 bits: nothing is lost.
    #[default]
    F32,
    /// The upper 16 of them, rounded to nearest.
    Bf16,
}

impl From<NumberType> for FloatDType {
    fn from(it: NumberType) -> Self {
        match it {
            NumberType::F32 => Self::F32,
            NumberType::Bf16 => Self::BF16,
        }
    }
}

impl Default for SaveOptions {
    /// f32, in files of up to 5 GB, as transformers cuts them.
    fn default() -> Self {
        Self { number_type: NumberType::F32, max_shard_bytes: 5_000_000_000 }
    }
}

impl NumberType {
    fn n_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }

    /// What `config.json` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }
}

/// Writes a whole model folder, tokenizer included, in the place of what was there.
///
/// It is written beside its place, synced, and renamed.
pub fn save_folder(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    folder: &Path,
    options: SaveOptions,
) -> Result<(), CheckpointError> {
    let part = beside(folder, "part");
    let old = beside(folder, "old");
    let io = |err| CheckpointError::new(folder, CheckpointErrorKind::Io(err));
    for left_over in [&part, &old] {
        if left_over.exists() {
            fs::remove_dir_all(left_over).map_err(io)?;
        }
    }
    fs::create_dir_all(&part).map_err(io)?;
    let written = save(decoder, &part, options).and_then(|()| {
        let saved = tokenizer.save(&part);
        saved.map_err(|err| CheckpointError::new(folder, err.into()))
    });
    if let Err(error) = written {
        // What was written so far is of no use; the error that matters is the first one.
        let _ = fs::remove_dir_all(&part);
        return Err(error);
    }
    let replace = || -> std::io::Result<()> {
        File::open(&part)?.sync_all()?;
        if folder.exists() {
            fs::rename(folder, &old)?;
        }
        fs::rename(&part, folder)?;
        if let Some(parent) = folder.parent().filter(|it| !it.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        if old.exists() {
            fs::remove_dir_all(&old)?;
        }
        Ok(())
    };
    replace().map_err(io)
}

/// Writes `config.json` and the weights into an existing folder; adapters are merged into them.
///
/// Weights of another cut that the folder may hold are removed: a reader would take them for
/// these.
pub fn save(decoder: &Decoder, folder: &Path, options: SaveOptions) -> Result<(), CheckpointError> {
    let decoder = &decoder.merged();
    let specs = decoder.config().parameters();
    let shards = cut(&specs, options);
    let names: Vec<String> = match shards.len() {
        1 => vec![WEIGHTS.to_owned()],
        n => (1..=n).map(|at| format!("model-{at:05}-of-{n:05}.safetensors")).collect(),
    };
    remove_others(folder, &names)?;
    let mut index = Index { metadata: Map::new(), weight_map: BTreeMap::new() };
    let mut total = 0;
    let mut rest = specs.iter().zip(decoder.weights());
    for (name, n_tensors) in names.iter().zip(shards) {
        let views: Vec<(&str, Stored<'_>)> = rest
            .by_ref()
            .take(n_tensors)
            .map(|(spec, weight)| (spec.name.as_str(), Stored::new(spec, weight, options)))
            .collect();
        for (tensor, view) in &views {
            total += safetensors::View::data_len(view);
            index.weight_map.insert((*tensor).to_owned(), name.clone());
        }
        write_views(&folder.join(name), views)?;
    }
    if names.len() > 1 {
        index.metadata.insert("total_size".to_owned(), json!(total));
        write_json(&folder.join(INDEX), &index)?;
    }
    let mut config = decoder.config().to_keys();
    config.insert("torch_dtype".to_owned(), json!(options.number_type.name()));
    write_json(&folder.join("config.json"), &config)
}

/// How many tensors go into each file.
fn cut(specs: &[ParameterSpec], options: SaveOptions) -> Vec<usize> {
    let mut shards = vec![0];
    let mut filled = 0;
    for spec in specs {
        let size = (spec.shape[0] * spec.shape[1] * options.number_type.n_bytes()) as u64;
        if filled > 0 && filled + size > options.max_shard_bytes {
            shards.push(0);
            filled = 0;
        }
        *shards.last_mut().expect("there is at least one") += 1;
        filled += size;
    }
    shards
}

/// Removes weights and the index of an earlier save that are not overwritten.
fn remove_others(folder: &Path, names: &[String]) -> Result<(), CheckpointError> {
    let remove = || -> std::io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_shard = name.starts_with("model-") && name.ends_with(".safetensors");
            let is_weights = is_shard || name == WEIGHTS;
            let is_index = name == INDEX && names.len() == 1;
            if is_index || (is_weights && !names.contains(&name)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    remove().map_err(|err| CheckpointError::new(folder, CheckpointErrorKind::Io(err)))
}

pub(crate) fn write_json(
    path: &Path,
    value: &impl serde::Serialize,
) -> Result<(), CheckpointError> {
    let fail = |kind| CheckpointError::new(path, kind);
    let text =
        serde_json::to_vec_pretty(value).map_err(|err| fail(CheckpointErrorKind::Json(err)))?;
    write_file(path, &text).map_err(|err| fail(CheckpointErrorKind::Io(err)))
}

/// A hidden name next to a folder.
fn beside(folder: &Path, what: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.{what}"))
}

/// A weight on its way into a file; its bytes are made when it is its turn.
struct Stored<'a> {
    weight: &'a Tensor<2>,
    shape: Vec<usize>,
    number_type: NumberType,
}

impl<'a> Stored<'a> {
    fn new(spec: &ParameterSpec, weight: &'a Tensor<2>, options: SaveOptions) -> Self {
        Self { weight, shape: spec.disk_shape(), number_type: options.number_type }
    }
}

impl safetensors::View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        match self.number_type {
            NumberType::F32 => Dtype::F32,
            NumberType::Bf16 => Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let numbers = numbers(self.weight);
        Cow::Owned(match self.number_type {
            NumberType::F32 => numbers.iter().flat_map(|it| it.to_le_bytes()).collect(),
            NumberType::Bf16 => {
                numbers.iter().flat_map(|&it| half::bf16::from_f32(it).to_le_bytes()).collect()
            }
        })
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.number_type.n_bytes()
    }
}
