//! Products in bf16 over weights in f32: near the numbers of f32, and no small update is lost.
//!
//! The CPU computes bf16 as a GPU does, with rounded factors and sums in f32, only slowly; so it
//! can be tried here, and run files cannot ask for it.

mod small;

use burn::tensor::{DType, Device, FloatDType};
use forage_model::{
    Critic, Decoder, LoraConfig, ModelConfig, ModelFamily, PackedSequences, TrainingPassOptions,
    numbers,
};
use forage_trajectory::TokenId;

fn decoder(family: ModelFamily, tie_word_embeddings: bool) -> Decoder {
    let config =
        ModelConfig { tie_word_embeddings, initializer_range: 0.2, ..small::config(family) };
    Decoder::init(&config, 3, &Device::flex())
}

fn rounding(decoder: &Decoder) -> Decoder {
    decoder.clone().with_compute_dtype(FloatDType::BF16)
}

fn ids(n: usize, salt: usize) -> Vec<TokenId> {
    (0..n).map(|at| ((at * 7 + at * at * salt + salt) % 50) as TokenId).collect()
}

/// Log-probabilities and entropies, and the gradients of a loss of both.
fn learn(decoder: &Decoder, checkpoints: bool) -> (Vec<f32>, Vec<f32>) {
    let asked = [(ids(60, 1), (1..60).collect::<Vec<_>>()), (ids(31, 4), (10..31).collect())];
    let packed =
        PackedSequences::new(asked.iter().map(|(tokens, at)| (tokens.as_slice(), at.as_slice())));
    let pass = decoder.training_pass(
        &packed,
        TrainingPassOptions { temperature: 0.9, gradient_checkpointing: checkpoints },
    );
    let (logprobs, entropies) = (pass.logprobs.clone(), pass.entropies.clone());
    let loss = (logprobs.clone() * 0.3).exp().mean() + entropies.clone().mean() * 0.2;
    let scores = [logprobs, entropies].map(|it| numbers(&it.inner().unsqueeze())).concat();
    let gradients = pass.backward(&loss);
    assert!(gradients.iter().all(|it| it.dtype() == DType::F32));
    (scores, gradients.iter().flat_map(numbers).collect())
}

/// The cosine of the angle between two vectors.
fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |left: &[f32], right: &[f32]| -> f64 {
        left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
    };
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

fn assert_near(found: &[f32], wanted: &[f32], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    assert_ne!(found, wanted, "{what}: nothing was rounded");
    let differences = found.iter().zip(wanted).map(|(found, wanted)| (found - wanted).abs());
    let mean = differences.sum::<f32>() / wanted.len() as f32;
    assert!(mean < 0.02, "{what}: {mean} apart");
}

#[test]
fn scores_and_gradients_are_near_those_of_f32() {
    for (family, tied) in
        [(ModelFamily::Qwen2, true), (ModelFamily::Qwen3, false), (ModelFamily::Llama, true)]
    {
        let plain = decoder(family, tied);
        let targets = vec!["q_proj".to_owned(), "down_proj".to_owned()];
        let lora = LoraConfig { rank: 4, alpha: 8.0, targets };
        let fresh = plain.with_lora(&lora, "models/base", 1).unwrap();
        let adapted =
            fresh.with_trainable(fresh.trainable().iter().map(|it| it.clone() + 0.05).collect());
        for (what, plain, checkpoints) in
            [("plain", &plain, false), ("checkpoints", &plain, true), ("adapters", &adapted, false)]
        {
            let (wanted, wanted_gradients) = learn(plain, checkpoints);
            let (found, gradients) = learn(&rounding(plain), checkpoints);
            assert_near(&found, &wanted, &format!("{family:?}, {what}"));
            let cosine = cosine(&gradients, &wanted_gradients);
            assert!((0.99..1.0).contains(&cosine), "{family:?}, {what}: {cosine}");
        }
    }
}

#[test]
fn cached_keys_and_values_are_rounded_as_those_of_training() {
    let decoder = rounding(&decoder(ModelFamily::Qwen2, true));
    let tokens = [ids(40, 1), ids(40, 5)];
    let mut cache = decoder.kv_cache(tokens.len());
    let mut logits =
        decoder.forward_cached(&mut cache, &tokens.each_ref().map(|it| it[..30].to_vec()));
    for at in 30..40 {
        logits = decoder.forward_cached(&mut cache, &tokens.each_ref().map(|it| vec![it[at]]));
    }
    assert_eq!(logits.dtype(), DType::F32);
    let all = numbers(&decoder.logits(decoder.forward(&tokens)));
    let n_words = decoder.config().vocab_size;
    let wanted = [&all[39 * n_words..40 * n_words], &all[79 * n_words..]].concat();
    for (found, wanted) in numbers(&logits).iter().zip(wanted) {
        assert!((found - wanted).abs() < 0.05, "{found} is not {wanted}");
    }
}

#[test]
fn weights_keep_what_bf16_would_lose() {
    let decoder = rounding(&decoder(ModelFamily::Llama, true));
    let moved = decoder
        .with_trainable(decoder.trainable().iter().map(|it| it.clone() * (1.0 + 1e-5)).collect());
    for (moved, weight) in moved.weights().iter().zip(decoder.weights()) {
        assert_eq!(moved.dtype(), DType::F32);
        let is_kept = |(moved, weight): (&f32, &f32)| {
            moved.to_bits() != weight.to_bits() || weight.abs() < 1e-30
        };
        assert!(numbers(moved).iter().zip(&numbers(weight)).all(is_kept));
    }
    assert_eq!(moved.compute_dtype(), FloatDType::BF16);
    assert_eq!(moved.merged().compute_dtype(), FloatDType::BF16);
    let critic = Critic::new(moved);
    let weights = critic.weights();
    assert_eq!(critic.with_weights(weights).decoder().compute_dtype(), FloatDType::BF16);
}
