//! Divergence of student and teacher, row by row.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Divergence of teacher P and student Q, in nats. Default: `jensen-shannon`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DistillationDivergence {
    /// ½ KL(P||M) + ½ KL(Q||M) with M = (P + Q) / 2; symmetric, at most ln 2.
    #[default]
    JensenShannon,
    /// KL(P||Q).
    ForwardKl,
    /// KL(Q||P).
    ReverseKl,
    /// Σ(p - q)²; of probabilities and summed, our choice.
    SquaredError,
}

/// Divergence of each row of logits: `[Q, V]` twice → `[Q]`.
///
/// Both distributions are renormalized on the `top_k` tokens that are likeliest under the teacher
/// (our choice: the notes give the number, but do not say under which of the two); with `top_k` ≥
/// V, on all tokens. `top_k` is 1 or more.
///
/// By the student's logits z, with q = softmax z, the gradient of Jensen-Shannon is
/// `q_j (g_j - Σ q_k g_k)`, `g = ½ ln(q / m)`. No gradient reaches the teacher.
pub fn divergence(
    kind: DistillationDivergence,
    top_k: usize,
    student_qv: Tensor<2>,
    teacher_qv: Tensor<2>,
) -> Tensor<1> {
    let [rows, width] = student_qv.dims();
    let teacher_qv = teacher_qv.inner();
    let [log_p, log_q] = if top_k < width {
        let tokens_qk = likeliest(&teacher_qv, top_k);
        [teacher_qv.gather(1, tokens_qk.clone()), student_qv.gather(1, tokens_qk)]
    } else {
        [teacher_qv, student_qv]
    }
    .map(|logits_qk| log_softmax(logits_qk, 1));
    let (p, q) = (log_p.clone().exp(), log_q.clone().exp());
    let terms_qk = match kind {
        DistillationDivergence::JensenShannon => {
            // M minimizes ½ KL(P||M) + ½ KL(Q||M), so holding it still changes no gradient.
            let log_m = log_mean(log_p.clone(), log_q.clone().inner());
            (p * (log_p - log_m.clone()) + q * (log_q - log_m)) * 0.5
        }
        DistillationDivergence::ForwardKl => p * (log_p - log_q),
        DistillationDivergence::ReverseKl => q * (log_q - log_p),
        DistillationDivergence::SquaredError => (p - q).square(),
    };
    // [Q, 1] -> [Q]
    terms_qk.sum_dim(1).reshape([rows])
}

/// Indices of the `k` largest logits of each row, ascending: `[Q, V]` → `[Q, k]`; of equal logits,
/// those of smaller index.
///
/// burn's `topk` sorts whole rows, which at the size of a vocabulary costs several times what the
/// loss itself does.
fn likeliest(logits_qv: &Tensor<2>, k: usize) -> Tensor<2, Int> {
    let [rows, width] = logits_qv.dims();
    let numbers: Vec<f32> =
        logits_qv.clone().into_data().try_into_vec_as().expect("f32 reads back as f32");
    let mut kept = Vec::with_capacity(rows * k);
    for row in numbers.chunks(width) {
        let mut indices: Vec<usize> = (0..width).collect();
        indices.select_nth_unstable_by(k - 1, |&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        indices.truncate(k);
        indices.sort_unstable();
        kept.extend(indices.into_iter().map(|it| it as i64));
    }
    Tensor::from_data(TensorData::new(kept, [rows, k]), &logits_qv.device())
}

/// ln((exp a + exp b) / 2), finite where both are.
fn log_mean(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let high = a.clone().max_pair(b.clone());
    let low = a.min_pair(b);
    // The two constants cancel exactly where a = b.
    high.clone() + ((low - high).exp().log1p() - std::f32::consts::LN_2)
}
