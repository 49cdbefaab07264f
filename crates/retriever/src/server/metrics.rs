//! Metrics of the server, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::wire::{SkipKind, Skipped};

/// Upper bounds of the buckets of request times, in seconds.
const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper bounds of the buckets of batch sizes, in queries.
const QUERIES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Metrics of a server.
pub(super) struct Metrics {
    started: Instant,
    /// Responses, by path and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    queries: AtomicU64,
    empty: AtomicU64,
    too_long: AtomicU64,
    not_text: AtomicU64,
    seconds: Histogram<{ SECONDS.len() }>,
    batches: Histogram<{ QUERIES.len() }>,
}

/// Histogram with cumulative buckets.
struct Histogram<const N: usize> {
    bounds: [f64; N],
    buckets: [AtomicU64; N],
    count: AtomicU64,
    /// Sum of the values, in millionths.
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: [f64; N]) -> Self {
        let buckets = std::array::from_fn(|_| AtomicU64::new(0));
        Self { bounds, buckets, count: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    fn add(&self, value: f64) {
        if let Some(idx) = self.bounds.iter().position(|&it| value <= it) {
            self.buckets[idx].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, name: &str, help: &str) -> std::fmt::Result {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram")?;
        let mut so_far = 0;
        for (bound, bucket) in self.bounds.iter().zip(&self.buckets) {
            so_far += bucket.load(Ordering::Relaxed);
            writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {so_far}")?;
        }
        let count = self.count.load(Ordering::Relaxed).max(so_far);
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e6;
        writeln!(
            text,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}"
        )
    }
}

impl Metrics {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            requests: Mutex::default(),
            queries: AtomicU64::new(0),
            empty: AtomicU64::new(0),
            too_long: AtomicU64::new(0),
            not_text: AtomicU64::new(0),
            seconds: Histogram::new(SECONDS),
            batches: Histogram::new(QUERIES),
        }
    }

    /// Counts a response.
    pub(super) fn request(&self, path: &'static str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((path, status)).or_default() += 1;
        drop(requests);
        self.seconds.add(took.as_secs_f64());
    }

    /// Counts queries that are not searched for.
    pub(super) fn skipped(&self, skipped: &[Skipped]) {
        for query in skipped {
            let counter = match query.kind {
                SkipKind::Empty => &self.empty,
                SkipKind::TooLong => &self.too_long,
                SkipKind::NotText => &self.not_text,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a batch.
    pub(super) fn batch(&self, n_queries: usize) {
        self.queries.fetch_add(n_queries as u64, Ordering::Relaxed);
        self.batches.add(n_queries as f64);
    }

    /// All metrics in the text format.
    pub(super) fn text(&self, waiting: usize) -> String {
        let mut text = String::new();
        self.write(&mut text, waiting).expect("a string takes everything");
        text
    }

    fn write(&self, text: &mut String, waiting: usize) -> std::fmt::Result {
        let name = "forage_requests_total";
        writeln!(text, "# HELP {name} Requests by path and status.\n# TYPE {name} counter")?;
        for ((path, status), n) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            writeln!(text, "{name}{{path=\"{path}\",status=\"{status}\"}} {n}")?;
        }
        let name = "forage_queries_skipped_total";
        writeln!(text, "# HELP {name} Queries that were not searched for, by reason.")?;
        writeln!(text, "# TYPE {name} counter")?;
        let counters =
            [("empty", &self.empty), ("too_long", &self.too_long), ("not_text", &self.not_text)];
        for (reason, counter) in counters {
            let n = counter.load(Ordering::Relaxed);
            writeln!(text, "{name}{{reason=\"{reason}\"}} {n}")?;
        }
        let queries = self.queries.load(Ordering::Relaxed);
        let up = self.started.elapsed().as_secs();
        for (name, kind, help, value) in [
            ("forage_queries_total", "counter", "Queries that were searched for.", queries),
            ("forage_queries_waiting", "gauge", "Queries in the queue.", waiting as u64),
            ("forage_uptime_seconds", "gauge", "Seconds since the start.", up),
        ] {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")?;
        }
        self.seconds.write(text, "forage_request_seconds", "Time from request to answer.")?;
        self.batches.write(text, "forage_batch_queries", "Queries of a batch.")
    }
}
