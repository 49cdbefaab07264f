//! Errors of corpora.

use std::path::PathBuf;

use forage_records::{Place, RecordError};

/// Unreadable corpus, or a bad record in it.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// File that cannot be read, or a record that is not a passage.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// Folder or file that this program wrote for something else.
    #[error("`{}` is {what}, not a corpus", path.display())]
    OwnOutput {
        /// File or folder.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Duplicate id.
    #[error("{place}: the id `{id}` is already that of {first}")]
    Duplicate {
        /// Place of the second passage.
        place: Place,
        /// Id.
        id: String,
        /// Place of the first passage.
        first: Place,
    },
}

impl CorpusError {
    /// Whether one record is bad, and the rest of the corpus can be read.
    pub fn is_bad_line(&self) -> bool {
        match self {
            Self::Records(error) => error.is_bad_record(),
            Self::OwnOutput { .. } => false,
            Self::Duplicate { .. } => true,
        }
    }
}
