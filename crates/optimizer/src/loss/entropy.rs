//! Entropy of the policy.

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;

use super::tokens::weighted_sum;

/// H = -Σ p log p of each row of logits, in nats: `[M, V]` → `[M]`.
///
/// The whole sum over the vocabulary, as verl and TRL have it, and no estimate from the sampled
/// token.
pub fn entropy(logits_mv: Tensor<2>) -> Tensor<1> {
    let logprobs_mv = log_softmax(logits_mv, 1);
    let rows = logprobs_mv.dims()[0];
    // [M, 1] -> [M]
    (logprobs_mv.clone().exp() * logprobs_mv).sum_dim(1).neg().reshape([rows])
}

/// The entropy bonus as a loss, -Σ weight · H; the caller multiplies with its coefficient, 0.001 in
/// Search-R1 (its yaml; the paper does not mention it). TRL takes its mean over tokens whatever the
/// policy's mean is.
pub fn entropy_loss(entropy_m: Tensor<1>, weights: &[f32]) -> Tensor<1> {
    weighted_sum(entropy_m, weights).neg()
}
