//! Plugins through the real binary: one that breaks its contract in the midst of a run, and the
//! tools of who writes one.

use std::fs;

use forage_tests::{RUN_FILE, Scratch};
use serde_json::Value;

/// The step in which the plugin breaks. No checkpoint is due before it.
const BROKEN_STEP: usize = 4;

/// [`RUN_FILE`] with the test double as a second reward, which pays nothing.
fn run_file(double: &str) -> String {
    let sections = format!("[reward.double]\nplugin = \"misbehaving\"\nconfig = {double}\n\n");
    RUN_FILE
        .replace("[optimizer]", &format!("{sections}[optimizer]"))
        .replace("save_trajectories_every = 3", "save_trajectories_every = 1")
}

/// The id of the first question of a step.
fn question_of(scratch: &Scratch, run: &str, step: usize) -> String {
    let path = scratch.path(format!("{run}/trajectories/step-{step:06}-train.jsonl.zst"));
    let lines = zstd::decode_all(fs::read(path).unwrap().as_slice()).unwrap();
    let first: Value =
        serde_json::Deserializer::from_slice(&lines).into_iter().next().unwrap().unwrap();
    first["group"]["question"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_plugin_that_breaks_ends_the_run_which_resumes() {
    let scratch = Scratch::ready();
    scratch.write("run.toml", run_file("{ mode = \"fine\" }"));
    scratch.forage(["train", "run.toml", "--out", "whole"]).done();
    let question = question_of(&scratch, "whole", BROKEN_STEP);

    scratch.write("run.toml", run_file(&format!("{{ mode = \"panic\", only = {question:?} }}")));
    let broken = scratch.forage(["train", "run.toml", "--out", "run"]);
    // Not `ended`, which refuses the panic that is asked for here.
    assert_eq!(broken.status.code(), Some(4), "{broken:#?}");
    for expected in [
        "error: a reward plugin failed".to_owned(),
        "caused by: reward `double`, plugin `".to_owned(),
        format!("question `{question}`"),
        "caused by: panicked: no such key: Panic, for member 0".to_owned(),
        "hint: a bug of the plugin".to_owned(),
    ] {
        assert!(broken.stderr.contains(&expected), "{expected}: {}", broken.stderr);
    }
    assert_eq!(scratch.rows("run/metrics.jsonl").len(), BROKEN_STEP);
    let checkpoint = format!("run/checkpoints/step-{:06}", BROKEN_STEP - 1);
    assert!(scratch.path(&checkpoint).is_dir(), "what was learned is kept");

    // As it is, it breaks again at the same question.
    let again = scratch.forage(["train", "run.toml", "--out", "run", "--resume"]);
    assert_eq!(again.status.code(), Some(4), "{again:#?}");
    assert!(again.stderr.contains(&format!("question `{question}`")), "{}", again.stderr);

    // Mended, it goes on as if nothing had happened.
    for file in ["run.toml", "run/config.toml"] {
        scratch.write(file, run_file("{ mode = \"fine\" }"));
    }
    scratch.forage(["train", "run.toml", "--out", "run", "--resume"]).done();
    assert_eq!(scratch.read("run/metrics.jsonl"), scratch.read("whole/metrics.jsonl"));
}

/// What no host can catch costs the steps since the last checkpoint, and no more.
#[test]
fn a_plugin_that_ends_the_process_leaves_a_run_that_resumes() {
    let scratch = Scratch::ready();
    scratch.write("run.toml", run_file("{ mode = \"fine\" }"));
    scratch.forage(["train", "run.toml", "--out", "whole"]).done();
    let question = question_of(&scratch, "whole", BROKEN_STEP);

    scratch.write("run.toml", run_file(&format!("{{ mode = \"abort\", only = {question:?} }}")));
    let aborted = scratch.forage(["train", "run.toml", "--out", "run"]);
    assert!(!aborted.status.success(), "{aborted:#?}");
    #[cfg(unix)]
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&aborted.status), Some(6));

    for file in ["run.toml", "run/config.toml"] {
        scratch.write(file, run_file("{ mode = \"fine\" }"));
    }
    scratch.forage(["train", "run.toml", "--out", "run", "--resume"]).done();
    assert_eq!(scratch.read("run/metrics.jsonl"), scratch.read("whole/metrics.jsonl"));
}

#[test]
fn what_is_tolerated_is_told() {
    let scratch = Scratch::ready();
    let double = run_file("{ mode = \"nan\" }")
        .replace("plugin = \"misbehaving\"", "plugin = \"misbehaving\"\ntolerate = 100000");
    scratch.write("run.toml", double);
    let run = scratch.forage(["train", "run.toml", "--set", "training.steps=1"]).done();
    for expected in ["WARN", "reward `double`", "a reward of NaN", "6 trajectories are excluded"] {
        assert!(run.stderr.contains(expected), "{expected}: {}", run.stderr);
    }
    let rows = scratch.rows("runs/tiny/metrics.jsonl");
    assert_eq!(rows[1]["reward/failed"].as_f64(), Some(12.0), "{:?}", rows[1]);
}

#[test]
fn plugins_are_checked() {
    let scratch = Scratch::new();
    let checked = scratch.forage(["reward", "check", "format"]).done().stdout;
    for expected in ["handshake        ok       format 0.", "golden answer    ok", "10 MB in"] {
        assert!(checked.contains(expected), "{expected}: {checked}");
    }
    assert!(!checked.contains("FAILED") && !checked.contains("skipped"), "{checked}");

    for (mode, expected) in [
        ("nan", "samples          FAILED   question `bridge`: broke the plugin contract"),
        ("error", "golden answer    ok"),
    ] {
        // Quoted, or `nan` would be a number.
        let mode = format!("mode=\"{mode}\"");
        let done = scratch.forage(["reward", "check", "misbehaving", "--set", &mode]);
        assert!(done.stdout.contains(expected), "{expected}: {}", done.stdout);
        assert_eq!(done.status.code() == Some(4), done.stdout.contains("FAILED"), "{done:#?}");
    }
    let wrong = scratch.forage(["reward", "check", "format", "--set", "x=1"]).ended(4);
    assert!(wrong.stdout.contains("handshake        FAILED   bad configuration"), "{wrong:#?}");
    scratch.forage(["reward", "check", "no-such-plugin"]).ended(4);
    scratch.forage(["reward", "check", "format", "--deadline", "0"]).ended(2);
}

#[test]
fn stored_trajectories_are_scored_again_and_compared() {
    let scratch = Scratch::ready();
    scratch.forage(["train", "run.toml", "--out", "run", "--set", "training.steps=3"]).done();
    let ours = "run/trajectories/step-000003-train.jsonl.zst";
    let summary = scratch.forage(["reward", "replay", "format", ours]).done().stdout;
    assert!(summary.starts_with("format 0."), "{summary}");
    assert!(summary.contains(": 2 groups, 12 trajectories\n"), "{summary}");

    // The same reward says the same again.
    let lines = scratch.forage(["reward", "replay", "format", ours, "--json"]).done().stdout;
    assert_eq!(lines.lines().count(), 12);
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["stored"], line["grade"]["scored"]["reward"], "{line}");
    }

    let dump = |answer: &str, score: f64| {
        let output = format!("<think> hm </think><answer> {answer} </answer>");
        let row = serde_json::json!({
            "input": "Question: Who directed Veltor?\n", "output": output,
            "gts": { "target": ["Mirko Tavel"] }, "score": score, "step": 1,
        });
        format!("{row}\n")
    };
    scratch.write("dump.jsonl", dump("Mirko Tavel", 1.0) + &dump("Tavel", 0.0) + &dump("no", 0.0));
    let arguments = ["reward", "replay", "exact-match", "dump.jsonl"];
    let summary = scratch.forage(arguments).done().stdout;
    assert!(summary.contains(": 1 groups, 3 trajectories\n"), "{summary}");
    assert!(summary.contains("rank correlation 1.0000"), "{summary}");

    let validity = ["--set-b", "mode=validity"];
    let arguments = ["reward", "diff", "exact-match", "format", "dump.jsonl"];
    let diff = scratch.forage([&arguments[..], &validity].concat()).done().stdout;
    assert!(diff.starts_with("3 trajectories in 1 groups scored by both, 0 by one only"), "{diff}");
    assert!(diff.contains("groups that differ           1 by A only, 0 by B only"), "{diff}");
    assert!(diff.contains("<answer> Mirko Tavel </answer>"), "{diff}");

    // A dump has no gold passages.
    let nowhere = scratch.forage(["reward", "replay", "retrieval-recall", "dump.jsonl"]).ended(2);
    let told = "the reward `retrieval-recall` applies to none of the trajectories";
    assert!(nowhere.stderr.contains(told), "{}", nowhere.stderr);

    let missing = scratch.forage(["reward", "replay", "format", "nowhere.jsonl"]).ended(3);
    assert!(missing.stderr.contains("`nowhere.jsonl` cannot be read"), "{}", missing.stderr);
}

#[test]
fn alarms_and_parts_are_metrics() {
    let scratch = Scratch::ready();
    let train = ["train", "run.toml", "--set", "training.steps=1", "--set"];
    let wrong = scratch.forage([&train[..], &["alarms.unsearched=-1.0"]].concat()).ended(2);
    let expected = "`alarms.unsearched` is -1: it is a number from 0 on";
    assert!(wrong.stderr.contains(expected), "{}", wrong.stderr);

    scratch.forage([&train[..], &["alarms.unsearched=0.2"]].concat()).done();
    let rows = scratch.rows("runs/tiny/metrics.jsonl");
    for name in ["copied_answers", "unsearched", "repeated_queries", "tagged_answers"] {
        assert_eq!(rows[0].get(format!("alarm/{name}")), None, "nothing was played before step 1");
        let share = rows[1][format!("alarm/{name}")].as_f64();
        assert!(share.is_some_and(|it| (0.0..=1.0).contains(&it)), "{name}: {:?}", rows[1]);
    }
    // As every part of every reward is one, by its mean, its spread and how many groups vary.
    for metric in ["reward", "reward_std", "reward_varied"] {
        for part in ["format", "format/valid", "format/em"] {
            let value = rows[1][format!("{metric}/{part}")].as_f64();
            assert!(value.is_some(), "{metric}/{part}: {:?}", rows[1]);
        }
    }
}
