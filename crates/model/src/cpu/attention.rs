//! Causal grouped-query attention over the KV cache of one sequence, on the CPU.
//!
//! Nothing here depends on another sequence: numbers are added up in an order that the position
//! alone decides, so a sequence gives the same bits in every batch.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `with_simd` is compiled for the oldest processor"
)]

use pulp::{Arch, Simd, WithSimd};

use crate::simd::softmax;

/// Numbers of heads, and their width.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    /// Number of query heads (H).
    pub(crate) query: usize,
    /// Number of key and value heads (K).
    pub(crate) key: usize,
    /// Width of a head (E).
    pub(crate) width: usize,
}

impl Heads {
    /// Offset of the key and value of a query head in a position of the cache.
    #[inline(always)]
    fn offset(self, head: usize) -> usize {
        head / (self.query / self.key) * self.width
    }
}

/// Attention of the last T positions of a sequence over all L.
pub(crate) struct Attention<'a> {
    /// Numbers of heads, and their width.
    pub(crate) heads: Heads,
    /// Queries `[T, H·E]`.
    pub(crate) queries: &'a [f32],
    /// Keys `[L, K·E]`.
    pub(crate) keys: &'a [f32],
    /// Values `[L, K·E]`.
    pub(crate) values: &'a [f32],
    /// Output `[T, H·E]`.
    pub(crate) mixed: &'a mut [f32],
}

impl Attention<'_> {
    /// Computes the output.
    pub(crate) fn run(self) {
        self.run_on(Arch::new());
    }

    fn run_on(self, arch: Arch) {
        arch.dispatch(self);
    }
}

impl WithSimd for Attention<'_> {
    type Output = ();

    // What is inlined is compiled for the instructions of `S`.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // So many heads at once, of so many vectors each, stay in registers.
        match (S::F32_LANES, (self.heads.width / S::F32_LANES).is_multiple_of(4)) {
            (16, true) => self.in_tiles::<S, 4, 4>(simd),
            (16, false) => self.in_tiles::<S, 4, 1>(simd),
            (_, true) => self.in_tiles::<S, 2, 4>(simd),
            (_, false) => self.in_tiles::<S, 2, 1>(simd),
        }
    }
}

impl Attention<'_> {
    #[inline(always)]
    fn in_tiles<S: Simd, const H: usize, const V: usize>(self, simd: S) {
        let Self { heads, queries, keys, values, mixed } = self;
        let (row, stride) = (heads.query * heads.width, heads.key * heads.width);
        let n_positions = keys.len() / stride;
        let first = n_positions - queries.len() / row;
        let scale = 1.0 / (heads.width as f32).sqrt();
        let mut scaled = vec![0.0; row];
        let mut weights = vec![0.0; heads.query * n_positions];
        let rows = queries.chunks_exact(row).zip(mixed.chunks_exact_mut(row));
        for (at, (queries, mixed)) in rows.enumerate() {
            let n_seen = first + at + 1;
            let (keys, values) = (&keys[..n_seen * stride], &values[..n_seen * stride]);
            let weights = &mut weights[..heads.query * n_seen];
            for (scaled, query) in scaled.iter_mut().zip(queries) {
                *scaled = scale * query;
            }
            weights.fill(0.0);
            for tile in tiles::<S, H, V>(heads) {
                tile.score(simd, &scaled, keys, stride, weights);
            }
            score_rest(heads, S::F32_LANES, &scaled, keys, weights);
            for weights in weights.chunks_exact_mut(n_seen) {
                softmax(weights);
            }
            for tile in tiles::<S, H, V>(heads) {
                tile.mix(simd, weights, values, stride, mixed);
            }
            mix_rest(heads, S::F32_LANES, weights, values, mixed);
        }
    }
}

/// Tile of V SIMD vectors of H heads, for which all positions are gone through.
///
/// All heads that fit, for one position after the other: the cache is read as it lies.
struct Tile<const H: usize, const V: usize> {
    /// First head.
    head: usize,
    /// Number of heads, at most H. The last head is computed again for those beyond, and the result
    /// is dropped: loops of fixed length stay in registers.
    n_heads: usize,
    /// Offset of each head in a row of queries.
    rows: [usize; H],
    /// Offset of each head in a position of the cache.
    offsets: [usize; H],
}

/// Tiles of the part of the heads that fills whole vectors.
#[inline(always)]
fn tiles<S: Simd, const H: usize, const V: usize>(
    heads: Heads,
) -> impl Iterator<Item = Tile<H, V>> {
    let whole = heads.width / S::F32_LANES * S::F32_LANES;
    (0..whole).step_by(V * S::F32_LANES).flat_map(move |within| {
        (0..heads.query).step_by(H).map(move |head| {
            let each: [usize; H] = std::array::from_fn(|nth| (head + nth).min(heads.query - 1));
            Tile {
                head,
                n_heads: (heads.query - head).min(H),
                rows: each.map(|it| it * heads.width + within),
                offsets: each.map(|it| heads.offset(it) + within),
            }
        })
    })
}

impl<const H: usize, const V: usize> Tile<H, V> {
    #[inline(always)]
    fn vectors<S: Simd>(numbers: &[f32], from: usize) -> [S::f32s; V] {
        let vectors = S::as_simd_f32s(&numbers[from..][..V * S::F32_LANES]).0;
        std::array::from_fn(|it| vectors[it])
    }

    /// Adds products of queries and keys to the scores `[H, L]`.
    #[inline(always)]
    fn score<S: Simd>(
        &self,
        simd: S,
        queries: &[f32],
        keys: &[f32],
        stride: usize,
        scores: &mut [f32],
    ) {
        let n_seen = keys.len() / stride;
        let queries = self.rows.map(|from| Self::vectors::<S>(queries, from));
        let scores = &mut scores[self.head * n_seen..][..self.n_heads * n_seen];
        for (position, key) in keys.chunks_exact(stride).enumerate() {
            let products: [f32; H] = std::array::from_fn(|head| {
                let key = Self::vectors::<S>(key, self.offsets[head]);
                let mut sum = simd.mul_f32s(queries[head][0], key[0]);
                for it in 1..V {
                    sum = simd.mul_add_e_f32s(queries[head][it], key[it], sum);
                }
                simd.reduce_sum_f32s(sum)
            });
            for (scores, product) in scores.chunks_exact_mut(n_seen).zip(products) {
                scores[position] += product;
            }
        }
    }

    /// Sums of values, weighted by the attention weights `[H, L]`.
    #[inline(always)]
    fn mix<S: Simd>(
        &self,
        simd: S,
        weights: &[f32],
        values: &[f32],
        stride: usize,
        mixed: &mut [f32],
    ) {
        let n_seen = values.len() / stride;
        let heads: [usize; H] = std::array::from_fn(|nth| self.head + nth.min(self.n_heads - 1));
        let weights = heads.map(|head| &weights[head * n_seen..][..n_seen]);
        let mut sums = [[simd.splat_f32s(0.0); V]; H];
        for (position, value) in values.chunks_exact(stride).enumerate() {
            for head in 0..H {
                let weight = simd.splat_f32s(weights[head][position]);
                let value = Self::vectors::<S>(value, self.offsets[head]);
                for it in 0..V {
                    sums[head][it] = simd.mul_add_e_f32s(weight, value[it], sums[head][it]);
                }
            }
        }
        for (sums, from) in sums.iter().zip(self.rows).take(self.n_heads) {
            let mixed = &mut mixed[from..][..V * S::F32_LANES];
            S::as_mut_simd_f32s(mixed).0.copy_from_slice(sums);
        }
    }
}

/// Scores of the part of each head that does not fill a vector.
#[inline(always)]
fn score_rest(heads: Heads, lanes: usize, queries: &[f32], keys: &[f32], scores: &mut [f32]) {
    let n_seen = scores.len() / heads.query;
    let rest = heads.width / lanes * lanes..heads.width;
    let rows = queries.chunks_exact(heads.width).zip(scores.chunks_exact_mut(n_seen));
    for (head, (query, scores)) in rows.enumerate().filter(|_| !rest.is_empty()) {
        for (score, key) in scores.iter_mut().zip(keys.chunks_exact(heads.key * heads.width)) {
            let key = &key[heads.offset(head)..][..heads.width];
            let products = query[rest.clone()].iter().zip(&key[rest.clone()]);
            *score += products.map(|(query, key)| query * key).sum::<f32>();
        }
    }
}

/// Sums of values for the part of each head that does not fill a vector.
#[inline(always)]
fn mix_rest(heads: Heads, lanes: usize, weights: &[f32], values: &[f32], mixed: &mut [f32]) {
    let n_seen = weights.len() / heads.query;
    let rest = heads.width / lanes * lanes..heads.width;
    let rows = mixed.chunks_exact_mut(heads.width).zip(weights.chunks_exact(n_seen));
    for (head, (mixed, weights)) in rows.enumerate() {
        for at in rest.clone() {
            let values = values.chunks_exact(heads.key * heads.width);
            let values = values.map(|value| value[heads.offset(head) + at]);
            mixed[at] = weights.iter().zip(values).map(|(weight, value)| weight * value).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::tests::arches;

    fn numbers(n: usize, salt: f32) -> Vec<f32> {
        (0..n).map(|it| (it as f32 * salt).sin() * 2.0).collect()
    }

    #[test]
    fn attention_is_a_weighted_mean_and_knows_no_batch() {
        let shapes = [
            (Heads { query: 4, key: 2, width: 32 }, 33),
            (Heads { query: 5, key: 5, width: 64 }, 20),
            (Heads { query: 3, key: 3, width: 6 }, 17),
            (Heads { query: 2, key: 1, width: 20 }, 1),
        ];
        for (arch, (heads, n_positions)) in
            arches().into_iter().flat_map(|arch| shapes.map(|it| (arch, it)))
        {
            let (row, stride) = (heads.query * heads.width, heads.key * heads.width);
            let queries = numbers(n_positions * row, 0.37);
            let keys = numbers(n_positions * stride, 0.71);
            let values = numbers(n_positions * stride, 0.13);
            let mut mixed = vec![0.0; n_positions * row];
            let all = Attention {
                heads,
                queries: &queries,
                keys: &keys,
                values: &values,
                mixed: &mut mixed,
            };
            all.run_on(arch);
            for at in 0..n_positions {
                // One by one gives the same bits.
                let mut alone = vec![0.0; row];
                let last = Attention {
                    heads,
                    queries: &queries[at * row..][..row],
                    keys: &keys[..(at + 1) * stride],
                    values: &values[..(at + 1) * stride],
                    mixed: &mut alone,
                };
                last.run_on(arch);
                assert_eq!(alone, mixed[at * row..][..row]);
                for head in 0..heads.query {
                    let offset = head / (heads.query / heads.key) * heads.width;
                    let weight = |position: usize| -> f64 {
                        let score: f64 = (0..heads.width)
                            .map(|it| {
                                f64::from(queries[at * row + head * heads.width + it])
                                    * f64::from(keys[position * stride + offset + it])
                            })
                            .sum();
                        (score / (heads.width as f64).sqrt()).exp()
                    };
                    let sum: f64 = (0..=at).map(weight).sum();
                    for it in 0..heads.width {
                        let value = |at: usize| f64::from(values[at * stride + offset + it]);
                        let wanted: f64 = (0..=at).map(|it| weight(it) * value(it) / sum).sum();
                        let found = f64::from(alone[head * heads.width + it]);
                        assert!((found - wanted).abs() < 1e-5, "{arch:?}: {found} is not {wanted}");
                    }
                }
            }
        }
    }
}
