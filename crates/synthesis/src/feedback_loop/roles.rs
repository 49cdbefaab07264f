//! Roles of the loop: question generator, agent and judge.
//!
//! All of them are shared by many threads, and one call is one step of one item: items are in
//! flight at once, a thread each. A role may let calls wait for each other, to bound its
//! connections or to run them as one batch.

use forage_trajectory::{BoxError, Evidence, Question, Stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::item::Item;
use super::trace::{AgentRun, Trace};
use crate::chat::{BudgetExceeded, Usage};

/// Question–answer pair with its evidence.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QaPair {
    /// Question: all that the agent is ever given.
    pub question: String,
    /// Golden answers, the plainest first.
    pub golden_answers: Vec<String>,
    /// Answering steps, with the entities and passages of the chain.
    pub evidence: Evidence,
}

impl QaPair {
    /// Pair as a question of a data set.
    pub fn question(&self, id: String) -> Question {
        let Self { question, golden_answers, evidence } = self.clone();
        let shape = match evidence.shape.as_str() {
            "" => "synthesized".to_owned(),
            shape => shape.to_owned(),
        };
        let evidence = Evidence { shape, ..evidence };
        Question { id, text: question, golden_answers, evidence, ..Question::default() }
    }
}

/// Proposal of a generator: a pair and the trace that led to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Pair.
    pub pair: QaPair,
    /// Prompt and turns of the generator; the prompt of a revision contains the traces before it.
    pub trace: Trace,
    /// State of the generator until the next round; opaque to the loop.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub notes: Value,
}

/// Feedback on a pair that did not pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Feedback<'a> {
    /// It was answered in fewer searches than the target: the shortest correct run.
    TooEasy(&'a AgentRun),
    /// No run was right: a run with an answer, chosen at random, or `None` where no run has one.
    Wrong(Option<&'a AgentRun>),
}

/// Request to revise a pair.
#[derive(Debug, Clone, Copy)]
pub struct Revision<'a> {
    /// Specification of the question.
    pub item: &'a Item,
    /// Number of the new round, from 1.
    pub round: usize,
    /// Previous proposal. Its trace contains earlier ones.
    pub previous: &'a Proposal,
    /// Feedback on it.
    pub feedback: &'a Feedback<'a>,
    /// Stream of random numbers.
    pub stream: Stream,
}

/// Value with the usage that it took to make.
#[derive(Debug, Clone, PartialEq)]
pub struct WithUsage<T> {
    /// Value.
    pub value: T,
    /// Tokens and money that it took.
    pub usage: Usage,
}

impl<T> WithUsage<T> {
    /// Value that took nothing.
    pub fn free(value: T) -> Self {
        Self { value, usage: Usage::default() }
    }
}

/// Error of a step of an item.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The step cannot be made for this item, and a retry would not help: a refusal, a reply that
    /// cannot be parsed, a document without a question. The item or the run is lost, which is
    /// counted and recorded; all others go on.
    #[error("{reason}")]
    Item {
        /// The reason, in a few words that do not differ from item to item: reports count them.
        reason: String,
        /// Usage of the failed step.
        usage: Usage,
    },
    /// The budget is spent. Nothing is recorded for the item; the run ends, and can be resumed with
    /// a larger budget.
    #[error("the budget is spent")]
    BudgetExceeded(#[from] BudgetExceeded),
    /// The engine behind the role is broken: a server that does not answer, an index that cannot be
    /// read. Nothing is recorded for the item; the run ends and can be resumed.
    #[error("{what} failed")]
    Engine {
        /// Name of the engine.
        what: String,
        /// The cause.
        #[source]
        source: BoxError,
    },
}

impl StepError {
    /// Lost item, without usage.
    pub fn item(reason: impl Into<String>) -> Self {
        Self::Item { reason: reason.into(), usage: Usage::default() }
    }

    /// Broken engine.
    pub fn engine(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Engine { what: what.into(), source: source.into() }
    }
}

/// Question generator: proposes and revises pairs.
pub trait QuestionGenerator: Send + Sync {
    /// Proposes a pair from nothing but the item: in round 0, and in every round of resampling.
    fn propose(&self, item: &Item, stream: Stream) -> Result<WithUsage<Proposal>, StepError>;

    /// Revises a pair that did not pass, without searching: all its facts come from the traces.
    fn revise(&self, revision: &Revision<'_>) -> Result<WithUsage<Proposal>, StepError>;
}

/// Search agent: attempts questions.
///
/// It is given the question alone: neither the document, nor the answer, nor the generator's trace.
pub trait Agent: Send + Sync {
    /// One run. Runs of the same question differ only in their streams.
    fn answer(&self, question: &str, stream: Stream) -> Result<WithUsage<AgentRun>, StepError>;

    /// Independent runs of one question, one per stream, in the order of the streams. An agent that
    /// runs in batches runs them together.
    fn answer_all(
        &self,
        question: &str,
        streams: &[Stream],
    ) -> Vec<Result<WithUsage<AgentRun>, StepError>> {
        streams.iter().map(|stream| self.answer(question, *stream)).collect()
    }
}

/// Judgement of an answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Whether the answer is right. A reply that cannot be parsed is not a yes.
    pub right: bool,
    /// Text of the judge, where it is a language model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reply: String,
}

/// Judge of answers. An empty answer is wrong without being judged.
pub trait Judge: Send + Sync {
    /// Judges one answer to the question of a pair.
    fn judge(
        &self,
        pair: &QaPair,
        answer: &str,
        stream: Stream,
    ) -> Result<WithUsage<Judgement>, StepError>;
}
