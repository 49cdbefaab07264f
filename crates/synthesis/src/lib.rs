//! Synthesis of training questions by execution feedback.
//!
//! - [`feedback_loop`] is the method: SAGE (arXiv 2601.18202). A question generator proposes a
//!   question–answer pair of a target difficulty, a search agent attempts it K times, a judge
//!   grades the answers, and feedback goes back to the generator. Its central type is
//!   [`FeedbackLoop`](feedback_loop::FeedbackLoop); it knows generator, agent and judge as traits
//!   only.
//! - [`graph_generator`] is a question generator without a language model: random walks over the
//!   facts of a generated world, or over the linked titles of a plain corpus.
//! - [`language_model`] has generator, agents and judge that are chat models, with their prompts.
//! - [`chat`] has the chat models: a client of the `OpenAI` protocol and a policy in this process,
//!   and the budget that both spend from. It knows nothing of questions.
//!
//! What it reads and writes: the loop appends to one file, its
//! [`Journal`](feedback_loop::Journal), and resumes from it; a
//! [`ChatClient`](chat::ChatClient) sends requests to its server, with a key from the environment.
//! Corpora, run files and all other output belong to the caller. Searches go through the
//! [`Retriever`](forage_trajectory::Retriever) trait, local models through
//! [`Policy`](forage_trajectory::Policy). The record of an item is a function of seed and index, as
//! far as the models are.
//!
//! ```
//! use forage_synthesis::feedback_loop::{
//!     AnswerType, Item, QuestionGenerator, StepError, WithUsage,
//! };
//! use forage_synthesis::graph_generator::{GraphGenerator, GraphGeneratorConfig};
//! use forage_trajectory::{Purpose, Stream};
//! use forage_world::{World, WorldConfig};
//!
//! let world = World::generate(&WorldConfig::default(), 1).expect("the world is large enough");
//! let generator = GraphGenerator::of_world(&world, GraphGeneratorConfig::default());
//! let document = generator.passages().swap_remove(0);
//! let item = Item { index: 0, target_steps: 2, answer_type: AnswerType::Entity, document };
//! let WithUsage { value, usage } =
//!     generator.propose(&item, Stream::new(1, Purpose::Proposals))?;
//! assert_eq!(value.pair.evidence.steps.len(), 2);
//! assert!(usage.is_nothing(), "no language model was called");
//! # Ok::<(), StepError>(())
//! ```

mod config_error;

pub mod chat;
pub mod event_log;
pub mod feedback_loop;
pub mod graph_generator;
pub mod language_model;
pub mod reference_queries;

pub use config_error::ConfigError;
