//! Questions of files: the records of `forage-records`, read as rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use forage_records::{Place, PlaceUnit, RecordError, Records};
use forage_trajectory::Question;

use crate::error::RowError;
use crate::reader::{ReadOptions, ReadReport, RowReader};
use crate::row::ReadRow;

/// File or row that cannot be read as questions.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// File or record that cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Row that is no question.
    #[error("{place}: {fault}")]
    Row {
        /// Place of the row.
        place: Place,
        /// What is wrong with it.
        fault: RowError,
    },
    /// Files without a row.
    #[error("it holds no question")]
    Empty,
}

impl DatasetError {
    /// Whether one row is bad, and the rest can be read.
    pub fn is_bad_row(&self) -> bool {
        match self {
            Self::Record(error) => error.is_bad_record(),
            Self::Row { .. } => true,
            Self::Empty => false,
        }
    }

    /// Remedy, where there is one.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Row { fault, .. } => Some(fault.hint()),
            Self::Record(_) | Self::Empty => None,
        }
    }
}

/// Questions of files, one after the other, in bounded memory.
///
/// A bad row is an error, after which the next row can be read.
pub struct Questions {
    records: Records,
    reader: RowReader,
    numbers: Numbers,
}

impl Questions {
    /// Opens files, folders and standard input, as [`Records::open`] does.
    pub fn open(
        paths: impl IntoIterator<Item = PathBuf>,
        options: ReadOptions,
    ) -> Result<Self, DatasetError> {
        let records = Records::open(paths)?;
        Ok(Self { records, reader: RowReader::new(options), numbers: Numbers::default() })
    }

    /// What was read so far.
    pub fn report(&self) -> &ReadReport {
        self.reader.report()
    }

    /// The records, for their progress.
    pub fn records(&self) -> &Records {
        &self.records
    }
}

impl Iterator for Questions {
    type Item = Result<ReadRow, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match self.records.next()? {
            Ok(record) => record,
            Err(error) => {
                self.reader.count_refused(error.is_bad_record());
                return Some(Err(error.into()));
            }
        };
        let place = record.place().clone();
        let number = self.numbers.next(&place);
        let id = record.key().map_or_else(|| number.to_string(), str::to_owned);
        let row = match record.into_value() {
            Ok(row) => row,
            Err(error) => {
                self.reader.count_refused(true);
                return Some(Err(error.into()));
            }
        };
        let read = self.reader.read(&row, &id);
        Some(read.map_err(|fault| DatasetError::Row { place, fault }))
    }
}

/// Numbers of rows in their file: the line, or the count where a line has several rows.
#[derive(Debug, Default)]
struct Numbers {
    file: Option<Arc<Path>>,
    line: u64,
    n_rows: u64,
}

impl Numbers {
    fn next(&mut self, place: &Place) -> u64 {
        if self.file.as_ref() != Some(&place.file) {
            *self = Self { file: Some(place.file.clone()), ..Self::default() };
        }
        self.n_rows += 1;
        let is_new_line = place.number > self.line;
        self.line = place.number;
        if is_new_line || place.unit == PlaceUnit::Row { place.number } else { self.n_rows }
    }
}

/// Reads all questions of files. The first bad row is an error, and so are files without a row.
pub fn read_questions(
    paths: impl IntoIterator<Item = PathBuf>,
    options: ReadOptions,
) -> Result<(Vec<Question>, ReadReport), DatasetError> {
    let mut rows = Questions::open(paths, options)?;
    let questions: Result<Vec<Question>, _> =
        rows.by_ref().map(|row| row.map(|read| read.question)).collect();
    let questions = questions?;
    if questions.is_empty() {
        return Err(DatasetError::Empty);
    }
    Ok((questions, rows.report().clone()))
}
