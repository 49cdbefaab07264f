//! Cost of the agent loop with a scripted policy: a rollout without the model.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forage_benchmarks::{asked, play_scripted};
use forage_rollout::grammar;
use forage_trajectory::Question;

fn episodes(criterion: &mut Criterion) {
    let questions = asked(64);
    let questions: Vec<&Question> = questions.iter().collect();
    let mut group = criterion.benchmark_group("rollout");
    group.throughput(Throughput::Elements(questions.len() as u64));
    group.bench_function("64 episodes", |bencher| {
        bencher.iter(|| play_scripted(black_box(&questions)));
    });

    let turn = "<think> First: the director of the film Veltor is Mirko Tavel. </think>\n\
                <search> Mirko Tavel </search>";
    group.throughput(Throughput::Bytes(turn.len() as u64)).bench_function("parse", |bencher| {
        bencher.iter(|| grammar::parse(black_box(turn)));
    });
    group.finish();
}

criterion_group!(benches, episodes);
criterion_main!(benches);
