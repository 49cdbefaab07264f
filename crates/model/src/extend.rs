//! Going on with sequences whose past is cached: what generation calls.
//!
//! On the CPU each sequence has a [`HostCache`], and [`Decoder::extend_each`] computes its
//! attention by itself: what it gives does not depend on what else is in the batch, to the bit. On
//! other devices sequences are rows of one [`Cache`], and [`Decoder::extend`] attends to all of
//! them at once.

use burn::tensor::{IndexingUpdateOp, Tensor, TensorData};
use forage_trajectory::TokenId;

use crate::attention::{Attention, Heads};
use crate::cache::{Cache, HostCache};
use crate::decoder::Decoder;
use crate::forward::padded;
use crate::layer::merge_heads;

/// Rows of a product, at least.
const ROWS: usize = 8;

/// The library behind burn's CPU backend (gemm 0.19) sums products that come to so many numbers or
/// fewer in another order than larger ones, so that a row would depend on how many others there are.
const SMALL_PRODUCT: usize = 16 * 16;

impl Decoder {
    /// An empty cache for `n_seqs` sequences.
    pub fn cache(&self, n_seqs: usize) -> Cache {
        let width = self.config().num_key_value_heads * self.config().head_dim();
        Cache::new(n_seqs, self.config().num_hidden_layers, width)
    }

    /// Appends `tokens[b]` to the cached sequence `b`; a sequence may get none. Returns the logits
    /// after the last token of every sequence that got some: `[rows, V]`, in order.
    pub fn extend(&self, cache: &mut Cache, tokens: &[Vec<TokenId>]) -> Tensor<2> {
        let n_seqs = tokens.len();
        assert_eq!(n_seqs, cache.lengths.len());
        let n_tokens = tokens.iter().map(Vec::len).max().unwrap_or(0);
        let before = cache.lengths.clone();
        let after: Vec<usize> = before.iter().zip(tokens).map(|(len, it)| len + it.len()).collect();
        let longest = after.iter().copied().max().unwrap_or(0);
        cache.reserve(longest, self.device());

        let ids = padded(tokens, n_tokens);
        let last = self.config().max_position_embeddings - 1;
        let positions: Vec<usize> = before
            .iter()
            .flat_map(|&len| (0..n_tokens).map(move |t| (len + t).min(last)))
            .collect();
        let rotary = self.rotary(&positions, [n_seqs, n_tokens]);
        let mask = self.cached_mask(&before, n_tokens, longest);
        // Of the padded rows, those that hold a token, and where in the cache they go.
        let mut sources = Vec::new();
        let mut targets = Vec::new();
        for (seq, ids) in tokens.iter().enumerate() {
            sources.extend((0..ids.len()).map(|t| (seq * n_tokens + t) as i64));
            targets.extend((0..ids.len()).map(|t| (seq * cache.capacity + before[seq] + t) as i64));
        }
        let full = sources.len() == n_seqs * n_tokens;
        let sources = self.indices(sources);
        let targets = self.indices(targets);

        let mut hidden_nd = self.embed(&ids);
        let (kv_heads, width) = (self.config().num_key_value_heads, self.config().head_dim());
        for idx in 0..self.config().num_hidden_layers {
            let layer = self.layer(idx);
            let [query, key, value] = self.heads(&layer, &hidden_nd, &rotary);
            let stored = cache.layers[idx].take().expect("a reserved layer");
            let updated = stored.into_iter().zip([key, value]).map(|(stored, fresh_bkte)| {
                let fresh =
                    fresh_bkte.swap_dims(1, 2).reshape([n_seqs * n_tokens, kv_heads * width]);
                let fresh = if full { fresh } else { fresh.select(0, sources.clone()) };
                stored.select_assign(0, targets.clone(), fresh, IndexingUpdateOp::Assign)
            });
            let updated: Vec<Tensor<2>> = updated.collect();
            let [key, value] = [&updated[0], &updated[1]].map(|stored| {
                stored
                    .clone()
                    .reshape([n_seqs, cache.capacity, kv_heads, width])
                    .slice([0..n_seqs, 0..longest])
                    .swap_dims(1, 2)
            });
            let mixed_nd = merge_heads(self.attend(query, key, value, &mask));
            let [key, value] = <[Tensor<2>; 2]>::try_from(updated).expect("keys and values");
            cache.layers[idx] = Some([key, value]);
            hidden_nd = self.finish_layer(&layer, hidden_nd, mixed_nd);
        }
        cache.lengths = after;

        let ends: Vec<i64> = tokens
            .iter()
            .enumerate()
            .filter(|(_, it)| !it.is_empty())
            .map(|(seq, it)| (seq * n_tokens + it.len() - 1) as i64)
            .collect();
        let ends = self.indices(ends);
        self.logits(self.final_norm(hidden_nd.select(0, ends)))
    }

    /// Appends tokens, at least one each, to cached sequences. Returns the logits after the last
    /// token of each, `[n, V]`, row by row.
    pub(crate) fn extend_each(&self, feeds: &mut [(&mut HostCache, &[TokenId])]) -> Vec<f32> {
        let config = self.config();
        let heads = Heads {
            query: config.num_attention_heads,
            key: config.num_key_value_heads,
            width: config.head_dim(),
        };
        let (row, stride) = (heads.query * heads.width, heads.key * heads.width);
        let mut ids: Vec<i64> = Vec::new();
        let mut positions = Vec::new();
        let mut ends = Vec::with_capacity(feeds.len());
        for (cache, tokens) in &*feeds {
            let first = cache.n_positions(stride);
            ids.extend(tokens.iter().map(|&it| i64::from(it)));
            positions.extend(first..first + tokens.len());
            ends.push(ids.len() - 1);
        }
        let least = self.least_rows();
        let n_rows = ids.len().max(least);
        ids.resize(n_rows, 0);
        positions.resize(n_rows, 0);
        ends.resize(ends.len().max(least), 0);
        let ends = self.indices(ends.into_iter().map(|it| it as i64).collect());

        let rotary = self.rotary(&positions, [1, n_rows]);
        let mut hidden_nd = self.embed(&ids);
        for idx in 0..config.num_hidden_layers {
            let layer = self.layer(idx);
            let [queries, keys, values] = self
                .heads(&layer, &hidden_nd, &rotary)
                // [1, heads, N, E] -> [N, heads·E]
                .map(|it| host(merge_heads(it)));
            let mut mixed = vec![0.0; n_rows * row];
            let mut at = 0;
            for (cache, tokens) in &mut *feeds {
                let rows = at..at + tokens.len();
                at = rows.end;
                let fresh = rows.start * stride..rows.end * stride;
                let [cached_keys, cached_values] = &mut cache.layers[idx];
                cached_keys.extend_from_slice(&keys[fresh.clone()]);
                cached_values.extend_from_slice(&values[fresh]);
                let rows = rows.start * row..rows.end * row;
                let attention = Attention {
                    heads,
                    queries: &queries[rows.clone()],
                    keys: cached_keys,
                    values: cached_values,
                    mixed: &mut mixed[rows],
                };
                attention.run();
            }
            let mixed = TensorData::new(mixed, [n_rows, row]);
            let mut mixed_nd = Tensor::<2>::from_data(mixed, self.device());
            if idx + 1 == config.num_hidden_layers {
                // Nothing looks at the other rows any more.
                mixed_nd = mixed_nd.select(0, ends.clone());
                hidden_nd = hidden_nd.select(0, ends.clone());
            }
            hidden_nd = self.finish_layer(&layer, hidden_nd, mixed_nd);
        }
        let mut logits = host(self.logits(self.final_norm(hidden_nd)));
        logits.truncate(feeds.len() * config.vocab_size);
        logits
    }

    /// [`least_rows`] of these weights.
    fn least_rows(&self) -> usize {
        let config = self.config();
        let widths = [
            config.num_attention_heads * config.head_dim(),
            config.num_key_value_heads * config.head_dim(),
            config.hidden_size,
            config.intermediate_size,
            config.vocab_size,
        ];
        let rank = self.adapters().map(|it| it.config.rank);
        least_rows(widths.into_iter().chain(rank).min().unwrap_or(1))
    }
}

/// So many rows that no product of them with weights is a [`SMALL_PRODUCT`]; `narrowest` is the
/// least width of a weight.
pub(crate) fn least_rows(narrowest: usize) -> usize {
    ROWS.max(SMALL_PRODUCT / narrowest + 1)
}

/// The numbers of a tensor, row by row.
pub(crate) fn host(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec_as().expect("f32 tensors read back as f32")
}
