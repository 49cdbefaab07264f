//! Page store: whole pages by their address, for `POST /access` of `ASearcher`.
//!
//! Pages are read from a file of JSON lines, `{"url", "contents"}`, of which only the offsets
//! of lines are held in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use forage_http::{Document, text};

use crate::client::of_member;

/// Page store: pages by address, in a file.
#[derive(Debug)]
pub struct PageStore {
    file: Mutex<File>,
    /// Offset and length of lines, by a hash of the address.
    lines: HashMap<u128, (u64, u32)>,
}

/// Unreadable page store.
#[derive(Debug, thiserror::Error)]
pub enum PageStoreError {
    /// File that cannot be read.
    #[error("cannot read the pages `{}`", path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Line that is no page.
    #[error("{}:{line}: not a page, {{\"url\": \"…\", \"contents\": \"…\"}}: {what}", path.display())]
    Line {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Fault, in words.
        what: String,
    },
}

/// Line of the file.
struct Page {
    url: String,
    contents: String,
}

impl Page {
    /// Parses a line; a fault is in words.
    fn parse(line: &[u8]) -> Result<Self, String> {
        let page = Document::parse(line)?.value;
        let field = |key| of_member(&page, key, text).map(str::to_owned);
        let page = field("url").and_then(|url| Ok(Self { url, contents: field("contents")? }));
        page.map_err(|fault| fault.to_string())
    }
}

impl PageStore {
    /// Opens a file and reads all addresses. Of two pages with one address, the first counts.
    pub fn open(path: &Path) -> Result<Self, PageStoreError> {
        let read = |source| PageStoreError::Read { path: path.to_owned(), source };
        let mut reader = BufReader::new(File::open(path).map_err(read)?);
        let mut lines = HashMap::new();
        let (mut bytes, mut start, mut line) = (Vec::new(), 0, 0);
        loop {
            bytes.clear();
            let n = reader.read_until(b'\n', &mut bytes).map_err(read)?;
            if n == 0 {
                break;
            }
            line += 1;
            if !bytes.trim_ascii().is_empty() {
                let page = Page::parse(&bytes).map_err(|what| PageStoreError::Line {
                    path: path.to_owned(),
                    line,
                    what,
                })?;
                lines.entry(key(&page.url)).or_insert((start, n as u32));
            }
            start += n as u64;
        }
        Ok(Self { file: Mutex::new(reader.into_inner()), lines })
    }

    /// Number of pages.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no page.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Contents of a page; none where there is no such page.
    pub fn page(&self, url: &str) -> io::Result<Option<String>> {
        let Some(&(start, length)) = self.lines.get(&key(url)) else { return Ok(None) };
        let mut line = vec![0; length as usize];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut line)?;
        drop(file);
        let page = Page::parse(&line).map_err(io::Error::other)?;
        Ok(Some(page.contents))
    }
}

/// Key of an address: 128 bits of blake3, which no two addresses share.
fn key(url: &str) -> u128 {
    let hash = blake3::hash(url.as_bytes());
    let (half, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u128::from_le_bytes(*half)
}
