//! Statistics of the loss over the trained tokens of a batch.

/// LossStats over the trained tokens of a batch.
#[derive(Debug, Clone, Copy)]
pub struct LossStats {
    /// Trained tokens.
    pub n_tokens: usize,
    /// The loss whose gradient it is, all terms in it.
    pub total: f64,
    /// Loss of the surrogate, or of imitation, before it is divided by anything.
    pub loss: f64,
    /// Entropy of the policy, in nats.
    pub entropy: f64,
    /// Tokens that the clip keeps from moving.
    pub n_clipped: usize,
    /// Tokens that the dual clip keeps from moving.
    pub n_dual_clipped: usize,
    /// Smallest importance ratio; infinite where there is no token.
    pub ratio_least: f64,
    /// Largest importance ratio.
    pub ratio_most: f64,
    /// old - new of the log-probabilities: the k1 estimate of KL(old || new).
    pub update_kl: f64,
    /// The k3 estimate of KL(new || reference).
    pub reference_kl: f64,
    /// |new - rollout| of the log-probabilities.
    pub mismatch: f64,
    /// exp(d) - d - 1 with d = new - rollout: the k3 estimate of KL(rollout || training).
    pub mismatch_kl: f64,
    /// Largest |new - rollout|.
    pub mismatch_max: f64,
    /// The LLDS regularizer, normalized.
    pub llds: f64,
    /// The divergence of the student from its teacher, normalized.
    pub divergence: f64,
    /// Tokens that hindsight teaches.
    pub n_distilled: usize,
    /// Entropy of the student less that of the teacher, over those.
    pub entropy_gap: f64,
}

impl Default for LossStats {
    fn default() -> Self {
        Self {
            n_tokens: 0,
            total: 0.0,
            loss: 0.0,
            entropy: 0.0,
            n_clipped: 0,
            n_dual_clipped: 0,
            ratio_least: f64::INFINITY,
            ratio_most: 0.0,
            update_kl: 0.0,
            reference_kl: 0.0,
            mismatch: 0.0,
            mismatch_kl: 0.0,
            mismatch_max: 0.0,
            llds: 0.0,
            divergence: 0.0,
            n_distilled: 0,
            entropy_gap: 0.0,
        }
    }
}

impl LossStats {
    /// Takes in another batch.
    pub fn add(&mut self, other: &Self) {
        self.n_tokens += other.n_tokens;
        self.total += other.total;
        self.loss += other.loss;
        self.entropy += other.entropy;
        self.n_clipped += other.n_clipped;
        self.n_dual_clipped += other.n_dual_clipped;
        self.ratio_least = self.ratio_least.min(other.ratio_least);
        self.ratio_most = self.ratio_most.max(other.ratio_most);
        self.update_kl += other.update_kl;
        self.reference_kl += other.reference_kl;
        self.mismatch += other.mismatch;
        self.mismatch_kl += other.mismatch_kl;
        self.mismatch_max = self.mismatch_max.max(other.mismatch_max);
        self.llds += other.llds;
        self.divergence += other.divergence;
        self.n_distilled += other.n_distilled;
        self.entropy_gap += other.entropy_gap;
    }

    /// Compares the policy in training with the one that sampled.
    pub(crate) fn compare(&mut self, new: &[f32], rollout: &[f32]) {
        for (new, rollout) in new.iter().zip(rollout) {
            let difference = f64::from(new - rollout);
            self.mismatch += difference.abs();
            self.mismatch_kl += difference.exp() - difference - 1.0;
            self.mismatch_max = self.mismatch_max.max(difference.abs());
        }
    }

    /// A sum as a mean over the tokens it was taken over.
    pub fn mean(&self, sum: f64) -> f64 {
        sum / self.n_tokens.max(1) as f64
    }
}
