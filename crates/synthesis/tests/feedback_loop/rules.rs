//! The rules of the loop, with parts that follow a script.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use forage_synthesis::chat::Usage;
use forage_synthesis::feedback_loop::scripted::{ScriptedAgent, ScriptedGenerator};
use forage_synthesis::feedback_loop::{
    Agent, AgentRun, AnswerType, Feedback, FeedbackLoopConfig, FeedbackLoopError, Item, ItemEnd,
    Journal, JournalEvent, Proposal, Revision, Round, StepError, SynthesisReport, UpdateRule,
    WithUsage, assemble,
};
use forage_trajectory::{Purpose, Stream};
use serde_json::json;

use crate::script::{SENTINELS, play, play_in, proposal, run, with};

fn config(items: u64) -> FeedbackLoopConfig {
    FeedbackLoopConfig { items, in_flight: 4, ..FeedbackLoopConfig::default() }
}

/// What a round should come to: the runs of the agent as (right, searches), no answer as `None`.
type Runs = [Option<(bool, usize)>; 4];

const WRONG: Runs = [Some((false, 2)), None, Some((false, 9)), None];
const SILENT: Runs = [None; 4];

const fn right_in(steps: usize) -> Runs {
    [Some((false, 2)), Some((true, steps + 2)), Some((true, steps)), Some((false, 7))]
}

/// Plays one item whose runs are given by round, with S = 4. Returns the feedback that the
/// generator got by round, as text, and how the item ended.
fn story(rounds: &[Runs], update: UpdateRule) -> (Vec<String>, ItemEnd, usize) {
    let told = Mutex::new(Vec::new());
    let propose = |item: &Item, stream: Stream| {
        assert_eq!(item.target_steps, 4);
        Ok(proposal(&format!("{}", stream.step), "the first prompt"))
    };
    let revise = |revision: &Revision<'_>| {
        assert_eq!(revision.item.target_steps, 4);
        let feedback = match revision.feedback {
            Feedback::TooEasy(run) => format!("too easy in {}", run.trace.n_searches()),
            Feedback::Wrong(Some(run)) => format!("wrong: {}", run.answer().unwrap()),
            Feedback::Wrong(None) => "no answer".to_owned(),
        };
        told.lock().unwrap().push(feedback);
        let prompt = format!("{}+", revision.previous.trace.prompt);
        Ok(proposal(&revision.round.to_string(), &prompt))
    };
    let agent = |question: &str, stream: Stream| {
        let round: usize = question.parse().unwrap();
        assert_eq!(stream.step, round as u64);
        assert_eq!(stream.purpose, Purpose::Verification);
        Ok(match rounds[round][stream.member as usize] {
            Some((right, steps)) => run(Some(if right { SENTINELS[1] } else { "no" }), steps),
            None => run(None, 1),
        })
    };
    let config = FeedbackLoopConfig { steps_from: 4, steps_to: 4, update, ..config(1) };
    let generator = ScriptedGenerator { propose, revise };
    let records = play(&config, &generator, &ScriptedAgent(agent)).unwrap();
    let told = told.into_inner().unwrap();
    (told, records[0].end.clone(), records[0].rounds.len())
}

#[test]
fn what_happens_between_rounds() {
    type Case<'a> = (&'a [Runs], UpdateRule, &'a [&'a str], ItemEnd, usize);
    let cases: [Case<'_>; 8] = [
        (&[right_in(4)], UpdateRule::Feedback, &[], ItemEnd::Passed, 1),
        (&[right_in(3), right_in(4)], UpdateRule::Feedback, &["too easy in 3"], ItemEnd::Passed, 2),
        (&[WRONG, right_in(5)], UpdateRule::Feedback, &["wrong: no"], ItemEnd::Passed, 2),
        (
            &[WRONG, right_in(1), right_in(4)],
            UpdateRule::Feedback,
            &["wrong: no", "too easy in 1"],
            ItemEnd::Passed,
            3,
        ),
        (
            &[right_in(1), right_in(2), right_in(3)],
            UpdateRule::Feedback,
            &["too easy in 1", "too easy in 2"],
            ItemEnd::OutOfRounds,
            3,
        ),
        (
            &[SILENT, WRONG, WRONG],
            UpdateRule::Feedback,
            &["no answer", "wrong: no"],
            ItemEnd::OutOfRounds,
            3,
        ),
        (&[right_in(3), WRONG, right_in(4)], UpdateRule::Resample, &[], ItemEnd::Passed, 3),
        (&[right_in(3), WRONG, right_in(1)], UpdateRule::Resample, &[], ItemEnd::OutOfRounds, 3),
    ];
    for (rounds, update, told, end, n_rounds) in cases {
        let found = story(rounds, update);
        let told: Vec<String> = told.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(found, (told, end, n_rounds), "{rounds:?} {update:?}");
    }
}

#[test]
fn the_agent_is_told_the_question_and_nothing_else() {
    let told = Mutex::new(BTreeSet::new());
    let generator = ScriptedGenerator {
        propose: |item: &Item, _| {
            assert_eq!(item.document.text, SENTINELS[0]);
            Ok(proposal("what is asked?", SENTINELS[2]))
        },
        revise: |revision: &Revision<'_>| {
            // The generator gets both traces and S.
            assert_eq!(revision.previous.trace.prompt, SENTINELS[2]);
            assert_eq!(revision.previous.notes, SENTINELS[3]);
            let (Feedback::TooEasy(run) | Feedback::Wrong(Some(run))) = revision.feedback else {
                panic!("the runs have answers");
            };
            assert_eq!(run.trace.prompt, "the agent's prompt");
            assert!(revision.item.target_steps >= 2);
            Ok(proposal("what is asked instead?", SENTINELS[2]))
        },
    };
    let agent = ScriptedAgent(|question: &str, stream: Stream| {
        told.lock().unwrap().insert(format!("{question} {stream:?}"));
        Ok(run(Some("no"), 1))
    });
    play(&config(12), &generator, &agent).unwrap();
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), 12 * 3 * 4, "every run has numbers of its own");
    for text in &told {
        for sentinel in SENTINELS {
            assert!(!text.contains(sentinel), "{text}");
        }
    }
}

#[test]
fn an_item_keeps_its_steps_and_traces_accumulate() {
    let seen: Mutex<BTreeMap<u64, BTreeSet<(usize, AnswerType)>>> = Mutex::default();
    let note = |item: &Item| {
        let mut seen = seen.lock().unwrap();
        seen.entry(item.index).or_default().insert((item.target_steps, item.answer_type));
    };
    let generator = ScriptedGenerator {
        propose: |item: &Item, _| {
            note(item);
            Ok(proposal("q0", "round 0"))
        },
        revise: |revision: &Revision<'_>| {
            note(revision.item);
            let before = &revision.previous.trace.prompt;
            Ok(proposal("q", &format!("{before}, round {}", revision.round)))
        },
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let agent = ScriptedAgent(|_: &str, _| Ok(run(Some("no"), 1)));
    play_in(&path, &config(30), &generator, &agent).unwrap();
    for told in seen.into_inner().unwrap().values() {
        assert_eq!(told.len(), 1);
    }
    let journal = Journal::open(&path, &json!({"seed": 5})).unwrap();
    let last = |event: &JournalEvent| match event {
        JournalEvent::Proposed { round: 2, proposal: Ok(Proposal { trace, .. }), .. } => {
            Some(trace.prompt.clone())
        }
        _ => None,
    };
    let events = journal.events_of(17).unwrap();
    assert_eq!(events.iter().find_map(last).unwrap(), "round 0, round 1, round 2");
    assert_eq!(events.len(), 3 * (1 + 4) + 1);
}

#[test]
fn a_pair_that_cannot_be_made_leaves_the_one_before() {
    // Whether the generator fails in rounds 0, 1 and 2, and which round's pair is the question.
    for (fails, expected) in [
        ([false, true, true], Some(0)),
        ([false, true, false], Some(2)),
        ([true, false, true], Some(1)),
        ([true, true, true], None),
    ] {
        let fail = |round: usize| {
            if fails[round] { Err(StepError::item("no way")) } else { Ok(proposal("q", "p")) }
        };
        let generator = ScriptedGenerator {
            propose: |_: &Item, stream: Stream| fail(stream.step as usize),
            revise: |revision: &Revision<'_>| fail(revision.round),
        };
        let agent = ScriptedAgent(|_: &str, _| Ok(run(Some(SENTINELS[1]), 2)));
        let config = FeedbackLoopConfig { steps_from: 5, steps_to: 5, ..config(1) };
        let records = play(&config, &generator, &agent).unwrap();
        let assembly = assemble(&records, &config);
        assert_eq!(assembly.accepted.first().map(|it| it.round), expected, "{fails:?}");
        let report = SynthesisReport::of(&records, &assembly, &config);
        let n_failed = fails.iter().filter(|it| **it).count();
        let counted: usize = report.reasons.iter().filter_map(|it| it.get("no way")).sum();
        assert_eq!(counted, n_failed);
        assert_eq!(matches!(records[0].end, ItemEnd::Lost { .. }), expected.is_none());
    }
}

/// Knows the answer of some questions, and counts its calls.
struct Guesser;

impl Agent for Guesser {
    fn answer(&self, question: &str, _: Stream) -> Result<WithUsage<AgentRun>, StepError> {
        let answer = if question.ends_with('0') { SENTINELS[1] } else { "no idea" };
        let usage = Usage { calls: 1, ..Usage::default() };
        Ok(WithUsage { value: run(Some(answer), 0), usage })
    }
}

#[test]
fn what_guesses_take_is_used_also_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let generator = ScriptedGenerator {
        propose: |item: &Item, _| Ok(proposal(&format!("q{}", item.index), "p")),
        revise: |_: &Revision<'_>| Ok(proposal("r", "p")),
    };
    let agent = ScriptedAgent(|_: &str, _| Ok(run(Some(SENTINELS[1]), 10)));
    let config = config(12);
    let records = play_in(&path, &config, &generator, &agent).unwrap();
    let mut assembly = assemble(&records, &config);
    assert_eq!(assembly.accepted.len(), 12);
    for opened in 0..2 {
        let found = with(&path, &config, &generator, &agent, |feedback_loop, journal| {
            feedback_loop.guessable(journal, &assembly.accepted, &Guesser, 2)
        });
        let found = found.unwrap();
        assert_eq!((found.usage.calls, found.right), (24, BTreeSet::from([0, 10])), "{opened}");
        assembly.usage = found.usage;
    }
    assert_eq!(SynthesisReport::of(&records, &assembly, &config).usage.calls, 24);
}

#[test]
fn lost_runs_are_no_wrong_runs() {
    let generator = ScriptedGenerator {
        propose: |_: &Item, _| Ok(proposal("q", "p")),
        revise: |_: &Revision<'_>| Ok(proposal("r", "p")),
    };
    for (n_lost, end) in [
        (0, ItemEnd::Passed),
        (3, ItemEnd::Passed),
        (4, ItemEnd::Lost { reason: "refused".to_owned() }),
    ] {
        let agent = ScriptedAgent(|_: &str, stream: Stream| {
            if stream.member < n_lost {
                Err(StepError::item("refused"))
            } else {
                Ok(run(Some(SENTINELS[1]), 10))
            }
        });
        let config = config(1);
        let records = play(&config, &generator, &agent).unwrap();
        assert_eq!(records[0].end, end, "{n_lost}");
        let Round::Tried { verdict, lost, .. } = &records[0].rounds[0] else { panic!("tried") };
        assert_eq!((verdict.n_runs as u64, lost.len() as u64), (4 - n_lost, n_lost));
        let assembly = assemble(&records, &config);
        let report = SynthesisReport::of(&records, &assembly, &config);
        assert_eq!(report.rounds[0].agent_runs, 4);
        assert_eq!(report.lost_runs.get("refused").copied().unwrap_or(0) as u64, n_lost);
    }
}

#[test]
fn a_broken_engine_ends_the_run_and_it_goes_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let generator = ScriptedGenerator {
        propose: |item: &Item, _| Ok(proposal(&item.index.to_string(), "p")),
        revise: |_: &Revision<'_>| Err(StepError::item("never")),
    };
    let calls = Mutex::new(BTreeMap::<String, usize>::new());
    let broken = Mutex::new(true);
    let agent = ScriptedAgent(|question: &str, stream: Stream| {
        let index: usize = question.parse().unwrap();
        if index >= 20 && *broken.lock().unwrap() {
            return Err(StepError::engine("the server", "connection refused"));
        }
        *calls.lock().unwrap().entry(format!("{index} {}", stream.member)).or_default() += 1;
        Ok(run(Some(SENTINELS[1]), 12))
    });
    let error = play_in(&path, &config(40), &generator, &agent).unwrap_err();
    let FeedbackLoopError::Stopped(StepError::Engine { what, .. }) = error else {
        panic!("{error:?}")
    };
    assert_eq!(what, "the server");
    *broken.lock().unwrap() = false;
    let records = play_in(&path, &config(40), &generator, &agent).unwrap();
    assert_eq!(records.len(), 40);
    assert_eq!(calls.lock().unwrap().len(), 160);
    assert!(calls.lock().unwrap().values().all(|n| *n == 1), "no finished run is made again");
    // More items are the same run, gone on with.
    let more = play_in(&path, &config(45), &generator, &agent).unwrap();
    assert_eq!(more[..40], records);
}

#[test]
fn threads_change_nothing() {
    let generator = ScriptedGenerator {
        propose: |item: &Item, stream: Stream| {
            Ok(proposal(&format!("{} {}", item.document.id, stream.step), "p"))
        },
        revise: |it: &Revision<'_>| Ok(proposal(&format!("{} {}", it.round, it.item.index), "p")),
    };
    let agent = ScriptedAgent(|_: &str, stream: Stream| {
        use rand::RngExt;
        let mut rng = stream.rng();
        let answer = if rng.random_bool(0.3) { SENTINELS[1] } else { "no" };
        Ok(run(Some(answer), rng.random_range(0..9)))
    });
    let one = play(&FeedbackLoopConfig { in_flight: 1, ..config(60) }, &generator, &agent).unwrap();
    let many =
        play(&FeedbackLoopConfig { in_flight: 60, ..config(60) }, &generator, &agent).unwrap();
    assert_eq!(one, many);
    let passed = one.iter().filter(|it| it.end == ItemEnd::Passed).count();
    assert!((10..50).contains(&passed), "{passed}");

    // A run for so many questions is the beginning of that for all items, whatever was under way.
    let nth = |n: usize| {
        let passed = one.iter().enumerate().filter(|(_, it)| it.end == ItemEnd::Passed);
        passed.map(|(idx, _)| idx).nth(n - 1).unwrap() + 1
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    for (in_flight, keep) in [(1, 3), (60, 3), (8, 7)] {
        let config = FeedbackLoopConfig { in_flight, keep: Some(keep as u64), ..config(60) };
        for path in [folder.path().join(format!("{in_flight}-{keep}.jsonl")), path.clone()] {
            let kept = with(&path, &config, &generator, &agent, |feedback_loop, journal| {
                feedback_loop.run(journal, &mut |_| ())
            });
            assert_eq!(kept.unwrap(), one[..nth(keep)], "{in_flight} {keep}");
        }
    }
    // Where fewer pass, all items are attempted.
    let config = FeedbackLoopConfig { keep: Some(passed as u64 + 1), ..config(60) };
    assert_eq!(play(&config, &generator, &agent).unwrap(), one);
}
