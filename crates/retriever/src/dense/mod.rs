//! Dense search: passages by the dot product of their vectors with that of the query.
//!
//! [`build_vectors`] embeds the passages of an index into a folder beside it, [`Dense`] searches
//! them exactly. The vectors are memory-mapped; half precision, little-endian, one row a passage
//! in the order of the corpus:
//!
//! ```text
//! vectors.f16            rows × dimension × 2 bytes
//! forage-vectors.json    embedder, dimension, and the fingerprint of the passages; written last
//! ```
//!
//! Exact search has no parameter and no error, and up to a million or two passages it is fast
//! enough. Scores are summed in a fixed order: the same vectors give the same hits whatever else
//! is in a batch and however many threads work.

mod build;
mod embeddings;
mod flat;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forage_trajectory::{BoxError, Embedder, Hit, Retriever, SearchError, TextRole};
use half::f16;
use serde::{Deserialize, Serialize};
use tantivy::directory::{Directory, MmapDirectory, OwnedBytes};

use crate::{Bm25, IndexError};
pub use build::build_vectors;
pub use embeddings::{Embeddings, EmbeddingsConfig};

/// Name of the manifest in a folder of vectors.
const MANIFEST: &str = "forage-vectors.json";
/// Name of the vectors in their folder.
const VECTORS: &str = "vectors.f16";
/// The format that this version writes, and the only one it reads.
const FORMAT: u32 = 1;

/// What a folder of vectors says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    embedder: String,
    dimension: usize,
    passages: u64,
    /// Of the index whose passages they are.
    fingerprint: String,
}

/// Vectors that cannot be made, opened or searched.
#[derive(Debug, thiserror::Error)]
pub enum DenseError {
    /// The folder cannot be written, or the passages not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A file of the folder cannot be read.
    #[error("cannot read the vectors `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder does not fit what it is opened with.
    #[error("the vectors in `{}` cannot be used: {what}", folder.display())]
    Mismatch {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        what: String,
    },
    /// The embedder failed.
    #[error("texts could not be embedded")]
    Embedder(#[source] BoxError),
    /// The embedder gave something else than one vector a text.
    #[error("the embedder `{embedder}` gave {what}")]
    Vectors {
        /// The embedder.
        embedder: String,
        /// What it gave.
        what: String,
    },
}

/// Exact search over the vectors of an index. Shared by many threads.
pub struct Dense {
    passages: Arc<Bm25>,
    embedder: Arc<dyn Embedder>,
    dimension: usize,
    vectors: OwnedBytes,
}

impl Dense {
    /// Opens the vectors in a folder. Index and embedder must be those they were made with.
    pub fn open(
        folder: &Path,
        passages: Arc<Bm25>,
        embedder: Arc<dyn Embedder>,
    ) -> Result<Self, DenseError> {
        let mismatch = |what: String| DenseError::Mismatch { folder: folder.to_owned(), what };
        let path = folder.join(MANIFEST);
        let text = std::fs::read(&path)
            .map_err(|source| DenseError::Read { path: path.clone(), source })?;
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|source| DenseError::Read { path, source: source.into() })?;
        if manifest.format != FORMAT {
            let found = manifest.format;
            return Err(mismatch(format!("they have format {found}, this version reads {FORMAT}")));
        }
        if manifest.fingerprint != passages.manifest().fingerprint {
            return Err(mismatch("they are of the passages of another index".to_owned()));
        }
        if manifest.embedder != embedder.name() || manifest.dimension != embedder.dimension() {
            return Err(mismatch(format!(
                "they were made by `{}` with {} numbers each, and not by `{}` with {}",
                manifest.embedder,
                manifest.dimension,
                embedder.name(),
                embedder.dimension()
            )));
        }
        let path = folder.join(VECTORS);
        let read = |source| DenseError::Read { path: path.clone(), source };
        let directory = MmapDirectory::open(folder).map_err(|it| read(io::Error::other(it)))?;
        let file = directory.open_read(Path::new(VECTORS));
        let file = file.map_err(|error| read(io::Error::other(error)))?;
        let vectors = file.read_bytes().map_err(read)?;
        let dimension = manifest.dimension;
        let expected = manifest.passages as usize * dimension * size_of::<f16>();
        if vectors.len() != expected {
            let found = vectors.len();
            return Err(mismatch(format!("`{VECTORS}` has {found} bytes and not {expected}")));
        }
        if bytemuck::try_cast_slice::<u8, f16>(&vectors).is_err() {
            return Err(mismatch(format!("`{VECTORS}` is not aligned in memory")));
        }
        Ok(Self { passages, embedder, dimension, vectors })
    }

    fn find(&self, queries: &[&str], k: usize) -> Result<Vec<Vec<Hit>>, DenseError> {
        let vectors = embed(self.embedder.as_ref(), queries, TextRole::Query)?;
        let rows = bytemuck::cast_slice(&self.vectors);
        let found = flat::top_k(rows, self.dimension, &vectors, k);
        let hit = |ranked| self.passages.hit(ranked).map_err(DenseError::from);
        found.into_iter().map(|ranked| ranked.into_iter().map(hit).collect()).collect()
    }
}

impl Retriever for Dense {
    /// An empty query is not embedded and finds nothing.
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        let asked: Vec<&str> = queries.iter().copied().filter(|it| !it.trim().is_empty()).collect();
        let mut found = if asked.is_empty() { Ok(Vec::new()) } else { self.find(&asked, k) }
            .map(Vec::into_iter)
            .map_err(Arc::new);
        let answer = |&query: &&str| {
            if query.trim().is_empty() {
                return Ok(Vec::new());
            }
            match &mut found {
                Ok(found) => Ok(found.next().expect("as many lists as queries were asked")),
                Err(error) => {
                    let source = Box::new(Arc::clone(error));
                    Err(SearchError { query: query.to_owned(), source })
                }
            }
        };
        queries.iter().map(answer).collect()
    }
}

/// Embeds texts and checks what comes back.
fn embed(
    embedder: &dyn Embedder,
    texts: &[&str],
    role: TextRole,
) -> Result<Vec<Vec<f32>>, DenseError> {
    let vectors = embedder.embed(texts, role).map_err(DenseError::Embedder)?;
    let wrong = |what| DenseError::Vectors { embedder: embedder.name().to_owned(), what };
    if vectors.len() != texts.len() {
        return Err(wrong(format!("{} vectors for {} texts", vectors.len(), texts.len())));
    }
    let dimension = embedder.dimension();
    for vector in &vectors {
        if vector.len() != dimension {
            let n = vector.len();
            return Err(wrong(format!("a vector of {n} numbers and not of {dimension}")));
        }
        // Also what half precision cannot hold.
        if !vector.iter().all(|&it| f16::from_f32(it).is_finite()) {
            return Err(wrong("a number that is not finite in half precision".to_owned()));
        }
    }
    Ok(vectors)
}
