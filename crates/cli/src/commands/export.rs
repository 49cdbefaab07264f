//! `forage export`: a model in one folder, for other programs.

use std::path::PathBuf;

use anyhow::{Context, Result};
use burn::tensor::Device;
use forage_model::{NumberType, SaveOptions, save_folder};

use crate::exit_code::{Code, Failure};
use crate::model;
use crate::output::print_line;
use forage_training::checkpoint::newest;

/// Bytes of a megabyte.
const MEGABYTE: u64 = 1_000_000;

/// Write a model into a folder that transformers, vLLM and `SGLang` load
///
/// Adapters are merged into their model. The folder holds the tokenizer, too.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's folder, whose newest checkpoint is taken, or a model folder, or one of adapters
    pub model: PathBuf,

    /// Folder to write; it must not be there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Type of the numbers
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f32")]
    pub numbers: Numbers,

    /// Most megabytes of a file; a larger tensor has a file of its own
    #[arg(long, value_name = "MB", default_value_t = 5000)]
    pub shard: u64,
}

/// Types of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Numbers {
    /// 32 bits: nothing is lost.
    F32,
    /// 16 bits, rounded to nearest.
    Bf16,
}

/// Writes the folder, and its path on standard output.
pub fn run(args: &Args) -> Result<()> {
    let out = &args.out;
    if out.exists() {
        return Err(Failure::new(Code::Usage, format!("`{}` is there already", out.display()))
            .hint("name a new folder with `--out DIR`")
            .into());
    }
    let folder = newest(&args.model).unwrap_or_else(|| args.model.clone());
    let (decoder, tokenizer) = model::open(&folder, &Device::flex())?;
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
