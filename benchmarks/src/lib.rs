//! What the benches share: a world of the size of the warm start's, its search engine, and
//! episodes played in it by the scripted agent.
//!
//! One bench a crate with a hot path; `cargo xtask bench` runs them all, `cargo xtask bench
//! --bench retriever` one. Everything is generated from a seed, so numbers of two machines, or of
//! two commits, compare.

use std::sync::LazyLock;

use forage_retriever::{Analyzer, Bm25, SearchOptions};
use forage_rollout::scripted::{Bytes, ScriptedPolicy};
use forage_rollout::{RolloutConfig, RolloutTask, run_episodes};
use forage_trajectory::{Purpose, Question, Sampling, Stream, Trajectory};
use forage_world::{
    EntityCounts, Perturbations, QuestionMix, Split, Thoughts, World, WorldConfig, demonstrate,
    questions,
};

/// The seed of everything.
pub const SEED: u64 = 1;

/// A world of 13,200 entities, each with a passage.
pub static WORLD: LazyLock<World> = LazyLock::new(|| {
    World::generate(&world_config(), SEED).expect("the world is large enough to be linked")
});

/// The search engine over the passages of [`WORLD`].
pub static BM25: LazyLock<Bm25> = LazyLock::new(|| {
    let passages = WORLD.passages().to_vec();
    Bm25::in_memory(passages, Analyzer::default(), &SearchOptions::default())
        .expect("generated passages have distinct ids")
});

/// How [`WORLD`] is made.
pub fn world_config() -> WorldConfig {
    let entities = EntityCounts { train: 12_000, dev: 600, test: 600 };
    WorldConfig { entities, ..WorldConfig::default() }
}

/// Questions about the training split of [`WORLD`], of all shapes.
pub fn asked(count: usize) -> Vec<Question> {
    questions(&WORLD, Split::Train, count, SEED, &QuestionMix::default())
        .expect("the world has more chains than that")
}

/// Plays every question once, as the scripted agent would: one token a byte, up to four searches.
pub fn play_scripted(questions: &[&Question]) -> Vec<Trajectory> {
    let stream = Stream::new(SEED, Purpose::Demonstrations);
    let turns: Vec<Vec<String>> = questions
        .iter()
        .enumerate()
        .map(|(idx, question)| {
            demonstrate(
                &WORLD,
                question,
                &Perturbations::default(),
                Thoughts::Plan,
                stream.of_member(idx as u64, 0),
            )
        })
        .collect();
    let mut policy = ScriptedPolicy::new(Bytes, |_: &str, task, turn| {
        turns[task].get(turn).cloned().unwrap_or_default()
    });
    let config = RolloutConfig { max_tokens: usize::MAX, ..RolloutConfig::default() };
    let tasks: Vec<RolloutTask<'_>> = questions
        .iter()
        .enumerate()
        .map(|(member, question)| RolloutTask { question, member, stream })
        .collect();
    run_episodes(&mut policy, &*BM25, &config, &tasks, Sampling::Greedy)
        .expect("neither the script nor the search engine fails")
}
