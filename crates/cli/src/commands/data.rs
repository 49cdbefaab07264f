//! `forage data`: questions and passages of published data sets, in the lines of this program.

mod corpus_file;
mod queries;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use forage_dataset::{DatasetError, Ids, Questions, ReadOptions, ReadReport, ReadRow};
use forage_fs::AtomicFile;
use forage_trajectory::Question;

use self::corpus_file::CorpusFile;
use self::queries::QueryArgs;
use crate::exit_code::unwritable;
use crate::inputs;
use crate::output::{message, print};
use crate::progress::ByteProgress;
use crate::questions::unreadable;

/// Refused rows of which the place is printed.
const SHOWN: u64 = 5;

/// Read questions of published data sets, and write them in the lines of this program
///
/// Reads parquet, JSON arrays and JSON lines, plain or compressed by gzip, zstd or bzip2, of
/// Search-R1, `FlashRAG`, verl, `StepSearch`, `HotpotQA`, `2WikiMultihopQA`, `MuSiQue`,
/// `Bamboogle`, NQ, `TriviaQA`, `PopQA` and BrowseComp-Plus. A line has a source, an id that is
/// unique, golden answers, and the evidence that rewards use. docs/data-formats.md has the keys.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files, or folders of files, in order; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// File for the questions
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,

    /// File for the passages that the rows hold, distractors included: a corpus for `forage index`
    #[arg(long, value_name = "FILE")]
    pub corpus: Option<PathBuf>,

    /// Source of the rows that name none, for example `musique`. Default: the name of their format
    #[arg(long, value_name = "NAME", default_value = "")]
    pub source: String,

    /// Skip and count rows that cannot be read, instead of failing at the first
    #[arg(long)]
    pub skip_bad: bool,

    /// Reference queries of sub-questions
    #[command(flatten)]
    pub queries: QueryArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    args.queries.check()?;
    let files = || args.files.iter().map(PathBuf::as_path);
    inputs::keep(files(), "--out", &args.out)?;
    if let Some(corpus) = &args.corpus {
        inputs::keep(files().chain([args.out.as_path()]), "--corpus", corpus)?;
    }
    let mut reader = Reader::open(args)?;
    let mut corpus = args.corpus.as_deref().map(CorpusFile::create).transpose()?;
    let mut summary = Summary::default();
    if args.queries.is_given() {
        let mut questions = Vec::new();
        while let Some(row) = reader.next()? {
            summary.add(&row.question);
            add_passages(&mut corpus, &row)?;
            questions.push(row.question);
        }
        reader.finish()?;
        let counts = args.queries.write(&mut questions, &args.out)?;
        write_questions(&args.out, &questions)?;
        summary.queries = Some(counts);
    } else {
        let mut file = AtomicFile::create(&args.out).with_context(|| unwritable(&args.out))?;
        while let Some(row) = reader.next()? {
            summary.add(&row.question);
            add_passages(&mut corpus, &row)?;
            write_line(&mut file, &row.question).with_context(|| unwritable(&args.out))?;
        }
        reader.finish()?;
        file.commit().with_context(|| unwritable(&args.out))?;
    }
    let n_passages = corpus.map(CorpusFile::commit).transpose()?;
    print(&summary.text(reader.questions.report(), args, n_passages))?;
    Ok(())
}

fn add_passages(corpus: &mut Option<CorpusFile>, row: &ReadRow) -> Result<()> {
    let Some(corpus) = corpus else { return Ok(()) };
    row.passages.iter().try_for_each(|passage| corpus.add(passage, &row.question.id))
}

fn write_questions(path: &Path, questions: &[Question]) -> Result<()> {
    let mut file = AtomicFile::create(path).with_context(|| unwritable(path))?;
    for question in questions {
        write_line(&mut file, question).with_context(|| unwritable(path))?;
    }
    file.commit().with_context(|| unwritable(path))
}

fn write_line(file: &mut AtomicFile, question: &Question) -> Result<()> {
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    Ok(file.write_all(&line)?)
}

/// Rows of the files, with progress, without those that are skipped.
struct Reader<'a> {
    args: &'a Args,
    questions: Questions,
    progress: ByteProgress,
    n_skipped: u64,
}

impl<'a> Reader<'a> {
    fn open(args: &'a Args) -> Result<Self> {
        let options = ReadOptions { source: args.source.clone(), ids: Ids::WithSource };
        let questions = Questions::open(args.files.iter().cloned(), options)
            .map_err(|error| unreadable(&args.files[0], error))?;
        let progress = ByteProgress::new(questions.records().total_bytes());
        Ok(Self { args, questions, progress, n_skipped: 0 })
    }

    /// The next row; a bad one is told and skipped with `--skip-bad`, and an error without.
    fn next(&mut self) -> Result<Option<ReadRow>> {
        loop {
            let Some(row) = self.questions.next() else { return Ok(None) };
            let bytes = self.questions.records().bytes_read();
            self.progress.set(bytes, self.questions.report().n_questions(), "questions");
            match row {
                Ok(row) => return Ok(Some(row)),
                Err(error) if self.args.skip_bad && error.is_bad_row() => self.skip(&error),
                Err(error) => {
                    let error = unreadable(&self.args.files[0], error);
                    return Err(error);
                }
            }
        }
    }

    fn skip(&mut self, error: &DatasetError) {
        self.n_skipped += 1;
        if self.n_skipped <= SHOWN {
            self.progress.say(&format!("warning: skipped {error}"));
        }
    }

    fn finish(&mut self) -> Result<()> {
        self.progress.finish();
        if self.n_skipped > SHOWN {
            message(format_args!("warning: skipped {} more rows", self.n_skipped - SHOWN));
        }
        if self.questions.report().n_questions() == 0 {
            return Err(unreadable(&self.args.files[0], DatasetError::Empty));
        }
        Ok(())
    }
}

/// What the questions have, by source, in the order of the alphabet.
#[derive(Debug, Default)]
struct Summary {
    sources: BTreeMap<String, Counts>,
    queries: Option<String>,
}

/// Questions of a source that have a kind of evidence.
#[derive(Debug, Default)]
struct Counts {
    questions: u64,
    passages: u64,
    steps: u64,
    queries: u64,
    entities: u64,
}

impl Summary {
    fn add(&mut self, question: &Question) {
        let counts = self.sources.entry(question.source.clone()).or_default();
        let evidence = &question.evidence;
        counts.questions += 1;
        let has_text = evidence.passages.iter().any(|passage| !passage.text.is_empty());
        counts.passages += u64::from(has_text);
        counts.steps += u64::from(!evidence.steps.is_empty());
        counts.queries += u64::from(evidence.steps.iter().any(|step| !step.queries.is_empty()));
        counts.entities += u64::from(!evidence.entities.is_empty());
    }

    fn text(&self, report: &ReadReport, args: &Args, n_passages: Option<usize>) -> String {
        let mut text = String::from(
            "source              questions  with passages  sub-questions  queries  entities\n",
        );
        for (source, counts) in &self.sources {
            let Counts { questions, passages, steps, queries, entities } = counts;
            let name = if source.is_empty() { "–" } else { source };
            writeln!(
                text,
                "{name:<18} {questions:>10} {passages:>14} {steps:>14} {queries:>8} {entities:>9}",
            )
            .expect("writing to a string");
        }
        let mut line = |what: &str| {
            text.push_str(what);
            text.push('\n');
        };
        for (n, what) in [
            (report.repeated_ids, "ids that were there before; these questions got others"),
            (report.repeated_rows, "rows that were there before, word for word"),
            (report.answers_of_nothing, "golden answers without a word, such as `A` or `?`"),
            (report.refused, "rows that were skipped"),
        ] {
            if n > 0 {
                line(&format!("{n} {what}"));
            }
        }
        if let Some(queries) = &self.queries {
            line(queries);
        }
        line(&format!("questions in `{}`", args.out.display()));
        if let (Some(path), Some(n)) = (&args.corpus, n_passages) {
            line(&format!("{n} passages in `{}`", path.display()));
        }
        text
    }
}
