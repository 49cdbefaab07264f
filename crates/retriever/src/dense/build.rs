//! Embeds the passages of an index.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use forage_trajectory::{Embedder, TextRole};
use half::f16;

use super::{DenseError, FORMAT, MANIFEST, Manifest, VECTORS, embed};
use crate::contents::contents;
use crate::maxscore::Ranked;
use crate::site::BuildSite;
use crate::{Bm25, IndexError};

/// Embeds all passages of an index into a folder, `batch` at a time, in place of the vectors that
/// may be there. `progress` is told how many are done.
///
/// What is embedded is the title in double quotes on a first line, then the text: what Search-R1's
/// dense indexes hold. As with an index, a build that is cut short leaves the old folder as it was.
pub fn build_vectors(
    passages: &Bm25,
    embedder: &dyn Embedder,
    folder: &Path,
    batch: usize,
    progress: &dyn Fn(u64),
) -> Result<(), DenseError> {
    let n_passages = passages.manifest().passages;
    let site = BuildSite::claim(folder, MANIFEST)?;
    let fresh = site.folder("new")?;
    let path = fresh.join(VECTORS);
    let file = File::create(&path).map_err(IndexError::file("create", &path))?;
    let mut file = BufWriter::new(file);
    let mut start = 0;
    while start < n_passages {
        let end = n_passages.min(start + batch.max(1) as u64);
        let texts: Vec<String> = (start..end)
            .map(|doc| {
                let hit = passages.hit(Ranked { doc: doc as u32, score: 0.0 })?;
                Ok(contents(&hit.title, &hit.text))
            })
            .collect::<Result<_, IndexError>>()?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for vector in embed(embedder, &texts, TextRole::Passage)? {
            let row: Vec<u8> =
                vector.iter().flat_map(|&it| f16::from_f32(it).to_le_bytes()).collect();
            file.write_all(&row).map_err(IndexError::file("write", &path))?;
        }
        start = end;
        progress(start);
    }
    let synced = file.into_inner().map_err(std::io::IntoInnerError::into_error);
    synced.and_then(|it| it.sync_all()).map_err(IndexError::file("write", &path))?;
    let manifest = Manifest {
        format: FORMAT,
        embedder: embedder.name().to_owned(),
        dimension: embedder.dimension(),
        passages: n_passages,
        fingerprint: passages.manifest().fingerprint.clone(),
    };
    let text = serde_json::to_string_pretty(&manifest).expect("strings and numbers are JSON");
    let path = fresh.join(MANIFEST);
    let write = || {
        let mut file = File::create(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(IndexError::file("write", &path))?;
    site.publish(&fresh)?;
    Ok(())
}
