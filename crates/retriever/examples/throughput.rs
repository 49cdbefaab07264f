//! Queries a second of an index, in process, and of tantivy's own top-k over the same index.
//!
//! ```text
//! cargo run --release -p forage-retriever --example throughput -- INDEX QUESTIONS [SECONDS]
//! ```
//!
//! QUESTIONS is a JSON list of texts. They are asked whole and cut to six words, on one thread and
//! on two, for their three best passages with the text of these. The index is searched with
//! Anserini's k1 = 0.9 and b = 0.4; tantivy's own parameters are fixed. Prints a JSON object a
//! measurement. `benchmarks/peers/retrieval` puts them beside those of other engines.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use forage_retriever::{Analyzer, Bm25, SearchOptions};
use serde_json::json;
use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{Index, Searcher, TantivyDocument, Term};

const K: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [index, questions, rest @ ..] = arguments.as_slice() else {
        return Err("usage: throughput INDEX QUESTIONS [SECONDS]".into());
    };
    let seconds = rest.first().map_or(Ok(5.0), |it| it.parse())?;
    let index = Path::new(index);
    let options = SearchOptions { analyzer: None, k1: 0.9, b: 0.4 };
    let bm25 = Bm25::open(index, &options)?;
    let peer = Peer::open(index, bm25.analyzer())?;
    let whole: Vec<String> = serde_json::from_str(&fs::read_to_string(questions)?)?;
    let six = |it: &String| it.split(' ').take(6).collect::<Vec<_>>().join(" ");
    let short: Vec<String> = whole.iter().map(six).collect();
    let span = Duration::from_secs_f64(seconds);
    for (name, queries) in [("whole", &whole), ("six words", &short)] {
        for n_threads in [1, 2] {
            let ours = |query: &str| bm25.search_one(query, K).map(|it| it.len());
            let ours = |query: &str| ours(query).expect("the index is whole");
            let theirs = |query: &str| peer.search(query).expect("the index is whole");
            for (engine, measured) in [
                ("forage", measure(queries, n_threads, span, ours)),
                ("tantivy", measure(queries, n_threads, span, theirs)),
            ] {
                let [rate, p50, p99] = measured;
                let line = json!({
                    "engine": engine, "questions": name, "threads": n_threads,
                    "queries_per_second": rate, "p50_us": p50, "p99_us": p99,
                });
                println!("{line}");
            }
        }
    }
    Ok(())
}

/// Asks all questions again and again for a while, after a first round that is not counted: queries
/// a second, and the median and the 99th percentile of their times in microseconds.
fn measure(
    queries: &[String],
    n_threads: usize,
    span: Duration,
    search: impl Fn(&str) -> usize + Sync,
) -> [f64; 3] {
    for query in queries {
        search(query);
    }
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let work = || {
        let mut times = Vec::new();
        while started.elapsed() < span {
            let query = &queries[next.fetch_add(1, Ordering::Relaxed) % queries.len()];
            let asked = Instant::now();
            std::hint::black_box(search(query));
            times.push(asked.elapsed());
        }
        times
    };
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|it| it.join().expect("no search panics")).collect()
    });
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    [rate, at(0.5), at(0.99)]
}

/// tantivy's own search over the same index.
struct Peer {
    searcher: Searcher,
    contents: Field,
    analyzer: Analyzer,
}

impl Peer {
    fn open(index: &Path, analyzer: Analyzer) -> tantivy::Result<Self> {
        let index = Index::open_in_dir(index)?;
        let contents = index.schema().get_field("contents")?;
        Ok(Self { searcher: index.reader()?.searcher(), contents, analyzer })
    }

    fn search(&self, query: &str) -> tantivy::Result<usize> {
        let mut counts = BTreeMap::<String, f32>::new();
        for term in self.analyzer.terms(query) {
            *counts.entry(term).or_default() += 1.0;
        }
        let clause = |(term, count): (String, f32)| -> (Occur, Box<dyn Query>) {
            let term = Term::from_field_text(self.contents, &term);
            let query = Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
            if count > 1.0 {
                (Occur::Should, Box::new(BoostQuery::new(query, count)))
            } else {
                (Occur::Should, query)
            }
        };
        let query = BooleanQuery::new(counts.into_iter().map(clause).collect());
        let found = self.searcher.search(&query, &TopDocs::with_limit(K).order_by_score())?;
        for (_, address) in &found {
            std::hint::black_box(self.searcher.doc::<TantivyDocument>(*address)?);
        }
        Ok(found.len())
    }
}
