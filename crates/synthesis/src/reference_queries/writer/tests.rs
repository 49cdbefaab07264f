//! Filters, refusals and resumption of reference queries, with scripted models and engines.

use std::collections::BTreeSet;

use forage_trajectory::Evidence;
use serde_json::json;

use super::*;
use crate::chat::{BudgetLimits, ChatReply};

/// Chat model that writes three queries of a sub-question, refuses where it is told to, and is down
/// after `lasts` calls.
struct Scripted {
    calls: AtomicU64,
    lasts: u64,
}

impl ChatModel for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn reply(&self, request: &ChatRequest<'_>, usage: &mut Usage) -> Result<ChatReply, ChatError> {
        usage.calls += 1;
        if self.calls.fetch_add(1, Ordering::Relaxed) >= self.lasts {
            return Err(ChatError::Stopping);
        }
        let line = request.prompt.lines().find_map(|line| line.strip_prefix("Sub-question: "));
        let sub_question = line.expect("the prompt names the sub-question");
        if sub_question.contains("forbidden") {
            return Err(ChatError::Refused { model: "scripted".into(), said: "no".into() });
        }
        let text = format!("1. {sub_question}\n2. all of {sub_question}\n3. nothing");
        Ok(ChatReply { text, cut_off: false })
    }
}

/// Engine that finds one passage for the queries that contain one of its words.
struct Words(&'static [&'static str]);

impl Retriever for Words {
    fn search(&self, queries: &[&str], _: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        let found = |query: &&str| self.0.iter().any(|word| query.contains(word));
        let hit = || Hit { id: "p".into(), text: "The Port of Halvik.".into(), ..Hit::default() };
        queries.iter().map(|query| Ok(found(query).then(hit).into_iter().collect())).collect()
    }
}

fn config(found: Found) -> ReferenceQueriesConfig {
    ReferenceQueriesConfig { queries: 3, temperature: 1.0, depth: 3, found, in_flight: 2, seed: 1 }
}

fn question(id: &str, sub_questions: &[(&str, &str)]) -> Question {
    let steps = sub_questions.iter().map(|(question, answer)| EvidenceStep {
        question: (*question).into(),
        answer: (*answer).into(),
        ..EvidenceStep::default()
    });
    let evidence = Evidence { steps: steps.collect(), ..Evidence::default() };
    Question { id: id.into(), evidence, ..Question::default() }
}

fn kept(steps: &[StepQueries]) -> Vec<Vec<&str>> {
    steps.iter().map(|step| step.kept.iter().map(String::as_str).collect()).collect()
}

/// Runs a writer with engines over questions, from a log in a folder.
fn run(
    folder: &std::path::Path,
    model: Option<&Scripted>,
    engines: &[Arc<dyn Retriever>],
    found: Found,
    questions: &[Question],
) -> Result<Vec<Vec<StepQueries>>, ReferenceQueriesError> {
    let log = QueryLog::open(&folder.join("log"), &json!({"seed": 1}))?;
    let writer = QueryWriter {
        config: &config(found),
        model: model.map(|model| model as &dyn ChatModel),
        engines,
        budget: &Budget::new(BudgetLimits::default()),
        stop: &AtomicBool::new(false),
    };
    writer.run(questions, log, &mut |_| {})
}

fn engines(words: &[&'static [&'static str]]) -> Vec<Arc<dyn Retriever>> {
    words.iter().map(|words| Arc::new(Words(words)) as Arc<dyn Retriever>).collect()
}

/// Words for which each engine finds something, and the queries kept of each sub-question.
type Row<'a> = (&'a [&'static [&'static str]], [&'a [&'a str]; 2]);

#[test]
fn queries_are_kept_for_which_half_of_the_engines_find_something() {
    let questions = [question("a", &[("port", "Halvik"), ("mayor", "Ott")])];
    let scripted = || Scripted { calls: AtomicU64::new(0), lasts: u64::MAX };
    let table: [Row; 4] = [
        (&[], [&["port", "all of port", "nothing"], &["mayor", "all of mayor", "nothing"]]),
        (&[&["all"]], [&["all of port"], &["all of mayor"]]),
        (&[&["port"], &["all"]], [&["port", "all of port"], &["all of mayor"]]),
        (&[&["port"], &["all"], &["nothing"]], [&["all of port"], &[]]),
    ];
    for (words, expected) in table {
        let folder = tempfile::tempdir().unwrap();
        let model = scripted();
        let found =
            run(folder.path(), Some(&model), &engines(words), Found::Any, &questions).unwrap();
        assert_eq!(kept(&found[0]), expected, "{words:?}");
        assert_eq!(found[0][0].kept.len() + found[0][0].dropped, 3);
    }

    // The engine's passage has the answer of the first sub-question only.
    let folder = tempfile::tempdir().unwrap();
    let model = scripted();
    let all = engines(&[&["port", "mayor"]]);
    let found = run(folder.path(), Some(&model), &all, Found::Gold, &questions).unwrap();
    assert_eq!(kept(&found[0]), [vec!["port", "all of port"], vec![]]);
}

#[test]
fn without_a_model_the_sub_question_is_the_query() {
    let folder = tempfile::tempdir().unwrap();
    let questions = [question("a", &[(" port? ", "Halvik"), ("mayor?", "Ott")])];
    let found = run(folder.path(), None, &engines(&[&["port"]]), Found::Any, &questions).unwrap();
    assert_eq!(kept(&found[0]), [vec!["port?"], vec![]]);
}

#[test]
fn a_refusal_concerns_its_sub_question_alone() {
    let folder = tempfile::tempdir().unwrap();
    let questions = [question("a", &[("forbidden", "x"), ("mayor", "Ott")])];
    let model = Scripted { calls: AtomicU64::new(0), lasts: u64::MAX };
    let found = run(folder.path(), Some(&model), &[], Found::Any, &questions).unwrap();
    assert!(found[0][0].refused.is_some() && found[0][0].kept.is_empty());
    assert_eq!(found[0][1].kept.len(), 3);
}

#[test]
fn a_run_that_stopped_goes_on_from_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let questions: Vec<_> =
        (0..6).map(|nth| question(&nth.to_string(), &[("port", "x"), ("mayor", "y")])).collect();
    let model = Scripted { calls: AtomicU64::new(0), lasts: 7 };
    let error = run(folder.path(), Some(&model), &[], Found::Any, &questions).unwrap_err();
    assert!(matches!(error, ReferenceQueriesError::Chat { .. }), "{error}");
    let held = QueryLog::open(&folder.path().join("log"), &json!({"seed": 1})).unwrap();
    let n_held = held.n_done();
    let indices: BTreeSet<u64> = held.done.keys().copied().collect();
    assert!((1..6).contains(&n_held) && held.used.calls == 2 * n_held as u64, "{indices:?}");
    drop(held);

    let model = Scripted { calls: AtomicU64::new(0), lasts: u64::MAX };
    let found = run(folder.path(), Some(&model), &[], Found::Any, &questions).unwrap();
    assert_eq!(found.len(), 6);
    assert_eq!(model.calls.into_inner(), 2 * (6 - n_held as u64));
    let other = QueryLog::open(&folder.path().join("log"), &json!({"seed": 2})).unwrap_err();
    assert!(other.to_string().contains("`seed`"), "{other}");
}
