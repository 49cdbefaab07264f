//! SIMD kernels: loops over numbers that the compiler vectorizes wherever they are inlined into
//! code for a processor with such instructions.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into `dispatch` is compiled for the oldest processor"
)]

use pulp::Simd;

/// Number of partial sums: the width of a vector of the widest processors.
const LANES: usize = 16;

/// Dot product.
#[inline(always)]
pub(crate) fn dot<S: Simd>(simd: S, left: &[f32], right: &[f32]) -> f32 {
    let ((left, left_rest), (right, right_rest)) = (S::as_simd_f32s(left), S::as_simd_f32s(right));
    let mut sums = simd.splat_f32s(0.0);
    for (left, right) in left.iter().zip(right) {
        sums = simd.mul_add_e_f32s(*left, *right, sums);
    }
    let rest = left_rest.iter().zip(right_rest);
    simd.reduce_sum_f32s(sums) + rest.map(|(left, right)| left * right).sum::<f32>()
}

/// Softmax, in place.
#[inline(always)]
pub(crate) fn softmax(scores: &mut [f32]) {
    let mut most = [f32::NEG_INFINITY; LANES];
    let chunks = scores.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied();
    let mut max = rest.fold(f32::NEG_INFINITY, |max, score| if score > max { score } else { max });
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

/// Sum of all lanes, by halves.
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

/// Logistic sigmoid: 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let small = exp(-x.abs());
    (if x < 0.0 { small } else { 1.0 }) / (1.0 + small)
}

/// Exponential of a number that is not above 0, to 2 units in the last place.
///
/// The polynomial of Cephes' `expf`, without a branch, so that it is computed in vectors. That of
/// std is a scalar function that takes longer than everything else in a softmax.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
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
pub(crate) mod tests {
    use pulp::Arch;

    use super::*;

    /// Instruction sets of this processor.
    pub(crate) fn arches() -> Vec<Arch> {
        let mut arches = vec![Arch::Scalar, Arch::new()];
        #[cfg(target_arch = "x86_64")]
        arches.extend(pulp::x86::V3::try_new().map(Arch::V3));
        arches
    }

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

    #[test]
    fn a_sigmoid_is_one() {
        for step in -2_000..=2_000 {
            let x = step as f32 * 0.05;
            let wanted = 1.0 / (1.0 + f64::from(-x).exp());
            let found = f64::from(sigmoid(x));
            assert!((found - wanted).abs() < 1e-6 * wanted + 1e-37, "sigmoid({x}) is {found}");
        }
        assert!(sigmoid(f32::NAN).is_nan());
    }
}
