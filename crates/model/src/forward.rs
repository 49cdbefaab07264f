//! Forward pass of a [`Decoder`] over whole sequences, padded or packed, with causal attention in
//! blocks.
//!
//! Shape suffixes as in `decoder.rs`.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};
use forage_trajectory::TokenId;

use crate::decoder::Decoder;
use crate::layer::{attention, merge_heads};
use crate::rope::RotaryEmbedding;

/// Added to the scores of positions that must not be attended to.
const MASKED: f32 = -1e9;

/// Rows of a causal block, at most.
const BLOCK_ROWS: usize = 128;

/// Packed tokens that follow each other in a sequence.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    /// Rows of the tokens.
    pub(crate) tokens: Range<usize>,
    /// Prefix of the tokens in their sequence: rows of earlier spans, in order.
    pub(crate) prefix: Vec<Range<usize>>,
}

impl From<Range<usize>> for Span {
    /// A whole sequence.
    fn from(tokens: Range<usize>) -> Self {
        Self { tokens, prefix: Vec::new() }
    }
}

/// Packed sequences, prepared for a forward pass.
pub(crate) struct PackedLayout {
    /// Token ids, `[N]`.
    pub(crate) ids: Vec<i64>,
    rotary: RotaryEmbedding,
    /// Spans that tile the tokens, none of them empty.
    spans: Vec<(Span, Vec<Block>)>,
}

/// Rows of causal attention that are computed at once.
struct Block {
    rows: Range<usize>,
    /// `[1, 1, G·rows, L]`, with the prefix of the span among the L.
    mask: Tensor<4>,
}

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
        self.layers(&ids, &rotary, None, |heads| self.causal_attention(&heads, &span, &blocks))
    }

    /// Final hidden states of packed sequences, after the last norm: all rows `[N, D]`, or only
    /// some `[M, D]`, where no others are needed.
    pub(crate) fn forward_packed(
        &self,
        layout: &PackedLayout,
        rows: Option<&Tensor<1, Int>>,
    ) -> Tensor<2> {
        self.layers(&layout.ids, &layout.rotary, rows, |heads| {
            self.packed_attention(&heads, layout)
        })
    }

    /// Prepares packed sequences for a forward pass.
    ///
    /// # Panics
    ///
    /// Panics if the spans do not tile the tokens.
    pub(crate) fn packed_layout(&self, tokens: &[TokenId], spans: &[Span]) -> PackedLayout {
        let mut positions = Vec::with_capacity(tokens.len());
        let mut tiles = Vec::with_capacity(spans.len());
        for span in spans {
            assert_eq!(span.tokens.start, positions.len(), "spans tile the tokens");
            let n_before = span.prefix.iter().map(Range::len).sum();
            let n_tokens = span.tokens.len();
            positions.extend(n_before..n_before + n_tokens);
            if n_tokens > 0 {
                tiles.push((span.clone(), self.causal_blocks(n_before, n_tokens)));
            }
        }
        assert_eq!(positions.len(), tokens.len(), "spans tile the tokens");
        let ids = tokens.iter().map(|&it| i64::from(it)).collect();
        let rotary = self.rotary(&positions, [1, tokens.len()]);
        PackedLayout { ids, rotary, spans: tiles }
    }

    /// Attention within each packed sequence: `[1, H, N, E]`.
    fn packed_attention(&self, heads: &[Tensor<4>; 3], layout: &PackedLayout) -> Tensor<4> {
        let mixed = layout.spans.iter();
        let mixed = mixed.map(|(span, blocks)| self.causal_attention(heads, span, blocks));
        Tensor::cat(mixed.collect(), 2)
    }

    /// One layer over packed sequences: `[N, D]` to `[N, D]`.
    pub(crate) fn packed_layer(
        &self,
        idx: usize,
        hidden_nd: Tensor<2>,
        layout: &PackedLayout,
    ) -> Tensor<2> {
        let layer = self.layer(idx);
        let heads = layer.heads(&hidden_nd, &layout.rotary);
        let mixed_nd = merge_heads(self.packed_attention(&heads, layout));
        layer.finish(hidden_nd, mixed_nd)
    }

    /// All layers and the last norm: all rows `[N, D]`, or only some `[M, D]`. `attend` makes
    /// `[B, H, T, E]` of queries, keys and values.
    fn layers(
        &self,
        ids: &[i64],
        rotary: &RotaryEmbedding,
        rows: Option<&Tensor<1, Int>>,
        attend: impl Fn([Tensor<4>; 3]) -> Tensor<4>,
    ) -> Tensor<2> {
        let mut hidden_nd = self.embed(ids);
        for idx in 0..self.config().num_hidden_layers {
            let layer = self.layer(idx);
            let mut mixed_nd = merge_heads(attend(layer.heads(&hidden_nd, rotary)));
            if let Some(rows) = rows.filter(|_| idx + 1 == self.config().num_hidden_layers) {
                // Nothing looks at the other rows any more.
                [mixed_nd, hidden_nd] =
                    [mixed_nd, hidden_nd].map(|states_nd| states_nd.select(0, rows.clone()));
            }
            hidden_nd = layer.finish(hidden_nd, mixed_nd);
        }
        self.final_norm(hidden_nd)
    }

    /// Causal attention of a span over itself and its prefix, block by block: `[B, H, T, E]`.
    fn causal_attention(
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
            let [key, value] = [key, value].map(|all| {
                let own = all.clone().slice_dim(2, seen.clone());
                if span.prefix.is_empty() {
                    return own;
                }
                let prefix = span.prefix.iter().map(|rows| all.clone().slice_dim(2, rows.clone()));
                Tensor::cat(prefix.chain([own]).collect(), 2)
            });
            attention(query, key, value, &block.mask, self.compute_dtype())
        });
        Tensor::cat(mixed.collect(), 2)
    }

    /// Rotary tables of `B·T` positions, sequence by sequence; `shape` is `[B, T]`.
    pub(crate) fn rotary(&self, positions: &[usize], shape: [usize; 2]) -> RotaryEmbedding {
        let config = self.config();
        RotaryEmbedding::new(&config.rope, config.head_dim(), positions, shape, self.device())
    }

    /// Blocks of rows of causal attention after a prefix, so that most of the masked half is never
    /// computed.
    fn causal_blocks(&self, n_before: usize, n_tokens: usize) -> Vec<Block> {
        let n_blocks = n_tokens.div_ceil(BLOCK_ROWS).max(1);
        let size = n_tokens.div_ceil(n_blocks).max(1);
        (0..n_tokens)
            .step_by(size)
            .map(|start| {
                let rows = start..(start + size).min(n_tokens);
                let mask = self.causal_mask(&[n_before + start], rows.len(), n_before + rows.end);
                Block { rows, mask }
            })
            .collect()
    }

    /// Causal mask `[B, 1, G·T, L]`: a new token of sequence `b` sees the `before[b]` positions
    /// before it and itself, of `longest` = L in all.
    pub(crate) fn causal_mask(
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

/// Token ids of right-padded sequences, row by row: `[B·T]`. Padding is token 0, which no position
/// sees.
pub(crate) fn padded(tokens: &[Vec<TokenId>], n_tokens: usize) -> Vec<i64> {
    let mut ids = Vec::with_capacity(tokens.len() * n_tokens);
    for sequence in tokens {
        ids.extend(sequence.iter().map(|&id| i64::from(id)));
        ids.extend(std::iter::repeat_n(0, n_tokens - sequence.len()));
    }
    ids
}
