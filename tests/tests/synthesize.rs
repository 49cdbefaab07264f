//! `forage synthesize` from end to end: a small random model attempts the questions of the graph
//! generator.

use std::fs;

use forage_tests::{Scratch, Shape, write_model};
use serde_json::Value;

const RUN_FILE: &str = r#"name = "made"
seed = 1

[world]
entities = { train = 120, dev = 60, test = 60 }

[synthesis]
items = 6
steps_from = 1
steps_to = 3
tries = 2
rounds = 1
in_flight = 3

[generator.walker]
joins = 0.5

[agent.model]
path = "model"

[rollout]
prompt = "Question: {question}\n"
max_searches = 2
top_k = 1
max_turn_tokens = 12
max_observation_tokens = 48
max_tokens = 320

[judge]
plugin = "exact-match"

[questions]
guesses = 1
"#;

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    write_model(&scratch.path("model"), Shape::default());
    scratch.write("run.toml", RUN_FILE);
    scratch
}

const FILES: [&str; 6] =
    ["train.jsonl", "dev.jsonl", "test.jsonl", "traces.jsonl.zst", "report.txt", "report.json"];

#[test]
fn a_run_its_replay_and_more_of_it() {
    let scratch = scratch();
    let start = ["synthesize", "run.toml", "--out", "made"];
    let made = scratch.forage(start).done();
    assert!(made.stdout.contains("rounds     S   items  correct   passed"), "{}", made.stdout);
    assert!(made.stdout.contains("questions kept: "), "{}", made.stdout);
    assert!(made.stdout.ends_with("questions in made\n"), "{}", made.stdout);
    let journal = scratch.rows("made/journal.jsonl");
    let count = |rows: &[Value], key: &str| rows.iter().filter(|it| it.get(key).is_some()).count();
    assert_eq!(count(&journal, "run"), 1);
    assert_eq!(count(&journal, "done"), 6);
    let report: Value = serde_json::from_str(&scratch.read("made/report.json")).unwrap();
    assert_eq!(report["rounds"][0]["all"]["items"], 6);

    let files = |run: &str| FILES.map(|it| fs::read(scratch.path(format!("{run}/{it}"))).unwrap());
    let before = files("made");
    let again = scratch.forage(start).ended(2).stderr;
    assert!(again.contains("already holds a run") && again.contains("--resume"), "{again}");
    // A finished run is replayed from its journal alone.
    scratch.forage([&start[..], &["--resume"]].concat()).done();
    assert_eq!(files("made"), before);
    assert_eq!(scratch.rows("made/journal.jsonl"), journal);

    let more = [&start[..], &["--resume", "--set", "synthesis.items=8"]].concat();
    scratch.forage(more).done();
    let longer = scratch.rows("made/journal.jsonl");
    assert_eq!(longer[..journal.len()], journal);
    assert_eq!(count(&longer, "done"), 8);

    let other = [&start[..], &["--resume", "--set", "synthesis.tries=3"]].concat();
    let refused = scratch.forage(other).ended(2).stderr;
    assert!(refused.contains("another configuration"), "{refused}");

    // The same run with other threads, from the beginning.
    let fresh = ["synthesize", "run.toml", "--out", "again", "--set", "synthesis.in_flight=1"];
    scratch.forage(fresh).done();
    assert_eq!(files("again"), before);

    // The page can be had again.
    let page = scratch.read("again/report.html");
    fs::remove_file(scratch.path("again/report.html")).unwrap();
    scratch.forage(["report", "again"]).done();
    assert_eq!(scratch.read("again/report.html"), page);
    assert!(page.contains("again · Forage synthesis"));
}

#[test]
fn a_plain_corpus_is_split_and_walked_over() {
    let scratch = scratch();
    let names = ["Veltor", "Munkas", "Dorlim", "Palsem", "Quinzal", "Borvim"];
    let rows: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(idx, name)| {
            let next = names[(idx + 1) % names.len()];
            let text =
                format!("{name} is a quiet town in the hills. It was founded by people of {next}.");
            format!("{{\"id\": {idx}, \"title\": {name:?}, \"text\": {text:?}}}\n")
        })
        .collect();
    scratch.write("corpus.jsonl", rows.concat());
    let world = RUN_FILE.find("[world]").unwrap()..RUN_FILE.find("[synthesis]").unwrap();
    let mut text = RUN_FILE
        .replace("guesses = 1", "shares = { dev = 0.2, test = 0.2 }\navoid = [\"avoid.jsonl\"]");
    text.replace_range(world, "[corpus]\nfiles = [\"corpus.jsonl\"]\n\n");
    scratch.write("run.toml", text);
    scratch.write(
        "avoid.jsonl",
        "{\"id\": \"1\", \"question\": \"Who?\", \"golden_answers\": [\"I\"]}\n",
    );
    let made = scratch.forage(["synthesize", "run.toml", "--out", "made"]).done();
    assert!(made.stdout.contains("splits: train "), "{}", made.stdout);
    assert!(scratch.read("made/journal.jsonl").contains("town"));
}

#[test]
fn a_file_is_checked_before_it_is_run() {
    let scratch = scratch();
    let checked = scratch.forage(["check", "run.toml"]).done().stdout;
    let lines: Vec<&str> = checked.lines().collect();
    for (line, expected) in lines.iter().zip([
        "corpus: 240 passages",
        "search: BM25, an index is made",
        "generator: a walk over ",
        "agent: ",
        "judge: the plugin exact-match, right from 1",
        "6 items with S from 1 to 3: 24 attempts of the agent at most",
    ]) {
        assert!(line.starts_with(expected), "{expected}: {line}");
    }
    assert_eq!(lines.len(), 6, "{checked}");
    // Nothing stays behind.
    assert!(!scratch.path("runs").exists());
}

/// The model is random: it writes no pair that can be used, and whatever it writes costs its item
/// and nothing else.
#[test]
fn a_model_of_ours_is_asked_in_its_place() {
    let scratch = scratch();
    write_model(&scratch.path("writer"), Shape::default());
    // What a generator is told is longer than what the other model reads.
    let mut config: Value = serde_json::from_str(&scratch.read("writer/config.json")).unwrap();
    config["max_position_embeddings"] = 8192.into();
    scratch.write("writer/config.json", config.to_string());
    let ours = "[generator.model]\npath = \"writer\"\nmax_tokens = 16\nsearches = 2\nhits = 1";
    let text = RUN_FILE
        .replace("[generator.walker]\njoins = 0.5", ours)
        .replace("items = 6", "items = 3\nlimits = { tokens = 1000000 }");
    scratch.write("run.toml", text);
    let checked = scratch.forage(["check", "run.toml"]).done().stdout;
    assert!(checked.contains("generator: the model `writer`"), "{checked}");

    scratch.forage(["synthesize", "run.toml", "--out", "made"]).done();
    let rows = scratch.rows("made/journal.jsonl");
    let proposed: Vec<&Value> = rows.iter().filter_map(|it| it.get("proposed")).collect();
    // Three items, two rounds.
    assert_eq!(proposed.len(), 6);
    for it in proposed {
        let calls = it["usage"]["calls"].as_u64().unwrap();
        assert!((1..=3).contains(&calls), "{it}");
        assert!(it["usage"]["prompt_tokens"].as_u64() > Some(500), "{it}");
        let reason = it["proposal"]["Err"].as_str().unwrap_or_else(|| panic!("{it}"));
        assert!(reason.starts_with("generator: ") && !reason.contains("too long"), "{reason}");
    }

    // The output does not depend on which requests share a batch.
    let alone = ["--set", "generator.model.batch=1", "--set", "synthesis.in_flight=1"];
    let start = ["synthesize", "run.toml", "--out", "alone"];
    scratch.forage([&start[..], &alone].concat()).done();
    assert_eq!(scratch.read("alone/report.json"), scratch.read("made/report.json"));
}

#[test]
fn what_people_get_wrong() {
    let cases = [
        ("items = 6", "items = 0", 2, "`synthesis.items` is 0"),
        ("items = 6", "itemz = 6", 2, "unknown field `itemz`"),
        (
            "[generator.walker]\njoins = 0.5",
            "[generator]",
            2,
            "one of `walker`, `chat` and `model`",
        ),
        ("joins = 0.5", "joins = 2.0", 2, "`generator.walker.joins` is 2, not a probability"),
        ("path = \"model\"", "path = \"nowhere\"", 3, "cannot use the model `nowhere`"),
        ("plugin = \"exact-match\"", "plugin = \"nothing\"", 4, "nothing"),
        ("guesses = 1", "shares = { dev = 0.5, test = 0.1 }", 2, "`world` has its own splits"),
        ("items = 6", "items = 6\nlimits = { tokens = 5 }", 2, "none is asked"),
        ("train = 120", "train = 3", 2, "the world cannot be made"),
        ("guesses = 1", "avoid = [\"nowhere.jsonl\"]", 3, "nowhere.jsonl"),
        (
            "[generator.walker]\njoins = 0.5",
            "[generator.model]\npath = \"nowhere\"",
            3,
            "cannot use the model `nowhere`",
        ),
        (
            "[generator.walker]\njoins = 0.5",
            "[generator.model]\npath = \"model\"\nbatch = 0",
            2,
            "`generator.model.batch` is 0",
        ),
    ];
    let scratch = scratch();
    for (nth, (from, to, code, expected)) in cases.into_iter().enumerate() {
        assert!(RUN_FILE.contains(from), "{from}");
        scratch.write("wrong.toml", RUN_FILE.replace(from, to));
        let out = format!("wrong-{nth}");
        let stderr = scratch.forage(["synthesize", "wrong.toml", "--out", &out]).ended(code).stderr;
        assert!(stderr.contains(expected), "{expected}: {stderr}");
        // Nothing has to be begun to find that out.
        let stderr = scratch.forage(["check", "wrong.toml"]).ended(code).stderr;
        assert!(stderr.contains(expected), "{expected}: {stderr}");
    }
}
