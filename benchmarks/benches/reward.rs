//! The plugin boundary: a group of 16 trajectories through a loaded plugin and back, beside what
//! JSON alone would cost.

use std::hint::black_box;
use std::path::PathBuf;
use std::process::Command;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forage_benchmarks::{asked, play_scripted};
use forage_reward::{Plugin, find, to_wire, wire};
use forage_trajectory::Group;

/// Trajectories of a group.
const GROUP: usize = 16;

/// Builds the plugin, which no bench can depend on.
fn plugin() -> Plugin {
    let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/plugins");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--lib", "-p", "exact-match"])
        .args(["--target-dir", target])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs, as it runs this bench");
    assert!(status.success(), "the plugin does not build");
    let library = find("exact-match", &[PathBuf::from(target).join("release")])
        .expect("the plugin was just built");
    Plugin::load(&library, &serde_json::json!({})).expect("the plugin is ours")
}

fn reward(criterion: &mut Criterion) {
    let question = asked(4).remove(3);
    let trajectories = play_scripted(&[&question; GROUP]);
    let group = Group { question, trajectories };
    let told = to_wire(&group);
    let plugin = plugin();
    let grades = plugin.score(&told).expect("the plugin scores whatever was played");

    let mut benches = criterion.benchmark_group("reward");
    benches.throughput(Throughput::Elements(GROUP as u64));
    benches.bench_function("to the wire's types", |bencher| {
        bencher.iter(|| to_wire(black_box(&group)));
    });
    benches.bench_function("score through the plugin", |bencher| {
        bencher.iter(|| plugin.score(black_box(&told)).expect("as before"));
    });
    benches.bench_function("the same there and back in JSON", |bencher| {
        bencher.iter(|| {
            let request = serde_json::to_vec(black_box(&told)).expect("plain data");
            let told: wire::Group = serde_json::from_slice(&request).expect("what was written");
            let reply = serde_json::to_vec(black_box(&grades)).expect("plain data");
            let grades: Vec<wire::Grade> = serde_json::from_slice(&reply).expect("the same");
            (told, grades)
        });
    });
    benches.finish();
}

criterion_group!(benches, reward);
criterion_main!(benches);
