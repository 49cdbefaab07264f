//! Bounded queue with dynamic batching, between requests and the search engine.
//!
//! While a worker searches, requests gather; it then takes all of them at once. So batches grow
//! with the load and a lone request does not wait. An engine that pays for every call, such as
//! an encoder on a GPU, gains from a window: the worker waits that long for more.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use forage_trajectory::{Hit, Retriever, error_chain};
use tokio::sync::oneshot;

use super::metrics::Metrics;

/// Hits of the queries of a request, or the failure in words.
pub(super) type Answer = Result<Vec<Vec<Hit>>, String>;

/// Queries of one request.
pub(super) struct Job {
    pub(super) queries: Vec<String>,
    pub(super) k: usize,
    /// Deadline of the request.
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// Dynamic batching.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batching {
    /// Capacity, in queries.
    pub(super) capacity: usize,
    /// Most queries of a batch, if no single request has more.
    pub(super) batch: usize,
    /// How long a batch waits for more queries.
    pub(super) window: Duration,
}

/// Bounded queue of requests.
pub(super) struct Queue {
    batching: Batching,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    n_queries: usize,
    closed: bool,
}

/// Error: the queue has no room for a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueueFull;

impl Queue {
    pub(super) fn new(batching: Batching) -> Self {
        Self { batching, state: Mutex::default(), arrived: Condvar::new() }
    }

    /// Number of waiting queries.
    pub(super) fn len(&self) -> usize {
        self.lock().n_queries
    }

    /// Adds a request.
    pub(super) fn push(&self, job: Job) -> Result<(), QueueFull> {
        let mut state = self.lock();
        if state.closed || state.n_queries + job.queries.len() > self.batching.capacity {
            return Err(QueueFull);
        }
        state.n_queries += job.queries.len();
        state.jobs.push_back(job);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Lets the workers end once the queue is empty.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Next batch; none once the queue is closed and empty.
    fn take(&self) -> Option<Vec<Job>> {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + self.batching.window;
        while state.n_queries < self.batching.batch && !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut batch: Vec<Job> = Vec::new();
        let mut n_queries = 0;
        while let Some(job) = state.jobs.front() {
            if !batch.is_empty() && n_queries + job.queries.len() > self.batching.batch {
                break;
            }
            n_queries += job.queries.len();
            batch.extend(state.jobs.pop_front());
        }
        state.n_queries -= n_queries;
        let more = !state.jobs.is_empty();
        drop(state);
        if more {
            // The wake-up for those may have come to this thread.
            self.arrived.notify_one();
        }
        Some(batch)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the search threads, which end once the queue is closed.
pub(super) fn start_workers(
    n_workers: usize,
    queue: &Arc<Queue>,
    retriever: &Arc<dyn Retriever>,
    metrics: &Arc<Metrics>,
) -> std::io::Result<Vec<thread::JoinHandle<()>>> {
    let start = |idx: usize| {
        let (queue, retriever, metrics) =
            (Arc::clone(queue), Arc::clone(retriever), Arc::clone(metrics));
        thread::Builder::new().name(format!("search-{idx}")).spawn(move || {
            while let Some(batch) = queue.take() {
                search_batch(batch, retriever.as_ref(), &metrics);
            }
        })
    };
    (0..n_workers).map(start).collect()
}

/// Answers the requests of a batch, those with the same number of hits in one call.
fn search_batch(mut batch: Vec<Job>, retriever: &dyn Retriever, metrics: &Metrics) {
    let now = Instant::now();
    batch.retain(|job| job.deadline > now && !job.answer.is_closed());
    while let Some(k) = batch.first().map(|it| it.k) {
        let (jobs, rest): (Vec<Job>, Vec<Job>) = batch.into_iter().partition(|it| it.k == k);
        batch = rest;
        let queries: Vec<&str> =
            jobs.iter().flat_map(|it| &it.queries).map(String::as_str).collect();
        metrics.batch(queries.len());
        let search = AssertUnwindSafe(|| retriever.search(&queries, k));
        // A bug in the engine costs the requests of a batch, not the server.
        let mut found = match catch_unwind(search) {
            Ok(found) if found.len() == queries.len() => found.into_iter(),
            Ok(_) => {
                fail(jobs, "the search engine gave another number of answers than queries");
                continue;
            }
            Err(_) => {
                fail(jobs, "the search engine panicked; its log says more");
                continue;
            }
        };
        for job in jobs {
            // All answers of this request are taken, so that the next one gets its own.
            let of_job: Vec<_> = found.by_ref().take(job.queries.len()).collect();
            let answer: Answer = of_job
                .into_iter()
                .map(|found| found.map_err(|error| error_chain(&error)))
                .collect();
            // The request may have ended.
            let _ = job.answer.send(answer);
        }
    }
}

/// Answers all jobs with a failure.
fn fail(jobs: Vec<Job>, why: &str) {
    for job in jobs {
        let _ = job.answer.send(Err(why.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(n_queries: usize) -> Job {
        Job {
            queries: vec!["x".to_owned(); n_queries],
            k: 1,
            deadline: Instant::now() + Duration::from_mins(1),
            answer: oneshot::channel().0,
        }
    }

    fn queue() -> Queue {
        Queue::new(Batching { capacity: 10, batch: 4, window: Duration::ZERO })
    }

    #[test]
    fn batches_hold_whole_requests() {
        let queue = queue();
        for n in [1, 2, 3, 4] {
            assert_eq!(queue.push(job(n)), Ok(()));
        }
        assert_eq!(queue.push(job(1)), Err(QueueFull));
        let sizes = |batch: Vec<Job>| batch.iter().map(|it| it.queries.len()).collect::<Vec<_>>();
        assert_eq!(sizes(queue.take().unwrap()), [1, 2]);
        assert_eq!(queue.push(job(3)), Ok(()));
        assert_eq!(sizes(queue.take().unwrap()), [3]);
        assert_eq!(sizes(queue.take().unwrap()), [4]);
        queue.close();
        assert_eq!(queue.push(job(1)), Err(QueueFull));
        assert_eq!(sizes(queue.take().unwrap()), [3]);
        assert!(queue.take().is_none());
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_request_larger_than_a_batch_is_one() {
        let queue = queue();
        queue.push(job(9)).unwrap();
        assert_eq!(queue.take().unwrap().len(), 1);
    }
}
