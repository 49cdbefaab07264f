//! Generator, agent and judge that are language models, as in SAGE (arXiv 2601.18202).
//!
//! [`ChatGenerator`] thinks and searches the corpus itself (`ReAct`) before it writes a pair, and is
//! shown what happened in one call without a search. [`ChatAgent`] answers questions by searching;
//! all that it is ever given is the text of the question. [`ChatGuesser`] does without searching.
//! [`ChatJudge`] compares two answers. Each asks a [`ChatModel`](crate::chat::ChatModel), and none
//! knows where that model runs.
//!
//! What they are told stands in files, [`Prompts`], whose hash belongs into the records of a run.
//! The tags, and how retrieved documents are laid out, are those of [`transcript`].

mod agent;
mod generator;
mod judge;
mod pair;
mod prompts;
pub mod transcript;

pub use agent::{ChatAgent, ChatAgentConfig, ChatGuesser};
pub use generator::{ChatGenerator, ChatGeneratorConfig, ModelGeneratorConfig, Research};
pub use judge::{ChatJudge, ChatJudgeConfig, verdict};
pub use prompts::{PromptError, Prompts};

use forage_trajectory::{Retriever, Stream};
use rand::Rng;

use crate::chat::{ChatError, Concern};
use crate::sage::{Searched, StepError, Turn, Usage};

/// What a failed call means for the step of an item that it was made for.
fn step_error(part: &str, error: ChatError, usage: Usage) -> StepError {
    let reason = match &error {
        ChatError::Budget(spent) => return StepError::Spent(spent.clone()),
        other if other.concern() != Concern::Request => {
            return StepError::engine(format!("the model of the {part}"), error);
        }
        ChatError::Refused { .. } => "the model refused",
        ChatError::Filtered { .. } => "a content filter",
        ChatError::Empty { cut_off: false, .. } => "a reply without text",
        ChatError::Empty { cut_off: true, .. } => "no text within `max_tokens`",
        ChatError::TooLong { .. } => "a prompt that is too long",
        ChatError::NoChoice { .. } => "a reply without a choice",
        ChatError::GaveUp { .. } => "every attempt failed",
        _ => "the server refused the request",
    };
    StepError::Item { reason: format!("{part}: {reason}"), usage }
}

/// Prompts are filled in once when they are read, so this does not happen.
fn unfilled(error: PromptError) -> StepError {
    StepError::engine("a prompt", error)
}

/// The seed of the n-th call of a stream.
fn seed(stream: Stream, n: usize) -> u64 {
    stream.at_turn(n as u64).rng().next_u64()
}

/// What was said, with the `k` documents that its query finds, where it has one.
fn turn(
    text: String,
    query: Option<String>,
    retriever: &dyn Retriever,
    k: usize,
) -> Result<Turn, StepError> {
    let Some(query) = query else {
        return Ok(Turn { text, searched: None });
    };
    let found = retriever.search(&[&query], k).pop().unwrap_or_else(|| Ok(Vec::new()));
    let mut hits = found.map_err(|error| StepError::engine("the retriever", error))?;
    hits.truncate(k);
    Ok(Turn { text, searched: Some(Searched { query, hits }) })
}
