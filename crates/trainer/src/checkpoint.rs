//! The state of a run on disk: weights, optimizer, step.
//!
//! A checkpoint folder is also a model folder: `forage eval --model` and any program that reads
//! Hugging Face folders can use it. Random state needs no file: every random number follows from
//! the seed and the step.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use forage_model::{Decoder, Tokenizer, numbers, read_tensors, write_tensors};
use forage_optimizer::{AdamW, State};
use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure};
use crate::run_folder::{RunFolder, unwritable};

/// Checkpoints that are kept; older ones are removed.
const KEPT: usize = 2;

/// What training changes.
#[derive(Debug)]
pub struct TrainState {
    /// Optimizer steps taken.
    pub step: u64,
    /// The weights.
    pub decoder: Decoder,
    /// The optimizer.
    pub adamw: AdamW,
}

/// `state.json`: written last, so its folder is whole.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    step: u64,
    optimizer_steps: u64,
}

impl TrainState {
    /// The start of a run.
    pub fn new(decoder: Decoder) -> Self {
        let adamw = AdamW::new(decoder.weights());
        Self { step: 0, decoder, adamw }
    }

    /// Writes a checkpoint and removes the oldest.
    pub fn save(&self, run: &RunFolder, tokenizer: &Tokenizer) -> Result<PathBuf> {
        let all = run.path("checkpoints");
        let path = all.join(folder_name(self.step));
        let write = || -> Result<()> {
            std::fs::create_dir_all(&all)?;
            let part = tempfile::Builder::new().prefix(".part-").tempdir_in(&all)?;
            save_model(&self.decoder, tokenizer, part.path())?;
            let specs = self.decoder.config().parameters();
            let mut tensors = Vec::with_capacity(2 * specs.len());
            for (spec, state) in specs.iter().zip(&self.adamw.states) {
                for (kind, moment) in [("first", &state.first), ("second", &state.second)] {
                    tensors.push((
                        format!("{kind}.{}", spec.name),
                        spec.shape.to_vec(),
                        numbers(moment),
                    ));
                }
            }
            write_tensors(&part.path().join("optimizer.safetensors"), &tensors)?;
            let saved = Saved { step: self.step, optimizer_steps: self.adamw.n_steps };
            std::fs::write(part.path().join("state.json"), serde_json::to_vec(&saved)?)?;
            File::open(part.path().join("state.json"))?.sync_all()?;
            if path.exists() {
                // Only a run that repeats this very step gets here, with the same numbers.
                std::fs::remove_dir_all(&path)?;
            }
            std::fs::rename(part.keep(), &path)?;
            File::open(&all)?.sync_all()?;
            Ok(())
        };
        write().with_context(|| unwritable(&path))?;
        for old in checkpoints(&all).into_iter().rev().skip(KEPT) {
            std::fs::remove_dir_all(&old.1).with_context(|| unwritable(&old.1))?;
        }
        Ok(path)
    }

    /// The newest whole checkpoint of a run.
    pub fn load_newest(run: &RunFolder, device: &Device) -> Result<Option<Self>> {
        match checkpoints(&run.path("checkpoints")).pop() {
            None => Ok(None),
            Some((_, path)) => {
                let state = Self::load(&path, device).with_context(|| {
                    Failure::new(Code::Input, format!("checkpoint `{}` is damaged", path.display()))
                        .hint("remove its folder to go on from the one before")
                })?;
                Ok(Some(state))
            }
        }
    }

    fn load(path: &Path, device: &Device) -> Result<Self> {
        let saved: Saved = serde_json::from_slice(&std::fs::read(path.join("state.json"))?)?;
        let decoder = forage_model::load(path, device)?;
        let specs = decoder.config().parameters();
        let expected: Vec<(String, Vec<usize>)> = specs
            .iter()
            .flat_map(|spec| {
                ["first", "second"].map(|it| (format!("{it}.{}", spec.name), spec.shape.to_vec()))
            })
            .collect();
        let moments = read_tensors(&path.join("optimizer.safetensors"), &expected)?;
        let states = moments
            .chunks_exact(2)
            .zip(&specs)
            .map(|(pair, spec)| {
                let tensor = |it: &Vec<f32>| {
                    Tensor::from_data(TensorData::new(it.clone(), spec.shape), device)
                };
                State { first: tensor(&pair[0]), second: tensor(&pair[1]) }
            })
            .collect();
        let adamw = AdamW { states, n_steps: saved.optimizer_steps };
        Ok(Self { step: saved.step, decoder, adamw })
    }
}

/// Writes a model folder: config, weights, tokenizer.
pub fn save_model(decoder: &Decoder, tokenizer: &Tokenizer, folder: &Path) -> Result<()> {
    forage_model::save(decoder, folder)?;
    tokenizer.save(folder)?;
    Ok(())
}

/// The newest checkpoint of a run's folder, as a model folder.
pub fn newest(run: &Path) -> Option<PathBuf> {
    checkpoints(&run.join("checkpoints")).pop().map(|it| it.1)
}

fn folder_name(step: u64) -> String {
    format!("step-{step:06}")
}

/// Whole checkpoints, oldest first.
fn checkpoints(all: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(all) else { return Vec::new() };
    let mut found: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|it| {
            let step = it.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
            it.path().join("state.json").exists().then(|| (step, it.path()))
        })
        .collect();
    found.sort();
    found
}
