//! Builders of vectors and of their graph.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use forage_trajectory::{Embedder, TextRole};
use half::f16;

use super::graph::{self, GRAPH};
use super::{DenseError, FORMAT, MANIFEST, VECTORS, VectorsManifest, embed};
use crate::contents::contents;
use crate::maxscore::ScoredDoc;
use crate::staging::StagingDir;
use crate::{Bm25, IndexError};

/// Embeds all passages of an index into a folder, `batch` at a time, in the place of the vectors
/// that may be there. `progress` gets the number of passages that are done.
///
/// A passage is embedded as its title in double quotes on a first line, then its text, as in
/// Search-R1's dense indexes. As with an index, a build that is cut short leaves the old folder as
/// it was.
pub fn build_vectors(
    passages: &Bm25,
    embedder: &dyn Embedder,
    folder: &Path,
    batch: usize,
    progress: &dyn Fn(u64),
) -> Result<(), DenseError> {
    let n_passages = passages.manifest().passages;
    let staging = StagingDir::claim(folder, MANIFEST)?;
    let fresh = staging.folder("new")?;
    let path = fresh.join(VECTORS);
    let file = File::create(&path).map_err(IndexError::file("create", &path))?;
    let mut file = BufWriter::new(file);
    let mut start = 0;
    while start < n_passages {
        let end = n_passages.min(start + batch.max(1) as u64);
        let texts: Vec<String> = (start..end)
            .map(|doc| {
                let hit = passages.hit(ScoredDoc { doc: doc as u32, score: 0.0 })?;
                Ok(contents(&hit.title, &hit.text))
            })
            .collect::<Result<_, IndexError>>()?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for vector in embed(embedder, &texts, TextRole::Passage)? {
            let row: Vec<u8> =
                vector.iter().flat_map(|&number| f16::from_f32(number).to_le_bytes()).collect();
            file.write_all(&row).map_err(IndexError::file("write", &path))?;
        }
        start = end;
        progress(start);
    }
    let synced = file.into_inner().map_err(std::io::IntoInnerError::into_error);
    synced.and_then(|it| it.sync_all()).map_err(IndexError::file("write", &path))?;
    let manifest = VectorsManifest {
        format: FORMAT,
        embedder: embedder.name().to_owned(),
        dimension: embedder.dimension(),
        passages: n_passages,
        fingerprint: passages.manifest().fingerprint.clone(),
        graph: None,
    };
    manifest.write(&fresh)?;
    staging.publish(&fresh)?;
    Ok(())
}

/// Builds the HNSW graph of the vectors in a folder, in the place of the one that may be there.
/// `progress` gets the number of vectors that are done.
///
/// The manifest names the graph once it is complete: a build that is cut short leaves vectors that
/// are searched as they were before.
pub fn build_graph(folder: &Path, progress: &(dyn Fn(u64) + Sync)) -> Result<(), DenseError> {
    let old = VectorsManifest::read(folder)?;
    let vectors = old.vectors(folder)?;
    let staging = StagingDir::claim(folder, MANIFEST)?;
    // What a killed process left of a manifest; the lock is ours.
    forage_fs::remove_parts(folder);
    let fresh = staging.folder("graph")?;
    let graph = graph::build(bytemuck::cast_slice(&vectors), old.dimension, &fresh, progress)?;
    // Without the old graph first, so that no manifest names the wrong one.
    VectorsManifest { graph: None, ..old.clone() }.write(folder)?;
    let target = folder.join(GRAPH);
    fs::rename(fresh.join(GRAPH), &target).map_err(IndexError::file("replace", &target))?;
    VectorsManifest { graph: Some(graph), ..old }.write(folder)?;
    Ok(())
}
