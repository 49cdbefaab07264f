//! Gate of a reward: a condition on another reward.

use serde::{Deserialize, Serialize};

/// Gate of a reward: while another reward is below a minimum, this one counts as 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardGate {
    /// Name of the other reward. Where that does not apply to a question, the gate is open.
    pub reward: String,
    /// Minimum of the other reward, before its weight. Default: 1.
    #[serde(default = "default_min", alias = "least")]
    pub min: f64,
}

fn default_min() -> f64 {
    1.0
}
