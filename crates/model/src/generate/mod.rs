//! The decoder as a [`Policy`]: continuous batches, with keys and values that survive turns.
//!
//! A batch has slots. A request takes the first that is free, computes what has not been seen of
//! its context (a prompt, once for all sequences that begin with it; later an observation, never
//! the past), and then gets a token in every step until its own stop rule; whoever waits takes its
//! slot. On the CPU each core has a batch of its own, and all serve one queue.
//!
//! What a sequence samples depends on its own stream of random numbers, never on its slot or its
//! neighbours; on the CPU to the last bit, see `host`.

mod sampling;
mod schedule;
mod slots;

use std::collections::{BTreeMap, BTreeSet};

use forage_trajectory::{
    BoxError, Completion, FinishReason, Policy, Prompt, Request, Sampling, TokenId,
};
use rand::rngs::ChaCha8Rng;

use self::sampling::Chooser;
use self::schedule::{Admitted, Idle, Promise, Schedule, positions};
use self::slots::{Network, Past, Slots};
use crate::decoder::Decoder;
use crate::parallel;
use crate::tokenizer::{StopStrings, Tokenizer};

/// Slots of a core. With more, a core decodes no more tokens a second.
const CORE_SLOTS: usize = 16;

/// Slots of another device.
const DEVICE_SLOTS: usize = 256;

/// A decoder with its tokenizer, continuing sequences.
#[derive(Debug)]
pub struct Generator {
    network: Network,
    tokenizer: Tokenizer,
    /// Positions whose keys and values may be kept at once.
    cache_tokens: usize,
    /// What is known of sequences.
    idle: BTreeMap<usize, Idle>,
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
    /// The context does not fit into the memory for keys and values.
    #[error(
        "a context of {tokens} tokens with {wanted} to come exceeds the {limit} that the cache may \
         hold"
    )]
    TooLarge {
        /// Tokens given.
        tokens: usize,
        /// Tokens asked for.
        wanted: usize,
        /// The limit of the cache.
        limit: usize,
    },
    /// Two requests are for the same sequence.
    #[error("sequence {0} is asked for twice at once")]
    Twice(usize),
    /// There is nothing to continue.
    #[error("the context of sequence {0} adds no token")]
    Empty(usize),
}

impl Generator {
    /// A generator without sequences, and without a limit of its memory.
    pub fn new(decoder: Decoder, tokenizer: Tokenizer) -> Self {
        let network = Network::new(decoder);
        Self { network, tokenizer, cache_tokens: usize::MAX, idle: BTreeMap::new() }
    }

    /// Bounds the tokens whose keys and values are kept at once, over all sequences.
    ///
    /// A request that does not fit waits for others to finish. If none runs, sequences that are
    /// between two turns are forgotten, and computed again when they go on: that takes time and
    /// changes no result.
    #[must_use]
    pub fn with_cache_tokens(self, cache_tokens: usize) -> Self {
        Self { cache_tokens, ..self }
    }

    /// Replaces the weights and forgets all sequences: what is kept belongs to the old ones.
    pub fn set_decoder(&mut self, decoder: Decoder) {
        self.idle.clear();
        // The old layout goes before the new one is made.
        self.network = Network::Device(decoder.clone());
        self.network = Network::new(decoder);
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn check(&self, request: &Request<'_>) -> Result<(), GenerateError> {
        let (tokens, wanted) = (request.context.len(), request.max_new_tokens);
        let limit = self.max_context();
        if positions(request) > limit {
            return Err(GenerateError::TooLong { tokens, wanted, limit });
        }
        let limit = self.cache_tokens;
        if positions(request) > limit {
            return Err(GenerateError::TooLarge { tokens, wanted, limit });
        }
        let seen = self.idle.get(&request.sequence).map(|it| it.seen.as_slice());
        match request.context.strip_prefix(seen.unwrap_or_default()) {
            None => Err(GenerateError::Rewritten(request.sequence)),
            Some([]) => Err(GenerateError::Empty(request.sequence)),
            Some(_) => Ok(()),
        }
    }
}

impl Policy for Generator {
    fn encode_prompt(&self, prompt: &Prompt<'_>) -> Result<(String, Vec<TokenId>), BoxError> {
        Ok(self.tokenizer.encode_prompt(prompt)?)
    }

    fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        self.tokenizer.encode(text)
    }

    fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
        self.tokenizer.decode(tokens)
    }

    fn max_context(&self) -> usize {
        self.network.config().max_position_embeddings
    }

    fn generate(
        &mut self,
        requests: &[Request<'_>],
        sampling: Sampling,
    ) -> Result<Vec<Completion>, BoxError> {
        let mut sequences = BTreeSet::new();
        for request in requests {
            self.check(request)?;
            if !sequences.insert(request.sequence) {
                return Err(GenerateError::Twice(request.sequence).into());
            }
        }
        let n_requests = requests.len();
        let (n_workers, n_slots) = if matches!(self.network, Network::Host(_)) {
            let n_workers = parallel::n_cores().min(n_requests);
            (n_workers, CORE_SLOTS.min(n_requests.div_ceil(n_workers.max(1))))
        } else {
            // There, all rows of a batch are as long as the longest, rounded up.
            let longest = requests.iter().map(positions).max().unwrap_or(1).next_power_of_two();
            (1, DEVICE_SLOTS.min(n_requests).min(self.cache_tokens / longest).max(1))
        };
        let schedule = Schedule::new(requests, std::mem::take(&mut self.idle), self.cache_tokens);
        let (network, tokenizer) = (&self.network, &self.tokenizer);
        parallel::map(vec![(); n_workers], |()| {
            Worker {
                network,
                tokenizer,
                sampling,
                schedule: &schedule,
                slots: Slots::new(network, n_slots),
                running: std::iter::repeat_with(|| None).take(n_slots).collect(),
                chooser: Chooser::default(),
            }
            .work();
        });
        let (completions, idle) = schedule.into_parts();
        self.idle = idle;
        Ok(completions.into_iter().map(|it| it.expect("every request was served")).collect())
    }

    fn release(&mut self, sequences: &[usize]) {
        for sequence in sequences {
            self.idle.remove(sequence);
        }
    }
}

/// A batch, and who computes it.
struct Worker<'w, 'a> {
    network: &'w Network,
    tokenizer: &'w Tokenizer,
    sampling: Sampling,
    schedule: &'w Schedule<'a>,
    slots: Slots,
    /// By slot.
    running: Vec<Option<Running<'a>>>,
    chooser: Chooser,
}

/// A request in a slot.
struct Running<'a> {
    promise: Promise,
    request: &'a Request<'a>,
    rng: ChaCha8Rng,
    stops: StopStrings<'a>,
    tokens: Vec<TokenId>,
    logprobs: Vec<f32>,
}

impl Worker<'_, '_> {
    /// Serves requests until none is left.
    fn work(mut self) {
        let guard = GiveUp(self.schedule);
        loop {
            self.fill();
            if self.running.iter().all(Option::is_none) {
                break;
            }
            self.step();
        }
        std::mem::forget(guard);
    }

    /// Fills empty slots with requests that wait.
    fn fill(&mut self) {
        while let Some(slot) = self.running.iter().position(Option::is_none) {
            let is_busy = self.running.iter().any(Option::is_some);
            let Some(admitted) = self.schedule.admit(is_busy) else { return };
            let mut running = Running::new(&admitted);
            let Admitted { request, idle, prompt, .. } = admitted;
            let (mut past, seen) = match idle {
                Some(idle) => (idle.past, idle.seen),
                None => (Past::new(self.network), Vec::new()),
            };
            if request.max_new_tokens == 0 {
                self.schedule.finish(
                    &running.promise,
                    running.end(FinishReason::Length),
                    Idle { seen, past },
                );
                continue;
            }
            let compute =
                |past: &mut Past| past.extend(self.network, &request.context[seen.len()..]);
            let logits = if let Some(prompt) = prompt {
                let compute = || {
                    let mut past = Past::new(self.network);
                    let logits = compute(&mut past);
                    (past, logits)
                };
                let logits;
                (past, logits) = prompt.get_or_init(compute).clone();
                past.reserve(self.network, positions(request));
                logits
            } else {
                past.reserve(self.network, positions(request));
                compute(&mut past)
            };
            if let Some(finish) =
                running.advance(&logits, self.tokenizer, self.sampling, &mut self.chooser)
            {
                let idle = Idle { seen: running.seen(), past };
                self.schedule.finish(&running.promise, running.end(finish), idle);
            } else {
                self.slots.put(self.network, slot, past);
                self.running[slot] = Some(running);
            }
        }
    }

    /// A token for every request in a slot.
    fn step(&mut self) {
        let last = |it: &Option<Running<'_>>| it.as_ref().and_then(|it| it.tokens.last().copied());
        let tokens: Vec<Option<TokenId>> = self.running.iter().map(last).collect();
        let logits = self.slots.step(self.network, &tokens);
        let mut rows = logits.chunks_exact(self.network.config().vocab_size);
        for slot in 0..self.running.len() {
            let Some(running) = &mut self.running[slot] else { continue };
            let row = rows.next().expect("a row for every token");
            let finish = running.advance(row, self.tokenizer, self.sampling, &mut self.chooser);
            if let Some(finish) = finish {
                let running = self.running[slot].take().expect("it just ran");
                let idle = Idle { seen: running.seen(), past: self.slots.take(slot) };
                self.schedule.finish(&running.promise, running.end(finish), idle);
            }
        }
    }
}

/// Tells the others, where a worker panics: they may wait for what it holds.
struct GiveUp<'w, 'a>(&'w Schedule<'a>);

impl Drop for GiveUp<'_, '_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl<'a> Running<'a> {
    fn new(admitted: &Admitted<'a>) -> Self {
        Self {
            promise: admitted.promise(),
            request: admitted.request,
            rng: admitted.request.stream.rng(),
            stops: StopStrings::new(admitted.request.stop),
            tokens: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    /// Samples one token; says why it is the last one, where it is.
    fn advance(
        &mut self,
        logits: &[f32],
        tokenizer: &Tokenizer,
        sampling: Sampling,
        chooser: &mut Chooser,
    ) -> Option<FinishReason> {
        let (token, logprob) = chooser.choose(logits, sampling, &mut self.rng);
        self.tokens.push(token);
        self.logprobs.push(logprob);
        if self.stops.completed_by(tokenizer.bytes(token)) {
            Some(FinishReason::Stop)
        } else if tokenizer.ends_turn(token) {
            Some(FinishReason::EndOfTurn)
        } else if self.tokens.len() >= self.request.max_new_tokens {
            Some(FinishReason::Length)
        } else {
            None
        }
    }

    /// What went through the model: the last token did not.
    fn seen(&self) -> Vec<TokenId> {
        let fed = self.tokens.split_last().map_or(&[][..], |it| it.1);
        [self.request.context, fed].concat()
    }

    fn end(&self, finish: FinishReason) -> Completion {
        Completion { tokens: self.tokens.clone(), logprobs: self.logprobs.clone(), finish }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use burn::tensor::Device;
    use forage_trajectory::{Purpose, Stream};
    use serde_json::json;

    use super::*;
    use crate::ModelConfig;

    /// A prompt is computed once for all who begin with it, and an observation costs itself.
    #[test]
    fn nothing_is_computed_twice() {
        let tokenizer = Tokenizer::train(&["to be or not to be".to_owned()], 280).unwrap();
        let keys = json!({
            "model_type": "llama", "vocab_size": tokenizer.vocab_size(), "hidden_size": 16,
            "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
            "max_position_embeddings": 256,
        });
        let config = ModelConfig::from_keys(keys.as_object().unwrap().clone()).unwrap();
        let decoder = Decoder::init(&config, 3, &Device::flex());
        let mut generator = Generator::new(decoder, tokenizer);
        let prompt = |n: TokenId| (0..n).map(|it| it * 7 % 250).collect::<Vec<TokenId>>();
        let mut contexts = [prompt(20), prompt(20), prompt(20), prompt(9)];
        let mut fresh = 20 + 9;
        for turn in 0..3 {
            let requests: Vec<Request<'_>> = contexts
                .iter()
                .enumerate()
                .map(|(sequence, context)| Request {
                    sequence,
                    context,
                    max_new_tokens: 4,
                    stop: &[],
                    stream: Stream::new(1, Purpose::Rollout).of_member(sequence as u64, 0),
                })
                .collect();
            let completions = generator.generate(&requests, Sampling::Temperature(1.0)).unwrap();
            let Network::Host(decoder) = &generator.network else { unreachable!("it is the CPU") };
            let computed = decoder.n_tokens.swap(0, Ordering::Relaxed);
            // The last token of each went through no layer yet.
            let fed: usize = completions.iter().map(|it| it.tokens.len() - 1).sum();
            assert_eq!(computed, fresh + fed, "turn {turn}");
            fresh = 0;
            for (context, completion) in contexts.iter_mut().zip(completions) {
                context.extend(completion.tokens);
                context.extend([5, 6, 7, 8, 9, 10]);
                fresh += 1 + 6;
            }
        }
        let twice = [0, 0].map(|sequence| Request {
            sequence,
            context: &contexts[0],
            max_new_tokens: 4,
            stop: &[],
            stream: Stream::new(1, Purpose::Rollout),
        });
        let error = generator.generate(&twice, Sampling::Greedy).unwrap_err();
        assert_eq!(error.to_string(), "sequence 0 is asked for twice at once");
    }
}
