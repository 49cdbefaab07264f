//! Search engines behind HTTP.
//!
//! [`Remote`] asks a server of the `/retrieve` protocol, [`Elastic`] one of `_msearch`, [`Qdrant`]
//! one of vectors. What goes wrong on the way is dealt with
//! in [`transport`]: a request has a timeout, is tried again where that can help, and a server
//! that keeps failing is left alone for a while. What still fails is a
//! [`SearchError`](forage_trajectory::SearchError), never an empty result.

mod breaker;
mod elastic;
mod error;
mod hits;
mod qdrant;
mod remote;
mod transport;

pub use elastic::{Elastic, ElasticConfig, ElasticEngine};
pub use error::ClientError;
pub(crate) use hits::{list, member};
pub use qdrant::{Qdrant, QdrantConfig};
pub(crate) use remote::in_requests;
pub use remote::{Remote, RemoteConfig};
pub use transport::{HttpConfig, HttpCounts};
pub(crate) use transport::{Transport, default_connections, seconds};
