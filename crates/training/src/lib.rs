//! Training engine: reinforcement learning of search agents, and their supervised warm start.
//!
//! [`train`](train::train) is the loop. A step of it:
//!
//! ```text
//! QuestionSampler::batch             questions of the step
//!   │
//! rollout_step                       episodes of Policy and Retriever: groups of trajectories
//!   │                                Grader: a grade for each; dynamic sampling: extra groups
//! make_batch                         advantages, old and reference log-probabilities, values,
//!   │                                importance correction, distillation targets
//! update_policy                      epochs × mini-batches, critic first:
//!   │   compute_gradient               micro-batches through the model, PolicyLoss
//!   │   OptimizerStep::apply           clipping and AdamW; an update that is not finite is skipped
//!   │
//! StepMetrics, Alarms                a row of metrics.jsonl; evaluations, trajectories, checkpoint
//! ```
//!
//! The engine is given a [`RunContext`](run::RunContext): configuration, run folder,
//! [`Environment`](environment::Environment), grader, tokenizer and [`Observer`]. It writes into
//! the run folder and nowhere else, reports through the observer, and fails with a
//! [`TrainingError`]. It knows nothing of run files, plugins, search servers, terminals or exit
//! codes.
//!
//! Two steps with a fresh model, a scripted search engine and a reward of a few lines:
//!
//! ```
//! # use forage_trajectory::{BoxError, Grade, Grader, Group, Hit, Question, Retriever, Score, SearchError};
//! use forage_trajectory::protocol::TAGS;
//! use forage_model::{Decoder, Tokenizer};
//! use forage_training::checkpoint::TrainState;
//! use forage_training::config::{FreshModel, TrainConfig};
//! use forage_training::environment::Environment;
//! use forage_training::run::RunContext;
//! use forage_training::run_folder::{Opening, RunFolder};
//! use forage_training::train::train;
//!
//! struct OnePage;
//! impl Retriever for OnePage {
//!     fn search(&self, queries: &[&str], _k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
//!         let page = Hit { title: "Alien".into(), text: "A film.".into(), ..Hit::default() };
//!         queries.iter().map(|_| Ok(vec![page.clone()])).collect()
//!     }
//! }
//!
//! /// Reward of 1 for an even number of tokens.
//! struct EvenLength;
//! impl Grader for EvenLength {
//!     fn grade(&self, group: &Group, _step: u64) -> Result<Vec<Grade>, BoxError> {
//!         let reward = |n: usize| f64::from(u8::from(n % 2 == 0));
//!         let score = |n| Grade::Scored(Score { reward: reward(n), ..Score::default() });
//!         Ok(group.trajectories.iter().map(|one| score(one.tokens.len())).collect())
//!     }
//! }
//!
//! let tokenizer = Tokenizer::train(&["Question: who directed Alien?".to_owned()], 280, &TAGS)?;
//! let fresh: FreshModel = toml::from_str(
//!     "vocab_size = 280\nhidden_size = 16\nintermediate_size = 24\nlayers = 1\nheads = 2\n\
//!      kv_heads = 1\nmax_positions = 256\nrope_theta = 1e4",
//! )?;
//! let shape = FreshModel { vocab_size: tokenizer.vocab_size(), ..fresh }.config();
//! let decoder = Decoder::init(&shape, 1, &burn::tensor::Device::flex());
//!
//! let config = TrainConfig {
//!     seed: 1,
//!     rollout: toml::from_str(
//!         "prompt = 'Question: {question}'\nmax_searches = 1\ntop_k = 1\nmax_turn_tokens = 8\n\
//!          max_observation_tokens = 40\nmax_tokens = 200",
//!     )?,
//!     training: toml::from_str(
//!         "steps = 2\nquestions_per_step = 1\ngroup_size = 4\nmicro_batch_tokens = 512\n\
//!          checkpoint_every = 2\nsave_trajectories_every = 1",
//!     )?,
//!     algorithm: toml::from_str("advantage.name = 'grpo'\nloss.name = 'ppo'")?,
//!     critic: None,
//!     optimizer: toml::from_str("lr = 1e-3")?,
//!     evaluation: toml::from_str("every = 2")?,
//!     alarms: Default::default(),
//!     cache_tokens: None,
//! };
//! let question = Question {
//!     id: "1".into(),
//!     text: "who directed Alien?".into(),
//!     golden_answers: vec!["Ridley Scott".into()],
//!     ..Question::default()
//! };
//! let [train_split, dev, test] = [(); 3].map(|()| vec![question.clone()]);
//! let environment =
//!     Environment { train: train_split, dev, test, retriever: Box::new(OnePage) };
//! let folder = tempfile::tempdir()?;
//! let run = RunFolder::open(folder.path(), "", Opening::Fresh)?;
//! let context = RunContext {
//!     config: &config,
//!     run: &run,
//!     environment: &environment,
//!     grader: &EvenLength,
//!     tokenizer: &tokenizer,
//!     observer: &(),
//! };
//! let results = train(&context, TrainState::new(decoder))?;
//! assert_eq!(results.after[0].step, 2);
//! // Row 0 is the evaluation before training.
//! let metrics = std::fs::read_to_string(run.path("metrics.jsonl"))?;
//! assert_eq!(metrics.lines().count(), 3);
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```

pub mod train;

pub mod question_sampler;
pub mod rollout_step;

pub mod batch;
pub mod sample;
pub mod self_distillation;

pub mod critic;
pub mod gradient;
pub mod loss_stats;
pub mod micro_batch;
pub mod optimizer_step;
pub mod policy_loss;
pub mod skipped_updates;
pub mod untrained_steps;
pub mod update;

pub mod alarms;
pub mod evaluate;
pub mod metrics;
pub mod record;
pub mod statistics;

pub mod checkpoint;
pub mod configuration_change;
pub mod run_folder;

pub mod sft;

pub mod config;
pub mod environment;
pub mod error;
pub mod observer;
pub mod run;

pub use error::TrainingError;
pub use observer::Observer;
