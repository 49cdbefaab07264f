//! Kills at any moment: nothing that was finished is lost or made again.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use forage_synthesis::feedback_loop::scripted::{ScriptedAgent, ScriptedGenerator};
use forage_synthesis::feedback_loop::{
    FeedbackLoopConfig, Item, ItemEnd, ItemRecord, JournalEvent, Revision, StepError, assemble,
};
use forage_trajectory::{Purpose, Stream};
use rand::RngExt;

use crate::script::{SENTINELS, play_in, proposal, run};

/// Where a child process finds its journal.
const JOURNAL: &str = "FORAGE_TEST_JOURNAL";

const NAME: &str = "kills::two_thousand_items_killed_five_times_are_the_same";

fn config() -> FeedbackLoopConfig {
    FeedbackLoopConfig { items: 2000, in_flight: 64, tries: 2, ..FeedbackLoopConfig::default() }
}

fn synthesize(journal: &Path) -> Vec<ItemRecord> {
    let generator = ScriptedGenerator {
        propose: |item: &Item, stream: Stream| {
            if stream.rng().random_bool(0.05) {
                return Err(StepError::item("no chain"));
            }
            Ok(proposal(&format!("{} of {}", item.index, stream.step), "p"))
        },
        revise: |it: &Revision<'_>| {
            Ok(proposal(&format!("{} in {}", it.item.index, it.round), "p"))
        },
    };
    let agent = ScriptedAgent(|_: &str, stream: Stream| {
        let mut rng = stream.rng();
        let answer = if rng.random_bool(0.4) { SENTINELS[1] } else { "no" };
        Ok(run(Some(answer), rng.random_range(0..9)))
    });
    play_in(journal, &config(), &generator, &agent).unwrap()
}

fn child(journal: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env(JOURNAL, journal)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a journal says twice, and how many items it says have ended.
fn repeated(journal: &Path) -> (usize, usize) {
    let mut seen = BTreeSet::new();
    let (mut n_repeated, mut n_done) = (0, 0);
    for line in fs::read_to_string(journal).unwrap().lines() {
        let key = match serde_json::from_str(line).unwrap() {
            JournalEvent::Run(_) => "run".to_owned(),
            JournalEvent::Proposed { index, round, .. } => format!("{index} {round}"),
            JournalEvent::Tried { index, round, member, .. } => format!("{index} {round} {member}"),
            JournalEvent::Guessed { index, .. } => format!("{index} guessed"),
            JournalEvent::Done { record, .. } => {
                n_done += 1;
                format!("{} done", record.index)
            }
        };
        n_repeated += usize::from(!seen.insert(key));
    }
    (n_repeated, n_done)
}

#[test]
fn two_thousand_items_killed_five_times_are_the_same() {
    if let Some(journal) = env::var_os(JOURNAL) {
        // This is the process that gets killed.
        synthesize(&PathBuf::from(journal));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.jsonl");
    let expected = synthesize(&whole);
    let length = fs::metadata(&whole).unwrap().len();

    let killed = folder.path().join("killed.jsonl");
    let mut rng = Stream::new(4, Purpose::Shuffle).rng();
    let mut kills: Vec<u64> =
        (0..5).map(|_| rng.random_range(length / 20..length * 9 / 10)).collect();
    kills.sort_unstable();
    for at in kills {
        let mut child = child(&killed);
        while fs::metadata(&killed).map_or(0, |it| it.len()) < at {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
            thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
    }
    let found = synthesize(&killed);
    assert!(found == expected, "the items differ");
    assert_eq!(assemble(&found, &config()), assemble(&expected, &config()));
    assert_eq!(repeated(&killed), (0, 2000));
    let passed = found.iter().filter(|it| it.end == ItemEnd::Passed).count();
    assert!((200..1800).contains(&passed), "{passed}");
}
