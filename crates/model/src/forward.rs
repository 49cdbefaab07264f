//! Whole sequences through a [`Decoder`], side by side or end to end, with causal attention in
//! blocks.
//!
//! Shape suffixes as in `decoder.rs`.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};
use forage_trajectory::TokenId;

use crate::decoder::Decoder;
use crate::layer::merge_heads;
use crate::rotary::Rotary;

/// Added to the scores of positions that must not be attended to.
const MASKED: f32 = -1e9;

/// Rows of a causal block, at most.
const BLOCK: usize = 128;

impl Decoder {
    /// Final hidden states, after the last norm, of right-padded sequences: `[B·T, D]`.
    ///
    /// Attention is causal, so padding at the end changes no earlier position.
    pub fn forward(&self, tokens: &[Vec<TokenId>]) -> Tensor<2> {
        let n_seqs = tokens.len();
        let n_tokens = tokens.iter().map(Vec::len).max().unwrap_or(0);
        let ids = padded(tokens, n_tokens);
        let positions: Vec<usize> = (0..n_seqs).flat_map(|_| 0..n_tokens).collect();
        let rotary = self.rotary(&positions, [n_seqs, n_tokens]);
        let blocks = self.causal_blocks(0, n_tokens);
        let span = Span::from(0..n_tokens);
        self.layers(&ids, &rotary, None, |heads| self.attend_causal(&heads, &span, &blocks))
    }

    /// Final hidden states, after the last norm, of sequences that lie end to end: `[N, D]`.
    ///
    /// `spans` are the sequences, in order. Attention stays within a span, and positions begin
    /// anew in each. Tokens outside all spans are padding: nothing attends to them, and their rows
    /// mean nothing.
    ///
    /// # Panics
    ///
    /// Panics if spans overlap, are out of order, or end behind the tokens.
    pub fn forward_packed(&self, tokens: &[TokenId], spans: &[Range<usize>]) -> Tensor<2> {
        let spans: Vec<Span> = spans.iter().cloned().map(Span::from).collect();
        self.forward_layout(&self.layout(tokens, &spans), None)
    }

    /// Final hidden states, after the last norm; of these rows, where nothing else is looked at.
    pub(crate) fn forward_layout(
        &self,
        layout: &Layout,
        rows: Option<&Tensor<1, Int>>,
    ) -> Tensor<2> {
        self.layers(&layout.ids, &layout.rotary, rows, |heads| self.attend_packed(&heads, layout))
    }

    /// Where sequences lie that are packed.
    ///
    /// # Panics
    ///
    /// Panics if spans overlap, are out of order, or end behind the tokens.
    pub(crate) fn layout(&self, tokens: &[TokenId], spans: &[Span]) -> Layout {
        let n_tokens = tokens.len();
        let mut positions = vec![0; n_tokens];
        // Sequences and the padding between them tile the tokens.
        let mut pieces = Vec::with_capacity(2 * spans.len() + 1);
        let mut end = 0;
        for span in spans {
            let Range { start, end: stop } = span.tokens;
            assert!(end <= start && start <= stop && stop <= n_tokens);
            let n_before = span.before.iter().map(Range::len).sum();
            for (position, at) in positions[start..stop].iter_mut().zip(n_before..) {
                *position = at;
            }
            pieces.push((Span::from(end..start), None));
            pieces.push((span.clone(), Some(self.causal_blocks(n_before, stop - start))));
            end = stop;
        }
        pieces.push((Span::from(end..n_tokens), None));
        pieces.retain(|it| !it.0.tokens.is_empty());
        let ids = tokens.iter().map(|&it| i64::from(it)).collect();
        Layout { ids, rotary: self.rotary(&positions, [1, n_tokens]), pieces }
    }

    fn attend_packed(&self, heads: &[Tensor<4>; 3], layout: &Layout) -> Tensor<4> {
        let [_, n_heads, _, width] = heads[0].dims();
        let mixed = layout.pieces.iter().map(|(span, blocks)| match blocks {
            Some(blocks) => self.attend_causal(heads, span, blocks),
            None => Tensor::zeros([1, n_heads, span.tokens.len(), width], self.device()),
        });
        Tensor::cat(mixed.collect(), 2)
    }

    /// One layer over packed sequences.
    pub(crate) fn packed_layer(
        &self,
        idx: usize,
        hidden_nd: Tensor<2>,
        layout: &Layout,
    ) -> Tensor<2> {
        let layer = self.layer(idx);
        let heads = self.heads(&layer, &hidden_nd, &layout.rotary);
        let mixed_nd = merge_heads(self.attend_packed(&heads, layout));
        self.finish_layer(&layer, hidden_nd, mixed_nd)
    }

    /// All layers and the last norm: `[N, D]`, or of these rows alone `[M, D]`. `attend` makes
    /// `[B, H, T, E]` of queries, keys and values.
    fn layers(
        &self,
        ids: &[i64],
        rotary: &Rotary,
        rows: Option<&Tensor<1, Int>>,
        attend: impl Fn([Tensor<4>; 3]) -> Tensor<4>,
    ) -> Tensor<2> {
        let mut hidden_nd = self.embed(ids);
        for idx in 0..self.config().num_hidden_layers {
            let layer = self.layer(idx);
            let mut mixed_nd = merge_heads(attend(self.heads(&layer, &hidden_nd, rotary)));
            if let Some(rows) = rows.filter(|_| idx + 1 == self.config().num_hidden_layers) {
                // Nothing looks at the other rows any more.
                [mixed_nd, hidden_nd] = [mixed_nd, hidden_nd].map(|it| it.select(0, rows.clone()));
            }
            hidden_nd = self.finish_layer(&layer, hidden_nd, mixed_nd);
        }
        self.final_norm(hidden_nd)
    }

    /// Causal attention within a span and over what comes before it, block by block.
    fn attend_causal(
        &self,
        [query, key, value]: &[Tensor<4>; 3],
        span: &Span,
        blocks: &[Block],
    ) -> Tensor<4> {
        let start = span.tokens.start;
        let mixed = blocks.iter().map(|block| {
            let rows = start + block.rows.start..start + block.rows.end;
            let seen = start..rows.end;
            let query = query.clone().slice_dim(2, rows);
            let [key, value] = [key, value].map(|it| {
                let own = it.clone().slice_dim(2, seen.clone());
                if span.before.is_empty() {
                    return own;
                }
                let before = span.before.iter().map(|rows| it.clone().slice_dim(2, rows.clone()));
                Tensor::cat(before.chain([own]).collect(), 2)
            });
            self.attend(query, key, value, &block.mask)
        });
        Tensor::cat(mixed.collect(), 2)
    }

    pub(crate) fn rotary(&self, positions: &[usize], shape: [usize; 2]) -> Rotary {
        Rotary::new(&self.config().rope, self.config().head_dim(), positions, shape, self.device())
    }

    /// Causal attention of tokens after others, in blocks of rows, so that most of the masked half is
    /// never computed.
    fn causal_blocks(&self, n_before: usize, n_tokens: usize) -> Vec<Block> {
        let n_blocks = n_tokens.div_ceil(BLOCK).max(1);
        let size = n_tokens.div_ceil(n_blocks).max(1);
        (0..n_tokens)
            .step_by(size)
            .map(|start| {
                let rows = start..(start + size).min(n_tokens);
                let mask = self.cached_mask(&[n_before + start], rows.len(), n_before + rows.end);
                Block { rows, mask }
            })
            .collect()
    }

    /// `[B, 1, G·T, L]`: a new token of sequence `b` sees the cached ones and itself.
    pub(crate) fn cached_mask(
        &self,
        before: &[usize],
        n_tokens: usize,
        longest: usize,
    ) -> Tensor<4> {
        let group = self.config().num_attention_heads / self.config().num_key_value_heads;
        let mut numbers = Vec::with_capacity(before.len() * group * n_tokens * longest);
        for &len in before {
            for _ in 0..group {
                for row in 0..n_tokens {
                    let seen = (len + row + 1).min(longest);
                    numbers.extend(std::iter::repeat_n(0.0, seen));
                    numbers.extend(std::iter::repeat_n(MASKED, longest - seen));
                }
            }
        }
        let shape = [before.len(), 1, group * n_tokens, longest];
        Tensor::from_data(TensorData::new(numbers, shape), self.device())
    }
}

/// Packed tokens that follow each other in a sequence.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) tokens: Range<usize>,
    /// What comes before them in it: tokens of earlier spans, in order.
    pub(crate) before: Vec<Range<usize>>,
}

impl From<Range<usize>> for Span {
    /// A whole sequence.
    fn from(tokens: Range<usize>) -> Self {
        Self { tokens, before: Vec::new() }
    }
}

/// Sequences that lie end to end.
pub(crate) struct Layout {
    pub(crate) ids: Vec<i64>,
    rotary: Rotary,
    /// What tiles the tokens: sequences, and padding.
    pieces: Vec<(Span, Option<Vec<Block>>)>,
}

/// Rows of causal attention that are computed at once.
struct Block {
    rows: Range<usize>,
    /// `[1, 1, G·rows, L]`, with what comes before the span among the L.
    mask: Tensor<4>,
}

/// Ids of right-padded sequences, row by row. Padding is token 0: nothing looks at it.
pub(crate) fn padded(tokens: &[Vec<TokenId>], n_tokens: usize) -> Vec<i64> {
    let mut ids = Vec::with_capacity(tokens.len() * n_tokens);
    for sequence in tokens {
        ids.extend(sequence.iter().map(|&id| i64::from(id)));
        ids.extend(std::iter::repeat_n(0, n_tokens - sequence.len()));
    }
    ids
}
