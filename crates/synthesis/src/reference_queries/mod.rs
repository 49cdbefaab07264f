//! Reference queries of sub-questions: a chat model writes them, search engines filter them.
//!
//! The data pipeline of StepSearch (arXiv 2505.15107, section 3.1) for any set of multi-hop
//! questions with sub-questions. A chat model writes N queries for each sub-question; each query is
//! searched for with M engines, and those for which at least ⌈M/2⌉ engines find something are kept.
//! Without a chat model, the sub-question itself is the only query.
//!
//! Every question that is done is a line of an [`EventLog`](crate::event_log::EventLog), from which
//! a run resumes. Queries are a function of the seed and the index of the question, as far as the
//! models are.
//!
//! # Departures
//!
//! - The prompts of the paper were not released; ours is `prompts/reference_queries.jinja`.
//! - A query that contains the answer of its sub-question is left out: it finds the answer without
//!   a search for it. The paper does not say what happens to those.
//! - What an engine finds is something if it is a hit, or with [`Found::Gold`] a gold passage of
//!   the sub-question or a passage with its answer.

mod log;
mod parse;
mod writer;

pub use log::{QueryEvent, QueryLog, StepQueries};
pub use writer::{Found, QueryWriter, ReferenceQueriesConfig, ReferenceQueriesError};
