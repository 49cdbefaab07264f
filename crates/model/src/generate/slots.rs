//! Where the keys and values of sequences are: with each sequence on the CPU, and in the rows of a
//! batch on a device.

use burn::tensor::Device;
use forage_trajectory::TokenId;

use crate::cache::{Cache, HostCache};
use crate::decoder::Decoder;
use crate::device::is_host;
use crate::extend::host;

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

impl Past {
    /// Nothing, on the device of the decoder.
    pub(crate) fn new(decoder: &Decoder) -> Self {
        if is_host(decoder.device()) {
            Self::Host(HostCache::new(decoder.config().num_hidden_layers))
        } else {
            Self::Device(decoder.cache(1))
        }
    }

    /// Makes room for so many positions in all.
    pub(crate) fn reserve(&mut self, decoder: &Decoder, n_positions: usize) {
        // A batch of one on a device only lives until it gets its row.
        if let Self::Host(cache) = self {
            let config = decoder.config();
            cache.reserve(n_positions, config.num_key_value_heads * config.head_dim());
        }
    }

    /// Appends tokens, and returns the logits after the last one.
    pub(crate) fn extend(&mut self, decoder: &Decoder, tokens: &[TokenId]) -> Vec<f32> {
        match self {
            Self::Host(cache) => decoder.extend_each(&mut [(cache, tokens)]),
            Self::Device(cache) => host(decoder.extend(cache, &[tokens.to_vec()])),
        }
    }
}

impl Slots {
    /// So many empty slots.
    pub(crate) fn new(decoder: &Decoder, n_slots: usize) -> Self {
        if is_host(decoder.device()) {
            Self::Host(std::iter::repeat_with(|| None).take(n_slots).collect())
        } else {
            Self::Device(decoder.cache(n_slots))
        }
    }

    /// Puts a sequence into an empty slot.
    pub(crate) fn put(&mut self, slot: usize, past: Past, device: &Device) {
        match (self, past) {
            (Self::Host(slots), Past::Host(cache)) => slots[slot] = Some(cache),
            (Self::Device(batch), Past::Device(cache)) => batch.put(slot, &cache, device),
            _ => unreachable!("a decoder has one device"),
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
    pub(crate) fn step(&mut self, decoder: &Decoder, tokens: &[Option<TokenId>]) -> Vec<f32> {
        match self {
            Self::Host(slots) => {
                let mut feeds: Vec<(&mut HostCache, &[TokenId])> = slots
                    .iter_mut()
                    .zip(tokens)
                    .filter_map(|(cache, token)| cache.as_mut().zip(token.as_ref()))
                    .map(|(cache, token)| (cache, std::slice::from_ref(token)))
                    .collect();
                decoder.extend_each(&mut feeds)
            }
            Self::Device(batch) => {
                let tokens: Vec<Vec<TokenId>> =
                    tokens.iter().map(|it| it.iter().copied().collect()).collect();
                host(decoder.extend(batch, &tokens))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ModelConfig;

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
        let device = Device::flex();
        let decoder = Decoder::init(&config, 3, &device);
        let prompts: [Vec<TokenId>; 3] =
            [vec![3, 1, 4], (0..100).map(|it| it * 7 % 50).collect(), vec![9; 30]];
        let mut seen = Vec::new();
        for (nothing, mut slots) in [
            (Past::Host(HostCache::new(2)), Slots::Host(vec![None, None])),
            (Past::Device(decoder.cache(1)), Slots::Device(decoder.cache(2))),
        ] {
            let mut logits = Vec::new();
            let mut pasts = prompts.iter().map(|prompt| {
                let mut past = nothing.clone();
                logits.push(past.extend(&decoder, prompt));
                past
            });
            let pasts = [pasts.next(), pasts.next(), pasts.next()].map(Option::unwrap);
            let [first, second, third] = pasts;
            slots.put(0, first, &device);
            slots.put(1, second, &device);
            logits.push(slots.step(&decoder, &[Some(5), Some(6)]));
            // The short one goes, another comes, and later the short one goes on.
            let first = slots.take(0);
            slots.put(0, third, &device);
            logits.push(slots.step(&decoder, &[Some(7), None]));
            let mut first = first;
            logits.push(first.extend(&decoder, &[8, 9]));
            slots.take(0);
            slots.put(0, first, &device);
            logits.push(slots.step(&decoder, &[Some(1), Some(2)]));
            seen.push(logits.concat());
        }
        assert_eq!(seen[0].len(), 50 * 9);
        for (host, device) in seen[0].iter().zip(&seen[1]) {
            assert!((host - device).abs() < 1e-4, "{device} is not {host}");
        }
    }
}
