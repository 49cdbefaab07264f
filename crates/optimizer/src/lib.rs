//! From rewards to weights: advantages, losses, AdamW.
//!
//! Everything here sees numbers, never text, and is a pure function of a batch. It goes in three
//! steps.
//!
//! 1. [`estimate`] turns the [`Episode`]s of a step, trajectories in numbers, into advantages, by
//!    one of the estimators of [`Advantage`].
//! 2. [`surrogate_loss`] and the other losses are sums over the trained tokens of a micro-batch,
//!    [`Tokens`], each with a weight of the whole step's [`Aggregation`], so that micro-batches may
//!    be cut anywhere.
//! 3. [`finite_norm`], [`clip_to_norm`] and [`AdamW`] move the weights along the gradients.
//!
//! [`AlgorithmConfig`] names all choices; docs/algorithms.md says which of them is which system.
//!
//! ```
//! use forage_optimizer::{Advantage, Convention, Episode, estimate};
//!
//! // Four trajectories of one question, of two tokens each; the first one is right.
//! let episode = |reward: f64| Episode {
//!     policy: vec![true, true],
//!     rewards: vec![0.0, reward],
//!     ..Episode::default()
//! };
//! let episodes = [1.0, 0.0, 0.0, 0.0].map(episode);
//!
//! // Search-R1's GRPO: (score - mean) / (unbiased deviation + 1e-6).
//! let grpo = Advantage::Grpo { convention: Convention::Verl };
//! let estimates = estimate(&grpo, &episodes)?;
//! assert!((estimates[0].advantages[1] - 1.5).abs() < 1e-4);
//! # Ok::<(), forage_optimizer::OptimizerError>(())
//! ```

mod adamw;
mod advantage;
mod algorithm;
mod config;
mod distillation;
mod error;
mod loss;
mod options;
mod schedule;
mod step;

pub use adamw::{AdamW, State};
pub use advantage::{
    Advantage, Convention, Episode, Estimate, Moments, Observations, Scale, Standing, Turn,
    discounted_returns, dr_grpo, estimate, gae, grpo, place_rewards, rloo, state_groups,
    step_returns,
};
pub use algorithm::{AlgorithmConfig, DEFAULT_VALUE_CLIP, OverLength};
pub use config::{DEFAULT_CLIP, OptimizerConfig};
pub use distillation::{
    Content, DistillationConfig, Divergence, HindsightConfig, Labels, Members, Positions,
    distillation_loss, divergence, hindsight,
};
pub use error::OptimizerError;
pub use loss::{
    Aggregation, Corrected, Correction, Distance, Gate, KlConfig, KlEstimator, KlPlace, LldsConfig,
    Ratio, Ratios, Rejection, Surrogate, SurrogateLoss, Tokens, Totals, ValueConfig, ValueLoss,
    correct, entropy, entropy_loss, kl_estimate, kl_loss, llds_loss, n_preserved_tokens,
    surrogate_loss, value_loss, with_term,
};
pub use schedule::{Schedule, Warmup};
pub use step::{
    DecayRule, NotFinite, WeightKind, clip_to_norm, finite_norm, global_norm, moving_average,
};
