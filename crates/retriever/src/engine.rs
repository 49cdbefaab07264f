//! Search engine of a run, opened from a [`RetrieverConfig`].
//!
//! [`SearchEngine`] hides which engine it is and whether its searches are recorded. It knows no
//! model: the encoder of dense search is loaded by the caller.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forage_trajectory::{BoxError, Embedder, Hit, Retriever, SearchError};

use crate::{
    Bm25, CANDIDATES, ClientError, Dense, DenseError, Elastic, ElasticConfig, EmbedderConfig,
    Embeddings, EmbeddingsConfig, EncoderConfig, EngineConfig, Fused, IndexConfig, IndexError,
    IndexManifest, Qdrant, QdrantConfig, RankingMode, RecordConfig, RecordError, RecordMode,
    Recorded, Remote, RemoteConfig, RetrieverConfig, SearchOptions, Web, WebConfig,
};

/// Hits of each ranking that hybrid search fuses.
pub const FUSED_DEPTH: usize = 100;

/// Loader of text encoders: this crate knows nothing of models.
pub type LoadEncoder<'a> = &'a dyn Fn(&EncoderConfig) -> Result<Arc<dyn Embedder>, BoxError>;

/// Error of opening a search engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Index that cannot be opened.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Vectors that cannot be opened.
    #[error(transparent)]
    Dense(#[from] DenseError),
    /// Client whose options are wrong, or embedding server that does not embed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Encoder that cannot be loaded.
    #[error("the encoder `{}` cannot be loaded", path.display())]
    Encoder {
        /// Folder of the encoder.
        path: PathBuf,
        /// Error of the loader.
        source: BoxError,
    },
    /// Record that cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Search engine of a run. Shared by many threads.
pub struct SearchEngine {
    retriever: Box<dyn Retriever>,
    manifest: Option<IndexManifest>,
    /// Whether the retry budget of a server is spent.
    given_up: Box<dyn Fn() -> bool + Send + Sync>,
}

impl SearchEngine {
    /// Opens the engine of a run file. A server that searches gets no request yet, one that embeds
    /// does; the replay of a record needs neither server nor encoder.
    pub fn open(config: &RetrieverConfig, load: LoadEncoder<'_>) -> Result<Self, EngineError> {
        let engine = &config.engine;
        let Some(RecordConfig { file, mode }) = &config.record else {
            return Self::open_engine(engine, load);
        };
        let source = source_name(engine, absolute)?;
        // Records of earlier versions have the path of an encoder as the run file has it.
        let older = source_name(engine, Path::to_owned)?;
        match mode {
            RecordMode::Record => {
                let Self { retriever, manifest, given_up } = Self::open_engine(engine, load)?;
                let recorded = Recorded::record(retriever, source, file)?;
                let retriever = Box::new(recorded.with_older_source(older));
                Ok(Self { retriever, manifest, given_up })
            }
            RecordMode::Replay => {
                let manifest = match engine {
                    EngineConfig::Index(IndexConfig { folder, analyzer, .. }) => {
                        Some(IndexManifest::read(folder, *analyzer)?.0)
                    }
                    _ => None,
                };
                let recorded = Recorded::replay(source, file)?;
                let retriever = Box::new(recorded.with_older_source(older));
                Ok(Self { retriever, manifest, given_up: never() })
            }
        }
    }

    fn open_engine(engine: &EngineConfig, load: LoadEncoder<'_>) -> Result<Self, EngineError> {
        Ok(match engine {
            EngineConfig::Index(index) => Self::open_index(index, load)?,
            EngineConfig::Remote(remote) => {
                Self::server(Remote::new(remote)?, Remote::has_given_up)
            }
            EngineConfig::Elastic(elastic) => {
                Self::server(Elastic::new(elastic)?, Elastic::has_given_up)
            }
            EngineConfig::Qdrant { collection, embedder } => {
                let embedder = open_embedder(embedder, load)?;
                Self::server(Qdrant::new(collection, embedder)?, Qdrant::has_given_up)
            }
            EngineConfig::Web(web) => Self::server(Web::new(web)?, Web::has_given_up),
        })
    }

    fn open_index(config: &IndexConfig, load: LoadEncoder<'_>) -> Result<Self, EngineError> {
        let bm25 = Bm25::open(&config.folder, &config.options())?;
        let Some(vectors) = &config.vectors else { return Ok(bm25.into()) };
        let manifest = Some(bm25.manifest().clone());
        let bm25 = Arc::new(bm25);
        let embedder = open_embedder(&vectors.embedder, load)?;
        let candidates = vectors.candidates.map_or(CANDIDATES, NonZeroUsize::get);
        let dense =
            Dense::open(&vectors.folder, Arc::clone(&bm25), embedder)?.with_candidates(candidates);
        let retriever: Box<dyn Retriever> = match vectors.rank.unwrap_or_default() {
            RankingMode::Dense => Box::new(dense),
            RankingMode::Hybrid => Box::new(Fused::new(vec![bm25, Arc::new(dense)], FUSED_DEPTH)),
        };
        Ok(Self { retriever, manifest, given_up: never() })
    }

    fn server<T: Retriever + 'static>(client: T, given_up: fn(&T) -> bool) -> Self {
        let client = Arc::new(client);
        let watched = Arc::clone(&client);
        let given_up = Box::new(move || given_up(&watched));
        Self { retriever: Box::new(SharedClient(client)), manifest: None, given_up }
    }

    /// Manifest of the index; none where a server searches.
    pub fn manifest(&self) -> Option<&IndexManifest> {
        self.manifest.as_ref()
    }
}

fn open_embedder(
    config: &EmbedderConfig,
    load: LoadEncoder<'_>,
) -> Result<Arc<dyn Embedder>, EngineError> {
    match config {
        EmbedderConfig::Server(server) => Ok(Arc::new(Embeddings::connect(server)?)),
        EmbedderConfig::Encoder(encoder) => {
            let failed = |source| EngineError::Encoder { path: encoder.path.clone(), source };
            load(encoder).map_err(failed)
        }
    }
}

/// Name of an engine with its settings, which tells its recorded searches from those of others.
/// Records that exist hold it: its wording must not change. `path_of` is how the path of an encoder
/// is written: from another folder, a relative one would name another encoder.
fn source_name(
    engine: &EngineConfig,
    path_of: fn(&Path) -> PathBuf,
) -> Result<String, EngineError> {
    Ok(match engine {
        EngineConfig::Index(index) => {
            let (manifest, name) = IndexManifest::read(&index.folder, index.analyzer)?;
            let IndexManifest { fingerprint, analyzer, analyzer_version, .. } = manifest;
            // The oldest version has records that do not name it.
            let version = match analyzer_version {
                version if version == name.oldest_version() => String::new(),
                version => format!(" version {version}"),
            };
            let SearchOptions { k1, b, .. } = index.options();
            let vectors = index.vectors.as_ref();
            let rank = vectors.map(|config| config.rank.unwrap_or_default());
            let candidates = vectors.and_then(|it| it.candidates);
            let candidates = candidates.map_or(String::new(), |it| format!(" of {it}"));
            let embedder =
                vectors.map_or(String::new(), |config| embedder_name(&config.embedder, path_of));
            format!(
                "{fingerprint} {analyzer}{version} k1 {k1} b {b} {rank:?}{candidates}{embedder}"
            )
        }
        EngineConfig::Remote(RemoteConfig { dialect, url, .. }) => format!("{dialect} {url}"),
        EngineConfig::Elastic(ElasticConfig { url, index, fields, .. }) => {
            format!("elastic {url} {index} {fields:?}")
        }
        EngineConfig::Qdrant { collection, embedder } => {
            let QdrantConfig { url, collection, vector, .. } = collection;
            format!("qdrant {url} {collection} {vector:?}{}", embedder_name(embedder, path_of))
        }
        EngineConfig::Web(WebConfig { engine, url, blocked, page_bytes, .. }) => {
            format!("web {engine:?} {url:?} without {blocked:?}, pages {page_bytes:?}")
        }
    })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn embedder_name(embedder: &EmbedderConfig, path_of: fn(&Path) -> PathBuf) -> String {
    match embedder {
        EmbedderConfig::Server(EmbeddingsConfig { model, query_prefix, .. }) => {
            format!(" {model} {query_prefix:?}")
        }
        EmbedderConfig::Encoder(EncoderConfig { path, query_prefix, max_tokens, .. }) => {
            format!(" {} {query_prefix:?} {max_tokens:?}", path_of(path).display())
        }
    }
}

fn never() -> Box<dyn Fn() -> bool + Send + Sync> {
    Box::new(|| false)
}

/// Client that is searched with and whose retry budget is watched.
struct SharedClient<T>(Arc<T>);

impl<T: Retriever> Retriever for SharedClient<T> {
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        self.0.search(queries, k)
    }
}

impl From<Bm25> for SearchEngine {
    fn from(bm25: Bm25) -> Self {
        let manifest = Some(bm25.manifest().clone());
        Self { retriever: Box::new(bm25), manifest, given_up: never() }
    }
}

impl Retriever for SearchEngine {
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        self.retriever.search(queries, k)
    }

    fn has_given_up(&self) -> bool {
        (self.given_up)()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_is_recorded_by_an_absolute_path() {
        let here = std::env::current_dir().unwrap();
        let name = |path: &str| {
            let encoder = EncoderConfig { path: path.into(), ..EncoderConfig::default() };
            embedder_name(&EmbedderConfig::Encoder(encoder), absolute)
        };
        assert_eq!(name("models/e5"), format!(" {} None None", here.join("models/e5").display()));
        assert_eq!(name("/models/e5"), " /models/e5 None None");
    }
}
