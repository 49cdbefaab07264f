//! Questions of a wanted difficulty, by execution feedback (SAGE).
//!
//! A [`Generator`] proposes a [`Pair`] of question and answer for an [`Item`]: a document, how many
//! searches the question should take, and what kind of thing the answer should be. An [`Agent`]
//! that is told the question alone tries it K times, and a [`Judge`] says which runs were right.
//! What came of it is a [`Verdict`]. A pair that is wrong or too easy goes back to the generator
//! with [`Feedback`], round after round ([`Sage::run`]); whatever is finished is in a [`Journal`], so
//! that a killed run goes on where it was. [`assemble`] says which pairs become questions, and
//! [`Report`] what it all amounts to.

mod assemble;
mod budget;
mod config;
mod drive;
mod guess;
mod hygiene;
mod item;
mod journal;
mod parts;
mod record;
mod report;
pub mod scripted;
mod trace;
mod verdict;
mod walker;

use std::io;
use std::path::PathBuf;

use forage_trajectory::BoxError;

pub use assemble::{Accepted, Assembly, Dropped, assemble};
pub use budget::{Ledger, Limits, Spent, Usage};
pub use config::{SageConfig, Update};
pub use drive::Sage;
pub use guess::Guessed;
pub use hygiene::{Shares, contaminated, split};
pub use item::{AnswerType, Documents, Item};
pub use journal::{Event, Journal};
pub use parts::{
    Agent, Feedback, Generator, Judge, Judgement, Made, Pair, Proposal, Revision, StepError,
};
pub use record::{End, ItemRecord, Round};
pub use report::{AfterRound, Report, Row};
pub use trace::{Run, Searched, Trace, Turn};
pub use verdict::{Attempt, Verdict};
pub use walker::{Walker, WalkerConfig};

/// A synthesis that cannot be begun, or that ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum SageError {
    /// A key of the run file cannot be used.
    #[error("`{key}` {problem}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The journal cannot be read or written.
    #[error("the journal `{path}` cannot be read or written")]
    Journal {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The journal holds a line that nobody can read.
    #[error("line {line} of the journal `{path}` is damaged: {problem}")]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The journal belongs to a run with other settings.
    #[error("the journal `{path}` is of a run that differs in `{key}`")]
    OtherRun {
        /// Where it is.
        path: PathBuf,
        /// The first setting that differs.
        key: String,
    },
    /// The titles of the corpus cannot be looked for.
    #[error("the titles of the corpus cannot be linked")]
    Linker(#[source] BoxError),
    /// So many items cannot be worked on at once.
    #[error("{asked} threads cannot be started")]
    Threads {
        /// How many were wanted.
        asked: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A step could not be made. What was finished is in the journal.
    #[error("the synthesis stopped")]
    Stopped(#[source] StepError),
    /// Somebody asked it to stop. What was finished is in the journal.
    #[error("the synthesis was interrupted")]
    Interrupted,
}
