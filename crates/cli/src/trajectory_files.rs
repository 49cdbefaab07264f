//! Files of stored trajectories, of our runs and of other projects, for `forage reward`.
//!
//! [`StoredGroup`] is a group as a plugin gets it. Two formats are read, also mixed: the
//! [`GroupRecord`]s of a run's `trajectories/`, and the flat rows that Search-R1 and verl dump,
//! which `dump` parses. Files may be whatever `forage-records` reads: compressed, JSON lines, one
//! JSON array, parquet.

mod dump;

use std::path::Path;

use anyhow::{Context, Result};
use forage_records::Records;
use forage_reward::to_wire;
use forage_reward_sdk::Group;
use forage_training::record::GroupRecord;

use crate::exit_code::{Code, Failure};
use dump::Row;

/// Group of trajectories from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredGroup {
    /// Group, as a plugin gets it.
    pub group: Group<'static>,
    /// Stored reward of each trajectory; `None` where the file has none.
    pub rewards: Vec<Option<f64>>,
}

/// Reads all groups of some files, in order.
pub fn read_all(paths: &[impl AsRef<Path>]) -> Result<Vec<StoredGroup>> {
    let mut all = Vec::new();
    for path in paths {
        read(path.as_ref(), &mut all)?;
    }
    if all.is_empty() {
        return Err(Failure::new(Code::Input, "there is no trajectory in these files").into());
    }
    Ok(all)
}

fn read(path: &Path, into: &mut Vec<StoredGroup>) -> Result<()> {
    let unreadable = || {
        Failure::new(Code::Input, format!("`{}` cannot be read as trajectories", path.display()))
            .hint("docs/rewards.md lists what can be read")
    };
    // A flat row is one trajectory; those of one question are a group.
    let mut flat: Vec<Row> = Vec::new();
    for record in Records::open([path.to_owned()]).with_context(unreadable)? {
        let record = record.with_context(unreadable)?;
        let place = record.place().to_string();
        let row = record.into_value().with_context(unreadable)?;
        let no_trajectory = || {
            Failure::new(Code::Input, format!("{place}: no trajectory"))
                .hint("docs/rewards.md lists what can be read")
        };
        if row.get("group").is_some() {
            let record: GroupRecord = serde_json::from_value(row).with_context(no_trajectory)?;
            into.push(ours(&record));
        } else {
            flat.push(Row::read(&row).with_context(no_trajectory)?);
        }
    }
    if !flat.is_empty() && !flat.iter().any(dump::has_tags) {
        let message = format!(
            "no text of `{}` has a tag such as <think>, <search> or <answer>: these are \
             trajectories in another format",
            path.display()
        );
        return Err(Failure::new(Code::Input, message)
            .hint("docs/rewards.md lists what can be read")
            .into());
    }
    into.extend(dump::groups(flat));
    Ok(())
}

/// Group of our own format, without the trajectories that failed: a plugin never gets those.
fn ours(record: &GroupRecord) -> StoredGroup {
    let group = Group { step: Some(record.step), ..to_wire(&record.group).into_owned() };
    let grades = record.grades.iter().map(|it| it.reward).chain(std::iter::repeat(None));
    let pairs = record.group.trajectories.iter().zip(grades);
    let rewards = pairs.filter(|(it, _)| !it.failed()).map(|(_, reward)| reward).collect();
    StoredGroup { group, rewards }
}

#[cfg(test)]
mod tests {
    use forage_trajectory::{Grade, Group, Outcome, Question, Score, Trajectory};

    use super::*;

    #[test]
    fn our_own_are_read_back_without_what_failed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step.jsonl.zst");
        let mut broken = Trajectory::new("q", 0);
        broken.outcome = Outcome::Failed("no server".to_owned());
        let group = Group {
            question: Question { id: "q".to_owned(), ..Question::default() },
            trajectories: vec![broken, Trajectory::new("q", 1)],
        };
        let score = Grade::Scored(Score { reward: 0.5, ..Score::default() });
        let grades = [Grade::Failed("no server".to_owned()), score];
        let line = serde_json::to_vec(&GroupRecord::of_training(3, &group, &grades, None)).unwrap();
        std::fs::write(&path, zstd::encode_all(line.as_slice(), 1).unwrap()).unwrap();
        let stored = read_all(&[path]).unwrap();
        assert_eq!(stored.len(), 1);
        assert_eq!((stored[0].group.step, &stored[0].rewards), (Some(3), &vec![Some(0.5)]));
        assert_eq!(stored[0].group.trajectories[0].member, 1);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.jsonl");
        for (text, message) in [
            ("", "there is no trajectory in these files"),
            ("{\"output\": ", "x.jsonl` cannot be read as trajectories"),
            ("{\"input\": \"x\"}", "x.jsonl:1: no trajectory"),
            ("[{\"output\": \"x\", \"gts\": [\"y\"]}, 3]", "x.jsonl` cannot be read"),
            ("\n{\"group\": 3}", "x.jsonl:2: no trajectory"),
        ] {
            std::fs::write(&path, text).unwrap();
            let err = read_all(&[&path]).unwrap_err().to_string();
            assert!(err.contains(message), "{text}: {err}");
        }
        assert!(read_all(&[folder.path().join("none")]).is_err());
    }

    #[test]
    fn packed_files_and_arrays_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let row = "{\"output\": \"<answer> x </answer>\", \"gts\": [\"x\"], \"id\": 1}";
        let lines = format!("{row}\n{row}\n");
        // What pzstd writes begins with a frame that is to be skipped.
        let mut skipped = vec![0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
        skipped.extend(zstd(&lines));
        for bytes in [
            lines.clone().into_bytes(),
            format!("[{row},\n{row}]").into_bytes(),
            zstd(&lines),
            skipped,
        ] {
            let path = folder.path().join("dump");
            std::fs::write(&path, bytes).unwrap();
            let stored = read_all(&[path]).unwrap();
            assert_eq!((stored.len(), stored[0].group.trajectories.len()), (1, 2));
        }
    }

    fn zstd(text: &str) -> Vec<u8> {
        zstd::encode_all(text.as_bytes(), 1).unwrap()
    }
}
