//! Reinforcement learning algorithms: advantage estimation, losses, and the AdamW optimizer.
//!
//! Every algorithm is a pure function of the numbers of a batch. A training step takes three calls.
//!
//! 1. [`estimate_advantages`] turns the [`Episode`]s of a step, trajectories in numbers, into
//!    advantages for each token, by an [`AdvantageEstimator`].
//! 2. [`surrogate_loss`] and the other losses are sums over the [`TrainedTokens`] of a micro-batch.
//!    The weight of each token comes from the [`LossAggregation`] over the whole step, so that
//!    micro-batches may be cut anywhere.
//! 3. [`finite_norm`], [`clip_to_norm`] and [`AdamW`] check and clip the gradients and update the
//!    weights.
//!
//! [`AlgorithmConfig`] is the `[algorithm]` section of a run file, which chooses among all
//! algorithms by name; [`OptimizerConfig`] is its `[optimizer]` section. docs/algorithms.md
//! compares them with the options of verl and TRL.
//!
//! The crate sees numbers and never text. It does not know models, rewards or how a trajectory was
//! made, reads no file, and computes no log-probabilities: those are its input.
//!
//! ```
//! use forage_optimizer::{AdvantageEstimator, Episode, GroupConvention, Grpo, estimate_advantages};
//!
//! // Four trajectories of one question, of two tokens each; the first one is right.
//! let episode = |reward: f64| Episode {
//!     policy: vec![true, true],
//!     rewards: vec![0.0, reward],
//!     ..Episode::default()
//! };
//! let episodes = [1.0, 0.0, 0.0, 0.0].map(episode);
//!
//! // Search-R1's GRPO: (score - mean) / (unbiased standard deviation + 1e-6).
//! let grpo = AdvantageEstimator::Grpo(Grpo { convention: GroupConvention::Verl });
//! let estimates = estimate_advantages(&grpo, &episodes)?;
//! assert!((estimates[0].advantages[1] - 1.5).abs() < 1e-4);
//! # Ok::<(), forage_optimizer::OptimizerError>(())
//! ```

mod adamw;
mod advantage;
mod algorithm;
mod config;
mod distillation;
mod ema;
mod error;
mod grad_clip;
mod loss;
mod named_algorithm;
mod ranges;
mod schedule;
mod weight_decay;

pub use adamw::{AdamState, AdamW};
pub use advantage::{
    AdvantageEstimate, AdvantageEstimator, DrGrpo, Episode, EpisodeTurn, Gae, GaeObservations,
    Gigpo, GigpoScale, GroupConvention, Grpo, Inclusion, ReinforcePlusPlus,
    ReinforcePlusPlusBaseline, Rloo, SampleMoments, StepGae, discounted_returns, dr_grpo,
    estimate_advantages, gae, grpo, place_rewards, rloo, state_groups, step_returns,
};
pub use algorithm::{AlgorithmConfig, OverLengthRule, RetrievedTokens};
pub use config::OptimizerConfig;
pub use distillation::{
    DistillationConfig, DistillationDivergence, DistillationPositions, HindsightConfig,
    HindsightContent, HindsightLabels, HindsightMembers, distillation_loss, divergence,
    hindsight_block,
};
pub use ema::exponential_moving_average;
pub use error::OptimizerError;
pub use grad_clip::{NotFinite, clip_to_norm, finite_norm, global_norm};
pub use loss::{
    Cispo, ConstantAggregation, DEFAULT_CLIP, DEFAULT_VALUE_CLIP, Gspo, IcePop,
    ImportanceCorrection, ImportanceWeights, KlConfig, KlEstimator, KlPlace, LldsConfig,
    LldsGranularity, LossAggregation, LossTotals, Ppo, RatioLevel, RatioStats, RejectionDistance,
    RejectionOnly, RejectionSampling, Sapo, SequenceTis, Surrogate, SurrogateLoss, TokenTis,
    TrainedTokens, ValueConfig, ValueLoss, entropy, entropy_loss, importance_weights, kl_estimate,
    kl_loss, llds_loss, n_preserved_tokens, surrogate_loss, value_loss, with_term,
};
pub use schedule::{ConstantSchedule, CosineSchedule, LinearSchedule, LrSchedule, LrWarmup};
pub use weight_decay::{DecayRule, WeightKind};
