//! Saving of checkpoint folders in the layout of Hugging Face, which transformers and the servers
//! that take its folders load.
//!
//! Every file is written whole or not at all, and so is the whole folder by [`save_folder`]: a
//! reader sees the old state or the new one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use burn::tensor::{FloatDType, Tensor};
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::config::ParameterSpec;
use crate::decoder::Decoder;
use crate::error::{CheckpointError, CheckpointErrorKind};
use crate::json_file::write_json;
use crate::ops::numbers;
use crate::shards::{INDEX, Index, WEIGHTS};
use crate::tensors::write_views;
use crate::tokenizer::Tokenizer;

/// Options of saving: number type and shard size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveOptions {
    /// Number type of the weights. Default: f32.
    pub number_type: NumberType,
    /// Bytes of tensors a shard may hold; a larger tensor has a shard of its own. Default: 5 GB,
    /// as in transformers.
    pub max_shard_bytes: u64,
}

/// Number type (dtype) of weights in a file, or of the factors of matrix products. Default: f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberType {
    /// Single precision: 32 bits.
    #[default]
    F32,
    /// bfloat16: the upper 16 of them, rounded to nearest.
    Bf16,
}

impl From<NumberType> for FloatDType {
    fn from(number_type: NumberType) -> Self {
        match number_type {
            NumberType::F32 => Self::F32,
            NumberType::Bf16 => Self::BF16,
        }
    }
}

impl Default for SaveOptions {
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

    /// Name in `config.json` (`torch_dtype`).
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        }
    }
}

/// Saves a whole checkpoint folder, tokenizer included, in the place of what was there. The folder
/// is replaced as a whole, or stays as it was.
///
/// What killed processes left of an earlier attempt is removed.
pub fn save_folder(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    folder: &Path,
    options: SaveOptions,
) -> Result<(), CheckpointError> {
    let fail = |kind| CheckpointError::new(folder, kind);
    forage_fs::remove_parts_of(folder);
    let written = forage_fs::write_folder(folder, |part| -> Result<(), FolderFailure> {
        save(decoder, part, options).map_err(FolderFailure::Checkpoint)?;
        let saved = tokenizer.save(part);
        saved.map_err(|err| FolderFailure::Checkpoint(fail(err.into())))
    });
    written.map_err(|failure| match failure {
        FolderFailure::Io(err) => fail(CheckpointErrorKind::Io(err)),
        FolderFailure::Checkpoint(err) => err,
    })
}

/// Failures of writing a folder: of the folder itself, or of something in it.
enum FolderFailure {
    Io(io::Error),
    Checkpoint(CheckpointError),
}

impl From<io::Error> for FolderFailure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Saves `config.json` and the weights into an existing folder; adapters are merged into them.
///
/// Shards of an earlier save that are not overwritten are removed: a reader would take them for
/// these.
pub fn save(decoder: &Decoder, folder: &Path, options: SaveOptions) -> Result<(), CheckpointError> {
    let decoder = &decoder.merged();
    let specs = decoder.config().parameters();
    let shards = shard_sizes(&specs, options);
    let names: Vec<String> = match shards.len() {
        1 => vec![WEIGHTS.to_owned()],
        n => (1..=n).map(|at| format!("model-{at:05}-of-{n:05}.safetensors")).collect(),
    };
    remove_old_shards(folder, &names)?;
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

/// Number of tensors of each shard.
fn shard_sizes(specs: &[ParameterSpec], options: SaveOptions) -> Vec<usize> {
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
fn remove_old_shards(folder: &Path, names: &[String]) -> Result<(), CheckpointError> {
    let remove = || -> io::Result<()> {
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

/// Weight on its way into a file, whose bytes are made when it is its turn.
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
            NumberType::Bf16 => numbers
                .iter()
                .flat_map(|&number| half::bf16::from_f32(number).to_le_bytes())
                .collect(),
        })
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.number_type.n_bytes()
    }
}
