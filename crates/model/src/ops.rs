//! Tensor operations that all parts of a model share: matrix products in a compute dtype, and
//! reading numbers back.
//!
//! Shape suffixes as in `decoder.rs`.

use burn::tensor::{FloatDType, Tensor};

/// Matrix product in mixed precision: the factors are rounded to `compute`, the product is f32.
pub(crate) fn matmul<const D: usize>(
    left: Tensor<D>,
    right: Tensor<D>,
    compute: FloatDType,
) -> Tensor<D> {
    left.cast(compute).matmul(right.cast(compute)).cast(FloatDType::F32)
}

/// Linear layer without a bias: `[N, in]` by a weight `[out, in]` gives `[N, out]`.
pub(crate) fn linear(input: Tensor<2>, weight: &Tensor<2>, compute: FloatDType) -> Tensor<2> {
    matmul(input, weight.clone().cast(compute).transpose(), compute)
}

/// Numbers of a tensor, row by row, read back from its device.
pub fn numbers(tensor: &Tensor<2>) -> Vec<f32> {
    tensor.clone().into_data().try_into_vec_as().expect("f32 tensors read back as f32")
}
