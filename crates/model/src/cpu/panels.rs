//! Batch-invariant matrix products on the CPU, with a weight packed into panels.
//!
//! Every number of a product is one sum, added up input by input, whatever the number of rows: on
//! one processor, a row gives the same bits alone and among others.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `with_simd` is compiled for the oldest processor"
)]

use pulp::{Arch, Simd, WithSimd};

/// Number of outputs of a panel.
const WIDTH: usize = 64;

/// Rows that are multiplied at once, at most: their sums, of a vector or more each, have to stay in
/// registers.
const ROWS: usize = 6;

/// Weights of one input in a panel; aligned, so that a vector is in one line of the cache.
#[derive(Debug, Clone)]
#[repr(align(64))]
struct Column([f32; WIDTH]);

/// Packed matrix `[out, in]`: panels of [`WIDTH`] outputs, the last one padded with zeros. The
/// numbers of a panel lie in the order in which a product reads them.
#[derive(Debug, Clone)]
pub(crate) struct Panels {
    n_inputs: usize,
    n_outputs: usize,
    /// Panel by panel, input by input.
    columns: Vec<Column>,
}

impl Panels {
    /// Packs a matrix, given row by row.
    pub(crate) fn new(numbers: &[f32], [n_outputs, n_inputs]: [usize; 2]) -> Self {
        let n_panels = n_outputs.div_ceil(WIDTH);
        let mut columns = vec![Column([0.0; WIDTH]); n_panels * n_inputs];
        for (panel, rows) in
            columns.chunks_exact_mut(n_inputs).zip(numbers.chunks(WIDTH * n_inputs))
        {
            for (at, row) in rows.chunks_exact(n_inputs).enumerate() {
                for (column, number) in panel.iter_mut().zip(row) {
                    column.0[at] = *number;
                }
            }
        }
        Self { n_inputs, n_outputs, columns }
    }

    /// Matrix product of rows `[M, in]` with the transposed matrix: `[M, out]`.
    pub(crate) fn multiply(&self, rows: &[f32]) -> Vec<f32> {
        self.multiply_on(Arch::new(), rows)
    }

    fn multiply_on(&self, arch: Arch, rows: &[f32]) -> Vec<f32> {
        let n_rows = rows.len() / self.n_inputs;
        let mut products = vec![0.0; n_rows * self.n_outputs];
        // As few blocks as can be, of about the same size.
        let n_blocks = n_rows.div_ceil(ROWS).max(1);
        let (size, larger) = (n_rows / n_blocks, n_rows % n_blocks);
        let mut blocks = Vec::with_capacity(n_blocks);
        let mut inputs = Vec::with_capacity(rows.len());
        let mut first = 0;
        for at in 0..n_blocks {
            let block = first..first + size + usize::from(at < larger);
            first = block.end;
            // Input by input: the numbers that are multiplied with one column lie together.
            for input in 0..self.n_inputs {
                inputs.extend(block.clone().map(|row| rows[row * self.n_inputs + input]));
            }
            blocks.push(block);
        }
        for (panel, columns) in self.columns.chunks_exact(self.n_inputs).enumerate() {
            for block in &blocks {
                let inputs = &inputs[block.start * self.n_inputs..block.end * self.n_inputs];
                let rows = &mut products[block.start * self.n_outputs..block.end * self.n_outputs];
                let (n_outputs, first) = (self.n_outputs, panel * WIDTH);
                arch.dispatch(Product { columns, inputs, rows, n_outputs, first });
            }
        }
        products
    }
}

/// Product of a panel and a block of R rows.
struct Product<'a> {
    columns: &'a [Column],
    /// `[in, R]`.
    inputs: &'a [f32],
    /// `[R, out]`.
    rows: &'a mut [f32],
    n_outputs: usize,
    /// First output of the panel.
    first: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.rows.len() / self.n_outputs {
            1 => self.of_rows::<S, 1>(simd),
            2 => self.of_rows::<S, 2>(simd),
            3 => self.of_rows::<S, 3>(simd),
            4 => self.of_rows::<S, 4>(simd),
            5 => self.of_rows::<S, 5>(simd),
            ROWS => self.of_rows::<S, ROWS>(simd),
            n => assert_eq!(n, 0, "a block has at most {ROWS} rows"),
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn of_rows<S: Simd, const R: usize>(self, simd: S) {
        // So many vectors of sums a row as registers hold: those of AVX-512 are twice as many.
        if S::F32_LANES == 16 {
            self.of_vectors::<S, R, 4>(simd);
        } else {
            self.of_vectors::<S, R, 2>(simd);
        }
    }

    #[inline(always)]
    fn of_vectors<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let Self { columns, inputs, rows, n_outputs, first } = self;
        let step = V * S::F32_LANES;
        let n_here = (n_outputs - first).min(WIDTH);
        for at in (0..n_here).step_by(step) {
            let mut sums = [[simd.splat_f32s(0.0); V]; R];
            for (column, inputs) in columns.iter().zip(inputs.as_chunks::<R>().0) {
                let vectors = S::as_simd_f32s(&column.0[at..][..step]).0;
                let mut weights = [simd.splat_f32s(0.0); V];
                weights.copy_from_slice(vectors);
                for (sums, input) in sums.iter_mut().zip(inputs) {
                    let input = simd.splat_f32s(*input);
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.mul_add_e_f32s(input, weight, *sum);
                    }
                }
            }
            for (row, sums) in rows.chunks_exact_mut(n_outputs).zip(sums) {
                let mut numbers = [0.0; WIDTH];
                S::as_mut_simd_f32s(&mut numbers[..step]).0.copy_from_slice(&sums);
                let there = &mut row[first + at..(first + n_here).min(first + at + step)];
                there.copy_from_slice(&numbers[..there.len()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::tests::arches;

    fn numbers(n: usize, salt: f32) -> Vec<f32> {
        (0..n).map(|it| (it as f32 * salt).sin()).collect()
    }

    #[test]
    fn products_are_right_and_know_no_other_row() {
        for arch in arches() {
            for shape in [[1, 1], [5, 3], [64, 16], [65, 40], [200, 7]] {
                let [n_outputs, n_inputs] = shape;
                let weights = numbers(n_outputs * n_inputs, 0.37);
                let panels = Panels::new(&weights, shape);
                let rows = numbers(40 * n_inputs, 0.71);
                let all = panels.multiply_on(arch, &rows);
                for (row, found) in rows.chunks_exact(n_inputs).zip(all.chunks_exact(n_outputs)) {
                    for (found, weights) in found.iter().zip(weights.chunks_exact(n_inputs)) {
                        let products = row.iter().zip(weights);
                        let wanted: f64 =
                            products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                        let off = (f64::from(*found) - wanted).abs();
                        assert!(off < 1e-5, "{arch:?}, {shape:?}: {found} is not {wanted}");
                    }
                }
                for n_rows in 0..40 {
                    let some = panels.multiply_on(arch, &rows[..n_rows * n_inputs]);
                    assert_eq!(some, all[..n_rows * n_outputs], "{shape:?}, {n_rows} rows");
                    let last = panels.multiply_on(arch, &rows[n_rows * n_inputs..]);
                    assert_eq!(last, all[n_rows * n_outputs..], "{shape:?} without {n_rows} rows");
                }
            }
        }
    }
}
