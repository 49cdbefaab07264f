//! Run folder: one run at a time, nothing half-written, resumable.
//!
//! ```text
//! config.toml  manifest.json  metrics.jsonl  timings.jsonl  report.html
//! world/  plugins/  checkpoints/step-000010/  evaluations/  trajectories/
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::configuration_change::{KeyDifference, differences, effective_differences};
use crate::error::TrainingError;
use crate::record::{Evaluation, GroupRecord};

/// Result of a run's folder.
type Result<T> = std::result::Result<T, TrainingError>;

/// Run folder, locked as long as this value lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    raised_steps: Option<(u64, u64)>,
    _lock: File,
}

/// Mode of opening a run folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// The folder must not hold a run.
    Fresh,
    /// The folder may hold a run of the same configuration, or of one with fewer
    /// `training.steps`.
    Resume,
}

/// Effective configurations, as TOML, of that of a run and of the one that it is resumed with: with
/// their defaults filled in. `None` where they are compared as they are written.
pub type EffectiveConfigurations<'a> = &'a dyn Fn(&str, &str) -> Option<[String; 2]>;

impl RunFolder {
    /// Creates or reopens a folder and writes the configuration into it.
    ///
    /// Configurations are compared by their values, as they are written. A run that is resumed for
    /// more [`raised_steps`](Self::raised_steps) keeps the configuration that it was started with,
    /// until [`write_configuration`](Self::write_configuration).
    ///
    /// # Errors
    ///
    /// [`TrainingError::Busy`], [`TrainingError::AlreadyARun`] and
    /// [`TrainingError::OtherConfiguration`] where the folder is not free for this run.
    pub fn open(path: &Path, config_text: &str, opening: Opening) -> Result<Self> {
        Self::open_with(path, config_text, opening, &|_, _| None)
    }

    /// [`open`](Self::open), which compares effective configurations.
    pub fn open_with(
        path: &Path,
        config_text: &str,
        opening: Opening,
        effective: EffectiveConfigurations<'_>,
    ) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(TrainingError::write(path))?;
        let lock = lock(path)?;
        for name in ["", "checkpoints", "evaluations", "trajectories", "skipped"] {
            forage_fs::remove_parts(&path.join(name));
        }
        let checkpoints = path.join("checkpoints");
        forage_fs::restore_all(&checkpoints).map_err(TrainingError::write(&checkpoints))?;
        let mut folder = Self { path: path.to_owned(), raised_steps: None, _lock: lock };
        let config = folder.path("config.toml");
        match std::fs::read_to_string(&config) {
            Ok(_) if opening == Opening::Fresh => {
                return Err(TrainingError::AlreadyARun { run: path.to_owned() });
            }
            Ok(text) if text != config_text => {
                folder.raised_steps = compare(path, &config, [&text, config_text], effective)?;
            }
            Ok(_) => {}
            // Nothing could be compared with what the run was started with.
            Err(error) if error.kind() == ErrorKind::NotFound && folder.has_checkpoint() => {
                return Err(TrainingError::Read { path: config, source: error });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                folder.write_configuration(config_text)?;
            }
            Err(source) => return Err(TrainingError::Read { path: config, source }),
        }
        Ok(folder)
    }

    /// Whether the run has a checkpoint to go on from.
    pub fn has_checkpoint(&self) -> bool {
        let entries = std::fs::read_dir(self.path("checkpoints"));
        entries.is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Old and new `training.steps` of a run that is resumed for more of them.
    pub fn raised_steps(&self) -> Option<(u64, u64)> {
        self.raised_steps
    }

    /// Writes the configuration that the run is compared with when it is resumed.
    pub fn write_configuration(&self, config_text: &str) -> Result<()> {
        self.write_whole("config.toml", config_text.as_bytes())
    }

    /// Path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Path of the folder.
    pub fn root(&self) -> &Path {
        &self.path
    }

    /// Writes a file whole or not at all.
    pub fn write_whole(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        forage_fs::write_file(&path, bytes).map_err(TrainingError::write(&path))
    }

    /// Writes a JSON file whole or not at all.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let mut json =
            serde_json::to_vec_pretty(value).map_err(TrainingError::write(&self.path(name)))?;
        json.push(b'\n');
        self.write_whole(name, &json)
    }

    /// Appends one line to a JSONL file, and syncs it.
    pub fn append(&self, name: &str, row: &impl Serialize) -> Result<()> {
        let path = self.path(name);
        let mut line = serde_json::to_vec(row).map_err(TrainingError::write(&path))?;
        line.push(b'\n');
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(&line)?;
            // The checkpoint of the same step is written later and requires this line.
            file.sync_data()
        };
        write().map_err(TrainingError::write(&path))
    }

    /// Rows of a JSONL file; none where there is no file.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Read`], and [`TrainingError::Damaged`] where a row cannot be parsed.
    pub fn read_rows<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>> {
        let lines = self.lines(name)?;
        lines.iter().enumerate().map(|(idx, line)| self.parse(name, idx, line)).collect()
    }

    /// Lines of a file; none where there is no file.
    fn lines(&self, name: &str) -> Result<Vec<String>> {
        let path = self.path(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(TrainingError::Read { path, source }),
        }
    }

    /// Parses a line of a JSONL file; `idx` counts from 0.
    fn parse<T: DeserializeOwned>(&self, name: &str, idx: usize, line: &str) -> Result<T> {
        serde_json::from_str(line).map_err(|error| {
            // The position that the parser tells counts within the line.
            let source = format!("line {} is not a row of it: {error}", idx + 1);
            TrainingError::damaged(&self.path(name))(source)
        })
    }

    /// Removes files of a run that is about to begin.
    pub fn forget_all(&self, names: &[&str]) -> Result<()> {
        for name in names {
            let path = self.path(name);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(TrainingError::write(&path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Drops the lines of a JSONL file after `step`: a resumed run writes them again.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Damaged`] where a line is no row, other than the last one, which a killed
    /// run may have cut short.
    pub fn forget_after(&self, name: &str, step: u64) -> Result<()> {
        let lines = self.lines(name)?;
        if lines.is_empty() {
            return Ok(());
        }
        let mut kept = String::new();
        for (idx, line) in lines.iter().enumerate() {
            let row: Value = match self.parse(name, idx, line) {
                Err(_) if idx + 1 == lines.len() => break,
                row => row?,
            };
            if row.get("step").and_then(Value::as_u64).is_some_and(|found| found <= step) {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        self.write_whole(name, kept.as_bytes())
    }

    /// Removes evaluations and trajectories of steps after `step`: a resumed run makes them again.
    pub fn forget_files_after(&self, step: u64) -> Result<()> {
        for folder in ["evaluations", "trajectories"] {
            let path = self.path(folder);
            let entries = match std::fs::read_dir(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                entries => entries.map_err(TrainingError::write(&path))?,
            };
            for entry in entries.flatten() {
                if step_of_name(&entry.file_name().to_string_lossy()).is_some_and(|it| it > step) {
                    let path = entry.path();
                    std::fs::remove_file(&path).map_err(TrainingError::write(&path))?;
                }
            }
        }
        Ok(())
    }

    /// Checks that the metrics have a row for each step up to `step`, and none twice.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Damaged`], which names the first step without its row.
    pub fn check_rows(&self, name: &str, step: u64) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Row {
            step: u64,
        }
        let rows = self.read_rows::<Row>(name)?;
        let wrong = (0..=step).find(|at| rows.get(*at as usize).is_none_or(|row| row.step != *at));
        match wrong {
            None => Ok(()),
            Some(at) => {
                let source = format!(
                    "the checkpoint is of step {step}, and the row of step {at} is not in its place"
                );
                Err(TrainingError::damaged(&self.path(name))(source))
            }
        }
    }

    /// Writes an evaluation with its trajectories.
    pub fn write_evaluation(
        &self,
        kind: &str,
        evaluation: &Evaluation,
        groups: &[GroupRecord],
    ) -> Result<()> {
        let name = format!("step-{:06}-{kind}", evaluation.step);
        self.write_trajectories(&name, groups)?;
        self.write_json(&format!("evaluations/{name}.json"), evaluation)
    }

    /// Writes trajectories into `trajectories/`, compressed.
    pub fn write_trajectories(&self, name: &str, groups: &[GroupRecord]) -> Result<()> {
        self.write_groups(&format!("trajectories/{name}"), groups)
    }

    /// Writes groups into a compressed file; `name` is its path without the extensions.
    pub fn write_groups(&self, name: &str, groups: &[GroupRecord]) -> Result<()> {
        let name = format!("{name}.jsonl.zst");
        let failed = |error: std::io::Error| TrainingError::write(&self.path(&name))(error);
        let lines = jsonl(groups).map_err(|error| failed(error.into()))?;
        let compressed = zstd::encode_all(lines.as_slice(), 3).map_err(failed)?;
        self.write_whole(&name, &compressed)
    }
}

/// Step in the name of a file: `step-000020-greedy.json`.
fn step_of_name(name: &str) -> Option<u64> {
    name.strip_prefix("step-")?.split_once('-')?.0.parse().ok()
}

/// Old and new `training.steps`, where nothing else differs and they were raised.
///
/// # Errors
///
/// [`TrainingError::OtherConfiguration`], and [`TrainingError::Damaged`] where the configuration
/// of the run is no TOML.
fn compare(
    run: &Path,
    path: &Path,
    [before, now]: [&str; 2],
    effective: EffectiveConfigurations<'_>,
) -> Result<Option<(u64, u64)>> {
    let found = match effective(before, now) {
        Some([one, other]) => effective_differences([before, now], [&one, &other]),
        None => differences(before, now),
    };
    let found = found.map_err(TrainingError::damaged(path))?;
    if found.is_empty() {
        return Ok(None);
    }
    if let [only] = found.as_slice()
        && only.key == "training.steps"
        && let Some(raised) = only.raised()
    {
        return Ok(Some(raised));
    }
    Err(TrainingError::OtherConfiguration {
        run: run.to_owned(),
        config: path.to_owned(),
        differences: found.iter().map(KeyDifference::to_string).collect(),
    })
}

/// JSON lines, one a row.
pub fn jsonl<T: Serialize>(rows: &[T]) -> serde_json::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut lines, row)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Locks the folder of a run for this process.
fn lock(path: &Path) -> Result<File> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join(".lock"))
        .map_err(TrainingError::write(path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(TrainingError::Busy { run: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(TrainingError::write(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_run_is_compared_by_value_and_may_have_more_steps() {
        let folder = tempfile::tempdir().unwrap();
        let open = |text| RunFolder::open(folder.path(), text, Opening::Resume);
        let started = "seed = 1\n[training]\nsteps = 2\n";
        drop(open(started).unwrap());
        // The text; the steps, or the differences.
        for (text, expected) in [
            (started, Ok(None)),
            ("training.steps = 2 # two\nseed = 1", Ok(None)),
            ("seed = 1\ntraining.steps = 5", Ok(Some((2, 5)))),
            ("seed = 1\ntraining.steps = 1", Err("`training.steps` is 1 and was 2")),
            (
                "seed = 2\ntraining.steps = 5",
                Err("`seed` is 2 and was 1; `training.steps` is 5 and was 2"),
            ),
        ] {
            match (open(text), expected) {
                (Ok(run), Ok(steps)) => assert_eq!(run.raised_steps(), steps, "{text}"),
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().ends_with(expected), "{error}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
            let kept = std::fs::read_to_string(folder.path().join("config.toml")).unwrap();
            assert_eq!(kept, started);
        }
        std::fs::write(folder.path().join("config.toml"), "seed = ").unwrap();
        assert!(matches!(open(started), Err(TrainingError::Damaged { .. })));
    }

    #[test]
    fn only_the_last_line_may_be_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::open(folder.path(), "", Opening::Fresh).unwrap();
        let path = run.path("metrics.jsonl");
        for (text, kept) in [
            ("{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n", Some("{\"step\":1}\n{\"step\":2}\n")),
            ("{\"step\":1}\n{\"st", Some("{\"step\":1}\n")),
            ("{\"step\":1}\ngarbage\n{\"step\":3}\n", None),
        ] {
            std::fs::write(&path, text).unwrap();
            match (run.forget_after("metrics.jsonl", 2), kept) {
                (Ok(()), Some(kept)) => assert_eq!(std::fs::read_to_string(&path).unwrap(), kept),
                (Err(error), None) => {
                    let source = std::error::Error::source(&error).unwrap().to_string();
                    assert!(source.starts_with("line 2 is not a row of it"), "{source}");
                    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
                }
                (found, _) => panic!("{text:?}: {found:?}"),
            }
        }
        run.forget_after("timings.jsonl", 2).unwrap();
        assert!(!run.path("timings.jsonl").exists());
    }
}
