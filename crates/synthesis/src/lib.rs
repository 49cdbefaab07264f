//! A fictional encyclopedia, and what can be learned from it.
//!
//! [`World::generate`] invents films, books, people, companies, cities and countries, and links
//! them by [`Relation`]s. Every entity has one short passage, and all passages are one corpus.
//! [`questions`] asks for chains of facts and for comparisons, with the evidence that answers
//! them; [`demonstrate`] writes what a scripted agent would write, bad [`Habits`] included; and
//! [`reading_exercise`], [`recall_exercise`] and [`comparison_exercise`] drill what a small model
//! finds hard: looking a value up in a passage, spelling it, and comparing two values.
//!
//! Nothing here reads or writes a file, and all randomness comes from named
//! [`Stream`](forage_trajectory::Stream)s: the same seed gives the same bytes. The crate knows
//! nothing of models or of search engines.
//!
//! ```
//! use forage_synthesis::{Habits, QuestionMix, Split, World, WorldConfig, demonstrate, questions};
//! use forage_trajectory::{Purpose, Stream};
//!
//! let world = World::generate(&WorldConfig::default())?;
//! let asked = questions(&world, Split::Dev, 8, 1, &QuestionMix::default())?;
//! assert_eq!(asked[3].hops(), Some(4));
//!
//! let stream = Stream::new(1, Purpose::Demonstrations);
//! let turns = demonstrate(&world, &asked[3], &Habits::default(), stream);
//! assert_eq!(turns.len(), 5);
//! assert!(turns[0].starts_with("<think> First: "));
//! # Ok::<(), forage_synthesis::SynthesisError>(())
//! ```

mod names;
mod prose;
mod relation;
mod wording;
mod world;

mod comparison;
mod demonstration;
mod exercise;
mod question;

pub mod chat;
pub mod language_model;
pub mod sage;

pub use demonstration::{Habits, demonstrate};
pub use exercise::{Exercise, comparison_exercise, reading_exercise, recall_exercise};
pub use names::syllables;
pub use question::{QuestionMix, Shape, question, questions};
pub use relation::{EntityKind, Relation};
pub use world::{Entities, Entity, EntityId, Fact, Split, Value, World, WorldConfig};

/// A world or a set of questions that cannot be made as configured.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SynthesisError {
    /// A split is too small to link its entities.
    #[error("split `{split}` has {asked} entities, fewer than the {least} it takes to link them")]
    TooFewEntities {
        /// The split.
        split: Split,
        /// How many entities were configured.
        asked: usize,
        /// How many it takes.
        least: usize,
    },
    /// A share of the world is none.
    #[error("`{key}` is {share}, not a share")]
    Share {
        /// Its key.
        key: &'static str,
        /// Its value.
        share: f64,
    },
    /// The mix contradicts itself.
    #[error("question mix: {0}")]
    Mix(&'static str),
    /// A habit is not a probability.
    #[error("habit `{key}` is {value}, not a probability")]
    Habit {
        /// Its key.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// No question of this shape was found in many attempts.
    #[error("split `{split}` has no {shape} question")]
    NoQuestion {
        /// The split.
        split: Split,
        /// The shape.
        shape: Shape,
    },
    /// The split is too small for so many distinct questions.
    #[error("split `{split}` has no more distinct {shape} questions after {made} of {asked}")]
    Exhausted {
        /// The split.
        split: Split,
        /// The shape that ran out.
        shape: Shape,
        /// How many questions were made before.
        made: usize,
        /// How many were asked for.
        asked: usize,
    },
}
