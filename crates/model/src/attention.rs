//! Causal attention over the keys and values of one sequence, on the CPU.
//!
//! Nothing here depends on another sequence: numbers are added up in an order that the position
//! alone decides, so a sequence gives the same bits in every batch. The loops are plain, and
//! compiled for the widest vectors that the processor turns out to have.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `with_simd` is compiled for the oldest processor"
)]

use pulp::{Arch, Simd, WithSimd};

/// Numbers that are added up side by side: a vector of the widest processors.
const LANES: usize = 16;

/// So many of them are kept in registers.
const BLOCKS: usize = 8;

/// How many heads there are, and how wide they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    /// Query heads (H).
    pub(crate) query: usize,
    /// Key and value heads (K).
    pub(crate) key: usize,
    /// Head width (E).
    pub(crate) width: usize,
}

impl Heads {
    /// Where in a position of the cache the key and value of a query head are.
    #[inline(always)]
    fn offset(self, head: usize) -> usize {
        head / (self.query / self.key) * self.width
    }
}

/// Some positions of a sequence that attend to themselves and to all before them.
pub(crate) struct Attention<'a> {
    /// The shape.
    pub(crate) heads: Heads,
    /// `[T, H·E]`, of the last T positions.
    pub(crate) queries: &'a [f32],
    /// `[L, K·E]`.
    pub(crate) keys: &'a [f32],
    /// `[L, K·E]`.
    pub(crate) values: &'a [f32],
    /// `[T, H·E]`.
    pub(crate) mixed: &'a mut [f32],
}

impl Attention<'_> {
    /// Fills `mixed`.
    pub(crate) fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl WithSimd for Attention<'_> {
    type Output = ();

    // What is inlined is compiled for the instructions of `S`.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { heads, queries, keys, values, mixed } = self;
        let (row, stride) = (heads.query * heads.width, heads.key * heads.width);
        let n_positions = keys.len() / stride;
        let first = n_positions - queries.len() / row;
        let scale = 1.0 / (heads.width as f32).sqrt();
        let mut shares = vec![0.0; heads.query * n_positions];
        let rows = queries.chunks_exact(row).zip(mixed.chunks_exact_mut(row));
        for (at, (queries, mixed)) in rows.enumerate() {
            let n_seen = first + at + 1;
            // All heads of a position, then the next position: the cache is read as it lies.
            for (position, key) in keys.chunks_exact(stride).take(n_seen).enumerate() {
                for (head, query) in queries.chunks_exact(heads.width).enumerate() {
                    let key = &key[heads.offset(head)..][..heads.width];
                    shares[head * n_positions + position] = scale * dot(query, key);
                }
            }
            for shares in shares.chunks_exact_mut(n_positions) {
                softmax(&mut shares[..n_seen]);
            }
            mix(heads, &shares, &values[..n_seen * stride], n_positions, mixed);
        }
    }
}

#[inline(always)]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (mut left, mut right) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    for (left, right) in left.by_ref().zip(right.by_ref()) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let rest = left.remainder().iter().zip(right.remainder());
    total(sums) + rest.map(|(left, right)| left * right).sum::<f32>()
}

#[inline(always)]
fn softmax(scores: &mut [f32]) {
    let mut most = [f32::NEG_INFINITY; LANES];
    let chunks = scores.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied();
    let mut max = rest.fold(f32::NEG_INFINITY, |max, it| if it > max { it } else { max });
    for chunk in chunks {
        for lane in 0..LANES {
            most[lane] = if chunk[lane] > most[lane] { chunk[lane] } else { most[lane] };
        }
    }
    for it in most {
        max = if it > max { it } else { max };
    }
    let mut sums = [0.0; LANES];
    let mut chunks = scores.chunks_exact_mut(LANES);
    for chunk in chunks.by_ref() {
        for lane in 0..LANES {
            chunk[lane] = exp(chunk[lane] - max);
            sums[lane] += chunk[lane];
        }
    }
    let mut sum = total(sums);
    for it in chunks.into_remainder() {
        *it = exp(*it - max);
        sum += *it;
    }
    let scale = 1.0 / sum;
    for it in scores {
        *it *= scale;
    }
}

/// The sums of values, weighted, of all heads; `shares` has `n_positions` numbers a head.
#[inline(always)]
fn mix(heads: Heads, shares: &[f32], values: &[f32], n_positions: usize, mixed: &mut [f32]) {
    let stride = heads.key * heads.width;
    let n_blocks = heads.width / LANES;
    let mut at = 0;
    let n_all = heads.query * n_blocks;
    while at < n_all {
        // What is left over is computed again, into nothing: a loop of fixed length stays in
        // registers.
        let mut places = [(0, 0); BLOCKS];
        for (idx, place) in places.iter_mut().enumerate() {
            let block = (at + idx).min(n_all - 1);
            let (head, within) = (block / n_blocks, block % n_blocks * LANES);
            *place = (head * n_positions, heads.offset(head) + within);
        }
        let mut sums = [[0.0; LANES]; BLOCKS];
        for (position, value) in values.chunks_exact(stride).enumerate() {
            for (sums, (shares_at, offset)) in sums.iter_mut().zip(places) {
                let share = shares[shares_at + position];
                let value = &value[offset..][..LANES];
                for lane in 0..LANES {
                    sums[lane] += share * value[lane];
                }
            }
        }
        for (idx, sums) in sums.iter().enumerate().take(n_all - at) {
            let (head, within) = ((at + idx) / n_blocks, (at + idx) % n_blocks * LANES);
            mixed[head * heads.width + within..][..LANES].copy_from_slice(sums);
        }
        at += BLOCKS;
    }
    for (head, mixed) in mixed.chunks_exact_mut(heads.width).enumerate() {
        let rest = n_blocks * LANES..heads.width;
        for (it, offset) in mixed[rest.clone()].iter_mut().zip(rest) {
            let values = values.chunks_exact(stride).map(|it| it[heads.offset(head) + offset]);
            let shares = &shares[head * n_positions..];
            *it = shares.iter().zip(values).map(|(share, value)| share * value).sum();
        }
    }
}

/// The sum of lanes, by halves.
#[inline(always)]
fn total(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

/// e^x of a number that is not above 0, to 2 units in the last place.
///
/// The polynomial of Cephes' `expf`, without a branch, so that it is computed in vectors. What
/// std calls is a scalar function that takes longer than everything else in a softmax.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it leaves a whole number in the low bits of the fraction.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2, in a part that is exact in few bits and the rest.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    // Below, the result is not a normal number any more: take it for 0's neighbour. NaN stays.
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let rest = x - n * LN_2[0] - n * LN_2[1];
    let mut sum = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        sum = sum * rest + coefficient;
    }
    let mantissa = sum * rest * rest + rest + 1.0;
    // The bits of `shifted` count up by one with each whole number.
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    mantissa * f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_one() {
        for step in 0..87_000 {
            let x = step as f32 * -1e-3;
            let wanted = f64::from(x).exp();
            let relative = (f64::from(exp(x)) - wanted).abs() / wanted;
            assert!(relative < 2.5e-7, "exp({x}) is off by {relative}");
        }
        assert!(
            exp(0.0).to_bits() == 1_f32.to_bits()
                && exp(f32::NEG_INFINITY) < 1e-37
                && exp(f32::NAN).is_nan()
        );
    }

    fn numbers(n: usize, salt: f32) -> Vec<f32> {
        (0..n).map(|it| (it as f32 * salt).sin() * 2.0).collect()
    }

    #[test]
    fn attention_is_a_weighted_mean_and_knows_no_batch() {
        for (heads, n_positions) in [
            (Heads { query: 4, key: 2, width: 32 }, 33),
            (Heads { query: 3, key: 3, width: 6 }, 17),
            (Heads { query: 2, key: 1, width: 20 }, 1),
        ] {
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
            all.run();
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
                last.run();
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
                        assert!((found - wanted).abs() < 1e-5, "{found} is not {wanted}");
                    }
                }
            }
        }
    }
}
