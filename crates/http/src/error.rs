//! Error of an HTTP exchange.

use std::time::Duration;

/// Failed HTTP exchange: the request got no usable response.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Connection error, timeout, or truncated response.
    #[error("no answer from `{url}`")]
    NoAnswer {
        /// Address of the request.
        url: String,
        /// Error of the transport.
        source: Box<ureq::Error>,
    },
    /// Response with a status other than success.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// Body that is not JSON, or not all of it.
    #[error("the answer of `{url}` is not JSON: {what}")]
    NotJson {
        /// Address of the request.
        url: String,
        /// Fault, in words; without credentials.
        what: String,
    },
    /// JSON of another shape than was asked for.
    #[error("the answer of `{url}` is not what was asked for: {what}")]
    Shape {
        /// Address of the request.
        url: String,
        /// Fault, in words; without credentials.
        what: String,
    },
}

/// Response with a status other than success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` answered {status}: {body}")]
pub struct StatusError {
    /// Address of the request.
    pub url: String,
    /// HTTP status code.
    pub status: u16,
    /// Beginning of the body, in one line and without credentials.
    pub body: String,
    /// `Retry-After` header: how long the server asks to wait.
    pub retry_after: Option<Duration>,
}

/// Retry class: whether a retry can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// Transient failure of the server or the network: retry after a backoff.
    Unavailable,
    /// Rate limit, or a `Retry-After`: the server works, and asks for a pause.
    RateLimited,
    /// Failure that the same request would have again.
    Permanent,
}

impl HttpError {
    /// Retry class of the failure. Statuses 500, 502, 503 and 504 are transient, and rate limits
    /// where they come with `Retry-After`; 408, 425 and 429 are rate limits.
    pub fn retry_class(&self) -> RetryClass {
        match self {
            Self::NoAnswer { .. } | Self::NotJson { .. } => RetryClass::Unavailable,
            Self::Status(error) => match (error.status, error.retry_after) {
                (500 | 502 | 503 | 504, None) => RetryClass::Unavailable,
                (408 | 425 | 429 | 500 | 502 | 503 | 504, _) => RetryClass::RateLimited,
                _ => RetryClass::Permanent,
            },
            Self::Shape { .. } => RetryClass::Permanent,
        }
    }

    /// HTTP status code, where there was a response with another one than success.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status(error) => Some(error.status),
            _ => None,
        }
    }

    /// `Retry-After` header of the response.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status(error) => error.retry_after,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_classes_of_statuses() {
        let class = |status, retry_after: Option<u64>| {
            let retry_after = retry_after.map(Duration::from_secs);
            let (url, body) = (String::new(), String::new());
            HttpError::from(StatusError { url, status, body, retry_after }).retry_class()
        };
        for status in [500, 502, 503, 504] {
            assert_eq!(class(status, None), RetryClass::Unavailable);
            assert_eq!(class(status, Some(1)), RetryClass::RateLimited);
        }
        for status in [408, 425, 429] {
            assert_eq!(class(status, None), RetryClass::RateLimited);
        }
        for status in [301, 400, 401, 404, 422, 501] {
            assert_eq!(class(status, Some(1)), RetryClass::Permanent);
        }
    }
}
