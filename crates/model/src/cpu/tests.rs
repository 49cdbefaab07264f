//! Generation on the CPU against Hugging Face transformers 5.23, and a published story.
//!
//! `tests/oracles.rs` does the same with the decoder that trains, and says what the numbers are.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Deserialize;

use super::*;
use crate::checkpoint::load;

#[derive(Deserialize)]
struct Expected {
    input_ids: Vec<Vec<TokenId>>,
    logits_first_and_last_position: Vec<Vec<Vec<f32>>>,
    logprobs: Vec<Vec<f32>>,
    greedy_from_first_8: Vec<Vec<TokenId>>,
}

#[derive(Deserialize)]
struct Story {
    tokens: Vec<TokenId>,
    logits: Vec<Vec<f32>>,
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn opened(folder: &Path) -> CpuDecoder {
    CpuDecoder::new(load(folder, &Device::flex()).unwrap())
}

/// Appends tokens to each sequence; logits after the last of each.
fn extend(
    decoder: &CpuDecoder,
    caches: &mut [CpuKvCache],
    tokens: &[Vec<TokenId>],
) -> Vec<Vec<f32>> {
    let mut feeds: Vec<(&mut CpuKvCache, &[TokenId])> =
        caches.iter_mut().zip(tokens.iter().map(Vec::as_slice)).collect();
    let logits = decoder.forward_cached(&mut feeds);
    logits.chunks_exact(decoder.config().vocab_size).map(<[f32]>::to_vec).collect()
}

fn empty_caches(decoder: &CpuDecoder, n: usize) -> Vec<CpuKvCache> {
    vec![CpuKvCache::new(decoder.config().num_hidden_layers); n]
}

fn assert_near(found: &[f32], wanted: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!((found - wanted).abs() <= tolerance, "{what} [{at}]: {found} is not {wanted}");
    }
}

fn best(logits: &[f32]) -> TokenId {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as TokenId
}

fn logprob(logits: &[f32], token: TokenId) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|it| f64::from(it - max).exp()).sum();
    (f64::from(logits[token as usize] - max) - total.ln()) as f32
}

#[test]
fn generation_agrees_with_transformers() {
    for name in
        ["llama", "llama3-rope", "qwen2-bf16", "qwen2-tied", "qwen2-untied-sharded", "qwen3"]
    {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let expected: Expected = read(&folder.join("expected.json"));
        let decoder = opened(&folder);

        // Token by token.
        let n_tokens = expected.input_ids[0].len();
        let mut caches = empty_caches(&decoder, expected.input_ids.len());
        let mut logits = vec![Vec::new(); caches.len()];
        for at in 0..n_tokens {
            let feed: Vec<_> = expected.input_ids.iter().map(|it| vec![it[at]]).collect();
            for (all, row) in logits.iter_mut().zip(extend(&decoder, &mut caches, &feed)) {
                all.push(row);
            }
        }
        for (seq, logits) in logits.iter().enumerate() {
            let wanted = &expected.logits_first_and_last_position[seq];
            assert_near(&logits[0], &wanted[0], 2e-4, name);
            assert_near(&logits[n_tokens - 1], &wanted[1], 2e-4, name);
            let next = &expected.input_ids[seq][1..];
            let found: Vec<f32> =
                logits.iter().zip(next).map(|(row, &id)| logprob(row, id)).collect();
            assert_near(&found, &expected.logprobs[seq], 1e-4, name);
        }

        // Greedily, after a prompt in one piece.
        let wanted = &expected.greedy_from_first_8;
        let mut caches = empty_caches(&decoder, wanted.len());
        let mut feed: Vec<_> = wanted.iter().map(|it| it[..8].to_vec()).collect();
        for at in 8..wanted[0].len() {
            let logits = extend(&decoder, &mut caches, &feed);
            feed = logits.iter().map(|row| vec![best(row)]).collect();
            for (feed, wanted) in feed.iter().zip(wanted) {
                assert_eq!(feed[0], wanted[at], "{name}: greedy token {at}");
            }
        }
    }
}

/// A real model: what `llama2.c` publishes as its expected output.
#[test]
fn a_published_story_is_told_again() {
    let shared = std::env::var_os("FORAGE_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    let folder = shared.join("oracles/models/stories260k");
    let story = shared.join("data/model_stories260K/reference_greedy.json");
    if !folder.exists() || !story.exists() {
        eprintln!("skipped: no stories260K in `{}`; set `FORAGE_SHARED`", shared.display());
        return;
    }
    let story: Story = read(&story);
    let decoder = opened(&folder);
    let mut caches = empty_caches(&decoder, 1);
    let mut told = vec![story.tokens[0]];
    for at in 0..story.tokens.len() - 1 {
        let row = extend(&decoder, &mut caches, &[vec![told[at]]]).remove(0);
        if let Some(wanted) = story.logits.get(at) {
            assert_near(&row, wanted, 2e-4, "logits of the story");
        }
        told.push(best(&row));
    }
    assert_eq!(told, story.tokens);
}
