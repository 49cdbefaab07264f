//! The generator against an agent with known weaknesses: feedback has to find them, and to beat
//! resampling at the same number of runs.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use forage_synthesis::chat::Budget;
use forage_synthesis::feedback_loop::scripted::{MeasureJudge, ScriptedAgent, hit};
use forage_synthesis::feedback_loop::{
    AgentRun, Documents, ExecutedSearch, FeedbackLoop, FeedbackLoopConfig, Item, Journal, Proposal,
    QaPair, QuestionGenerator, Revision, StepError, SynthesisReport, Trace, TraceTurn, UpdateRule,
    WithUsage, assemble,
};
use forage_synthesis::graph_generator::{GraphGenerator, GraphGeneratorConfig};
use forage_trajectory::{EvidenceStep, Stream};
use forage_world::{World, WorldConfig};
use rand::RngExt;
use serde_json::json;

/// A generator that lets the agent's script look up how its questions are answered.
struct Watched {
    generator: GraphGenerator,
    pairs: Mutex<HashMap<String, QaPair>>,
}

impl Watched {
    fn note(&self, made: WithUsage<Proposal>) -> WithUsage<Proposal> {
        let pair = made.value.pair.clone();
        self.pairs.lock().unwrap().insert(pair.question.clone(), pair);
        made
    }
}

impl QuestionGenerator for Watched {
    fn propose(&self, item: &Item, stream: Stream) -> Result<WithUsage<Proposal>, StepError> {
        self.generator.propose(item, stream).map(|it| self.note(it))
    }

    fn revise(&self, revision: &Revision<'_>) -> Result<WithUsage<Proposal>, StepError> {
        self.generator.revise(revision).map(|it| self.note(it))
    }
}

/// A number from 0 to 99 that belongs to a fact.
fn percent(step: &EvidenceStep) -> u32 {
    let bytes = step.passage_ids[0].bytes().chain(step.question.bytes().take(12));
    bytes.fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte))) % 100
}

/// An agent that follows the steps. It misreads every fourth fact nearly always and others now and
/// then; every sixth fact comes with the search before it.
fn attempt(pair: &QaPair, stream: Stream) -> AgentRun {
    let mut rng = stream.rng();
    let mut turns: Vec<TraceTurn> = Vec::new();
    for (hop, step) in pair.evidence.steps.iter().enumerate() {
        let found = hit(&step.passage_ids[0], &step.answer);
        let last = turns.last_mut().and_then(|it: &mut TraceTurn| it.searched.as_mut());
        match last {
            Some(search) if hop > 0 && percent(step).is_multiple_of(6) => search.hits.push(found),
            _ => {
                let query = step.queries[0].clone();
                let searched = Some(ExecutedSearch { query, hits: vec![found] });
                turns.push(TraceTurn { text: String::new(), searched });
            }
        }
        let misreads = if percent(step) % 4 == 1 { 0.95 } else { 0.05 };
        if rng.random_bool(misreads) {
            let trace = Trace { prompt: String::new(), turns };
            return AgentRun { answer: Some("something else".to_owned()), trace };
        }
    }
    let trace = Trace { prompt: String::new(), turns };
    AgentRun { answer: Some(pair.golden_answers[0].clone()), trace }
}

fn report(update: UpdateRule) -> SynthesisReport {
    let world = World::generate(&WorldConfig::default(), 1).unwrap();
    let generator = GraphGenerator::of_world(&world, GraphGeneratorConfig::default());
    let watched = Watched { generator, pairs: Mutex::default() };
    let agent = ScriptedAgent(|question: &str, stream: Stream| {
        let pair = watched.pairs.lock().unwrap()[question].clone();
        Ok(attempt(&pair, stream))
    });
    let documents = world.passages().to_vec();
    let config = FeedbackLoopConfig {
        items: 600,
        steps_from: 2,
        steps_to: 6,
        rounds: 3,
        in_flight: 8,
        update,
        ..FeedbackLoopConfig::default()
    };
    let measure = |answer: &str, golden: &[String]| {
        Ok(f64::from(u8::from(golden.iter().any(|it| it == answer))))
    };
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("journal.jsonl"), &json!({})).unwrap();
    let feedback_loop = FeedbackLoop {
        config: &config,
        seed: 1,
        documents: &documents as &dyn Documents,
        generator: &watched,
        agent: &agent,
        judge: &MeasureJudge { measure, least: 1.0 },
        budget: &Budget::new(config.limits),
        stop: &AtomicBool::new(false),
    };
    let records = feedback_loop.run(&journal, &mut |_| {}).unwrap();
    SynthesisReport::of(&records, &assemble(&records, &config), &config)
}

#[test]
fn feedback_beats_resampling_and_the_share_rises_with_rounds() {
    let feedback = report(UpdateRule::Feedback);
    let resampled = report(UpdateRule::Resample);
    // The first round is the same.
    assert_eq!(feedback.rounds[0], resampled.rounds[0]);
    for rounds in feedback.rounds.windows(2) {
        assert!(rounds[1].all.passed > rounds[0].all.passed, "{rounds:?}");
    }
    for (with, without) in feedback.rounds.iter().zip(&resampled.rounds).skip(1) {
        assert!(with.all.passed > without.all.passed + 0.03, "{with:?} {without:?}");
        assert!(with.agent_runs <= without.agent_runs);
    }
    let last = &feedback.rounds[3];
    for steps in 3..=6 {
        let [with, without] = [last, &resampled.rounds[3]].map(|it| it.by_steps[&steps].passed);
        assert!(with > without, "S = {steps}: {with} {without}");
    }
    let [shallow, deep] = [2, 6].map(|steps| last.by_steps[&steps]);
    assert!(deep.searches > shallow.searches + 2.0, "{deep:?} {shallow:?}");
    assert!(deep.average < shallow.average, "{deep:?} {shallow:?}");
}
