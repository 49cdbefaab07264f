//! Records of files, one after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::find_files;
use crate::json::JsonReader;
use crate::parquet_rows::ParquetRows;
use crate::source::{Source, is_parquet, is_stdin, shown_name};
use crate::text::TextInput;
use crate::{Record, RecordError};

/// Most bytes of a record, where no other limit is set.
const LIMIT: usize = 256 << 20;

/// Records of files, in the order of the files and of the records in them, in bounded memory.
///
/// After an error that is not about a single record ([`RecordError::is_bad_record`]) it ends.
pub struct Records {
    files: std::vec::IntoIter<PathBuf>,
    current: Option<Current>,
    limit: usize,
    /// Bytes of texts.
    bytes_read: Arc<AtomicU64>,
    /// Bytes of parquet files that were read to their end.
    table_bytes: u64,
    total_bytes: Option<u64>,
    n_rows: Option<u64>,
}

enum Current {
    Json(Box<JsonReader>),
    Parquet(Box<ParquetRows>),
}

impl Records {
    /// Opens files, and folders by the files of records below them; `-` is standard input.
    ///
    /// Fails before anything is read where one of them does not exist; see [`find_files`].
    pub fn open(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, RecordError> {
        let files = find_files(paths)?;
        let (mut total_bytes, mut n_rows) = (Some(0), Some(0));
        for file in &files {
            total_bytes = total_bytes.zip(file_bytes(file)).map(|(total, bytes)| total + bytes);
            n_rows = if is_parquet(file)?
                && let Some(n_before) = n_rows
            {
                Some(n_before + open_parquet(file)?.n_rows())
            } else {
                None
            };
        }
        Ok(Self {
            files: files.into_iter(),
            current: None,
            limit: LIMIT,
            bytes_read: Arc::default(),
            table_bytes: 0,
            total_bytes,
            n_rows,
        })
    }

    /// Sets the most bytes of a record; a larger one is an error. Default: 256 MiB.
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Size of all files on disk, in bytes, where it is known: a pipe has none.
    pub fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }

    /// Bytes read so far, before decompression.
    pub fn bytes_read(&self) -> u64 {
        let current = match &self.current {
            Some(Current::Parquet(rows)) => rows.bytes_read(),
            _ => 0,
        };
        self.bytes_read.load(Ordering::Relaxed) + self.table_bytes + current
    }

    /// Number of records, where all files are parquet and so say it.
    pub fn n_rows(&self) -> Option<u64> {
        self.n_rows
    }

    fn open_file(&self, file: &Path) -> Result<Current, RecordError> {
        match Source::open(file, &self.bytes_read)? {
            Source::Text(reader) => {
                let input = TextInput::new(reader, shown_name(file), self.limit);
                Ok(Current::Json(Box::new(JsonReader::new(input)?)))
            }
            Source::Parquet(opened) => {
                let rows = ParquetRows::open(opened, shown_name(file))?;
                Ok(Current::Parquet(Box::new(rows)))
            }
        }
    }

    fn try_next(&mut self) -> Result<Option<Record>, RecordError> {
        loop {
            let next = match &mut self.current {
                Some(Current::Json(json)) => json.next_record()?,
                Some(Current::Parquet(rows)) => rows.next_record()?,
                None => None,
            };
            if next.is_some() {
                return Ok(next);
            }
            if let Some(Current::Parquet(rows)) = self.current.take() {
                self.table_bytes += rows.bytes_read();
            }
            match self.files.next() {
                Some(file) => self.current = Some(self.open_file(&file)?),
                None => return Ok(None),
            }
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.try_next();
        if next.as_ref().is_err_and(|error| !error.is_bad_record()) {
            self.files = Vec::new().into_iter();
            self.current = None;
        }
        next.transpose()
    }
}

fn open_parquet(path: &Path) -> Result<ParquetRows, RecordError> {
    let open = |source| RecordError::Open { path: path.to_owned(), source };
    ParquetRows::open(std::fs::File::open(path).map_err(open)?, path.into())
}

/// Size of a file; a pipe has none.
fn file_bytes(path: &Path) -> Option<u64> {
    if is_stdin(path) {
        return None;
    }
    let metadata = std::fs::metadata(path).ok()?;
    metadata.is_file().then_some(metadata.len())
}
