//! Padded batches with a mask, as other systems have them, and losses over what the mask leaves.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde_json::Value;

/// Rows of numbers, padded to one length.
pub(crate) type Rows = Vec<Vec<f32>>;

/// A table of a fixture.
pub(crate) fn rows(value: &Value) -> Rows {
    serde_json::from_value(value.clone()).unwrap()
}

/// A fixture, read at compile time.
pub(crate) fn fixture(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The cases of a section by name.
pub(crate) fn cases(section: &Value) -> impl Iterator<Item = (&str, &Value)> {
    section["cases"].as_object().unwrap().iter().map(|(name, case)| (name.as_str(), case))
}

/// Where the mask is 1, in order.
pub(crate) fn pick(rows: &Rows, mask: &Rows) -> Vec<f32> {
    let pairs = rows.iter().flatten().zip(mask.iter().flatten());
    pairs.filter(|(_, mask)| **mask > 0.0).map(|(it, _)| *it).collect()
}

/// How many of each row the mask leaves.
pub(crate) fn lengths(mask: &Rows) -> Vec<usize> {
    mask.iter().map(|row| row.iter().filter(|it| **it > 0.0).count()).collect()
}

/// A leaf that gradients are taken of.
pub(crate) fn leaf<const D: usize>(numbers: &[f32], shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::from_data(TensorData::new(numbers.to_vec(), shape), &device).require_grad()
}

/// The one number of a loss.
pub(crate) fn number(loss: &Tensor<1>) -> f32 {
    loss.clone().inner().into_scalar::<f32>()
}

/// A loss of all numbers of `leaf`, and its gradient.
pub(crate) fn loss_and_gradient(
    numbers: &[f32],
    loss: impl FnOnce(Tensor<1>) -> Tensor<1>,
) -> (f32, Vec<f32>) {
    let leaf = leaf(numbers, [numbers.len()]);
    let loss = loss(leaf.clone());
    let mut gradients = loss.backward();
    let gradient = leaf.grad_remove(&mut gradients).expect("the loss depends on the leaf");
    (number(&loss), gradient.try_into_vec_as().unwrap())
}

/// A loss of what the mask leaves of padded rows, and its gradient by all of them.
pub(crate) fn masked_loss_and_gradient(
    rows: &Rows,
    mask: &Rows,
    loss: impl FnOnce(Tensor<1>) -> Tensor<1>,
) -> (f32, Vec<f32>) {
    let padded: Vec<f32> = rows.iter().flatten().copied().collect();
    let kept: Vec<i64> =
        (0..).zip(mask.iter().flatten()).filter(|it| *it.1 > 0.0).map(|it| it.0).collect();
    loss_and_gradient(&padded, |leaf| {
        let n = kept.len();
        let kept = Tensor::<1, Int>::from_data(TensorData::new(kept, [n]), &leaf.device());
        loss(leaf.select(0, kept))
    })
}

/// Panics where two lists of numbers differ by more than a tolerance.
pub(crate) fn assert_close<A, B>(what: &str, found: &[A], expected: &[B], tolerance: f64)
where
    A: Copy + Into<f64>,
    B: Copy + Into<f64>,
{
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let (found, expected) = ((*found).into(), (*expected).into());
        let far = (found - expected).abs();
        assert!(far <= tolerance, "{what}, at {at}: {found} is not {expected}");
    }
}
