//! The trained tokens of a micro-batch.

use burn::tensor::{Device, Tensor, TensorData};

/// What a loss knows of the trained tokens, laid end to end, trajectory after trajectory.
///
/// There is no padding and no mask: tokens of the environment are not here, so nothing that a model
/// computes at them can reach a loss, not even as an infinity times 0.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    /// Trained tokens of each trajectory; a trajectory is never split over micro-batches.
    pub lengths: &'a [usize],
    /// Log-probabilities under the policy that the importance ratio compares with, `[M]`.
    pub old: &'a [f32],
    /// Advantages, `[M]`; times the weights of a [`Correction`](crate::Correction), where there is
    /// one. Every surrogate is linear in a positive factor of its advantage.
    pub advantages: &'a [f32],
    /// Of the mean that is taken, `[M]`: [`Aggregation::weights`](crate::Aggregation::weights).
    pub weights: &'a [f32],
}

impl Tokens<'_> {
    /// Number of tokens.
    pub fn count(&self) -> usize {
        self.old.len()
    }

    /// # Panics
    ///
    /// Where the parts have different lengths: the caller mixed up two batches.
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

    /// The mean of a number over the tokens of each trajectory, at each of its tokens.
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

/// Numbers that no gradient flows through.
pub(crate) fn constant(numbers: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), [numbers.len()]), device)
}

/// The numbers of a tensor, without its history.
pub(crate) fn detached(tensor: &Tensor<1>) -> Vec<f32> {
    tensor.clone().inner().into_data().try_into_vec_as().expect("f32 reads back as f32")
}

/// Σ weight · loss, rank 1 with one number.
pub(crate) fn weighted_sum(losses: Tensor<1>, weights: &[f32]) -> Tensor<1> {
    let weights = constant(weights, &losses.device());
    (losses * weights).sum()
}
