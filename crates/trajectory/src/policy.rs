//! The language model, as the agent loop sees it: tokens in, tokens out.

use serde::{Deserialize, Serialize};

use crate::{BoxError, Stream, TokenId};

/// How to choose the next token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Sampling {
    /// The most likely token; ties go to the smaller id.
    Greedy,
    /// Drawn from softmax(logits / temperature).
    Temperature(f32),
    /// The same, of which only the most likely tokens are left.
    Truncated {
        /// The temperature.
        temperature: f32,
        /// What is left.
        keep: Truncation,
    },
}

/// Which tokens are left to be drawn: cut by number, then by share, then by likelihood. The most
/// likely one always is. What is not given does not cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Truncation {
    /// So many of the most likely.
    pub top_k: Option<usize>,
    /// The fewest of the most likely that have this share together; in (0, 1].
    pub top_p: Option<f32>,
    /// Those that are at least this share as likely as the most likely one; in [0, 1].
    pub min_p: Option<f32>,
}

impl Sampling {
    /// What logits are divided by; 1 when greedy.
    pub fn temperature(self) -> f32 {
        match self {
            Self::Greedy => 1.0,
            Self::Temperature(temperature) | Self::Truncated { temperature, .. } => temperature,
        }
    }
}

/// A wish for more tokens of one sequence.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Names the sequence across turns, so that a policy can keep what it computed for it.
    /// A policy that keeps nothing may ignore it.
    pub sequence: usize,
    /// All tokens of the sequence so far. Of one sequence, it only ever grows at its end.
    pub context: &'a [TokenId],
    /// Upper bound on the new tokens.
    pub max_new_tokens: usize,
    /// Generation ends with the token that completes one of these; it is kept, and nothing is
    /// sampled after it.
    pub stop: &'a [&'a str],
    /// Where this request's random numbers come from.
    pub stream: Stream,
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FinishReason {
    /// A stop string was completed.
    Stop,
    /// The model ended its turn.
    EndOfTurn,
    /// `max_new_tokens` were sampled.
    Length,
}

/// The tokens a policy added.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The sampled tokens, the one that completed a stop string included.
    pub tokens: Vec<TokenId>,
    /// Log-probability of each, under softmax(logits / temperature) before anything is cut off
    /// (temperature 1 when greedy).
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: FinishReason,
}

/// What a sequence begins with, before a model has a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt<'a> {
    /// A text as it stands.
    Plain(&'a str),
    /// A message in the chat template of the model, up to where the model is to write.
    Chat {
        /// The message of the system before it; what the template has in its place where there is
        /// none.
        system: Option<&'a str>,
        /// The message of the user.
        user: &'a str,
    },
}

/// A language model that continues token sequences.
pub trait Policy {
    /// The text and the tokens that a sequence begins with, as the model was trained to see them:
    /// with the token of a beginning, and in its chat template where that is asked for.
    ///
    /// No word of the prompt becomes a control token: those are written by the template alone.
    fn encode_prompt(&self, prompt: &Prompt<'_>) -> Result<(String, Vec<TokenId>), BoxError>;

    /// The tokens of a text that continues a sequence. Tags of the grammar may become special
    /// tokens.
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError>;

    /// The text of tokens, special tokens included.
    fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError>;

    /// How many tokens a sequence may have, prompt and observations included.
    fn max_context(&self) -> usize;

    /// Continues every sequence, in one batch. Completions are in the order of the requests and
    /// do not depend on what else is in the batch, up to rounding.
    fn generate(
        &mut self,
        requests: &[Request<'_>],
        sampling: Sampling,
    ) -> Result<Vec<Completion>, BoxError>;

    /// Says that these sequences will not be continued.
    fn release(&mut self, sequences: &[usize]);
}
