//! The walker against an agent with known weaknesses: feedback has to find them, and to beat
//! resampling at the same number of runs.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use forage_synthesis::sage::scripted::{MeasureJudge, ScriptedAgent, hit};
use forage_synthesis::sage::{
    Documents, Generator, Item, Journal, Ledger, Made, Pair, Proposal, Report, Revision, Run, Sage,
    SageConfig, Searched, StepError, Trace, Turn, Update, Walker, WalkerConfig, assemble,
};
use forage_synthesis::{World, WorldConfig};
use forage_trajectory::{EvidenceStep, Stream};
use rand::RngExt;
use serde_json::json;

/// A walker that lets the agent's script look up how its questions are answered.
struct Watched {
    walker: Walker,
    pairs: Mutex<HashMap<String, Pair>>,
}

impl Watched {
    fn note(&self, made: Made<Proposal>) -> Made<Proposal> {
        let pair = made.it.pair.clone();
        self.pairs.lock().unwrap().insert(pair.question.clone(), pair);
        made
    }
}

impl Generator for Watched {
    fn propose(&self, item: &Item, stream: Stream) -> Result<Made<Proposal>, StepError> {
        self.walker.propose(item, stream).map(|it| self.note(it))
    }

    fn revise(&self, revision: &Revision<'_>) -> Result<Made<Proposal>, StepError> {
        self.walker.revise(revision).map(|it| self.note(it))
    }
}

/// A number from 0 to 99 that belongs to a fact.
fn percent(step: &EvidenceStep) -> u32 {
    let bytes = step.passage_ids[0].bytes().chain(step.question.bytes().take(12));
    bytes.fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte))) % 100
}

/// An agent that follows the steps. It misreads every fourth fact nearly always and others now and
/// then; every sixth fact comes with the search before it.
fn attempt(pair: &Pair, stream: Stream) -> Run {
    let mut rng = stream.rng();
    let mut turns: Vec<Turn> = Vec::new();
    for (hop, step) in pair.evidence.steps.iter().enumerate() {
        let found = hit(&step.passage_ids[0], &step.answer);
        let last = turns.last_mut().and_then(|it: &mut Turn| it.searched.as_mut());
        match last {
            Some(search) if hop > 0 && percent(step).is_multiple_of(6) => search.hits.push(found),
            _ => {
                let query = step.queries[0].clone();
                let searched = Some(Searched { query, hits: vec![found] });
                turns.push(Turn { text: String::new(), searched });
            }
        }
        let misreads = if percent(step) % 4 == 1 { 0.95 } else { 0.05 };
        if rng.random_bool(misreads) {
            let trace = Trace { prompt: String::new(), turns };
            return Run { answer: Some("something else".to_owned()), trace };
        }
    }
    let trace = Trace { prompt: String::new(), turns };
    Run { answer: Some(pair.golden_answers[0].clone()), trace }
}

fn report(update: Update) -> Report {
    let world = World::generate(&WorldConfig::default()).unwrap();
    let walker = Walker::of_world(&world, WalkerConfig::default());
    let watched = Watched { walker, pairs: Mutex::default() };
    let agent = ScriptedAgent(|question: &str, stream: Stream| {
        let pair = watched.pairs.lock().unwrap()[question].clone();
        Ok(attempt(&pair, stream))
    });
    let documents = world.passages().to_vec();
    let config = SageConfig {
        items: 600,
        steps_from: 2,
        steps_to: 6,
        rounds: 3,
        in_flight: 8,
        update,
        ..SageConfig::default()
    };
    let measure = |answer: &str, golden: &[String]| {
        Ok(f64::from(u8::from(golden.iter().any(|it| it == answer))))
    };
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("journal.jsonl"), &json!({})).unwrap();
    let sage = Sage {
        config: &config,
        seed: 1,
        documents: &documents as &dyn Documents,
        generator: &watched,
        agent: &agent,
        judge: &MeasureJudge { measure, least: 1.0 },
        ledger: &Ledger::new(config.limits),
        stop: &AtomicBool::new(false),
    };
    let records = sage.run(&journal, &mut |_| {}).unwrap();
    Report::of(&records, &assemble(&records, &config), &config)
}

#[test]
fn feedback_beats_resampling_and_the_share_rises_with_rounds() {
    let feedback = report(Update::Feedback);
    let resampled = report(Update::Resample);
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
