//! Plugins through the dynamic loader: two good ones, and one that misbehaves.

#![expect(clippy::needless_raw_string_hashes, reason = "that is how expect-test writes them")]

#[path = "support/chain.rs"]
mod chain;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chain::chain;
use expect_test::{Expect, expect};
use forage_reward::wire::{Grade, Group, Hit, Question, Score, Trajectory};
use forage_reward::{Plugin, PluginError, PluginErrorKind, copy_plugin, find_plugin};
use serde_json::{Value, json};
use support::built;

fn load(name: &str, config: &Value) -> Plugin {
    Plugin::load(&built(name), config).unwrap()
}

/// One right answer after one search, and one wrong answer after none.
fn group() -> Group<'static> {
    let hit = Hit { text: "It is Paris.".into(), ..Hit::default() };
    let right = Trajectory::default().think("hm").search("x", [hit]).think("ah").answer("paris");
    let wrong = Trajectory { member: 1, ..Trajectory::default().answer("Lyon") };
    let question = Question::new("capital of France?", ["Paris"]);
    Group { question, trajectories: vec![right, wrong], step: None }
}

fn scored(reward: f64, parts: &[(&str, f64)]) -> Grade {
    parts.iter().fold(Score::new(reward), |score, (name, value)| score.part(name, *value)).into()
}

#[test]
fn scores() {
    let exact = |reward: f64| scored(reward, &[("em", reward), ("f1", reward)]);
    let format = |reward, em: f64, right: f64| {
        scored(reward, &[("em", em), ("retrieved", right), ("valid", right)])
    };
    for (name, config, expected) in [
        ("exact_match", json!({}), [exact(1.0), exact(0.0)]),
        ("format", json!({}), [format(1.0, 1.0, 1.0), format(0.1, 0.0, 0.0)]),
        ("format", json!({ "final": 0.05 }), [format(1.0, 1.0, 1.0), format(0.05, 0.0, 0.0)]),
        (
            "format",
            json!({ "mode": "validity", "value": 0.5 }),
            [scored(0.5, &[("valid", 1.0)]), scored(0.0, &[("valid", 0.0)])],
        ),
    ] {
        let plugin = load(name, &config);
        assert_eq!(plugin.name().replace('-', "_"), name);
        assert_eq!(plugin.version(), "0.1.0");
        assert_eq!(plugin.score(&group()).unwrap(), expected, "{name} with {config}");
        assert_eq!(plugin.score(&Group::default()).unwrap(), []);
    }
}

#[test]
fn many_threads() {
    let plugin = load("exact_match", &json!({}));
    let expected = plugin.score(&group()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(plugin.score(&group()).unwrap(), expected);
                }
            });
        }
    });
}

/// What a person reads when a misbehaving plugin is asked to score.
fn check_misbehaviour(mode: &str, expected: &Expect) {
    let plugin = load("misbehaving", &json!({ "mode": mode }));
    let err = plugin.score(&group()).unwrap_err();
    expected.assert_eq(&chain(&err));
    assert!(plugin.score(&group()).is_err(), "it lives on, and misbehaves again");
}

#[test]
fn misbehaviour_is_told_apart() {
    check_misbehaviour(
        "panic",
        &expect![[r#"
            reward plugin `$OUT/libmisbehaving.so`, question `q`
            caused by: panicked: no such key: Panic, for member 0
            hint: a bug of the plugin: `cargo test -p misbehaving` is where to find it"#]],
    );
    check_misbehaviour(
        "panic-group",
        &expect![[r#"
            reward plugin `$OUT/libmisbehaving.so`, question `q`
            caused by: panicked: no such group
            hint: a bug of the plugin: `cargo test -p misbehaving` is where to find it"#]],
    );
    check_misbehaviour(
        "nan",
        &expect![[r#"
            reward plugin `$OUT/libmisbehaving.so`, question `q`
            caused by: broke the plugin contract: a reward of NaN, for member 0
            hint: a bug of the plugin: `cargo test -p misbehaving` is where to find it"#]],
    );
    check_misbehaviour(
        "part",
        &expect![[r#"
            reward plugin `$OUT/libmisbehaving.so`, question `q`
            caused by: broke the plugin contract: part `p` is inf, for member 0
            hint: a bug of the plugin: `cargo test -p misbehaving` is where to find it"#]],
    );
    check_misbehaviour(
        "step",
        &expect![[r#"
            reward plugin `$OUT/libmisbehaving.so`, question `q`
            caused by: broke the plugin contract: the value of step 0 is NaN, for member 0
            hint: a bug of the plugin: `cargo test -p misbehaving` is where to find it"#]],
    );
    check_misbehaviour(
        "steps",
        &expect![[r#"
            reward plugin `$OUT/libmisbehaving.so`, question `q`
            caused by: broke the plugin contract: 2 step values for 1 searches, for member 0
            hint: a bug of the plugin: `cargo test -p misbehaving` is where to find it"#]],
    );
    check_misbehaviour(
        "garbage",
        &expect![[r#"
            reward plugin `$OUT/libmisbehaving.so`, question `q`
            caused by: answered with something else than grades
            caused by: wrong msgpack marker Reserved
            hint: a bug of the plugin: `cargo test -p misbehaving` is where to find it"#]],
    );
    check_misbehaviour(
        "short",
        &expect![[r#"
            reward plugin `$OUT/libmisbehaving.so`, question `q`
            caused by: broke the plugin contract: 0 grades for 2 trajectories
            hint: a bug of the plugin: `cargo test -p misbehaving` is where to find it"#]],
    );
    check_misbehaviour(
        "long",
        &expect![[r#"
            reward plugin `$OUT/libmisbehaving.so`, question `q`
            caused by: broke the plugin contract: 3 grades for 2 trajectories
            hint: a bug of the plugin: `cargo test -p misbehaving` is where to find it"#]],
    );
}

#[test]
fn too_slow_is_an_answer_of_its_own() {
    let plugin = load("misbehaving", &json!({ "mode": "loop", "only": "q7" }))
        .with_deadline(Duration::from_millis(200));
    let mut group = group();
    assert!(plugin.score(&group).is_ok());
    group.question.id = "q7".into();
    let err = plugin.score(&group).unwrap_err();
    expect![[r#"
        reward plugin `$OUT/libmisbehaving.so`, question `q7`
        caused by: gave no answer within 0.2 s
        hint: `deadline_s` gives it more time, and `tolerate` lets a run go on without some grades"#]]
    .assert_eq(&chain(&err));
    group.question.id = "q8".into();
    assert!(plugin.score(&group).is_ok(), "the call that hangs is left to itself");
}

#[test]
fn an_error_fails_what_it_was_asked_for() {
    let away = || Grade::Failed("the judge is away".to_owned());
    let one = load("misbehaving", &json!({ "mode": "error" })).score(&group()).unwrap();
    assert_eq!(one[0].reward(), Some(0.0));
    assert_eq!(one[1], away());
    let all = load("misbehaving", &json!({ "mode": "group-error" })).score(&group()).unwrap();
    assert_eq!(all, [away(), away()]);
}

#[test]
fn a_leak_is_the_plugins_own() {
    let plugin = load("misbehaving", &json!({ "mode": "leak" }));
    let fine = load("misbehaving", &json!({ "mode": "fine" })).score(&group()).unwrap();
    for _ in 0..1000 {
        assert_eq!(plugin.score(&group()).unwrap(), fine);
    }
}

#[test]
fn an_abort_ends_the_process_it_is_tried_in() {
    const CHILD: &str = "FORAGE_TEST_ABORTS";
    if std::env::var_os(CHILD).is_some() {
        drop(load("misbehaving", &json!({ "mode": "abort" })).score(&group()));
        unreachable!("the process was to end");
    }
    let test = "an_abort_ends_the_process_it_is_tried_in";
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", test]).env(CHILD, "1").output().unwrap();
    #[cfg(unix)]
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(6));
    assert!(!output.status.success(), "{output:?}");
}

#[test]
fn a_panic_in_a_destructor_is_caught() {
    drop(load("misbehaving", &json!({ "mode": "drop" })));
}

fn check_refusal(loaded: Result<Plugin, PluginError>, expected: &Expect) {
    expected.assert_eq(&chain(&loaded.unwrap_err()));
}

#[test]
fn configurations_are_checked() {
    let load = |name: &str, config: Value| Plugin::load(&built(name), &config);
    check_refusal(
        load("exact_match", json!({ "metrik": "em" })),
        &expect![[r#"
            reward plugin `$OUT/libexact_match.so`
            caused by: bad configuration: unknown field `metrik`, expected one of `metric`, `aliases`, `max_words`, `numbers`"#]],
    );
    check_refusal(
        load("exact_match", json!({ "metric": "f1" })),
        &expect![[r#"
            reward plugin `$OUT/libexact_match.so`
            caused by: bad configuration: `metric`: unknown variant `f1`, expected `em` or `sub-em`"#]],
    );
    check_refusal(
        load("format", json!({ "mode": "validity", "final": 0.1 })),
        &expect![[r#"
        reward plugin `$OUT/libformat.so`
        caused by: mode `validity` does not use `final`"#]],
    );
}

/// A copy of a plugin with some bytes changed, in a folder of its own.
struct Forged {
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
    declaration: usize,
}

impl Forged {
    fn new() -> Self {
        let bytes = fs::read(built("exact_match")).unwrap();
        // Magic, major 1, minor 0: the magic alone may stand elsewhere too.
        let header = b"FORAGRWD\x01\0\0\0\0\0\0\0";
        let declaration = bytes.windows(header.len()).position(|it| it == header).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), bytes, declaration }
    }

    fn load(&self, at: usize, byte: u8) -> Result<Plugin, PluginError> {
        let mut bytes = self.bytes.clone();
        bytes[at] = byte;
        let path = self.folder.path().join(format!("forged-{at}-{byte}"));
        fs::write(&path, bytes).unwrap();
        Plugin::load(&path, &json!({}))
    }
}

#[test]
fn strangers_are_turned_away() {
    let forged = Forged::new();
    let at = forged.declaration;
    let kind = |at, byte: u8| forged.load(at, byte).unwrap_err().kind().to_string();
    assert!(forged.load(at, b'F').is_ok(), "nothing changed");
    assert_eq!(kind(at, b'X'), "not a reward plugin: no `export_reward!` in it");
    assert_eq!(kind(at + 8, 2), "built for plugin ABI 2.0, this Forage speaks 1.0");
    assert_eq!(kind(at + 12, 1), "built for plugin ABI 1.1, this Forage speaks 1.0");
    // A declaration too short for its version.
    assert_eq!(kind(at + 16, 8), "built for plugin ABI 1.0, this Forage speaks 1.0");
    assert_eq!(
        kind(at + 24, 2),
        "reads trajectories of wire version 2 (SDK 0.4.0), this Forage writes version 1"
    );
    assert!(kind(at + 28, 0).starts_with("built with `panic = \"abort\"`"));
}

#[test]
fn files_that_are_no_plugins() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    fs::write(&text, "not a library").unwrap();
    let kind = |path: &Path| Plugin::load(path, &json!({})).unwrap_err();
    assert!(matches!(kind(&text).kind(), PluginErrorKind::Open(_)));
    assert!(matches!(kind(&folder.path().join("none.so")).kind(), PluginErrorKind::Read(_)));

    // A library that is no plugin: the one this process has its logarithms from.
    let libm = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let libm = libm.lines().filter_map(|line| line.split_whitespace().last());
    let libm: Vec<&str> = libm.filter(|path| path.ends_with("/libc.so.6")).collect();
    if let Some(libc) = libm.first() {
        let libm = Path::new(libc).with_file_name("libm.so.6");
        let message = kind(&libm).kind().to_string();
        assert_eq!(message, "not a reward plugin: no `export_reward!` in it");
    }

    // The same library with another symbol.
    let symbol = b"FORAGE_REWARD_PLUGIN\0";
    let mut bytes = fs::read(built("exact_match")).unwrap();
    let found: Vec<usize> =
        (0..bytes.len()).filter(|&at| bytes[at..].starts_with(symbol)).collect();
    for at in found {
        bytes[at] = b'X';
    }
    let renamed = folder.path().join("renamed");
    fs::write(&renamed, bytes).unwrap();
    assert!(matches!(kind(&renamed).kind(), PluginErrorKind::NotAPlugin));
}

#[test]
fn found_by_name_or_path() {
    let folder = built("exact_match").parent().unwrap().to_owned();
    let elsewhere = folder.join("no-such-folder");
    let found = find_plugin("exact-match", &[elsewhere.clone(), folder.clone()]).unwrap();
    assert_eq!(found, built("exact_match"));
    let path = found.to_str().unwrap();
    assert_eq!(find_plugin(path, &[]).unwrap(), found);

    let err = find_plugin("exact-match", &[elsewhere]).unwrap_err();
    assert!(chain(&err).contains("looked for"), "{}", chain(&err));
    assert_eq!(err.hint().unwrap(), "`cargo xtask plugin build exact-match` builds it");
    let stale = PathBuf::from("gone/libexact_match-01234567.so");
    assert_eq!(find_plugin(stale.to_str().unwrap(), &[folder]).unwrap_err().plugin(), stale);
}

#[test]
fn a_run_keeps_its_copy() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("run/plugins");
    let copied = copy_plugin(&built("exact_match"), &plugins).unwrap();
    assert_eq!(copied.hash, blake3::hash(&fs::read(&copied.path).unwrap()).to_hex().as_str());
    assert_eq!(copy_plugin(&built("exact_match"), &plugins).unwrap(), copied, "it is idempotent");
    assert_eq!(fs::read_dir(&plugins).unwrap().count(), 1, "nothing else is left there");
    let plugin = Plugin::load(&copied.path, &json!({})).unwrap();
    assert_eq!(plugin.score(&group()).unwrap()[0].reward(), Some(1.0));

    let missing = copy_plugin(Path::new("no-such.so"), &plugins).unwrap_err();
    assert!(matches!(missing.kind(), PluginErrorKind::Read(_)));
}
