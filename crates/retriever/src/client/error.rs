//! What can go wrong with a server.

use std::time::Duration;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, a timeout, or an answer that broke off.
    #[error("no answer from `{url}`")]
    NoAnswer {
        /// The address.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// An answer that says no.
    #[error("`{url}` answered {status}: {said}")]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// The beginning of what came with it.
        said: String,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// An answer that is not JSON, or not all of it.
    #[error("the answer of `{url}` is not whole JSON")]
    NotJson {
        /// The address.
        url: String,
        /// Why.
        source: serde_json::Error,
    },
    /// JSON of another shape than was asked for.
    #[error("the answer of `{url}` is not what was asked for: {what}")]
    Shape {
        /// The address.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// The queries could not be embedded.
    #[error("queries could not be embedded")]
    Embedder(#[source] forage_trajectory::BoxError),
    /// The server has failed so often that it is left alone for a while.
    #[error("`{url}` keeps failing and is left alone for {:.1} s", wait.as_secs_f64())]
    LeftAlone {
        /// The address.
        url: String,
        /// For how long.
        wait: Duration,
    },
    /// Every attempt failed.
    #[error("{attempts} attempts failed")]
    GaveUp {
        /// How many.
        attempts: u32,
        /// Why the last one did.
        source: Box<ClientError>,
    },
    /// Attempts failed so often that nothing is tried again.
    #[error("an attempt failed and the budget of {budget} failures is spent")]
    BudgetSpent {
        /// The budget.
        budget: u32,
        /// Why the attempt failed.
        source: Box<ClientError>,
    },
    /// An option is out of range, or names what is not there.
    #[error("`{name}` is {value}; it must be {range}")]
    Option {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// The values it may have.
        range: &'static str,
    },
}

/// What a failure says about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// The server is ill: try again, and count it.
    Server,
    /// The server asks for patience.
    Patience,
    /// The request is refused, and would be again.
    Request,
}

impl ClientError {
    pub(super) fn blame(&self) -> Blame {
        match self {
            Self::NoAnswer { .. }
            | Self::NotJson { .. }
            | Self::Status { status: 500 | 502 | 503 | 504, retry_after: None, .. } => {
                Blame::Server
            }
            Self::Status { status: 408 | 425 | 429 | 500 | 502 | 503 | 504, .. } => Blame::Patience,
            _ => Blame::Request,
        }
    }

    /// Whether the server found something wrong with what it was asked.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Status { status: 400 | 413 | 422, .. })
    }
}
