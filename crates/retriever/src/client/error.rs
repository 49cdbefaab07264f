//! Errors of the clients of search engines.

use std::time::Duration;

use forage_http::{HttpError, RetryClass};

/// Failed request to a search engine or an embedding server.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Failed HTTP exchange.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Query that the server did not search for, though it answered the others.
    #[error("the server did not search for the query: {reason}")]
    Skipped {
        /// Reason that the server gives.
        reason: String,
    },
    /// Failed embedding of the queries.
    #[error("queries could not be embedded")]
    Embedder(#[source] forage_trajectory::BoxError),
    /// Open circuit breaker: the server keeps failing, and nothing is sent for a while.
    #[error("`{url}` keeps failing and is left alone for {:.1} s; the last: {cause}", wait.as_secs_f64())]
    CircuitOpen {
        /// Address of the request.
        url: String,
        /// Time until the next request may be sent.
        wait: Duration,
        /// Last failure, with its causes.
        cause: String,
    },
    /// Exhausted retries: every attempt of the request failed.
    #[error("{attempts} attempts failed")]
    GaveUp {
        /// Number of attempts.
        attempts: u32,
        /// Error of the last one.
        source: Box<ClientError>,
    },
    /// Exhausted retry budget: attempts of all requests failed so often that none is repeated.
    #[error("an attempt failed and the budget of {budget} failures is spent")]
    BudgetSpent {
        /// Budget.
        budget: u32,
        /// Error of the attempt.
        source: Box<ClientError>,
    },
    /// Option out of range, or one that names what is not there.
    #[error("`{name}` is {value}; it must be {range}")]
    Option {
        /// Name of the option.
        name: &'static str,
        /// Value.
        value: String,
        /// Permitted values.
        range: &'static str,
    },
}

impl ClientError {
    /// Retry class of the failure.
    pub(super) fn retry_class(&self) -> RetryClass {
        match self {
            Self::Http(error) => error.retry_class(),
            _ => RetryClass::Permanent,
        }
    }

    /// Whether the server found something wrong with the request: statuses 400, 413 and 422, also
    /// those of an embedding server.
    pub(crate) fn is_bad_request(&self) -> bool {
        match self {
            Self::Http(error) => matches!(error.status(), Some(400 | 413 | 422)),
            Self::Embedder(source) => {
                source.downcast_ref::<Self>().is_some_and(Self::is_bad_request)
            }
            _ => false,
        }
    }
}
