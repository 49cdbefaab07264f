//! A run's folder: one run at a time, nothing half-written, resumable.
//!
//! ```text
//! config.toml  manifest.json  metrics.jsonl  timings.jsonl  report.html
//! world/  plugins/  checkpoints/step-000010/  evaluations/  trajectories/
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::failure::{Code, Failure};
use crate::record::{Evaluation, GroupRecord};

/// An opened run folder, locked while this lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

/// Whether a run may go on where one stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// The folder must not hold a run.
    Fresh,
    /// The folder may hold a run of the same configuration.
    Resume,
}

impl RunFolder {
    /// Makes or reopens a folder and writes the configuration into it.
    pub fn open(path: &Path, config_text: &str, opening: Opening) -> Result<Self> {
        let shown = path.display();
        std::fs::create_dir_all(path).with_context(|| unwritable(path))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(".lock"))
            .with_context(|| unwritable(path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let busy =
                    Failure::new(Code::Usage, format!("another run is at work in `{shown}`"));
                return Err(busy.hint("wait for it, or choose another folder with `--out`").into());
            }
            Err(TryLockError::Error(err)) => return Err(err).with_context(|| unwritable(path)),
        }
        for name in ["", "checkpoints", "evaluations", "trajectories", "skipped"] {
            remove_parts(&path.join(name));
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        let config_path = folder.path("config.toml");
        match std::fs::read_to_string(&config_path) {
            Ok(_) if opening == Opening::Fresh => {
                return Err(Failure::new(Code::Usage, format!("`{shown}` already holds a run"))
                    .hint("go on with `--resume`, or choose another folder with `--out`")
                    .into());
            }
            Ok(text) if text != config_text => {
                return Err(Failure::new(
                    Code::Usage,
                    format!("the run in `{shown}` was started with another configuration"),
                )
                .hint(format!("`{}` is what it was started with", config_path.display()))
                .into());
            }
            Ok(_) => {}
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
                folder.write_whole("config.toml", config_text.as_bytes())?;
            }
            Err(err) => {
                let shown = config_path.display();
                return Err(err)
                    .context(Failure::new(Code::Input, format!("`{shown}` cannot be read")));
            }
        }
        Ok(folder)
    }

    /// A path inside the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.path
    }

    /// Writes a file so that it is either whole or not there.
    pub fn write_whole(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(&self.path);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(parent)?;
            let mut file = tempfile::Builder::new().prefix(".part-").tempfile_in(parent)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|err| err.error)?;
            Ok(())
        };
        write().with_context(|| unwritable(&path))
    }

    /// Writes a JSON file as a whole.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(value)?;
        json.push(b'\n');
        self.write_whole(name, &json)
    }

    /// Appends one line to a JSONL file.
    pub fn append(&self, name: &str, row: &Map<String, Value>) -> Result<()> {
        let path = self.path(name);
        let mut line = serde_json::to_vec(row)?;
        line.push(b'\n');
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(&line)?;
            // Before the checkpoint that counts on it.
            file.sync_data()
        };
        write().with_context(|| unwritable(&path))
    }

    /// Removes files of a run that is about to begin.
    pub fn forget_all(&self, names: &[&str]) -> Result<()> {
        for name in names {
            let path = self.path(name);
            match std::fs::remove_file(&path) {
                Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                    return Err(err).with_context(|| unwritable(&path));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Drops the lines of a JSONL file after `step`: a resumed run writes them again.
    pub fn forget_after(&self, name: &str, step: u64) -> Result<()> {
        let Ok(text) = std::fs::read_to_string(self.path(name)) else { return Ok(()) };
        let before = |line: &&str| {
            // The last line of a killed run may be cut short.
            let row: Option<Value> = serde_json::from_str(line).ok();
            row.and_then(|it| it.get("step")?.as_u64()).is_some_and(|it| it <= step)
        };
        let kept: String = text.lines().filter(before).flat_map(|it| [it, "\n"]).collect();
        self.write_whole(name, kept.as_bytes())
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

    /// Writes groups into the file of this name without its extensions, compressed.
    pub fn write_groups(&self, name: &str, groups: &[GroupRecord]) -> Result<()> {
        let mut lines = Vec::new();
        for group in groups {
            serde_json::to_writer(&mut lines, group)?;
            lines.push(b'\n');
        }
        let compressed = zstd::encode_all(lines.as_slice(), 3)?;
        self.write_whole(&format!("{name}.jsonl.zst"), &compressed)
    }
}

/// Removes what a killed run left half-written.
fn remove_parts(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(".part-") {
            // A leftover that cannot be removed harms nobody.
            let _ = std::fs::remove_file(entry.path());
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Why a file of a run could not be written, with the usual mends.
pub fn unwritable(path: &Path) -> Failure {
    Failure::new(Code::Input, format!("cannot write `{}`", path.display())).hint(
        "check free space and permissions; a run goes on from its last checkpoint with `--resume`",
    )
}
