//! The decoder against Hugging Face transformers 5.23, and against itself through the cache.

use std::path::PathBuf;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use forage_model::{Decoder, Family, ModelConfig, load};
use forage_trajectory::TokenId;
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    input_ids: Vec<Vec<TokenId>>,
    logits_first_and_last_position: Vec<Vec<Vec<f32>>>,
    logprobs: Vec<Vec<f32>>,
    loss: f64,
    greedy_from_first_8: Vec<Vec<TokenId>>,
    gradient_norms: std::collections::BTreeMap<String, f64>,
}

/// The folder of reference models, where it is at hand.
fn oracles() -> Option<PathBuf> {
    let shared = std::env::var_os("FORAGE_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let folder = shared.join("oracles/models");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no reference models in {} (set FORAGE_SHARED)", folder.display());
    None
}

fn rows(tensor: Tensor<2>) -> Vec<Vec<f32>> {
    let width = tensor.dims()[1];
    let numbers: Vec<f32> = tensor.into_data().try_into_vec_as().unwrap();
    numbers.chunks_exact(width).map(<[f32]>::to_vec).collect()
}

fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "{what} [{at}]: {found} is not {expected}");
    }
}

/// Loss and gradients of the mean negative log-likelihood, as in the script of the oracles.
fn check_training(decoder: &Decoder, expected: &Expected) {
    let tracked = decoder.tracked();
    let (n_seqs, n_tokens) = (expected.input_ids.len(), expected.input_ids[0].len());
    let hidden = tracked.forward(&expected.input_ids);
    let logprobs = log_softmax(tracked.logits(hidden), 1);
    let mut picks = Vec::new();
    let mut targets = Vec::new();
    for (seq, ids) in expected.input_ids.iter().enumerate() {
        picks.extend((0..n_tokens - 1).map(|at| (seq * n_tokens + at) as i64));
        targets.extend(ids[1..].iter().map(|&it| i64::from(it)));
    }
    let n = picks.len();
    let picks = Tensor::<1, Int>::from_data(TensorData::new(picks, [n]), tracked.device());
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [n, 1]), tracked.device());
    let chosen = logprobs.select(0, picks).gather(1, targets);
    let found: Vec<f32> = chosen.clone().inner().into_data().try_into_vec_as().unwrap();
    assert_eq!(found.len(), n_seqs * (n_tokens - 1));
    assert_near(&found, &expected.logprobs.concat(), 1e-4, "log-probabilities");
    let loss = chosen.mean().neg();
    assert!((f64::from(loss.clone().inner().into_scalar::<f32>()) - expected.loss).abs() < 1e-5);
    let mut gradients = loss.backward();
    for (spec, weight) in decoder.config().parameters().iter().zip(tracked.weights()) {
        let gradient = weight.grad_remove(&mut gradients).expect("every weight is used");
        let norm = f64::from((gradient.clone() * gradient).sum().into_scalar::<f32>()).sqrt();
        let expected = expected.gradient_norms[&spec.name];
        let relative = (norm - expected).abs() / expected.max(1e-9);
        assert!(relative < 1e-3, "gradient of {}: {norm} is not {expected}", spec.name);
    }
}

fn check_generation(decoder: &Decoder, expected: &Expected) {
    let mut cache = decoder.cache(expected.greedy_from_first_8.len());
    let mut feed: Vec<Vec<TokenId>> =
        expected.greedy_from_first_8.iter().map(|it| it[..8].to_vec()).collect();
    for at in 8..expected.greedy_from_first_8[0].len() {
        let logits = rows(decoder.extend(&mut cache, &feed));
        for ((row, wanted), feed) in logits.iter().zip(&expected.greedy_from_first_8).zip(&mut feed)
        {
            let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
            assert_eq!(best as TokenId, wanted[at], "greedy token {at}");
            *feed = vec![best as TokenId];
        }
    }
}

#[test]
fn decoders_agree_with_transformers() {
    let Some(folder) = oracles() else { return };
    for name in ["qwen2-tied", "qwen2-bf16", "qwen3"] {
        let folder = folder.join(name);
        let expected = std::fs::read(folder.join("expected.json")).unwrap();
        let expected: Expected = serde_json::from_slice(&expected).unwrap();
        let decoder = load(&folder, &Device::flex()).unwrap();
        let logits = rows(decoder.logits(decoder.forward(&expected.input_ids)));
        let n_tokens = expected.input_ids[0].len();
        for (seq, wanted) in expected.logits_first_and_last_position.iter().enumerate() {
            for (at, wanted) in [0, n_tokens - 1].into_iter().zip(wanted) {
                assert_near(&logits[seq * n_tokens + at], wanted, 2e-4, name);
            }
        }
        check_training(&decoder, &expected);
        check_generation(&decoder, &expected);
    }
}

fn small(family: Family) -> Decoder {
    let config = ModelConfig {
        model_type: family,
        vocab_size: 50,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: None,
        max_position_embeddings: 512,
        rms_norm_eps: 1e-6,
        rope_theta: Some(100.0),
        rope_parameters: None,
        rope_scaling: None,
        tie_word_embeddings: family == Family::Qwen3,
        use_sliding_window: false,
        initializer_range: 0.3,
        architectures: vec![],
    };
    Decoder::init(&config, 3, &Device::flex())
}

fn ids(n: usize, salt: usize) -> Vec<TokenId> {
    (0..n).map(|at| ((at * 7 + at * at * salt + salt) % 50) as TokenId).collect()
}

/// Sequences of different lengths, fed in uneven pieces, give the logits of one pass over each
/// alone: neither padding, blocks, the cache nor the neighbours change a result.
#[test]
fn cache_padding_and_blocks_change_nothing() {
    for family in [Family::Qwen2, Family::Qwen3] {
        let decoder = small(family);
        let sequences = [ids(300, 1), ids(17, 2), ids(140, 3)];
        let alone: Vec<Vec<Vec<f32>>> = sequences
            .iter()
            .map(|it| rows(decoder.logits(decoder.forward(std::slice::from_ref(it)))))
            .collect();
        let together = rows(decoder.logits(decoder.forward(&sequences)));
        for (seq, alone) in alone.iter().enumerate() {
            for (at, alone) in alone.iter().enumerate() {
                assert_near(&together[seq * 300 + at], alone, 2e-4, "padded batch");
            }
        }
        let mut cache = decoder.cache(3);
        let mut done = [0; 3];
        for pieces in [[5, 17, 0], [1, 0, 100], [250, 0, 1], [1, 0, 1], [43, 0, 38]] {
            let feed: Vec<Vec<TokenId>> = (0..3)
                .map(|seq| sequences[seq][done[seq]..done[seq] + pieces[seq]].to_vec())
                .collect();
            let logits = rows(decoder.extend(&mut cache, &feed));
            let changed: Vec<usize> = (0..3).filter(|&seq| pieces[seq] > 0).collect();
            for (row, &seq) in logits.iter().zip(&changed) {
                done[seq] += pieces[seq];
                assert_near(row, &alone[seq][done[seq] - 1], 2e-4, "cached");
            }
        }
        assert_eq!(done, [300, 17, 140]);
        cache.keep(&[2, 0]);
        let logits = rows(decoder.extend(&mut cache, &[vec![9], vec![]]));
        let mut longer = sequences[2].clone();
        longer.push(9);
        let alone = rows(decoder.logits(decoder.forward(&[longer])));
        assert_near(&logits[0], alone.last().unwrap(), 2e-4, "after others left");
    }
}
