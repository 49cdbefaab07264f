//! Writes small random models for other programs to load: of every family a folder in one file and
//! one in shards, one in bf16, an adapter, and the adapter merged; and what Forage computes of
//! each. `tests/oracles/saved.py` loads them and compares.
//!
//! ```text
//! cargo run -p forage-model --example saved -- OUT_DIR
//! ```

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use forage_model::{
    Decoder, LoraConfig, ModelConfig, NumberType, SaveOptions, load, numbers, save, save_adapter,
};
use forage_trajectory::TokenId;
use serde_json::{Map, Value, json};

/// `rope_scaling` of a configuration.
type Scaling = fn() -> Value;

/// A family, and a way to scale its rotary positions.
const FAMILIES: [(&str, Scaling); 3] = [
    ("qwen2", || json!({"rope_type": "linear", "factor": 2.0})),
    (
        "qwen3",
        || json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}),
    ),
    ("llama", || {
        json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        })
    }),
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::args_os().nth(1).map(PathBuf::from).ok_or("name a folder to write to")?;
    for (model_type, rope_scaling) in FAMILIES {
        write(&out.join(model_type), model_type, rope_scaling)?;
    }
    Ok(())
}

fn config(model_type: &str, rope_scaling: Scaling) -> Result<ModelConfig, Box<dyn Error>> {
    let keys = json!({
        "model_type": model_type, "vocab_size": 128, "hidden_size": 32, "intermediate_size": 80,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "max_position_embeddings": 256, "rope_theta": 10_000.0, "rope_scaling": rope_scaling(),
        "attention_bias": true, "mlp_bias": true, "initializer_range": 0.2,
        "tie_word_embeddings": model_type == "qwen2",
    });
    let Value::Object(keys) = keys else { unreachable!("it is an object") };
    Ok(ModelConfig::from_keys(keys)?)
}

fn write(out: &Path, model_type: &str, rope_scaling: Scaling) -> Result<(), Box<dyn Error>> {
    let [base, sharded, bf16, adapter, merged] =
        ["base", "sharded", "bf16", "adapter", "merged"].map(|it| out.join(it));
    for folder in [&base, &sharded, &bf16, &adapter, &merged] {
        fs::create_dir_all(folder)?;
    }
    let device = Device::flex();
    let decoder = varied(&Decoder::init(&config(model_type, rope_scaling)?, 7, &device));
    let targets = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"];
    let targets = targets.iter().map(|&it| it.to_owned()).collect();
    let lora = LoraConfig { rank: 4, alpha: 6.0, targets };
    // Of a fresh adapter one half is 0, and nobody could tell whether it was read.
    let trained = varied(&decoder.with_lora(&lora, &base.to_string_lossy(), 7)?);
    let whole = SaveOptions::default();
    save(&decoder, &base, whole)?;
    save(&decoder, &sharded, SaveOptions { max_shard_bytes: 40_000, ..whole })?;
    save(&decoder, &bf16, SaveOptions { number_type: NumberType::Bf16, ..whole })?;
    save_adapter(&trained, &adapter)?;
    save(&trained, &merged, whole)?;

    let tokens: Vec<TokenId> = (0..40).map(|it| it * 11 % 128).collect();
    let logits = |it: &Decoder| numbers(&it.logits(it.forward(std::slice::from_ref(&tokens))));
    let mut expected = Map::new();
    expected.insert("tokens".to_owned(), json!(tokens));
    let (plain, moved) = (logits(&decoder), logits(&trained));
    let rounded = logits(&load(&bf16, &device)?);
    for (name, logits) in [
        ("base", &plain),
        ("sharded", &plain),
        ("bf16", &rounded),
        ("adapter", &moved),
        ("merged", &moved),
    ] {
        expected.insert(name.to_owned(), json!(logits));
    }
    fs::write(out.join("logits.json"), serde_json::to_vec(&expected)?)?;
    Ok(())
}

/// The same with other trainable weights, so that no bias is 0 and no norm 1.
fn varied(decoder: &Decoder) -> Decoder {
    let weights = decoder.trainable().iter().enumerate().map(|(idx, weight)| {
        let [rows, columns] = weight.dims();
        let number = |at: usize| ((at + 31 * idx) as f32 * 0.7).sin() * 0.2;
        let added: Vec<f32> = (0..rows * columns).map(number).collect();
        let added = TensorData::new(added, [rows, columns]);
        weight.clone() + Tensor::from_data(added, decoder.device())
    });
    decoder.with_trainable(weights.collect())
}
