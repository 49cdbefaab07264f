//! Model folders and devices of a run file, opened, with errors that say what to change.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use forage_model::{Decoder, Tokenizer, base_of_adapter, can_compute, is_adapter};
use forage_trajectory::protocol::TAGS;

use crate::exit_code::{Code, Failure};
use crate::run_file::{ModelOptions, RunConfig};

/// Device of this name.
pub fn device(name: &str) -> Result<Device> {
    forage_model::device(name).with_context(|| {
        Failure::new(Code::Usage, format!("the device `{name}` cannot be used"))
            .hint("`cpu` always can")
    })
}

/// Device of a run file; an error where it does not support `model.compute`.
pub fn device_of(config: &RunConfig) -> Result<Device> {
    let device = device(&config.device)?;
    if can_compute(&device, config.model.compute.into()) {
        return Ok(device);
    }
    let what =
        format!("`model.compute = \"bf16\"` cannot be had on the device `{}`", config.device);
    Err(Failure::new(Code::Usage, what)
        .hint("NVIDIA cards compute in bf16, as `cuda:N`; leave it out for f32, which all do")
        .into())
}

/// Loads the decoder and the tokenizer of a model folder.
pub fn open(path: &Path, device: &Device) -> Result<(Decoder, Tokenizer)> {
    let failure = || unusable(path);
    let tokenizer = tokenizer(path)?;
    let decoder = forage_model::load(path, device).with_context(failure)?;
    tokenizer.check_fits(decoder.config()).with_context(failure)?;
    Ok((decoder, tokenizer))
}

/// Reads the tokenizer of a model folder.
pub fn tokenizer(path: &Path) -> Result<Tokenizer> {
    let failure = || unusable(path);
    // Adapters are often published without the tokenizer of their model.
    let base = if is_adapter(path) && !path.join("tokenizer.json").exists() {
        base_of_adapter(path).with_context(failure)?.map(PathBuf::from)
    } else {
        None
    };
    Tokenizer::load(base.as_deref().unwrap_or(path), &TAGS).with_context(failure)
}

fn unusable(path: &Path) -> Failure {
    Failure::new(Code::Input, format!("cannot use the model `{}`", path.display())).hint(
        "a model folder holds `config.json`, safetensors files and a tokenizer, all of one model",
    )
}

/// Loads the initial model of a training, with fresh LoRA adapters where the run file has
/// `model.lora`. A folder of adapters has its own.
pub fn open_trainable(
    options: &ModelOptions,
    path: &Path,
    seed: u64,
    device: &Device,
) -> Result<(Decoder, Tokenizer)> {
    let (decoder, tokenizer) = open(path, device)?;
    let decoder = decoder.with_compute_dtype(options.compute.into());
    let Some(lora) = &options.lora else { return Ok((decoder, tokenizer)) };
    let failure = |what: &str| {
        Failure::new(Code::Usage, format!("`model.lora` cannot be used with `{}`", path.display()))
            .hint(what.to_owned())
    };
    match decoder.lora() {
        None => {
            let base = path.to_string_lossy();
            let decoder = decoder.with_lora(lora, &base, seed);
            Ok((
                decoder.with_context(|| failure("docs/configuration.md lists its keys"))?,
                tokenizer,
            ))
        }
        Some(found) if found == lora => Ok((decoder, tokenizer)),
        Some(_) => {
            Err(failure("its adapters have other options: leave out `model.lora` to train them")
                .into())
        }
    }
}
