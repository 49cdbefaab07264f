//! File of the passages of rows, each once.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forage_dataset::{Addition, Corpus};
use forage_fs::AtomicFile;
use forage_trajectory::Passage;

use crate::exit_code::{Code, Failure, unwritable};

/// Corpus that is written.
pub(super) struct CorpusFile {
    path: PathBuf,
    file: AtomicFile,
    corpus: Corpus,
}

impl CorpusFile {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = AtomicFile::create(path).with_context(|| unwritable(path))?;
        Ok(Self { path: path.to_owned(), file, corpus: Corpus::default() })
    }

    /// Adds a passage of a question with a text that is not there yet. Another passage of the same
    /// id is an error.
    pub(super) fn add(&mut self, passage: &Passage, question: &str) -> Result<()> {
        if passage.text.is_empty() {
            return Ok(());
        }
        match self.corpus.add(passage) {
            Addition::Repeated => Ok(()),
            Addition::Conflict => Err(conflict(&self.path, &passage.id, question).into()),
            Addition::New => {
                let mut line = serde_json::to_vec(passage)?;
                line.push(b'\n');
                self.file.write_all(&line).with_context(|| unwritable(&self.path))
            }
        }
    }

    /// Number of passages of the complete file.
    pub(super) fn commit(self) -> Result<usize> {
        self.file.commit().with_context(|| unwritable(&self.path))?;
        Ok(self.corpus.n_passages())
    }
}

fn conflict(path: &Path, id: &str, question: &str) -> Failure {
    let shown = path.display();
    Failure::new(
        Code::Input,
        format!(
            "the question `{question}` has a passage with the id `{id}`, which an earlier passage \
             for `{shown}` has, with another text"
        ),
    )
    .hint("read the data sets one by one, each with a `--corpus` of its own")
}
