//! The data that flows through Forage, and the traits that its crates meet at.
//!
//! A [`Question`] is played by a [`Policy`] that searches a [`Retriever`]; what happened is a
//! [`Trajectory`]: tokens, and [`Segment`]s that say who wrote which of them. A [`Grader`] turns
//! the trajectories of one question, a [`Group`], into [`Grade`]s.
//!
//! Everything here is plain data: no file is read, no tensor is made, and nothing is random but
//! through a [`Stream`], which is a function of what it is drawn for.
//!
//! ```
//! use forage_trajectory::{Kind, Origin, Segment, Trajectory};
//!
//! let mut trajectory = Trajectory::new("q1", 0);
//! trajectory.push_given(Origin::Prompt, Kind::Prompt, "who directed Alien?", &[1, 2, 3]);
//! trajectory.push_sampled(&[7, 8], &[-0.1, -0.2]);
//! trajectory.tag(Kind::Answer, "<answer> Ridley Scott </answer>", 3..5, Some("Ridley Scott"));
//! assert!(trajectory.check().is_ok());
//! assert_eq!(trajectory.final_answer(), Some("Ridley Scott"));
//! ```

mod embedder;
mod error_chain;
mod grade;
mod policy;
mod question;
mod retriever;
mod stream;
mod trajectory;

pub use embedder::{Embedder, TextRole};
pub use error_chain::error_chain;
pub use grade::{Grade, Grader, Score};
pub use policy::{Completion, Finish, Policy, Prompt, Request, Sampling, Truncation};
pub use question::{Evidence, EvidenceStep, Passage, Question};
pub use retriever::{Hit, Retriever, SearchError};
pub use stream::{Purpose, Stream};
pub use trajectory::{Group, Kind, Origin, Outcome, Search, Segment, Trajectory, Untiled};

/// An error of an engine behind one of the traits, whose type only the engine knows.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The id of a token in some vocabulary.
pub type TokenId = u32;
