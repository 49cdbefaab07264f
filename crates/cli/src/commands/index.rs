//! `forage index`: builds a search index of a corpus, and vectors of its passages.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use forage_retriever::{
    Analyzer, Bm25, BuildProgress, Corpus, CorpusError, IndexError, IndexOptions, SearchOptions,
    build_graph, build_index, build_vectors,
};
use forage_trajectory::Embedder;

use crate::commands::search::EmbeddingArgs;
use crate::exit_code::{Code, Failure};
use crate::output::message;
use crate::progress::{ByteProgress, Progress};
use crate::search_engine::open_index;

/// Passages in a request to the embedder.
const PASSAGES_A_REQUEST: usize = 64;

/// Build a search index of a corpus
///
/// A corpus is JSON lines, JSON or parquet, plain or compressed by gzip, zstd or bzip2, with rows
/// {"id", "title", "text"}, or {"id", "contents"} with the title in double quotes on the first line
/// of the contents.
/// With `--vectors`, the passages are embedded too: those of the corpus, or without `--corpus`
/// those of an existing index.
#[derive(Debug, clap::Args)]
#[group(id = "indexed")]
pub struct Args {
    /// Files of the corpus, or folders of files, in order; `-` is standard input
    #[arg(long, required_unless_present = "vectors", num_args = 1.., value_name = "FILE")]
    pub corpus: Vec<PathBuf>,

    /// Folder of the index; an existing index is replaced when the new one is complete
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Analyzer of the text: english, lucene-english, plain, or unicode for other languages
    #[arg(long, value_name = "NAME", default_value_t)]
    pub analyzer: Analyzer,

    /// Skip and count bad lines and duplicate ids, instead of failing at the first
    #[arg(long)]
    pub skip_bad: bool,

    /// Memory limit for postings while the index is built, in megabytes. Default: 128 a core
    #[arg(long, value_name = "MB")]
    pub memory: Option<usize>,

    /// Folder of the vectors of the passages, for dense search
    #[arg(long, value_name = "DIR")]
    pub vectors: Option<PathBuf>,

    /// Build an HNSW graph of the vectors, for corpora that are too large to score all vectors;
    /// without `--encoder` and `--embeddings-url`, of existing vectors
    #[arg(long, requires = "vectors")]
    pub graph: bool,

    /// Embedder of the passages
    #[command(flatten)]
    pub embeddings: EmbeddingArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let embeds = args.embeddings.is_given();
    if args.vectors.is_none() && embeds {
        let message = "`--encoder` and `--embeddings-url` are used by `--vectors` only";
        return Err(Failure::new(Code::Usage, message)
            .hint("name a folder for the vectors with `--vectors DIR`")
            .into());
    }
    if !args.corpus.is_empty() {
        index(args)?;
    }
    let Some(folder) = &args.vectors else { return Ok(()) };
    if embeds || !args.graph {
        vectors(args, folder)?;
    }
    if args.graph { graph(args, folder) } else { Ok(()) }
}

/// Embeds the passages of the index.
fn vectors(args: &Args, folder: &Path) -> anyhow::Result<()> {
    let started = Instant::now();
    let passages = open_index(&args.out, &SearchOptions::default())?;
    let embedder = args.embeddings.open()?;
    let n_passages = passages.manifest().passages;
    let mut meter = Progress::new("embedding", 0, n_passages);
    embed(&passages, embedder.as_ref(), folder, &mut |done| meter.set(done, "passages"))?;
    meter.finish();
    message(format_args!(
        "embedded {n_passages} passages in {:.1} s: vectors of {} numbers in `{}`",
        started.elapsed().as_secs_f64(),
        embedder.dimension(),
        folder.display(),
    ));
    Ok(())
}

fn embed(
    passages: &Bm25,
    embedder: &dyn Embedder,
    folder: &Path,
    tick: &mut dyn FnMut(u64),
) -> anyhow::Result<()> {
    let tick = RefCell::new(tick);
    let done = |done| (tick.borrow_mut())(done);
    build_vectors(passages, embedder, folder, PASSAGES_A_REQUEST, &done).with_context(|| {
        Failure::new(Code::Input, "the vectors cannot be made")
            .hint("nothing was changed; is the server of `--embeddings-url` well?")
    })
}

/// Builds an HNSW graph of the vectors.
fn graph(args: &Args, folder: &Path) -> anyhow::Result<()> {
    let started = Instant::now();
    let n_passages = open_index(&args.out, &SearchOptions::default())?.manifest().passages;
    let meter = Progress::new("building a graph", 0, n_passages);
    let meter = Mutex::new(meter);
    let tick = |done| {
        // One thread at a time; another count comes soon.
        if let Ok(mut meter) = meter.try_lock() {
            meter.set(done, "vectors");
        }
    };
    build_graph(folder, &tick).with_context(|| {
        Failure::new(Code::Input, "the graph cannot be built")
            .hint("`--vectors` names a folder that `forage index --vectors` made; it is as it was")
    })?;
    meter.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
    message(format_args!(
        "put {n_passages} vectors into a graph in {:.1} s, in `{}`",
        started.elapsed().as_secs_f64(),
        folder.display(),
    ));
    Ok(())
}

fn index(args: &Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let corpus =
        Corpus::files(args.corpus.iter().cloned()).map_err(|error| explained(error.into()))?;
    let memory = args.memory.map(|it| it.saturating_mul(1_000_000));
    let options = IndexOptions { analyzer: args.analyzer, skip_bad: args.skip_bad, memory };
    let meter = ByteProgress::new(corpus.total_bytes());
    let show = |progress| match progress {
        BuildProgress::Reading { passages, bytes } => meter.set(bytes, passages, "passages"),
        BuildProgress::Merging { passages } => {
            meter.set_phase(format!("merging {passages} passages into one segment"));
        }
    };
    let built = build_index(corpus, &args.out, &options, &show);
    meter.finish();
    let report = built.map_err(explained)?;
    if let Some(first) = report.first_skipped {
        let first = anyhow::Error::from(first);
        message(format_args!(
            "warning: skipped {} bad lines, the first of them {first:#}",
            report.skipped
        ));
    }
    if let Some(unsuited) = &report.unsuited {
        message(format_args!("warning: {unsuited}; `--analyzer unicode` is made for all of them"));
    }
    message(format_args!(
        "indexed {} passages in {:.1} s: {:.1} MB in `{}`",
        report.manifest.passages,
        started.elapsed().as_secs_f64(),
        megabytes(report.index_bytes),
        args.out.display(),
    ));
    Ok(())
}

/// Adds an exit code and a hint.
fn explained(error: IndexError) -> anyhow::Error {
    let (message, hint) = match &error {
        IndexError::Corpus(bad) if bad.is_bad_line() => {
            let hint = if matches!(bad, CorpusError::Duplicate { .. }) {
                "ids are unique in a corpus; `--skip-bad` keeps the first passage of each"
            } else {
                "a line is {\"id\": …, \"title\": …, \"text\": …} or {\"id\": …, \"contents\": …}; \
                 `--skip-bad` leaves out lines that are not"
            };
            ("the corpus has a bad line", hint)
        }
        IndexError::Corpus(_) | IndexError::Empty { .. } => (
            "the corpus cannot be read",
            "`--corpus` names files of JSON lines, JSON or parquet, or folders of them",
        ),
        IndexError::Memory { .. } => {
            let failure = Failure::new(Code::Usage, "the index cannot be built");
            let failure = failure.hint("give `--memory` more megabytes, or leave it out");
            return anyhow::Error::from(error).context(failure);
        }
        IndexError::Occupied { .. } => {
            ("the index cannot be built", "give `--out` a new folder or an old index")
        }
        IndexError::Busy { .. } => {
            ("the index cannot be built", "wait for the other build, or give another `--out`")
        }
        _ => ("the index cannot be built", "check free space and permissions"),
    };
    anyhow::Error::from(error).context(Failure::new(Code::Input, message).hint(hint))
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
