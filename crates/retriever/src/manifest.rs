//! Manifest of an index: `forage-index.json` in its folder.
//!
//! tantivy keeps neither the analyzer nor where the passages came from. The manifest is written
//! last, so a folder without one is not an index.

use std::io;
use std::path::Path;

use forage_trajectory::Passage;
use serde::{Deserialize, Serialize};

use crate::analyzer::VersionedAnalyzer;
use crate::{Analyzer, IndexError};

/// File name of the manifest of an index.
pub const MANIFEST_FILE: &str = "forage-index.json";

/// Folder format that this version writes, and the only one that it reads.
pub(crate) const FORMAT: u32 = 1;

/// Manifest of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexManifest {
    /// Version of the folder format.
    pub format: u32,
    /// Version of tantivy and of its format.
    pub tantivy: String,
    /// Name of the analyzer.
    pub analyzer: String,
    /// Version of the analyzer.
    pub analyzer_version: u32,
    /// Number of passages.
    pub passages: u64,
    /// Content hash: blake3 of the passages, in hex. It does not depend on how the files were
    /// compressed, split or spelled.
    pub fingerprint: String,
}

/// Part of a manifest that every format has.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

impl IndexManifest {
    pub(crate) fn new(analyzer: Analyzer, passages: u64, fingerprint: &Fingerprint) -> Self {
        Self {
            format: FORMAT,
            tantivy: tantivy::version_string().to_owned(),
            analyzer: analyzer.name().to_owned(),
            analyzer_version: analyzer.version(),
            passages,
            fingerprint: fingerprint.0.finalize().to_hex().to_string(),
        }
    }

    /// Reads the manifest of an index and checks that this version can search it.
    ///
    /// # Errors
    ///
    /// Where there is no complete index, where format or analyzer are not those that this version
    /// reads, or where `asked` is another analyzer than that of the index.
    pub fn read(folder: &Path, asked: Option<Analyzer>) -> Result<(Self, Analyzer), IndexError> {
        let path = folder.join(MANIFEST_FILE);
        let owned = || folder.to_owned();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(if folder.exists() {
                    IndexError::Incomplete { folder: owned() }
                } else {
                    IndexError::Missing { folder: owned() }
                });
            }
            Err(error) => return Err(IndexError::file("read", &path)(error)),
        };
        let unreadable = |source| IndexError::Manifest { path: path.clone(), source };
        let Header { format: found } = serde_json::from_slice(&text).map_err(unreadable)?;
        if found != FORMAT {
            return Err(IndexError::Format { folder: owned(), found, expected: FORMAT });
        }
        let manifest: Self = serde_json::from_slice(&text).map_err(unreadable)?;
        let expected = tantivy::version_string();
        if engine_format(&manifest.tantivy) != engine_format(expected) {
            let found = manifest.tantivy;
            let expected = expected.to_owned();
            return Err(IndexError::EngineFormat { folder: owned(), found, expected });
        }
        let analyzer: Analyzer = manifest
            .analyzer
            .parse()
            .map_err(|source| IndexError::UnknownAnalyzer { folder: owned(), source })?;
        if let Some(asked) = asked.filter(|&it| it != analyzer) {
            return Err(IndexError::Analyzer { folder: owned(), found: analyzer, asked });
        }
        let known = analyzer.oldest_version()..=analyzer.version();
        if !known.contains(&manifest.analyzer_version) {
            return Err(IndexError::AnalyzerVersion {
                folder: owned(),
                analyzer,
                found: manifest.analyzer_version,
                expected: analyzer.version(),
            });
        }
        Ok((manifest, analyzer))
    }

    /// Analyzer of the index, as it was when the index was built.
    pub(crate) fn versioned(&self, analyzer: Analyzer) -> VersionedAnalyzer {
        VersionedAnalyzer { analyzer, version: self.analyzer_version }
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), IndexError> {
        let path = folder.join(MANIFEST_FILE);
        let text = serde_json::to_string_pretty(self).expect("strings and numbers are JSON");
        forage_fs::write_file(&path, text.as_bytes()).map_err(IndexError::file("write", &path))
    }
}

/// Index format in `tantivy v0.27.0, index_format v7`. Versions of tantivy that share it read each
/// other's files.
fn engine_format(version: &str) -> &str {
    version.rsplit_once("index_format ").map_or(version, |it| it.1)
}

/// Content hash of passages, in order.
#[derive(Default)]
pub(crate) struct Fingerprint(blake3::Hasher);

impl Fingerprint {
    pub(crate) fn add(&mut self, passage: &Passage) {
        for part in [&passage.id, &passage.title, &passage.text] {
            // The length keeps `ab`, `c` and `a`, `bc` apart.
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part.as_bytes());
        }
    }
}
