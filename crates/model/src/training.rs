//! Forward and backward pass of a decoder in training, over packed sequences.
//!
//! A [`TrainingPass`] is cut in two at the final hidden states. The loss is made of
//! log-probabilities, entropies and, where it needs more, hidden states, all leaves of a small
//! graph of its own. The backward pass goes through the head in chunks of the vocabulary
//! (`logprobs.rs`), and then through the layers, by the graph that the forward pass left, or, with
//! gradient checkpointing, by one that is made anew for each layer of its input. Which loss it is,
//! it does not know.

use burn::tensor::{Gradients, IndexingUpdateOp, Int, Tensor};
use forage_trajectory::TokenId;

use crate::config::ParameterSpec;
use crate::decoder::Decoder;
use crate::forward::{PackedLayout, Span};
use crate::logprobs::{ChunkedLogprobs, TokenLogprobs};

/// Packed sequences: sequences end to end, without padding, and the target tokens, which are to be
/// predicted.
#[derive(Debug, Clone, Default)]
pub struct PackedSequences {
    tokens: Vec<TokenId>,
    spans: Vec<Span>,
    /// Rows that predict the targets.
    rows: Vec<usize>,
    targets: Vec<TokenId>,
}

/// Options of a [`TrainingPass`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingPassOptions {
    /// Temperature: logits are divided by it.
    pub temperature: f32,
    /// Gradient checkpointing (arXiv 1604.06174): only the input of each layer is kept, and the
    /// rest is computed again in the backward pass: a third more work, for memory that grows with
    /// one layer instead of all.
    pub gradient_checkpointing: bool,
}

/// Forward pass of a decoder with all that its backward pass needs.
pub struct TrainingPass {
    /// Log-probabilities of the targets, `[M]`; a leaf.
    pub logprobs: Tensor<1>,
    /// Entropies of their distributions, `[M]`; a leaf.
    pub entropies: Tensor<1>,
    /// Hidden states that predict the targets, `[M, D]`; a leaf.
    pub hidden: Tensor<2>,
    chunked: ChunkedLogprobs,
    values: TokenLogprobs,
    /// Decoder whose trainable parameters are leaves.
    tracked: Decoder,
    activations: Activations,
    has_adapters: bool,
}

/// Activations that are kept for the backward pass through the layers.
enum Activations {
    /// Hidden states `[M, D]` with their graph.
    Graph(Tensor<2>),
    /// Inputs of the layers, `[N, D]` each, and of the last norm, `[M, D]`; `rows` are the M of N.
    Checkpoints { layout: Box<PackedLayout>, inputs: Vec<Tensor<2>>, rows: Tensor<1, Int> },
}

impl PackedSequences {
    /// Packs sequences, each with the positions of its targets, all 1 or more.
    ///
    /// # Panics
    ///
    /// Panics if a position is 0 or behind the end.
    pub fn new<'a>(sequences: impl IntoIterator<Item = (&'a [TokenId], &'a [usize])>) -> Self {
        let mut packed = Self::default();
        for (tokens, positions) in sequences {
            let first = packed.tokens.len();
            // Without its last token, a sequence predicts just the tokens that may be targets.
            packed.tokens.extend_from_slice(tokens.split_last().map_or(&[], |it| it.1));
            packed.spans.push(Span::from(first..packed.tokens.len()));
            for &at in positions {
                assert!(at > 0, "nothing predicts the first token");
                packed.rows.push(first + at - 1);
                packed.targets.push(tokens[at]);
            }
        }
        packed
    }

    /// Packs sequences with shared prefixes: where some begin alike, that is computed once for all
    /// of them, and up to rounding nothing else changes.
    ///
    /// # Panics
    ///
    /// Panics if a position is 0 or behind the end.
    pub fn with_shared_prefixes(sequences: &[(&[TokenId], &[usize])]) -> Self {
        let mut packed = Self::default();
        let predicting = |idx: usize| sequences[idx].0.split_last().map_or(&[][..], |it| it.1);
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        // Descending, so that of two that begin alike the longer comes first.
        order.sort_by(|&a, &b| predicting(b).cmp(predicting(a)));
        let mut rows = vec![Vec::new(); sequences.len()];
        let mut last: &[TokenId] = &[];
        // Rows of the tokens of the last sequence.
        let mut path: Vec<usize> = Vec::new();
        for idx in order {
            let tokens = predicting(idx);
            let n_shared = tokens.iter().zip(last).take_while(|(one, other)| one == other).count();
            path.truncate(n_shared);
            let first = packed.tokens.len();
            let fresh = first..first + tokens.len() - n_shared;
            if !fresh.is_empty() {
                let runs = path.chunk_by(|one, next| one + 1 == *next);
                let prefix = runs.map(|run| run[0]..run[0] + run.len()).collect();
                packed.spans.push(Span { tokens: fresh.clone(), prefix });
                packed.tokens.extend_from_slice(&tokens[n_shared..]);
                path.extend(fresh);
            }
            let row = |&at: &usize| {
                assert!(at > 0, "nothing predicts the first token");
                path[at - 1]
            };
            rows[idx] = sequences[idx].1.iter().map(row).collect();
            last = tokens;
        }
        packed.rows = rows.concat();
        let targets = sequences.iter().flat_map(|(tokens, at)| at.iter().map(|&it| tokens[it]));
        packed.targets = targets.collect();
        packed
    }

    /// Number of tokens that go through the model.
    pub fn n_tokens(&self) -> usize {
        self.tokens.len()
    }
}

impl Decoder {
    /// Hidden states that predict the targets, `[M, D]`.
    pub fn hidden_states(&self, packed: &PackedSequences) -> Tensor<2> {
        let layout = self.packed_layout(&packed.tokens, &packed.spans);
        self.forward_packed(&layout, None).select(0, self.target_rows(packed))
    }

    /// Hidden states that predict the targets, `[M, D]`, without a graph, and without the other
    /// rows of the last layer.
    pub fn hidden_states_no_grad(&self, packed: &PackedSequences) -> Tensor<2> {
        let layout = self.packed_layout(&packed.tokens, &packed.spans);
        self.forward_packed(&layout, Some(&self.target_rows(packed))).inner()
    }

    /// Log-probabilities and entropies of the targets, `[M]` each, without a graph.
    pub fn logprobs(&self, packed: &PackedSequences, temperature: f32) -> TokenLogprobs {
        let hidden_md = self.hidden_states_no_grad(packed);
        self.chunked_logprobs(hidden_md, packed, temperature).forward()
    }

    /// Forward pass over packed sequences, which keeps what the backward pass needs.
    pub fn training_pass(
        &self,
        packed: &PackedSequences,
        options: TrainingPassOptions,
    ) -> TrainingPass {
        let tracked = self.tracked();
        let (hidden, activations) = if options.gradient_checkpointing {
            self.checkpointed_forward(packed)
        } else {
            let hidden_md = tracked.hidden_states(packed);
            (hidden_md.clone().inner(), Activations::Graph(hidden_md))
        };
        let chunked = self.chunked_logprobs(hidden.clone(), packed, options.temperature);
        let values = chunked.forward();
        let leaf = |tensor: &Tensor<1>| tensor.clone().autodiff().require_grad();
        TrainingPass {
            logprobs: leaf(&values.logprobs),
            entropies: leaf(&values.entropies),
            hidden: hidden.autodiff().require_grad(),
            chunked,
            values,
            tracked,
            activations,
            has_adapters: self.adapters().is_some(),
        }
    }

    /// Forward pass that keeps only the inputs of the layers: hidden states `[M, D]`.
    fn checkpointed_forward(&self, packed: &PackedSequences) -> (Tensor<2>, Activations) {
        let frozen = self.frozen();
        let layout = Box::new(frozen.packed_layout(&packed.tokens, &packed.spans));
        let mut hidden_nd = frozen.embed(&layout.ids);
        let mut inputs = Vec::new();
        for idx in 0..self.config().num_hidden_layers {
            inputs.push(hidden_nd.clone().inner());
            hidden_nd = frozen.packed_layer(idx, hidden_nd, &layout);
        }
        let rows = frozen.target_rows(packed);
        let last_md = hidden_nd.select(0, rows.clone());
        inputs.push(last_md.clone().inner());
        let normed_md = frozen.final_norm(last_md).inner();
        (normed_md, Activations::Checkpoints { layout, inputs, rows })
    }

    fn target_rows(&self, packed: &PackedSequences) -> Tensor<1, Int> {
        self.indices(packed.rows.iter().map(|&it| it as i64).collect())
    }

    fn chunked_logprobs(
        &self,
        hidden_md: Tensor<2>,
        packed: &PackedSequences,
        temperature: f32,
    ) -> ChunkedLogprobs {
        let head = self.weights()[self.head()].clone().inner();
        ChunkedLogprobs::new(hidden_md, head, packed.targets.clone(), temperature)
            .with_compute_dtype(self.compute_dtype())
    }
}

impl TrainingPass {
    /// Decoder of the graph. Its trainable parameters are leaves: losses over whole distributions
    /// take [`Decoder::logits`] of it over rows of [`TrainingPass::hidden`].
    pub fn decoder(&self) -> &Decoder {
        &self.tracked
    }

    /// Names, shapes and roles of the gradients of [`TrainingPass::backward`].
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        self.tracked.trainable_parameters()
    }

    /// Backward pass: gradients of a loss `[1]` by the trainable parameters, in order.
    pub fn backward(self, loss: &Tensor<1>) -> Vec<Tensor<2>> {
        let mut sums = GradientSums::of(self.tracked.trainable());
        let mut gradients = loss.backward();
        sums.take(&mut gradients);
        let by_logprobs = self.logprobs.grad_remove(&mut gradients);
        let by_entropies = self.entropies.grad_remove(&mut gradients);
        let mut by_hidden = self.hidden.grad_remove(&mut gradients);
        if by_logprobs.is_some() || by_entropies.is_some() {
            let by_logprobs = by_logprobs.unwrap_or_else(|| self.values.logprobs.zeros_like());
            let is_head_trained = !self.has_adapters;
            let (part, by_head) =
                self.chunked.backward(&self.values, by_logprobs, by_entropies, is_head_trained);
            by_hidden = Some(match by_hidden {
                Some(by_hidden) => by_hidden + part,
                None => part,
            });
            if let Some(by_head) = by_head {
                sums.add(self.tracked.head(), by_head);
            }
        }
        let Some(by_hidden) = by_hidden else { return sums.finish() };
        match self.activations {
            Activations::Graph(hidden_md) => {
                sums.take(&mut backward_from(&hidden_md, by_hidden));
            }
            Activations::Checkpoints { layout, inputs, rows } => {
                let backward = CheckpointedBackward { decoder: &self.tracked, sums: &mut sums };
                backward.run(&layout, inputs, rows, by_hidden, !self.has_adapters);
            }
        }
        sums.finish()
    }
}

/// Backward pass through the layers, each computed again from its input.
struct CheckpointedBackward<'a, 'b> {
    decoder: &'a Decoder,
    sums: &'b mut GradientSums<'a>,
}

impl CheckpointedBackward<'_, '_> {
    /// From the gradient by the final hidden states `[M, D]` down to the embeddings, where those
    /// are trained.
    fn run(
        mut self,
        layout: &PackedLayout,
        mut inputs: Vec<Tensor<2>>,
        rows: Tensor<1, Int>,
        by_hidden: Tensor<2>,
        is_embedding_trained: bool,
    ) {
        let decoder = self.decoder;
        let last = inputs.pop().expect("the input of the last norm");
        let by_last = self.through(last, by_hidden, |it| decoder.final_norm(it));
        let Some(first) = inputs.first() else { return };
        let zeros = first.zeros_like();
        let mut by_output = zeros.select_assign(0, rows.inner(), by_last, IndexingUpdateOp::Add);
        for (idx, input) in inputs.into_iter().enumerate().rev() {
            by_output = self.through(input, by_output, |it| decoder.packed_layer(idx, it, layout));
        }
        if is_embedding_trained {
            self.sums.take(&mut backward_from(&decoder.embed(&layout.ids), by_output));
        }
    }

    /// Gradient by the input of a function, from that by its output.
    fn through(
        &mut self,
        input: Tensor<2>,
        by_output: Tensor<2>,
        forward: impl Fn(Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let input = input.autodiff().require_grad();
        let mut gradients = backward_from(&forward(input.clone()), by_output);
        self.sums.take(&mut gradients);
        input.grad_remove(&mut gradients).expect("a layer adds to its input")
    }
}

/// Backward pass from a tensor with a graph, of which the gradient is known.
fn backward_from(output: &Tensor<2>, gradient: Tensor<2>) -> Gradients {
    (output.clone() * gradient.autodiff()).sum().backward()
}

/// Accumulated gradients by leaves.
struct GradientSums<'a> {
    leaves: &'a [Tensor<2>],
    sums: Vec<Option<Tensor<2>>>,
}

impl<'a> GradientSums<'a> {
    fn of(leaves: &'a [Tensor<2>]) -> Self {
        Self { leaves, sums: vec![None; leaves.len()] }
    }

    /// Adds to the gradient by leaf number `at`.
    fn add(&mut self, at: usize, part: Tensor<2>) {
        let sum = self.sums[at].take();
        self.sums[at] = Some(match sum {
            Some(sum) => sum + part,
            None => part,
        });
    }

    /// Adds the gradients by all leaves that a backward pass reached.
    fn take(&mut self, gradients: &mut Gradients) {
        for (at, leaf) in self.leaves.iter().enumerate() {
            if let Some(part) = leaf.grad_remove(gradients) {
                self.add(at, part);
            }
        }
    }

    /// Gradients by all leaves; zeros where nothing came.
    fn finish(self) -> Vec<Tensor<2>> {
        let both = self.leaves.iter().zip(self.sums);
        both.map(|(leaf, sum)| sum.unwrap_or_else(|| leaf.clone().inner().zeros_like())).collect()
    }
}
