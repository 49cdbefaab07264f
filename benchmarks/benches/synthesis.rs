//! Making a world, and asking about it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forage_benchmarks::{SEED, WORLD, asked, world_config};
use forage_trajectory::{Purpose, Stream};
use forage_world::{Perturbations, Split, Thoughts, World, demonstrate, reading_exercise};

fn synthesis(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("synthesis");
    let n_entities = WORLD.passages().len() as u64;
    group.throughput(Throughput::Elements(n_entities)).sample_size(20);
    group.bench_function("a world", |bencher| {
        bencher.iter(|| World::generate(black_box(&world_config()), SEED).expect("as in `WORLD`"));
    });
    group.throughput(Throughput::Elements(500)).bench_function("500 questions", |bencher| {
        bencher.iter(|| asked(black_box(500)));
    });

    let question = asked(4).remove(3);
    let stream = Stream::new(SEED, Purpose::Demonstrations);
    group.throughput(Throughput::Elements(1)).sample_size(100);
    group.bench_function("a demonstration of 4 hops", |bencher| {
        bencher.iter(|| {
            demonstrate(
                &WORLD,
                black_box(&question),
                &Perturbations::default(),
                Thoughts::Plan,
                stream,
            )
        });
    });
    group.bench_function("a reading exercise", |bencher| {
        bencher.iter(|| reading_exercise(&WORLD, Split::Train, black_box(stream)));
    });
    group.finish();
}

criterion_group!(benches, synthesis);
criterion_main!(benches);
