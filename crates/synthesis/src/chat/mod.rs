//! Language models that answer a prompt with text.
//!
//! [`ChatModel`] is what the generator, the agent and the judge of
//! [`language_model`](crate::language_model) ask. [`ChatClient`] is one behind the chat completions
//! of the `OpenAI` protocol: vLLM, `SGLang`, llama.cpp, or a service. [`PolicyModel`] is one in this
//! process, on any device. What still fails after all that was tried is a [`ChatError`], which says
//! what it concerns: the request, the server, or the run.
//!
//! Every call is entered in the run's [`Ledger`](crate::sage::Ledger), which holds it to its budget
//! of tokens and money. Nothing here knows what the prompts are about.

mod client;
mod config;
mod error;
mod policy;
mod reply;

pub use client::{ChatClient, ChatCounts};
pub use config::{ChatConfig, Price};
pub use error::{ChatError, Concern};
pub use policy::{Encode, EndsTurn, PolicyModel, PolicyOptions};

use crate::sage::Usage;

/// What a model is asked.
#[derive(Debug, Clone, Copy)]
pub struct ChatRequest<'a> {
    /// The one message of the user.
    pub prompt: &'a str,
    /// 0 is greedy.
    pub temperature: f64,
    /// The reply ends before one of these, with it, or with the token that it is in: servers differ.
    pub stop: &'a [&'a str],
    /// Where the model's random numbers come from, as far as it lets itself be told.
    pub seed: u64,
}

/// What a model replied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatReply {
    /// Its text; never blank.
    pub text: String,
    /// Whether it was cut off at the most tokens that it may have.
    pub cut_off: bool,
}

/// A language model. Shared by many threads.
pub trait ChatModel: Send + Sync {
    /// Which model it is, for records.
    fn name(&self) -> &str;

    /// The reply to a prompt; the caller waits. What it took is added to `usage`, also where it
    /// failed.
    fn reply(&self, request: &ChatRequest<'_>, usage: &mut Usage) -> Result<ChatReply, ChatError>;
}

impl<M: ChatModel + ?Sized> ChatModel for std::sync::Arc<M> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn reply(&self, request: &ChatRequest<'_>, usage: &mut Usage) -> Result<ChatReply, ChatError> {
        (**self).reply(request, usage)
    }
}
