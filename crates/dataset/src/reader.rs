//! Reading of many rows: ids that are unique, sources, and a report.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use crate::answers::normalizes_to_nothing;
use crate::error::RowError;
use crate::format::Format;
use crate::row::{ReadRow, read_row};

/// Sources that are counted. A file whose rows have a source each does not fill the memory.
const MOST_SOURCES: usize = 1000;

/// Ids of questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ids {
    /// As the rows have them; one that was there before becomes `source/id`, then `source/id#2`.
    #[default]
    AsWritten,
    /// `source/id` for every question with a source. Rows that name none get that of their format.
    WithSource,
}

/// How rows are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Source of rows that name none. Default: empty.
    pub source: String,
    /// Ids. Default: as written.
    pub ids: Ids,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Questions by format.
    pub formats: BTreeMap<Format, u64>,
    /// Questions by source, for the first 1,000 sources; the empty one for rows that name none.
    pub sources: BTreeMap<String, u64>,
    /// Rows that were refused.
    pub refused: u64,
    /// Questions whose id was there before, and got another.
    pub repeated_ids: u64,
    /// Questions whose whole row was there before. They are kept, with an id of their own.
    pub repeated_rows: u64,
    /// Golden answers of which SQuAD's normalization leaves nothing, such as `A` and `?`.
    pub answers_of_nothing: u64,
}

impl ReadReport {
    fn count_source(&mut self, source: &str) {
        if let Some(n) = self.sources.get_mut(source) {
            *n += 1;
        } else if self.sources.len() < MOST_SOURCES {
            self.sources.insert(source.to_owned(), 1);
        }
    }

    /// Number of questions.
    pub fn n_questions(&self) -> u64 {
        self.formats.values().sum()
    }
}

/// Reader of rows, one after the other. It keeps a hash of each row and id, and nothing else.
#[derive(Debug, Default)]
pub struct RowReader {
    options: ReadOptions,
    report: ReadReport,
    /// Hashes of the ids that are taken.
    ids: HashSet<u64>,
    /// Hashes of rows.
    rows: HashSet<u64>,
    /// By hash of an id that is taken: the number that its last repetition got.
    repeated: HashMap<u64, u64>,
}

impl RowReader {
    /// Reader without a row read.
    pub fn new(options: ReadOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// What was read so far.
    pub fn report(&self) -> &ReadReport {
        &self.report
    }

    /// Counts a record that could not be read at all.
    pub(crate) fn count_refused(&mut self, is_row: bool) {
        self.report.refused += u64::from(is_row);
    }

    /// Reads the next row. `default_id` is the id of a row without one: its number in its file.
    pub fn read(&mut self, row: &Value, default_id: &str) -> Result<ReadRow, RowError> {
        let mut read = read_row(row).inspect_err(|_| self.report.refused += 1)?;
        let question = &mut read.question;
        if question.source.is_empty() {
            question.source.clone_from(&self.options.source);
        }
        if question.source.is_empty() && self.options.ids == Ids::WithSource {
            read.format.data_set().unwrap_or_default().clone_into(&mut question.source);
        }
        if question.id.is_empty() {
            default_id.clone_into(&mut question.id);
        }
        let is_new_row = self.rows.insert(hash(row));
        self.report.repeated_rows += u64::from(!is_new_row);
        question.id = self.unique_id(&question.id, &question.source);
        let answers = question.golden_answers.iter();
        let nothing = answers.filter(|answer| normalizes_to_nothing(answer));
        self.report.answers_of_nothing += nothing.count() as u64;
        *self.report.formats.entry(read.format).or_default() += 1;
        self.report.count_source(&question.source);
        Ok(read)
    }

    fn unique_id(&mut self, id: &str, source: &str) -> String {
        let prefix = format!("{source}/");
        let full = if source.is_empty() || id.starts_with(&prefix) {
            id.to_owned()
        } else {
            format!("{prefix}{id}")
        };
        let written = if self.options.ids == Ids::WithSource { &full } else { id };
        if self.ids.insert(hash(written)) {
            return written.to_owned();
        }
        self.report.repeated_ids += 1;
        if self.ids.insert(hash(&full)) {
            return full;
        }
        let mut number = *self.repeated.get(&hash(&full)).unwrap_or(&1);
        loop {
            number += 1;
            let numbered = format!("{full}#{number}");
            if self.ids.insert(hash(&numbered)) {
                self.repeated.insert(hash(&full), number);
                return numbered;
            }
        }
    }
}

/// The hasher of the standard library with its fixed keys.
pub(crate) fn hash<T: Hash + ?Sized>(it: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    it.hash(&mut hasher);
    hasher.finish()
}
