//! `forage index`: makes a search index from a corpus.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use forage_retriever::{Analyzer, Corpus, CorpusError, IndexError, IndexOptions, Progress, build};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::{Code, Failure};

/// How often a line is printed where there is no terminal.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Make a search index from a corpus
///
/// A corpus is JSON lines, plain or compressed by gzip or zstd: {"id", "title", "text"}, or
/// {"id", "contents"} with the title in double quotes on the first line of the contents.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files of the corpus, in order; `-` is standard input
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub corpus: Vec<PathBuf>,

    /// Folder for the index; an index that is there is replaced once the new one is complete
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// What text becomes: english, lucene-english or plain
    #[arg(long, value_name = "NAME", default_value_t)]
    pub analyzer: Analyzer,

    /// Count bad lines and repeated ids instead of failing at the first
    #[arg(long)]
    pub skip_bad: bool,
}

/// Builds the index and says how it went on standard error.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let corpus =
        Corpus::files(args.corpus.iter().cloned()).map_err(|error| explained(error.into()))?;
    let options = IndexOptions { analyzer: args.analyzer, skip_bad: args.skip_bad };
    let meter = Meter::new(corpus.total_bytes());
    let built = build(corpus, &args.out, &options, &|progress| meter.show(progress));
    meter.finish();
    let report = built.map_err(explained)?;
    if let Some(first) = report.first_skipped {
        let first = anyhow::Error::from(first);
        eprintln!("warning: skipped {} bad lines, the first of them {first:#}", report.skipped);
    }
    eprintln!(
        "indexed {} passages in {:.1} s: {:.1} MB in `{}`",
        report.manifest.passages,
        started.elapsed().as_secs_f64(),
        megabytes(report.index_bytes),
        args.out.display(),
    );
    Ok(())
}

/// Adds what a person can do about it.
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
        IndexError::Corpus(_) | IndexError::Empty { .. } => {
            ("the corpus cannot be read", "`--corpus` names files of JSON lines")
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

/// Shows progress: a bar on a terminal, a line now and then elsewhere.
enum Meter {
    Bar(ProgressBar),
    Lines { total_bytes: Option<u64>, started: Instant, last: Cell<Instant> },
}

impl Meter {
    fn new(total_bytes: Option<u64>) -> Self {
        if !io::stderr().is_terminal() {
            let started = Instant::now();
            return Self::Lines { total_bytes, started, last: Cell::new(started) };
        }
        let (bar, template) = match total_bytes {
            Some(bytes) => (
                ProgressBar::new(bytes),
                "{bar:30} {percent:>3} %  {binary_bytes_per_sec}  {eta} left  {msg}",
            ),
            None => (ProgressBar::no_length(), "{spinner} {binary_bytes_per_sec}  {msg}"),
        };
        let style = ProgressStyle::with_template(template).expect("the templates are constant");
        bar.set_style(style);
        Self::Bar(bar)
    }

    fn show(&self, progress: Progress) {
        match (self, progress) {
            (Self::Bar(bar), Progress::Reading { passages, bytes }) => {
                bar.set_position(bytes);
                bar.set_message(format!("{passages} passages"));
            }
            (Self::Bar(bar), Progress::Merging { passages }) => {
                bar.set_style(
                    ProgressStyle::with_template("{spinner} {msg}  {elapsed}")
                        .expect("the template is constant"),
                );
                bar.set_message(format!("merging {passages} passages into one segment"));
                bar.enable_steady_tick(Duration::from_millis(100));
            }
            (Self::Lines { total_bytes, started, last }, Progress::Reading { passages, bytes }) => {
                if last.get().elapsed() < REPORT_EVERY {
                    return;
                }
                last.set(Instant::now());
                let seconds = started.elapsed().as_secs_f64();
                let rate = passages as f64 / seconds;
                match total_bytes {
                    Some(total) if bytes > 0 => {
                        let share = bytes as f64 / *total as f64;
                        let left = seconds * (1.0 - share) / share;
                        eprintln!(
                            "{:.0} %: {passages} passages, {rate:.0} a second, {left:.0} s left",
                            share * 100.0
                        );
                    }
                    _ => eprintln!("{passages} passages, {rate:.0} a second"),
                }
            }
            (Self::Lines { .. }, Progress::Merging { passages }) => {
                eprintln!("merging {passages} passages into one segment");
            }
        }
    }

    fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
