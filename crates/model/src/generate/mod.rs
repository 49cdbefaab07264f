//! Token generation: a decoder as a [`Policy`], with continuous batching and KV caches that are
//! kept between the turns of a sequence.
//!
//! A batch has slots. A request takes the first that is free, prefills what is not cached of its
//! context (a prompt, once for all sequences that begin with it; in later turns an observation),
//! and then gets a token in every decoding step until its own stop rule; the next request takes
//! its slot. On the CPU each core has a batch of its own, and all serve one queue.
//!
//! What a sequence samples depends on its own stream of random numbers, never on its slot or its
//! neighbours; on the CPU to the last bit, see `cpu`.

mod batch_slots;
mod sampler;
mod scheduler;

use std::collections::{BTreeMap, BTreeSet};

use forage_trajectory::{
    BoxError, Completion, FinishReason, Policy, Prompt, Request, Sampling, TokenId,
};
use rand::rngs::ChaCha8Rng;

use self::batch_slots::{BatchSlots, InferenceModel, KvCache};
use self::sampler::Sampler;
use self::scheduler::{Active, Parked, Reservation, Scheduler, SharedPrefill, positions};
use crate::decoder::Decoder;
use crate::parallel;
use crate::tokenizer::{StopStrings, Tokenizer};

/// Batch size of a core. With more, a core decodes no more tokens a second.
const CORE_SLOTS: usize = 16;

/// Batch size of another device.
const DEVICE_SLOTS: usize = 256;

/// Token generator: a decoder with its tokenizer, which continues sequences.
#[derive(Debug)]
pub struct Generator {
    model: InferenceModel,
    tokenizer: Tokenizer,
    /// Positions that may be cached at once.
    cache_tokens: usize,
    /// Sequences between two turns, by number.
    parked: BTreeMap<usize, Parked>,
}

/// Request that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The context does not begin with what was generated or given before.
    #[error("the context of sequence {0} does not continue what the policy has seen of it")]
    Rewritten(usize),
    /// The context is longer than the model's positions.
    #[error("a context of {tokens} tokens with {wanted} to come exceeds the model's {limit}")]
    TooLong {
        /// Tokens of the context.
        tokens: usize,
        /// Tokens to generate, at most.
        wanted: usize,
        /// Longest sequence of the model.
        limit: usize,
    },
    /// The context does not fit into the KV cache.
    #[error(
        "a context of {tokens} tokens with {wanted} to come exceeds the {limit} that the cache may \
         hold"
    )]
    TooLarge {
        /// Tokens of the context.
        tokens: usize,
        /// Tokens to generate, at most.
        wanted: usize,
        /// Positions of the KV cache.
        limit: usize,
    },
    /// Two requests are for the same sequence.
    #[error("sequence {0} is asked for twice at once")]
    Twice(usize),
    /// The context has no token that is not cached.
    #[error("the context of sequence {0} adds no token")]
    Empty(usize),
}

impl Generator {
    /// Token generator without sequences, and without a limit of its KV cache.
    pub fn new(decoder: Decoder, tokenizer: Tokenizer) -> Self {
        let model = InferenceModel::new(decoder);
        Self { model, tokenizer, cache_tokens: usize::MAX, parked: BTreeMap::new() }
    }

    /// Limits the KV cache, in tokens over all sequences. Default: no limit.
    ///
    /// A request that does not fit waits for others to finish. If none runs, sequences that are
    /// between two turns lose their caches, and are computed again when they go on: that takes time
    /// and changes no result.
    #[must_use]
    pub fn with_cache_tokens(self, cache_tokens: usize) -> Self {
        Self { cache_tokens, ..self }
    }

    /// Replaces the weights and drops all KV caches, which belong to the old ones.
    pub fn set_decoder(&mut self, decoder: Decoder) {
        self.parked.clear();
        // The old layout goes before the new one is made.
        self.model = InferenceModel::Device(decoder.clone());
        self.model = InferenceModel::new(decoder);
    }

    /// Tokenizer of the model.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Refuses a request that could never be served.
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
        let seen = self.parked.get(&request.sequence).map(|parked| parked.seen.as_slice());
        match request.context.strip_prefix(seen.unwrap_or_default()) {
            None => Err(GenerateError::Rewritten(request.sequence)),
            Some([]) => Err(GenerateError::Empty(request.sequence)),
            Some(_) => Ok(()),
        }
    }

    /// Number of workers, and of slots of each.
    fn batch_sizes(&self, requests: &[Request<'_>]) -> (usize, usize) {
        let n_requests = requests.len();
        if matches!(self.model, InferenceModel::Cpu(_)) {
            let n_workers = parallel::n_cores().min(n_requests);
            (n_workers, CORE_SLOTS.min(n_requests.div_ceil(n_workers.max(1))))
        } else {
            // There, all rows of a batch are as long as the longest, rounded up.
            let longest = requests.iter().map(positions).max().unwrap_or(1).next_power_of_two();
            (1, DEVICE_SLOTS.min(n_requests).min(self.cache_tokens / longest).max(1))
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
        self.model.config().max_position_embeddings
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
        let (n_workers, n_slots) = self.batch_sizes(requests);
        let parked = std::mem::take(&mut self.parked);
        let scheduler = Scheduler::new(requests, parked, self.cache_tokens);
        let (model, tokenizer) = (&self.model, &self.tokenizer);
        parallel::map(vec![(); n_workers], |()| {
            Worker {
                model,
                tokenizer,
                sampling,
                scheduler: &scheduler,
                slots: BatchSlots::new(model, n_slots),
                running: std::iter::repeat_with(|| None).take(n_slots).collect(),
                sampler: Sampler::default(),
            }
            .work();
        });
        let (completions, parked) = scheduler.into_parts();
        self.parked = parked;
        Ok(completions.into_iter().map(|it| it.expect("every request was served")).collect())
    }

    fn release(&mut self, sequences: &[usize]) {
        for sequence in sequences {
            self.parked.remove(sequence);
        }
    }
}

/// Worker that runs one batch.
struct Worker<'w, 'a> {
    model: &'w InferenceModel,
    tokenizer: &'w Tokenizer,
    sampling: Sampling,
    scheduler: &'w Scheduler<'a>,
    slots: BatchSlots,
    /// Requests by slot.
    running: Vec<Option<Running<'a>>>,
    sampler: Sampler,
}

/// Request in a slot, with its completion so far.
struct Running<'a> {
    reservation: Reservation,
    request: &'a Request<'a>,
    rng: ChaCha8Rng,
    stops: StopStrings<'a>,
    tokens: Vec<TokenId>,
    logprobs: Vec<f32>,
}

impl<'a> Worker<'_, 'a> {
    /// Serves requests until none is left.
    fn work(mut self) {
        let guard = AbortOnPanic(self.scheduler);
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
            let Some(active) = self.scheduler.admit(is_busy) else { return };
            self.start(slot, active);
        }
    }

    /// Prefills the context of a request and samples its first token; puts it into an empty slot,
    /// if that is not its last one.
    fn start(&mut self, slot: usize, active: Active<'a>) {
        let mut running = Running::new(&active);
        let Active { request, parked, prefill, .. } = active;
        let (mut cache, seen) = match parked {
            Some(parked) => (parked.cache, parked.seen),
            None => (KvCache::new(self.model), Vec::new()),
        };
        if request.max_new_tokens == 0 {
            let completion = running.end(FinishReason::Length);
            self.scheduler.finish(&running.reservation, completion, Parked { seen, cache });
            return;
        }
        let logits = if let Some(shared) = prefill {
            let logits;
            (cache, logits) = self.shared_prefill(&shared, request);
            cache.reserve(self.model, positions(request));
            logits
        } else {
            cache.reserve(self.model, positions(request));
            cache.prefill(self.model, &request.context[seen.len()..])
        };
        let finish = running.advance(&logits, self.tokenizer, self.sampling, &mut self.sampler);
        if let Some(finish) = finish {
            let parked = Parked { seen: running.seen(), cache };
            self.scheduler.finish(&running.reservation, running.end(finish), parked);
        } else {
            self.slots.put(self.model, slot, cache);
            self.running[slot] = Some(running);
        }
    }

    /// Copy of a prefill that is shared, which is computed where no other worker has done so.
    fn shared_prefill(&self, shared: &SharedPrefill, request: &Request<'_>) -> (KvCache, Vec<f32>) {
        let compute = || {
            let mut cache = KvCache::new(self.model);
            let logits = cache.prefill(self.model, request.context);
            (cache, logits)
        };
        shared.get_or_init(compute).clone()
    }

    /// Decoding step: a token for every request in a slot.
    fn step(&mut self) {
        let last = |running: &Option<Running<'_>>| running.as_ref()?.tokens.last().copied();
        let tokens: Vec<Option<TokenId>> = self.running.iter().map(last).collect();
        let logits = self.slots.decode_step(self.model, &tokens);
        let mut rows = logits.chunks_exact(self.model.config().vocab_size);
        for slot in 0..self.running.len() {
            let Some(running) = &mut self.running[slot] else { continue };
            let row = rows.next().expect("a row for every token");
            let finish = running.advance(row, self.tokenizer, self.sampling, &mut self.sampler);
            if let Some(finish) = finish {
                let running = self.running[slot].take().expect("it just ran");
                let parked = Parked { seen: running.seen(), cache: self.slots.take(slot) };
                self.scheduler.finish(&running.reservation, running.end(finish), parked);
            }
        }
    }
}

/// Guard that aborts the scheduler where a worker panics: others may wait for its reservations.
struct AbortOnPanic<'w, 'a>(&'w Scheduler<'a>);

impl Drop for AbortOnPanic<'_, '_> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<'a> Running<'a> {
    fn new(active: &Active<'a>) -> Self {
        Self {
            reservation: active.reservation(),
            request: active.request,
            rng: active.request.stream.rng(),
            stops: StopStrings::new(active.request.stop),
            tokens: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    /// Samples one token. Returns the reason to finish, where it is the last one.
    fn advance(
        &mut self,
        logits: &[f32],
        tokenizer: &Tokenizer,
        sampling: Sampling,
        sampler: &mut Sampler,
    ) -> Option<FinishReason> {
        let (token, logprob) = sampler.sample(logits, sampling, &mut self.rng);
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

    /// Tokens whose keys and values are cached: all but the last.
    fn seen(&self) -> Vec<TokenId> {
        let fed = self.tokens.split_last().map_or(&[][..], |it| it.1);
        [self.request.context, fed].concat()
    }

    /// Completion of the request.
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
    use crate::config::ModelConfig;

    /// A prompt is computed once for all that begin with it, and an observation costs itself.
    #[test]
    fn nothing_is_computed_twice() {
        let tokenizer = Tokenizer::train(&["to be or not to be".to_owned()], 280, &[]).unwrap();
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
            let InferenceModel::Cpu(decoder) = &generator.model else {
                unreachable!("it is the CPU")
            };
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
