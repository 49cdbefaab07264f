//! Embeds texts with the encoder in a folder: a JSON list of texts on standard input, a JSON list
//! of vectors on standard output. `tests/oracles/minilm.py` compares them with those of
//! sentence-transformers.
//!
//! ```text
//! echo '["to be or not to be"]' | cargo run -p forage-model --example embed -- FOLDER passage
//! ```

use std::error::Error;
use std::io::{stdin, stdout};
use std::path::PathBuf;

use burn::tensor::Device;
use forage_model::{EncoderOptions, TextEncoder};
use forage_trajectory::{Embedder, TextRole};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().map(PathBuf::from).ok_or("name the folder of an encoder")?;
    let role = match arguments.next() {
        Some(it) if it == "query" => TextRole::Query,
        Some(it) if it == "passage" => TextRole::Passage,
        _ => return Err("say `query` or `passage`".into()),
    };
    let texts: Vec<String> = serde_json::from_reader(stdin())?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let encoder = TextEncoder::load(&folder, &Device::flex(), &EncoderOptions::default())?;
    eprintln!("{}", encoder.name());
    let vectors = encoder.embed(&texts, role).map_err(|error| error as Box<dyn Error>)?;
    serde_json::to_writer(stdout(), &vectors)?;
    Ok(())
}
