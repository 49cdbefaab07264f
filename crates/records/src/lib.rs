//! Records of files that others wrote: objects with their place, in bounded memory.
//!
//! [`Records`] reads files, folders and standard input. What a file is is told by its bytes and
//! never by its name:
//!
//! - **Compression**: gzip, zstd and bzip2, of one or several members or frames. Other archives are
//!   refused by name, and so is a file that was cut off.
//! - **Encoding**: UTF-8, with byte-order marks at the beginnings of files and lines. UTF-16 and
//!   UTF-32 are refused with the command that converts them, and not converted: a file that is half
//!   the one and half the other (PowerShell's `>>`) would be read wrongly without a word.
//! - **Layout**: JSON lines; a list of objects; objects one after the other; an object of objects
//!   ([`Record::key`]); an object with one list of rows in `data`, `questions` or the like; parquet.
//!   Tables of text are refused.
//!
//! `NaN` and `Infinity`, which Python writes, are null. Integers of 64 bits are exact, larger ones
//! become texts. A key that is there twice is an error where it is read. Messages
//! are in words of the file: [`describe`] says what a value is.
//!
//! [`Document`] is JSON that arrived whole: the body of a request, the answer of a server.
//! [`open_text`] gives the lines of texts in other formats, with the same care.
//!
//! ```
//! use forage_records::Records;
//!
//! #[derive(serde::Deserialize)]
//! struct Row {
//!     id: String,
//! }
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("rows.json");
//! std::fs::write(&path, "[{\"id\": \"a\"},\n {\"id\": 7}]")?;
//! let mut records = Records::open([path])?;
//! assert_eq!(records.next().unwrap()?.parse::<Row>()?.id, "a");
//!
//! let second = records.next().unwrap()?;
//! assert_eq!(second.place().number, 2);
//! let error = second.parse::<Row>().err().unwrap();
//! assert!(error.is_bad_record());
//! assert!(error.to_string().ends_with("rows.json:2, row 2: `id` is the number 7 where a text is wanted"));
//! assert!(records.next().is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod describe;
mod document;
mod error;
mod files;
mod format;
mod json;
mod layout;
mod parquet_rows;
mod place;
mod record;
mod records;
mod scan;
mod source;
mod strict;
mod text;
mod words;

pub use describe::{describe, describe_keys};
pub use document::Document;
pub use error::RecordError;
pub use files::find_files;
pub use place::{Place, PlaceUnit};
pub use record::Record;
pub use records::Records;
pub use source::is_parquet;
pub use text::{TextLine, TextLines, open_text};
