//! `forage corpus audit`: whether questions can be answered from an index.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use forage_dataset::{Ids, ReadOptions};
use forage_retriever::{Coverage, CoverageError, Renamed, SearchOptions, Share, SourceCoverage};
use forage_training::run_folder::jsonl;
use forage_trajectory::Question;
use serde_json::{Map, Value, json};

use crate::commands::search::EngineArgs;
use crate::exit_code::{Code, Failure, unwritable};
use crate::inputs;
use crate::output::{message, print};
use crate::progress::Progress;
use crate::questions::unreadable;
use crate::search_engine::open_index;

/// Compare questions with an index: are their gold passages, titles and answers in it?
///
/// A question whose passages are missing measures the corpus and not the agent. Shares are over
/// questions of a source. `passages`: all gold passages are in the index, as the same id and title
/// or the same title and text; `titles`: all gold titles are; `answers`: a golden answer stands in
/// some passage. Then what is found: recall of gold passages and of gold titles, and whether an
/// answer stands in the hits, for the question and for its sub-questions.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Question files, in any of the formats of docs/data-formats.md
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub questions: Vec<PathBuf>,

    /// Folder of the index
    #[arg(long, value_name = "DIR")]
    pub index: PathBuf,

    /// Number of passages for each search
    #[arg(short, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    pub k: usize,

    /// Ranking
    #[command(flatten)]
    pub engine: EngineArgs,

    /// Write the gold passages that the index lacks to this file, to be indexed with the corpus
    #[arg(long, value_name = "FILE")]
    pub add: Option<PathBuf>,

    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// Number of passages of a search, 1 or more.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be 1 or more".to_owned()),
        Ok(n) => Ok(n),
        Err(_) => Err("it is no number of passages".to_owned()),
    }
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    if let Some(add) = &args.add {
        let read = args.questions.iter().map(PathBuf::as_path).chain([args.index.as_path()]);
        inputs::keep(read, "--add", add)?;
    }
    // Questions that name no source have that of their format.
    let options = ReadOptions { ids: Ids::WithSource, ..ReadOptions::default() };
    let mut questions: Vec<Question> = Vec::new();
    for path in &args.questions {
        let read = forage_dataset::read_questions([path.clone()], options.clone());
        questions.extend(read.map_err(|error| unreadable(path, error))?.0);
    }
    let index = open_index(&args.index, &SearchOptions::default())?;
    let engine = args.engine.open(&args.index)?;
    let mut progress = Progress::new("reading", 0, index.manifest().passages);
    let coverage = Coverage::of(&questions, &index, &*engine.retriever, args.k, &mut |done| {
        progress.set(done, "passages");
    });
    progress.finish();
    let coverage = coverage.map_err(explained)?;
    if let Some(path) = &args.add {
        forage_fs::write_file(path, &jsonl(&coverage.missing)?)
            .with_context(|| unwritable(path))?;
        warn_of_renamed(&coverage.renamed);
    }
    let text = if args.json { json_text(&coverage, args.k) } else { table(&coverage, args) };
    print(&text)?;
    Ok(())
}

/// Warns of added passages whose id belongs to another passage: what compares ids, such as
/// `forage eval-retrieval`, takes that one for gold.
fn warn_of_renamed(all: &[Renamed]) {
    const SHOWN: usize = 3;
    if all.is_empty() {
        return;
    }
    let shown: Vec<String> = all
        .iter()
        .take(SHOWN)
        .map(|renamed| format!("`{}` is `{}`", renamed.gold, renamed.added))
        .collect();
    let more = if all.len() > SHOWN { ", …" } else { "" };
    message(format_args!(
        "warning: {} added passages have the id of another passage and got one of their own ({}{more}): \
         what compares ids, such as `forage eval-retrieval`, takes the other passage for gold until \
         the evidence of the questions has the new id",
        all.len(),
        shown.join(", "),
    ));
}

fn explained(error: CoverageError) -> anyhow::Error {
    let failure = match &error {
        CoverageError::Search(_) => Failure::new(Code::Input, "the index cannot be searched")
            .hint("if an embedding server is named, does it answer?"),
        CoverageError::Index(_) => Failure::new(Code::Input, "the index cannot be read")
            .hint("build it again with `forage index`"),
        CoverageError::Answers(_) => {
            Failure::new(Code::Input, "there are too many answers to look for at once")
                .hint("examine the question files one by one")
        }
    };
    anyhow::Error::new(error).context(failure)
}

/// Names of the shares of a source, with their values.
fn shares(of: &SourceCoverage) -> [(&'static str, Share); 8] {
    [
        ("passages", of.passages),
        ("titles", of.titles),
        ("answers", of.answers),
        ("recall", of.recall),
        ("title_recall", of.title_recall),
        ("answer_in_hits", of.answer_in_hits),
        ("step_recall", of.step_recall),
        ("step_answer_in_hits", of.step_answer_in_hits),
    ]
}

fn table(coverage: &Coverage, args: &Args) -> String {
    let k = args.k;
    let mut text = format!(
        "                                in the index          first {k} hits of the question   \
         of the sub-questions\nsource         questions  passages  titles answers   passages  \
         titles  answers     passages  answers\n",
    );
    for (source, of) in &coverage.sources {
        let name = if source.is_empty() { "–" } else { source };
        let cells = shares(of).map(|(_, share)| {
            share.mean().map_or_else(|| "–".to_owned(), |mean| format!("{mean:.3}"))
        });
        let [passages, titles, answers, recall, title_recall, hits, steps, step_hits] = cells;
        writeln!(
            text,
            "{name:<14} {:>9} {passages:>9} {titles:>7} {answers:>7} {recall:>10} \
             {title_recall:>7} {hits:>8} {steps:>12} {step_hits:>8}",
            of.questions,
        )
        .expect("writing to a string");
    }
    let n_missing = coverage.missing.len();
    match &args.add {
        Some(path) => {
            let shown = path.display();
            writeln!(
                text,
                "{n_missing} gold passages that the index lacks are in `{shown}`: build the index \
                 again with `--corpus CORPUS {shown}`"
            )
        }
        None if n_missing > 0 => {
            writeln!(text, "the index lacks {n_missing} gold passages; `--add FILE` writes them")
        }
        None => Ok(()),
    }
    .expect("writing to a string");
    if coverage.missing_ids > 0 {
        writeln!(
            text,
            "the index lacks {} gold passages that the questions name by their ids alone: their texts \
             are in the corpus of the data set",
            coverage.missing_ids
        )
        .expect("writing to a string");
    }
    text
}

fn json_text(coverage: &Coverage, k: usize) -> String {
    let source = |of: &SourceCoverage| {
        let mut row = Map::new();
        row.insert("questions".to_owned(), of.questions.into());
        for (name, share) in shares(of) {
            row.insert(name.to_owned(), json!({"mean": share.mean(), "of": share.of}));
        }
        Value::Object(row)
    };
    let sources: Map<String, Value> =
        coverage.sources.iter().map(|(name, of)| (name.clone(), source(of))).collect();
    let object = json!({
        "k": k,
        "sources": sources,
        "missing_passages": coverage.missing.len(),
        "missing_ids": coverage.missing_ids,
    });
    format!("{object}\n")
}
