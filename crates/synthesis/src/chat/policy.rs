//! A policy in this process as a model that answers prompts: our own, on any device.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use forage_trajectory::{
    BoxError, Completion, FinishReason, Policy, Purpose, Request, Sampling, Stream, TokenId,
    Truncation,
};

use super::{ChatError, ChatModel, ChatReply, ChatRequest};
use crate::sage::{Ledger, Usage};

/// Turns the message of a user into the tokens of a conversation that awaits its reply.
pub type Encode = dyn Fn(&str) -> Result<Vec<TokenId>, BoxError> + Send + Sync;

/// Whether a token ends a turn.
pub type EndsTurn = dyn Fn(TokenId) -> bool + Send + Sync;

/// How a policy is put to use.
pub struct PolicyOptions {
    /// Which model it is, for records.
    pub name: String,
    /// How a prompt becomes tokens.
    pub encode: Box<Encode>,
    /// Which tokens end a turn; such a token is no part of the reply.
    pub ends_turn: Box<EndsTurn>,
    /// Tokens of a reply at most.
    pub max_tokens: usize,
    /// Only the most likely tokens that have this share together are drawn; in (0, 1].
    pub top_p: Option<f32>,
    /// Most prompts that are answered together; one at least.
    pub batch: usize,
}

/// A policy that answers prompts.
///
/// Callers who come while it writes are answered together when it is done, up to a number, if they
/// want the same temperature and stops. What a prompt is answered does not depend on the others, as
/// far as the policy promises it.
pub struct PolicyModel<P> {
    options: PolicyOptions,
    ledger: Arc<Ledger>,
    max_context: usize,
    policy: Mutex<P>,
    waiting: Mutex<Vec<Arc<Waiting>>>,
}

/// A caller.
struct Waiting {
    tokens: Vec<TokenId>,
    room: usize,
    temperature: f64,
    stop: Vec<String>,
    seed: u64,
    /// Set by whoever writes for it.
    reply: Mutex<Option<Result<Written, Arc<BoxError>>>>,
}

/// What a policy wrote.
struct Written {
    text: String,
    n_tokens: usize,
    is_cut_off: bool,
}

/// An error that all callers of a batch get.
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
    /// A policy as a model; its tokens are entered in the ledger and cost no money.
    pub fn new(policy: P, options: PolicyOptions, ledger: Arc<Ledger>) -> Self {
        let max_context = policy.max_context();
        let (policy, waiting) = (Mutex::new(policy), Mutex::default());
        Self { options, ledger, max_context, policy, waiting }
    }

    fn write(&self, caller: &Arc<Waiting>) -> Result<Written, ChatError> {
        lock(&self.waiting).push(Arc::clone(caller));
        let mut policy = lock(&self.policy);
        loop {
            if let Some(reply) = lock(&caller.reply).take() {
                return reply.map_err(|error| self.failed(Shared(error)));
            }
            let batch = self.next_batch();
            if batch.is_empty() {
                return Err(self.failed("whoever wrote for the batch ended before it was done"));
            }
            self.play(&mut policy, &batch);
        }
    }

    /// The first who waits, and all who can be answered with it.
    fn next_batch(&self) -> Vec<Arc<Waiting>> {
        let mut waiting = lock(&self.waiting);
        let mut batch: Vec<Arc<Waiting>> = Vec::new();
        waiting.retain(|it| {
            let fits = batch.first().is_none_or(|first| {
                first.temperature.total_cmp(&it.temperature).is_eq() && first.stop == it.stop
            });
            let taken = fits && batch.len() < self.options.batch.max(1);
            if taken {
                batch.push(Arc::clone(it));
            }
            !taken
        });
        batch
    }

    fn play(&self, policy: &mut P, batch: &[Arc<Waiting>]) {
        let Some(first) = batch.first() else { return };
        let stop: Vec<&str> = first.stop.iter().map(String::as_str).collect();
        let requests: Vec<Request<'_>> = batch
            .iter()
            .enumerate()
            .map(|(sequence, it)| Request {
                sequence,
                context: &it.tokens,
                max_new_tokens: it.room,
                stop: &stop,
                stream: Stream::new(it.seed, Purpose::Chat),
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
                Ok(Written {
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
        self.ledger.reserve(used(room))?;
        let caller = Arc::new(Waiting {
            tokens,
            room,
            temperature: request.temperature,
            stop: request.stop.iter().map(|&it| it.to_owned()).collect(),
            seed: request.seed,
            reply: Mutex::default(),
        });
        let written = self.write(&caller);
        let took = written.as_ref().map_or_else(|_| Usage::default(), |it| used(it.n_tokens));
        self.ledger.settle(used(room), took);
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
    use crate::sage::Limits;

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
        let ledger = Arc::<Ledger>::default();
        let model = PolicyModel::new(policy, options(100), Arc::clone(&ledger));
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
        assert_eq!(ledger.used().calls, 16);
        assert!(!ledger.has_reservations());
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
        let ledger = Ledger::new(Limits { tokens: Some(10), money: None });
        let model = PolicyModel::new(policy(), options(4), Arc::new(ledger));
        assert!(matches!(ask(&model, "q"), Err(ChatError::Budget(_))));
        let blank = ScriptedPolicy::new(Bytes, |_: &str, _, _| "\n".to_owned());
        let model = PolicyModel::new(blank, options(4), Arc::default());
        assert!(matches!(ask(&model, "q"), Err(ChatError::Empty { cut_off: false, .. })));
        let unreadable = PolicyOptions { encode: Box::new(|_| Err("no".into())), ..options(4) };
        let model = PolicyModel::new(policy(), unreadable, Arc::default());
        assert!(matches!(ask(&model, "q"), Err(ChatError::Model { .. })));
    }
}
