//! Random numbers that depend on what they are for, never on when they are drawn.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// What random numbers are drawn for. Two purposes never share numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// Initial weights.
    Init,
    /// Making the world.
    World,
    /// Making questions from the world.
    Questions,
    /// Scripted demonstrations and exercises.
    Demonstrations,
    /// The order of the training questions.
    Shuffle,
    /// Sampling tokens in training.
    Rollout,
    /// Sampling tokens in evaluation.
    Evaluation,
    /// Confidence intervals.
    Bootstrap,
    /// Conversations with a person.
    Chat,
    /// What a synthesized question is to be: document, steps, type of answer.
    Items,
    /// Proposing and revising questions.
    Proposals,
    /// Trying questions, and judging what came of it.
    Verification,
    /// Choosing the run that a feedback shows.
    Feedback,
}

/// A source of random numbers, named by (seed, purpose, step, question, member).
///
/// It is a name and not a state: [`Stream::rng`] starts at the same number every time. Threads
/// may draw in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stream {
    /// The run's seed.
    pub seed: u64,
    /// What the numbers are for.
    pub purpose: Purpose,
    /// Training step, or another counter of the purpose.
    pub step: u64,
    /// Index of the question.
    pub question: u64,
    /// Index of the trajectory in its group.
    pub member: u64,
    /// Turn within the trajectory.
    pub turn: u64,
}

impl Stream {
    /// The stream of a purpose, with all indices 0.
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

    /// A generator at the start of the stream.
    pub fn rng(&self) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new_derive_key("forage 2026 random stream");
        let purpose = self.purpose as u64;
        for number in [self.seed, purpose, self.step, self.question, self.member, self.turn] {
            hasher.update(&number.to_le_bytes());
        }
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

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
