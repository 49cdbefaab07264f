//! Plain data of search agents, and the traits that the other crates implement and call.
//!
//! The central type is the [`Trajectory`]: the tokens of one episode, and [`Segment`]s that say
//! which of them the prompt, the policy and the environment wrote. It comes from a [`Question`], a
//! [`Policy`] that writes and a [`Retriever`] that answers its searches. All trajectories of one
//! question are a [`Group`], and a [`Grader`] gives each of them a [`Grade`].
//!
//! | module | for |
//! |---|---|
//! | the crate's root | plain data, and the traits [`Policy`], [`Retriever`], [`Embedder`] and [`Grader`] |
//! | [`END_OF_TURN`] | end-of-turn tokens of the published model families |
//! | [`protocol`] | tags of the agent loop, layout of observations, sanitizer of retrieved text |
//! | [`Stream`] | random numbers by name: the only ones there are |
//! | [`statistics`] | mean and standard deviation |
//!
//! This crate knows no tensor, file, model, search engine or reward: the crates for those depend on
//! this one.
//!
//! ```
//! use forage_trajectory::{Origin, SegmentKind, Trajectory};
//!
//! let mut trajectory = Trajectory::new("q1", 0);
//! trajectory.push_given(Origin::Prompt, SegmentKind::Prompt, "who directed Alien?", &[1, 2, 3]);
//! trajectory.push_sampled(&[7, 8], &[-0.1, -0.2]);
//! let text = "<answer> Ridley Scott </answer>";
//! trajectory.tag(SegmentKind::Answer, text, 3..5, Some("Ridley Scott"));
//! assert!(trajectory.check().is_ok());
//! assert_eq!(trajectory.final_answer(), Some("Ridley Scott"));
//! ```

pub mod protocol;
pub mod statistics;

mod embedder;
mod end_of_turn;
mod error_chain;
mod grade;
mod policy;
mod question;
mod retriever;
mod stream;
mod trajectory;

pub use embedder::{Embedder, TextRole};
pub use end_of_turn::{END_OF_MESSAGE, END_OF_TURN, without_end_of_turn};
pub use error_chain::error_chain;
pub use grade::{Grade, Grader, Score};
pub use policy::{Completion, FinishReason, Policy, Prompt, Request, Sampling, Truncation};
pub use question::{Evidence, EvidenceStep, Passage, Question};
pub use retriever::{Hit, Retriever, SearchError};
pub use stream::{Purpose, Stream};
pub use trajectory::{
    Group, Origin, Outcome, Search, Segment, SegmentKind, TilingError, Trajectory,
};

/// Boxed error of an implementation of one of the traits.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Identifier of a token in a vocabulary.
pub type TokenId = u32;
