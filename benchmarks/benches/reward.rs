//! The plugin boundary, and what each plugin costs.
//!
//! - `reward/boundary`: groups of 8 and 16 trajectories with 130 KB in all, through a loaded
//!   plugin and back. Of a question without golden answers the plugin says at once that it does
//!   not apply: that is the boundary alone. Beside it, with answers to compare, and what JSON
//!   alone would cost.
//! - `reward/boundary, short texts`: the same number of bytes in four times as many texts.
//! - `reward/plugins`: every plugin for a group of 16 trajectories of 4,000 tokens and 8 searches
//!   each. `process` asks its example in Python, `http-post` a server that replies at once, and
//!   `llm-judge` its cache.
//! - `reward/a step of the quickstart`: all groups of one training step of
//!   `configs/quickstart.toml`, as a training step has them scored: by every plugin that
//!   computes, one after the other, and by each of those that wait for others.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use forage_benchmarks::{asked, play_scripted};
use forage_cli::run_file::{RunFile, Task};
use forage_reward::wire::{
    Evidence, EvidenceStep, Grade, Group, Hit, Passage, Question, Trajectory,
};
use forage_reward::{Combination, Plugin, PluginError, Rewards, find_plugin, to_wire};
use serde_json::{Value, json};

/// Trajectories of a group.
const GROUP: usize = 16;

/// Bytes of a group at the boundary.
const BYTES: usize = 130_000;

/// How a trajectory at the boundary is made: searches, and words of a thought.
///
/// With 2 searches of 3 passages each, 130 KB for a group of 16 are passages of some 65 words.
/// Those of the Wikipedia of 2018 that most published work searches have 100, so real groups hold
/// longer texts yet. With 8 searches, passages have 8 words: more texts than a real group has in as
/// many bytes, and each text costs besides its bytes.
const REAL: (usize, usize) = (2, 20);
const SHORT: (usize, usize) = (8, 10);

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

/// Those of [`PLUGINS`] that ask somebody else, and mostly wait.
const WAITING: [&str; 3] = ["http-post", "llm-judge", "process"];

fn plugin(name: &str, config: &Value) -> Plugin {
    Plugin::load(&library(name), config).expect("the plugin is ours")
}

/// Where the library of a plugin is. They are built once, since no bench can depend on them.
fn library(name: &str) -> PathBuf {
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
    find_plugin(name, std::slice::from_ref(&*FOLDER)).expect("the plugins were just built")
}

/// How a plugin is configured here. `url` is that of [`serve`].
fn config(name: &str, url: &str) -> Value {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/process/examples/reward.py");
    match name {
        "process" => json!({ "command": ["python3", python] }),
        "http-post" => json!({ "url": format!("{url}/score") }),
        "llm-judge" => json!({ "url": url, "model": "none" }),
        _ => json!({}),
    }
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

fn question() -> Question<'static> {
    let passages = (0..4).map(|idx| Passage {
        id: format!("p{idx}").into(),
        title: format!("Title {idx}").into(),
        text: words(100, idx).into(),
    });
    let steps = (0..4).map(|idx| EvidenceStep {
        question: words(8, idx).into(),
        answer: words(2, idx).into(),
        queries: vec![words(4, idx).into(), words(5, idx + 1).into()],
        passage_ids: vec![format!("p{idx}").into()],
    });
    let evidence = Evidence {
        shape: "bridge".into(),
        entities: (0..4).map(|idx| words(2, idx).into()).collect(),
        steps: steps.collect(),
        passages: passages.collect(),
        ..Evidence::default()
    };
    Question {
        evidence,
        ..Question::new("Where is the director of Alien from?", ["South Shields"])
    }
}

/// A group whose trajectories make so many searches, think `thought` words before each, and find
/// three pages of `page` words in it.
fn group(members: usize, (searches, thought): (usize, usize), page: usize) -> Group<'static> {
    let played = |member: usize| {
        let mut it = Trajectory { member, ..Trajectory::default() };
        for turn in 0..searches {
            let hits = (0..3).map(|rank| Hit {
                id: format!("p{}", member + turn * 3 + rank).into(),
                title: format!("Title {rank}").into(),
                text: words(page, turn * 3 + rank).into(),
                score: 1.0,
            });
            it = it.think(&words(thought, member + turn)).search(&words(5, member + turn), hits);
        }
        it.think("so").answer(if member.is_multiple_of(4) { "South Shields" } else { "London" })
    };
    Group { question: question(), trajectories: (0..members).map(played).collect(), step: Some(0) }
}

/// A group of so many trajectories with [`BYTES`] in all.
fn of_equal_size(members: usize, shape: (usize, usize)) -> Group<'static> {
    let fits = |page: &usize| group(members, shape, *page).to_bytes().len() >= BYTES;
    let page = (1..1000).find(fits).expect("longer pages are more bytes");
    group(members, shape, page)
}

/// A group of trajectories with [`TOKENS`] tokens.
fn of_many_tokens() -> Group<'static> {
    let shape = (SEARCHES, 100);
    let n_tokens = |it: &Group| it.trajectories[0].segments.last().map_or(0, |it| it.tokens.end);
    let fits = |page: &usize| n_tokens(&group(1, shape, *page)) >= TOKENS;
    let page = (1..1000).find(fits).expect("longer pages are more tokens");
    group(GROUP, shape, page)
}

fn boundary(criterion: &mut Criterion) {
    let exact = plugin("exact-match", &json!({}));
    for (name, shape) in [("reward/boundary", REAL), ("reward/boundary, short texts", SHORT)] {
        let mut benches = criterion.benchmark_group(name);
        for members in [8, GROUP] {
            let told = of_equal_size(members, shape);
            benches.throughput(Throughput::Bytes(told.to_bytes().len() as u64));
            let mut unjudged = told.clone();
            unjudged.question.golden_answers.clear();
            for (case, told) in [("there and back", &unjudged), ("with answers to compare", &told)]
            {
                benches.bench_with_input(BenchmarkId::new(case, members), told, |it, told| {
                    it.iter(|| {
                        exact.score(black_box(told)).expect("it scores whatever was played")
                    });
                });
            }
            let grades = exact.score(&unjudged).expect("as before");
            let json = BenchmarkId::new("the same in JSON, without a plugin", members);
            benches.bench_with_input(json, &unjudged, |it, told| {
                it.iter(|| {
                    let request = serde_json::to_vec(black_box(told)).expect("plain data");
                    let told: Group = serde_json::from_slice(&request).expect("what was written");
                    let n = told.trajectories.len();
                    let reply = serde_json::to_vec(black_box(&grades)).expect("plain data");
                    let grades: Vec<Grade> = serde_json::from_slice(&reply).expect("the same");
                    (n, grades)
                });
            });
        }
        benches.finish();
    }

    // The cost of a group before it reaches the boundary.
    let question = asked(4).remove(3);
    let trajectories = play_scripted(&[&question; GROUP]);
    let played = forage_trajectory::Group { question, trajectories };
    criterion.bench_function("reward/to the wire's types", |it| {
        it.iter(|| to_wire(black_box(&played)).trajectories.len());
    });
}

fn plugins(criterion: &mut Criterion) {
    let told = of_many_tokens();
    let url = serve();
    let mut benches = criterion.benchmark_group("reward/plugins");
    benches.throughput(Throughput::Elements(GROUP as u64));
    for name in PLUGINS {
        let plugin = plugin(name, &config(name, &url));
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

/// What the rewards of one training step take, to be set beside what the step takes.
fn a_step(criterion: &mut Criterion) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/quickstart.toml");
    let file = RunFile::read(Path::new(path), &[]).expect("the run file is ours");
    let Task::Train(task) = &file.config.task else { panic!("the quickstart trains") };
    let training = &task.config.training;
    let questions = asked(training.questions_per_step);
    let groups: Vec<_> = questions
        .into_iter()
        .map(|question| {
            let trajectories = play_scripted(&vec![&question; training.group_size]);
            forage_trajectory::Group { question, trajectories }
        })
        .collect();
    let score = |rewards: &Rewards| -> Result<usize, PluginError> {
        groups.iter().map(|it| rewards.score_at(black_box(it), 0).map(|it| it.len())).sum()
    };

    let url = serve();
    let (waiting, computing): (Vec<&str>, Vec<&str>) =
        PLUGINS.into_iter().partition(|it| WAITING.contains(it));
    let mut benches = criterion.benchmark_group("reward/a step of the quickstart");
    benches.throughput(Throughput::Elements(groups.len() as u64));
    let alone = PLUGINS.map(|name| (name, vec![name]));
    for (case, names) in [("all that compute", computing)].into_iter().chain(alone) {
        let sections = names.iter().map(|name| {
            let section = json!({ "plugin": name, "config": config(name, &url) });
            let section = serde_json::from_value(section).expect("a section as in a run file");
            ((*name).to_owned(), section, library(name))
        });
        let rewards = Rewards::load(&sections.collect::<Vec<_>>(), Combination::default())
            .expect("the plugins are ours");
        if let Err(err) = score(&rewards) {
            eprintln!("SKIPPED: `{case}` is not measured: {}", err.kind());
            continue;
        }
        let case =
            if waiting.contains(&case) { format!("{case}, which waits") } else { case.into() };
        benches.bench_function(case, |it| it.iter(|| score(&rewards).expect("as before")));
    }
    benches.finish();
}

/// A server that grades all trajectories in the same way, and finds every answer right.
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
        // Within a text of JSON the quotes would be escaped.
        let n_trajectories = String::from_utf8_lossy(&body).matches("\"member\":").count();
        json!(vec![0.5; n_trajectories])
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

criterion_group!(benches, boundary, plugins, a_step);
criterion_main!(benches);
