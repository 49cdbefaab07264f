//! Exact maximum inner product search: the k rows with the greatest dot products.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use crate::maxscore::{ScoredDoc, TopK};

/// Rows of a parallel task.
const ROWS_A_TASK: usize = 4096;
/// Rows that are widened to `f32` at once, for all queries: as many as stay in the first-level
/// cache.
const ROWS_A_BLOCK: usize = 16;
/// Partial sums of a dot product, which vector instructions compute.
const LANES: usize = 16;

/// Top-k rows for each query, best first, ties to the earlier row. `rows` is `n × dimension`.
pub(super) fn top_k(
    rows: &[f16],
    dimension: usize,
    queries: &[Vec<f32>],
    k: usize,
) -> Vec<Vec<ScoredDoc>> {
    let of_task = |(task, rows): (usize, &[f16])| {
        let mut best: Vec<TopK> = queries.iter().map(|_| TopK::new(k)).collect();
        let mut wide = vec![0.0_f32; ROWS_A_BLOCK * dimension];
        for (block, rows) in rows.chunks(ROWS_A_BLOCK * dimension).enumerate() {
            let wide = &mut wide[..rows.len()];
            rows.convert_to_f32_slice(wide);
            let first = task * ROWS_A_TASK + block * ROWS_A_BLOCK;
            for (query, best) in queries.iter().zip(&mut best) {
                for (idx, row) in wide.chunks_exact(dimension).enumerate() {
                    best.offer(ScoredDoc { doc: (first + idx) as u32, score: dot(query, row) });
                }
            }
        }
        best.into_iter().map(TopK::into_sorted).collect::<Vec<_>>()
    };
    if k == 0 {
        return vec![Vec::new(); queries.len()];
    }
    let tasks: Vec<Vec<Vec<ScoredDoc>>> =
        rows.par_chunks(ROWS_A_TASK * dimension).enumerate().map(of_task).collect();
    let merged = |idx: usize| {
        let mut best = TopK::new(k);
        for ranked in tasks.iter().flat_map(|it| &it[idx]) {
            best.offer(*ranked);
        }
        best.into_sorted()
    };
    (0..queries.len()).map(merged).collect()
}

/// Dot product, summed in one order on every machine.
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (lefts, rights) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: f32 = lefts.remainder().iter().zip(rights.remainder()).map(|(l, r)| l * r).sum();
    for (left, right) in lefts.zip(rights) {
        for (sum, (l, r)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum += l * r;
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use forage_trajectory::{Purpose, Stream};
    use rand::RngExt;

    use super::*;

    #[test]
    fn as_an_exhaustive_sort() {
        let mut rng = Stream::new(1, Purpose::World).rng();
        for (n_rows, dimension, k) in
            [(1, 1, 1), (15, 3, 20), (9000, 5, 10), (5000, 37, 3), (300, 64, 7)]
        {
            // Few values, so that there are ties.
            let mut number = || f32::from(rng.random_range(-3_i8..4)) / 4.0;
            let rows: Vec<f16> = (0..n_rows * dimension).map(|_| f16::from_f32(number())).collect();
            let queries: Vec<Vec<f32>> =
                (0..4).map(|_| (0..dimension).map(|_| number()).collect()).collect();
            for (query, found) in queries.iter().zip(top_k(&rows, dimension, &queries, k)) {
                let mut all: Vec<ScoredDoc> = rows
                    .chunks(dimension)
                    .enumerate()
                    .map(|(doc, row)| {
                        let row: Vec<f32> = row.iter().map(|it| it.to_f32()).collect();
                        ScoredDoc { doc: doc as u32, score: dot(query, &row) }
                    })
                    .collect();
                all.sort_by(|left, right| right.cmp(left));
                all.truncate(k);
                assert_eq!(found, all);
            }
        }
        assert_eq!(top_k(&[], 4, &[vec![0.0; 4]], 3), [Vec::new()]);
    }
}
