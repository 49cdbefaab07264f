//! Questions and passages in the rows of published data sets.
//!
//! [`read_row`] tells the [`Format`] of a row by its keys and makes a
//! [`Question`](forage_trajectory::Question) of it, with golden answers and evidence, or refuses it
//! with a [`RowError`] that says what was found. A [`RowReader`] reads one row after the other and
//! makes ids unique; it keeps hashes only, so that any number of rows fits.
//!
//! Nothing is guessed: a list that arrived as text is parsed whole or refused, a number with a point
//! is no answer, and a row that is something else (a passage, a query without an answer, a row of
//! our own metrics) is refused with what it is. [`Questions`] reads the records of files.
//!
//! ```
//! use forage_dataset::{Format, read_row};
//!
//! let row = serde_json::json!({
//!     "_id": "5a", "question": "Which river flows by the seat of Tarnmoor?", "answer": "Osk",
//!     "type": "bridge", "level": "hard",
//!     "supporting_facts": [["Tarnmoor", 0], ["Velmora", 0]],
//!     "context": [["Tarnmoor", ["Its seat is Velmora."]], ["Velmora", ["It lies on the Osk."]]],
//! });
//! let read = read_row(&row).unwrap();
//! assert_eq!(read.format, Format::HotpotQa);
//! assert_eq!(read.question.golden_answers, ["Osk"]);
//! // The question names Tarnmoor itself.
//! assert_eq!(read.question.evidence.entities, ["Velmora"]);
//! assert_eq!(read.question.evidence.passages.len(), 2);
//! ```

mod answers;
mod corpus;
mod error;
mod evidence;
mod fields;
mod format;
mod literal;
mod question_text;
mod questions;
mod reader;
mod row;
mod visible;

pub use answers::answer_texts;
pub use corpus::{Addition, Corpus};
pub use error::RowError;
pub use format::Format;
pub use questions::{DatasetError, Questions, read_questions};
pub use reader::{Ids, ReadOptions, ReadReport, RowReader};
pub use row::{ReadRow, read_row};
