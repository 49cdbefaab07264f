//! The search engine of a run file: an index, or a server, and perhaps a record of what it found.

use std::path::PathBuf;
use std::sync::Arc;

use forage_trajectory::{BoxError, Embedder, Hit, Retriever, SearchError};
use serde::{Deserialize, Serialize};

use crate::{
    Analyzer, Bm25, CANDIDATES, ClientError, Dense, DenseError, Elastic, ElasticConfig, Embeddings,
    EmbeddingsConfig, Fused, IndexError, Manifest, Qdrant, QdrantConfig, RecordConfig, RecordError,
    RecordMode, Recorded, Remote, RemoteConfig, SearchOptions, Web, WebConfig,
};

/// Hits of each ranking that a hybrid one is made of.
pub const FUSED_DEPTH: usize = 100;

/// The `[retriever]` section of a run file: one of `index`, `remote`, `elastic`, `qdrant` and `web`.
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
    /// Passages of the vectors' graph that are scored for a query; [`crate::CANDIDATES`] where it
    /// is not given. Vectors without a graph are all scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<usize>,
    /// The server that embeds queries, for `vectors` and `qdrant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<EmbeddingsConfig>,
    /// The model that embeds queries in this process, for `vectors` and `qdrant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<EncoderConfig>,
    /// A server of the `/retrieve` protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteConfig>,
    /// An index of `OpenSearch`, Elasticsearch or Quickwit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elastic: Option<ElasticConfig>,
    /// A collection of Qdrant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qdrant: Option<QdrantConfig>,
    /// A search engine of the web.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web: Option<WebConfig>,
    /// A record of what was found, to find it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordConfig>,
}

/// A folder with a text encoder. What is not given is as the folder says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// The folder, in the layout of Hugging Face.
    pub path: PathBuf,
    /// What is put before a query; `query: ` for e5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_prefix: Option<String>,
    /// What is put before a passage; `passage: ` for e5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passage_prefix: Option<String>,
    /// Most tokens of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
}

/// Loads the encoder of a folder: this crate knows nothing of models.
pub type LoadEncoder<'a> = &'a dyn Fn(&EncoderConfig) -> Result<Arc<dyn Embedder>, BoxError>;

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
    #[error("`retriever` wants one of `index`, `remote`, `elastic`, `qdrant` and `web`")]
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
    #[error(
        "`retriever.{key}` needs either `retriever.embeddings` or `retriever.encoder`, which embed \
         queries"
    )]
    NoEmbeddings {
        /// The key that needs it.
        key: &'static str,
    },
    /// A number that means nothing.
    #[error("`retriever.candidates` is 0; it must be 1 or more")]
    NoCandidates,
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
    /// The encoder cannot be loaded.
    #[error("the encoder `{}` cannot be loaded", path.display())]
    Encoder {
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: BoxError,
    },
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
            self.web.is_some(),
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
            ("candidates", self.candidates.is_some(), has_vectors, "`vectors`"),
            ("embeddings", self.embeddings.is_some(), embeds, "`vectors` and `qdrant`"),
            ("encoder", self.encoder.is_some(), embeds, "`vectors` and `qdrant`"),
        ] {
            if is_given && !is_used {
                return Err(RetrieverConfigError::Unused { key, with });
            }
        }
        if self.candidates == Some(0) {
            return Err(RetrieverConfigError::NoCandidates);
        }
        if embeds && self.embeddings.is_some() == self.encoder.is_some() {
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
    /// record that is replayed needs neither server nor encoder.
    pub fn open(config: &RetrieverConfig, load: LoadEncoder<'_>) -> Result<Self, EngineError> {
        config.check()?;
        let Some(RecordConfig { file, mode }) = &config.record else {
            return Self::engine(config, load);
        };
        let source = config.source()?;
        match mode {
            RecordMode::Record => {
                let Self { retriever, manifest, given_up } = Self::engine(config, load)?;
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

    fn engine(config: &RetrieverConfig, load: LoadEncoder<'_>) -> Result<Self, EngineError> {
        if let Some(remote) = &config.remote {
            return Ok(Self::server(Remote::new(remote)?, Remote::has_given_up));
        }
        if let Some(elastic) = &config.elastic {
            return Ok(Self::server(Elastic::new(elastic)?, Elastic::has_given_up));
        }
        if let Some(web) = &config.web {
            return Ok(Self::server(Web::new(web)?, Web::has_given_up));
        }
        let embedder = || -> Result<Arc<dyn Embedder>, EngineError> {
            if let Some(encoder) = &config.encoder {
                let failed = |source| EngineError::Encoder { path: encoder.path.clone(), source };
                return load(encoder).map_err(failed);
            }
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
        let dense = Dense::open(vectors, Arc::clone(&bm25), embedder()?)?
            .with_candidates(config.candidates.unwrap_or(CANDIDATES));
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
}

impl RetrieverConfig {
    /// Names engine and settings, for what is recorded of it.
    fn source(&self) -> Result<String, EngineError> {
        let source = if let Some(index) = &self.index {
            let (manifest, _) = Manifest::read(index, self.analyzer)?;
            let Manifest { fingerprint, analyzer, .. } = manifest;
            let SearchOptions { k1, b, .. } = self.options();
            let rank = self.vectors.as_ref().map(|_| self.rank.unwrap_or_default());
            let candidates = self.candidates.map_or(String::new(), |it| format!(" of {it}"));
            format!("{fingerprint} {analyzer} k1 {k1} b {b} {rank:?}{candidates}")
        } else if let Some(RemoteConfig { dialect, url, .. }) = &self.remote {
            format!("{dialect} {url}")
        } else if let Some(ElasticConfig { url, index, fields, .. }) = &self.elastic {
            format!("elastic {url} {index} {fields:?}")
        } else if let Some(QdrantConfig { url, collection, vector, .. }) = &self.qdrant {
            format!("qdrant {url} {collection} {vector:?}")
        } else if let Some(WebConfig { engine, url, blocked, page_bytes, .. }) = &self.web {
            format!("web {engine:?} {url:?} without {blocked:?}, pages {page_bytes:?}")
        } else {
            return Err(RetrieverConfigError::OneOf.into());
        };
        Ok(match (&self.embeddings, &self.encoder) {
            (Some(EmbeddingsConfig { model, query_prefix, .. }), _) => {
                format!("{source} {model} {query_prefix:?}")
            }
            (None, Some(EncoderConfig { path, query_prefix, max_tokens, .. })) => {
                format!("{source} {} {query_prefix:?} {max_tokens:?}", path.display())
            }
            (None, None) => source,
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

    fn has_given_up(&self) -> bool {
        (self.given_up)()
    }
}
