//! File of the passages of rows, each once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forage_fs::AtomicFile;
use forage_trajectory::Passage;

use super::other_passage;
use crate::exit_code::unwritable;

/// Corpus that is written, with hashes of what it holds.
pub(super) struct CorpusFile {
    path: PathBuf,
    file: AtomicFile,
    /// Hash of title and text by the hash of the id.
    passages: HashMap<u64, u64>,
}

impl CorpusFile {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = AtomicFile::create(path).with_context(|| unwritable(path))?;
        Ok(Self { path: path.to_owned(), file, passages: HashMap::new() })
    }

    /// Adds a passage that is not there yet. Another passage of the same id is an error.
    pub(super) fn add(&mut self, passage: &Passage) -> Result<()> {
        if passage.text.is_empty() {
            return Ok(());
        }
        let content = hash(&(&passage.title, &passage.text));
        match self.passages.insert(hash(&passage.id), content) {
            Some(known) if known == content => Ok(()),
            Some(_) => Err(other_passage(&self.path, &passage.id).into()),
            None => {
                let mut line = serde_json::to_vec(passage)?;
                line.push(b'\n');
                self.file.write_all(&line).with_context(|| unwritable(&self.path))
            }
        }
    }

    /// Number of passages of the complete file.
    pub(super) fn commit(self) -> Result<u64> {
        self.file.commit().with_context(|| unwritable(&self.path))?;
        Ok(self.passages.len() as u64)
    }
}

fn hash<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
