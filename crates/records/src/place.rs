//! Place of a record, for messages.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Place of a record: a file, and a line or a row of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// File; `<stdin>` for standard input.
    pub file: Arc<Path>,
    /// Number, from 1.
    pub number: u64,
    /// What is numbered.
    pub unit: PlaceUnit,
}

/// Unit of a [`Place`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlaceUnit {
    /// Lines of a text, in which a record begins: `corpus.jsonl:12`.
    Line,
    /// Rows of a table: `train.parquet, row 12`.
    Row,
    /// Lines of a text with a list of rows, often on one line, and the number of the row in it,
    /// from 1: `train.json:1, row 12`.
    RowOnLine(u64),
}

impl Place {
    /// Line of a text.
    pub fn line(file: Arc<Path>, number: u64) -> Self {
        Self { file, number, unit: PlaceUnit::Line }
    }

    /// Row of a table.
    pub fn row(file: Arc<Path>, number: u64) -> Self {
        Self { file, number, unit: PlaceUnit::Row }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, number, unit } = self;
        match unit {
            PlaceUnit::Line => write!(f, "{}:{number}", file.display()),
            PlaceUnit::Row => write!(f, "{}, row {number}", file.display()),
            PlaceUnit::RowOnLine(row) => write!(f, "{}:{number}, row {row}", file.display()),
        }
    }
}
