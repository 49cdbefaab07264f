//! The input of a loss: the trained tokens of a micro-batch.

use burn::tensor::{Device, Tensor, TensorData};

/// Trained tokens of a micro-batch: the M policy tokens of its trajectories, end to end.
///
/// There is no padding and no mask: tokens of the environment are not here, so nothing that a model
/// computes at them can reach a loss, not even as an infinity times 0.
#[derive(Debug, Clone, Copy)]
pub struct TrainedTokens<'a> {
    /// Trained tokens of each trajectory; their sum is M. A trajectory is never split over
    /// micro-batches.
    pub lengths: &'a [usize],
    /// Log-probabilities under the old policy, the denominator of the importance ratio, `[M]`.
    pub old_logprobs: &'a [f32],
    /// Advantages, `[M]`; with an [`ImportanceCorrection`](crate::ImportanceCorrection), times its
    /// weights. Every surrogate is linear in a positive factor of its advantage.
    pub advantages: &'a [f32],
    /// Weights of the aggregation, `[M]`:
    /// [`LossAggregation::weights`](crate::LossAggregation::weights).
    pub weights: &'a [f32],
}

impl TrainedTokens<'_> {
    /// Number of tokens, M.
    pub fn count(&self) -> usize {
        self.old_logprobs.len()
    }

    /// Checks that all parts have the same length as `new`.
    ///
    /// # Panics
    ///
    /// Where they do not: the caller mixed up two batches.
    pub(crate) fn check(&self, new: &Tensor<1>) {
        let n = self.count();
        let parts = [
            new.dims()[0],
            self.advantages.len(),
            self.weights.len(),
            self.lengths.iter().sum::<usize>(),
        ];
        assert_eq!(parts, [n; 4], "log-probabilities, advantages, weights, lengths of {n} tokens");
    }

    /// Mean over the tokens of each trajectory, at each of its tokens: `[M]` → `[M]`.
    pub(crate) fn sequence_means(&self, numbers: &[f64]) -> Vec<f64> {
        let mut at = 0;
        let mut means = Vec::with_capacity(numbers.len());
        for &length in self.lengths {
            let mean = numbers[at..at + length].iter().sum::<f64>() / length.max(1) as f64;
            means.extend(std::iter::repeat_n(mean, length));
            at += length;
        }
        means
    }
}

/// Tensor without a gradient, `[M]`.
pub(crate) fn constant(numbers: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), [numbers.len()]), device)
}

/// Numbers of a tensor, detached from its gradient.
pub(crate) fn detached(tensor: &Tensor<1>) -> Vec<f32> {
    tensor.clone().inner().into_data().try_into_vec_as().expect("f32 reads back as f32")
}

/// Σ weight · loss: `[M]` → `[1]`.
pub(crate) fn weighted_sum(losses: Tensor<1>, weights: &[f32]) -> Tensor<1> {
    let weights = constant(weights, &losses.device());
    (losses * weights).sum()
}
