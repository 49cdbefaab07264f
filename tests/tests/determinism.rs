//! The same seed gives the same run, also when it is killed and resumed, however often.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use forage_tests::{Output, Scratch, end_of, forage, signal};
use forage_trajectory::{Purpose, Stream};
use rand::RngExt;

/// Runs that are killed, each of them twice.
const VICTIMS: u64 = 10;

/// What has to be the same, byte for byte: every file of a run that is no measurement of time.
#[derive(PartialEq, Eq)]
struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    fn of(run: &Path) -> Self {
        let mut names = vec!["metrics.jsonl".to_owned()];
        for folder in ["evaluations", "trajectories", "checkpoints/step-000008"] {
            let entries = fs::read_dir(run.join(folder));
            let entries =
                entries.unwrap_or_else(|err| panic!("{folder} of {}: {err}", run.display()));
            let file = |it: fs::DirEntry| format!("{folder}/{}", it.file_name().display());
            names.extend(entries.map(|it| file(it.unwrap())));
        }
        names.sort();
        Self(names.into_iter().map(|it| (it.clone(), fs::read(run.join(it)).unwrap())).collect())
    }

    /// The files that differ.
    fn differences<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let changed = self.0.iter().filter(|it| !other.0.contains(it));
        let more = other.0.iter().filter(|it| self.0.iter().all(|own| own.0 != it.0));
        changed.chain(more).map(|it| it.0.as_str()).collect()
    }
}

fn train(scratch: &Scratch, out: &str, more: &[&str]) -> Output {
    scratch.forage([&["train", "run.toml", "--out", out], more].concat())
}

fn start(scratch: &Scratch, out: &str, more: &[&str]) -> Child {
    let arguments = [&["train", "run.toml", "--resume", "--out", out], more].concat();
    scratch.command(arguments).spawn().unwrap()
}

#[test]
fn a_seed_is_a_run() {
    let scratch = Scratch::ready();
    train(&scratch, "first", &[]).done();
    train(&scratch, "second", &[]).done();
    train(&scratch, "other", &["--set", "seed=2"]).done();
    let [first, second, other] =
        ["first", "second", "other"].map(|it| Files::of(&scratch.path(it)));
    assert_eq!(first.differences(&second), [""; 0]);
    let differences = first.differences(&other);
    for file in ["metrics.jsonl", "checkpoints/step-000008/model.safetensors"] {
        assert!(differences.contains(&file), "{file} is the same under another seed");
    }

    // The comparison is worth something only where the agent searches and training moves it.
    let rows = scratch.rows("first/metrics.jsonl");
    let n_above_0 = |key: &str| rows.iter().filter(|it| it[key].as_f64() > Some(0.0)).count();
    assert!(n_above_0("loss/grad_norm") >= 5 && n_above_0("rollout/searches") >= 2, "{rows:#?}");
}

#[test]
fn the_number_of_cores_is_no_part_of_a_run() {
    let on_one = |it: &Scratch, arguments: &[&str]| {
        it.program("taskset", [&["-c", "0"], arguments].concat())
    };
    let scratch = Scratch::ready();
    if !on_one(&scratch, &["true"]).status().is_ok_and(|it| it.success()) {
        eprintln!("skipped: there is no `taskset` to keep a run to one core");
        return;
    }
    train(&scratch, "all", &[]).done();
    let binary = forage();
    let one = [binary.to_str().unwrap(), "train", "run.toml", "--out", "one"];
    end_of(on_one(&scratch, &one).spawn().unwrap()).done();
    let [all, one] = ["all", "one"].map(|it| Files::of(&scratch.path(it)));
    assert_eq!(all.differences(&one), [""; 0]);
}

#[test]
fn a_killed_run_resumes_as_if_nothing_had_happened() {
    let scratch = Scratch::ready();
    let began = Instant::now();
    train(&scratch, "undisturbed", &[]).done();
    let duration = began.elapsed();
    let undisturbed = Files::of(&scratch.path("undisturbed"));

    for victim in 0..VICTIMS {
        let mut rng = Stream::new(victim, Purpose::World).rng();
        let out = format!("victim-{victim}");
        // The first kills are spread over the whole run, its start and its end included; the
        // second ones fall anywhere.
        let first = (victim as f64 + rng.random::<f64>()) / VICTIMS as f64;
        for moment in [first, rng.random::<f64>()] {
            let mut child = start(&scratch, &out, &[]);
            sleep(duration.mul_f64(moment));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        end_of(start(&scratch, &out, &[])).done();
        let resumed = Files::of(&scratch.path(&out));
        assert_eq!(undisturbed.differences(&resumed), [""; 0], "{out}, killed at {first}");
        fs::remove_dir_all(scratch.path(&out)).unwrap();
    }
}

#[test]
fn an_interrupted_run_writes_a_checkpoint_and_says_how_to_go_on() {
    let scratch = Scratch::ready();
    // Checkpoints would come too late.
    let long = ["--set", "training.steps=30", "--set", "training.checkpoint_every=30"];
    train(&scratch, "undisturbed", &long).done();
    let undisturbed = scratch.read("undisturbed/metrics.jsonl");

    for name in ["INT", "TERM"] {
        let child = start(&scratch, name, &long);
        let metrics = scratch.path(format!("{name}/metrics.jsonl"));
        let n_rows = || fs::read_to_string(&metrics).map_or(0, |it| it.lines().count());
        let began = Instant::now();
        while n_rows() < 3 {
            assert!(began.elapsed() < Duration::from_mins(5), "no step in five minutes");
            sleep(Duration::from_millis(5));
        }
        signal(&child, name);
        let stopped = end_of(child).interrupted();
        let stderr = &stopped.stderr;
        assert!(stderr.contains("stopping after this step"), "{stderr}");
        assert!(stderr.contains("error: interrupted; a checkpoint was written"), "{stderr}");
        assert!(stderr.contains("hint: go on with the same command and `--resume`"), "{stderr}");
        let checkpoints = fs::read_dir(scratch.path(format!("{name}/checkpoints"))).unwrap();
        assert_eq!(checkpoints.count(), 1);

        end_of(start(&scratch, name, &long)).done();
        assert_eq!(scratch.read(&format!("{name}/metrics.jsonl")), undisturbed);
    }
}
