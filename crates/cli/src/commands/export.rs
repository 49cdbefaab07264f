//! `forage export`: writes a model in the layout of Hugging Face, for other programs.

use std::path::PathBuf;

use anyhow::{Context, Result};
use burn::tensor::Device;
use forage_model::{NumberType, SaveOptions, save_folder};
use forage_training::checkpoint::newest;

use crate::exit_code::{Code, Failure};
use crate::model;
use crate::output::print_line;

/// Bytes of a megabyte.
const MEGABYTE: u64 = 1_000_000;

/// Write a model into a folder that transformers, vLLM and `SGLang` load
///
/// LoRA adapters are merged into the model. The folder also holds the tokenizer.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run's folder, for its newest checkpoint; or the folder of a model or of adapters
    pub model: PathBuf,

    /// Folder to write; it must not exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Folder of the model that the adapters belong to. Default: the one that they name
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,

    /// Number type of the weights
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f32")]
    pub numbers: Numbers,

    /// Maximum size of a file in megabytes; a larger tensor has a file of its own
    #[arg(long, value_name = "MB", default_value_t = 5000)]
    pub shard: u64,
}

/// Number type of exported weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Numbers {
    /// 32 bits: the weights as they are.
    F32,
    /// 16 bits, rounded to the nearest.
    Bf16,
}

/// Runs the command, and prints the path of the folder.
pub fn run(args: &Args) -> Result<()> {
    let out = &args.out;
    if out.exists() {
        return Err(Failure::new(Code::Usage, format!("`{}` is there already", out.display()))
            .hint("name a new folder with `--out DIR`")
            .into());
    }
    let folder = newest(&args.model).unwrap_or_else(|| args.model.clone());
    let (decoder, tokenizer) =
        model::open_with_base(&folder, args.base.as_deref(), &Device::flex())?;
    let number_type = match args.numbers {
        Numbers::F32 => NumberType::F32,
        Numbers::Bf16 => NumberType::Bf16,
    };
    let max_shard_bytes = args.shard.saturating_mul(MEGABYTE);
    let options = SaveOptions { number_type, max_shard_bytes };
    save_folder(&decoder, &tokenizer, out, options).with_context(|| {
        Failure::new(Code::Input, format!("cannot write `{}`", out.display()))
            .hint("check free space and permissions")
    })?;
    print_line(out.display())?;
    Ok(())
}
