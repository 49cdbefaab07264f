//! Dense retrieval: passages by the dot product of their vectors with that of the query.
//!
//! [`build_vectors`] embeds the passages of an index into a folder beside it, [`Dense`] searches
//! them exactly. The vectors are memory-mapped; half precision, little-endian, one row a passage
//! in the order of the corpus:
//!
//! ```text
//! vectors.f16            rows × dimension × 2 bytes
//! graph.usearch          where there is one
//! forage-vectors.json    embedder, dimension, and the fingerprint of the passages; written last
//! ```
//!
//! Exact search has no parameter and no error, and up to a million or two passages it is fast
//! enough. For more, [`build_graph`] adds an HNSW graph to the folder; from then on only some
//! candidates of a query are scored. Scores are summed in a fixed order: the same vectors give the
//! same hits whatever else is in a batch and however many threads work.

mod build;
mod embeddings;
mod flat;
mod graph;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forage_trajectory::{BoxError, Embedder, Hit, Retriever, SearchError, TextRole};
use half::f16;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tantivy::directory::{Directory, MmapDirectory, OwnedBytes};

use crate::maxscore::ScoredDoc;
use crate::{Bm25, IndexError};
pub use build::{build_graph, build_vectors};
pub use embeddings::{Embeddings, EmbeddingsConfig};
use graph::{Graph, GraphManifest};

/// Default number of candidates of a graph that are scored for a query.
pub const CANDIDATES: usize = 256;

/// File name of the manifest of vectors.
const MANIFEST: &str = "forage-vectors.json";
/// File name of the vectors.
const VECTORS: &str = "vectors.f16";
/// Folder format that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// Manifest of a folder of vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct VectorsManifest {
    format: u32,
    embedder: String,
    dimension: usize,
    passages: u64,
    /// Content hash of the passages.
    fingerprint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    graph: Option<GraphManifest>,
}

impl VectorsManifest {
    fn read(folder: &Path) -> Result<Self, DenseError> {
        let path = folder.join(MANIFEST);
        let text = std::fs::read(&path)
            .map_err(|source| DenseError::Read { path: path.clone(), source })?;
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|source| DenseError::Read { path, source: source.into() })?;
        if manifest.format == FORMAT {
            return Ok(manifest);
        }
        let found = manifest.format;
        let what = format!("they have format {found}, this version reads {FORMAT}");
        Err(DenseError::Mismatch { folder: folder.to_owned(), what })
    }

    /// Writes the manifest into a folder, in the place of one that may be there.
    fn write(&self, folder: &Path) -> Result<(), IndexError> {
        let path = folder.join(MANIFEST);
        let text = serde_json::to_string_pretty(self).expect("strings and numbers are JSON");
        forage_fs::write_file(&path, text.as_bytes()).map_err(IndexError::file("write", &path))
    }

    /// Memory-mapped vectors.
    fn vectors(&self, folder: &Path) -> Result<OwnedBytes, DenseError> {
        let mismatch = |what: String| DenseError::Mismatch { folder: folder.to_owned(), what };
        let path = folder.join(VECTORS);
        let read = |source| DenseError::Read { path: path.clone(), source };
        let directory =
            MmapDirectory::open(folder).map_err(|error| read(io::Error::other(error)))?;
        let file = directory.open_read(Path::new(VECTORS));
        let file = file.map_err(|error| read(io::Error::other(error)))?;
        let vectors = file.read_bytes().map_err(read)?;
        let expected = self.passages as usize * self.dimension * size_of::<f16>();
        if vectors.len() != expected {
            let found = vectors.len();
            return Err(mismatch(format!("`{VECTORS}` has {found} bytes and not {expected}")));
        }
        if bytemuck::try_cast_slice::<u8, f16>(&vectors).is_err() {
            return Err(mismatch(format!("`{VECTORS}` is not aligned in memory")));
        }
        Ok(vectors)
    }
}

/// Error of building, opening or searching vectors.
#[derive(Debug, thiserror::Error)]
pub enum DenseError {
    /// Folder that cannot be written, or passages that cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// File of the folder that cannot be read.
    #[error("cannot read the vectors `{}`", path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Folder that does not fit the index or the embedder.
    #[error("the vectors in `{}` cannot be used: {what}", folder.display())]
    Mismatch {
        /// Folder.
        folder: PathBuf,
        /// Cause.
        what: String,
    },
    /// Error of the embedder.
    #[error("texts could not be embedded")]
    Embedder(#[source] BoxError),
    /// Graph that could not be searched.
    #[error("the graph cannot be searched: {0}")]
    Graph(String),
    /// Embedder that gave something else than one finite vector a text.
    #[error("the embedder `{embedder}` gave {what}")]
    Vectors {
        /// Embedder.
        embedder: String,
        /// Output of the embedder, in words.
        what: String,
    },
}

/// Dense retriever over the vectors of an index: exact, or approximate by their HNSW graph where
/// they have one. Shared by many threads.
pub struct Dense {
    passages: Arc<Bm25>,
    embedder: Arc<dyn Embedder>,
    dimension: usize,
    vectors: OwnedBytes,
    graph: Option<Graph>,
    candidates: usize,
}

impl Dense {
    /// Opens the vectors in a folder. Index and embedder must be those that they were built with.
    pub fn open(
        folder: &Path,
        passages: Arc<Bm25>,
        embedder: Arc<dyn Embedder>,
    ) -> Result<Self, DenseError> {
        let mismatch = |what: String| DenseError::Mismatch { folder: folder.to_owned(), what };
        let manifest = VectorsManifest::read(folder)?;
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
        let vectors = manifest.vectors(folder)?;
        let (dimension, n_rows) = (manifest.dimension, manifest.passages as usize);
        let graph = manifest.graph.as_ref().map(|it| Graph::open(folder, it, dimension, n_rows));
        let graph = graph.transpose().map_err(mismatch)?;
        Ok(Self { passages, embedder, dimension, vectors, graph, candidates: CANDIDATES })
    }

    /// Sets the number of candidates of the graph that are scored for a query: more raise the
    /// recall. With as many as there are passages, or without a graph, all are scored. Default:
    /// [`CANDIDATES`].
    #[must_use]
    pub fn with_candidates(self, candidates: usize) -> Self {
        Self { candidates, ..self }
    }

    fn ranked(&self, vectors: &[Vec<f32>], k: usize) -> Result<Vec<Vec<ScoredDoc>>, DenseError> {
        let rows = bytemuck::cast_slice(&self.vectors);
        let n_passages = self.passages.manifest().passages as usize;
        match &self.graph {
            Some(graph) if self.candidates.max(k) < n_passages => vectors
                .par_iter()
                .map(|query| {
                    graph.top_k(rows, query, k, self.candidates).map_err(DenseError::Graph)
                })
                .collect(),
            _ => Ok(flat::top_k(rows, self.dimension, vectors, k)),
        }
    }

    fn find(&self, queries: &[&str], k: usize) -> Result<Vec<Vec<Hit>>, DenseError> {
        let vectors = embed(self.embedder.as_ref(), queries, TextRole::Query)?;
        let found = self.ranked(&vectors, k)?;
        let hit = |ranked| self.passages.hit(ranked).map_err(DenseError::from);
        found.into_iter().map(|ranked| ranked.into_iter().map(hit).collect()).collect()
    }
}

impl Retriever for Dense {
    /// An empty query is not embedded and finds nothing.
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        let asked: Vec<&str> =
            queries.iter().copied().filter(|query| !query.trim().is_empty()).collect();
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

/// Embeds texts and checks that there is one finite vector for each.
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
        if !vector.iter().all(|&number| f16::from_f32(number).is_finite()) {
            return Err(wrong("a number that is not finite in half precision".to_owned()));
        }
    }
    Ok(vectors)
}
