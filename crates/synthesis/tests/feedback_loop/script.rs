//! Parts that say what a test wants to hear.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use forage_synthesis::chat::Budget;
use forage_synthesis::feedback_loop::scripted::{MeasureJudge, hit};
use forage_synthesis::feedback_loop::{
    Agent, AgentRun, Documents, ExecutedSearch, FeedbackLoop, FeedbackLoopConfig,
    FeedbackLoopError, ItemRecord, Journal, Judge, Proposal, QaPair, QuestionGenerator, Trace,
    TraceTurn,
};
use forage_trajectory::Passage;
use serde_json::json;

/// What only the generator may know.
pub(crate) const SENTINELS: [&str; 4] =
    ["SENTINEL-DOCUMENT", "SENTINEL-ANSWER", "SENTINEL-TRACE", "SENTINEL-NOTES"];

pub(crate) fn documents() -> Vec<Passage> {
    let passage = |it: usize| Passage {
        id: format!("d{it}"),
        title: format!("title {it}"),
        text: SENTINELS[0].to_owned(),
    };
    (0..97).map(passage).collect()
}

/// A trace with so many executed searches, some thinking and an answer.
pub(crate) fn trace(prompt: &str, steps: usize) -> Trace {
    let plain = |text: &str| TraceTurn { text: text.to_owned(), searched: None };
    let mut turns = vec![plain("<think> hm </think>"), plain("<search> </search>")];
    turns.extend((0..steps).map(|step| TraceTurn {
        text: format!("<search> {step} </search>"),
        searched: Some(ExecutedSearch { query: step.to_string(), hits: vec![hit("p1", "page")] }),
    }));
    turns.push(plain("<answer> x </answer>"));
    Trace { prompt: prompt.to_owned(), turns }
}

pub(crate) fn run(answer: Option<&str>, steps: usize) -> AgentRun {
    AgentRun { answer: answer.map(str::to_owned), trace: trace("the agent's prompt", steps) }
}

pub(crate) fn proposal(question: &str, prompt: &str) -> Proposal {
    Proposal {
        pair: QaPair {
            question: question.to_owned(),
            golden_answers: vec![SENTINELS[1].to_owned()],
            ..QaPair::default()
        },
        trace: trace(prompt, 3),
        notes: json!(SENTINELS[3]),
    }
}

/// Right is what equals an answer.
pub(crate) fn judge() -> impl Judge {
    let measure = |answer: &str, golden: &[String]| {
        Ok(f64::from(u8::from(golden.iter().any(|it| it == answer))))
    };
    MeasureJudge { measure, least: 1.0 }
}

/// Runs the loop in a fresh journal.
pub(crate) fn play(
    config: &FeedbackLoopConfig,
    generator: &dyn QuestionGenerator,
    agent: &dyn Agent,
) -> Result<Vec<ItemRecord>, FeedbackLoopError> {
    let folder = tempfile::tempdir().unwrap();
    play_in(&folder.path().join("journal.jsonl"), config, generator, agent)
}

pub(crate) fn play_in(
    path: &std::path::Path,
    config: &FeedbackLoopConfig,
    generator: &dyn QuestionGenerator,
    agent: &dyn Agent,
) -> Result<Vec<ItemRecord>, FeedbackLoopError> {
    with(path, config, generator, agent, |feedback_loop, journal| {
        let seen = Mutex::new(0);
        let records = feedback_loop.run(journal, &mut |_| *seen.lock().unwrap() += 1)?;
        assert_eq!(seen.into_inner().unwrap(), records.len(), "every item is reported once");
        Ok(records)
    })
}

/// Does something with the parts and the journal there.
pub(crate) fn with<T>(
    path: &std::path::Path,
    config: &FeedbackLoopConfig,
    generator: &dyn QuestionGenerator,
    agent: &dyn Agent,
    act: impl FnOnce(&FeedbackLoop<'_>, &Journal) -> Result<T, FeedbackLoopError>,
) -> Result<T, FeedbackLoopError> {
    let journal = Journal::open(path, &json!({"seed": 5}))?;
    let documents = documents();
    let feedback_loop = FeedbackLoop {
        config,
        seed: 5,
        documents: &documents as &dyn Documents,
        generator,
        agent,
        judge: &judge(),
        budget: &Budget::new(config.limits),
        stop: &AtomicBool::new(false),
    };
    act(&feedback_loop, &journal)
}
