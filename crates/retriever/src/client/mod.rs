//! Clients of search engines behind HTTP.
//!
//! [`Remote`] is that of the `/retrieve` protocol, [`Elastic`] that of `_msearch`, [`Qdrant`] that
//! of vectors. All send through [`transport`], which retries what can be retried under a budget and
//! a circuit breaker. What still fails is a [`SearchError`](forage_trajectory::SearchError), never
//! an empty result.

mod breaker;
mod elastic;
mod error;
mod hits;
mod qdrant;
mod remote;
mod transport;

pub use elastic::{Elastic, ElasticConfig, ElasticEngine};
pub use error::ClientError;
pub(crate) use hits::of_member;
pub use qdrant::{Qdrant, QdrantConfig};
pub(crate) use remote::in_requests;
pub use remote::{Remote, RemoteConfig};
pub use transport::{HttpConfig, HttpCounts};
pub(crate) use transport::{Transport, default_connections, seconds};
