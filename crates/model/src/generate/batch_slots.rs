//! Where the keys and values of sequences are, and what computes with them: on the CPU each sequence
//! has its own, on another device they are rows of a batch.

use forage_trajectory::TokenId;

use crate::cache::{Cache, HostCache};
use crate::checkpoint::numbers;
use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::device::is_host;
use crate::host::HostDecoder;

/// Tokens of a long text that are computed at once on the CPU: what they need besides keys and
/// values stays small, and their sums do not depend on it.
const PIECE: usize = 512;

const ONE_DEVICE: &str = "what a sequence has seen is where the weights are";

/// The weights, as generation wants them.
#[derive(Debug)]
pub(crate) enum Network {
    /// On the CPU.
    Host(HostDecoder),
    /// On another device.
    Device(Decoder),
}

/// The past of a sequence that is in no slot.
#[derive(Debug, Clone)]
pub(crate) enum Past {
    /// On the CPU.
    Host(HostCache),
    /// On a device: a batch of one.
    Device(Cache),
}

/// A batch of sequences that get a token each in every step.
#[derive(Debug)]
pub(crate) enum Slots {
    /// On the CPU, a slot is the sequence itself.
    Host(Vec<Option<HostCache>>),
    /// On a device, it is a row of the batch.
    Device(Cache),
}

impl Network {
    /// Lays out a decoder for generation.
    pub(crate) fn new(decoder: Decoder) -> Self {
        if is_host(decoder.device()) {
            Self::Host(HostDecoder::new(decoder))
        } else {
            Self::Device(decoder.rounded())
        }
    }

    pub(crate) fn config(&self) -> &ModelConfig {
        match self {
            Self::Host(decoder) => decoder.config(),
            Self::Device(decoder) => decoder.config(),
        }
    }
}

impl Past {
    /// Nothing, where the weights are.
    pub(crate) fn new(network: &Network) -> Self {
        match network {
            Network::Host(decoder) => {
                Self::Host(HostCache::new(decoder.config().num_hidden_layers))
            }
            Network::Device(decoder) => Self::Device(decoder.cache(1)),
        }
    }

    /// Makes room for so many positions in all.
    pub(crate) fn reserve(&mut self, network: &Network, n_positions: usize) {
        // A batch of one on a device only lives until it gets its row.
        if let Self::Host(cache) = self {
            let config = network.config();
            cache.reserve(n_positions, config.num_key_value_heads * config.head_dim());
        }
    }

    /// Gives back room that a turn did not use.
    pub(crate) fn shrink(&mut self) {
        if let Self::Host(cache) = self {
            cache.shrink();
        }
    }

    /// Appends tokens, and returns the logits after the last one.
    pub(crate) fn extend(&mut self, network: &Network, tokens: &[TokenId]) -> Vec<f32> {
        match (self, network) {
            (Self::Host(cache), Network::Host(decoder)) => {
                let mut pieces = tokens.chunks(PIECE);
                let last = pieces.next_back().unwrap_or_default();
                for piece in pieces {
                    decoder.extend(&mut [(cache, piece)]);
                }
                decoder.extend(&mut [(cache, last)])
            }
            (Self::Device(cache), Network::Device(decoder)) => {
                numbers(&decoder.extend(cache, &[tokens.to_vec()]))
            }
            _ => unreachable!("{ONE_DEVICE}"),
        }
    }
}

impl Slots {
    /// So many empty slots.
    pub(crate) fn new(network: &Network, n_slots: usize) -> Self {
        match network {
            Network::Host(_) => Self::Host(vec![None; n_slots]),
            Network::Device(decoder) => Self::Device(decoder.cache(n_slots)),
        }
    }

    /// Puts a sequence into an empty slot.
    pub(crate) fn put(&mut self, network: &Network, slot: usize, past: Past) {
        match (self, past, network) {
            (Self::Host(slots), Past::Host(cache), _) => slots[slot] = Some(cache),
            (Self::Device(batch), Past::Device(cache), Network::Device(decoder)) => {
                batch.put(slot, &cache, decoder.device());
            }
            _ => unreachable!("{ONE_DEVICE}"),
        }
    }

    /// Takes the sequence out of a slot.
    pub(crate) fn take(&mut self, slot: usize) -> Past {
        match self {
            Self::Host(slots) => Past::Host(slots[slot].take().expect("a taken slot")),
            Self::Device(batch) => {
                let past = batch.copy_of(slot);
                batch.lengths[slot] = 0;
                Past::Device(past)
            }
        }
    }

    /// Appends a token to each slot that is given one. Returns the logits after them, in order.
    pub(crate) fn step(&mut self, network: &Network, tokens: &[Option<TokenId>]) -> Vec<f32> {
        match (self, network) {
            (Self::Host(slots), Network::Host(decoder)) => {
                let mut feeds: Vec<(&mut HostCache, &[TokenId])> = slots
                    .iter_mut()
                    .zip(tokens)
                    .filter_map(|(cache, token)| cache.as_mut().zip(token.as_ref()))
                    .map(|(cache, token)| (cache, std::slice::from_ref(token)))
                    .collect();
                decoder.extend(&mut feeds)
            }
            (Self::Device(batch), Network::Device(decoder)) => {
                let tokens: Vec<Vec<TokenId>> =
                    tokens.iter().map(|it| it.iter().copied().collect()).collect();
                numbers(&decoder.extend(batch, &tokens))
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

    /// Rows of a batch give what sequences give that keep their past themselves, for every family
    /// and whatever a decoder may have.
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
                let host = play(Network::new(decoder.clone()));
                let device = play(Network::Device(decoder));
                assert_eq!(host.len(), 50 * 9);
                for (host, device) in host.iter().zip(&device) {
                    let apart = (host - device).abs();
                    assert!(apart < 1e-4, "{keys}, {what}: {device} is not {host}");
                }
            }
        }
    }

    /// The logits of three sequences that come and go in two slots.
    #[expect(clippy::needless_pass_by_value, reason = "it is dropped with its slots")]
    fn play(network: Network) -> Vec<f32> {
        let prompts: [Vec<TokenId>; 3] =
            [vec![3, 1, 4], (0..100).map(|it| it * 7 % 50).collect(), vec![9; 30]];
        let mut slots = Slots::new(&network, 2);
        let mut logits = Vec::new();
        let [first, second, third] = prompts.map(|prompt| {
            let mut past = Past::new(&network);
            logits.push(past.extend(&network, &prompt));
            past
        });
        slots.put(&network, 0, first);
        slots.put(&network, 1, second);
        logits.push(slots.step(&network, &[Some(5), Some(6)]));
        // The short one goes, another comes, and later the short one goes on.
        let mut first = slots.take(0);
        slots.put(&network, 0, third);
        logits.push(slots.step(&network, &[Some(7), None]));
        logits.push(first.extend(&network, &[8, 9]));
        slots.take(0);
        slots.put(&network, 0, first);
        logits.push(slots.step(&network, &[Some(1), Some(2)]));
        logits.concat()
    }

    #[test]
    fn pieces_of_a_long_text_change_no_bit() {
        let keys = json!({
            "model_type": "llama", "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 2048,
        });
        let config = ModelConfig::from_keys(keys.as_object().unwrap().clone()).unwrap();
        let network = Network::new(Decoder::init(&config, 3, &Device::flex()));
        let tokens: Vec<TokenId> = (0..2 * PIECE as TokenId + 7).map(|it| it * it % 50).collect();
        let Network::Host(decoder) = &network else { unreachable!("the device is the CPU") };
        let mut cache = HostCache::new(2);
        let whole = decoder.extend(&mut [(&mut cache, &tokens)]);
        assert_eq!(Past::new(&network).extend(&network, &tokens), whole);
    }
}
