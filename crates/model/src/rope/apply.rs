//! Rotation of queries and keys by their positions.
//!
//! Shape suffixes as in `decoder.rs`.

use burn::tensor::{Device, Tensor, TensorData};

use super::config::Rope;

/// Cosines and sines of the positions of a batch, `[B, T, 1, E/2]` each.
pub(crate) struct RotaryEmbedding {
    cos: Tensor<4>,
    sin: Tensor<4>,
    /// `[B, T]`.
    pub(crate) shape: [usize; 2],
}

impl RotaryEmbedding {
    /// Computes the tables of `B·T` positions, sequence by sequence; `shape` is `[B, T]`.
    pub(crate) fn new(
        rope: &Rope,
        head_dim: usize,
        positions: &[usize],
        shape: [usize; 2],
        device: &Device,
    ) -> Self {
        let (frequencies, scale) = rope.frequencies(head_dim);
        let table = |f: fn(f64) -> f64| {
            let numbers: Vec<f32> = positions
                .iter()
                .flat_map(|&at| {
                    frequencies.iter().map(move |freq| (scale * f(at as f64 * freq)) as f32)
                })
                .collect();
            let shape = [shape[0], shape[1], 1, frequencies.len()];
            Tensor::<4>::from_data(TensorData::new(numbers, shape), device)
        };
        Self { cos: table(f64::cos), sin: table(f64::sin), shape }
    }

    /// Rotates `[B, T, heads, E]`. As in transformers, the first half of a head holds the real
    /// parts of its pairs, the second half the imaginary ones.
    pub(crate) fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let [n_seqs, n_tokens, heads, width] = x.dims();
        let half = width / 2;
        let real = x.clone().slice([0..n_seqs, 0..n_tokens, 0..heads, 0..half]);
        let imaginary = x.slice([0..n_seqs, 0..n_tokens, 0..heads, half..width]);
        let turned_real = real.clone() * self.cos.clone() - imaginary.clone() * self.sin.clone();
        let turned_imaginary = imaginary * self.cos.clone() + real * self.sin.clone();
        Tensor::cat(vec![turned_real, turned_imaginary], 3)
    }
}
