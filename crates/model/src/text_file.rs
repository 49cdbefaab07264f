//! Text files of other programs: byte-order marks, pointers of Git LFS in the place of a file, and
//! numbers that Python writes and JSON does not have.

use std::path::Path;

use serde::de::DeserializeOwned;

/// Text file that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file could not be read.
    #[error("file access failed")]
    Io(#[from] std::io::Error),
    /// A pointer of Git LFS stands in the place of the file.
    #[error(transparent)]
    LfsPointer(#[from] LfsPointer),
    /// The text is not in UTF-8.
    #[error("the text is not in UTF-8: save it as UTF-8")]
    Encoding,
}

/// Pointer of Git LFS in the place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the file was not fetched, a pointer of Git LFS stands in its place: run `git lfs pull` in \
     its repository"
)]
pub struct LfsPointer;

/// Beginning of a pointer of Git LFS.
const LFS: &[u8] = b"version https://git-lfs";

/// Longest pointer of Git LFS, in bytes.
const LONGEST_POINTER: u64 = 1024;

impl LfsPointer {
    /// Whether a file of this length begins like a pointer.
    pub(crate) fn is_one(start: &[u8], len: u64) -> bool {
        len <= LONGEST_POINTER && start.starts_with(LFS)
    }
}

/// Bytes that tell a pointer of Git LFS.
pub(crate) const POINTER_START: usize = LFS.len();

/// Reads a text file, without a byte-order mark.
pub(crate) fn read_text(path: &Path) -> Result<String, TextError> {
    let bytes = std::fs::read(path)?;
    if LfsPointer::is_one(&bytes, bytes.len() as u64) {
        return Err(LfsPointer.into());
    }
    let text = String::from_utf8(bytes).map_err(|_| TextError::Encoding)?;
    Ok(text.strip_prefix('\u{FEFF}').map(str::to_owned).unwrap_or(text))
}

/// Text that is no JSON of the right form.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// A number that Python writes and JSON does not have.
    #[error(
        "line {line} has `{found}`, which Python writes and JSON does not have: put a number or \
         `null` in its place"
    )]
    PythonNumber {
        /// Line of the file, counted from 1.
        line: usize,
        /// Number as it is written.
        found: &'static str,
    },
    /// Anything else.
    #[error(transparent)]
    Other(#[from] serde_json::Error),
}

/// Parses a JSON text.
pub(crate) fn parse_json<T: DeserializeOwned>(text: &str) -> Result<T, JsonError> {
    serde_json::from_str(text).map_err(|error| {
        let line = error.line();
        let source = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        // The parser stops at the first byte of the number, or at the one after it.
        let from = error.column().saturating_sub(2).min(source.len());
        let near = source.get(from..).unwrap_or_default();
        let number = ["-Infinity", "Infinity", "NaN"]
            .into_iter()
            .find(|number| error.is_syntax() && near.find(number).is_some_and(|at| at <= 1));
        match number {
            Some(found) => JsonError::PythonNumber { line, found },
            None => JsonError::Other(error),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn numbers_of_python_are_named_with_their_line() {
        for (text, expected) in [
            ("{\n \"a\": NaN\n}", Some((2, "NaN"))),
            ("{\"a\": Infinity}", Some((1, "Infinity"))),
            ("{\"a\": [1, -Infinity]}", Some((1, "-Infinity"))),
            ("[NaN]", Some((1, "NaN"))),
            ("NaN", Some((1, "NaN"))),
            ("{\"NaN\": }", None),
            ("{", None),
        ] {
            let found = match parse_json::<Value>(text).unwrap_err() {
                JsonError::PythonNumber { line, found } => Some((line, found)),
                JsonError::Other(_) => None,
            };
            assert_eq!(found, expected, "{text}");
        }
    }
}
