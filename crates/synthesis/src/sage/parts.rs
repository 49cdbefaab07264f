//! The three parts of the loop: who proposes, who tries, who judges.
//!
//! All of them are shared by many threads, and one call is one step of one item: items are in
//! flight side by side, a thread each, and a part may make many calls wait for each other (to bound
//! its connections, or to play them as one batch).

use forage_trajectory::{BoxError, Evidence, Stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Item, Run, Spent, Trace, Usage};

/// A question with its answer and what leads to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The question; all that the agent is ever told.
    pub question: String,
    /// Answers that count as right, the plainest first.
    pub golden_answers: Vec<String>,
    /// The answering steps, and the entities and passages on the way.
    pub evidence: Evidence,
}

/// A pair with how it was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The pair.
    pub pair: Pair,
    /// What the generator was told and wrote; of a revision, what it was told holds the traces
    /// before it.
    pub trace: Trace,
    /// What the generator wants to remember until the next round; the loop does not look inside.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub notes: Value,
}

/// What the generator is told of a pair that did not pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Feedback<'a> {
    /// It was answered in fewer searches than wanted: the shortest correct run.
    TooEasy(&'a Run),
    /// No run was right: a run that gave an answer, chosen at random. `None` where none did.
    Wrong(Option<&'a Run>),
}

/// A pair to be changed.
#[derive(Debug, Clone, Copy)]
pub struct Revision<'a> {
    /// What the question is to be like.
    pub item: &'a Item,
    /// Which round this makes, from 1.
    pub round: usize,
    /// The proposal of the round before. Earlier ones are in its trace.
    pub previous: &'a Proposal,
    /// What became of it.
    pub feedback: &'a Feedback<'a>,
    /// Where random numbers come from.
    pub stream: Stream,
}

/// Something that took usage to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Made<T> {
    /// What was made.
    pub it: T,
    /// What it took.
    pub usage: Usage,
}

impl<T> Made<T> {
    /// Something that took nothing.
    pub fn free(it: T) -> Self {
        Self { it, usage: Usage::default() }
    }
}

/// Why a step of an item was not made.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// It cannot be made for this item, and trying again would not help: a refusal, a reply that
    /// nobody can read, a document that no question can be asked about. The item or the run is
    /// lost, counted and written down; all others go on.
    #[error("{reason}")]
    Item {
        /// What happened, in a few words that do not differ from item to item: reports count them.
        reason: String,
        /// What it took nevertheless.
        usage: Usage,
    },
    /// The budget is spent. Nothing is written down for the item; the run ends, and can be resumed
    /// with a larger one.
    #[error("the budget is spent")]
    Spent(#[from] Spent),
    /// The engine behind the part is broken: a server that does not answer, an index that cannot be
    /// read. Nothing is written down for the item; the run ends and can be resumed.
    #[error("{what} failed")]
    Engine {
        /// Which engine.
        what: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
}

impl StepError {
    /// An item that is lost, without usage.
    pub fn item(reason: impl Into<String>) -> Self {
        Self::Item { reason: reason.into(), usage: Usage::default() }
    }

    /// An engine that is broken.
    pub fn engine(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Engine { what: what.into(), source: source.into() }
    }
}

/// Makes pairs.
pub trait Generator: Send + Sync {
    /// Makes a pair from nothing but the item: round 0, and every round of resampling.
    fn propose(&self, item: &Item, stream: Stream) -> Result<Made<Proposal>, StepError>;

    /// Changes a pair that did not pass, without searching: whatever it states comes from the
    /// traces.
    fn revise(&self, revision: &Revision<'_>) -> Result<Made<Proposal>, StepError>;
}

/// Answers questions by searching.
///
/// It is never told more than the question: neither document, answer, nor how the question was
/// made.
pub trait Agent: Send + Sync {
    /// One run. Runs of the same question differ in their streams only.
    fn answer(&self, question: &str, stream: Stream) -> Result<Made<Run>, StepError>;

    /// Independent runs of one question, one a stream, in their order. An agent that plays in
    /// batches plays them together.
    fn answer_all(&self, question: &str, streams: &[Stream]) -> Vec<Result<Made<Run>, StepError>> {
        streams.iter().map(|stream| self.answer(question, *stream)).collect()
    }
}

/// What a judge found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Whether the answer is right. What cannot be read is not a yes.
    pub right: bool,
    /// What the judge wrote, where it is one that writes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reply: String,
}

/// Says whether answers are right. An empty answer is never put to it: it is wrong.
pub trait Judge: Send + Sync {
    /// Judges one answer to the question of a pair.
    fn judge(
        &self,
        pair: &Pair,
        answer: &str,
        stream: Stream,
    ) -> Result<Made<Judgement>, StepError>;
}
