//! Checkpoints: weights, optimizer state, step, and all other state that training changes.
//!
//! A checkpoint folder is also a model folder: `forage eval --model` and any program that reads
//! Hugging Face folders can use it. Where adapters are trained, it holds them in the files of PEFT
//! instead of the model. Random state needs no file: every random number follows from
//! the seed and the step.
//!
//! ```text
//! config.json model.safetensors tokenizer.json    the model
//! optimizer.safetensors                           moments of AdamW
//! critic.safetensors critic-optimizer.safetensors where there is a critic
//! reference.safetensors                           where the reference policy was refreshed
//! average/                                        where weights are averaged: a model folder
//! state.json                                      written last
//! ```

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use forage_model::{
    Critic, Decoder, ParameterSpec, SaveOptions, Tokenizer, numbers, read_tensors, save_adapter,
    write_tensors,
};
use forage_optimizer::{AdamState, AdamW, exponential_moving_average};
use forage_trajectory::BoxError;
use serde::{Deserialize, Serialize};

use crate::critic::CriticState;
use crate::error::TrainingError;
use crate::run_folder::RunFolder;

/// Maximum number of checkpoints; older ones are removed.
const KEPT: usize = 2;

/// Folder of the averaged weights.
const AVERAGE: &str = "average";

/// Weights of the critic, and of the reference policy.
const CRITIC: &str = "critic.safetensors";
const REFERENCE: &str = "reference.safetensors";

/// Training state: everything that a step changes.
#[derive(Debug)]
pub struct TrainState {
    /// Training steps taken. A step may be several updates.
    pub step: u64,
    /// Policy.
    pub decoder: Decoder,
    /// Optimizer of the policy.
    pub adamw: AdamW,
    /// Critic, for advantage estimators that need one.
    pub critic: Option<CriticState>,
    /// Reference policy, once it was refreshed.
    pub reference: Option<Decoder>,
    /// Exponential moving average of the weights, where one is kept.
    pub ema: Option<Decoder>,
    /// Skipped updates of the whole run.
    pub n_skipped: u64,
    /// Steps in a row, up to the last one, with a skipped update.
    pub skipped_in_a_row: u64,
}

/// Content of `state.json`, which is written last, so that a folder with it is complete.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    step: u64,
    optimizer_steps: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    critic_steps: Option<u64>,
    #[serde(default)]
    skipped: u64,
    #[serde(default)]
    skipped_in_a_row: u64,
}

impl TrainState {
    /// Initial training state.
    pub fn new(decoder: Decoder) -> Self {
        let adamw = AdamW::new(decoder.trainable());
        Self {
            step: 0,
            decoder,
            adamw,
            critic: None,
            reference: None,
            ema: None,
            n_skipped: 0,
            skipped_in_a_row: 0,
        }
    }

    /// Weights for evaluation: the moving average, where one is kept.
    pub fn eval_weights(&self) -> &Decoder {
        self.ema.as_ref().unwrap_or(&self.decoder)
    }

    /// Updates the moving average of the weights, where one is kept.
    pub fn update_ema(&mut self, decay: Option<f64>) {
        let (Some(ema), Some(decay)) = (&self.ema, decay) else { return };
        let moved = exponential_moving_average(ema.trainable(), self.decoder.trainable(), decay);
        self.ema = Some(self.decoder.with_trainable(moved));
    }

    /// Writes a checkpoint and removes the oldest.
    pub fn save(&self, run: &RunFolder, tokenizer: &Tokenizer) -> Result<PathBuf, TrainingError> {
        let all = run.path("checkpoints");
        let path = all.join(folder_name(self.step));
        // A checkpoint of this step exists only where a run repeats it, with the same numbers.
        forage_fs::write_folder(&path, |part| self.write(part, tokenizer))
            .map_err(TrainingError::write(&path))?;
        for (_, old) in checkpoints(&all).into_iter().rev().skip(KEPT) {
            std::fs::remove_dir_all(&old).map_err(TrainingError::write(&old))?;
        }
        Ok(path)
    }

    fn write(&self, folder: &Path, tokenizer: &Tokenizer) -> Result<(), BoxError> {
        save_model(&self.decoder, tokenizer, folder)?;
        let specs = self.decoder.trainable_parameters();
        write_moments(&folder.join("optimizer.safetensors"), &specs, &self.adamw)?;
        if let Some(CriticState { critic, adamw }) = &self.critic {
            let specs = Critic::parameters(self.decoder.config());
            write_weights(&folder.join(CRITIC), &specs, &critic.weights())?;
            write_moments(&folder.join("critic-optimizer.safetensors"), &specs, adamw)?;
        }
        if let Some(reference) = &self.reference {
            write_weights(&folder.join(REFERENCE), &specs, reference.trainable())?;
        }
        if let Some(ema) = &self.ema {
            std::fs::create_dir(folder.join(AVERAGE))?;
            save_model(ema, tokenizer, &folder.join(AVERAGE))?;
        }
        let saved = Saved {
            step: self.step,
            optimizer_steps: self.adamw.n_steps,
            critic_steps: self.critic.as_ref().map(|critic| critic.adamw.n_steps),
            skipped: self.n_skipped,
            skipped_in_a_row: self.skipped_in_a_row,
        };
        std::fs::write(folder.join("state.json"), serde_json::to_vec(&saved)?)?;
        Ok(())
    }

    /// Training state of the newest complete checkpoint of a run that began with `start`.
    ///
    /// Where adapters are trained, all that is loaded shares the weights of `start`, so that a run
    /// which is resumed holds them once.
    pub fn load_newest(run: &RunFolder, start: &Decoder) -> Result<Option<Self>, TrainingError> {
        let Some((_, path)) = checkpoints(&run.path("checkpoints")).pop() else { return Ok(None) };
        match Self::load(&path, start) {
            Ok(state) => Ok(Some(state)),
            Err(source) => Err(TrainingError::Checkpoint { path, source }),
        }
    }

    fn load(path: &Path, start: &Decoder) -> Result<Self, BoxError> {
        let saved: Saved = serde_json::from_slice(&std::fs::read(path.join("state.json"))?)?;
        let device = start.device();
        let decoder = load_decoder(path, start)?;
        let config = decoder.config().clone();
        let specs = decoder.trainable_parameters();
        let moments = path.join("optimizer.safetensors");
        let adamw = read_moments(&moments, &specs, saved.optimizer_steps, device)?;
        let critic = match saved.critic_steps {
            None => None,
            Some(n_steps) => {
                let specs = Critic::parameters(&config);
                let weights = read_weights(&path.join(CRITIC), &specs, device)?;
                let moments = path.join("critic-optimizer.safetensors");
                Some(CriticState {
                    critic: Critic::new(decoder.base_model()).with_weights(weights),
                    adamw: read_moments(&moments, &specs, n_steps, device)?,
                })
            }
        };
        let reference = path.join(REFERENCE);
        let reference = if reference.exists() {
            let weights = read_weights(&reference, &specs, device)?;
            Some(decoder.with_trainable(weights))
        } else {
            None
        };
        let average = path.join(AVERAGE);
        let ema = if average.exists() { Some(load_decoder(&average, start)?) } else { None };
        Ok(Self {
            step: saved.step,
            decoder,
            adamw,
            critic,
            reference,
            ema,
            n_skipped: saved.skipped,
            skipped_in_a_row: saved.skipped_in_a_row,
        })
    }
}

/// Decoder that [`save_model`] wrote in a run that began with `start`.
fn load_decoder(folder: &Path, start: &Decoder) -> Result<Decoder, BoxError> {
    Ok(match start.lora() {
        Some(_) => start.load_adapter(folder)?,
        None => {
            forage_model::load(folder, start.device())?.with_compute_dtype(start.compute_dtype())
        }
    })
}

fn write_weights(
    path: &Path,
    specs: &[ParameterSpec],
    weights: &[Tensor<2>],
) -> Result<(), BoxError> {
    let tensors: Vec<_> = specs
        .iter()
        .zip(weights)
        .map(|(spec, weight)| (spec.name.clone(), spec.shape.to_vec(), numbers(weight)))
        .collect();
    Ok(write_tensors(path, &tensors)?)
}

fn read_weights(
    path: &Path,
    specs: &[ParameterSpec],
    device: &Device,
) -> Result<Vec<Tensor<2>>, BoxError> {
    let expected: Vec<(String, Vec<usize>)> =
        specs.iter().map(|spec| (spec.name.clone(), spec.shape.to_vec())).collect();
    let read = read_tensors(path, &expected)?;
    let tensors = read.into_iter().zip(specs);
    Ok(tensors
        .map(|(numbers, spec)| Tensor::from_data(TensorData::new(numbers, spec.shape), device))
        .collect())
}

fn write_moments(path: &Path, specs: &[ParameterSpec], adamw: &AdamW) -> Result<(), BoxError> {
    let moments: Vec<Tensor<2>> = adamw
        .states
        .iter()
        .flat_map(|AdamState { first, second }| [first.clone(), second.clone()])
        .collect();
    write_weights(path, &moment_specs(specs), &moments)
}

fn read_moments(
    path: &Path,
    specs: &[ParameterSpec],
    n_steps: u64,
    device: &Device,
) -> Result<AdamW, BoxError> {
    let moments = read_weights(path, &moment_specs(specs), device)?;
    let states = moments
        .chunks_exact(2)
        .map(|pair| AdamState { first: pair[0].clone(), second: pair[1].clone() })
        .collect();
    Ok(AdamW { states, n_steps })
}

/// Names and shapes of the two moments of each weight.
fn moment_specs(specs: &[ParameterSpec]) -> Vec<ParameterSpec> {
    specs
        .iter()
        .flat_map(|spec| {
            ["first", "second"].map(|moment| ParameterSpec {
                name: format!("{moment}.{}", spec.name),
                ..spec.clone()
            })
        })
        .collect()
}

/// Writes a model folder: config, weights, tokenizer; or the adapters, where there are any.
pub fn save_model(decoder: &Decoder, tokenizer: &Tokenizer, folder: &Path) -> Result<(), BoxError> {
    match decoder.lora() {
        Some(_) => save_adapter(decoder, folder)?,
        None => forage_model::save(decoder, folder, SaveOptions::default())?,
    }
    tokenizer.save(folder)?;
    Ok(())
}

/// Model folder of the newest checkpoint of a run: that of the averaged weights, where the run
/// keeps an average.
pub fn newest(run: &Path) -> Option<PathBuf> {
    let path = checkpoints(&run.join("checkpoints")).pop()?.1;
    let average = path.join(AVERAGE);
    Some(if average.exists() { average } else { path })
}

fn folder_name(step: u64) -> String {
    format!("step-{step:06}")
}

/// Complete checkpoints, oldest first.
fn checkpoints(all: &Path) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(all) else { return Vec::new() };
    let mut found: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let step = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
            entry.path().join("state.json").exists().then(|| (step, entry.path()))
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use forage_model::{LoraConfig, weight_files};
    use forage_trajectory::protocol::TAGS;

    use super::*;
    use crate::config::FreshModel;
    use crate::run_folder::Opening;

    fn logits(decoder: &Decoder) -> Vec<f32> {
        numbers(&decoder.logits(decoder.forward(&[(0..20).collect()])))
    }

    fn moved(decoder: &Decoder, by: f32) -> Decoder {
        decoder.with_trainable(decoder.trainable().iter().map(|it| it.clone() + by).collect())
    }

    #[test]
    fn a_checkpoint_of_adapters_is_a_folder_of_peft_and_goes_on() {
        let tokenizer = Tokenizer::train(&["to be or not to be".to_owned()], 280, &TAGS).unwrap();
        let shape = FreshModel::of_two_layers(tokenizer.vocab_size());
        let device = Device::flex();
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        std::fs::create_dir(&base).unwrap();
        let decoder = Decoder::init(&shape.config(), 1, &device);
        save_model(&decoder, &tokenizer, &base).unwrap();
        let targets = ["q_proj", "up_proj"].map(str::to_owned).to_vec();
        let lora = LoraConfig { rank: 2, alpha: 4.0, targets };
        let fresh = decoder.with_lora(&lora, base.to_str().unwrap(), 1).unwrap();

        let mut state = TrainState::new(moved(&fresh, 0.1));
        state.step = 7;
        state.critic = Some(CriticState::new(&fresh));
        state.reference = Some(moved(&fresh, 0.2));
        state.ema = Some(fresh.clone());
        state.update_ema(Some(0.5));
        let run = RunFolder::open(&folder.path().join("run"), "", Opening::Fresh).unwrap();
        let path = state.save(&run, &tokenizer).unwrap();

        let found = TrainState::load_newest(&run, &fresh).unwrap().unwrap();
        assert_eq!(found.step, 7);
        assert_eq!(found.decoder.lora(), Some(&lora));
        assert_eq!(found.adamw.states.len(), found.decoder.trainable().len());
        for (found, saved) in [
            (&found.decoder, &state.decoder),
            (found.reference.as_ref().unwrap(), state.reference.as_ref().unwrap()),
            (found.ema.as_ref().unwrap(), state.ema.as_ref().unwrap()),
        ] {
            assert_eq!(logits(found), logits(saved));
            assert_ne!(logits(found), logits(&decoder));
        }
        assert!(found.critic.unwrap().critic.decoder().lora().is_none());
        // As a model folder for `forage eval`, and by the files it depends on.
        let opened = forage_model::load(&path, &device).unwrap();
        assert_eq!(logits(&opened), logits(&state.decoder));
        assert_eq!(weight_files(&path).unwrap().len(), 2);
    }
}
