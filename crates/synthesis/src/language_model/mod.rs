//! Generator, agents and judge that are chat models, as in SAGE (arXiv 2601.18202).
//!
//! [`ChatGenerator`] searches the corpus before it writes a pair (`ReAct`), and revises a pair in
//! one call without a search. [`ChatAgent`] answers questions by searching; it is given the text of
//! the question alone. [`ChatGuesser`] answers without searching. [`ChatJudge`] compares two
//! answers. Each calls a [`ChatModel`](crate::chat::ChatModel), on a server or in this process.
//!
//! The prompts are templates in files, [`Prompts`], whose hash belongs into the records of a run.
//! The tags, and the layout of retrieved documents, are those of [`transcript`].

mod agent;
mod generator;
mod judge;
mod pair;
mod prompts;
pub mod transcript;

pub use agent::{ChatAgent, ChatAgentConfig, ChatGuesser};
pub use generator::{ChatGenerator, ChatGeneratorConfig, ModelGeneratorConfig, ResearchOptions};
pub use judge::{ChatJudge, ChatJudgeConfig, parse_verdict};
pub use prompts::{PromptError, Prompts};

use forage_trajectory::{Retriever, Stream};
use rand::Rng;

use crate::chat::{ChatError, Concern, Usage};
use crate::feedback_loop::{ExecutedSearch, StepError, TraceTurn};

/// The step error of a failed call.
fn step_error(part: &str, error: ChatError, usage: Usage) -> StepError {
    let reason = match &error {
        ChatError::Budget(spent) => return StepError::BudgetExceeded(spent.clone()),
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

/// The step error of a prompt that cannot be filled in. Prompts are filled in once when they are
/// read, so this does not happen.
fn unfilled(error: PromptError) -> StepError {
    StepError::engine("a prompt", error)
}

/// Seed of the n-th call of a stream.
fn seed(stream: Stream, n: usize) -> u64 {
    stream.at_turn(n as u64).rng().next_u64()
}

/// The turn of a text: with the first `k` hits of its query, where it has one.
fn turn(
    text: String,
    query: Option<String>,
    retriever: &dyn Retriever,
    k: usize,
) -> Result<TraceTurn, StepError> {
    let Some(query) = query else {
        return Ok(TraceTurn { text, searched: None });
    };
    let found = retriever.search(&[&query], k).pop().unwrap_or_else(|| Ok(Vec::new()));
    let mut hits = found.map_err(|error| StepError::engine("the retriever", error))?;
    hits.truncate(k);
    Ok(TraceTurn { text, searched: Some(ExecutedSearch { query, hits }) })
}
