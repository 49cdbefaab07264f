//! Search server that every client of the `/retrieve` protocol can use unchanged.
//!
//! ```text
//! POST /retrieve                   queries in any dialect; `?dialect=` or the server may name it
//! POST /search, /batch_search      FlashRAG, ReCall, ReSearch
//! POST /queries                    R1-Searcher
//! POST /access                     whole pages by address, ASearcher
//! GET  /health, /metrics
//! ```
//!
//! A request is read and answered on a few asynchronous threads; in between its queries stand in
//! a bounded queue, out of which workers take them in batches. A request that cannot be answered
//! gets a status and `{"error": "a sentence"}`: 400 and 422 for what is no request, 401 without the
//! token, 413 for a body that is too large, 503 with `Retry-After` when the queue is full, 504
//! after the deadline, 500 when the engine failed. A failure is never an empty result.
//!
//! A query that is empty, too long or no text has an empty list in its place, so that one silly
//! query does not cost a batch its hits; the answer says so where it is an object, and `/metrics`
//! counts it.

mod error_response;
mod handlers;
mod metrics;
mod pages;
mod queue;
mod request_body;
mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use axum::serve::ListenerExt;
use forage_trajectory::Retriever;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::Dialect;
use handlers::{App, router};
use metrics::Metrics;
pub use pages::{PageStore, PageStoreError};
use queue::{Batching, Queue, start_workers};

/// Options of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerOptions {
    /// Dialect of `/retrieve`, for clients whose requests do not tell: `zerosearch`, whose requests
    /// look like those of rLLM. Default: recognized by the request.
    pub dialect: Option<Dialect>,
    /// Token that clients must send as `Authorization: Bearer …`. Default: none.
    pub token: Option<String>,
    /// Limits of a request. Default: [`RequestLimits::default`].
    pub limits: RequestLimits,
    /// Queue capacity, in queries; more are answered with 503. No less than `limits.queries`.
    /// Default: 16384.
    pub queue: usize,
    /// Batch size: most queries of a call of the engine, if no single request has more.
    /// Default: 256.
    pub batch: usize,
    /// Batching window: how long a batch waits for more queries. Default: 0.
    pub window: Duration,
    /// Deadline of a request. Default: 30 s.
    pub deadline: Duration,
    /// Number of search threads. Default: one a core, from 2 to 8.
    pub workers: usize,
    /// Name of the retrieval method, which `/health` and rLLM's responses show. Default: `bm25`.
    pub method: String,
    /// Further members of `/health`: the number of passages, for example. Default: none.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

/// Limits of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Hits of a query whose request names no number. Default: 3.
    pub default_k: usize,
    /// Most hits of a query. Default: 1000.
    pub k: usize,
    /// Most queries in a request. Default: 4096.
    pub queries: usize,
    /// Largest query, in bytes. Default: 16 KiB.
    pub query_bytes: usize,
    /// Largest body of a request, in bytes. Default: 4 MiB.
    pub body_bytes: usize,
}

impl Default for RequestLimits {
    /// Search-R1 asks for 3 hits and sends the queries of a whole batch at once.
    fn default() -> Self {
        Self { default_k: 3, k: 1000, queries: 4096, query_bytes: 16 << 10, body_bytes: 4 << 20 }
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            dialect: None,
            token: None,
            limits: RequestLimits::default(),
            queue: 16 << 10,
            batch: 256,
            window: Duration::ZERO,
            deadline: Duration::from_secs(30),
            workers: thread::available_parallelism().map_or(2, usize::from).clamp(2, 8),
            method: "bm25".to_owned(),
            facts: serde_json::Map::new(),
        }
    }
}

/// Error of starting a server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Threads or socket that cannot be had.
    #[error("the server cannot be started")]
    Io(#[from] io::Error),
    /// Option that contradicts another or is out of range.
    #[error("`{name}` is {value}; it must be {range}")]
    Option {
        /// Name of the option.
        name: &'static str,
        /// Value.
        value: String,
        /// Permitted values.
        range: String,
    },
}

impl ServerOptions {
    fn check(&self) -> Result<(), ServerError> {
        let RequestLimits { default_k, k, queries, query_bytes, body_bytes } = self.limits;
        let one = "1 or more".to_owned();
        for (name, value, fits, range) in [
            ("limits.k", k, k > 0, &one),
            ("limits.default_k", default_k, (1..=k).contains(&default_k), &format!("1 to {k}")),
            ("limits.queries", queries, queries > 0, &one),
            ("limits.query_bytes", query_bytes, query_bytes > 0, &one),
            ("limits.body_bytes", body_bytes, body_bytes > 0, &one),
            (
                "queue",
                self.queue,
                self.queue >= queries,
                &format!("`limits.queries`, {queries}, or more"),
            ),
            ("batch", self.batch, self.batch > 0, &one),
            ("workers", self.workers, self.workers > 0, &one),
        ] {
            if !fits {
                let (value, range) = (value.to_string(), range.clone());
                return Err(ServerError::Option { name, value, range });
            }
        }
        if self.deadline.is_zero() {
            let (value, range) = ("0".to_owned(), "more than 0".to_owned());
            return Err(ServerError::Option { name: "deadline", value, range });
        }
        if self.token.as_ref().is_some_and(|token| token.trim().is_empty()) {
            let (value, range) = ("empty".to_owned(), "a text".to_owned());
            return Err(ServerError::Option { name: "token", value, range });
        }
        Ok(())
    }
}

/// Running server. It stops when it is dropped.
pub struct Server {
    address: SocketAddr,
    deadline: Duration,
    stop: watch::Sender<bool>,
    runtime: Option<Runtime>,
    serving: Option<tokio::task::JoinHandle<io::Result<()>>>,
    queue: Arc<Queue>,
    workers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a listener, with threads of its own.
    pub fn start(
        listener: TcpListener,
        retriever: &Arc<dyn Retriever>,
        pages: Option<PageStore>,
        options: ServerOptions,
    ) -> Result<Self, ServerError> {
        options.check()?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let batching =
            Batching { capacity: options.queue, batch: options.batch, window: options.window };
        let queue = Arc::new(Queue::new(batching));
        let metrics = Arc::new(Metrics::new());
        let workers = start_workers(options.workers, &queue, retriever, &metrics)?;
        let deadline = options.deadline;
        let app = App { options, queue: Arc::clone(&queue), metrics, pages };
        let (stop, mut stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("server")
            .enable_io()
            .enable_time()
            .build()?;
        let serving = {
            let _entered = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|stream| {
                // Without it small answers wait for an acknowledgement; they are right either way.
                let _ = stream.set_nodelay(true);
            });
            let stopped = async move {
                // An error means that the server was dropped.
                let _ = stopped.wait_for(|it| *it).await;
            };
            let serve = axum::serve(listener, router(app)).with_graceful_shutdown(stopped);
            runtime.spawn(async move { serve.await })
        };
        let (runtime, serving) = (Some(runtime), Some(serving));
        Ok(Self { address, deadline, stop, runtime, serving, queue, workers })
    }

    /// Address of the listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Graceful shutdown: takes no more requests and answers those that are there. A client that
    /// keeps a connection busy is cut off after the deadline of a request.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let (Some(runtime), Some(serving)) = (self.runtime.take(), self.serving.take()) else {
            return;
        };
        let until = Instant::now() + self.deadline;
        self.stop.send_replace(true);
        runtime.block_on(async {
            // What is not answered by then is cut off.
            let _ = tokio::time::timeout_at(until.into(), serving).await;
        });
        self.queue.close();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of the engine; its own would be a bug, printed by now.
            let _ = worker.join();
        }
        runtime.shutdown_timeout(Duration::from_millis(100));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Endpoint of searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Retrieve,
    Search,
    BatchSearch,
    Queries,
}

impl Endpoint {
    const fn name(self) -> &'static str {
        match self {
            Self::Retrieve => "/retrieve",
            Self::Search => "/search",
            Self::BatchSearch => "/batch_search",
            Self::Queries => "/queries",
        }
    }
}
