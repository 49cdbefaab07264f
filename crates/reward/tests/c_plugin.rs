//! The plugin of `crates/reward-abi/examples/c`, which knows the boundary from its header alone.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::Path;
use std::process::Command;
use std::thread;

use forage_reward::wire::{
    Applicability, Evidence, Grade, Group, Hit, Passage, Question, Score, Trajectory,
};
use forage_reward::{Plugin, PluginErrorKind};
use serde_json::json;

/// Compiles the example, and loads it. `None` where there is no C compiler.
fn plugin(folder: &Path) -> Option<Plugin> {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let library = folder.join(format!("{DLL_PREFIX}exact{DLL_SUFFIX}"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../reward-abi/examples/c/exact.c");
    let status = Command::new(&compiler)
        .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2", "-shared", "-fPIC"])
        .arg("-o")
        .args([library.as_os_str(), source.as_ref()])
        .status();
    match status {
        Ok(status) => assert!(status.success(), "`{}` ended with {status}", compiler.display()),
        Err(err) => {
            eprintln!(
                "SKIPPED: the example in C was not tried: `{}`: {err}; `CC` names a C compiler",
                compiler.display()
            );
            return None;
        }
    }
    Some(Plugin::load(&library, &json!({})).unwrap())
}

/// A group with all that a request can hold, also numbers and texts of more than a few bytes.
fn group(golden_answers: &[&str], answers: &[Option<&str>]) -> Group<'static> {
    let hit = Hit {
        id: "p1".into(),
        text: "Paris. ".repeat(20_000).into(),
        score: 1.5,
        ..Hit::default()
    };
    let passage = Passage { id: "p1".into(), text: "é".repeat(300).into(), ..Passage::default() };
    let evidence = Evidence { passages: vec![passage], ..Evidence::default() };
    let question = Question { evidence, ..Question::new("?", golden_answers.iter().copied()) };
    let played = |(member, answer): (usize, Option<&str>)| {
        let it = Trajectory::default().think(&"hm ".repeat(30_000)).search("x", [hit.clone()]);
        let it = Trajectory { member, ..it };
        answer.map_or(it.clone(), |answer| it.answer(answer))
    };
    let trajectories = answers.iter().copied().enumerate().map(played).collect();
    Group { question, trajectories, step: Some(70_000) }
}

#[test]
fn a_plugin_in_c_scores() {
    let folder = tempfile::tempdir().unwrap();
    let Some(plugin) = plugin(folder.path()) else { return };
    assert_eq!((plugin.name(), plugin.version()), ("exact".to_owned(), "0.1.0".to_owned()));

    let paid = |reward| Grade::from(Score::new(reward).part("exact", reward));
    let long = "Paris ".repeat(50);
    let long = long.trim();
    let golds = ["Lutetia", "Paris", long];
    for (golds, answers, expected) in [
        (golds.as_slice(), [Some("Paris"), Some("paris"), None].as_slice(), vec![1.0, 0.0, 0.0]),
        (&golds, &[Some(long), Some(""), Some("Lutetia")], vec![1.0, 0.0, 1.0]),
        (&[""], &[None, Some("")], vec![0.0, 1.0]),
        (&golds, &[Some("Paris"); 20], vec![1.0; 20]),
        (&golds, &[], vec![]),
    ] {
        let group = group(golds, answers);
        let expected: Vec<Grade> = expected.into_iter().map(paid).collect();
        assert_eq!(plugin.score(&group).unwrap(), expected, "{golds:?} {answers:?}");
        assert_eq!(
            plugin.score_with_unknown_fields(&group).unwrap(),
            expected,
            "with unknown fields"
        );
    }
    let unjudged = plugin.score(&group(&[], &[Some("Paris"), None])).unwrap();
    assert_eq!(unjudged, [Grade::NotApplicable, Grade::NotApplicable]);

    // It exports nothing that would say so, as plugins of older SDKs.
    let applicability = plugin.applicability(&[Question::default(), Question::new("?", ["x"])]);
    assert_eq!(applicability.unwrap(), [Applicability::default(), Applicability::default()]);

    let asked = group(&golds, &[Some("Paris"), Some("Lyon")]);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(plugin.score(&asked).unwrap(), [paid(1.0), paid(0.0)]);
                }
            });
        }
    });
    let refused = Plugin::load(plugin.path(), &json!({ "x": 1 })).unwrap_err();
    assert!(matches!(refused.kind(), PluginErrorKind::Refused(_)), "{refused:?}");
    assert!(refused.kind().to_string().contains("has no options"), "{}", refused.kind());
}
