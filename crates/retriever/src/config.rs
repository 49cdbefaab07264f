//! Configuration of search: the `[retriever]` section of a run file, parsed into one engine of
//! five.
//!
//! In the file the keys of all engines stand side by side. [`RetrieverConfig`] is what they mean:
//! an [`EngineConfig`] with the options that this engine has, so that a section of several engines,
//! or with an option that nothing uses, cannot be had.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::analyzer::Analyzer;
use crate::bm25::SearchOptions;
use crate::cassette::RecordConfig;
use crate::client::{ElasticConfig, QdrantConfig, RemoteConfig};
use crate::dense::{CANDIDATES, EmbeddingsConfig};
use crate::web::WebConfig;

/// Search engine of a run: the `[retriever]` section of a run file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawRetriever", into = "RawRetriever")]
pub struct RetrieverConfig {
    /// Search engine: one of `index`, `remote`, `elastic`, `qdrant` and `web`.
    pub engine: EngineConfig,
    /// Record of the searches, to replay them. Default: none.
    pub record: Option<RecordConfig>,
}

/// Search engine with its options.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineConfig {
    /// Index on this machine.
    Index(IndexConfig),
    /// Server of the `/retrieve` protocol.
    Remote(RemoteConfig),
    /// Index of `OpenSearch`, Elasticsearch or Quickwit.
    Elastic(ElasticConfig),
    /// Collection of Qdrant.
    Qdrant {
        /// Collection.
        collection: QdrantConfig,
        /// Embedder of the queries.
        embedder: EmbedderConfig,
    },
    /// Search engine of the web.
    Web(WebConfig),
}

/// BM25 over an index, alone or with dense search over its vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexConfig {
    /// Folder of the index.
    pub folder: PathBuf,
    /// Analyzer that the index must have been built with. Default: any.
    pub analyzer: Option<Analyzer>,
    /// BM25 term-frequency saturation. Default: 1.2.
    pub k1: Option<f32>,
    /// BM25 length normalization, from 0 to 1. Default: 0.75.
    pub b: Option<f32>,
    /// Dense search. Default: none.
    pub vectors: Option<VectorsConfig>,
}

/// Dense search over the vectors of an index.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorsConfig {
    /// Folder of the vectors.
    pub folder: PathBuf,
    /// Ranking mode. Default: hybrid.
    pub rank: Option<RankingMode>,
    /// Candidates of the HNSW graph that are scored for a query; without a graph all vectors are.
    /// Default: [`CANDIDATES`](crate::CANDIDATES).
    pub candidates: Option<NonZeroUsize>,
    /// Embedder of the queries.
    pub embedder: EmbedderConfig,
}

/// Embedder of queries.
#[derive(Debug, Clone, PartialEq)]
pub enum EmbedderConfig {
    /// Server of `/v1/embeddings`: the key `embeddings`.
    Server(EmbeddingsConfig),
    /// Text encoder in this process: the key `encoder`.
    Encoder(EncoderConfig),
}

/// Text encoder in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// Folder of the model, in the layout of Hugging Face.
    pub path: PathBuf,
    /// Prefix of a query, such as `query: ` for e5. Default: as the folder says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_prefix: Option<String>,
    /// Prefix of a passage, such as `passage: ` for e5. Default: as the folder says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passage_prefix: Option<String>,
    /// Most tokens of a text. Default: as the folder says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
}

/// Ranking of an index that has vectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RankingMode {
    /// Hybrid search: BM25 and dense search, fused by reciprocal ranks.
    #[default]
    Hybrid,
    /// Dense search alone.
    Dense,
}

/// Contradiction in a `[retriever]` section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetrieverConfigError {
    /// No engine, or several.
    #[error("`retriever` wants one of `index`, `remote`, `elastic`, `qdrant` and `web`")]
    OneOf,
    /// Key that nothing uses.
    #[error("`retriever.{key}` is used with {with} only")]
    Unused {
        /// Key.
        key: &'static str,
        /// Keys that use it.
        with: &'static str,
    },
    /// Dense search without an embedder, or with two.
    #[error(
        "`retriever.{key}` needs either `retriever.embeddings` or `retriever.encoder`, which embed \
         queries"
    )]
    NoEmbeddings {
        /// Key that needs it.
        key: &'static str,
    },
    /// Dense search over 0 candidates.
    #[error("`retriever.candidates` is 0; it must be 1 or more")]
    NoCandidates,
}

impl RetrieverConfig {
    /// Section that names an index and nothing else.
    pub fn of_index(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        let index = IndexConfig { folder, analyzer: None, k1: None, b: None, vectors: None };
        Self { engine: EngineConfig::Index(index), record: None }
    }

    /// Another index, ranked by BM25 with the options of this section.
    #[must_use]
    pub fn with_index(&self, folder: impl Into<PathBuf>) -> Self {
        let engine = match &self.engine {
            EngineConfig::Index(index) => {
                let folder = folder.into();
                EngineConfig::Index(IndexConfig { folder, vectors: None, ..index.clone() })
            }
            _ => return Self::of_index(folder),
        };
        Self { engine, record: None }
    }

    /// The same section with its defaults written out.
    #[must_use]
    pub fn with_defaults(mut self) -> Self {
        if let EngineConfig::Index(index) = &mut self.engine {
            let SearchOptions { k1, b, .. } = index.options();
            (index.k1, index.b) = (Some(k1), Some(b));
            if let Some(vectors) = &mut index.vectors {
                vectors.rank = Some(vectors.rank.unwrap_or_default());
                vectors.candidates = vectors.candidates.or(NonZeroUsize::new(CANDIDATES));
            }
        }
        self
    }

    /// Folder of the index; none where a server searches.
    pub fn index(&self) -> Option<&Path> {
        match &self.engine {
            EngineConfig::Index(index) => Some(&index.folder),
            _ => None,
        }
    }

    /// Embedder of the queries, where search is dense.
    pub fn embedder(&self) -> Option<&EmbedderConfig> {
        match &self.engine {
            EngineConfig::Index(index) => index.vectors.as_ref().map(|it| &it.embedder),
            EngineConfig::Qdrant { embedder, .. } => Some(embedder),
            _ => None,
        }
    }

    /// Text encoder that embeds the queries in this process.
    pub fn encoder(&self) -> Option<&EncoderConfig> {
        match self.embedder()? {
            EmbedderConfig::Encoder(encoder) => Some(encoder),
            EmbedderConfig::Server(_) => None,
        }
    }
}

impl EngineConfig {
    /// Folder of the index, or address of the server; empty for the public address of an engine of
    /// the web.
    pub fn location(&self) -> String {
        match self {
            Self::Index(index) => index.folder.display().to_string(),
            Self::Remote(remote) => remote.url.clone(),
            Self::Elastic(elastic) => elastic.url.clone(),
            Self::Qdrant { collection, .. } => collection.url.clone(),
            Self::Web(web) => web.url.clone().unwrap_or_default(),
        }
    }
}

impl IndexConfig {
    /// Options of BM25, with their defaults.
    pub fn options(&self) -> SearchOptions {
        let default = SearchOptions::default();
        SearchOptions {
            analyzer: self.analyzer,
            k1: self.k1.unwrap_or(default.k1),
            b: self.b.unwrap_or(default.b),
        }
    }
}

/// Section as it is in a file: the keys of all engines side by side.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename = "RetrieverConfig", deny_unknown_fields, default)]
struct RawRetriever {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    analyzer: Option<Analyzer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k1: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vectors: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<RankingMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embeddings: Option<EmbeddingsConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoder: Option<EncoderConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<RemoteConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elastic: Option<ElasticConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qdrant: Option<QdrantConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    web: Option<WebConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordConfig>,
}

impl RawRetriever {
    /// Refuses the first key that is given although nothing uses it.
    fn check_used(&self) -> Result<(), RetrieverConfigError> {
        let (has_index, has_vectors) = (self.index.is_some(), self.vectors.is_some());
        let embeds = has_vectors || self.qdrant.is_some();
        let (index, vectors, both) = ("`index`", "`vectors`", "`vectors` and `qdrant`");
        for (key, is_given, is_used, with) in [
            ("analyzer", self.analyzer.is_some(), has_index, index),
            ("k1", self.k1.is_some(), has_index, index),
            ("b", self.b.is_some(), has_index, index),
            ("vectors", has_vectors, has_index, index),
            ("rank", self.rank.is_some(), has_vectors, vectors),
            ("candidates", self.candidates.is_some(), has_vectors, vectors),
            ("embeddings", self.embeddings.is_some(), embeds, both),
            ("encoder", self.encoder.is_some(), embeds, both),
        ] {
            if is_given && !is_used {
                return Err(RetrieverConfigError::Unused { key, with });
            }
        }
        Ok(())
    }
}

/// Embedder that `key` needs.
fn embedder(
    embeddings: Option<EmbeddingsConfig>,
    encoder: Option<EncoderConfig>,
    key: &'static str,
) -> Result<EmbedderConfig, RetrieverConfigError> {
    match (embeddings, encoder) {
        (Some(server), None) => Ok(EmbedderConfig::Server(server)),
        (None, Some(encoder)) => Ok(EmbedderConfig::Encoder(encoder)),
        _ => Err(RetrieverConfigError::NoEmbeddings { key }),
    }
}

impl TryFrom<RawRetriever> for RetrieverConfig {
    type Error = RetrieverConfigError;

    fn try_from(raw: RawRetriever) -> Result<Self, RetrieverConfigError> {
        let used = raw.check_used();
        let RawRetriever { analyzer, k1, b, rank, candidates, embeddings, encoder, record, .. } =
            raw;
        let engine = match (raw.index, raw.remote, raw.elastic, raw.qdrant, raw.web) {
            (Some(folder), None, None, None, None) => {
                let vectors = |folder| {
                    let no_candidates = RetrieverConfigError::NoCandidates;
                    let candidates = candidates.map(|n| NonZeroUsize::new(n).ok_or(no_candidates));
                    let candidates = candidates.transpose()?;
                    let embedder = embedder(embeddings, encoder, "vectors")?;
                    Ok(VectorsConfig { folder, rank, candidates, embedder })
                };
                raw.vectors.map(vectors).transpose().map(|vectors| {
                    // A default that is written out is no other configuration.
                    let default = SearchOptions::default();
                    let k1 = k1.filter(|k1| k1.total_cmp(&default.k1).is_ne());
                    let b = b.filter(|b| b.total_cmp(&default.b).is_ne());
                    EngineConfig::Index(IndexConfig { folder, analyzer, k1, b, vectors })
                })
            }
            (None, Some(remote), None, None, None) => Ok(EngineConfig::Remote(remote)),
            (None, None, Some(elastic), None, None) => Ok(EngineConfig::Elastic(elastic)),
            (None, None, None, Some(collection), None) => {
                let embedder = embedder(embeddings, encoder, "qdrant");
                embedder.map(|embedder| EngineConfig::Qdrant { collection, embedder })
            }
            (None, None, None, None, Some(web)) => Ok(EngineConfig::Web(web)),
            _ => return Err(RetrieverConfigError::OneOf),
        };
        used?;
        Ok(Self { engine: engine?, record })
    }
}

impl From<RetrieverConfig> for RawRetriever {
    fn from(config: RetrieverConfig) -> Self {
        let RetrieverConfig { engine, record } = config;
        let mut raw = Self { record, ..Self::default() };
        let embed = |raw: &mut Self, embedder| match embedder {
            EmbedderConfig::Server(server) => raw.embeddings = Some(server),
            EmbedderConfig::Encoder(encoder) => raw.encoder = Some(encoder),
        };
        match engine {
            EngineConfig::Index(IndexConfig { folder, analyzer, k1, b, vectors }) => {
                raw = Self { index: Some(folder), analyzer, k1, b, ..raw };
                if let Some(VectorsConfig { folder, rank, candidates, embedder }) = vectors {
                    raw.vectors = Some(folder);
                    raw.rank = rank;
                    raw.candidates = candidates.map(NonZeroUsize::get);
                    embed(&mut raw, embedder);
                }
            }
            EngineConfig::Remote(remote) => raw.remote = Some(remote),
            EngineConfig::Elastic(elastic) => raw.elastic = Some(elastic),
            EngineConfig::Qdrant { collection, embedder } => {
                raw.qdrant = Some(collection);
                embed(&mut raw, embedder);
            }
            EngineConfig::Web(web) => raw.web = Some(web),
        }
        raw
    }
}
