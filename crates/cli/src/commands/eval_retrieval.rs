//! `forage eval-retrieval`: evaluates a ranking with the measures of `trec_eval`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use forage_retriever::{
    Bm25, Measure, Qrels, RunMeasures, TopicAverage, TrecRun, TrecTopic, check_run_id, measure,
    read_qrels, read_topics,
};
use forage_trajectory::Question;

use super::search::EngineArgs;
use crate::exit_code::{Code, Failure};
use crate::inputs;
use crate::output::{message, print};
use crate::progress::Progress;
use crate::questions::read_questions;

/// Most queries in a batch.
const BATCH: usize = 256;
/// Hits that a batch should have at most: their texts are in memory at once.
const HITS_A_BATCH: usize = 256_000;
/// Run tag: the last column of a TREC run.
const TAG: &str = "forage";

/// Evaluate a search engine, or a run of one, as `trec_eval` does
///
/// The judgements are a TREC qrels file with topics, or questions with gold passages. Equal scores
/// are ranked by the id of the passage, descending, and gains are linear.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run in the format of TREC, to evaluate without searching
    #[arg(long, value_name = "FILE", required_unless_present = "index", conflicts_with = "index")]
    pub run: Option<PathBuf>,

    /// Folder of an index to search
    #[arg(long, value_name = "DIR")]
    pub index: Option<PathBuf>,

    /// Ranking
    #[command(flatten)]
    pub engine: EngineArgs,

    /// Judgements in the format of TREC
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "questions",
        conflicts_with = "questions"
    )]
    pub qrels: Option<PathBuf>,

    /// Topics to search for: `id<tab>query`, JSON lines, or TREC topics
    #[arg(long, value_name = "FILE", conflicts_with_all = ["questions", "run"])]
    pub topics: Option<PathBuf>,

    /// Question file with gold passages, for topics and judgements
    #[arg(long, value_name = "FILE")]
    pub questions: Option<PathBuf>,

    /// Measures: map, mrr, and recall@10, hit@10, all@10, p@10 or ndcg@10 with any number
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "map,mrr,recall@1,recall@3,recall@5,recall@10,hit@10,all@10,ndcg@10"
    )]
    pub measures: Vec<Measure>,

    /// Number of passages for each topic
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub depth: usize,

    /// Average over all judged topics, with 0 for those without a result (`trec_eval -c`)
    #[arg(long)]
    pub complete: bool,

    /// Also print the measures of each topic
    #[arg(long)]
    pub per_topic: bool,

    /// File for the results, as a run in the format of TREC
    #[arg(long, value_name = "FILE", requires = "index")]
    pub save_run: Option<PathBuf>,

    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(path) = &args.save_run {
        let read = [&args.qrels, &args.topics, &args.questions, &args.index];
        inputs::keep(read.into_iter().flatten().map(PathBuf::as_path), "--save-run", path)?;
    }
    let unreadable = || Failure::new(Code::Input, "the judgements or the run cannot be read");
    let (qrels, topics) = match (&args.questions, &args.qrels) {
        (Some(questions), _) => gold(questions)?,
        (None, Some(qrels)) => {
            let qrels = read_qrels(qrels).with_context(unreadable)?;
            let topics = args.topics.as_deref().map(read_topics).transpose();
            (qrels, topics.with_context(unreadable)?)
        }
        (None, None) => {
            return Err(Failure::new(Code::Usage, "there are no judgements")
                .hint("name them with `--qrels FILE` or `--questions FILE`")
                .into());
        }
    };
    let run = if let Some(run) = &args.run {
        TrecRun::read(run).with_context(unreadable)?
    } else {
        let (index, topics) = args.index.as_deref().zip(topics).ok_or_else(|| {
            Failure::new(Code::Usage, "there is nothing to search for")
                .hint("name the topics of the judgements with `--topics FILE`")
        })?;
        search(args, index, &topics, &qrels)?
    };
    if let Some(path) = &args.save_run {
        let unwritten =
            || Failure::new(Code::Input, format!("cannot write the run `{}`", path.display()));
        let text = run.to_text(TAG).with_context(unwritten)?;
        forage_fs::write_file(path, text.as_bytes()).with_context(unwritten)?;
    }
    let over = if args.complete { TopicAverage::Judged } else { TopicAverage::Common };
    let measured = measure(&run, &qrels, &args.measures, over);
    if measured.topics.is_empty() {
        return Err(Failure::new(Code::Input, "no topic is both searched for and judged")
            .hint("topics are matched by their ids: compare those of the two files")
            .into());
    }
    warn_of_unjudged(&run, &qrels);
    let n_left_out = qrels.len() - measured.topics.len();
    if n_left_out > 0 {
        message(format_args!(
            "judged topics without a result: {n_left_out}; `--complete` counts them as 0"
        ));
    }
    let text = if args.json { json(&measured, args.per_topic) } else { table(&measured, args) };
    print(&text)?;
    Ok(())
}

/// Judgements and topics of questions with gold passages.
fn gold(path: &Path) -> anyhow::Result<(Qrels, Option<Vec<TrecTopic>>)> {
    let questions = read_questions(path)?;
    let gold_of = |question: &Question| {
        let steps =
            question.evidence.steps.iter().flat_map(|step| step.passage_ids.iter().cloned());
        let passages = question.evidence.passages.iter().map(|passage| passage.id.clone());
        steps.chain(passages).map(|id| (id, 1)).collect()
    };
    let topic =
        |question: &Question| TrecTopic { id: question.id.clone(), query: question.text.clone() };
    let topics = questions.iter().map(topic).collect();
    let qrels: Qrels =
        questions.iter().map(|question| (question.id.clone(), gold_of(question))).collect();
    let n_without = qrels.values().filter(|it| it.is_empty()).count();
    if n_without > 0 {
        let message =
            format!("questions of `{}` without gold passages: {n_without}", path.display());
        return Err(Failure::new(Code::Input, message)
            .hint("give them `gold_pids`, or `evidence` with the ids of passages")
            .into());
    }
    Ok((qrels, Some(topics)))
}

/// Says which topics of a run are not judged, and so not measured.
fn warn_of_unjudged(run: &TrecRun, qrels: &Qrels) {
    let mut unjudged = run.topics.keys().filter(|topic| !qrels.contains_key(*topic));
    if let Some(first) = unjudged.next() {
        let n = 1 + unjudged.count();
        message(format_args!(
            "warning: topics of the run without judgements: {n}, the first of them `{first}`"
        ));
    }
}

/// Says which relevant passages the index does not have, and so cannot find.
fn check_judged(index: &Bm25, qrels: &Qrels) -> anyhow::Result<()> {
    let relevant = qrels.values().flatten();
    let relevant = relevant.filter_map(|(id, relevance)| (*relevance > 0).then_some(id.as_str()));
    let relevant: BTreeSet<&str> = relevant.collect();
    let found = index.passages_by_id(relevant.iter().copied())?;
    let (n_missing, n_relevant) = (relevant.len() - found.len(), relevant.len());
    let Some(first) = relevant.iter().find(|id| !found.contains_key(*id)) else { return Ok(()) };
    if n_missing == n_relevant {
        let message = format!(
            "the judgements name no passage of this index: all {n_relevant} relevant ids differ, \
             the first of them `{first}`"
        );
        return Err(Failure::new(Code::Input, message)
            .hint("is it another corpus, or are its ids written in another way?")
            .into());
    }
    message(format_args!(
        "warning: {n_missing} of {n_relevant} relevant passages are not in this index, the first \
         of them `{first}`: they count as not found"
    ));
    Ok(())
}

fn search(
    args: &Args,
    index: &Path,
    topics: &[TrecTopic],
    qrels: &Qrels,
) -> anyhow::Result<TrecRun> {
    let engine = args.engine.open(index)?;
    check_judged(&engine.bm25, qrels)?;
    if args.save_run.is_some() {
        check_ids(&engine.bm25, topics)?;
    }
    let batch = (HITS_A_BATCH / args.depth.max(1)).clamp(1, BATCH);
    let mut run = TrecRun::default();
    let mut progress = Progress::new("searching", 0, topics.len() as u64);
    for (batch_idx, topics) in topics.chunks(batch).enumerate() {
        let queries: Vec<&str> = topics.iter().map(|topic| topic.query.as_str()).collect();
        let found = engine.retriever.search(&queries, args.depth);
        for (topic, hits) in topics.iter().zip(found) {
            let hits = hits.with_context(|| {
                Failure::new(Code::Input, format!("topic `{}` cannot be searched for", topic.id))
            })?;
            run.add(&topic.id, &hits);
        }
        progress.set((batch_idx * batch + topics.len()) as u64, engine.method);
    }
    progress.finish();
    Ok(run)
}

/// Checks that a run can hold all ids, before anything is searched for.
fn check_ids(bm25: &Bm25, topics: &[TrecTopic]) -> anyhow::Result<()> {
    let unwritable = || {
        Failure::new(Code::Input, "the results cannot be saved as a TREC run")
            .hint("give passages and topics ids without blanks, or leave out `--save-run`")
    };
    let passages = bm25.passage_ids().with_context(unwritable)?;
    let ids = topics.iter().map(|topic| &topic.id).chain(&passages);
    for id in ids {
        check_run_id(id).with_context(unwritable)?;
    }
    Ok(())
}

fn table(measured: &RunMeasures, args: &Args) -> String {
    let mut text = String::new();
    let mut row = |name: &str, values: &[f64]| {
        for (measure, value) in measured.measures.iter().zip(values) {
            writeln!(text, "{measure:<12} {name:<12} {value:.4}").expect("writing to a string");
        }
    };
    if args.per_topic {
        for (topic, values) in &measured.topics {
            row(topic, values);
        }
    }
    row("all", &measured.means);
    writeln!(text, "{:<12} {:<12} {}", "topics", "all", measured.topics.len())
        .expect("writing to a string");
    text
}

fn json(measured: &RunMeasures, per_topic: bool) -> String {
    let values = |values: &[f64]| -> serde_json::Map<String, serde_json::Value> {
        let names = measured.measures.iter().map(ToString::to_string);
        names.zip(values.iter().map(|&it| it.into())).collect()
    };
    let mut object = serde_json::Map::new();
    object.insert("topics".to_owned(), measured.topics.len().into());
    object.insert("mean".to_owned(), values(&measured.means).into());
    if per_topic {
        let topics: serde_json::Map<String, serde_json::Value> = measured
            .topics
            .iter()
            .map(|(id, numbers)| (id.clone(), values(numbers).into()))
            .collect();
        object.insert("per_topic".to_owned(), topics.into());
    }
    format!("{}\n", serde_json::Value::Object(object))
}
