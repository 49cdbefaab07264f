//! Named random streams: random numbers depend on what they are for, never on when they are drawn.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Purpose of random numbers. Two purposes never share numbers.
///
/// The number of a purpose is part of every random number of a run: it is never changed and never
/// used again. See [`Stream`] for two purposes with a number that is not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// Initial weights.
    Init = 0,
    /// Generation of the fictional world.
    World = 1,
    /// Generation of questions from the world.
    Questions = 2,
    /// Scripted demonstrations and exercises.
    Demonstrations = 3,
    /// Order of the training questions, shuffled in every epoch.
    Shuffle = 4,
    /// Token sampling in training.
    Rollout = 5,
    /// Token sampling in evaluation.
    Evaluation = 6,
    /// Bootstrap resampling for confidence intervals.
    Bootstrap = 7,
    /// Token sampling in conversations with a person.
    Chat = 8,
    /// Properties of a synthesized question: document, number of steps, type of answer.
    Items = 9,
    /// Proposal and revision of synthesized questions.
    Proposals = 10,
    /// Attempts at synthesized questions, and the judgment of their answers.
    Verification = 11,
    /// Choice of the attempt that a feedback shows.
    Feedback = 12,
    /// Order of the extra questions of dynamic sampling.
    DynamicSampling = 13,
    /// Shuffled labels in hindsight text (an ablation of self-distillation).
    HindsightLabels = 14,
    /// Sampling of the reference queries of sub-questions.
    ReferenceQueries = 15,
}

impl Purpose {
    /// What is hashed for a purpose and a turn: see [`Stream`].
    const fn hashed(self, turn: u64) -> [u64; 2] {
        let shuffle_turn = match self {
            Self::DynamicSampling => 1,
            Self::HindsightLabels => 2,
            _ => return [self as u64, turn],
        };
        debug_assert!(turn == 0, "this purpose is a turn of another and has none of its own");
        [Self::Shuffle as u64, shuffle_turn]
    }
}

/// Named random stream: the name is (seed, purpose, step, question, member, turn).
///
/// It is a name and not a state: [`Stream::rng`] starts at the same number every time. Threads
/// may draw in any order, and a resumed run has no random state to restore.
///
/// The name is hashed with blake3, which gives the seed of a `ChaCha8` generator. What is hashed
/// are six numbers of 64 bits: the fields of the stream in their order, with the purpose as the
/// number it has in [`Purpose`]. Two purposes are hashed as turns of [`Purpose::Shuffle`], which
/// has no turns of its own: [`Purpose::DynamicSampling`] as its turn 1 and
/// [`Purpose::HindsightLabels`] as its turn 2. These three purposes are used at turn 0 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stream {
    /// Seed of the run.
    pub seed: u64,
    /// Purpose of the numbers.
    pub purpose: Purpose,
    /// Training step, or another counter of the purpose. Default: 0, like the counters below.
    pub step: u64,
    /// Index of the question.
    pub question: u64,
    /// Index of the trajectory in its group.
    pub member: u64,
    /// Index of the turn within the trajectory.
    pub turn: u64,
}

impl Stream {
    /// Stream of a purpose, with all counters 0.
    pub const fn new(seed: u64, purpose: Purpose) -> Self {
        Self { seed, purpose, step: 0, question: 0, member: 0, turn: 0 }
    }

    /// The same stream at another step.
    #[must_use]
    pub const fn at_step(self, step: u64) -> Self {
        Self { step, ..self }
    }

    /// The same stream for one trajectory of one question.
    #[must_use]
    pub const fn of_member(self, question: u64, member: u64) -> Self {
        Self { question, member, ..self }
    }

    /// The same stream at another turn.
    #[must_use]
    pub const fn at_turn(self, turn: u64) -> Self {
        Self { turn, ..self }
    }

    /// Random number generator at the start of the stream.
    pub fn rng(&self) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new_derive_key("forage 2026 random stream");
        let [purpose, turn] = self.purpose.hashed(self.turn);
        for number in [self.seed, purpose, self.step, self.question, self.member, turn] {
            hasher.update(&number.to_le_bytes());
        }
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    /// Every purpose with its number, and the first number of a stream of it.
    const PINNED: [(Purpose, u64, u64); 16] = [
        (Purpose::Init, 0, 5_786_668_360_315_005_810),
        (Purpose::World, 1, 3_205_741_534_862_924_635),
        (Purpose::Questions, 2, 6_328_140_670_739_008_347),
        (Purpose::Demonstrations, 3, 7_360_377_447_983_142_412),
        (Purpose::Shuffle, 4, 11_704_045_842_992_510_913),
        (Purpose::Rollout, 5, 10_096_267_195_768_629_411),
        (Purpose::Evaluation, 6, 2_306_390_735_496_144_685),
        (Purpose::Bootstrap, 7, 14_006_141_624_057_871_263),
        (Purpose::Chat, 8, 2_454_321_539_694_564_073),
        (Purpose::Items, 9, 13_170_639_499_399_338_590),
        (Purpose::Proposals, 10, 1_638_034_469_494_615_912),
        (Purpose::Verification, 11, 13_988_433_357_425_234_629),
        (Purpose::Feedback, 12, 10_744_872_327_997_790_273),
        (Purpose::DynamicSampling, 13, 14_696_958_243_424_911_398),
        (Purpose::HindsightLabels, 14, 3_861_412_085_592_064_851),
        (Purpose::ReferenceQueries, 15, 10_006_347_679_512_680_205),
    ];

    #[test]
    fn numbers_of_purposes_do_not_change() {
        for (purpose, number, drawn) in PINNED {
            assert_eq!(purpose as u64, number, "{purpose:?}");
            let stream = Stream::new(7, purpose).at_step(3).of_member(5, 1);
            assert_eq!(stream.rng().next_u64(), drawn, "{purpose:?}");
        }
    }

    #[test]
    fn purposes_that_were_turns_of_another_have_its_numbers() {
        let shuffle = Stream::new(7, Purpose::Shuffle).at_step(3);
        for (purpose, turn) in [(Purpose::DynamicSampling, 1), (Purpose::HindsightLabels, 2)] {
            let stream = Stream { purpose, ..shuffle };
            assert_eq!(stream.rng().next_u64(), shuffle.at_turn(turn).rng().next_u64());
        }
    }

    #[test]
    fn a_stream_is_a_function_of_its_name() {
        let stream = Stream::new(7, Purpose::Rollout).at_step(3).of_member(5, 1);
        let first = stream.rng().next_u64();
        assert_eq!(first, stream.rng().next_u64());
        let others = [
            Stream { seed: 8, ..stream },
            Stream { purpose: Purpose::Evaluation, ..stream },
            stream.at_step(4),
            stream.of_member(5, 2),
            stream.of_member(6, 1),
            stream.at_turn(1),
        ];
        for other in others {
            assert_ne!(first, other.rng().next_u64(), "{other:?}");
        }
    }
}
