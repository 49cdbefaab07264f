//! Sequences on their way through a model: cut into micro-batches, and added up in a fixed order.
//!
//! Micro-batches are cut by length alone, so no number depends on how many cores there are.

use burn::tensor::{Device, Int, Tensor, TensorData};
use forage_model::{Decoder, PackedSequences, is_cpu, parallel};
use forage_trajectory::TokenId;

/// Micro-batches whose gradients are held at once on the CPU: each is as large as the model.
const AT_ONCE: usize = 8;

/// A sequence, and the positions whose tokens a model is asked about, each 1 or more.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// All tokens.
    pub tokens: &'a [TokenId],
    /// In ascending order.
    pub at: &'a [usize],
}

/// How sequences go through a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MicroBatches {
    /// Tokens of a micro-batch, at most; a longer sequence is one by itself.
    pub tokens: usize,
    /// Whether layers are computed again on the way back, instead of kept.
    pub checkpointing: bool,
}

/// Indices of the sequences that are asked about anything, shortest first, cut so that each batch
/// has at most `limit` tokens; a longer sequence is one by itself.
pub fn cut(asked: &[Asked<'_>], limit: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..asked.len()).filter(|&it| !asked[it].at.is_empty()).collect();
    order.sort_by_key(|&it| asked[it].tokens.len());
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut filled = 0;
    for idx in order {
        let length = asked[idx].tokens.len();
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

/// Sequences end to end: no token of a micro-batch is padding.
pub fn packed(asked: &[Asked<'_>]) -> PackedSequences {
    PackedSequences::new(asked.iter().map(|it| (it.tokens, it.at)))
}

/// A number for each position that is asked about, without a gradient. `score` says those of a
/// micro-batch, `[M]`.
pub fn scores(
    device: &Device,
    asked: &[Asked<'_>],
    limit: usize,
    score: impl Fn(&PackedSequences) -> Tensor<1> + Sync,
) -> Vec<Vec<f32>> {
    let batches = cut(asked, limit);
    let numbers = parallel::map_on(device, batches.clone(), |batch| {
        let some: Vec<Asked<'_>> = batch.iter().map(|&idx| asked[idx]).collect();
        read(score(&packed(&some)))
    });
    let mut scores = vec![Vec::new(); asked.len()];
    for (batch, numbers) in batches.into_iter().zip(numbers) {
        let mut numbers = numbers.into_iter();
        for idx in batch {
            scores[idx] = numbers.by_ref().take(asked[idx].at.len()).collect();
        }
    }
    scores
}

/// Log-probabilities of the tokens that are asked about, under softmax(logits / temperature).
pub fn log_probabilities(
    decoder: &Decoder,
    asked: &[Asked<'_>],
    temperature: f32,
    limit: usize,
) -> Vec<Vec<f32>> {
    scores(decoder.device(), asked, limit, |packed| decoder.logprobs(packed, temperature).logprobs)
}

/// Adds up the gradients of micro-batches, and returns what else each of them says, in order.
/// `weights` gives the shapes.
pub fn accumulate<S: Send>(
    weights: &[Tensor<2>],
    batches: &[Vec<usize>],
    of_one: impl Fn(&[usize]) -> (Vec<Tensor<2>>, S) + Sync,
) -> (Vec<Tensor<2>>, Vec<S>) {
    let mut gradients: Vec<Tensor<2>> = weights.iter().map(Tensor::zeros_like).collect();
    let mut said = Vec::with_capacity(batches.len());
    let device = weights.first().map(Tensor::device).unwrap_or_default();
    let at_once = if is_cpu(&device) { AT_ONCE } else { 1 };
    for some in batches.chunks(at_once) {
        for (part, it) in parallel::map_on(&device, some.to_vec(), |batch| of_one(&batch)) {
            for (sum, gradient) in gradients.iter_mut().zip(part) {
                *sum = sum.clone() + gradient;
            }
            said.push(it);
        }
    }
    (gradients, said)
}

/// The gradient of a loss by each of these leaves; zeros where it does not depend on one.
pub fn gradients(loss: &Tensor<1>, leaves: &[Tensor<2>]) -> Vec<Tensor<2>> {
    let mut gradients = loss.backward();
    let of_one = |it: &Tensor<2>| {
        it.grad_remove(&mut gradients).unwrap_or_else(|| it.clone().inner().zeros_like())
    };
    leaves.iter().map(of_one).collect()
}

/// Row numbers on a device.
pub fn indices(numbers: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let n = numbers.len();
    Tensor::from_data(TensorData::new(numbers, [n]), device)
}

/// The numbers of a tensor, without its history.
pub fn read(tensor: Tensor<1>) -> Vec<f32> {
    tensor.inner().into_data().try_into_vec_as().expect("f32 reads back as f32")
}
