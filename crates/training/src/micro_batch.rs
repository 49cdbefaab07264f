//! Micro-batches: sequences are split by tokens, and their gradients accumulated in a fixed order.
//!
//! They are split by length alone, so no number depends on how many cores there are.

use burn::tensor::{Device, Int, Tensor, TensorData};
use forage_model::{Decoder, PackedSequences, is_cpu, parallel};
use forage_trajectory::TokenId;

/// Micro-batches whose gradients are held at once on the CPU: each is as large as the model.
const AT_ONCE: usize = 8;

/// Sequence with the positions that a model scores, each 1 or more.
#[derive(Debug, Clone, Copy)]
pub struct ScoredTargets<'a> {
    /// All tokens.
    pub tokens: &'a [TokenId],
    /// Positions, in ascending order.
    pub at: &'a [usize],
}

/// Micro-batches of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MicroBatches {
    /// Maximum number of tokens of a micro-batch; a longer sequence is a micro-batch by itself.
    pub tokens: usize,
    /// Gradient checkpointing: layers are computed again in the backward pass instead of kept.
    pub checkpointing: bool,
}

/// Micro-batches: indices of the sequences with any position, shortest first, split so that each
/// micro-batch has at most `limit` tokens; a longer sequence is one by itself.
pub fn split_by_tokens(targets: &[ScoredTargets<'_>], limit: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> =
        (0..targets.len()).filter(|&idx| !targets[idx].at.is_empty()).collect();
    order.sort_by_key(|&idx| targets[idx].tokens.len());
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut filled = 0;
    for idx in order {
        let length = targets[idx].tokens.len();
        match batches.last_mut() {
            Some(batch) if filled + length <= limit => batch.push(idx),
            _ => {
                batches.push(vec![idx]);
                filled = 0;
            }
        }
        filled += length;
    }
    batches
}

/// Packed sequences: a micro-batch has no padding.
pub fn packed(targets: &[ScoredTargets<'_>]) -> PackedSequences {
    PackedSequences::new(targets.iter().map(|target| (target.tokens, target.at)))
}

/// Scores of the positions of some sequences, one number each, without a gradient. `score` gives
/// those of a micro-batch, `[M]`.
pub fn score_targets(
    device: &Device,
    targets: &[ScoredTargets<'_>],
    limit: usize,
    score: impl Fn(&PackedSequences) -> Tensor<1> + Sync,
) -> Vec<Vec<f32>> {
    let batches = split_by_tokens(targets, limit);
    let numbers = parallel::map_on(device, batches.clone(), |batch| {
        let some: Vec<ScoredTargets<'_>> = batch.iter().map(|&idx| targets[idx]).collect();
        read(score(&packed(&some)))
    });
    let mut scores = vec![Vec::new(); targets.len()];
    for (batch, numbers) in batches.into_iter().zip(numbers) {
        let mut numbers = numbers.into_iter();
        for idx in batch {
            scores[idx] = numbers.by_ref().take(targets[idx].at.len()).collect();
        }
    }
    scores
}

/// Log-probabilities of the tokens at the positions, under softmax(logits / temperature).
pub fn log_probabilities(
    decoder: &Decoder,
    targets: &[ScoredTargets<'_>],
    temperature: f32,
    limit: usize,
) -> Vec<Vec<f32>> {
    score_targets(decoder.device(), targets, limit, |packed| {
        decoder.logprobs(packed, temperature).logprobs
    })
}

/// Gradient accumulation: the sum of the gradients of micro-batches, and the statistics of each of
/// them, in order. `weights` gives the shapes.
pub fn accumulate<S: Send>(
    weights: &[Tensor<2>],
    batches: &[Vec<usize>],
    of_one: impl Fn(&[usize]) -> (Vec<Tensor<2>>, S) + Sync,
) -> (Vec<Tensor<2>>, Vec<S>) {
    let mut gradients: Vec<Tensor<2>> = weights.iter().map(Tensor::zeros_like).collect();
    let mut stats = Vec::with_capacity(batches.len());
    let device = weights.first().map(Tensor::device).unwrap_or_default();
    let at_once = if is_cpu(&device) { AT_ONCE } else { 1 };
    for some in batches.chunks(at_once) {
        for (part, it) in parallel::map_on(&device, some.to_vec(), |batch| of_one(&batch)) {
            for (sum, gradient) in gradients.iter_mut().zip(part) {
                *sum = sum.clone() + gradient;
            }
            stats.push(it);
        }
    }
    (gradients, stats)
}

/// Gradient of a loss by each of these leaves; zeros where it does not depend on one.
pub fn gradients(loss: &Tensor<1>, leaves: &[Tensor<2>]) -> Vec<Tensor<2>> {
    let mut gradients = loss.backward();
    let of_one = |leaf: &Tensor<2>| {
        leaf.grad_remove(&mut gradients).unwrap_or_else(|| leaf.clone().inner().zeros_like())
    };
    leaves.iter().map(of_one).collect()
}

/// Indices as a tensor on a device.
pub fn indices(numbers: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let n = numbers.len();
    Tensor::from_data(TensorData::new(numbers, [n]), device)
}

/// Numbers of a tensor, without its graph.
pub fn read(tensor: Tensor<1>) -> Vec<f32> {
    tensor.inner().into_data().try_into_vec_as().expect("f32 reads back as f32")
}

/// Number of a tensor with one element.
pub(crate) fn number(tensor: &Tensor<1>) -> f64 {
    f64::from(tensor.clone().inner().into_scalar::<f32>())
}
