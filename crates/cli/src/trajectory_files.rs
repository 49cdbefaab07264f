//! Files of stored trajectories, of our runs and of other projects, for `forage reward`.
//!
//! [`StoredGroup`] is a group as a plugin gets it. Two formats are read, also mixed: the
//! [`GroupRecord`]s of a run's `trajectories/`, and the flat rows that Search-R1 and verl dump,
//! which `dump` parses. Files may be compressed with zstd, and rows may be in one JSON array.

mod dump;

use std::path::Path;

use anyhow::{Context, Result};
use forage_reward::to_wire;
use forage_reward_sdk::Group;
use forage_training::record::GroupRecord;
use serde_json::Value;

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
    let shown = path.display();
    let bytes = std::fs::read(path)
        .with_context(|| Failure::new(Code::Input, format!("`{shown}` cannot be read")))?;
    let is_compressed = bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    let bytes = if is_compressed {
        zstd::decode_all(bytes.as_slice())
            .with_context(|| Failure::new(Code::Input, format!("`{shown}` is damaged")))?
    } else {
        bytes
    };
    let wrong = |place: &str| {
        Failure::new(Code::Input, format!("{place} of `{shown}` is no trajectory"))
            .hint("docs/rewards.md lists what can be read")
    };
    let mut rows = Vec::new();
    for (idx, value) in serde_json::Deserializer::from_slice(&bytes).into_iter().enumerate() {
        let place = format!("value {}", idx + 1);
        match value.with_context(|| wrong(&place))? {
            Value::Array(items) => rows.extend(items),
            item => rows.push(item),
        }
    }
    // A flat row is one trajectory; those of one question are a group.
    let mut flat: Vec<Row> = Vec::new();
    for (idx, row) in rows.into_iter().enumerate() {
        let place = format!("row {}", idx + 1);
        if row.get("group").is_some() {
            let record: GroupRecord = serde_json::from_value(row).with_context(|| wrong(&place))?;
            into.push(ours(&record));
        } else {
            flat.push(Row::read(&row).with_context(|| wrong(&place))?);
        }
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
            ("{\"output\": ", "value 1 of"),
            ("{\"input\": \"x\"}", "row 1 of"),
            ("[{\"output\": \"x\", \"gts\": [\"y\"]}, 3]", "row 2 of"),
            ("{\"group\": 3}", "row 1 of"),
        ] {
            std::fs::write(&path, text).unwrap();
            let err = read_all(&[&path]).unwrap_err().to_string();
            assert!(err.contains(message), "{text}: {err}");
        }
        assert!(read_all(&[folder.path().join("none")]).is_err());
    }
}
