//! Feedback loop that makes questions of a target difficulty: SAGE (arXiv 2601.18202).
//!
//! A [`QuestionGenerator`] proposes a [`QaPair`] for an [`Item`]: a document, the number of
//! searches that the question should take, and the type of its answer. An [`Agent`] that is given
//! the question alone attempts it K times, and a [`Judge`] says which answers are right. The
//! [`PairVerdict`] sums that up. A pair that is wrong or too easy goes back to the generator with
//! [`Feedback`], round after round ([`FeedbackLoop::run`]). Every finished step is in a
//! [`Journal`], so a killed run resumes where it was. [`assemble`] decides which pairs become
//! questions, [`contaminated`] and [`split`] keep training and test apart, and [`SynthesisReport`]
//! has the tables of the paper.
//!
//! The loop knows its three roles as traits only. Its generators are the
//! [`GraphGenerator`](crate::graph_generator::GraphGenerator) and those of
//! [`language_model`](crate::language_model).

mod roles;
mod trace;

mod answer_type;
mod config;
mod item;

mod closed_book;
mod event;
mod journal;
mod record;
mod runner;
mod verdict;

mod assemble;
mod decontamination;
mod report;

mod error;
pub mod scripted;

pub use answer_type::AnswerType;
pub use assemble::{AcceptedQuestion, Assembly, DropReason, assemble};
pub use closed_book::ClosedBookResult;
pub use config::{FeedbackLoopConfig, UpdateRule};
pub use decontamination::{SplitShares, contaminated, split};
pub use error::FeedbackLoopError;
pub use event::JournalEvent;
pub use item::{Documents, Item};
pub use journal::Journal;
pub use record::{ItemEnd, ItemRecord, Round};
pub use report::{AfterRound, ReportRow, SynthesisReport};
pub use roles::{
    Agent, Feedback, Judge, Judgement, Proposal, QaPair, QuestionGenerator, Revision, StepError,
    WithUsage,
};
pub use runner::FeedbackLoop;
pub use trace::{AgentRun, ExecutedSearch, Trace, TraceTurn};
pub use verdict::{Attempt, PairVerdict};
