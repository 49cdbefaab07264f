//! The decoder as a [`Policy`]: batched sampling with a key/value cache that survives turns.
//!
//! Sequences live in lanes: small batches with a cache of their own, which run on separate cores.
//! A request feeds its lane only what the cache has not seen (the observation, not the past), then
//! samples until its own stop rule. What a sequence samples depends on its own stream of random
//! numbers, never on its lane or its neighbours.

use std::collections::BTreeMap;

use burn::tensor::{Int, Tensor, TensorData};
use forage_trajectory::{BoxError, Completion, Finish, Policy, Request, Sampling, TokenId};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::decoder::{Cache, Decoder};
use crate::parallel;
use crate::tokenizer::Tokenizer;

/// Sequences a lane. Larger lanes wait longer for their slowest sequence; smaller ones waste the
/// width of the processor's vectors. A core decoded as many tokens a second in a batch of 16 as in
/// one of 128.
const LANE: usize = 16;

/// A decoder with its tokenizer, continuing sequences.
#[derive(Debug)]
pub struct Generator {
    decoder: Decoder,
    tokenizer: Tokenizer,
    lanes: Vec<Lane>,
}

/// The cache of up to [`LANE`] sequences.
#[derive(Debug)]
struct Lane {
    sequences: Vec<usize>,
    /// The tokens whose keys and values are cached, by slot.
    seen: Vec<Vec<TokenId>>,
    cache: Cache,
}

/// A request on its way through a lane.
struct Running<'a> {
    request_idx: usize,
    request: &'a Request<'a>,
    rng: ChaCha8Rng,
    text: String,
    tokens: Vec<TokenId>,
    logprobs: Vec<f32>,
    finish: Option<Finish>,
}

/// A request that asks for the impossible.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The context does not begin with what was generated or given before.
    #[error("the context of sequence {0} does not continue what the policy has seen of it")]
    Rewritten(usize),
    /// The context is longer than the model's positions.
    #[error("a context of {tokens} tokens with {wanted} to come exceeds the model's {limit}")]
    TooLong {
        /// Tokens given.
        tokens: usize,
        /// Tokens asked for.
        wanted: usize,
        /// The model's limit.
        limit: usize,
    },
    /// There is nothing to continue.
    #[error("the context of sequence {0} adds no token")]
    Empty(usize),
}

impl Generator {
    /// A generator without sequences.
    pub fn new(decoder: Decoder, tokenizer: Tokenizer) -> Self {
        Self { decoder, tokenizer, lanes: Vec::new() }
    }

    /// Replaces the weights and forgets all sequences: their caches belong to the old ones.
    pub fn set_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
        self.lanes.clear();
    }

    /// The decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn check(&self, request: &Request<'_>) -> Result<(), GenerateError> {
        let limit = self.max_context();
        if request.context.len() + request.max_new_tokens > limit {
            return Err(GenerateError::TooLong {
                tokens: request.context.len(),
                wanted: request.max_new_tokens,
                limit,
            });
        }
        let seen = self
            .lanes
            .iter()
            .find_map(|lane| lane.slot(request.sequence).map(|slot| lane.seen[slot].as_slice()));
        match request.context.strip_prefix(seen.unwrap_or_default()) {
            None => Err(GenerateError::Rewritten(request.sequence)),
            Some([]) => Err(GenerateError::Empty(request.sequence)),
            Some(_) => Ok(()),
        }
    }

    /// Gives every new sequence a slot in a fresh lane.
    fn admit(&mut self, requests: &[Request<'_>]) {
        let fresh: Vec<usize> = requests
            .iter()
            .map(|it| it.sequence)
            .filter(|&it| self.lanes.iter().all(|lane| lane.slot(it).is_none()))
            .collect();
        for sequences in fresh.chunks(LANE) {
            self.lanes.push(Lane {
                sequences: sequences.to_vec(),
                seen: vec![Vec::new(); sequences.len()],
                cache: self.decoder.cache(sequences.len()),
            });
        }
    }
}

impl Policy for Generator {
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        self.tokenizer.encode(text)
    }

    fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
        self.tokenizer.decode(tokens)
    }

    fn max_context(&self) -> usize {
        self.decoder.config().max_position_embeddings
    }

    fn generate(
        &mut self,
        requests: &[Request<'_>],
        sampling: Sampling,
    ) -> Result<Vec<Completion>, BoxError> {
        for request in requests {
            self.check(request)?;
        }
        self.admit(requests);
        let by_sequence: BTreeMap<usize, (usize, &Request<'_>)> =
            requests.iter().enumerate().map(|(idx, it)| (it.sequence, (idx, it))).collect();
        let lanes = std::mem::take(&mut self.lanes);
        let (decoder, tokenizer) = (&self.decoder, &self.tokenizer);
        let done = parallel::map(lanes, |mut lane| {
            let completions = lane.run(decoder, tokenizer, &by_sequence, sampling);
            (lane, completions)
        });
        let mut completions: Vec<Option<Completion>> = vec![None; requests.len()];
        for (lane, lane_completions) in done {
            self.lanes.push(lane);
            for (idx, completion) in lane_completions {
                completions[idx] = Some(completion);
            }
        }
        Ok(completions.into_iter().map(|it| it.expect("every request has a lane")).collect())
    }

    fn release(&mut self, sequences: &[usize]) {
        for lane in &mut self.lanes {
            let kept: Vec<usize> = (0..lane.sequences.len())
                .filter(|&slot| !sequences.contains(&lane.sequences[slot]))
                .collect();
            if kept.len() < lane.sequences.len() {
                lane.keep(&kept);
            }
        }
        self.lanes.retain(|lane| !lane.sequences.is_empty());
    }
}

impl Lane {
    fn slot(&self, sequence: usize) -> Option<usize> {
        self.sequences.iter().position(|&it| it == sequence)
    }

    fn keep(&mut self, slots: &[usize]) {
        self.sequences = slots.iter().map(|&slot| self.sequences[slot]).collect();
        self.seen = slots.iter().map(|&slot| std::mem::take(&mut self.seen[slot])).collect();
        self.cache.keep(slots);
    }

    /// Samples for all requests of this lane until each has finished.
    fn run<'a>(
        &mut self,
        decoder: &Decoder,
        tokenizer: &Tokenizer,
        requests: &BTreeMap<usize, (usize, &'a Request<'a>)>,
        sampling: Sampling,
    ) -> Vec<(usize, Completion)> {
        let mut slots: Vec<Option<Running<'a>>> = self
            .sequences
            .iter()
            .map(|it| requests.get(it).map(|&(idx, request)| Running::new(idx, request)))
            .collect();
        let mut feed: Vec<Vec<TokenId>> = slots
            .iter()
            .zip(&self.seen)
            .map(|(slot, seen)| match slot {
                Some(it) if it.finish.is_none() => it.request.context[seen.len()..].to_vec(),
                _ => Vec::new(),
            })
            .collect();
        while feed.iter().any(|it| !it.is_empty()) {
            let logits = decoder.extend(&mut self.cache, &feed);
            for (seen, fed) in self.seen.iter_mut().zip(&feed) {
                seen.extend_from_slice(fed);
            }
            let vocab_size = logits.dims()[1];
            let logits: Vec<f32> =
                logits.into_data().try_into_vec_as().expect("f32 tensors read back as f32");
            let mut rows = logits.chunks_exact(vocab_size);
            for (slot, fed) in slots.iter_mut().zip(&mut feed) {
                if fed.is_empty() {
                    continue;
                }
                fed.clear();
                let running = slot.as_mut().expect("only requests are fed");
                let row = rows.next().expect("a row for every sequence that was fed");
                if let Some(token) = running.advance(row, tokenizer, sampling) {
                    fed.push(token);
                }
            }
        }
        slots
            .into_iter()
            .flatten()
            .map(|it| {
                let finish = it.finish.unwrap_or(Finish::Length);
                let completion = Completion { tokens: it.tokens, logprobs: it.logprobs, finish };
                (it.request_idx, completion)
            })
            .collect()
    }
}

impl<'a> Running<'a> {
    fn new(request_idx: usize, request: &'a Request<'a>) -> Self {
        Self {
            request_idx,
            request,
            rng: request.stream.rng(),
            text: String::new(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            finish: (request.max_new_tokens == 0).then_some(Finish::Length),
        }
    }

    /// Samples one token; returns it where the sequence goes on.
    fn advance(
        &mut self,
        logits: &[f32],
        tokenizer: &Tokenizer,
        sampling: Sampling,
    ) -> Option<TokenId> {
        let (token, logprob) = choose(logits, sampling, &mut self.rng);
        self.tokens.push(token);
        self.logprobs.push(logprob);
        let piece = tokenizer.piece(token);
        let fresh_from = self.text.len();
        self.text.push_str(piece);
        // A stop string that this token completes ends in the fresh part.
        let completed = |stop: &&str| {
            let from = self.text.floor_char_boundary(fresh_from.saturating_sub(stop.len()));
            !piece.is_empty() && self.text[from..].contains(*stop)
        };
        self.finish = if self.request.stop.iter().any(completed) {
            Some(Finish::Stop)
        } else if tokenizer.end_of_turn() == Some(token) {
            Some(Finish::EndOfTurn)
        } else if self.tokens.len() >= self.request.max_new_tokens {
            Some(Finish::Length)
        } else {
            None
        };
        self.finish.is_none().then_some(token)
    }
}

/// Chooses a token and says its log-probability under softmax(logits / temperature).
fn choose(logits: &[f32], sampling: Sampling, rng: &mut ChaCha8Rng) -> (TokenId, f32) {
    let temperature = match sampling {
        Sampling::Greedy => 1.0,
        Sampling::Temperature(it) => it,
    };
    let (mut best, mut max) = (0, f32::NEG_INFINITY);
    for (id, &logit) in logits.iter().enumerate() {
        if logit > max {
            (best, max) = (id, logit);
        }
    }
    let weight = |logit: f32| f64::from((logit - max) / temperature).exp();
    let total: f64 = logits.iter().map(|&it| weight(it)).sum();
    let token = match sampling {
        Sampling::Greedy => best,
        Sampling::Temperature(_) => {
            let mut rest = rng.random::<f64>() * total;
            // Rounding may leave a rest at the end: the most likely token takes it.
            logits
                .iter()
                .position(|&logit| {
                    rest -= weight(logit);
                    rest < 0.0
                })
                .unwrap_or(best)
        }
    };
    let logprob = f64::from((logits[token] - max) / temperature) - total.ln();
    (token as TokenId, logprob as f32)
}

impl Cache {
    /// Keeps these sequences, in this order, and forgets the others.
    pub fn keep(&mut self, slots: &[usize]) {
        self.lengths = slots.iter().map(|&slot| self.lengths[slot]).collect();
        let capacity = self.capacity() as i64;
        let rows: Vec<i64> = slots
            .iter()
            .flat_map(|&slot| (0..capacity).map(move |at| slot as i64 * capacity + at))
            .collect();
        self.map_layers(|stored| {
            let rows = TensorData::new(rows.clone(), [rows.len()]);
            let rows = Tensor::<1, Int>::from_data(rows, &stored.device());
            stored.select(0, rows)
        });
    }
}

#[cfg(test)]
mod tests {
    use forage_trajectory::{Purpose, Stream};

    use super::*;

    #[test]
    fn sampled_shares_follow_the_distribution() {
        let logits = [0.0_f32, 1.0, -1.0, 0.5];
        let mut counts = [0.0; 4];
        let mut rng = Stream::new(1, Purpose::Rollout).rng();
        for _ in 0..20_000 {
            let (token, logprob) = choose(&logits, Sampling::Temperature(0.7), &mut rng);
            counts[token as usize] += 1.0 / 20_000.0;
            assert!(logprob < 0.0);
        }
        for (token, share) in counts.iter().enumerate() {
            let weights: Vec<f64> = logits.iter().map(|&it| f64::from(it / 0.7).exp()).collect();
            let expected = weights[token] / weights.iter().sum::<f64>();
            assert!((share - expected).abs() < 0.015, "{token}: {share} for {expected}");
        }
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        let mut rng = Stream::new(1, Purpose::Rollout).rng();
        let (token, logprob) = choose(&[1.0, 2.0, 2.0], Sampling::Greedy, &mut rng);
        assert_eq!(token, 1);
        assert!((logprob - -0.862).abs() < 1e-3);
    }
}
