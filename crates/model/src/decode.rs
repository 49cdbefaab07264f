//! Going on with sequences whose past is cached in a device's memory: generation anywhere but on
//! the CPU, which has `host`.

use burn::tensor::{IndexingUpdateOp, Tensor};
use forage_trajectory::TokenId;

use crate::cache::Cache;
use crate::decoder::Decoder;
use crate::forward::padded;
use crate::layer::merge_heads;

impl Decoder {
    /// An empty cache for `n_seqs` sequences.
    pub fn cache(&self, n_seqs: usize) -> Cache {
        let width = self.config().num_key_value_heads * self.config().head_dim();
        Cache::new(n_seqs, self.config().num_hidden_layers, width, self.compute())
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
                let fresh = fresh.cast(cache.number_type);
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
}
