//! What holds for any policy, any tokenizer, any page and any budget.

use forage_rollout::scripted::ScriptedPolicy;
use forage_rollout::{ObservationTemplate, RolloutConfig, RolloutTask, run_episodes};
use forage_trajectory::{
    Origin, Outcome, Policy, Purpose, Question, Sampling, SegmentKind, Stream, Trajectory,
};
use proptest::prelude::*;

use crate::support::{Shelf, Shreds, Watched};

/// Pieces that turns are made of, so that whole, broken and crossed blocks all occur.
const PIECES: [&str; 16] = [
    "<think>",
    "</think>",
    "<search>",
    "</search>",
    "<answer>",
    "</answer>",
    "<information>",
    "</information>",
    "<think> é漢 </think>",
    "<search> 🦀 </search>",
    "<search> fail </search>",
    "<answer> é </answer>",
    " \n",
    "漢🦀",
    "\u{FFFD}",
    "nothing",
];

fn turn() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(PIECES.to_vec());
    prop_oneof![
        prop::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat()),
        "<think> [a-z]{0,9} </think>\n<search> [a-c] </search>",
    ]
}

/// The turns of some trajectories.
fn scripts() -> impl Strategy<Value = Vec<Vec<String>>> {
    prop::collection::vec(prop::collection::vec(turn(), 4), 1..5)
}

fn page(query: &str) -> String {
    format!("{query} <answer> <sea<search>rch> é漢🦀 {}", "page ".repeat(query.len()))
}

fn cfg(max_turn_tokens: usize, max_observation_tokens: usize, max_tokens: usize) -> RolloutConfig {
    RolloutConfig {
        prompt: "é {question}\n".into(),
        chat: false,
        system: None,
        max_searches: 3,
        top_k: 2,
        template: ObservationTemplate::default(),
        max_turn_tokens,
        max_observation_tokens,
        max_tokens,
    }
}

/// Plays the scripts whose indices are given, with the same streams whatever the batch.
fn play_some(
    scripts: &[Vec<String>],
    which: &[usize],
    codec: &Shreds,
    cfg: &RolloutConfig,
) -> Vec<Trajectory> {
    let write = |_: &str, sequence: usize, turn: usize| scripts[which[sequence]][turn].clone();
    let mut policy = Watched::new(ScriptedPolicy::new(codec, write));
    let question = Question { id: "q".into(), text: "漢".into(), ..Question::default() };
    let tasks: Vec<RolloutTask<'_>> = which
        .iter()
        .map(|&member| {
            let stream = Stream::new(5, Purpose::Rollout).of_member(0, member as u64);
            RolloutTask { question: &question, member, stream }
        })
        .collect();
    let played =
        run_episodes(&mut policy, &Shelf::new(page), cfg, &tasks, Sampling::Greedy).unwrap();
    policy.check_end(&played);
    for trajectory in &played {
        check_texts(trajectory, &policy);
    }
    played
}

/// The segments of a run by one writer spell the text of its tokens.
fn check_texts(trajectory: &Trajectory, policy: &impl Policy) {
    for turn in trajectory.segments.chunk_by(|left, right| left.origin == right.origin) {
        let (first, last) = (&turn[0], &turn[turn.len() - 1]);
        let tokens = &trajectory.tokens[first.tokens.start..last.tokens.end];
        let text: String = turn.iter().map(|segment| segment.text.as_str()).collect();
        assert_eq!(policy.decode(tokens).unwrap(), text);
    }
}

proptest! {
    #[test]
    fn segments_tile_and_budgets_hold(
        scripts in scripts(),
        seed: u64,
        max_bytes in 1_u64..12,
        max_turn_tokens in 1_usize..60,
        max_observation_tokens in 61_usize..120,
        max_tokens in 1_usize..300,
    ) {
        let cfg = cfg(max_turn_tokens, max_observation_tokens, max_tokens);
        let codec = Shreds::new(seed, max_bytes);
        let all: Vec<usize> = (0..scripts.len()).collect();
        for trajectory in play_some(&scripts, &all, &codec, &cfg) {
            prop_assert_eq!(trajectory.check(), Ok(()));
            prop_assert!(trajectory.searches.len() <= cfg.max_searches);
            let n_prompt = trajectory.segments[0].tokens.len();
            prop_assert!(trajectory.tokens.len() <= max_tokens.max(n_prompt));

            for segment in trajectory.segments.iter().filter(|it| it.kind == SegmentKind::Information) {
                prop_assert_eq!(segment.origin, Origin::Environment);
                prop_assert!(segment.tokens.len() <= max_observation_tokens);
                prop_assert!(segment.text.ends_with("</information>\n\n"));
                prop_assert!(!segment.content.is_empty());
                prop_assert!(!segment.content.contains("<answer>"));
            }
            let failed = trajectory.searches.iter().any(|search| search.failure.is_some());
            prop_assert_eq!(failed, trajectory.failed());
            let answered = trajectory.final_answer().is_some();
            prop_assert_eq!(answered, trajectory.outcome == Outcome::Answered);
        }
    }

    #[test]
    fn a_trajectory_does_not_depend_on_its_batch(scripts in scripts(), seed: u64) {
        let cfg = cfg(50, 90, 400);
        let codec = Shreds::new(seed, 4);
        let all: Vec<usize> = (0..scripts.len()).rev().collect();
        let together = play_some(&scripts, &all, &codec, &cfg);
        for (trajectory, &which) in together.iter().zip(&all) {
            let alone = play_some(&scripts, &[which], &codec, &cfg);
            prop_assert_eq!(trajectory, &alone[0]);
        }
    }
}
