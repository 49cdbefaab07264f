//! Model folders and devices of a run file, opened, with errors that say what to change.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use forage_model::{
    Decoder, Tokenizer, base_folder, can_compute, is_adapter, load_adapted, load_config,
};
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
    open_with_base(path, None, device)
}

/// Loads the decoder and the tokenizer of a model folder; where it holds an adapter, with this base
/// model. Default: that of the adapter.
pub fn open_with_base(
    path: &Path,
    base: Option<&Path>,
    device: &Device,
) -> Result<(Decoder, Tokenizer)> {
    check_folder(path)?;
    let failure = || unusable(path);
    let base = adapter_base(path, base)?;
    load_config(base.as_deref().unwrap_or(path)).with_context(failure)?;
    let tokenizer = read_tokenizer(path, base.as_deref())?;
    let decoder = match &base {
        Some(base) => load_adapted(path, base, device),
        None => forage_model::load(path, device),
    };
    let decoder = decoder.with_context(failure)?;
    tokenizer.check_fits(decoder.config()).with_context(failure)?;
    Ok((decoder, tokenizer))
}

/// Reads the tokenizer of a model folder.
pub fn tokenizer(path: &Path) -> Result<Tokenizer> {
    check_folder(path)?;
    read_tokenizer(path, adapter_base(path, None)?.as_deref())
}

/// Folder of the base model where a folder holds an adapter: the given one, or else the one that the
/// adapter names.
fn adapter_base(path: &Path, given: Option<&Path>) -> Result<Option<PathBuf>> {
    if !is_adapter(path) {
        return Ok(None);
    }
    let Some(base) = given else {
        return base_folder(path).map(Some).with_context(|| no_base(path));
    };
    check_folder(base)?;
    Ok(Some(base.to_owned()))
}

/// Reads the tokenizer of a folder, or that of its base model: adapters are often published without.
fn read_tokenizer(path: &Path, base: Option<&Path>) -> Result<Tokenizer> {
    let has_own = ["tokenizer.json", "vocab.json"].iter().any(|file| path.join(file).exists());
    let folder = base.filter(|_| !has_own).unwrap_or(path);
    Tokenizer::load(folder, &TAGS).with_context(|| unusable(path))
}

/// Refuses what is no folder, such as the name of a model in a hub.
fn check_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let what = if path.exists() { "is no folder" } else { "is not there" };
    let mut failure = Failure::new(
        Code::Input,
        format!("cannot use the model `{}`, which {what}", path.display()),
    )
    .hint("name a folder with `config.json`, safetensors files and a tokenizer");
    let is_name = path.is_relative() && path.components().count() == 2 && !path.exists();
    if is_name {
        failure = failure.hint(format!(
            "models are not downloaded: fetch one with `hf download {} --local-dir DIR` and name \
             DIR",
            path.display()
        ));
    }
    Err(failure.into())
}

fn unusable(path: &Path) -> Failure {
    Failure::new(Code::Input, format!("cannot use the model `{}`", path.display())).hint(
        "a model folder holds `config.json`, safetensors files and a tokenizer, all of one model",
    )
}

fn no_base(path: &Path) -> Failure {
    Failure::new(Code::Input, format!("cannot use the adapter `{}`", path.display())).hint(
        "write the folder of its model into `base_model_name_or_path` of its \
         `adapter_config.json`; `forage export`, `eval` and `chat` take it as `--base DIR` too",
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
            // The adapters are loaded from other folders than this run is started in.
            let base = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let decoder = decoder.with_lora(lora, &base.to_string_lossy(), seed);
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
