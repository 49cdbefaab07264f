//! Policy, the language model as the agent loop sees it: tokens in, tokens out.

use serde::{Deserialize, Serialize};

use crate::{BoxError, Stream, TokenId};

/// Decoding method: how the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Sampling {
    /// Greedy decoding: the most likely token. Ties go to the smaller id.
    Greedy,
    /// Sampling from softmax(logits / temperature).
    Temperature(f32),
    /// Sampling with temperature from the most likely tokens only.
    Truncated {
        /// Temperature.
        temperature: f32,
        /// Tokens that remain.
        keep: Truncation,
    },
}

/// Truncation of the sampling distribution: top-k, then top-p, then min-p.
///
/// The most likely token always remains. Default: no truncation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truncation {
    /// Top-k: keeps this many of the most likely tokens. Default: all.
    pub top_k: Option<usize>,
    /// Top-p (nucleus sampling): keeps the fewest tokens, most likely first, with probabilities
    /// that add up to this; in (0, 1]. Default: all.
    pub top_p: Option<f32>,
    /// Min-p: keeps tokens that are at least this many times as likely as the most likely one; in
    /// [0, 1]. Default: all.
    pub min_p: Option<f32>,
}

impl Sampling {
    /// Temperature that logits are divided by; 1 for greedy decoding.
    pub fn temperature(self) -> f32 {
        match self {
            Self::Greedy => 1.0,
            Self::Temperature(temperature) | Self::Truncated { temperature, .. } => temperature,
        }
    }
}

/// Generation request for one sequence.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Identifier of the sequence across turns, under which a policy may keep its KV cache.
    pub sequence: usize,
    /// All tokens of the sequence so far. From one request of a sequence to the next, tokens are
    /// only appended.
    pub context: &'a [TokenId],
    /// Maximum number of new tokens.
    pub max_new_tokens: usize,
    /// Stop strings. Generation ends with the token that completes one of them, and keeps it.
    pub stop: &'a [&'a str],
    /// Random stream of the request.
    pub stream: Stream,
}

/// Reason why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FinishReason {
    /// A stop string was completed.
    Stop,
    /// The model ended its turn, with an end-of-sequence token.
    EndOfTurn,
    /// The limit `max_new_tokens` was reached.
    Length,
}

/// Completion: the tokens that a policy added to a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Sampled tokens, including the one that completed a stop string.
    pub tokens: Vec<TokenId>,
    /// Log-probability of each token under softmax(logits / temperature), before any truncation.
    /// The temperature of greedy decoding is 1.
    pub logprobs: Vec<f32>,
    /// Reason why generation ended.
    pub finish: FinishReason,
}

/// Prompt: what a sequence begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt<'a> {
    /// Plain text, without a chat template.
    Plain(&'a str),
    /// User message in the model's chat template, up to the point where the assistant writes.
    Chat {
        /// System message. Default: that of the chat template.
        system: Option<&'a str>,
        /// User message.
        user: &'a str,
    },
}

/// Policy: a language model that continues token sequences.
pub trait Policy {
    /// Text and tokens of a prompt: with the beginning-of-sequence token of the model, and in its
    /// chat template for [`Prompt::Chat`].
    ///
    /// No text of the prompt becomes a control token: the template alone writes those.
    ///
    /// # Errors
    ///
    /// Those of the tokenizer, and a missing chat template.
    fn encode_prompt(&self, prompt: &Prompt<'_>) -> Result<(String, Vec<TokenId>), BoxError>;

    /// Tokens of a text that continues a sequence. Tags of the [`protocol`](crate::protocol) may
    /// become special tokens.
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError>;

    /// Text of some tokens, including special tokens.
    fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError>;

    /// Maximum length of a sequence in tokens, including prompt and observations.
    fn max_context(&self) -> usize;

    /// Batched generation: continues every sequence.
    ///
    /// Completions are in the order of the requests and do not depend on what else is in the
    /// batch, up to rounding.
    fn generate(
        &mut self,
        requests: &[Request<'_>],
        sampling: Sampling,
    ) -> Result<Vec<Completion>, BoxError>;

    /// Frees what is kept for sequences that will not be continued.
    fn release(&mut self, sequences: &[usize]);
}
