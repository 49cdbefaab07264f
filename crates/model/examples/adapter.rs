//! Writes a small random model, an adapter for it, and both merged, for other programs to load:
//! `crates/model/tests/fixtures/adapters.py` compares what they compute with `logits.json`.
//!
//! ```text
//! cargo run -p forage-model --example adapter -- OUT_DIR
//! ```

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use forage_model::{
    Decoder, Family, LoraConfig, ModelConfig, Rope, SaveOptions, numbers, save, save_adapter,
};
use forage_trajectory::TokenId;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::args_os().nth(1).map(PathBuf::from).ok_or("name a folder to write to")?;
    let [base, adapter, merged] = ["base", "adapter", "merged"].map(|it| out.join(it));
    for folder in [&base, &adapter, &merged] {
        fs::create_dir_all(folder)?;
    }
    let config = ModelConfig {
        model_type: Family::Qwen2,
        vocab_size: 128,
        hidden_size: 32,
        intermediate_size: 80,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: Some(8),
        max_position_embeddings: 256,
        rms_norm_eps: 1e-6,
        rope: Rope::plain(10_000.0),
        attention_bias: true,
        mlp_bias: false,
        tie_word_embeddings: true,
        initializer_range: 0.2,
        other: serde_json::Map::new(),
    };
    let decoder = Decoder::init(&config, 7, &Device::flex());
    let targets = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"];
    let targets = targets.iter().map(|&it| it.to_owned()).collect();
    let lora = LoraConfig { rank: 4, alpha: 6.0, targets };
    let fresh = decoder.with_lora(&lora, &base.to_string_lossy(), 7)?;
    // Of a fresh adapter one half is 0, and nobody could tell whether it was read.
    let weights = fresh.trainable().iter().enumerate().map(|(idx, it)| {
        let [rows, columns] = it.dims();
        let number = |at: usize| ((at + 31 * idx) as f32 * 0.7).sin() * 0.2;
        let all: Vec<f32> = (0..rows * columns).map(number).collect();
        Tensor::from_data(TensorData::new(all, [rows, columns]), &Device::flex())
    });
    let weights = weights.collect();
    let trained = fresh.with_trainable(weights);
    save(&decoder, &base, SaveOptions::default())?;
    save_adapter(&trained, &adapter)?;
    save(&trained, &merged, SaveOptions::default())?;

    let tokens: Vec<TokenId> = (0..40).map(|it| it * 11 % 128).collect();
    let logits = |it: &Decoder| numbers(&it.logits(it.forward(std::slice::from_ref(&tokens))));
    let logits = json!({ "tokens": tokens, "base": logits(&decoder), "adapted": logits(&trained) });
    fs::write(out.join("logits.json"), serde_json::to_vec(&logits)?)?;
    Ok(())
}
