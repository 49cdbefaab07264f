//! Chat models: language models that reply to a prompt with text.
//!
//! [`ChatModel`] is the trait. [`ChatClient`] implements it for servers with the chat completions
//! of the `OpenAI` protocol (vLLM, `SGLang`, llama.cpp, or a service), [`PolicyModel`] for a policy
//! in this process, on any device. A failure that remains after the retries is a [`ChatError`],
//! which says whether it concerns the request, the server or the run.
//!
//! Every call is charged to a [`Budget`] of tokens and money. This module does not depend on the
//! content of the prompts: the feedback loop and its roles are built on it.

mod budget;
mod client;
mod config;
mod error;
mod policy;
mod reply;

pub use budget::{Budget, BudgetExceeded, BudgetLimits, Usage};
pub use client::{ChatClient, ChatCounts};
pub use config::{ChatConfig, Price};
pub use error::{ChatError, Concern};
pub use policy::{Encode, EndsTurn, PolicyModel, PolicyOptions};

/// Request to a chat model.
#[derive(Debug, Clone, Copy)]
pub struct ChatRequest<'a> {
    /// Only message, with the role `user`.
    pub prompt: &'a str,
    /// Sampling temperature; 0 is greedy.
    pub temperature: f64,
    /// Stop sequences. Servers differ: the reply ends before one, with it, or with its token.
    pub stop: &'a [&'a str],
    /// Seed of the sampling, for models that accept one.
    pub seed: u64,
}

/// Reply of a chat model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatReply {
    /// Text; never blank.
    pub text: String,
    /// Whether the limit on tokens cut it off.
    pub cut_off: bool,
}

/// Chat model. Shared by many threads.
pub trait ChatModel: Send + Sync {
    /// Name of the model, for records.
    fn name(&self) -> &str;

    /// The reply to a request; blocks. Its usage is added to `usage`, also on an error.
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
