//! Whole sequences through a [`Decoder`], side by side or end to end, with causal attention in
//! blocks.
//!
//! Shape suffixes as in `decoder.rs`.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
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
        let blocks = self.causal_blocks(n_tokens);
        self.layers(&ids, &rotary, |heads| self.attend_causal(&heads, 0..n_tokens, &blocks))
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
        let layout = self.layout(tokens, spans);
        self.layers(&layout.ids, &layout.rotary, |heads| self.attend_packed(&heads, &layout))
    }

    /// Where sequences lie that are packed.
    pub(crate) fn layout(&self, tokens: &[TokenId], spans: &[Range<usize>]) -> Layout {
        let n_tokens = tokens.len();
        let mut positions = vec![0; n_tokens];
        // Sequences and the padding between them tile the tokens.
        let mut pieces = Vec::with_capacity(2 * spans.len() + 1);
        let mut end = 0;
        for span in spans {
            assert!(end <= span.start && span.start <= span.end && span.end <= n_tokens);
            for (position, at) in positions[span.clone()].iter_mut().zip(0..) {
                *position = at;
            }
            pieces.push((end..span.start, None));
            pieces.push((span.clone(), Some(self.causal_blocks(span.len()))));
            end = span.end;
        }
        pieces.push((end..n_tokens, None));
        pieces.retain(|it| !it.0.is_empty());
        let ids = tokens.iter().map(|&it| i64::from(it)).collect();
        Layout { ids, rotary: self.rotary(&positions, [1, n_tokens]), pieces }
    }

    fn attend_packed(&self, heads: &[Tensor<4>; 3], layout: &Layout) -> Tensor<4> {
        let [_, n_heads, _, width] = heads[0].dims();
        let mixed = layout.pieces.iter().map(|(piece, blocks)| match blocks {
            Some(blocks) => self.attend_causal(heads, piece.clone(), blocks),
            None => Tensor::zeros([1, n_heads, piece.len(), width], self.device()),
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

    /// All layers and the last norm: `[N, D]`. `attend` makes `[B, H, T, E]` of queries, keys and
    /// values.
    fn layers(
        &self,
        ids: &[i64],
        rotary: &Rotary,
        attend: impl Fn([Tensor<4>; 3]) -> Tensor<4>,
    ) -> Tensor<2> {
        let mut hidden_nd = self.embed(ids);
        for idx in 0..self.config().num_hidden_layers {
            let layer = self.layer(idx);
            let mixed_nd = merge_heads(attend(self.heads(&layer, &hidden_nd, rotary)));
            hidden_nd = self.finish_layer(&layer, hidden_nd, mixed_nd);
        }
        self.final_norm(hidden_nd)
    }

    /// Causal attention within a span of positions, block by block.
    fn attend_causal(
        &self,
        [query, key, value]: &[Tensor<4>; 3],
        span: Range<usize>,
        blocks: &[Block],
    ) -> Tensor<4> {
        let mixed = blocks.iter().map(|block| {
            let rows = span.start + block.rows.start..span.start + block.rows.end;
            let seen = span.start..rows.end;
            let query = query.clone().slice_dim(2, rows);
            let [key, value] = [key, value].map(|it| it.clone().slice_dim(2, seen.clone()));
            self.attend(query, key, value, &block.mask)
        });
        Tensor::cat(mixed.collect(), 2)
    }

    pub(crate) fn rotary(&self, positions: &[usize], shape: [usize; 2]) -> Rotary {
        Rotary::new(&self.config().rope, self.config().head_dim(), positions, shape, self.device())
    }

    /// Causal attention in blocks of rows, so that most of the masked half is never computed.
    fn causal_blocks(&self, n_tokens: usize) -> Vec<Block> {
        let n_blocks = n_tokens.div_ceil(BLOCK).max(1);
        let size = n_tokens.div_ceil(n_blocks).max(1);
        (0..n_tokens)
            .step_by(size)
            .map(|start| {
                let rows = start..(start + size).min(n_tokens);
                let mask = self.cached_mask(&[start], rows.len(), rows.end);
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

/// Sequences that lie end to end.
pub(crate) struct Layout {
    pub(crate) ids: Vec<i64>,
    rotary: Rotary,
    /// What tiles the tokens: sequences, and padding.
    pieces: Vec<(Range<usize>, Option<Vec<Block>>)>,
}

/// Rows of causal attention that are computed at once.
struct Block {
    rows: Range<usize>,
    /// `[1, 1, G·rows, rows.end]`.
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
