//! Statistics of the loss over the trained tokens of a batch.

/// Loss statistics: sums over the trained tokens of a batch, where nothing else is said.
#[derive(Debug, Clone, Copy)]
pub struct LossStats {
    /// Trained tokens.
    pub n_tokens: usize,
    /// Loss that is differentiated, with all of its terms, normalized.
    pub total: f64,
    /// Surrogate loss or cross-entropy, before normalization.
    pub loss: f64,
    /// Entropy of the policy, in nats.
    pub entropy: f64,
    /// Tokens that the clip keeps from moving.
    pub n_clipped: usize,
    /// Tokens that the dual clip keeps from moving.
    pub n_dual_clipped: usize,
    /// Smallest importance ratio; infinite where there is no token.
    pub ratio_min: f64,
    /// Largest importance ratio.
    pub ratio_max: f64,
    /// k1 estimate of KL(old || new): old - new of the log-probabilities.
    pub update_kl: f64,
    /// k3 estimate of KL(new || reference).
    pub reference_kl: f64,
    /// Mismatch of training and rollout: |new - rollout| of the log-probabilities.
    pub mismatch: f64,
    /// k3 estimate of KL(rollout || training): exp(d) - d - 1 with d = new - rollout.
    pub mismatch_kl: f64,
    /// Largest |new - rollout|.
    pub mismatch_max: f64,
    /// LLDS regularizer, normalized.
    pub llds: f64,
    /// Divergence of the student from its teacher, normalized.
    pub divergence: f64,
    /// Distilled tokens.
    pub n_distilled: usize,
    /// Entropy of the student less that of the teacher, over the distilled tokens.
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
            ratio_min: f64::INFINITY,
            ratio_max: 0.0,
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
    /// Adds another batch.
    pub fn add(&mut self, other: &Self) {
        self.n_tokens += other.n_tokens;
        self.total += other.total;
        self.loss += other.loss;
        self.entropy += other.entropy;
        self.n_clipped += other.n_clipped;
        self.n_dual_clipped += other.n_dual_clipped;
        self.ratio_min = self.ratio_min.min(other.ratio_min);
        self.ratio_max = self.ratio_max.max(other.ratio_max);
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

    /// Adds the mismatch of training and rollout log-probabilities.
    pub(crate) fn compare(&mut self, new: &[f32], rollout: &[f32]) {
        for (new, rollout) in new.iter().zip(rollout) {
            let difference = f64::from(new - rollout);
            self.mismatch += difference.abs();
            self.mismatch_kl += difference.exp() - difference - 1.0;
            self.mismatch_max = self.mismatch_max.max(difference.abs());
        }
    }

    /// Mean over the trained tokens; 0 where there is none.
    pub fn mean(&self, sum: f64) -> f64 {
        sum / self.n_tokens.max(1) as f64
    }
}
