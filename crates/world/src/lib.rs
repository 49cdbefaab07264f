//! Synthetic world: a generated encyclopedia, with questions, demonstrations and exercises.
//!
//! [`World::generate`] invents films, books, people, companies, cities and countries, and links
//! them by [`Relation`]s. Every entity has one short passage, and all passages are one corpus.
//! [`questions`] asks for chains of facts (multi-hop) and for comparisons, with the evidence that
//! answers them; [`demonstrate`] writes the turns of a scripted agent for the supervised warm
//! start, with [`Perturbations`] if wanted; [`reading_exercise`], [`recall_exercise`] and
//! [`comparison_exercise`] train skills that are hard for a small model: looking a value up in a
//! passage, spelling it, and comparing two values. [`WorldSection`] and [`WorldConfig`] are the
//! `[world]` section of a run file.
//!
//! The crate is pure: no file, no network, no model, no search engine. All randomness comes from
//! named [`Stream`](forage_trajectory::Stream)s, so the same seed gives the same bytes.
//!
//! ```
//! use forage_trajectory::{Purpose, Stream};
//! use forage_world::{
//!     Perturbations, QuestionMix, Split, Thoughts, World, WorldConfig, demonstrate, questions,
//! };
//!
//! let world = World::generate(&WorldConfig::default(), 1)?;
//! let asked = questions(&world, Split::Dev, 8, 1, &QuestionMix::default())?;
//! assert_eq!(asked[3].hops(), Some(4));
//!
//! let stream = Stream::new(1, Purpose::Demonstrations);
//! let perturbations = Perturbations::default();
//! let turns = demonstrate(&world, &asked[3], &perturbations, Thoughts::Plan, stream);
//! assert_eq!(turns.len(), 5);
//! assert!(turns[0].starts_with("<think> First: "));
//! # Ok::<(), forage_world::WorldError>(())
//! ```

mod relation;

mod config;
mod entity;
mod linker;
mod names;
mod prose;
mod world;

mod comparison;
mod mix;
mod question;
mod shape;
pub mod wording;

mod demonstration;
mod exercise;
mod wandering;

mod error;
mod section;

pub use comparison::Comparison;
pub use config::{EntityCounts, WorldConfig};
pub use demonstration::{Perturbations, Thoughts, demonstrate};
pub use entity::{Entity, EntityId, Fact, FactValue, Split};
pub use error::WorldError;
pub use exercise::{Exercise, comparison_exercise, reading_exercise, recall_exercise};
pub use mix::QuestionMix;
pub use names::syllables;
pub use question::{question, questions};
pub use relation::{EntityKind, Relation};
pub use section::{QuestionCounts, WorldSection};
pub use shape::QuestionShape;
pub use world::World;
