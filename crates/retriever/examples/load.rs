//! Load on a server of the `/retrieve` protocol, ours or another.
//!
//! ```text
//! cargo run --release -p forage-retriever --example load -- URL QUESTIONS [CONNECTIONS [QUERIES [SECONDS]]]
//! ```
//!
//! QUESTIONS is a JSON list of texts. Each connection sends requests of so many queries, one after
//! the other. Prints a JSON object: queries a second, the times of requests, and how many of them
//! failed; ends with 1 if one did, or if there was none.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::{Value, json};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, questions, rest @ ..] = arguments.as_slice() else {
        return Err("usage: load URL QUESTIONS [CONNECTIONS [QUERIES [SECONDS]]]".into());
    };
    let number = |idx: usize, default: usize| rest.get(idx).map_or(Ok(default), |it| it.parse());
    let (connections, n_queries, seconds) = (number(0, 64)?, number(1, 1)?, number(2, 60)?);
    let questions: Vec<String> = serde_json::from_str(&fs::read_to_string(questions)?)?;
    let next = AtomicUsize::new(0);
    let n_failed = AtomicUsize::new(0);
    let span = Duration::from_secs(seconds as u64);
    let started = Instant::now();
    let work = || {
        let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
        let agent = config.timeout_global(Some(Duration::from_mins(1))).build().new_agent();
        let mut times = Vec::new();
        while started.elapsed() < span {
            let first = next.fetch_add(n_queries, Ordering::Relaxed);
            let queries: Vec<&String> =
                (first..first + n_queries).map(|it| &questions[it % questions.len()]).collect();
            let body = json!({ "queries": queries, "topk": 3, "return_scores": true }).to_string();
            let asked = Instant::now();
            if answered(&agent, url, &body, n_queries) {
                times.push(asked.elapsed());
            } else {
                n_failed.fetch_add(1, Ordering::Relaxed);
            }
        }
        times
    };
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|it| it.join().expect("no caller panics")).collect()
    });
    let rate = (times.len() * n_queries) as f64 / started.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| {
        let place = (times.len().saturating_sub(1) as f64 * share) as usize;
        times.get(place).map_or(0.0, |it| it.as_secs_f64() * 1e3)
    };
    let n_failed = n_failed.into_inner();
    let line = json!({
        "connections": connections, "queries_a_request": n_queries, "seconds": seconds,
        "queries_per_second": rate, "p50_ms": at(0.5), "p99_ms": at(0.99),
        "requests": times.len() + n_failed, "failed": n_failed,
    });
    println!("{line}");
    Ok(ExitCode::from(u8::from(n_failed > 0 || times.is_empty())))
}

/// Whether a request got an answer for each of its queries.
fn answered(agent: &ureq::Agent, url: &str, body: &str, n_queries: usize) -> bool {
    let Ok(mut response) = agent.post(url).content_type("application/json").send(body) else {
        return false;
    };
    let is_success = response.status().is_success();
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec();
    let answer: Option<Value> = body.ok().and_then(|it| serde_json::from_slice(&it).ok());
    let n_answers = answer.and_then(|it| Some(it["result"].as_array()?.len()));
    is_success && n_answers == Some(n_queries)
}
