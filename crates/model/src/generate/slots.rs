//! Where the keys and values of sequences are, and what computes with them: on the CPU each sequence
//! has its own, on another device they are rows of a batch.

use forage_trajectory::TokenId;

use crate::cache::{Cache, HostCache};
use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::device::is_host;
use crate::host::{HostDecoder, host};

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
    pub(crate) fn new(decoder: Decoder) -> Self {
        if is_host(decoder.device()) {
            Self::Host(HostDecoder::new(&decoder))
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

    /// Appends tokens, and returns the logits after the last one.
    pub(crate) fn extend(&mut self, network: &Network, tokens: &[TokenId]) -> Vec<f32> {
        match (self, network) {
            (Self::Host(cache), Network::Host(decoder)) => decoder.extend(&mut [(cache, tokens)]),
            (Self::Device(cache), Network::Device(decoder)) => {
                host(decoder.extend(cache, &[tokens.to_vec()]))
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
                host(decoder.extend(batch, &tokens))
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

    /// Rows of a batch give what sequences give that keep their past themselves.
    #[test]
    fn both_ways_agree() {
        let keys = json!({
            "model_type": "qwen2", "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 512, "rope_theta": 100.0, "tie_word_embeddings": true,
            "initializer_range": 0.3,
        });
        let config = ModelConfig::from_keys(serde_json::from_value(keys).unwrap()).unwrap();
        let decoder = Decoder::init(&config, 3, &Device::flex());
        let prompts: [Vec<TokenId>; 3] =
            [vec![3, 1, 4], (0..100).map(|it| it * 7 % 50).collect(), vec![9; 30]];
        let mut seen = Vec::new();
        for network in [Network::new(decoder.clone()), Network::Device(decoder)] {
            let mut slots = Slots::new(&network, 2);
            let mut logits = Vec::new();
            let mut pasts = prompts.iter().map(|prompt| {
                let mut past = Past::new(&network);
                logits.push(past.extend(&network, prompt));
                past
            });
            let pasts = [pasts.next(), pasts.next(), pasts.next()].map(Option::unwrap);
            let [first, second, third] = pasts;
            slots.put(&network, 0, first);
            slots.put(&network, 1, second);
            logits.push(slots.step(&network, &[Some(5), Some(6)]));
            // The short one goes, another comes, and later the short one goes on.
            let first = slots.take(0);
            slots.put(&network, 0, third);
            logits.push(slots.step(&network, &[Some(7), None]));
            let mut first = first;
            logits.push(first.extend(&network, &[8, 9]));
            slots.take(0);
            slots.put(&network, 0, first);
            logits.push(slots.step(&network, &[Some(1), Some(2)]));
            seen.push(logits.concat());
        }
        assert_eq!(seen[0].len(), 50 * 9);
        for (host, device) in seen[0].iter().zip(&seen[1]) {
            assert!((host - device).abs() < 1e-4, "{device} is not {host}");
        }
    }
}
