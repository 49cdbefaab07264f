//! Chunked log-probabilities: log-probabilities and entropies of tokens, without the logits of all
//! positions at once.
//!
//! The output head is gone through in chunks of the vocabulary, once for sums and once more, where
//! a gradient is wanted, for what each chunk contributes: of `[M, V]`, with M positions and V
//! tokens, only `[M, C]` is ever held. Cut Cross-Entropy (arXiv 2411.09009) does the same in one
//! kernel.
//!
//! With l the logits over the temperature, p their softmax and H its entropy, the gradients are
//! ∂ log p(t) / ∂ l(v) = [v = t] - p(v) and ∂ H / ∂ l(v) = -p(v) (log p(v) + H).

use std::ops::Range;

use burn::tensor::{FloatDType, IndexingUpdateOp, Int, Tensor, TensorData};
use forage_trajectory::TokenId;

use crate::ops::{matmul, numbers};

/// Numbers of a chunk of logits, at most.
const CHUNK: usize = 1 << 22;

/// Chunked computation of log-probabilities from hidden states `[M, D]`, a head `[V, D]` and a
/// token for each of the M. No tensor has a graph.
#[derive(Debug, Clone)]
pub(crate) struct ChunkedLogprobs {
    /// In the compute type, as the head.
    hidden: Tensor<2>,
    head: Tensor<2>,
    /// Type that the factors of products are rounded to.
    compute: FloatDType,
    tokens: Vec<TokenId>,
    temperature: f32,
    /// Numbers of a chunk, at most.
    chunk: usize,
}

/// Log-probabilities of tokens, and entropies of their distributions, in nats; `[M]` each.
#[derive(Debug, Clone)]
pub struct TokenLogprobs {
    /// Log-probabilities under softmax(logits / temperature).
    pub logprobs: Tensor<1>,
    /// Entropies of softmax(logits / temperature).
    pub entropies: Tensor<1>,
    /// Largest logit of each position, `[M, 1]`.
    largest: Tensor<2>,
    /// Logarithm of the sum of exp(logit - largest), `[M, 1]`.
    log_sums: Tensor<2>,
}

/// Running sums over the chunks of the vocabulary, `[M, 1]` each (an online softmax, arXiv
/// 1805.02867).
struct OnlineSoftmax {
    /// Largest logit so far.
    largest: Tensor<2>,
    /// Sum of exp(logit - largest).
    sum: Tensor<2>,
    /// Sum of exp(logit - largest) · (logit - largest).
    weighted: Tensor<2>,
}

impl OnlineSoftmax {
    /// Adds a chunk of logits, `[M, C]`.
    fn add(before: Option<Self>, logits: Tensor<2>) -> Self {
        let here = logits.clone().max_dim(1);
        let largest = match &before {
            Some(before) => before.largest.clone().max_pair(here),
            None => here,
        };
        let shifted = logits - largest.clone();
        let weights = shifted.clone().exp();
        let sum = weights.clone().sum_dim(1);
        let weighted = (weights * shifted).sum_dim(1);
        let Some(before) = before else { return Self { largest, sum, weighted } };
        let by = before.largest - largest.clone();
        let factor = by.clone().exp();
        let moved = (before.weighted + before.sum.clone() * by) * factor.clone();
        Self { largest, sum: sum + before.sum * factor, weighted: weighted + moved }
    }
}

impl ChunkedLogprobs {
    /// Log-probabilities of `tokens` in f32.
    pub(crate) fn new(
        hidden: Tensor<2>,
        head: Tensor<2>,
        tokens: Vec<TokenId>,
        temperature: f32,
    ) -> Self {
        Self { hidden, head, compute: FloatDType::F32, tokens, temperature, chunk: CHUNK }
    }

    /// The same with another compute type.
    pub(crate) fn with_compute_dtype(self, compute: FloatDType) -> Self {
        let (hidden, head) = (self.hidden.cast(compute), self.head.cast(compute));
        Self { hidden, head, compute, ..self }
    }

    /// Chunks of the vocabulary.
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let ([n_rows, _], [vocab_size, _]) = (self.hidden.dims(), self.head.dims());
        let width = (self.chunk / n_rows.max(1)).clamp(1, vocab_size.max(1));
        (0..vocab_size).step_by(width).map(move |start| start..(start + width).min(vocab_size))
    }

    /// Logits over the temperature, `[M, C]`.
    fn logits(&self, chunk: Range<usize>) -> Tensor<2> {
        let head = self.head.clone().slice_dim(0, chunk);
        matmul(self.hidden.clone(), head.transpose(), self.compute) / self.temperature
    }

    /// Columns of the tokens in a chunk, and 1 for those that are in it, else 0; `[M, 1]` each.
    fn columns(&self, chunk: &Range<usize>) -> (Tensor<2, Int>, Tensor<2>) {
        let n = self.tokens.len();
        let column = |token: &TokenId| {
            chunk.contains(&(*token as usize)).then(|| *token as usize - chunk.start)
        };
        let columns: Vec<i64> =
            self.tokens.iter().map(|token| column(token).unwrap_or(0) as i64).collect();
        let inside: Vec<f32> =
            self.tokens.iter().map(|token| f32::from(u8::from(column(token).is_some()))).collect();
        let device = self.hidden.device();
        (
            Tensor::from_data(TensorData::new(columns, [n, 1]), &device),
            Tensor::from_data(TensorData::new(inside, [n, 1]), &device),
        )
    }

    /// Log-probabilities and entropies, `[M]` each.
    pub(crate) fn forward(&self) -> TokenLogprobs {
        let n = self.tokens.len();
        let mut softmax: Option<OnlineSoftmax> = None;
        // Logits of the tokens.
        let mut chosen: Option<Tensor<2>> = None;
        for chunk in self.chunks() {
            let logits = self.logits(chunk.clone());
            let (columns, inside) = self.columns(&chunk);
            let found = logits.clone().gather(1, columns) * inside;
            chosen = Some(match chosen {
                Some(chosen) => chosen + found,
                None => found,
            });
            softmax = Some(OnlineSoftmax::add(softmax, logits));
        }
        let OnlineSoftmax { largest, sum, weighted } = softmax.expect("a vocabulary has tokens");
        let log_sums = sum.clone().log();
        let logprobs = chosen.expect("as above") - largest.clone() - log_sums.clone();
        TokenLogprobs {
            logprobs: logprobs.reshape([n]),
            entropies: (log_sums.clone() - weighted / sum).reshape([n]),
            largest,
            log_sums,
        }
    }

    /// Backward pass: gradients by the hidden states `[M, D]` and, where `by_head` asks for it, by
    /// the head `[V, D]`, of a loss whose gradients by log-probabilities and entropies are given,
    /// `[M]` each.
    pub(crate) fn backward(
        &self,
        forward: &TokenLogprobs,
        by_logprobs: Tensor<1>,
        by_entropies: Option<Tensor<1>>,
        by_head: bool,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        let n = self.tokens.len();
        let by_logprobs = by_logprobs.reshape([n, 1]);
        let by_entropies = by_entropies.map(|it| it.reshape([n, 1]));
        let entropies = forward.entropies.clone().reshape([n, 1]);
        let mut by_hidden = self.hidden.zeros_like().cast(FloatDType::F32);
        let mut of_head = Vec::new();
        for chunk in self.chunks() {
            let logits = self.logits(chunk.clone());
            let logprobs = logits - forward.largest.clone() - forward.log_sums.clone();
            let probabilities = logprobs.clone().exp();
            let (columns, inside) = self.columns(&chunk);
            let pull = match &by_entropies {
                Some(it) => (logprobs + entropies.clone()) * it.clone() + by_logprobs.clone(),
                None => by_logprobs.clone().repeat_dim(1, chunk.len()),
            };
            let own = by_logprobs.clone() * inside;
            let by_logits =
                (probabilities * pull).neg().scatter(1, columns, own, IndexingUpdateOp::Add)
                    / self.temperature;
            let by_logits = by_logits.cast(self.compute);
            if by_head {
                let transposed = by_logits.clone().transpose();
                of_head.push(matmul(transposed, self.hidden.clone(), self.compute));
            }
            let head = self.head.clone().slice_dim(0, chunk);
            by_hidden = by_hidden + matmul(by_logits, head, self.compute);
        }
        (by_hidden, by_head.then(|| Tensor::cat(of_head, 0)))
    }
}

impl TokenLogprobs {
    /// Log-probabilities and entropies, read back from the device.
    pub fn to_vecs(&self) -> [Vec<f32>; 2] {
        [&self.logprobs, &self.entropies].map(|values| numbers(&values.clone().unsqueeze()))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use burn::tensor::activation::log_softmax;

    use super::*;

    fn tensor(rows: usize, columns: usize, salt: f32) -> Tensor<2> {
        let numbers: Vec<f32> =
            (0..rows * columns).map(|it| (it as f32 * salt).sin() * 1.5).collect();
        Tensor::from_data(TensorData::new(numbers, [rows, columns]), &Device::flex())
    }

    fn assert_near(found: &Tensor<2>, wanted: &Tensor<2>, what: &str) {
        for (found, wanted) in numbers(found).iter().zip(numbers(wanted)) {
            assert!((found - wanted).abs() < 1e-5, "{what}: {found} is not {wanted}");
        }
    }

    /// Any chunking of the vocabulary gives the values and gradients of the plain computation.
    #[test]
    fn chunks_change_nothing() {
        let (n, width, n_words) = (7, 12, 50);
        let (hidden, head) = (tensor(n, width, 0.37), tensor(n_words, width, 0.71));
        let tokens = vec![3, 49, 0, 3, 31, 17, 48];
        let by_logprobs: Tensor<1> = tensor(1, n, 0.9).reshape([n]);
        let by_entropies: Tensor<1> = tensor(1, n, 0.4).reshape([n]);

        let ids: Vec<i64> = tokens.iter().map(|&it| i64::from(it)).collect();
        for with_entropies in [true, false] {
            let leaf = |it: &Tensor<2>| it.clone().autodiff().require_grad();
            let (leaf_hidden, leaf_head) = (leaf(&hidden), leaf(&head));
            let logits = leaf_hidden.clone().matmul(leaf_head.clone().transpose()) / 0.7;
            let all = log_softmax(logits, 1);
            let ids = TensorData::new(ids.clone(), [n, 1]);
            let ids = Tensor::<2, Int>::from_data(ids, &leaf_head.device());
            let logprobs: Tensor<1> = all.clone().gather(1, ids).reshape([n]);
            let entropies: Tensor<1> = (all.clone().exp() * all).sum_dim(1).neg().reshape([n]);
            let loss = (logprobs.clone() * by_logprobs.clone().autodiff()).sum();
            let loss = if with_entropies {
                loss + (entropies.clone() * by_entropies.clone().autodiff()).sum()
            } else {
                loss
            };
            let gradients = loss.backward();
            for chunk in [1, 7 * 9, 7 * 16, 7 * 50, usize::MAX] {
                let chunked = ChunkedLogprobs {
                    chunk,
                    ..ChunkedLogprobs::new(hidden.clone(), head.clone(), tokens.clone(), 0.7)
                };
                let result = chunked.forward();
                let flat = |it: &Tensor<1>| it.clone().inner().unsqueeze();
                assert_near(&flat(&result.logprobs), &flat(&logprobs), "log-probabilities");
                assert_near(&flat(&result.entropies), &flat(&entropies), "entropies");
                let by_entropies = with_entropies.then(|| by_entropies.clone());
                let (by_hidden, by_head) =
                    chunked.backward(&result, by_logprobs.clone(), by_entropies, true);
                assert_near(&by_hidden, &leaf_hidden.grad(&gradients).unwrap(), "by hidden");
                assert_near(&by_head.unwrap(), &leaf_head.grad(&gradients).unwrap(), "by head");
            }
        }
    }
}
