//! Slots of a batch, and the KV caches of sequences in and outside it: on the CPU each sequence has
//! a cache of its own, on another device a slot is a row of one cache.
//!
//! [`InferenceModel`] is the decoder on either; [`KvCache`] and [`BatchSlots`] are of the same kind
//! as their model. They know nothing of requests.

use forage_trajectory::TokenId;

use crate::config::ModelConfig;
use crate::cpu::CpuDecoder;
use crate::decoder::Decoder;
use crate::device::is_cpu;
use crate::kv_cache::{BatchKvCache, CpuKvCache};
use crate::ops::numbers;

/// Chunk of a prefill on the CPU, in tokens: activations stay small, and no sum depends on it.
const PREFILL_CHUNK: usize = 512;

const ONE_DEVICE: &str = "a cache is on the device of its model";

/// Decoder laid out for generation.
#[derive(Debug)]
pub(crate) enum InferenceModel {
    /// On the CPU.
    Cpu(CpuDecoder),
    /// On another device.
    Device(Decoder),
}

/// KV cache of one sequence that is in no slot.
#[derive(Debug, Clone)]
pub(crate) enum KvCache {
    /// On the CPU.
    Cpu(CpuKvCache),
    /// On another device: a batch of one.
    Device(BatchKvCache),
}

/// Slots of a batch of sequences that get a token each in every decoding step.
#[derive(Debug)]
pub(crate) enum BatchSlots {
    /// On the CPU, a slot is the cache of its sequence.
    Cpu(Vec<Option<CpuKvCache>>),
    /// On another device, a slot is a row of one cache.
    Device(BatchKvCache),
}

impl InferenceModel {
    /// Lays out a decoder for generation.
    pub(crate) fn new(decoder: Decoder) -> Self {
        if is_cpu(decoder.device()) {
            Self::Cpu(CpuDecoder::new(decoder))
        } else {
            Self::Device(decoder.cast_for_generation())
        }
    }

    /// Configuration of the model.
    pub(crate) fn config(&self) -> &ModelConfig {
        match self {
            Self::Cpu(decoder) => decoder.config(),
            Self::Device(decoder) => decoder.config(),
        }
    }
}

impl KvCache {
    /// Empty cache on the device of a model.
    pub(crate) fn new(model: &InferenceModel) -> Self {
        match model {
            InferenceModel::Cpu(decoder) => {
                Self::Cpu(CpuKvCache::new(decoder.config().num_hidden_layers))
            }
            InferenceModel::Device(decoder) => Self::Device(decoder.kv_cache(1)),
        }
    }

    /// Makes room for `n_positions` in all.
    pub(crate) fn reserve(&mut self, model: &InferenceModel, n_positions: usize) {
        // A batch of one on a device only lives until it gets its row.
        if let Self::Cpu(cache) = self {
            let config = model.config();
            cache.reserve(n_positions, config.num_key_value_heads * config.head_dim());
        }
    }

    /// Gives back room that a turn did not use.
    pub(crate) fn shrink(&mut self) {
        if let Self::Cpu(cache) = self {
            cache.shrink();
        }
    }

    /// Prefill: appends tokens, and returns the logits after the last one, `[V]`.
    pub(crate) fn prefill(&mut self, model: &InferenceModel, tokens: &[TokenId]) -> Vec<f32> {
        match (self, model) {
            (Self::Cpu(cache), InferenceModel::Cpu(decoder)) => {
                let mut chunks = tokens.chunks(PREFILL_CHUNK);
                let last = chunks.next_back().unwrap_or_default();
                for chunk in chunks {
                    decoder.forward_cached(&mut [(cache, chunk)]);
                }
                decoder.forward_cached(&mut [(cache, last)])
            }
            (Self::Device(cache), InferenceModel::Device(decoder)) => {
                numbers(&decoder.forward_cached(cache, &[tokens.to_vec()]))
            }
            _ => unreachable!("{ONE_DEVICE}"),
        }
    }
}

impl BatchSlots {
    /// Empty slots on the device of a model.
    pub(crate) fn new(model: &InferenceModel, n_slots: usize) -> Self {
        match model {
            InferenceModel::Cpu(_) => Self::Cpu(vec![None; n_slots]),
            InferenceModel::Device(decoder) => Self::Device(decoder.kv_cache(n_slots)),
        }
    }

    /// Puts a sequence into an empty slot.
    pub(crate) fn put(&mut self, model: &InferenceModel, slot: usize, cache: KvCache) {
        match (self, cache, model) {
            (Self::Cpu(slots), KvCache::Cpu(cache), _) => slots[slot] = Some(cache),
            (Self::Device(batch), KvCache::Device(cache), InferenceModel::Device(decoder)) => {
                batch.put(slot, &cache, decoder.device());
            }
            _ => unreachable!("{ONE_DEVICE}"),
        }
    }

    /// Takes the sequence out of a slot.
    pub(crate) fn take(&mut self, slot: usize) -> KvCache {
        match self {
            Self::Cpu(slots) => KvCache::Cpu(slots[slot].take().expect("a taken slot")),
            Self::Device(batch) => {
                let cache = batch.copy_of(slot);
                batch.lengths[slot] = 0;
                KvCache::Device(cache)
            }
        }
    }

    /// Decoding step: appends a token to each slot that is given one. Returns the logits after
    /// them, `[rows, V]`, in order.
    pub(crate) fn decode_step(
        &mut self,
        model: &InferenceModel,
        tokens: &[Option<TokenId>],
    ) -> Vec<f32> {
        match (self, model) {
            (Self::Cpu(slots), InferenceModel::Cpu(decoder)) => {
                let mut feeds: Vec<(&mut CpuKvCache, &[TokenId])> = slots
                    .iter_mut()
                    .zip(tokens)
                    .filter_map(|(cache, token)| cache.as_mut().zip(token.as_ref()))
                    .map(|(cache, token)| (cache, std::slice::from_ref(token)))
                    .collect();
                decoder.forward_cached(&mut feeds)
            }
            (Self::Device(batch), InferenceModel::Device(decoder)) => {
                let tokens: Vec<Vec<TokenId>> =
                    tokens.iter().map(|token| token.iter().copied().collect()).collect();
                numbers(&decoder.forward_cached(batch, &tokens))
            }
            _ => unreachable!("{ONE_DEVICE}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::*;
    use crate::lora::LoraConfig;

    /// Rows of a batch give what sequences with a cache of their own give, for every family and
    /// whatever a decoder may have.
    #[test]
    fn both_ways_agree() {
        for keys in [
            json!({ "model_type": "qwen2" }),
            json!({ "model_type": "qwen2", "tie_word_embeddings": false, "num_hidden_layers": 1,
                "rope_scaling": { "type": "linear", "factor": 3.0 } }),
            json!({ "model_type": "qwen3", "head_dim": 10, "tie_word_embeddings": false }),
            json!({ "model_type": "qwen3", "head_dim": 64, "num_key_value_heads": 4,
                "attention_bias": true }),
            json!({ "model_type": "llama", "attention_bias": true, "mlp_bias": true,
                "tie_word_embeddings": false, "num_key_value_heads": 1 }),
            json!({ "model_type": "llama", "rope_scaling": { "rope_type": "llama3", "factor": 8.0,
                "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64 } }),
            json!({ "model_type": "llama", "rope_scaling": { "rope_type": "yarn", "factor": 4.0,
                "original_max_position_embeddings": 64 } }),
        ] {
            let mut all = json!({
                "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40,
                "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                "max_position_embeddings": 512, "rope_theta": 100.0, "tie_word_embeddings": true,
                "initializer_range": 0.3,
            });
            let (all, own) = (all.as_object_mut().unwrap(), keys.as_object().unwrap());
            all.extend(own.clone());
            let config = ModelConfig::from_keys(all.clone()).unwrap();
            let decoder = Decoder::init(&config, 3, &Device::flex());
            // Biases and norms of fresh weights change nothing, and so do fresh adapters.
            let moved = decoder.weights().iter().map(|it| it.clone() * 0.9 + 0.02).collect();
            let decoder = decoder.with_trainable(moved);
            let targets = vec!["q_proj".to_owned(), "down_proj".to_owned()];
            let lora = LoraConfig { rank: 2, alpha: 3.0, targets };
            let adapted = decoder.with_lora(&lora, "", 1).unwrap();
            let moved = adapted.trainable().iter().map(|it| it.clone() + 0.05).collect();
            let adapted = adapted.with_trainable(moved);
            for (what, decoder) in [("plain", decoder), ("adapted", adapted)] {
                let cpu = play(InferenceModel::new(decoder.clone()));
                let device = play(InferenceModel::Device(decoder));
                assert_eq!(cpu.len(), 50 * 9);
                for (cpu, device) in cpu.iter().zip(&device) {
                    let apart = (cpu - device).abs();
                    assert!(apart < 1e-4, "{keys}, {what}: {device} is not {cpu}");
                }
            }
        }
    }

    /// The logits of three sequences that come and go in two slots.
    #[expect(clippy::needless_pass_by_value, reason = "it is dropped with its slots")]
    fn play(model: InferenceModel) -> Vec<f32> {
        let prompts: [Vec<TokenId>; 3] =
            [vec![3, 1, 4], (0..100).map(|it| it * 7 % 50).collect(), vec![9; 30]];
        let mut slots = BatchSlots::new(&model, 2);
        let mut logits = Vec::new();
        let [first, second, third] = prompts.map(|prompt| {
            let mut cache = KvCache::new(&model);
            logits.push(cache.prefill(&model, &prompt));
            cache
        });
        slots.put(&model, 0, first);
        slots.put(&model, 1, second);
        logits.push(slots.decode_step(&model, &[Some(5), Some(6)]));
        // The short one goes, another comes, and later the short one goes on.
        let mut first = slots.take(0);
        slots.put(&model, 0, third);
        logits.push(slots.decode_step(&model, &[Some(7), None]));
        logits.push(first.prefill(&model, &[8, 9]));
        slots.take(0);
        slots.put(&model, 0, first);
        logits.push(slots.decode_step(&model, &[Some(1), Some(2)]));
        logits.concat()
    }

    #[test]
    fn chunks_of_a_long_prefill_change_no_bit() {
        let keys = json!({
            "model_type": "llama", "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 2048,
        });
        let config = ModelConfig::from_keys(keys.as_object().unwrap().clone()).unwrap();
        let model = InferenceModel::new(Decoder::init(&config, 3, &Device::flex()));
        let tokens: Vec<TokenId> =
            (0..2 * PREFILL_CHUNK as TokenId + 7).map(|it| it * it % 50).collect();
        let InferenceModel::Cpu(decoder) = &model else { unreachable!("the device is the CPU") };
        let mut cache = CpuKvCache::new(2);
        let whole = decoder.forward_cached(&mut [(&mut cache, &tokens)]);
        assert_eq!(KvCache::new(&model).prefill(&model, &tokens), whole);
    }
}
