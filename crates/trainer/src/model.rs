//! Opening a model folder for a person: the right device, the right folder, or a clear error.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;
use forage_model::{Decoder, Tokenizer};

use crate::failure::{Code, Failure};

/// The device of this name.
pub fn device(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::flex()),
        other => Err(Failure::new(Code::Usage, format!("there is no device `{other}`"))
            .hint("this build knows `cpu`")
            .into()),
    }
}

/// Loads decoder and tokenizer of a model folder.
pub fn open(path: &Path, device: &Device) -> Result<(Decoder, Tokenizer)> {
    let failure = || {
        Failure::new(Code::Input, format!("cannot use the model `{}`", path.display())).hint(
            "a model folder holds `config.json`, `model.safetensors` and `tokenizer.json` of one model",
        )
    };
    let tokenizer = Tokenizer::load(path).with_context(failure)?;
    let decoder = forage_model::load(path, device).with_context(failure)?;
    let rows = decoder.config().vocab_size;
    if tokenizer.vocab_size() > rows {
        return Err(anyhow::anyhow!(
            "the tokenizer has {} tokens, the embedding {rows} rows",
            tokenizer.vocab_size()
        ))
        .with_context(failure);
    }
    Ok((decoder, tokenizer))
}
