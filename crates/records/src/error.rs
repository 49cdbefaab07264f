//! Error of a file, or of one record in it.

use std::io;
use std::path::PathBuf;

use crate::Place;

/// Unreadable file, or a bad record in it.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// File or folder that cannot be opened.
    #[error("cannot open `{}`", path.display())]
    Open {
        /// File or folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Folder without a file of records.
    #[error("the folder `{}` has no file that ends in {suffixes}", folder.display())]
    NoFiles {
        /// Folder.
        folder: PathBuf,
        /// Suffixes that are looked for, in words.
        suffixes: &'static str,
    },
    /// Link that leads in a circle.
    #[error("the link `{}` leads back to `{}`, a folder it is in: take the link out", link.display(), target.display())]
    LinkCircle {
        /// Link.
        link: PathBuf,
        /// Folder above the link.
        target: PathBuf,
    },
    /// File in a format or an encoding that is not read.
    #[error("`{}`: {what}", path.display())]
    Format {
        /// File.
        path: PathBuf,
        /// What it is, and how to make a readable file of it.
        what: String,
    },
    /// File that cannot be read to its end, such as one that was cut off.
    #[error("{place}: cannot read on")]
    Read {
        /// Place that could not be read.
        place: Place,
        /// Cause.
        source: io::Error,
    },
    /// Structure of a file that is broken from this place on.
    #[error("{place}: {what}")]
    Damaged {
        /// Place.
        place: Place,
        /// Fault, in words.
        what: String,
    },
    /// Record that is larger than the limit.
    #[error("{place}: the record is larger than the limit of {limit} bytes")]
    TooLarge {
        /// Place where it begins.
        place: Place,
        /// Limit, in bytes.
        limit: usize,
    },
    /// Record that is not what is wanted; those after it can be read.
    #[error("{place}: {what}")]
    BadRecord {
        /// Place.
        place: Place,
        /// Fault, in words.
        what: String,
    },
}

impl RecordError {
    /// Whether one record is bad, and the rest can be read.
    pub fn is_bad_record(&self) -> bool {
        matches!(self, Self::BadRecord { .. })
    }
}
