//! Lines of a text file, whatever it is packed in.

use std::io::{self, BufRead, Read as _};
use std::path::Path;
use std::sync::Arc;

use crate::scan::ValueScanner;
use crate::source::{Source, shown_name};
use crate::{Place, RecordError};

/// Byte-order mark of UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// Most bytes of a line of [`TextLines`].
const LINE_LIMIT: usize = 256 << 20;

/// Line of a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextLine {
    /// Place.
    pub place: Place,
    /// Text, without white space around it.
    pub text: String,
}

/// Lines of a text file that are not blank.
///
/// The file may be gzip, zstd or bzip2. Byte-order marks are left out at the beginning of every
/// line, where they stand after files were joined; another encoding than UTF-8 is an error.
pub struct TextLines {
    input: TextInput,
    line: Vec<u8>,
    is_done: bool,
}

/// Opens a text file, or standard input for `-`.
pub fn open_text(path: &Path) -> Result<TextLines, RecordError> {
    match Source::open(path, &Arc::default())? {
        Source::Text(reader) => {
            let input = TextInput::new(reader, shown_name(path), LINE_LIMIT);
            Ok(TextLines { input, line: Vec::new(), is_done: false })
        }
        Source::Parquet(_) => Err(RecordError::Format {
            path: path.to_owned(),
            what: "this is parquet, and a text is wanted here".to_owned(),
        }),
    }
}

impl Iterator for TextLines {
    type Item = Result<TextLine, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_done {
            let place = self.input.place();
            match self.input.read_line(&mut self.line) {
                Ok(false) => return None,
                Ok(true) => {}
                Err(error) => {
                    self.is_done = true;
                    return Some(Err(error));
                }
            }
            let line = self.line.trim_ascii();
            if !line.is_empty() {
                return Some(match utf8(line) {
                    Ok(text) => Ok(TextLine { place, text: text.trim().to_owned() }),
                    Err(what) => Err(RecordError::BadRecord { place, what }),
                });
            }
        }
        None
    }
}

/// The bytes as text, or what is wrong with them.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, String> {
    if memchr::memchr(0, bytes).is_some() {
        return Err("not UTF-8 text: it has bytes of 0, as UTF-16 has".to_owned());
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let byte = bytes[at];
        format!(
            "not UTF-8 (Latin-1?): byte {byte:#04x} at {} of the line; convert the file: \
             `iconv -f LATIN1 -t UTF-8`",
            at + 1
        )
    })
}

/// Text with the number of the line that is read next.
pub(crate) struct TextInput {
    reader: Box<dyn BufRead + Send>,
    file: Arc<Path>,
    line: u64,
    limit: usize,
}

impl TextInput {
    /// Reads a text; a line or a value of more than `limit` bytes is an error.
    pub(crate) fn new(reader: Box<dyn BufRead + Send>, file: Arc<Path>, limit: usize) -> Self {
        Self { reader, file, line: 1, limit }
    }

    /// Name of the file.
    pub(crate) fn file(&self) -> &Arc<Path> {
        &self.file
    }

    /// Place of the next byte.
    pub(crate) fn place(&self) -> Place {
        Place::line(Arc::clone(&self.file), self.line)
    }

    /// The next bytes, at most `len`, which stay to be read.
    pub(crate) fn peek(&mut self, len: usize) -> Result<Vec<u8>, RecordError> {
        let mut head = Vec::new();
        while head.len() < len {
            let piece = self.fill()?;
            if piece.is_empty() {
                break;
            }
            let n_taken = piece.len().min(len - head.len());
            head.extend_from_slice(&piece[..n_taken]);
            self.reader.consume(n_taken);
        }
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(io::Cursor::new(head.clone()).chain(rest));
        Ok(head)
    }

    /// Leaves out white space and byte-order marks; the byte after them.
    pub(crate) fn skip_space(&mut self) -> Result<Option<u8>, RecordError> {
        loop {
            let piece = self.fill()?;
            let is_space = |byte: &u8| byte.is_ascii_whitespace() || MARK.contains(byte);
            let next = piece.iter().position(|byte| !is_space(byte));
            let byte = next.map(|at| piece[at]);
            let n_left_out = next.unwrap_or(piece.len());
            if n_left_out == 0 && byte.is_none() {
                return Ok(None);
            }
            self.skip(n_left_out)?;
            if byte.is_some() {
                return Ok(byte);
            }
        }
    }

    /// Leaves out `n` bytes.
    pub(crate) fn skip(&mut self, mut n: usize) -> Result<(), RecordError> {
        while n > 0 {
            let piece = self.fill()?;
            if piece.is_empty() {
                break;
            }
            let taken = n.min(piece.len());
            let n_lines = count_lines(&piece[..taken]);
            self.reader.consume(taken);
            self.line += n_lines;
            n -= taken;
        }
        Ok(())
    }

    /// Reads a line into `line`, without a byte-order mark at its beginning; false at the end.
    pub(crate) fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, RecordError> {
        line.clear();
        let place = self.place();
        loop {
            let limit = self.limit;
            let piece = self.fill()?;
            let end = memchr::memchr(b'\n', piece).map(|at| at + 1);
            let taken = end.unwrap_or(piece.len());
            line.extend_from_slice(&piece[..taken]);
            self.reader.consume(taken);
            if line.len() > limit {
                return Err(RecordError::TooLarge { place, limit });
            }
            if end.is_some() || taken == 0 {
                break;
            }
        }
        self.line += u64::from(!line.is_empty());
        while line.starts_with(MARK) {
            line.drain(..MARK.len());
        }
        Ok(self.line > place.number)
    }

    /// Reads one value of JSON, which begins with the next byte, and whether it wants repair.
    pub(crate) fn read_value(&mut self) -> Result<(Vec<u8>, bool), RecordError> {
        let (mut value, mut scanner) = (Vec::new(), ValueScanner::default());
        let place = self.place();
        loop {
            let limit = self.limit;
            let piece = self.fill()?;
            if piece.is_empty() {
                let what = "what begins here has no end: the file was cut off, or a bracket or a \
                            quote is missing"
                    .to_owned();
                return Err(RecordError::Damaged { place, what });
            }
            let end = scanner.feed(piece);
            let taken = end.unwrap_or(piece.len());
            value.extend_from_slice(&piece[..taken]);
            let n_lines = count_lines(&piece[..taken]);
            self.reader.consume(taken);
            self.line += n_lines;
            if value.len() > limit {
                return Err(RecordError::TooLarge { place, limit });
            }
            if end.is_some() {
                return Ok((value, scanner.wants_repair));
            }
        }
    }

    /// Bytes that are ready to be read; none at the end.
    fn fill(&mut self) -> Result<&[u8], RecordError> {
        loop {
            match self.reader.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(RecordError::Read { place: self.place(), source }),
            }
        }
        let place = Place::line(Arc::clone(&self.file), self.line);
        self.reader.fill_buf().map_err(|source| RecordError::Read { place, source })
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
