//! The plugin boundary, and what each plugin costs.
//!
//! - `reward/boundary`: groups of 8 and 16 trajectories with 130 KB in all, through a loaded
//!   plugin that does next to nothing and back, beside what JSON alone would cost.
//! - `reward/plugins`: every plugin for a group of 16 trajectories of 4,000 tokens and 8 searches
//!   each. `process` asks its example in Python, `http-post` a server that replies at once, and
//!   `llm-judge` its cache.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forage_benchmarks::{asked, play_scripted};
use forage_reward::wire::{
    Evidence, EvidenceStep, Grade, Group, Hit, Passage, Question, Trajectory,
};
use forage_reward::{Plugin, find, to_wire};
use serde_json::{Value, json};

/// Trajectories of a group.
const GROUP: usize = 16;

/// Bytes of a group at the boundary.
const BYTES: usize = 130_000;

/// What a trajectory has for the plugins.
const TOKENS: usize = 4000;
const SEARCHES: usize = 8;

/// All that score. Their libraries are built by [`plugin`].
const PLUGINS: [&str; 10] = [
    "entity-match",
    "exact-match",
    "format",
    "http-post",
    "llm-judge",
    "process",
    "retrieval-recall",
    "search-cost",
    "step-search",
    "token-f1",
];

/// Loads a plugin. They are built once, since no bench can depend on them.
fn plugin(name: &str, config: &Value) -> Plugin {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/plugins");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--lib", "--target-dir", target])
            .args(PLUGINS.iter().flat_map(|name| ["-p", name]))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs, as it runs this bench");
        assert!(status.success(), "the plugins do not build");
        PathBuf::from(target).join("release")
    });
    let library = find(name, std::slice::from_ref(&*FOLDER)).expect("the plugins were just built");
    Plugin::load(&library, config).expect("the plugin is ours")
}

/// So many words of a few letters: one word is one token.
fn words(count: usize, salt: usize) -> String {
    let mut text = String::new();
    let mut at = salt;
    for _ in 0..count {
        at = (at * 31 + 17) % 5003;
        write!(text, "w{at} ").expect("a string takes all text");
    }
    text
}

fn question() -> Question {
    let passages = (0..4).map(|idx| Passage {
        id: format!("p{idx}"),
        title: format!("Title {idx}"),
        text: words(100, idx),
    });
    let steps = (0..4).map(|idx| EvidenceStep {
        question: words(8, idx),
        answer: words(2, idx),
        queries: vec![words(4, idx), words(5, idx + 1)],
        passage_ids: vec![format!("p{idx}")],
    });
    let evidence = Evidence {
        shape: "bridge".to_owned(),
        entities: (0..4).map(|idx| words(2, idx)).collect(),
        steps: steps.collect(),
        passages: passages.collect(),
    };
    Question {
        evidence,
        ..Question::new("Where is the director of Alien from?", ["South Shields"])
    }
}

/// A group whose trajectories think `thought` words and find three pages of `page` words in each
/// of their searches.
fn group(members: usize, thought: usize, page: usize) -> Group {
    let played = |member: usize| {
        let mut it = Trajectory { member, ..Trajectory::default() };
        for turn in 0..SEARCHES {
            let hits = (0..3).map(|rank| Hit {
                id: format!("p{}", member + turn * 3 + rank),
                title: format!("Title {rank}"),
                text: words(page, turn * 3 + rank),
                score: 1.0,
            });
            it = it.think(&words(thought, member + turn)).search(&words(5, member + turn), hits);
        }
        it.think("so").answer(if member.is_multiple_of(4) { "South Shields" } else { "London" })
    };
    Group { question: question(), trajectories: (0..members).map(played).collect(), step: Some(0) }
}

/// A group of so many trajectories with [`BYTES`] in all.
fn of_equal_size(members: usize) -> Group {
    let fits = |page: &usize| group(members, 10, *page).to_bytes().len() >= BYTES;
    let page = (1..1000).find(fits).expect("longer pages are more bytes");
    group(members, 10, page)
}

/// A group of trajectories with [`TOKENS`] tokens.
fn of_many_tokens() -> Group {
    let n_tokens = |it: &Group| it.trajectories[0].segments.last().map_or(0, |it| it.tokens.end);
    let fits = |page: &usize| n_tokens(&group(1, 100, *page)) >= TOKENS;
    let page = (1..1000).find(fits).expect("longer pages are more tokens");
    group(GROUP, 100, page)
}

fn boundary(criterion: &mut Criterion) {
    let exact = plugin("exact-match", &json!({}));
    let mut benches = criterion.benchmark_group("reward/boundary");
    for members in [8, GROUP] {
        let told = of_equal_size(members);
        let grades = exact.score(&told).expect("the plugin scores whatever was played");
        benches.throughput(Throughput::Bytes(told.to_bytes().len() as u64));
        benches.bench_with_input(BenchmarkId::new("there and back", members), &told, |it, told| {
            it.iter(|| exact.score(black_box(told)).expect("as before"));
        });
        let json = BenchmarkId::new("the same in JSON, without a plugin", members);
        benches.bench_with_input(json, &told, |it, told| {
            it.iter(|| {
                let request = serde_json::to_vec(black_box(told)).expect("plain data");
                let told: Group = serde_json::from_slice(&request).expect("what was written");
                let reply = serde_json::to_vec(black_box(&grades)).expect("plain data");
                let grades: Vec<Grade> = serde_json::from_slice(&reply).expect("the same");
                (told, grades)
            });
        });
    }
    benches.finish();

    // What a group of the trainer's costs before it is at the boundary.
    let question = asked(4).remove(3);
    let trajectories = play_scripted(&[&question; GROUP]);
    let played = forage_trajectory::Group { question, trajectories };
    criterion.bench_function("reward/to the wire's types", |it| {
        it.iter(|| to_wire(black_box(&played)));
    });
}

fn plugins(criterion: &mut Criterion) {
    let told = of_many_tokens();
    let url = serve();
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/process/examples/reward.py");
    let mut benches = criterion.benchmark_group("reward/plugins");
    benches.throughput(Throughput::Elements(GROUP as u64));
    for name in PLUGINS {
        let config = match name {
            "process" => json!({ "command": ["python3", python] }),
            "http-post" => json!({ "url": format!("{url}/score") }),
            "llm-judge" => json!({ "url": url, "model": "none" }),
            _ => json!({}),
        };
        let plugin = plugin(name, &config);
        if let Err(err) = plugin.score(&told) {
            eprintln!("SKIPPED: `{name}` is not measured: {}", err.kind());
            continue;
        }
        benches.bench_function(name, |it| {
            it.iter(|| plugin.score(black_box(&told)).expect("as before"));
        });
    }
    benches.finish();
}

/// A server that grades every group of [`GROUP`] in the same way, and finds every answer right.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    // Ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that went away is no concern of the bench.
            drop(reply_to(stream));
        }
    });
    url
}

fn reply_to(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let head = head.to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|it| it.lines().next());
    let mut body = vec![0; length.and_then(|it| it.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let reply = if head.starts_with("post /score") {
        json!(vec![0.5; GROUP])
    } else {
        json!({ "choices": [{ "message": { "content": "verdict: right" } }] })
    };
    let reply = reply.to_string();
    let n = reply.len();
    write!(
        reader.get_mut(),
        "HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nConnection: close\r\n\r\n{reply}"
    )
}

criterion_group!(benches, boundary, plugins);
criterion_main!(benches);
