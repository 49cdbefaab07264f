//! The decoder against Hugging Face transformers 5.23, and against itself: through the cache,
//! padded and packed.
//!
//! `tests/fixtures` holds random checkpoints with what transformers makes of them.

mod small;

use std::path::{Path, PathBuf};

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use forage_model::{Decoder, ModelConfig, ModelFamily, PackedSequences, load};
use forage_trajectory::TokenId;
use serde::Deserialize;

/// Every architecture, number type and cut into files.
const MODELS: [&str; 6] =
    ["llama", "llama3-rope", "qwen2-bf16", "qwen2-tied", "qwen2-untied-sharded", "qwen3"];

#[derive(Deserialize)]
struct Expected {
    input_ids: Vec<Vec<TokenId>>,
    logits_first_and_last_position: Vec<Vec<Vec<f32>>>,
    logprobs: Vec<Vec<f32>>,
    loss: f64,
    greedy_from_first_8: Vec<Vec<TokenId>>,
    gradient_norms: std::collections::BTreeMap<String, f64>,
}

/// Packs sequences so that every position is asked about, and the first row of each.
fn packed(sequences: &[Vec<TokenId>]) -> (PackedSequences, Vec<usize>) {
    // The last token is a target only: nothing is computed of it.
    let with_target = sequences.iter().map(|ids| {
        let positions: Vec<usize> = (1..=ids.len()).collect();
        ([ids.as_slice(), &[7]].concat(), positions)
    });
    let with_target: Vec<(Vec<TokenId>, Vec<usize>)> = with_target.collect();
    let starts = sequences.iter().scan(0, |end, ids| {
        let start = *end;
        *end += ids.len();
        Some(start)
    });
    let borrowed = with_target.iter().map(|(ids, at)| (ids.as_slice(), at.as_slice()));
    (PackedSequences::new(borrowed), starts.collect())
}

fn fixture(name: &str) -> (Decoder, Expected) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let expected = std::fs::read(folder.join("expected.json")).unwrap();
    let expected = serde_json::from_slice(&expected).unwrap();
    (load(&folder, &Device::flex()).unwrap(), expected)
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

/// The first and the last logits of every sequence; `starts` are their first rows.
fn check_logits(logits: &[Vec<f32>], starts: &[usize], expected: &Expected, what: &str) {
    let last = expected.input_ids[0].len() - 1;
    for (start, wanted) in starts.iter().zip(&expected.logits_first_and_last_position) {
        assert_near(&logits[*start], &wanted[0], 2e-4, what);
        assert_near(&logits[start + last], &wanted[1], 2e-4, what);
    }
}

/// Log-probabilities, loss and gradients of the mean negative log-likelihood, as in the script of
/// the oracles.
fn check_training(
    decoder: &Decoder,
    starts: &[usize],
    expected: &Expected,
    what: &str,
    forward: impl Fn(&Decoder) -> Tensor<2>,
) {
    let tracked = decoder.tracked();
    let logprobs = log_softmax(tracked.logits(forward(&tracked)), 1);
    let mut picks = Vec::new();
    let mut targets = Vec::new();
    for (start, ids) in starts.iter().zip(&expected.input_ids) {
        picks.extend((0..ids.len() - 1).map(|at| (start + at) as i64));
        targets.extend(ids[1..].iter().map(|&it| i64::from(it)));
    }
    let n = picks.len();
    let picks = Tensor::<1, Int>::from_data(TensorData::new(picks, [n]), tracked.device());
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [n, 1]), tracked.device());
    let chosen = logprobs.select(0, picks).gather(1, targets);
    let found: Vec<f32> = chosen.clone().inner().into_data().try_into_vec_as().unwrap();
    assert_near(&found, &expected.logprobs.concat(), 1e-4, what);
    let loss = chosen.mean().neg();
    let found = f64::from(loss.clone().inner().into_scalar::<f32>());
    assert!((found - expected.loss).abs() < 1e-5, "{what}: loss {found}");
    let mut gradients = loss.backward();
    for (spec, weight) in decoder.config().parameters().iter().zip(tracked.weights()) {
        let gradient = weight.grad_remove(&mut gradients).expect("every weight is used");
        let norm = f64::from((gradient.clone() * gradient).sum().into_scalar::<f32>()).sqrt();
        let expected = expected.gradient_norms[&spec.name];
        let relative = (norm - expected).abs() / expected.max(1e-9);
        assert!(relative < 1e-3, "{what}: gradient of {}: {norm} is not {expected}", spec.name);
    }
}

/// Greedy tokens after a prompt that is fed in one piece.
fn check_generation(decoder: &Decoder, expected: &Expected, what: &str) {
    let mut cache = decoder.kv_cache(expected.greedy_from_first_8.len());
    let mut feed: Vec<Vec<TokenId>> =
        expected.greedy_from_first_8.iter().map(|it| it[..8].to_vec()).collect();
    for at in 8..expected.greedy_from_first_8[0].len() {
        let logits = rows(decoder.forward_cached(&mut cache, &feed));
        for ((row, wanted), feed) in logits.iter().zip(&expected.greedy_from_first_8).zip(&mut feed)
        {
            assert_eq!(best(row), wanted[at], "{what}: greedy token {at}");
            *feed = vec![best(row)];
        }
    }
}

fn best(logits: &[f32]) -> TokenId {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as TokenId
}

/// Logits and log-probabilities of every token, fed one by one.
fn check_cache(decoder: &Decoder, expected: &Expected, what: &str) {
    let n_tokens = expected.input_ids[0].len();
    let mut cache = decoder.kv_cache(expected.input_ids.len());
    let mut logits = vec![Vec::new(); expected.input_ids.len()];
    for at in 0..n_tokens {
        let feed: Vec<Vec<TokenId>> = expected.input_ids.iter().map(|it| vec![it[at]]).collect();
        for (all, row) in logits.iter_mut().zip(rows(decoder.forward_cached(&mut cache, &feed))) {
            all.push(row);
        }
    }
    for (seq, logits) in logits.iter().enumerate() {
        let wanted = &expected.logits_first_and_last_position[seq];
        assert_near(&logits[0], &wanted[0], 2e-4, what);
        assert_near(&logits[n_tokens - 1], &wanted[1], 2e-4, what);
        let next = &expected.input_ids[seq][1..];
        let found: Vec<f32> = logits.iter().zip(next).map(|(row, &id)| logprob(row, id)).collect();
        assert_near(&found, &expected.logprobs[seq], 1e-4, what);
    }
}

fn logprob(logits: &[f32], token: TokenId) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|it| f64::from(it - max).exp()).sum();
    (f64::from(logits[token as usize] - max) - total.ln()) as f32
}

#[test]
fn decoders_agree_with_transformers() {
    for name in MODELS {
        let (decoder, expected) = fixture(name);
        let starts: Vec<usize> =
            (0..expected.input_ids.len()).map(|it| it * expected.input_ids[0].len()).collect();
        let logits = rows(decoder.logits(decoder.forward(&expected.input_ids)));
        check_logits(&logits, &starts, &expected, name);
        check_training(&decoder, &starts, &expected, name, |it| it.forward(&expected.input_ids));
        check_generation(&decoder, &expected, name);
        check_cache(&decoder, &expected, &format!("{name}, token by token"));
    }
}

#[test]
fn packing_changes_nothing() {
    for name in MODELS {
        let (decoder, expected) = fixture(name);
        let (packed, starts) = packed(&expected.input_ids);
        let what = format!("{name}, packed");
        let forward = |it: &Decoder| it.hidden_states(&packed);
        check_logits(&rows(decoder.logits(forward(&decoder))), &starts, &expected, &what);
        check_training(&decoder, &starts, &expected, &what, forward);
    }
}

#[derive(Deserialize)]
struct Adapted {
    input_ids: Vec<Vec<TokenId>>,
    logits_first_and_last_position: Vec<Vec<Vec<f32>>>,
}

#[test]
fn an_adapter_of_peft_computes_what_it_does_there() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let base = load(&fixtures.join("qwen2-tied"), &Device::flex()).unwrap();
    let expected = std::fs::read(fixtures.join("peft/expected.json")).unwrap();
    let expected: Adapted = serde_json::from_slice(&expected).unwrap();
    let adapted = base.load_adapter(&fixtures.join("peft")).unwrap();
    let ids = &expected.input_ids;
    let [first, last] = &expected.logits_first_and_last_position[0][..] else {
        panic!("two positions")
    };
    for (what, decoder) in [("adapted", &adapted), ("merged", &adapted.merged())] {
        let logits = rows(decoder.logits(decoder.forward(ids)));
        assert_near(&logits[0], first, 2e-4, what);
        assert_near(logits.last().unwrap(), last, 2e-4, what);
    }
    let plain = rows(base.logits(base.forward(ids)));
    let apart = plain[0].iter().zip(first).map(|(it, first)| (it - first).abs());
    assert!(apart.fold(0.0, f32::max) > 0.01, "the adapter changes nothing");
}

#[derive(Deserialize)]
struct Story {
    tokens: Vec<TokenId>,
    logprobs: Vec<f32>,
    logits: Vec<Vec<f32>>,
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
    let story: Story = serde_json::from_slice(&std::fs::read(story).unwrap()).unwrap();
    let decoder = load(&folder, &Device::flex()).unwrap();
    let mut cache = decoder.kv_cache(1);
    let mut told = vec![story.tokens[0]];
    for at in 0..story.logprobs.len() {
        let row = rows(decoder.forward_cached(&mut cache, &[vec![told[at]]])).remove(0);
        if let Some(wanted) = story.logits.get(at) {
            assert_near(&row, wanted, 2e-4, "logits of the story");
        }
        told.push(best(&row));
        let found = logprob(&row, told[at + 1]);
        assert_near(&[found], &[story.logprobs[at]], 1e-4, "log-probability of the story");
    }
    assert_eq!(told, story.tokens);
    assert_eq!(told.len(), 201);
}

fn decoder(family: ModelFamily) -> Decoder {
    let tie_word_embeddings = family == ModelFamily::Qwen3;
    let config = ModelConfig { tie_word_embeddings, ..small::config(family) };
    Decoder::init(&config, 3, &Device::flex())
}

fn ids(n: usize, salt: usize) -> Vec<TokenId> {
    (0..n).map(|at| ((at * 7 + at * at * salt + salt) % 50) as TokenId).collect()
}

/// Sequences of different lengths, fed in uneven pieces, give the logits of one pass over each
/// alone: neither padding, blocks, packing, the cache nor the neighbours change a result.
#[test]
fn cache_padding_and_blocks_change_nothing() {
    for family in ModelFamily::ALL {
        let decoder = decoder(family);
        let sequences = [ids(300, 1), ids(17, 2), ids(140, 3)];
        let alone: Vec<Vec<Vec<f32>>> = sequences
            .iter()
            .map(|it| rows(decoder.logits(decoder.forward(std::slice::from_ref(it)))))
            .collect();
        let together = rows(decoder.logits(decoder.forward(&sequences)));
        let (packed, starts) = packed(&sequences);
        let end_to_end = rows(decoder.logits(decoder.hidden_states(&packed)));
        for (seq, alone) in alone.iter().enumerate() {
            for (at, alone) in alone.iter().enumerate() {
                assert_near(&together[seq * 300 + at], alone, 2e-4, "padded batch");
                assert_near(&end_to_end[starts[seq] + at], alone, 2e-4, "packed");
            }
        }
        let mut cache = decoder.kv_cache(3);
        let mut done = [0; 3];
        for pieces in [[5, 17, 0], [1, 0, 100], [250, 0, 1], [1, 0, 1], [43, 0, 38]] {
            let feed: Vec<Vec<TokenId>> = (0..3)
                .map(|seq| sequences[seq][done[seq]..done[seq] + pieces[seq]].to_vec())
                .collect();
            let logits = rows(decoder.forward_cached(&mut cache, &feed));
            let changed: Vec<usize> = (0..3).filter(|&seq| pieces[seq] > 0).collect();
            for (row, &seq) in logits.iter().zip(&changed) {
                done[seq] += pieces[seq];
                assert_near(row, &alone[seq][done[seq] - 1], 2e-4, "cached");
            }
        }
        assert_eq!(done, [300, 17, 140]);
    }
}
