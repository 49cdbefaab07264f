//! Published questions and passages: they are read, searched and evaluated as they are.
//!
//! They are looked for in the folder `FORAGE_SHARED`, or in `shared` beside the workspace; where
//! they are not, the test says so and passes.

use std::env;
use std::path::{Path, PathBuf};

use forage_tests::{RUN_FILE, Scratch};

fn data() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    env::var_os("FORAGE_SHARED").map_or_else(beside, PathBuf::from).join("data")
}

/// A file of the data, or a word about its absence.
fn file(name: &str) -> Option<PathBuf> {
    let path = data().join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: there is no `{}`; `FORAGE_SHARED` may name its folder", path.display());
    None
}

/// [`RUN_FILE`] with an index and a question file in the place of the world.
fn run_file(questions: &Path) -> String {
    let world = RUN_FILE.find("[world]").unwrap()..RUN_FILE.find("[rollout]").unwrap();
    let mut text = RUN_FILE.to_owned();
    let questions = questions.to_str().unwrap();
    text.replace_range(
        world,
        &format!(
            "[data]\ntrain = {questions:?}\ndev = {questions:?}\ntest = {questions:?}\n\n\
             [retriever]\nindex = 'index'\n\n"
        ),
    );
    text
}

#[test]
fn published_questions_are_evaluated() {
    // The questions, their corpus, how many they are, and the rows of the table.
    let table: [(&str, &str, usize, &[&str]); 3] = [
        ("hotpotqa/questions.jsonl", "hotpotqa/corpus.jsonl", 300, &["?"]),
        ("musique/questions.jsonl", "musique/corpus.jsonl", 390, &["2", "3", "4"]),
        ("bamboogle/bamboogle_125.jsonl", "hotpotqa/corpus.jsonl", 125, &["?"]),
    ];
    for (questions, corpus, n_questions, rows) in table {
        let (Some(questions), Some(corpus)) = (file(questions), file(corpus)) else { continue };
        let scratch = Scratch::ready();
        let index = ["index", "--corpus", corpus.to_str().unwrap(), "--out", "index"];
        scratch.forage(index).done();
        scratch.write("run.toml", run_file(&questions));
        scratch.forage(["check", "run.toml"]).done();

        let floor = scratch.forage(["eval", "run.toml", "--policy", "scripted"]).done().stdout;
        assert!(floor.starts_with(&format!("{n_questions} questions of test")), "{floor}");
        for row in ["all"].iter().chain(rows) {
            assert!(floor.contains(&format!("\n  {row:<5} ")), "{row}: {floor}");
        }
        // Every question is searched for once, and answered.
        let all = floor.lines().find(|it| it.trim_start().starts_with("all")).unwrap();
        assert!(all.ends_with("1.00      1.00"), "{floor}");

        let model = scratch.forage(["eval", "run.toml", "--limit", "20"]).done().stdout;
        assert!(model.starts_with("20 questions of test, greedy\n"), "{model}");
    }
}
