//! Blocking HTTP client for search engines and language models.
//!
//! | type | term |
//! |---|---|
//! | [`HttpClient`] | connection pool with a deadline for each attempt; one call is one attempt |
//! | [`Credential`] | API key or bearer token; sent with every request and redacted in every text |
//! | [`HttpError`] | the one error of an exchange; [`RetryClass`] says whether a retry can help |
//! | [`RetryPolicy`] | exponential backoff with deterministic jitter; [`Backoff`] is that of one request |
//! | [`OutageLog`] | warnings while a server is waited for, and a line when it answers again |
//! | [`ShapeFault`] | member of an answer that is not what was asked for: its path, and what is there |
//!
//! A protocol puts its retry loop on top, because protocols differ in when they give up: the
//! clients of search engines have a circuit breaker and a retry budget, those of language models
//! wait for rate limits and end when the run does. This crate knows neither JSON schemas nor run
//! files.
//!
//! ```no_run
//! use std::thread;
//! use std::time::Duration;
//!
//! use forage_http::{
//!     Document, HttpClient, HttpError, HttpOptions, HttpRequest, RetryClass, RetryPolicy,
//! };
//!
//! fn get(client: &HttpClient, url: &str) -> Result<Document, HttpError> {
//!     let policy = RetryPolicy::new(Duration::from_millis(500));
//!     let mut backoff = policy.backoff(&[url.as_bytes()]);
//!     for _ in 0..3 {
//!         match client.json(&HttpRequest::get(url)) {
//!             Err(error) if error.retry_class() != RetryClass::Permanent => {
//!                 thread::sleep(backoff.next_delay(error.retry_after()));
//!             }
//!             response => return response,
//!         }
//!     }
//!     client.json(&HttpRequest::get(url))
//! }
//!
//! let client = HttpClient::new(&HttpOptions::default(), None);
//! get(&client, "http://127.0.0.1:8000/health")?;
//! # Ok::<(), HttpError>(())
//! ```

mod client;
mod credential;
mod error;
mod outage;
mod retry;
mod shape;

pub use client::{HttpClient, HttpOptions, HttpRequest, HttpResponse};
pub use credential::Credential;
pub use error::{HttpError, RetryClass, StatusError};
pub use forage_records::Document;
pub use outage::OutageLog;
pub use retry::{Backoff, MAX_BACKOFF, RetryPolicy};
pub use shape::{ShapeFault, elements, list, member, number, text};
pub use ureq::http::header;
