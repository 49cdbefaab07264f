//! Search engines for agents: in process, as a server, and behind one.
//!
//! | to | there is |
//! |---|---|
//! | search by words | [`Bm25`], over an index made by [`build`] |
//! | search by vectors, by both, or twice | [`Dense`] with [`build_vectors`], [`Fused`], [`Reranked`] |
//! | ask a server | [`Remote`] for the `/retrieve` protocol, [`Elastic`], [`Qdrant`] |
//! | ask the web | [`Web`]: Serper, Brave or `SearXNG`, and the pages they find |
//! | see the same results again | [`Recorded`] |
//! | be a server | [`Server`] |
//! | open what a run file names | [`SearchEngine`] |
//! | measure | [`measure`], as `trec_eval` does |
//!
//! All that search are a [`Retriever`](forage_trajectory::Retriever). A search that could not be
//! made is an error, never an empty result.
//!
//! # BM25
//!
//! A [`Corpus`] is read from JSON lines, [`build`] turns it into a folder, and [`Bm25`] searches
//! that folder as a [`Retriever`](forage_trajectory::Retriever). What text becomes before it is
//! indexed or searched is an [`Analyzer`], the same for both sides.
//!
//! The postings are tantivy's, the ranking is ours: tantivy fixes k1 and b in private constants
//! and its own pruning is unsound for others. Here they are options of the search, and the
//! pruned ranking equals an exhaustive one bit for bit.
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
mod bm25;
mod client;
mod contents;
mod corpus;
mod dense;
mod dialect;
mod directory;
mod engine;
mod error;
mod fusion;
mod index;
mod manifest;
mod maxscore;
mod measures;
mod parts;
mod recorded;
mod server;
mod site;
mod snippet;
mod stems;
mod trec;
mod web;
mod words;

pub use analyzer::{Analyzer, UnknownAnalyzer};
pub use bm25::{Bm25, SearchOptions};
pub use client::{
    ClientError, Elastic, ElasticConfig, ElasticEngine, HttpConfig, HttpCounts, Qdrant,
    QdrantConfig, Remote, RemoteConfig,
};
pub use corpus::{Corpus, CorpusError, Place};
pub use dense::{
    CANDIDATES, Dense, DenseError, Embeddings, EmbeddingsConfig, build_graph, build_vectors,
};
pub use dialect::{Dialect, UnknownDialect};
pub use engine::{
    EncoderConfig, EngineError, FUSED_DEPTH, LoadEncoder, Rank, RetrieverConfig,
    RetrieverConfigError, SearchEngine,
};
pub use error::IndexError;
pub use fusion::{Fused, Reranked, Reranker};
pub use index::{BuildReport, IndexOptions, Progress, build};
pub use manifest::{MANIFEST_FILE, Manifest};
pub use measures::{Averaged, Measure, Measured, UnknownMeasure, measure};
pub use recorded::{RecordConfig, RecordError, RecordMode, Recorded};
pub use server::{Limits, Pages, PagesError, Server, ServerError, ServerOptions};
pub use snippet::Snippet;
pub use trec::{Qrels, Run, Topic, TrecError, read_qrels, read_topics};
pub use web::{PageCounts, Web, WebConfig, WebEngine};
