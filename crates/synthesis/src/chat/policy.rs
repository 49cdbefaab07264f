//! Chat model in this process: a policy on any device.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forage_trajectory::{
    BoxError, Completion, FinishReason, Policy, Purpose, Request, Sampling, Stream, TokenId,
    Truncation,
};

use super::budget::{Budget, Usage};
use super::error::ChatError;
use super::{ChatModel, ChatReply, ChatRequest};

/// Chat template: encodes a user message as the tokens of a conversation that awaits its reply.
pub type Encode = dyn Fn(&str) -> Result<Vec<TokenId>, BoxError> + Send + Sync;

/// Predicate of tokens that end a turn.
pub type EndsTurn = dyn Fn(TokenId) -> bool + Send + Sync;

/// Options of a [`PolicyModel`].
pub struct PolicyOptions {
    /// Name of the model, for records.
    pub name: String,
    /// Chat template.
    pub encode: Box<Encode>,
    /// Predicate of tokens that end a turn; such a token is no part of the reply.
    pub ends_turn: Box<EndsTurn>,
    /// Most tokens of a reply.
    pub max_tokens: usize,
    /// Nucleus sampling (top-p), in (0, 1]. Default: off.
    pub top_p: Option<f32>,
    /// Largest batch of prompts; at least 1.
    pub batch: usize,
}

/// Policy as a chat model.
///
/// Prompts that arrive during a batch form the next batch, up to [`PolicyOptions::batch`] of the
/// same temperature and stop sequences. A reply does not depend on the other prompts of its batch,
/// as far as the policy promises that.
pub struct PolicyModel<P> {
    options: PolicyOptions,
    budget: Arc<Budget>,
    max_context: usize,
    policy: Mutex<P>,
    queue: Mutex<Vec<Arc<QueuedPrompt>>>,
}

/// A prompt in the queue.
struct QueuedPrompt {
    tokens: Vec<TokenId>,
    room: usize,
    temperature: f64,
    stop: Vec<String>,
    seed: u64,
    /// Set by the thread that generates its batch.
    reply: Mutex<Option<Result<Generated, Arc<BoxError>>>>,
}

/// Text that a policy generated.
struct Generated {
    text: String,
    n_tokens: usize,
    is_cut_off: bool,
}

/// An error that all prompts of a batch share.
#[derive(Debug)]
struct Shared(Arc<BoxError>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Shared {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl<P: Policy + Send> PolicyModel<P> {
    /// Chat model of a policy. Its tokens are charged to the budget, and cost no money.
    pub fn new(policy: P, options: PolicyOptions, budget: Arc<Budget>) -> Self {
        let max_context = policy.max_context();
        let (policy, queue) = (Mutex::new(policy), Mutex::default());
        Self { options, budget, max_context, policy, queue }
    }

    fn wait_for_reply(&self, caller: &Arc<QueuedPrompt>) -> Result<Generated, ChatError> {
        lock(&self.queue).push(Arc::clone(caller));
        let mut policy = lock(&self.policy);
        loop {
            if let Some(reply) = lock(&caller.reply).take() {
                return reply.map_err(|error| self.failed(Shared(error)));
            }
            let batch = self.next_batch();
            if batch.is_empty() {
                return Err(self.failed("whoever wrote for the batch ended before it was done"));
            }
            self.generate(&mut policy, &batch);
        }
    }

    /// The first prompt of the queue, with those that fit into its batch.
    fn next_batch(&self) -> Vec<Arc<QueuedPrompt>> {
        let mut queue = lock(&self.queue);
        let mut batch: Vec<Arc<QueuedPrompt>> = Vec::new();
        queue.retain(|prompt| {
            let fits = batch.first().is_none_or(|first| {
                first.temperature.total_cmp(&prompt.temperature).is_eq()
                    && first.stop == prompt.stop
            });
            let taken = fits && batch.len() < self.options.batch.max(1);
            if taken {
                batch.push(Arc::clone(prompt));
            }
            !taken
        });
        batch
    }

    fn generate(&self, policy: &mut P, batch: &[Arc<QueuedPrompt>]) {
        let Some(first) = batch.first() else { return };
        let stop: Vec<&str> = first.stop.iter().map(String::as_str).collect();
        let requests: Vec<Request<'_>> = batch
            .iter()
            .enumerate()
            .map(|(sequence, prompt)| Request {
                sequence,
                context: &prompt.tokens,
                max_new_tokens: prompt.room,
                stop: &stop,
                stream: Stream::new(prompt.seed, Purpose::Chat),
            })
            .collect();
        let written = policy.generate(&requests, self.sampling(first.temperature));
        let sequences: Vec<usize> = (0..batch.len()).collect();
        policy.release(&sequences);
        let written = written.and_then(|completions| {
            let read = |completion: Completion| {
                let n_tokens = completion.tokens.len();
                let mut tokens = completion.tokens.as_slice();
                if let [before @ .., last] = tokens
                    && (self.options.ends_turn)(*last)
                {
                    tokens = before;
                }
                let text = policy.decode(tokens)?;
                Ok(Generated {
                    text,
                    n_tokens,
                    is_cut_off: completion.finish == FinishReason::Length,
                })
            };
            completions.into_iter().map(read).collect::<Result<Vec<_>, BoxError>>()
        });
        match written {
            Ok(written) => {
                for (caller, written) in batch.iter().zip(written) {
                    *lock(&caller.reply) = Some(Ok(written));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for caller in batch {
                    *lock(&caller.reply) = Some(Err(Arc::clone(&error)));
                }
            }
        }
    }

    fn sampling(&self, temperature: f64) -> Sampling {
        let temperature = temperature as f32;
        match self.options.top_p {
            _ if temperature <= 0.0 => Sampling::Greedy,
            None => Sampling::Temperature(temperature),
            top_p => {
                let keep = Truncation { top_p, ..Truncation::default() };
                Sampling::Truncated { temperature, keep }
            }
        }
    }

    fn failed(&self, source: impl Into<BoxError>) -> ChatError {
        ChatError::Model { model: self.options.name.clone(), source: source.into() }
    }
}

impl<P: Policy + Send> ChatModel for PolicyModel<P> {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn reply(&self, request: &ChatRequest<'_>, usage: &mut Usage) -> Result<ChatReply, ChatError> {
        let model = self.options.name.clone();
        let tokens = (self.options.encode)(request.prompt).map_err(|error| self.failed(error))?;
        let most = self.max_context;
        let room = self.options.max_tokens.min(most.saturating_sub(tokens.len()));
        if room == 0 {
            let said = format!("{} tokens, and it reads {most}", tokens.len());
            return Err(ChatError::TooLong { model, said });
        }
        let prompt_tokens = tokens.len() as u64;
        let used = |written: usize| Usage {
            calls: 1,
            prompt_tokens,
            completion_tokens: written as u64,
            money: 0.0,
        };
        self.budget.reserve(used(room))?;
        let caller = Arc::new(QueuedPrompt {
            tokens,
            room,
            temperature: request.temperature,
            stop: request.stop.iter().map(|&it| it.to_owned()).collect(),
            seed: request.seed,
            reply: Mutex::default(),
        });
        let written = self.wait_for_reply(&caller);
        let took = written.as_ref().map_or_else(|_| Usage::default(), |reply| used(reply.n_tokens));
        self.budget.settle(used(room), took);
        *usage += took;
        let written = written?;
        if written.text.trim().is_empty() {
            return Err(ChatError::Empty { model, cut_off: written.is_cut_off });
        }
        Ok(ChatReply { text: written.text, cut_off: written.is_cut_off })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use forage_rollout::scripted::{Bytes, Codec, ScriptedPolicy};

    use super::*;
    use crate::chat::budget::BudgetLimits;

    const END: TokenId = 10;

    fn options(max_tokens: usize) -> PolicyOptions {
        PolicyOptions {
            name: "bytes".to_owned(),
            encode: Box::new(|prompt| Bytes.encode(&format!("user: {prompt}\n"))),
            ends_turn: Box::new(|token| token == END),
            max_tokens,
            top_p: None,
            batch: 4,
        }
    }

    fn ask<P: Policy + Send>(model: &PolicyModel<P>, prompt: &str) -> Result<ChatReply, ChatError> {
        let request = ChatRequest { prompt, temperature: 1.0, stop: &["</search>"], seed: 1 };
        model.reply(&request, &mut Usage::default())
    }

    #[test]
    fn callers_are_answered_each_with_their_own() {
        let n_written = AtomicUsize::new(0);
        let policy = ScriptedPolicy::new(Bytes, |context: &str, _, _| {
            n_written.fetch_add(1, Ordering::Relaxed);
            format!("{}\n", context.trim_end().to_uppercase())
        });
        let budget = Arc::<Budget>::default();
        let model = PolicyModel::new(policy, options(100), Arc::clone(&budget));
        thread::scope(|scope| {
            for caller in 0..16 {
                let model = &model;
                scope.spawn(move || {
                    let reply = ask(model, &format!("caller {caller}")).unwrap();
                    assert_eq!(reply.text, format!("USER: CALLER {caller}"));
                    assert!(!reply.cut_off);
                });
            }
        });
        assert_eq!(n_written.load(Ordering::Relaxed), 16);
        assert_eq!(budget.used().calls, 16);
        assert!(!budget.has_reservations());
    }

    #[test]
    fn what_goes_wrong_is_said() {
        let write = |_: &str, _, _| "0123456789".to_owned();
        let policy = || ScriptedPolicy::new(Bytes, write).with_max_context(24);
        let model = PolicyModel::new(policy(), options(4), Arc::default());
        let reply = ask(&model, "q").unwrap();
        assert_eq!(reply, ChatReply { text: "0123".to_owned(), cut_off: true });
        let error = ask(&model, "a prompt beyond the context").unwrap_err().to_string();
        assert_eq!(error, "the prompt is too long for `bytes`: 34 tokens, and it reads 24");
        let budget = Budget::new(BudgetLimits { tokens: Some(10), money: None });
        let model = PolicyModel::new(policy(), options(4), Arc::new(budget));
        assert!(matches!(ask(&model, "q"), Err(ChatError::Budget(_))));
        let blank = ScriptedPolicy::new(Bytes, |_: &str, _, _| "\n".to_owned());
        let model = PolicyModel::new(blank, options(4), Arc::default());
        assert!(matches!(ask(&model, "q"), Err(ChatError::Empty { cut_off: false, .. })));
        let unreadable = PolicyOptions { encode: Box::new(|_| Err("no".into())), ..options(4) };
        let model = PolicyModel::new(policy(), unreadable, Arc::default());
        assert!(matches!(ask(&model, "q"), Err(ChatError::Model { .. })));
    }
}
