//! Question files of a run, in any format that is read.

use std::path::Path;

use anyhow::Result;
use forage_dataset::{DatasetError, ReadOptions};
use forage_trajectory::Question;

use crate::exit_code::{Code, Failure};
use crate::output::message_once;

/// Reads a question file. The first bad row is an error; what was not as it should be but could be
/// read is told.
pub fn read_questions(path: &Path) -> Result<Vec<Question>> {
    let read = forage_dataset::read_questions([path.to_owned()], ReadOptions::default());
    let (questions, report) = read.map_err(|error| unreadable(path, error))?;
    if report.repeated_ids > 0 {
        message_once(format_args!(
            "warning: {} questions of `{}` have an id that was there before; they got others",
            report.repeated_ids,
            path.display(),
        ));
    }
    if report.answers_of_nothing > 0 {
        message_once(format_args!(
            "warning: {} golden answers of `{}` are without a word, such as `A` or `?`: they match \
             only what is written alike",
            report.answers_of_nothing,
            path.display(),
        ));
    }
    Ok(questions)
}

/// Error of a question file, with its exit code and a hint.
pub fn unreadable(path: &Path, error: DatasetError) -> anyhow::Error {
    let hint = error.hint().unwrap_or("docs/data-formats.md lists the formats that are read");
    let message = format!("cannot use the question file `{}`", path.display());
    anyhow::Error::new(error).context(Failure::new(Code::Input, message).hint(hint))
}
