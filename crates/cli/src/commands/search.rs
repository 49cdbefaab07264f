//! `forage search`: searches an index as the agent does, and opens indexes for other commands.

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use forage_retriever::{
    Bm25, CANDIDATES, Dense, Embeddings, EmbeddingsConfig, EncoderConfig, FUSED_DEPTH, Fused,
    HttpConfig, IndexError, SearchOptions,
};
use forage_trajectory::{Embedder, Hit, Retriever};
use serde::Serialize;

use crate::exit_code::{Code, Failure};
use crate::output::{message, print};
use crate::search_engine::encoder;

/// Approximate length of a snippet, in bytes.
const SNIPPET_WIDTH: usize = 240;

/// Search an index as the agent does
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the index
    #[arg(long, value_name = "DIR")]
    pub index: PathBuf,

    /// Number of passages
    #[arg(short, value_name = "N", default_value_t = 3)]
    pub k: usize,

    /// Ranking
    #[command(flatten)]
    pub engine: EngineArgs,

    /// Print a JSON object for each passage, with the whole text
    #[arg(long)]
    pub json: bool,

    /// Query
    #[arg(required = true, value_name = "QUERY")]
    pub query: Vec<String>,
}

/// Options of the ranking.
#[derive(Debug, clap::Args)]
#[group(id = "engine")]
pub struct EngineArgs {
    /// BM25: term-frequency saturation
    #[arg(long, value_name = "X", default_value_t = SearchOptions::default().k1)]
    pub k1: f32,

    /// BM25: length normalization, from 0 to 1
    #[arg(long, value_name = "X", default_value_t = SearchOptions::default().b)]
    pub b: f32,

    /// Folder of vectors that `forage index --vectors` made of the same index
    #[arg(long, value_name = "DIR")]
    pub vectors: Option<PathBuf>,

    /// Passages of the HNSW graph that are scored for a query; without a graph, all vectors are
    #[arg(long, value_name = "N", requires = "vectors", value_parser = clap::value_parser!(u32).range(1..))]
    pub candidates: Option<u32>,

    /// Ranking method. Default: hybrid with `--vectors`, otherwise bm25
    #[arg(long, value_enum, value_name = "HOW")]
    pub rank: Option<Ranking>,

    /// Embedder of the queries
    #[command(flatten)]
    pub embeddings: EmbeddingArgs,
}

/// Ranking method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Ranking {
    /// BM25.
    Bm25,
    /// Dense search.
    Dense,
    /// BM25 and dense search, fused by their ranks.
    Hybrid,
}

/// Embedder: a text encoder in this process, or a server of `/v1/embeddings`.
#[derive(Debug, clap::Args)]
#[group(id = "embeddings")]
pub struct EmbeddingArgs {
    /// Folder of a text encoder, such as e5 or `MiniLM`
    #[arg(long, value_name = "DIR", conflicts_with = "embeddings_url")]
    pub encoder: Option<PathBuf>,

    /// Device of the text encoder
    #[arg(long, value_name = "NAME", requires = "encoder", default_value = "cpu")]
    pub device: String,

    /// Address of an embedding server, for example `http://127.0.0.1:8080/v1/embeddings`
    #[arg(long, value_name = "URL", requires = "embeddings_model")]
    pub embeddings_url: Option<String>,

    /// Name of the model on that server
    #[arg(long, value_name = "NAME", requires = "embeddings_url")]
    pub embeddings_model: Option<String>,

    /// Prefix of a query, such as `query: ` for e5. Default: as the folder of the model says
    #[arg(long, value_name = "TEXT")]
    pub query_prefix: Option<String>,

    /// Prefix of a passage, such as `passage: ` for e5. Default: as the folder of the model says
    #[arg(long, value_name = "TEXT")]
    pub passage_prefix: Option<String>,

    /// Environment variable with the API token of that server
    #[arg(long, value_name = "VARIABLE", requires = "embeddings_url")]
    pub embeddings_token_env: Option<String>,
}

impl EmbeddingArgs {
    /// Whether an embedder is named.
    pub fn is_given(&self) -> bool {
        self.encoder.is_some() || self.embeddings_url.is_some()
    }

    /// Loads the text encoder, or connects to the server.
    pub fn open(&self) -> anyhow::Result<Arc<dyn Embedder>> {
        let (query_prefix, passage_prefix) =
            (self.query_prefix.clone(), self.passage_prefix.clone());
        if let Some(path) = self.encoder.clone() {
            let shown = path.display().to_string();
            let config = EncoderConfig { path, query_prefix, passage_prefix, max_tokens: None };
            let encoder = encoder(&config, &self.device).map_err(anyhow::Error::from_boxed);
            return Ok(Arc::new(encoder.with_context(|| {
                Failure::new(Code::Input, format!("the encoder `{shown}` cannot be used"))
                    .hint("it is the folder of a model such as e5 or MiniLM")
            })?));
        }
        let (Some(url), Some(model)) = (&self.embeddings_url, &self.embeddings_model) else {
            let failure = Failure::new(Code::Usage, "there is nothing to embed with");
            return Err(failure
                .hint(
                    "name a model with `--encoder DIR`, or a server with `--embeddings-url URL \
                     --embeddings-model NAME`",
                )
                .into());
        };
        let token_env = self.embeddings_token_env.clone();
        let config = EmbeddingsConfig {
            url: url.clone(),
            model: model.clone(),
            query_prefix: query_prefix.unwrap_or_default(),
            passage_prefix: passage_prefix.unwrap_or_default(),
            batch: 64,
            http: HttpConfig { token_env, ..HttpConfig::default() },
        };
        let embeddings = Embeddings::connect(&config).with_context(|| {
            Failure::new(Code::Input, format!("`{url}` does not embed"))
                .hint("the address is whole, with `/v1/embeddings` at its end")
        })?;
        Ok(Arc::new(embeddings))
    }
}

/// Opened index with its ranking.
pub struct IndexEngine {
    /// Index.
    pub bm25: Arc<Bm25>,
    /// Search engine.
    pub retriever: Arc<dyn Retriever>,
    /// Name of the ranking method.
    pub method: &'static str,
}

impl EngineArgs {
    /// Opens an index, and its vectors with `--vectors`.
    pub fn open(&self, index: &Path) -> anyhow::Result<IndexEngine> {
        let options = SearchOptions { analyzer: None, k1: self.k1, b: self.b };
        let bm25 = Arc::new(Bm25::open(index, &options).map_err(explained)?);
        let ranking = match (self.rank, &self.vectors) {
            (None | Some(Ranking::Bm25), None) => {
                let retriever = Arc::<Bm25>::clone(&bm25);
                return Ok(IndexEngine { bm25, retriever, method: "bm25" });
            }
            (Some(_), None) => {
                return Err(Failure::new(Code::Usage, "this ranking wants vectors")
                    .hint("`forage index --vectors DIR` makes them; name them with `--vectors DIR`")
                    .into());
            }
            (Some(Ranking::Bm25), Some(_)) => {
                return Err(Failure::new(Code::Usage, "`--rank bm25` does not use `--vectors`")
                    .hint("drop one of the two")
                    .into());
            }
            (ranking, Some(_)) => ranking,
        };
        let vectors = self.vectors.as_ref().expect("every case without them has returned");
        let embedder = self.embeddings.open()?;
        let dense = Dense::open(vectors, Arc::clone(&bm25), embedder).with_context(|| {
            Failure::new(Code::Input, "the vectors cannot be searched")
                .hint("`forage index --vectors` makes them, with the same index and model")
        })?;
        let candidates = self.candidates.map_or(CANDIDATES, |it| it as usize);
        let dense: Arc<dyn Retriever> = Arc::new(dense.with_candidates(candidates));
        if ranking == Some(Ranking::Dense) {
            return Ok(IndexEngine { bm25, retriever: dense, method: "dense" });
        }
        let both = vec![Arc::<Bm25>::clone(&bm25) as Arc<dyn Retriever>, dense];
        Ok(IndexEngine {
            bm25,
            retriever: Arc::new(Fused::new(both, FUSED_DEPTH)),
            method: "hybrid",
        })
    }
}

/// Line of `--json`.
#[derive(Serialize)]
struct Row<'a> {
    rank: usize,
    score: f32,
    id: &'a str,
    title: &'a str,
    text: &'a str,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let engine = args.engine.open(&args.index)?;
    let query = args.query.join(" ");
    let found = engine.retriever.search(&[&query], args.k).remove(0);
    let hits = found.with_context(|| Failure::new(Code::Input, "the index cannot be searched"))?;
    if hits.is_empty() {
        let why = why_nothing(&engine.bm25, &query, args.k);
        message(format_args!("nothing found: {why}"));
    }
    let colour = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none();
    let (before, after) = if colour { ("\u{1b}[1m", "\u{1b}[0m") } else { ("**", "**") };
    let mut output = String::new();
    for (idx, hit) in hits.iter().enumerate() {
        let rank = idx + 1;
        if args.json {
            let Hit { id, title, text, score } = hit;
            let row = Row { rank, score: *score, id, title, text };
            writeln!(output, "{}", serde_json::to_string(&row)?)?;
        } else {
            let (id, title) = (one_line(&hit.id), one_line(&hit.title));
            let snippet = engine.bm25.snippet(&hit.text, &query, SNIPPET_WIDTH);
            let snippet = snippet.render(before, after);
            writeln!(output, "{rank:>2}  {:.3}  {title}  [{id}]\n    {snippet}", hit.score)?;
        }
    }
    print(&output)?;
    Ok(())
}

/// Reason for which nothing is found.
fn why_nothing(bm25: &Bm25, query: &str, k: usize) -> String {
    if k == 0 {
        return "0 passages were asked for".to_owned();
    }
    if query.trim().is_empty() {
        return "the query is empty".to_owned();
    }
    let why = if bm25.terms(query).is_empty() {
        "the query has no word that is searched for"
    } else {
        "no passage has a word of the query"
    };
    match bm25.analyzer().unsuited(query) {
        Some(unsuited) => {
            let reason = unsuited.reason();
            format!("{why}; {reason}: `forage index --analyzer unicode` makes an index that does")
        }
        None => why.to_owned(),
    }
}

/// Replaces line breaks and other control characters, which must not reach a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Adds an exit code and a hint.
fn explained(error: IndexError) -> anyhow::Error {
    let build_it = "`forage index --corpus FILE --out DIR` makes an index";
    let failure = match &error {
        IndexError::Parameter { .. } => Failure::new(Code::Usage, "the search cannot be made"),
        IndexError::Missing { .. } | IndexError::Incomplete { .. } => {
            Failure::new(Code::Input, "the index cannot be opened").hint(build_it)
        }
        IndexError::Format { .. }
        | IndexError::EngineFormat { .. }
        | IndexError::AnalyzerVersion { .. }
        | IndexError::UnknownAnalyzer { .. } => {
            Failure::new(Code::Input, "the index cannot be opened")
                .hint(format!("build it again with this version: {build_it}"))
        }
        IndexError::Damaged { .. } | IndexError::Manifest { .. } => {
            Failure::new(Code::Input, "the index cannot be opened").hint("build it again")
        }
        _ => Failure::new(Code::Input, "the index cannot be searched"),
    };
    anyhow::Error::from(error).context(failure)
}
