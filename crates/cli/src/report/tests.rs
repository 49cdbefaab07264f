//! The report of small run folders, without a browser.

use std::fs;

use forage_training::record::{GradeRecord, GroupRecord};
use forage_trajectory::{Group, Origin, Outcome, Question, SegmentKind, Trajectory};

use super::*;

const HOSTILE: &str = "</script><script>alert(1)</script><!--<script>";

/// Makes a file of a run unreadable.
type Spoil<'a> = &'a dyn Fn(&Path);

fn record(step: u64, split: &str, id: &str) -> GroupRecord {
    let mut trajectory = Trajectory::new(id, 0);
    trajectory.push_given(Origin::Prompt, SegmentKind::Prompt, HOSTILE, &[1]);
    trajectory.push_sampled(&[2], &[-0.5]);
    trajectory.tag(SegmentKind::Answer, "<answer>Rome</answer>", 1..2, Some("Rome"));
    trajectory.outcome = Outcome::Answered;
    let question = Question {
        id: id.into(),
        text: HOSTILE.into(),
        golden_answers: vec!["rome".into()],
        ..Question::default()
    };
    GroupRecord {
        step,
        split: split.into(),
        group: Group { question, trajectories: vec![trajectory] },
        grades: vec![GradeRecord { reward: Some(1.0), ..GradeRecord::default() }],
    }
}

fn write_groups(run: &Path, name: &str, lines: &[String]) {
    let folder = run.join("trajectories");
    fs::create_dir_all(&folder).unwrap();
    let packed = zstd::encode_all((lines.join("\n") + "\n").as_bytes(), 1).unwrap();
    fs::write(folder.join(name), packed).unwrap();
}

/// The data of a page, as the page's script reads it.
fn embedded(page: &str) -> Value {
    let (_, rest) = page.split_once("type=\"application/json\">").unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_page_does_not_tell_where_the_run_was_started() {
    let run = tempfile::tempdir().unwrap();
    let manifest = r#"{"name": "x", "working_directory": "/home/me/secret", "seed": 1}"#;
    fs::write(run.path().join("manifest.json"), manifest).unwrap();
    let page = fs::read_to_string(write(run.path()).unwrap()).unwrap();
    assert!(!page.contains("secret"));
    assert_eq!(embedded(&page)["manifest"], serde_json::json!({ "name": "x", "seed": 1 }));
}

#[test]
fn an_empty_folder_gives_a_page() {
    let run = tempfile::tempdir().unwrap();
    let path = write(run.path()).unwrap();
    let page = fs::read_to_string(&path).unwrap();
    assert_eq!(embedded(&page)["trajectories"]["groups"], Value::Array(Vec::new()));
    assert!(!page.contains("{{"), "no placeholder is left");
    let names: Vec<_> =
        fs::read_dir(run.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["report.html"], "no temporary file is left");
}

#[test]
fn the_page_names_no_address() {
    let pages = [RUN, SYNTHESIS].map(|it| [&[it.sections][..], it.scripts].concat()).concat();
    for source in [TEMPLATE, STYLE].iter().chain(&pages) {
        // The namespace of SVG is a name, and `url(#` is a place in the page: nothing is fetched.
        let source = source.replace("http://www.w3.org/2000/svg", "").replace("url(#", "");
        for scheme in ["http:", "https:", "//cdn", "@import", "url("] {
            assert!(!source.contains(scheme), "`{scheme}`");
        }
    }
}

#[test]
fn hostile_text_cannot_leave_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("a<b>&c");
    let line = serde_json::to_string(&record(0, "greedy", "q")).unwrap();
    write_groups(&run, "step-000000-greedy.jsonl.zst", &[line]);
    fs::write(run.join("config.toml"), "{{script}} </SCRIPT>").unwrap();
    let page = fs::read_to_string(write(&run).unwrap()).unwrap();
    let empty = data(tempfile::tempdir().unwrap().path()).unwrap();
    let plain = self::page(&RUN, "x", &empty).unwrap();
    for tag in ["<script", "</script", "</SCRIPT", "<!--"] {
        assert_eq!(page.matches(tag).count(), plain.matches(tag).count(), "`{tag}`");
    }
    let data = embedded(&page);
    assert_eq!(data["trajectories"]["questions"][0]["text"], HOSTILE);
    assert_eq!(data["trajectories"]["groups"][0]["members"][0]["right"], true);
    assert_eq!(data["config"], "{{script}} </SCRIPT>");
    assert!(page.contains("<title>a&lt;b&gt;&amp;c"));
}

#[test]
fn an_unreadable_line_is_named() {
    let good = serde_json::to_string(&record(3, "train", "q")).unwrap();
    let cases: [(&str, Spoil<'_>); 4] = [
        ("line 2 of `RUN/metrics.jsonl`", &|run| {
            fs::write(run.join("metrics.jsonl"), "{\"step\":1}\n{\"step\":").unwrap();
        }),
        ("line 1 of `RUN/timings.jsonl`", &|run| {
            fs::write(run.join("timings.jsonl"), "{\"seconds/step\":1}\n").unwrap();
        }),
        ("`RUN/manifest.json` is", &|run| fs::write(run.join("manifest.json"), "{").unwrap()),
        ("line 3 of `RUN/trajectories/step-000003-train.jsonl.zst`", &|run| {
            let lines = [good.clone(), good.clone(), "{}".into()];
            write_groups(run, "step-000003-train.jsonl.zst", &lines);
        }),
    ];
    for (expected, spoil) in cases {
        let run = tempfile::tempdir().unwrap();
        spoil(run.path());
        let error = write(run.path()).unwrap_err();
        assert!(error.is::<Failure>());
        let message = error.to_string().replace(&run.path().display().to_string(), "RUN");
        assert!(message.starts_with(expected), "{message}");
        assert!(!run.path().join("report.html").exists());
    }
}

#[test]
fn before_and_after_show_the_same_questions_and_the_page_is_bounded() {
    let run = tempfile::tempdir().unwrap();
    let lines = |step, split: &str, n: u64| -> Vec<String> {
        (0..n)
            .map(|idx| {
                // Another order after training: questions are matched by id.
                let id = if step == 0 { idx } else { n - 1 - idx };
                serde_json::to_string(&record(step, split, &format!("q{id}"))).unwrap()
            })
            .collect()
    };
    write_groups(run.path(), "step-000000-greedy.jsonl.zst", &lines(0, "greedy", 300));
    write_groups(run.path(), "step-000090-greedy.jsonl.zst", &lines(90, "greedy", 300));
    for step in 0..60 {
        let name = format!("step-{step:06}-train.jsonl.zst");
        write_groups(run.path(), &name, &lines(step, "train", 20));
    }
    let shown = data(run.path()).unwrap().trajectories;
    let shown = serde_json::to_value(&shown).unwrap();
    let groups = shown["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 200);
    assert_eq!((&shown["n_files"], &shown["n_files_read"]), (&62.into(), &27.into()));
    let questions = |step: u64| -> Vec<u64> {
        let mut questions: Vec<_> = groups
            .iter()
            .filter(|it| it["split"] == "greedy" && it["step"] == step)
            .map(|it| it["question"].as_u64().unwrap())
            .collect();
        questions.sort_unstable();
        questions
    };
    assert_eq!(questions(0).len(), 50);
    assert_eq!(questions(0), questions(90));
}

#[test]
fn a_synthesis_has_a_page_of_its_own() {
    let run = tempfile::tempdir().unwrap();
    fs::write(run.path().join("journal.jsonl"), "").unwrap();
    let error = write(run.path()).unwrap_err().to_string();
    assert!(error.contains("has no `report.json` yet"), "{error}");

    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/synthesize.toml");
    fs::copy(recipe, run.path().join("config.toml")).unwrap();
    let report =
        serde_json::to_vec(&forage_synthesis::feedback_loop::SynthesisReport::default()).unwrap();
    fs::write(run.path().join("report.json"), report).unwrap();
    let question = Question {
        id: "sage-000001".into(),
        text: HOSTILE.into(),
        golden_answers: vec!["rome".into()],
        ..Question::default()
    };
    let line = serde_json::to_string(&question).unwrap() + "\n";
    fs::write(run.path().join("train.jsonl"), line.repeat(70)).unwrap();
    let page = fs::read_to_string(write(run.path()).unwrap()).unwrap();
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("{{"), "no placeholder is left");
    let data = embedded(&page);
    assert_eq!(data["questions"].as_array().unwrap().len(), 60);
    assert_eq!(data["n_questions"], 70);
    assert_eq!(data["questions"][0]["text"], HOSTILE);
    assert_eq!(data["facts"][0], serde_json::json!(["Generator", "walker"]));
}
