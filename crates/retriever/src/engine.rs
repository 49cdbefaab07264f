//! The search engine of a run file: an index, or a server, and perhaps a record of what it found.

use std::path::PathBuf;
use std::sync::Arc;

use forage_trajectory::{Embedder, Hit, Retriever, SearchError};
use serde::{Deserialize, Serialize};

use crate::{
    Analyzer, Bm25, ClientError, Dense, DenseError, Elastic, ElasticConfig, Embeddings,
    EmbeddingsConfig, Fused, IndexError, Manifest, Qdrant, QdrantConfig, RecordConfig, RecordError,
    RecordMode, Recorded, Remote, RemoteConfig, SearchOptions,
};

/// Hits of each ranking that a hybrid one is made of.
pub const FUSED_DEPTH: usize = 100;

/// The `[retriever]` section of a run file: one of `index`, `remote`, `elastic` and `qdrant`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrieverConfig {
    /// Folder of the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<PathBuf>,
    /// The analyzer that the index must have been made with; any where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analyzer: Option<Analyzer>,
    /// How fast repetitions of a term stop to count; 1.2 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k1: Option<f32>,
    /// How much long passages are held back, from 0 to 1; 0.75 where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<f32>,
    /// Folder of vectors of the passages of the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<PathBuf>,
    /// How an index with vectors is ranked; by both where it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<Rank>,
    /// What embeds queries, for `vectors` and `qdrant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<EmbeddingsConfig>,
    /// A server of the `/retrieve` protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteConfig>,
    /// An index of `OpenSearch`, Elasticsearch or Quickwit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elastic: Option<ElasticConfig>,
    /// A collection of Qdrant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qdrant: Option<QdrantConfig>,
    /// A record of what was found, to find it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordConfig>,
}

/// How an index with vectors is ranked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rank {
    /// By words and by vectors, fused by ranks.
    #[default]
    Hybrid,
    /// By vectors.
    Dense,
}

/// A section that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetrieverConfigError {
    /// None or several.
    #[error("`retriever` wants one of `index`, `remote`, `elastic` and `qdrant`")]
    OneOf,
    /// A key that nothing uses.
    #[error("`retriever.{key}` is used with {with} only")]
    Unused {
        /// The key.
        key: &'static str,
        /// What uses it.
        with: &'static str,
    },
    /// A key that is needed.
    #[error("`retriever.{key}` needs `retriever.embeddings`, which embeds queries")]
    NoEmbeddings {
        /// The key that needs it.
        key: &'static str,
    },
}

/// A search engine that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The section contradicts itself.
    #[error(transparent)]
    Config(#[from] RetrieverConfigError),
    /// The index cannot be opened.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The vectors cannot be opened.
    #[error(transparent)]
    Dense(#[from] DenseError),
    /// The client cannot be made, or the server does not embed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl RetrieverConfig {
    /// A section that names an index and nothing else.
    pub fn of_index(index: impl Into<PathBuf>) -> Self {
        Self { index: Some(index.into()), ..Self::default() }
    }

    /// Whether the keys go together.
    pub fn check(&self) -> Result<(), RetrieverConfigError> {
        let engines = [
            self.index.is_some(),
            self.remote.is_some(),
            self.elastic.is_some(),
            self.qdrant.is_some(),
        ];
        if engines.iter().filter(|it| **it).count() != 1 {
            return Err(RetrieverConfigError::OneOf);
        }
        let (has_index, has_vectors) = (self.index.is_some(), self.vectors.is_some());
        let embeds = has_vectors || self.qdrant.is_some();
        for (key, is_given, is_used, with) in [
            ("analyzer", self.analyzer.is_some(), has_index, "`index`"),
            ("k1", self.k1.is_some(), has_index, "`index`"),
            ("b", self.b.is_some(), has_index, "`index`"),
            ("vectors", has_vectors, has_index, "`index`"),
            ("rank", self.rank.is_some(), has_vectors, "`vectors`"),
            ("embeddings", self.embeddings.is_some(), embeds, "`vectors` and `qdrant`"),
        ] {
            if is_given && !is_used {
                return Err(RetrieverConfigError::Unused { key, with });
            }
        }
        if embeds && self.embeddings.is_none() {
            let key = if has_vectors { "vectors" } else { "qdrant" };
            return Err(RetrieverConfigError::NoEmbeddings { key });
        }
        Ok(())
    }

    /// How the index is searched.
    pub fn options(&self) -> SearchOptions {
        let default = SearchOptions::default();
        SearchOptions {
            analyzer: self.analyzer,
            k1: self.k1.unwrap_or(default.k1),
            b: self.b.unwrap_or(default.b),
        }
    }
}

/// The search engine of a run. Shared by many threads.
pub struct SearchEngine {
    retriever: Box<dyn Retriever>,
    manifest: Option<Manifest>,
    /// Whether a server is down for good.
    given_up: Box<dyn Fn() -> bool + Send + Sync>,
}

impl SearchEngine {
    /// Opens what a run file names. A server that searches is not asked yet, one that embeds is; a
    /// record that is replayed needs neither.
    pub fn open(config: &RetrieverConfig) -> Result<Self, EngineError> {
        config.check()?;
        let Some(RecordConfig { file, mode }) = &config.record else {
            return Self::engine(config);
        };
        let source = config.source()?;
        match mode {
            RecordMode::Record => {
                let Self { retriever, manifest, given_up } = Self::engine(config)?;
                let retriever = Box::new(Recorded::record(retriever, source, file)?);
                Ok(Self { retriever, manifest, given_up })
            }
            RecordMode::Replay => {
                let index = config.index.as_deref();
                let manifest = index.map(|it| Manifest::read(it, config.analyzer)).transpose()?;
                let retriever = Box::new(Recorded::replay(source, file)?);
                Ok(Self { retriever, manifest: manifest.map(|it| it.0), given_up: never() })
            }
        }
    }

    fn engine(config: &RetrieverConfig) -> Result<Self, EngineError> {
        if let Some(remote) = &config.remote {
            return Ok(Self::server(Remote::new(remote)?, Remote::has_given_up));
        }
        if let Some(elastic) = &config.elastic {
            return Ok(Self::server(Elastic::new(elastic)?, Elastic::has_given_up));
        }
        let embedder = || -> Result<Arc<dyn Embedder>, EngineError> {
            let embeddings = config.embeddings.as_ref();
            let key = if config.qdrant.is_some() { "qdrant" } else { "vectors" };
            let embeddings = embeddings.ok_or(RetrieverConfigError::NoEmbeddings { key })?;
            Ok(Arc::new(Embeddings::connect(embeddings)?))
        };
        if let Some(qdrant) = &config.qdrant {
            return Ok(Self::server(Qdrant::new(qdrant, embedder()?)?, Qdrant::has_given_up));
        }
        let index = config.index.as_deref().ok_or(RetrieverConfigError::OneOf)?;
        let bm25 = Bm25::open(index, &config.options())?;
        let Some(vectors) = &config.vectors else { return Ok(bm25.into()) };
        let manifest = Some(bm25.manifest().clone());
        let bm25 = Arc::new(bm25);
        let dense = Dense::open(vectors, Arc::clone(&bm25), embedder()?)?;
        let retriever: Box<dyn Retriever> = match config.rank.unwrap_or_default() {
            Rank::Dense => Box::new(dense),
            Rank::Hybrid => Box::new(Fused::new(vec![bm25, Arc::new(dense)], FUSED_DEPTH)),
        };
        Ok(Self { retriever, manifest, given_up: never() })
    }

    fn server<T: Retriever + 'static>(client: T, given_up: fn(&T) -> bool) -> Self {
        let client = Arc::new(client);
        let watched = Arc::clone(&client);
        let given_up = Box::new(move || given_up(&watched));
        Self { retriever: Box::new(Shared(client)), manifest: None, given_up }
    }

    /// What the index says of itself; nothing where a server searches.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Whether a server is down for good: searches fail and the budget of failures is spent.
    pub fn has_given_up(&self) -> bool {
        (self.given_up)()
    }
}

impl RetrieverConfig {
    /// Names engine and settings, for what is recorded of it.
    fn source(&self) -> Result<String, EngineError> {
        let source = match (&self.index, &self.remote, &self.elastic, &self.qdrant) {
            (Some(index), ..) => {
                let (manifest, _) = Manifest::read(index, self.analyzer)?;
                let Manifest { fingerprint, analyzer, .. } = manifest;
                let SearchOptions { k1, b, .. } = self.options();
                let rank = self.vectors.as_ref().map(|_| self.rank.unwrap_or_default());
                format!("{fingerprint} {analyzer} k1 {k1} b {b} {rank:?}")
            }
            (_, Some(RemoteConfig { dialect, url, .. }), ..) => format!("{dialect} {url}"),
            (_, _, Some(ElasticConfig { url, index, fields, .. }), _) => {
                format!("elastic {url} {index} {fields:?}")
            }
            (.., Some(QdrantConfig { url, collection, vector, .. })) => {
                format!("qdrant {url} {collection} {vector:?}")
            }
            _ => return Err(RetrieverConfigError::OneOf.into()),
        };
        Ok(match &self.embeddings {
            Some(EmbeddingsConfig { model, query_prefix, .. }) => {
                format!("{source} {model} {query_prefix:?}")
            }
            None => source,
        })
    }
}

fn never() -> Box<dyn Fn() -> bool + Send + Sync> {
    Box::new(|| false)
}

/// A client that is kept an eye on while it searches.
struct Shared<T>(Arc<T>);

impl<T: Retriever> Retriever for Shared<T> {
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
}
