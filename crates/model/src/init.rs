//! Initialization of weights.
//!
//! Normal numbers with `initializer_range`; the outputs of the residual branches scaled down by
//! √(2 · layers) (GPT-2); norms 1; biases 0. Two departures let a small model learn early to copy
//! a name:
//!
//! - In the first layer, two query heads start as previous-token heads, one and two tokens back.
//!   Copying (an induction head) takes a head that tells each token what stands before it (arXiv
//!   2209.11895), and a small model finds one late.
//! - Embeddings begin at a deviation of at least [`MIN_EMBEDDING_STD`]. The gradient of a tied head
//!   moves all tokens that do not come next in one direction, and the optimizer makes these steps
//!   as large as all others: embeddings that begin small become alike before anything tells them
//!   apart.

use forage_trajectory::{Purpose, Stream};
use rand::RngExt;

use crate::config::{ModelConfig, ParameterRole};

/// Size of the biases of a previous-token head: the sharpness of its attention.
const PREVIOUS_TOKEN_BIAS: f32 = 5.0;

/// Least standard deviation of embeddings, well above what the first hundred steps add to them.
const MIN_EMBEDDING_STD: f32 = 0.3;

/// Initial weights in the order of [`ModelConfig::parameters`], row by row.
pub(crate) fn weights(config: &ModelConfig, seed: u64) -> Vec<Vec<f32>> {
    let deviation = config.initializer_range as f32;
    let branch = deviation / (2.0 * config.num_hidden_layers as f32).sqrt();
    config
        .parameters()
        .iter()
        .enumerate()
        .map(|(idx, spec)| {
            let n = spec.shape[0] * spec.shape[1];
            let residual =
                spec.name.ends_with("o_proj.weight") || spec.name.ends_with("down_proj.weight");
            match spec.role {
                ParameterRole::Norm => vec![1.0; n],
                ParameterRole::Bias if spec.name == "model.layers.0.self_attn.q_proj.bias" => {
                    previous_token_biases(config, n, &[1.0, 2.0])
                }
                ParameterRole::Bias if spec.name == "model.layers.0.self_attn.k_proj.bias" => {
                    previous_token_biases(config, n, &[0.0])
                }
                ParameterRole::Bias => vec![0.0; n],
                ParameterRole::Matrix if residual => normal(n, branch, seed, idx),
                ParameterRole::Embedding => normal(n, deviation.max(MIN_EMBEDDING_STD), seed, idx),
                ParameterRole::Matrix => normal(n, deviation, seed, idx),
            }
        })
        .collect()
}

/// Biases of previous-token heads: head number h attends `distances[h]` tokens back, to keys of
/// distance 0.
///
/// Biases are constant vectors that the rotation turns by the position, so a query that is the key
/// turned back by a distance attends to just that distance. Only the four fastest pairs take part,
/// which makes the peak sharp. Heads without a distance get zeros.
fn previous_token_biases(config: &ModelConfig, n: usize, distances: &[f64]) -> Vec<f32> {
    let width = config.head_dim();
    let half = width / 2;
    let mut biases = vec![0.0; n];
    for (head, distance) in distances.iter().enumerate().take(n / width) {
        for pair in 0..half.min(4) {
            let angle = distance * config.theta().powf(-(pair as f64) / half as f64);
            biases[head * width + pair] = PREVIOUS_TOKEN_BIAS * angle.cos() as f32;
            biases[head * width + half + pair] = -PREVIOUS_TOKEN_BIAS * angle.sin() as f32;
        }
    }
    biases
}

/// `n` normal numbers, by the Box-Muller transform.
fn normal(n: usize, deviation: f32, seed: u64, parameter: usize) -> Vec<f32> {
    let mut rng = Stream::new(seed, Purpose::Init).of_member(parameter as u64, 0).rng();
    (0..n)
        .map(|_| {
            let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
            let angle = std::f64::consts::TAU * rng.random::<f64>();
            (radius * angle.cos()) as f32 * deviation
        })
        .collect()
}
