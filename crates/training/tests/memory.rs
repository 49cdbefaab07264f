//! Where adapters are trained, the reference policy and the average share the weights that the run
//! began with, also in a run that is resumed. Alone in its file, so that nothing else runs in the
//! process.

use std::fs;

use burn::tensor::Device;
use forage_model::{Decoder, LoraConfig, ModelConfig, PackedSequences, Tokenizer};
use forage_training::checkpoint::TrainState;
use forage_training::run_folder::{Opening, RunFolder};
use forage_trajectory::protocol::TAGS;
use serde_json::{Value, json};

/// Resident memory of this process, in bytes.
fn resident() -> Option<usize> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}

fn moved(decoder: &Decoder, by: f32) -> Decoder {
    decoder.with_trainable(decoder.trainable().iter().map(|it| it.clone() + by).collect())
}

/// Log-probabilities of a few tokens.
fn logprobs(decoder: &Decoder) -> Vec<f32> {
    let tokens: Vec<_> = (0..12).collect();
    let at: Vec<_> = (1..12).collect();
    let packed = PackedSequences::new([(tokens.as_slice(), at.as_slice())]);
    let logprobs = decoder.logprobs(&packed, 1.0).logprobs;
    logprobs.into_data().try_into_vec_as().unwrap()
}

#[test]
fn a_reference_costs_no_second_copy_of_the_model() {
    let Some(_) = resident() else {
        eprintln!("SKIPPED: this system does not tell the memory of a process");
        return;
    };
    let keys = json!({
        "model_type": "llama", "vocab_size": 20_000, "hidden_size": 512,
        "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 8,
        "max_position_embeddings": 64, "tie_word_embeddings": true,
    });
    let Value::Object(keys) = keys else { unreachable!("it is an object") };
    let config = ModelConfig::from_keys(keys).unwrap();
    let base = 4 * config.n_parameters();
    assert!(base > 80_000_000, "too small to be seen: {base}");
    let tokenizer = Tokenizer::train(&["to be or not to be".to_owned()], 280, &TAGS).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::open(&folder.path().join("run"), "", Opening::Fresh).unwrap();

    let targets = ["q_proj", "down_proj"].map(str::to_owned).to_vec();
    let lora = LoraConfig { rank: 2, alpha: 4.0, targets };
    let start = Decoder::init(&config, 1, &Device::flex()).with_lora(&lora, "base", 1).unwrap();
    let wanted = logprobs(&moved(&start, 0.1));
    let before = resident().unwrap();

    // As in a run that refreshes its reference, keeps an average, is saved and resumed.
    let mut state = TrainState::new(moved(&start, 0.1));
    state.reference = Some(moved(&start, 0.2));
    state.ema = Some(start.clone());
    state.update_ema(Some(0.5));
    state.save(&run, &tokenizer).unwrap();
    let resumed = TrainState::load_newest(&run, &start).unwrap().unwrap();
    assert_eq!(logprobs(&resumed.decoder), wanted);
    assert_ne!(logprobs(resumed.reference.as_ref().unwrap()), wanted);
    assert_ne!(logprobs(resumed.ema.as_ref().unwrap()), wanted);

    let more = resident().unwrap().saturating_sub(before);
    println!("{more} bytes more, {:.3} of the model", more as f64 / base as f64);
    assert!(more < base / 4, "{more} bytes more than the {base} of the model");
    drop((start, state, resumed));
}
