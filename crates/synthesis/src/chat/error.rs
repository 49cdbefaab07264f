//! Errors of language models.

use std::time::Duration;

use forage_http::{HttpError, RetryClass, StatusError};
use forage_trajectory::BoxError;

use super::budget::BudgetExceeded;

/// Request without a usable reply.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// Failed HTTP exchange: no usable response.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Response with a status other than success.
    #[error("`{}` replied {}: {}", .0.url, .0.status, .0.body)]
    Status(StatusError),
    /// The account has no means left, or the key is not accepted.
    #[error("`{url}` does not serve this account, with status {status}: {said}")]
    Account {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// The beginning of what came with it.
        said: String,
    },
    /// A completion without a choice.
    #[error("the reply of `{url}` has no choice")]
    NoChoice {
        /// The address.
        url: String,
    },
    /// The model declined.
    #[error("`{model}` refused: {said}")]
    Refused {
        /// The model.
        model: String,
        /// The beginning of what it said.
        said: String,
    },
    /// A filter of the server withheld prompt or reply.
    #[error("a content filter withheld prompt or reply of `{model}`")]
    Filtered {
        /// The model.
        model: String,
    },
    /// A reply without text.
    #[error("`{model}` replied with no text{}", if *.cut_off { ", cut off at `max_tokens`" } else { "" })]
    Empty {
        /// The model.
        model: String,
        /// Whether the limit on tokens ended it, as happens where thoughts that are not shown
        /// take all of them.
        cut_off: bool,
    },
    /// The prompt has more tokens than the model reads.
    #[error("the prompt is too long for `{model}`: {said}")]
    TooLong {
        /// The model.
        model: String,
        /// The beginning of what was said.
        said: String,
    },
    /// The server refused the request, and every other one so far: it cannot be asked like this.
    #[error("the server accepts no request like these")]
    NoneAccepted(#[source] Box<ChatError>),
    /// Every attempt failed, while other requests got replies.
    #[error("{attempts} attempts failed")]
    GaveUp {
        /// Number of attempts.
        attempts: u32,
        /// Error of the last one.
        source: Box<ChatError>,
    },
    /// No request got a reply for longer than the run waits.
    #[error("no request succeeded in {seconds} s")]
    Outage {
        /// Time that the run waits for a reply, in seconds.
        seconds: f64,
        /// Error of the last attempt.
        source: Box<ChatError>,
    },
    /// Limits of the rate put the request off for longer than the run waits.
    #[error("put off for more than {seconds} s")]
    PutOff {
        /// Time that the run waits for a reply, in seconds.
        seconds: f64,
        /// Last rate limit.
        source: Box<ChatError>,
    },
    /// The budget of the run does not reach for the request.
    #[error("the budget is spent")]
    Budget(#[from] BudgetExceeded),
    /// The run is to stop; nothing was sent.
    #[error("the run is stopping")]
    Stopping,
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
    /// A model without a server failed.
    #[error("`{model}` failed")]
    Model {
        /// The model.
        model: String,
        /// Cause.
        source: BoxError,
    },
}

/// Scope of a failure, and so what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// This request alone: others may get a reply, and this one would not get one later.
    Request,
    /// The server, for now: the same request may get a reply later.
    Server,
    /// The run: no request gets a reply before a person has done something.
    Run,
}

impl ChatError {
    /// Scope of the failure.
    pub fn concern(&self) -> Concern {
        match self {
            Self::NoChoice { .. }
            | Self::Refused { .. }
            | Self::Filtered { .. }
            | Self::Empty { .. }
            | Self::TooLong { .. }
            | Self::GaveUp { .. } => Concern::Request,
            Self::Http(HttpError::Status(error)) | Self::Status(error) => match error.status {
                400 | 413 | 422 => Concern::Request,
                408 | 425 | 429 | 500.. => Concern::Server,
                _ => Concern::Run,
            },
            Self::Http(_) | Self::Outage { .. } | Self::PutOff { .. } => Concern::Server,
            Self::Account { .. }
            | Self::NoneAccepted(_)
            | Self::Budget(_)
            | Self::Stopping
            | Self::Option { .. }
            | Self::Model { .. } => Concern::Run,
        }
    }

    /// Retry class of a failed attempt.
    pub(super) fn retry_class(&self) -> RetryClass {
        match self {
            Self::Http(HttpError::Status(error)) | Self::Status(error) => {
                match (error.status, error.retry_after) {
                    (408 | 500.., None) => RetryClass::Unavailable,
                    (408 | 425 | 429 | 500.., _) => RetryClass::RateLimited,
                    _ => RetryClass::Permanent,
                }
            }
            // A proxy of a server that starts may answer with a page, or with JSON of its own.
            Self::Http(_) | Self::NoChoice { .. } => RetryClass::Unavailable,
            _ => RetryClass::Permanent,
        }
    }

    /// `Retry-After` header of the response.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http(error) => error.retry_after(),
            Self::Status(error) => error.retry_after,
            _ => None,
        }
    }

    /// Whether the server refused the request itself: statuses 400, 413 and 422.
    pub(super) fn is_bad_request(&self) -> bool {
        matches!(self, Self::Status(error) if matches!(error.status, 400 | 413 | 422))
    }
}
