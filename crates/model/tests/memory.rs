//! Loading takes the memory of the weights, and little more; so does laying them out for
//! generation. Alone in its file, so that nothing else runs in the process.

use std::fs;

use burn::tensor::Device;
use forage_model::{Generator, ModelConfig, Tokenizer, load};
use forage_trajectory::protocol::TAGS;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

/// A line of `/proc/self/status`, in bytes.
fn status(key: &str) -> Option<usize> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|it| it.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}

#[test]
fn peak_memory_is_the_weights_once_and_a_tenth() {
    let config = json!({
        "model_type": "llama", "vocab_size": 40_000, "hidden_size": 512, "intermediate_size": 1024,
        "num_hidden_layers": 4, "num_attention_heads": 8, "max_position_embeddings": 512,
    });
    let Value::Object(keys) = &config else { unreachable!("it is an object") };
    let config = ModelConfig::from_keys(keys.clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), serde_json::to_vec(keys).unwrap()).unwrap();
    {
        let specs = config.parameters();
        let largest = specs.iter().map(|it| it.shape[0] * it.shape[1]).max().unwrap();
        let bytes = vec![0; 2 * largest];
        let views = specs.iter().map(|spec| {
            let bytes = &bytes[..2 * spec.shape[0] * spec.shape[1]];
            (&spec.name, TensorView::new(Dtype::BF16, spec.disk_shape(), bytes).unwrap())
        });
        let path = folder.path().join("model.safetensors");
        safetensors::serialize_to_file(views, None, &path).unwrap();
    }
    // Linux forgets the peak so far.
    let (Some(before), Ok(())) = (status("VmRSS"), fs::write("/proc/self/clear_refs", "5")) else {
        eprintln!("skipped: this system does not tell the peak of a process's memory");
        return;
    };
    let tokenizer = Tokenizer::train(&["to be or not to be".to_owned()], 280, &TAGS).unwrap();
    let decoder = load(folder.path(), &Device::flex()).unwrap();
    let peak = status("VmHWM").unwrap() - before;
    let weights = 4 * config.n_parameters();
    assert!(weights > 200_000_000);
    let ratio = peak as f64 / weights as f64;
    println!("peak {ratio:.3} of the weights");
    assert!((0.9..=1.1).contains(&ratio), "{peak} bytes for {weights}: {ratio}");

    // Weights go while their panels come: the largest matrix is there twice for a moment.
    let largest = 4 * config.vocab_size * config.hidden_size;
    let generator = Generator::new(decoder, tokenizer);
    let (peak, kept) = (status("VmHWM").unwrap() - before, status("VmRSS").unwrap() - before);
    println!("peak {peak}, kept {kept} of {weights}");
    assert!(peak <= weights + largest + weights / 10, "{peak} bytes for {weights}");
    assert!(kept <= weights + weights / 10, "{kept} bytes for {weights}");
    drop(generator);
}
