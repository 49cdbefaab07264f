//! `configs/smoke.toml` from end to end, and every command that looks at what came of it.

use std::fs;
use std::path::{Path, PathBuf};

use forage_tests::Scratch;
use serde_json::Value;

/// The steps of `configs/smoke.toml`.
const STEPS: u64 = 6;

/// What every row of a training step has, besides the parts of the rewards.
const METRICS: [&str; 23] = [
    "groups/zero_variance",
    "loss/grad_norm",
    "loss/policy",
    "optimizer/lr",
    "outcome/answered",
    "outcome/failed",
    "outcome/malformed",
    "outcome/no_answer",
    "outcome/out_of_turns",
    "outcome/over_length",
    "policy/clip_fraction",
    "policy/entropy",
    "policy/trained_tokens",
    "reward/failed",
    "reward/mean",
    "reward/std",
    "rollout/mismatch",
    "rollout/mismatch_kl",
    "rollout/mismatch_max",
    "rollout/policy_tokens",
    "rollout/searches",
    "rollout/tokens",
    "step",
];

fn run_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").join(name)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|err| panic!("{}: {err}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_run_and_everything_that_looks_at_it() {
    let scratch = Scratch::ready();
    let smoke = run_file("smoke.toml");
    let smoke = smoke.to_str().unwrap();
    let model = ["--set", "model.path=model"];

    let checked = scratch.forage([&["check", smoke], &model[..]].concat()).done().stdout;
    for expected in ["model: ", "reward exact-match: exact-match", "360 passages", "= 16, one"] {
        assert!(checked.contains(expected), "{expected}: {checked}");
    }

    let trained = scratch.forage([&["train", smoke, "--out", "run"], &model[..]].concat()).done();
    assert!(trained.stderr.contains("smoke: 4 questions x 4 trajectories"), "{}", trained.stderr);
    assert!(trained.stdout.contains("held-out exact match, greedy"), "{}", trained.stdout);
    assert!(trained.stdout.contains("held-out exact match, temperature 1"), "{}", trained.stdout);
    assert!(trained.stdout.ends_with("report: run/report.html\n"), "{}", trained.stdout);
    check_run(&scratch);

    let eval = scratch.forage(["eval", "run", "--limit", "5", "--out", "evaluated"]).done().stdout;
    assert!(eval.starts_with("5 questions of test, greedy\n"), "{eval}");
    assert!(eval.contains("\n  all       5   0."), "{eval}");
    assert_eq!(names(&scratch.path("evaluated")), ["evaluation.json", "trajectories.jsonl.zst"]);
    let again = scratch.forage(["eval", "run", "--limit", "5"]).done().stdout;
    assert_eq!(eval, again, "an evaluation is repeatable");
    let sampled = ["eval", "run", "--limit", "5", "--temperature", "1", "--policy", "model"];
    assert!(scratch.forage(sampled).done().stdout.contains("temperature 1"));
    let floor = scratch.forage(["eval", "run", "--policy", "scripted"]).done().stdout;
    // The scripted policy searches once and always answers.
    assert!(floor.contains("1.00      1.00\n"), "{floor}");

    let chat = scratch.forage_with_input(["chat", "run"], "Who directed the film Veltor?\n\n");
    let chat = chat.done().stdout;
    assert!(chat.contains("Who directed the film Veltor?"), "{chat}");
    assert!(!chat.contains('\u{1b}'), "colours are for terminals: {chat}");

    fs::remove_file(scratch.path("run/report.html")).unwrap();
    let report = scratch.forage(["report", "run"]).done().stdout;
    assert_eq!(report, "run/report.html\n");
    assert!(scratch.read("run/report.html").starts_with("<!doctype html>"));

    check_unread(&scratch);
}

/// A reader that has seen enough is no error, and hides none.
fn check_unread(scratch: &Scratch) {
    let played = "run/trajectories/step-000006-greedy.jsonl.zst";
    for (arguments, code) in [
        ("reward replay format RUN --json", 0),
        ("reward replay format RUN", 0),
        ("reward diff exact-match format RUN", 0),
        ("reward check format", 0),
        ("reward check format --set x=1", 4),
        ("report run", 0),
        ("eval run --limit 1", 0),
        ("check run.toml", 0),
        ("world run.toml --out unread", 0),
        ("search --index run/world/index --json film", 0),
        ("train run.toml --out unread-run --set training.steps=1", 0),
        ("export run --out exported", 0),
        ("export run --out exported", 2),
    ] {
        let arguments = arguments.split(' ').map(|it| if it == "RUN" { played } else { it });
        scratch.forage_unread(arguments).ended(code);
    }
    assert!(scratch.path("unread-run/report.html").is_file(), "a run is made whoever reads");
}

/// What a run leaves behind.
fn check_run(scratch: &Scratch) {
    let rows = scratch.rows("run/metrics.jsonl");
    assert_eq!(
        rows.iter().map(|it| it["step"].as_u64().unwrap()).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5, 6]
    );
    for row in &rows {
        let step = row["step"].as_u64().unwrap();
        for (name, value) in row.as_object().unwrap() {
            assert!(value.as_f64().is_some_and(f64::is_finite), "{name} of step {step}: {value}");
        }
        if step > 0 {
            let parts =
                ["exact-match", "exact-match/em", "exact-match/f1", "format", "format/valid"]
                    .map(|it| format!("reward/{it}"));
            for name in METRICS.into_iter().chain(parts.iter().map(String::as_str)) {
                assert!(row.get(name).is_some(), "step {step} has no `{name}`");
            }
        }
        let evaluated = row.get("eval/greedy/em").is_some();
        assert_eq!(evaluated, step.is_multiple_of(3), "step {step}");
    }
    assert_eq!(scratch.rows("run/timings.jsonl").len() as u64, STEPS);

    let run = scratch.path("run");
    let list = |folder: &str| names(&run.join(folder));
    let evaluations = ["000000-greedy", "000000-sampled", "000006-greedy", "000006-sampled"];
    assert_eq!(list("evaluations"), evaluations.map(|it| format!("step-{it}.json")));
    for name in evaluations {
        let json = scratch.read(&format!("run/evaluations/step-{name}.json"));
        let evaluation: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(evaluation["rows"][0]["n"], 16, "{evaluation}");
    }
    let mut trajectories = evaluations.map(|it| format!("step-{it}.jsonl.zst")).to_vec();
    trajectories.extend(["000003", "000006"].map(|it| format!("step-{it}-train.jsonl.zst")));
    trajectories.sort();
    assert_eq!(list("trajectories"), trajectories);
    assert_eq!(list("checkpoints"), ["step-000003", "step-000006"]);
    assert_eq!(
        list("checkpoints/step-000006"),
        [
            "config.json",
            "model.safetensors",
            "optimizer.safetensors",
            "state.json",
            "tokenizer.json"
        ]
    );
    assert_eq!(list("world"), ["corpus.jsonl", "dev.jsonl", "index", "test.jsonl", "train.jsonl"]);
    assert_eq!(list("plugins").len(), 2);

    let manifest: Value = serde_json::from_str(&scratch.read("run/manifest.json")).unwrap();
    assert_eq!(manifest["seed"], 1);
    assert_eq!(manifest["index"]["passages"], 360);
    for hash in [&manifest["weights"], &manifest["tokenizer"], &manifest["plugins"][0]["blake3"]] {
        assert_eq!(hash.as_str().map(str::len), Some(64), "{manifest}");
    }
    assert!(scratch.read("run/report.html").starts_with("<!doctype html>"));
}

#[test]
fn a_world_is_a_corpus_that_can_be_indexed_and_searched() {
    let scratch = Scratch::new();
    let smoke = run_file("smoke.toml");
    let smoke = smoke.to_str().unwrap();
    let world = scratch.forage(["world", smoke, "--out", "world"]).done().stdout;
    assert_eq!(world, "360 passages in world\n");

    let built = scratch.forage(["index", "--corpus", "world/corpus.jsonl", "--out", "index"]);
    assert!(built.done().stderr.contains("indexed 360 passages"));
    let passage = &scratch.rows("world/corpus.jsonl")[100];
    let title = passage["title"].as_str().unwrap();
    for index in ["index", "world/index"] {
        let found = scratch.forage(["search", "--index", index, "-k", "2", title]).done().stdout;
        let first = found.lines().next().unwrap_or_default();
        assert!(first.contains(title), "{title}: {found}");
    }
    let json = scratch.forage(["search", "--index", "index", "--json", title]).done().stdout;
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["id"], passage["id"]);
}

#[test]
fn a_warm_start_makes_a_model_to_train() {
    let scratch = Scratch::new();
    let warm_start = run_file("warm-start.toml");
    let small = [
        "model.fresh.vocab_size=300",
        "model.fresh.hidden_size=16",
        "model.fresh.intermediate_size=32",
        "model.fresh.layers=1",
        "model.fresh.heads=2",
        "model.fresh.kv_heads=1",
        "world.entities={ train = 60, dev = 60, test = 60 }",
        "world.questions={ train = 4, dev = 2, test = 2 }",
        "sft.phases=[{ steps = 3, lr_from = 1e-3, lr_to = 1e-3, demonstrations = 2, reading = 1, comparison = 1 }]",
        "rollout.max_turn_tokens=8",
        "evaluation.every=3",
    ];
    let mut arguments = vec!["sft", warm_start.to_str().unwrap(), "--out", "warm"];
    arguments.extend(small.iter().flat_map(|it| ["--set", it]));
    let done = scratch.forage(&arguments).done();
    assert!(done.stderr.contains("the model is in warm/model"), "{}", done.stderr);
    assert_eq!(
        names(&scratch.path("warm/model")),
        ["config.json", "model.safetensors", "tokenizer.json"]
    );
    let manifest: Value = serde_json::from_str(&scratch.read("warm/manifest.json")).unwrap();
    assert!(manifest["working_directory"].is_string(), "{manifest}");
    for row in scratch.rows("warm/metrics.jsonl") {
        assert!(row["loss/imitation"].as_f64().is_some_and(|it| it.is_finite() && it > 0.0));
    }

    scratch.write("run.toml", forage_tests::RUN_FILE);
    let wish = ["train", "run.toml", "--set", "model.path=warm/model", "--set", "training.steps=1"];
    scratch.forage(wish).done();
    assert_eq!(scratch.rows("runs/tiny/metrics.jsonl").len(), 2);
}
