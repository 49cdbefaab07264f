//! BM25 over a generated corpus: one query, and the queries of a batch of trajectories at once.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forage_benchmarks::{BM25, WORLD, asked};
use forage_retriever::{Analyzer, Bm25, SearchOptions};
use forage_trajectory::Retriever;

/// Queries of a batch: those of 12 questions with 8 trajectories each.
const BATCH: usize = 96;

/// Passages for each search.
const TOP_K: usize = 3;

fn search(criterion: &mut Criterion) {
    let questions = asked(BATCH);
    let queries: Vec<&str> = questions.iter().map(|it| it.text.as_str()).collect();
    let mut group = criterion.benchmark_group("retriever");
    let mut at = 0;
    group.throughput(Throughput::Elements(1)).bench_function("one query", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % queries.len();
            BM25.search_one(black_box(queries[at]), TOP_K).expect("the index is whole")
        });
    });
    group.throughput(Throughput::Elements(BATCH as u64)).bench_function("a batch", |bencher| {
        bencher.iter(|| BM25.search(black_box(&queries), TOP_K));
    });
    let passages = &WORLD.passages()[..2000];
    group.throughput(Throughput::Elements(passages.len() as u64)).sample_size(10);
    group.bench_function("an index of 2,000 passages", |bencher| {
        bencher.iter(|| {
            let options = SearchOptions::default();
            Bm25::in_memory(passages.to_vec(), Analyzer::default(), &options)
                .expect("generated passages have distinct ids")
        });
    });
    group.finish();
}

criterion_group!(benches, search);
criterion_main!(benches);
