//! Opened file: decompressed bytes, with the encoding of their beginning checked.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;

use crate::format::{Format, HEAD_LEN};
use crate::{Place, RecordError};

/// Size of read buffers, in bytes.
const BUFFER: usize = 1 << 16;
/// Name of standard input on the command line.
const STDIN: &str = "-";

/// Text or table behind a path.
pub(crate) enum Source {
    /// UTF-8, decompressed.
    Text(Box<dyn BufRead + Send>),
    /// Parquet, which is read by itself.
    Parquet(File),
}

/// Whether a path is `-`, standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// Name of a file in messages.
pub(crate) fn shown_name(path: &Path) -> Arc<Path> {
    if is_stdin(path) { Path::new("<stdin>").into() } else { path.into() }
}

/// Whether a file is parquet, by its first bytes.
pub fn is_parquet(path: &Path) -> Result<bool, RecordError> {
    if is_stdin(path) {
        return Ok(false);
    }
    let open = |source| RecordError::Open { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(open)?;
    // The first bytes of a pipe can be read once only.
    if !file.metadata().map_err(open)?.is_file() {
        return Ok(false);
    }
    let head = read_head(&mut file).map_err(open)?;
    Ok(Format::of(&head) == Format::Parquet)
}

impl Source {
    /// Opens a file, or standard input for `-`. `bytes_read` counts what is read of a text before
    /// decompression.
    pub(crate) fn open(path: &Path, bytes_read: &Arc<AtomicU64>) -> Result<Self, RecordError> {
        let open = |source| RecordError::Open { path: path.to_owned(), source };
        let refused =
            |what: String| RecordError::Format { path: shown_name(path).to_path_buf(), what };
        let input: Box<dyn Read + Send> = if is_stdin(path) {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(path).map_err(open)?)
        };
        let mut input = Counted { input, bytes_read: Arc::clone(bytes_read) };
        let head = read_head(&mut input).map_err(open)?;
        let format = Format::of(&head);
        let whole = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(input));
        match format {
            Format::Text => Ok(Self::Text(Box::new(whole))),
            Format::Foreign(what) => Err(refused(what.to_owned())),
            Format::Parquet if is_seekable(path) => {
                bytes_read.fetch_sub(HEAD_LEN.min(file_len(path)) as u64, Ordering::Relaxed);
                Ok(Self::Parquet(File::open(path).map_err(open)?))
            }
            Format::Parquet => {
                Err(refused("parquet cannot be read from a pipe; name the file".to_owned()))
            }
            Format::Gzip | Format::Zstd | Format::Bzip2 => decompressed(format, whole, path),
        }
    }
}

fn is_seekable(path: &Path) -> bool {
    !is_stdin(path) && path.is_file()
}

fn file_len(path: &Path) -> usize {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len() as usize)
}

/// Text in a compressed file.
fn decompressed(
    format: Format,
    input: impl BufRead + Send + 'static,
    path: &Path,
) -> Result<Source, RecordError> {
    let name = format.name();
    let read = |source| RecordError::Read { place: Place::line(shown_name(path), 1), source };
    let decoder: Box<dyn Read + Send> = match format {
        Format::Gzip => Box::new(MultiGzDecoder::new(input)),
        Format::Bzip2 => Box::new(MultiBzDecoder::new(input)),
        _ => {
            let mut decoder = zstd::Decoder::with_buffer(input).map_err(read)?;
            // What `zstd --long=31` writes.
            decoder.window_log_max(31).map_err(read)?;
            Box::new(decoder)
        }
    };
    let mut decoder = Decoder { decoder, name };
    let head = read_head(&mut decoder).map_err(read)?;
    let what = match Format::of(&head) {
        Format::Text => {
            let whole = Cursor::new(head).chain(decoder);
            return Ok(Source::Text(Box::new(BufReader::with_capacity(BUFFER, whole))));
        }
        Format::Foreign(what) => format!("within {name}, {what}"),
        inner => format!("this is {} within {name}; unpack it once: `{name} -d`", inner.name()),
    };
    Err(RecordError::Format { path: shown_name(path).to_path_buf(), what })
}

fn read_head(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.take(HEAD_LEN as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Reader that counts the bytes read.
struct Counted {
    input: Box<dyn Read + Send>,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.bytes_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Decompressor whose errors say what is wrong with the file.
struct Decoder {
    decoder: Box<dyn Read + Send>,
    name: &'static str,
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| {
            let name = self.name;
            let what = match error.kind() {
                io::ErrorKind::Interrupted => return error,
                io::ErrorKind::UnexpectedEof => {
                    format!("the {name} file ends in the middle; it was cut off")
                }
                _ => format!("the {name} file is damaged: {error}"),
            };
            io::Error::new(error.kind(), what)
        })
    }
}
