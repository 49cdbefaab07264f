//! From rewards to weights: advantages, losses, AdamW.
//!
//! Everything here sees numbers, never text. Advantages are plain numbers of a group; a loss is a
//! pure function of the log-probabilities of the trained tokens; [`AdamW`] moves a list of weights
//! along a list of gradients.
//!
//! ```
//! use forage_optimizer::group_advantages;
//!
//! // Search-R1's GRPO: (score - mean) / (unbiased deviation + 1e-6).
//! let advantages = group_advantages(&[Some(1.0), Some(0.0), Some(0.0), Some(0.0)]);
//! assert!((advantages[0].unwrap() - 1.5).abs() < 1e-4);
//! ```

mod adamw;
mod advantage;
mod config;
mod loss;

pub use adamw::{AdamW, State, global_norm};
pub use advantage::group_advantages;
pub use config::{DEFAULT_CLIP, OptimizerConfig, WrongSetting};
pub use loss::{PolicyLoss, policy_loss};
