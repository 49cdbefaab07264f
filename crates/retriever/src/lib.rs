//! Search engines for agents: in this process, as a server, and clients of others.
//!
//! | term | here |
//! |---|---|
//! | BM25 over an inverted index | [`Bm25`], over an index that [`build_index`] makes of a [`Corpus`] |
//! | dense and hybrid search | [`Dense`] with [`build_vectors`] and [`build_graph`], [`Fused`] |
//! | clients | [`Remote`] for the `/retrieve` protocol, [`Elastic`], [`Qdrant`] |
//! | search of the web | [`Web`]: Serper, Brave or `SearXNG`, and the pages they find |
//! | record and replay | [`Recorded`] |
//! | server | [`Server`] of the `/retrieve` protocol |
//! | engine of a run file | [`SearchEngine`], opened from a [`RetrieverConfig`] |
//! | evaluation | [`measure`], as `trec_eval` does; [`Coverage`] of questions by a corpus |
//!
//! The central type is the trait [`Retriever`](forage_trajectory::Retriever), which every engine
//! implements. A search that could not be made is an error, never an empty result. The crate knows
//! neither models nor agents: vectors come through [`Embedder`](forage_trajectory::Embedder).
//!
//! # BM25
//!
//! A [`Corpus`] is read from JSON lines, [`build_index`] turns it into a folder, and [`Bm25`]
//! searches that folder. An [`Analyzer`] turns text into terms, the same for passages and queries.
//!
//! The postings are tantivy's, the ranking is ours: tantivy fixes k1 and b in private constants,
//! and its own pruning is unsound for other values. Here they are options of the search, and the
//! pruned ranking equals the exhaustive one bit for bit.
//!
//! The same index and query give the same hits: one merged segment in the order of the corpus,
//! ties to the earlier passage, no dependence on threads or on what else is in a batch.
//!
//! ```
//! use forage_retriever::{Analyzer, Bm25, SearchOptions};
//! use forage_trajectory::{Passage, Retriever};
//!
//! let passage = |id: &str, title: &str, text: &str| Passage {
//!     id: id.into(),
//!     title: title.into(),
//!     text: text.into(),
//! };
//! let passages = vec![
//!     passage("1", "Alien (film)", "Alien was directed by Ridley Scott."),
//!     passage("2", "Aliens (film)", "The sequel was directed by James Cameron."),
//! ];
//! let bm25 = Bm25::in_memory(passages, Analyzer::English, &SearchOptions::default())?;
//! let hits = bm25.search(&["Who directed the sequel?"], 1).remove(0)?;
//! assert_eq!(hits[0].id, "2");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod analyzer;
mod char_filter;
mod contents;
mod corpus;
mod corpus_error;
mod runs;
mod script;
mod segmentation;
mod stem_cache;

mod directory;
mod error;
mod index;
mod manifest;
mod schema;
mod segments;
mod staging;

mod bm25;
mod dense;
mod fusion;
mod maxscore;
mod snippet;

mod cassette;
mod client;
mod config;
mod dialect;
mod engine;
mod server;
mod web;

mod coverage;
mod ir_metrics;
mod trec;

pub use analyzer::{Analyzer, UnknownAnalyzer};
pub use bm25::{Bm25, SearchOptions};
pub use cassette::{RecordConfig, RecordError, RecordMode, Recorded};
pub use client::{
    ClientError, Elastic, ElasticConfig, ElasticEngine, HttpConfig, HttpCounts, Qdrant,
    QdrantConfig, Remote, RemoteConfig,
};
pub use config::{
    EmbedderConfig, EncoderConfig, EngineConfig, IndexConfig, RankingMode, RetrieverConfig,
    RetrieverConfigError, VectorsConfig,
};
pub use corpus::Corpus;
pub use corpus_error::CorpusError;
pub use coverage::{Coverage, CoverageError, Renamed, Share, SourceCoverage};
pub use dense::{
    CANDIDATES, Dense, DenseError, Embeddings, EmbeddingsConfig, build_graph, build_vectors,
};
pub use dialect::{Dialect, UnknownDialect};
pub use engine::{EngineError, FUSED_DEPTH, LoadEncoder, SearchEngine};
pub use error::IndexError;
pub use fusion::Fused;
pub use index::{BuildProgress, BuildReport, IndexOptions, build_index};
pub use ir_metrics::{Measure, RunMeasures, TopicAverage, UnknownMeasure, measure};
pub use manifest::{IndexManifest, MANIFEST_FILE};
pub use script::{Script, UnsuitedScripts};
pub use server::{PageStore, PageStoreError, RequestLimits, Server, ServerError, ServerOptions};
pub use snippet::Snippet;
pub use trec::{Qrels, TrecError, TrecRun, TrecTopic, check_run_id, read_qrels, read_topics};
pub use web::{PageCounts, Web, WebConfig, WebEngine};
