//! What a decoder says of tokens: log-probabilities and entropies, without the logits of all
//! positions at once.
//!
//! The head is gone through in pieces of the vocabulary, once for sums and once more, where a
//! gradient is wanted, for what each piece contributes: of `[M, V]`, with M positions and V words,
//! only `[M, C]` is ever held.
//!
//! With l the logits over the temperature, p their softmax and H its entropy, the gradients are
//! ∂ log p(t) / ∂ l(v) = [v = t] - p(v) and ∂ H / ∂ l(v) = -p(v) (log p(v) + H).

use burn::tensor::{FloatDType, IndexingUpdateOp, Int, Tensor, TensorData};
use forage_trajectory::TokenId;

use crate::checkpoint::numbers;
use crate::layer::product;

/// Numbers of a piece of logits, at most.
const PIECE: usize = 1 << 22;

/// What is computed from hidden states `[M, D]`, a head `[V, D]` and a token for each of the M.
/// No tensor has a graph.
#[derive(Debug, Clone)]
pub(crate) struct Scorer {
    /// These two in the type of `compute`.
    hidden: Tensor<2>,
    head: Tensor<2>,
    /// What the factors of products are rounded to.
    compute: FloatDType,
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) temperature: f32,
    /// Numbers of a piece.
    pub(crate) piece: usize,
}

/// Log-probabilities of tokens, and entropies of the distributions they are drawn from, in nats;
/// `[M]` each.
#[derive(Debug, Clone)]
pub struct Scores {
    /// Under softmax(logits / temperature).
    pub logprobs: Tensor<1>,
    /// Of softmax(logits / temperature).
    pub entropies: Tensor<1>,
    /// Largest logit of each position, `[M, 1]`.
    largest: Tensor<2>,
    /// Logarithm of the sum of exp(logit - largest), `[M, 1]`.
    log_sums: Tensor<2>,
}

impl Scorer {
    pub(crate) fn new(
        hidden: Tensor<2>,
        head: Tensor<2>,
        tokens: Vec<TokenId>,
        temperature: f32,
    ) -> Self {
        Self { hidden, head, compute: FloatDType::F32, tokens, temperature, piece: PIECE }
    }

    /// The same, multiplying in this type.
    pub(crate) fn computing_in(self, compute: FloatDType) -> Self {
        let (hidden, head) = (self.hidden.cast(compute), self.head.cast(compute));
        Self { hidden, head, compute, ..self }
    }

    /// Where the vocabulary is cut.
    fn pieces(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let ([n_rows, _], [n_words, _]) = (self.hidden.dims(), self.head.dims());
        let width = (self.piece / n_rows.max(1)).clamp(1, n_words.max(1));
        (0..n_words).step_by(width).map(move |start| start..(start + width).min(n_words))
    }

    /// Logits over the temperature, `[M, C]`.
    fn logits(&self, piece: std::ops::Range<usize>) -> Tensor<2> {
        let head = self.head.clone().slice_dim(0, piece);
        product(self.hidden.clone(), head.transpose(), self.compute) / self.temperature
    }

    /// Where in a piece the tokens are, and 1 for those that are in it, else 0; `[M, 1]` each.
    fn places(&self, piece: &std::ops::Range<usize>) -> (Tensor<2, Int>, Tensor<2>) {
        let n = self.tokens.len();
        let at = |it: &TokenId| piece.contains(&(*it as usize)).then(|| *it as usize - piece.start);
        let places: Vec<i64> = self.tokens.iter().map(|it| at(it).unwrap_or(0) as i64).collect();
        let inside: Vec<f32> =
            self.tokens.iter().map(|it| f32::from(u8::from(at(it).is_some()))).collect();
        let device = self.hidden.device();
        (
            Tensor::from_data(TensorData::new(places, [n, 1]), &device),
            Tensor::from_data(TensorData::new(inside, [n, 1]), &device),
        )
    }

    pub(crate) fn scores(&self) -> Scores {
        let n = self.tokens.len();
        // Per row: the largest logit so far, and relative to it the sum of exponentials, of
        // exponentials times logits, and the logit of the token.
        let mut state: Option<[Tensor<2>; 3]> = None;
        let mut chosen: Option<Tensor<2>> = None;
        for piece in self.pieces() {
            let logits = self.logits(piece.clone());
            let (places, inside) = self.places(&piece);
            let found = logits.clone().gather(1, places) * inside;
            chosen = Some(match chosen {
                Some(chosen) => chosen + found,
                None => found,
            });
            let here = logits.clone().max_dim(1);
            let largest = match &state {
                Some([largest, ..]) => largest.clone().max_pair(here),
                None => here,
            };
            let shifted = logits - largest.clone();
            let weights = shifted.clone().exp();
            let sum = weights.clone().sum_dim(1);
            let weighted = (weights * shifted).sum_dim(1);
            state = Some(match state {
                Some([before, sum_before, weighted_before]) => {
                    let by = before - largest.clone();
                    let factor = by.clone().exp();
                    let moved = (weighted_before + sum_before.clone() * by) * factor.clone();
                    [largest, sum + sum_before * factor, weighted + moved]
                }
                None => [largest, sum, weighted],
            });
        }
        let [largest, sum, weighted] = state.expect("a vocabulary has words");
        let log_sums = sum.clone().log();
        let logprobs = chosen.expect("as above") - largest.clone() - log_sums.clone();
        Scores {
            logprobs: logprobs.reshape([n]),
            entropies: (log_sums.clone() - weighted / sum).reshape([n]),
            largest,
            log_sums,
        }
    }

    /// Gradients by the hidden states and, where `by_head` asks for it, by the head, of something
    /// whose gradients by log-probabilities and entropies are given, `[M]` each.
    pub(crate) fn backward(
        &self,
        scores: &Scores,
        by_logprobs: Tensor<1>,
        by_entropies: Option<Tensor<1>>,
        by_head: bool,
    ) -> (Tensor<2>, Option<Tensor<2>>) {
        let n = self.tokens.len();
        let by_logprobs = by_logprobs.reshape([n, 1]);
        let by_entropies = by_entropies.map(|it| it.reshape([n, 1]));
        let entropies = scores.entropies.clone().reshape([n, 1]);
        let mut by_hidden = self.hidden.zeros_like().cast(FloatDType::F32);
        let mut of_head = Vec::new();
        for piece in self.pieces() {
            let logits = self.logits(piece.clone());
            let logprobs = logits - scores.largest.clone() - scores.log_sums.clone();
            let shares = logprobs.clone().exp();
            let (places, inside) = self.places(&piece);
            let pull = match &by_entropies {
                Some(it) => (logprobs + entropies.clone()) * it.clone() + by_logprobs.clone(),
                None => by_logprobs.clone().repeat_dim(1, piece.len()),
            };
            let own = by_logprobs.clone() * inside;
            let by_logits = (shares * pull).neg().scatter(1, places, own, IndexingUpdateOp::Add)
                / self.temperature;
            let by_logits = by_logits.cast(self.compute);
            if by_head {
                let turned = by_logits.clone().transpose();
                of_head.push(product(turned, self.hidden.clone(), self.compute));
            }
            let head = self.head.clone().slice_dim(0, piece);
            by_hidden = by_hidden + product(by_logits, head, self.compute);
        }
        (by_hidden, by_head.then(|| Tensor::cat(of_head, 0)))
    }
}

impl Scores {
    /// Log-probabilities and entropies as numbers.
    pub fn read(&self) -> [Vec<f32>; 2] {
        [&self.logprobs, &self.entropies].map(|it| numbers(&it.clone().unsqueeze()))
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

    /// Any cut of the vocabulary gives the values and gradients of the plain computation.
    #[test]
    fn pieces_change_nothing() {
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
            for piece in [1, 7 * 9, 7 * 16, 7 * 50, usize::MAX] {
                let scorer = Scorer {
                    piece,
                    ..Scorer::new(hidden.clone(), head.clone(), tokens.clone(), 0.7)
                };
                let result = scorer.scores();
                let flat = |it: &Tensor<1>| it.clone().inner().unsqueeze();
                assert_near(&flat(&result.logprobs), &flat(&logprobs), "log-probabilities");
                assert_near(&flat(&result.entropies), &flat(&entropies), "entropies");
                let by_entropies = with_entropies.then(|| by_entropies.clone());
                let (by_hidden, by_head) =
                    scorer.backward(&result, by_logprobs.clone(), by_entropies, true);
                assert_near(&by_hidden, &leaf_hidden.grad(&gradients).unwrap(), "by hidden");
                assert_near(&by_head.unwrap(), &leaf_head.grad(&gradients).unwrap(), "by head");
            }
        }
    }
}
