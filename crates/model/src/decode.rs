//! Incremental forward pass of a [`Decoder`] over a KV cache: prefill and decoding on any device
//! but the CPU, which has `cpu`.
//!
//! Shape suffixes as in `decoder.rs`.

use burn::tensor::{IndexingUpdateOp, Int, Tensor};
use forage_trajectory::TokenId;

use crate::decoder::Decoder;
use crate::forward::padded;
use crate::kv_cache::BatchKvCache;
use crate::layer::{attention, merge_heads};

/// Rows of the padded batch that hold a token, and their rows in the cache.
struct CacheRows {
    /// `None` where no row is padding.
    sources: Option<Tensor<1, Int>>,
    targets: Tensor<1, Int>,
}

impl Decoder {
    /// Empty KV cache of `n_seqs` sequences.
    pub fn kv_cache(&self, n_seqs: usize) -> BatchKvCache {
        let width = self.config().num_key_value_heads * self.config().head_dim();
        let n_layers = self.config().num_hidden_layers;
        BatchKvCache::new(n_seqs, n_layers, width, self.compute_dtype())
    }

    /// Incremental forward pass: appends `tokens[b]` to the cached sequence `b`; a sequence may get
    /// none. Returns the logits after the last token of every sequence that got some,
    /// `[rows, V]`, in order.
    ///
    /// # Panics
    ///
    /// Panics if `tokens` has another number of sequences than the cache.
    pub fn forward_cached(&self, cache: &mut BatchKvCache, tokens: &[Vec<TokenId>]) -> Tensor<2> {
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
        let mask = self.causal_mask(&before, n_tokens, longest);
        let rows = self.cache_rows(cache, tokens, n_tokens);
        let mut hidden_nd = self.embed(&ids);
        for idx in 0..self.config().num_hidden_layers {
            let layer = self.layer(idx);
            let [query, key, value] = layer.heads(&hidden_nd, &rotary);
            let [key, value] = append(cache, idx, [key, value], &rows, longest);
            let mixed_bhte = attention(query, key, value, &mask, self.compute_dtype());
            hidden_nd = layer.finish(hidden_nd, merge_heads(mixed_bhte));
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

    /// Rows where new tokens stand in the padded batch, and where they go in the cache.
    fn cache_rows(
        &self,
        cache: &BatchKvCache,
        tokens: &[Vec<TokenId>],
        n_tokens: usize,
    ) -> CacheRows {
        let mut sources = Vec::new();
        let mut targets = Vec::new();
        for (seq, ids) in tokens.iter().enumerate() {
            let first = seq * cache.capacity + cache.lengths[seq];
            sources.extend((0..ids.len()).map(|t| (seq * n_tokens + t) as i64));
            targets.extend((0..ids.len()).map(|t| (first + t) as i64));
        }
        let is_full = sources.len() == tokens.len() * n_tokens;
        let sources = (!is_full).then(|| self.indices(sources));
        CacheRows { sources, targets: self.indices(targets) }
    }
}

/// Appends keys and values `[B, K, T, E]` to those of a layer in the cache. Returns the first
/// `longest` = L positions of all sequences, `[B, K, L, E]` each.
fn append(
    cache: &mut BatchKvCache,
    layer: usize,
    fresh: [Tensor<4>; 2],
    rows: &CacheRows,
    longest: usize,
) -> [Tensor<4>; 2] {
    let [n_seqs, kv_heads, n_tokens, width] = fresh[0].dims();
    let [stored_keys, stored_values] = cache.layers[layer].take().expect("a reserved layer");
    let [keys, values] = fresh;
    let update = |stored: Tensor<2>, fresh_bkte: Tensor<4>| {
        // [B, K, T, E] -> [B·T, K·E]
        let fresh = fresh_bkte.swap_dims(1, 2).reshape([n_seqs * n_tokens, kv_heads * width]);
        let fresh = match &rows.sources {
            Some(sources) => fresh.select(0, sources.clone()),
            None => fresh,
        };
        let fresh = fresh.cast(cache.number_type);
        stored.select_assign(0, rows.targets.clone(), fresh, IndexingUpdateOp::Assign)
    };
    let updated = [update(stored_keys, keys), update(stored_values, values)];
    let seen = updated.each_ref().map(|stored| {
        // [B·capacity, K·E] -> [B, K, L, E]
        stored
            .clone()
            .reshape([n_seqs, cache.capacity, kv_heads, width])
            .slice([0..n_seqs, 0..longest])
            .swap_dims(1, 2)
    });
    cache.layers[layer] = Some(updated);
    seen
}
