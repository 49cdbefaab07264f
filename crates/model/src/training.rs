//! The decoder in training: packed sequences through it, a loss over chosen tokens, and back.
//!
//! A [`Pass`] is cut in two at the final hidden states. The loss is made of log-probabilities,
//! entropies and, where it needs more, hidden states, all leaves of a small graph of its own. Going
//! back, the head is gone through in pieces of the vocabulary (`scores.rs`), and then the layers,
//! by the graph that the way forward left, or, with checkpoints, by one that is made anew for each
//! layer of what went into it.

use burn::tensor::{Gradients, Int, Tensor};
use forage_trajectory::TokenId;

use crate::config::ParameterSpec;
use crate::decoder::Decoder;
use crate::forward::{Layout, Span};
use crate::scores::{Scorer, Scores};

/// Sequences end to end, with the tokens that are asked about.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    tokens: Vec<TokenId>,
    spans: Vec<Span>,
    /// The rows that predict the tokens that are asked about.
    rows: Vec<usize>,
    asked: Vec<TokenId>,
}

/// How a pass is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PassOptions {
    /// Logits are divided by it.
    pub temperature: f32,
    /// Whether only what goes into each layer is kept, and the rest is computed again on the way
    /// back: a third more work, for memory that grows with one layer instead of all.
    pub checkpoints: bool,
}

/// A way through a decoder that can be gone back.
pub struct Pass {
    /// Log-probabilities of the tokens that were asked about, `[M]`; a leaf.
    pub logprobs: Tensor<1>,
    /// Entropies of their distributions, `[M]`; a leaf.
    pub entropies: Tensor<1>,
    /// The hidden states that predict them, `[M, D]`; a leaf.
    pub hidden: Tensor<2>,
    scorer: Scorer,
    scores: Scores,
    /// What is trainable has leaves in it.
    tracked: Decoder,
    layers: Layers,
    has_adapters: bool,
}

/// What is left of the way through the layers.
enum Layers {
    /// Hidden states with their graph.
    Graph(Tensor<2>),
    /// What went into each layer, and into the last norm.
    Inputs { layout: Box<Layout>, inputs: Vec<Tensor<2>>, rows: Tensor<1, Int> },
}

impl Packed {
    /// Packs sequences, each with the positions of the tokens that are asked about, all 1 or more.
    ///
    /// # Panics
    ///
    /// Panics if a position is 0 or behind the end.
    pub fn new<'a>(asked: impl IntoIterator<Item = (&'a [TokenId], &'a [usize])>) -> Self {
        let mut packed = Self::default();
        for (tokens, positions) in asked {
            let first = packed.tokens.len();
            // Without its last token, a sequence predicts just the tokens that may be asked about.
            packed.tokens.extend_from_slice(tokens.split_last().map_or(&[], |it| it.1));
            packed.spans.push(Span::from(first..packed.tokens.len()));
            for &at in positions {
                assert!(at > 0, "nothing predicts the first token");
                packed.rows.push(first + at - 1);
                packed.asked.push(tokens[at]);
            }
        }
        packed
    }

    /// The same sequences, which share what they begin with: where some begin alike, that is
    /// computed once for all of them, and up to rounding nothing else changes.
    ///
    /// # Panics
    ///
    /// Panics if a position is 0 or behind the end.
    pub fn sharing(asked: &[(&[TokenId], &[usize])]) -> Self {
        let mut packed = Self::default();
        let predicting = |idx: usize| asked[idx].0.split_last().map_or(&[][..], |it| it.1);
        let mut order: Vec<usize> = (0..asked.len()).collect();
        // Descending, so that of two that begin alike the longer comes first.
        order.sort_by(|&a, &b| predicting(b).cmp(predicting(a)));
        let mut rows = vec![Vec::new(); asked.len()];
        let mut last: &[TokenId] = &[];
        // Where the tokens of the last one are.
        let mut path: Vec<usize> = Vec::new();
        for idx in order {
            let tokens = predicting(idx);
            let n_shared = tokens.iter().zip(last).take_while(|(one, other)| one == other).count();
            path.truncate(n_shared);
            let first = packed.tokens.len();
            let fresh = first..first + tokens.len() - n_shared;
            if !fresh.is_empty() {
                let runs = path.chunk_by(|one, next| one + 1 == *next);
                let before = runs.map(|it| it[0]..it[0] + it.len()).collect();
                packed.spans.push(Span { tokens: fresh.clone(), before });
                packed.tokens.extend_from_slice(&tokens[n_shared..]);
                path.extend(fresh);
            }
            let row = |&at: &usize| {
                assert!(at > 0, "nothing predicts the first token");
                path[at - 1]
            };
            rows[idx] = asked[idx].1.iter().map(row).collect();
            last = tokens;
        }
        packed.rows = rows.concat();
        packed.asked =
            asked.iter().flat_map(|(tokens, at)| at.iter().map(|&it| tokens[it])).collect();
        packed
    }

    /// Tokens that go through a model.
    pub fn n_tokens(&self) -> usize {
        self.tokens.len()
    }
}

impl Decoder {
    /// The hidden states that predict the tokens that are asked about, `[M, D]`.
    pub fn hidden(&self, packed: &Packed) -> Tensor<2> {
        let layout = self.layout(&packed.tokens, &packed.spans);
        self.forward_layout(&layout, None).select(0, self.rows(packed))
    }

    /// The same without a graph, and without the rows of the last layer that nobody asks about.
    pub fn hidden_only(&self, packed: &Packed) -> Tensor<2> {
        let layout = self.layout(&packed.tokens, &packed.spans);
        self.forward_layout(&layout, Some(&self.rows(packed))).inner()
    }

    /// Log-probabilities and entropies of the tokens that are asked about, without a graph.
    pub fn scores(&self, packed: &Packed, temperature: f32) -> Scores {
        self.scorer(self.hidden_only(packed), packed, temperature).scores()
    }

    /// Sends packed sequences through, so that a gradient can be sent back.
    pub fn pass(&self, packed: &Packed, options: PassOptions) -> Pass {
        let tracked = self.tracked();
        let (hidden, layers) = if options.checkpoints {
            let frozen = self.frozen();
            let layout = Box::new(frozen.layout(&packed.tokens, &packed.spans));
            let mut hidden_nd = frozen.embed(&layout.ids);
            let mut inputs = Vec::new();
            for idx in 0..self.config().num_hidden_layers {
                inputs.push(hidden_nd.clone().inner());
                hidden_nd = frozen.packed_layer(idx, hidden_nd, &layout);
            }
            let rows = frozen.rows(packed);
            let last_md = hidden_nd.select(0, rows.clone());
            inputs.push(last_md.clone().inner());
            (frozen.final_norm(last_md).inner(), Layers::Inputs { layout, inputs, rows })
        } else {
            let hidden_md = tracked.hidden(packed);
            (hidden_md.clone().inner(), Layers::Graph(hidden_md))
        };
        let asked = self.scorer(hidden.clone(), packed, options.temperature);
        let scores = asked.scores();
        let leaf = |it: &Tensor<1>| it.clone().autodiff().require_grad();
        Pass {
            logprobs: leaf(&scores.logprobs),
            entropies: leaf(&scores.entropies),
            hidden: hidden.autodiff().require_grad(),
            scorer: asked,
            scores,
            tracked,
            layers,
            has_adapters: self.adapters().is_some(),
        }
    }

    fn rows(&self, packed: &Packed) -> Tensor<1, Int> {
        self.indices(packed.rows.iter().map(|&it| it as i64).collect())
    }

    fn scorer(&self, hidden: Tensor<2>, packed: &Packed, temperature: f32) -> Scorer {
        let head = self.weights()[self.head()].clone().inner();
        Scorer::new(hidden, head, packed.asked.clone(), temperature).computing_in(self.compute())
    }
}

impl Pass {
    /// The decoder that the graph belongs to. Its weights are leaves: losses over whole
    /// distributions take [`Decoder::logits`] of it over rows of [`Pass::hidden`].
    pub fn decoder(&self) -> &Decoder {
        &self.tracked
    }

    /// Names, shapes and roles of the gradients of [`Pass::backward`].
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        self.tracked.trainable_parameters()
    }

    /// The gradient of a loss by everything that is trainable, in order.
    pub fn backward(self, loss: &Tensor<1>) -> Vec<Tensor<2>> {
        let mut sums = Sums { leaves: self.tracked.trainable(), sums: Vec::new() };
        sums.sums.resize(sums.leaves.len(), None);
        let mut gradients = loss.backward();
        sums.take(&mut gradients);
        let by_logprobs = self.logprobs.grad_remove(&mut gradients);
        let by_entropies = self.entropies.grad_remove(&mut gradients);
        let mut by_hidden = self.hidden.grad_remove(&mut gradients);
        if by_logprobs.is_some() || by_entropies.is_some() {
            let by_logprobs = by_logprobs.unwrap_or_else(|| self.scores.logprobs.zeros_like());
            let (part, by_head) =
                self.scorer.backward(&self.scores, by_logprobs, by_entropies, !self.has_adapters);
            by_hidden = Some(match by_hidden {
                Some(by_hidden) => by_hidden + part,
                None => part,
            });
            if let Some(by_head) = by_head {
                sums.add(self.tracked.head(), by_head);
            }
        }
        let Some(by_hidden) = by_hidden else { return sums.finish() };
        match self.layers {
            Layers::Graph(hidden_md) => sums.take(&mut back(&hidden_md, by_hidden)),
            Layers::Inputs { layout, mut inputs, rows } => {
                let mut through =
                    |input: Tensor<2>, by_output, forward: &dyn Fn(Tensor<2>) -> Tensor<2>| {
                        let input = input.autodiff().require_grad();
                        let mut gradients = back(&forward(input.clone()), by_output);
                        sums.take(&mut gradients);
                        input.grad_remove(&mut gradients).expect("a layer adds to what goes in")
                    };
                let last = inputs.pop().expect("what went into the last norm");
                let by_last = through(last, by_hidden, &|it| self.tracked.final_norm(it));
                let Some(first) = inputs.first() else { return sums.finish() };
                let rows = rows.inner();
                let mut by_output = first.zeros_like().select_assign(
                    0,
                    rows,
                    by_last,
                    burn::tensor::IndexingUpdateOp::Add,
                );
                for (idx, input) in inputs.into_iter().enumerate().rev() {
                    by_output = through(input, by_output, &|it| {
                        self.tracked.packed_layer(idx, it, &layout)
                    });
                }
                if !self.has_adapters {
                    sums.take(&mut back(&self.tracked.embed(&layout.ids), by_output));
                }
            }
        }
        sums.finish()
    }
}

/// Sends a gradient back from where it is known.
fn back(output: &Tensor<2>, gradient: Tensor<2>) -> Gradients {
    (output.clone() * gradient.autodiff()).sum().backward()
}

/// Gradients by leaves, so far.
struct Sums<'a> {
    leaves: &'a [Tensor<2>],
    sums: Vec<Option<Tensor<2>>>,
}

impl Sums<'_> {
    fn add(&mut self, at: usize, part: Tensor<2>) {
        let sum = self.sums[at].take();
        self.sums[at] = Some(match sum {
            Some(sum) => sum + part,
            None => part,
        });
    }

    fn take(&mut self, gradients: &mut Gradients) {
        for (at, leaf) in self.leaves.iter().enumerate() {
            if let Some(part) = leaf.grad_remove(gradients) {
                self.add(at, part);
            }
        }
    }

    /// Zeros where nothing came.
    fn finish(self) -> Vec<Tensor<2>> {
        let both = self.leaves.iter().zip(self.sums);
        both.map(|(leaf, sum)| sum.unwrap_or_else(|| leaf.clone().inner().zeros_like())).collect()
    }
}
