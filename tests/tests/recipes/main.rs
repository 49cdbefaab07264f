//! The recipes of `configs/`, small: each of them learns (`learning`), what they add can be
//! switched off (`identities`), what none of them names trains too (`choices`), and what their runs
//! have in common holds: resuming, updates that cannot be taken, keys that an algorithm does not
//! use.

mod choices;
mod identities;
mod learning;

use std::fs;
use std::path::{Path, PathBuf};

use forage_tests::{Output, Scratch};
use forage_training::record::GroupRecord;
use serde_json::Value;

/// What makes any of them small.
const SMALL: [&str; 9] = [
    "world.entities={ train = 120, dev = 60, test = 60 }",
    "world.questions={ train = 40, dev = 2, test = 2 }",
    "rollout.max_turn_tokens=40",
    "training.steps=2",
    "training.questions_per_step=4",
    "training.group_size=4",
    "training.checkpoint_every=1",
    "training.save_trajectories_every=2",
    "evaluation.every=2",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Trains a recipe, made small and then changed further, in the run `run`.
fn train(scratch: &Scratch, recipe: &str, edits: &[&str]) -> Output {
    start(scratch, recipe, edits, &[])
}

/// The same with further arguments.
fn start(scratch: &Scratch, recipe: &str, edits: &[&str], more: &[&str]) -> Output {
    start_file(scratch, &root().join(format!("configs/{recipe}.toml")), edits, more)
}

/// The same with any run file.
fn start_file(scratch: &Scratch, file: &Path, edits: &[&str], more: &[&str]) -> Output {
    let model = format!("model.path={}", root().join("assets/tiny-agent").display());
    let mut arguments = vec!["train", file.to_str().unwrap(), "--out", "run", "--set", &model];
    arguments.extend(SMALL.iter().chain(edits).flat_map(|it| ["--set", it]));
    arguments.extend(more);
    scratch.forage(arguments)
}

/// The groups of a file in the run's folder.
fn groups_of(scratch: &Scratch, name: &str) -> Vec<GroupRecord> {
    let bytes = fs::read(scratch.path(format!("run/{name}.jsonl.zst"))).unwrap();
    let lines = String::from_utf8(zstd::decode_all(bytes.as_slice()).unwrap()).unwrap();
    lines.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// The files of the last checkpoint and the metrics, byte for byte.
fn files(run: &Path) -> Vec<(String, Vec<u8>)> {
    let checkpoint = run.join("checkpoints/step-000002");
    let mut paths = vec![run.join("metrics.jsonl")];
    let mut folders = vec![checkpoint];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { paths.push(path) }
        }
    }
    paths.sort();
    let name = |it: &PathBuf| it.strip_prefix(run).unwrap().display().to_string();
    paths.iter().map(|it| (name(it), fs::read(it).unwrap())).collect()
}

#[test]
fn everything_that_training_changes_is_resumed() {
    let scratch = Scratch::new();
    // Whatever a checkpoint can hold, in one run.
    let edits = ["training.reference_every=1", "training.moving_average=0.5", "training.epochs=2"];
    train(&scratch, "search-r1-ppo", &edits).done();
    let run = scratch.path("run");
    let whole = files(&run);
    let expected = ["critic.safetensors", "reference.safetensors", "average/model.safetensors"];
    for name in expected {
        assert!(whole.iter().any(|it| it.0.ends_with(name)), "{name}");
    }
    fs::remove_dir_all(run.join("checkpoints/step-000002")).unwrap();
    start(&scratch, "search-r1-ppo", &edits, &["--resume"]).done();
    let resumed = files(&run);
    let pairs = whole.iter().zip(&resumed).filter(|(one, other)| one != other);
    let differences: Vec<&str> = pairs.map(|(one, _)| one.0.as_str()).collect();
    assert_eq!((differences, whole.len()), (vec![], resumed.len()));

    // The averaged weights are those that a run is about.
    let before = scratch.forage(["eval", "run", "--limit", "1"]).done();
    let average = "run/checkpoints/step-000002/average";
    let named = scratch.forage(["eval", "run", "--limit", "1", "--model", average]).done();
    assert_eq!(before.stdout, named.stdout);
}

#[test]
fn steps_that_are_not_finite_are_kept_and_end_the_run() {
    let scratch = Scratch::new();
    let edits = ["optimizer.lr=1e30", "training.steps=5"];
    // Its bonus of entropy moves weights also where no group has variance.
    let first = train(&scratch, "search-r1-grpo", &edits).ended(5);
    let stderr = &first.stderr;
    for expected in [
        "warning: the weights of step 1 are not finite",
        "error: 3 steps in a row could not be taken",
        "caused by: the weights of step 3 are not finite",
        "hint: start again from the last checkpoint with a lower `optimizer.lr`",
    ] {
        assert!(stderr.contains(expected), "{expected}: {stderr}");
    }
    // Weights that were not moved: the checkpoint is the start, and good.
    let rows = scratch.rows("run/metrics.jsonl");
    let skipped: Vec<&Value> = rows[1..].iter().map(|it| &it["train/skipped"]).collect();
    // Two updates a step.
    assert_eq!(skipped, [&Value::from(2), &Value::from(4)]);
    scratch.forage(["eval", "run", "--limit", "1"]).done();

    // What was kept says which mini-batch it was, and can be graded again.
    for step in 1..=3 {
        let updates = scratch.read(&format!("run/skipped/step-{step:06}.json"));
        let updates: Vec<Value> = serde_json::from_str(&updates).unwrap();
        let why = format!("the weights of step {step} are not finite");
        for (update, groups) in updates.iter().zip([[0, 2], [2, 4]]) {
            assert_eq!((&update["why"], &update["of"]), (&why.as_str().into(), &"policy".into()));
            assert_eq!((&update["step"], &update["epoch"]), (&step.into(), &0.into()));
            assert_eq!(update["groups"], Value::from(groups.to_vec()));
        }
        assert_eq!(updates.len(), 2);
        let kept = groups_of(&scratch, &format!("skipped/step-{step:06}"));
        assert_eq!((kept.len(), kept[0].step), (4, step));
        for it in kept {
            assert_eq!((it.group.trajectories.len(), it.grades.len()), (4, 4));
            for (trajectory, grade) in it.group.trajectories.iter().zip(&it.grades) {
                trajectory.check().unwrap();
                assert_eq!(grade.advantage.is_some(), grade.reward.is_some());
            }
        }
    }
    let dump = "run/skipped/step-000001.jsonl.zst";
    let lines = scratch.forage(["reward", "replay", "exact-match", dump, "--json"]).done().stdout;
    assert_eq!(lines.lines().count(), 16);
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["stored"], line["grade"]["scored"]["reward"], "{line}");
    }
}

#[test]
fn keys_that_an_algorithm_does_not_use_are_errors() {
    let scratch = Scratch::new();
    for (recipe, edit, expected) in [
        (
            "gspo",
            "algorithm.loss.dual_clip=3.0",
            "`algorithm.loss.dual_clip` is not used by `gspo`",
        ),
        (
            "rloo",
            "algorithm.advantage.gamma=0.9",
            "`algorithm.advantage.gamma` is not used by `rloo`",
        ),
        (
            "dapo",
            "critic.lr=1e-3",
            "`critic` is used by `algorithm.advantage` `gae` and `step-gae`",
        ),
        ("dapo", "optimizer.clip_high=0.3", "`optimizer.clip_high` are not used with `algorithm`"),
        // Also where it says what is so anyway.
        ("dapo", "optimizer.clip_low=0.2", "`optimizer.clip_high` are not used with `algorithm`"),
        (
            "dapo",
            "training.reference_every=5",
            "`training.reference_every` is used by `algorithm.kl`",
        ),
        (
            "e-grpo",
            "algorithm.llds.coefficient=0.2",
            "`algorithm.llds` acts from the second update",
        ),
        ("dr-grpo", "algorithm.value.clip=0.5", "`algorithm.value` is used by"),
        ("rloo", "training.group_size=1", "`training.group_size` must be 2 or more"),
        ("gspo", "training.mini_batches=40", "`training.mini_batches` is more than"),
        ("gspo", "optimizer.decay=\"all\"", "`optimizer.decay` is not used without"),
        ("search-r1-ppo", "optimizer.warmup_steps=3", "`optimizer.warmup_steps` is not used with"),
        ("dapo", "training.curriculum=[{ from = 3, hops = 1 }]", "`training.curriculum` begins at"),
    ] {
        let stderr = train(&scratch, recipe, &[edit]).ended(2).stderr;
        assert!(stderr.contains(expected), "{edit}: {stderr}");
    }
    // What only shows when rewards have scored something.
    let gigpo = "algorithm.advantage={ name = \"gigpo\", step_scale = 1.0 }";
    for (recipe, edits, user) in [
        (
            "stepsearch",
            ["reward.step-search.plugin=exact-match", "reward.step-search.config={}"].as_slice(),
            "`algorithm.advantage.name = \"step-gae\"` places on their tokens",
        ),
        ("rloo", [gigpo].as_slice(), "`algorithm.advantage.step_scale` multiplies"),
    ] {
        let scratch = Scratch::new();
        let stderr = train(&scratch, recipe, edits).ended(2).stderr;
        let expected =
            format!("no reward gives the searches of a trajectory a value, which {user}");
        assert!(stderr.contains(&expected), "{stderr}");
        // Before anything is played, so that nothing is left of it.
        assert!(!scratch.path("run").exists());
    }
}
