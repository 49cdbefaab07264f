//! Entropy bonus.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

use super::tokens::weighted_sum;

/// Entropy of each row of logits, H = -Σ p log p in nats: `[M, V]` → `[M]`.
///
/// The sum goes over the whole vocabulary, as in verl and TRL; it is no estimate from the sampled
/// token.
pub fn entropy(logits_mv: Tensor<2>) -> Tensor<1> {
    let logprobs_mv = log_softmax(logits_mv, 1);
    let rows = logprobs_mv.dims()[0];
    // [M, 1] -> [M]
    (logprobs_mv.clone().exp() * logprobs_mv).sum_dim(1).neg().reshape([rows])
}

/// Entropy bonus as a loss, -Σ weight · H: `[M]` → `[1]`.
///
/// The caller multiplies it with its coefficient, 0.001 in Search-R1 (its yaml; the paper does not
/// mention it). Departure from TRL, which always takes the mean over tokens: the weights are those
/// of the policy loss.
pub fn entropy_loss(entropy_m: Tensor<1>, weights: &[f32]) -> Tensor<1> {
    weighted_sum(entropy_m, weights).neg()
}
