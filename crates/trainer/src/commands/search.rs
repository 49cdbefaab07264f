//! `forage search`: asks an index, as the agent does.

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;

use anyhow::Context;
use forage_retriever::{Bm25, IndexError, SearchOptions};
use forage_trajectory::Hit;
use serde::Serialize;

use crate::failure::{Code, Failure};

/// About this many bytes of a passage are shown.
const SNIPPET_WIDTH: usize = 240;

/// Ask an index, as the agent does
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the index
    #[arg(long, value_name = "DIR")]
    pub index: PathBuf,

    /// How many passages
    #[arg(short, value_name = "N", default_value_t = 3)]
    pub k: usize,

    /// How fast repetitions of a term stop to count
    #[arg(long, value_name = "X", default_value_t = SearchOptions::default().k1)]
    pub k1: f32,

    /// How much long passages are held back, from 0 to 1
    #[arg(long, value_name = "X", default_value_t = SearchOptions::default().b)]
    pub b: f32,

    /// Print one JSON object a passage, with the whole text
    #[arg(long)]
    pub json: bool,

    /// The words to search for
    #[arg(required = true, value_name = "QUERY")]
    pub query: Vec<String>,
}

/// One line of `--json`.
#[derive(Serialize)]
struct Row<'a> {
    rank: usize,
    score: f32,
    id: &'a str,
    title: &'a str,
    text: &'a str,
}

/// Searches and prints what was found.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let options = SearchOptions { analyzer: None, k1: args.k1, b: args.b };
    let bm25 = Bm25::open(&args.index, &options).map_err(explained)?;
    let query = args.query.join(" ");
    let hits = bm25.search_one(&query, args.k).map_err(explained)?;
    if hits.is_empty() && args.k > 0 {
        let why = if bm25.analyzer().terms(&query).is_empty() {
            "the query has no word that is searched for"
        } else {
            "no passage has a word of the query"
        };
        eprintln!("nothing found: {why}");
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
            let snippet = bm25.snippet(&hit.text, &query, SNIPPET_WIDTH).render(before, after);
            writeln!(output, "{rank:>2}  {:.3}  {title}  [{id}]\n    {snippet}", hit.score)?;
        }
    }
    print(&output)
}

/// Without line breaks and the control characters that steer a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

/// Writes to standard output. A reader that has seen enough is no error.
fn print(output: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(output.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Adds what a person can do about it.
fn explained(error: IndexError) -> anyhow::Error {
    let build_it = "`forage index --corpus FILE --out DIR` makes an index";
    let failure = match &error {
        IndexError::Parameter { .. } => Failure::new(Code::Usage, "the search cannot be made"),
        IndexError::Missing { .. } | IndexError::Incomplete { .. } => {
            Failure::new(Code::Input, "the index cannot be opened").hint(build_it)
        }
        IndexError::Format { .. }
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
