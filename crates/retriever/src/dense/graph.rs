//! HNSW graph over vectors, for sets that are too large for exact search.
//!
//! HNSW (Malkov and Yashunin, arXiv 1603.09320), by usearch. In the graph a vector is quantized to
//! bytes, each number a share of the greatest of all. The graph proposes candidates; their scores,
//! and so their order, come from the vectors themselves, as in exact search. A graph may miss a
//! passage, but never gives it another score.
//!
//! Threads add vectors in any order, so that two builds differ in a few edges. One graph gives the
//! same candidates always.

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

use super::flat::dot;
use crate::IndexError;
use crate::maxscore::{ScoredDoc, TopK};

/// File name of the graph.
pub(super) const GRAPH: &str = "graph.usearch";

/// Edges of a vector (M), on all levels but the lowest, which has twice as many.
const CONNECTIVITY: usize = 32;
/// Candidates for the edges of a vector (efConstruction).
const EXPANSION: usize = 128;
/// Concurrent searches beyond those of the thread pool.
const SPARE_SEARCHES: usize = 64;

/// Entry of a graph in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GraphManifest {
    /// Library and version that wrote the graph.
    engine: String,
    /// Size of the file, in bytes.
    bytes: u64,
}

/// Memory-mapped HNSW graph.
pub(super) struct Graph(Index);

fn options(dimension: usize) -> IndexOptions {
    IndexOptions {
        dimensions: dimension,
        metric: MetricKind::IP,
        quantization: ScalarKind::I8,
        connectivity: CONNECTIVITY,
        expansion_add: EXPANSION,
        expansion_search: EXPANSION,
        multi: false,
    }
}

/// Builds the graph of all rows and writes it to a folder. `progress` gets the number of rows that
/// are done.
pub(super) fn build(
    rows: &[f16],
    dimension: usize,
    folder: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<GraphManifest, IndexError> {
    let path = folder.join(GRAPH);
    let index = Index::new(&options(dimension)).map_err(|it| failed(&path, it))?;
    let n_threads = rayon::current_num_threads();
    let n_rows = rows.len() / dimension.max(1);
    index.reserve_capacity_and_threads(n_rows, n_threads).map_err(|it| failed(&path, it))?;
    let greatest = rows
        .par_chunks(dimension.max(1))
        .map(|row| row.iter().map(|number| number.to_f32().abs()).fold(0.0, f32::max))
        .reduce(|| 0.0, f32::max);
    let done = AtomicU64::new(0);
    let add = |(row, numbers): (usize, &[f16])| -> Result<(), IndexError> {
        let mut wide = vec![0.0; dimension];
        numbers.convert_to_f32_slice(&mut wide);
        index.add(row as u64, &quantized(&wide, greatest)).map_err(|it| failed(&path, it))?;
        progress(done.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(())
    };
    rows.par_chunks_exact(dimension.max(1)).enumerate().try_for_each(add)?;
    index.save(utf8(&path)?).map_err(|it| failed(&path, it))?;
    let file = File::open(&path).map_err(IndexError::file("read", &path))?;
    file.sync_all().map_err(IndexError::file("sync", &path))?;
    let bytes = file.metadata().map_err(IndexError::file("read", &path))?.len();
    Ok(GraphManifest { engine: format!("usearch {}", usearch::version()), bytes })
}

impl Graph {
    /// Opens the graph of a folder. An error is the cause, in words.
    pub(super) fn open(
        folder: &Path,
        manifest: &GraphManifest,
        dimension: usize,
        n_rows: usize,
    ) -> Result<Self, String> {
        let path = folder.join(GRAPH);
        let length = std::fs::metadata(&path).map_err(|it| format!("`{GRAPH}`: {it}"))?.len();
        if length != manifest.bytes {
            return Err(format!("`{GRAPH}` has {length} bytes and not {}", manifest.bytes));
        }
        let path = utf8(&path).map_err(|it| it.to_string())?;
        let n_searches = rayon::current_num_threads() + SPARE_SEARCHES;
        let view = || {
            let index = Index::new(&options(dimension))?;
            index.reserve_capacity_and_threads(0, n_searches)?;
            index.view(path).map(|()| index)
        };
        let index = view().map_err(|error| {
            let (writer, reader) = (&manifest.engine, usearch::version());
            format!("`{GRAPH}`, written by {writer}, cannot be read by usearch {reader}: {error}")
        })?;
        if (index.dimensions(), index.size()) != (dimension, n_rows) {
            let (found, width) = (index.size(), index.dimensions());
            return Err(format!("`{GRAPH}` has {found} vectors of {width} numbers"));
        }
        Ok(Self(index))
    }

    /// Approximate top-k rows: the best of about so many candidates, best first, ties to the
    /// earlier row.
    pub(super) fn top_k(
        &self,
        rows: &[f16],
        query: &[f32],
        k: usize,
        candidates: usize,
    ) -> Result<Vec<ScoredDoc>, String> {
        let greatest = query.iter().map(|it| it.abs()).fold(0.0, f32::max);
        let proposed = self.0.search(&quantized(query, greatest), candidates.max(k));
        let proposed = proposed.map_err(|it| it.to_string())?;
        let mut best = TopK::new(k);
        let mut wide = vec![0.0; query.len()];
        for row in proposed.keys {
            let start = row as usize * query.len();
            let Some(numbers) = rows.get(start..start + query.len()) else {
                return Err(format!("`{GRAPH}` names row {row}, which is not there"));
            };
            numbers.convert_to_f32_slice(&mut wide);
            best.offer(ScoredDoc { doc: row as u32, score: dot(query, &wide) });
        }
        Ok(best.into_sorted())
    }
}

/// Quantized vector: its numbers as shares of the greatest, in bytes. A factor changes no order.
fn quantized(vector: &[f32], greatest: f32) -> Vec<i8> {
    let scale = if greatest > 0.0 { 127.0 / greatest } else { 0.0 };
    vector.iter().map(|number| (number * scale).round() as i8).collect()
}

fn failed(path: &Path, error: impl Error + Send + Sync + 'static) -> IndexError {
    IndexError::file("write", path)(io::Error::other(error))
}

fn utf8(path: &Path) -> Result<&str, IndexError> {
    path.to_str().ok_or_else(|| {
        IndexError::file("name", path)(io::Error::other("usearch wants a path in UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use forage_trajectory::{Purpose, Stream};
    use rand::RngExt;

    use super::super::flat;
    use super::*;

    /// Unit vectors around centres, as embeddings are.
    fn clustered(n: usize, dimension: usize, seed: u64) -> Vec<Vec<f32>> {
        let centre = |idx: usize| {
            let mut rng = Stream::new(1, Purpose::World).of_member(idx as u64, 0).rng();
            (0..dimension).map(|_| rng.random_range(-1.0_f32..1.0)).collect::<Vec<f32>>()
        };
        let centres: Vec<Vec<f32>> = (0..50).map(centre).collect();
        let mut rng = Stream::new(seed, Purpose::World).rng();
        (0..n)
            .map(|_| {
                let centre = &centres[rng.random_range(0..centres.len())];
                let near = centre.iter().map(|it| it + rng.random_range(-0.6_f32..0.6));
                let vector: Vec<f32> = near.collect();
                let length = vector.iter().map(|it| it * it).sum::<f32>().sqrt();
                vector.iter().map(|it| it / length).collect()
            })
            .collect()
    }

    #[test]
    fn recall_against_exact_search() {
        let (n_rows, dimension, k) = (3000, 48, 10);
        let rows: Vec<f16> =
            clustered(n_rows, dimension, 1).concat().iter().map(|it| f16::from_f32(*it)).collect();
        let queries = clustered(60, dimension, 2);
        let folder = tempfile::TempDir::new().unwrap();
        let manifest = build(&rows, dimension, folder.path(), &|_| {}).unwrap();
        let graph = Graph::open(folder.path(), &manifest, dimension, n_rows).unwrap();
        let exact = flat::top_k(&rows, dimension, &queries, k);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for query in &queries {
                        graph.top_k(&rows, query, k, 100).unwrap();
                    }
                });
            }
        });
        let (mut n_found, mut n_first) = (0, 0);
        for (query, exact) in queries.iter().zip(&exact) {
            let found = graph.top_k(&rows, query, k, 100).unwrap();
            assert_eq!(found, graph.top_k(&rows, query, k, 100).unwrap());
            assert_eq!(found.len(), k);
            // Whatever is found by both has the same score.
            n_found += exact.iter().filter(|it| found.contains(it)).count();
            n_first += usize::from(found[0] == exact[0]);
        }
        let recall = n_found as f64 / (queries.len() * k) as f64;
        assert!(recall > 0.97 && n_first >= 59, "recall {recall}, {n_first} first ones");
        // With as many candidates as rows, nothing is missed.
        let all = graph.top_k(&rows, &queries[0], k, n_rows).unwrap();
        assert_eq!(all, exact[0]);
    }

    #[test]
    fn damage_is_seen() {
        let folder = tempfile::TempDir::new().unwrap();
        let rows: Vec<f16> =
            clustered(20, 8, 1).concat().iter().map(|it| f16::from_f32(*it)).collect();
        let manifest = build(&rows, 8, folder.path(), &|_| {}).unwrap();
        assert!(Graph::open(folder.path(), &manifest, 8, 20).is_ok());
        let error = Graph::open(folder.path(), &manifest, 8, 21).err().unwrap();
        assert_eq!(error, "`graph.usearch` has 20 vectors of 8 numbers");
        let path = folder.path().join(GRAPH);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = Graph::open(folder.path(), &manifest, 8, 20).err().unwrap();
        assert!(error.starts_with("`graph.usearch` has "), "{error}");
        let other = GraphManifest { bytes: 64, ..manifest };
        std::fs::write(&path, [7; 64]).unwrap();
        let error = Graph::open(folder.path(), &other, 8, 20).err().unwrap();
        assert!(error.contains("cannot be read by"), "{error}");
    }
}
