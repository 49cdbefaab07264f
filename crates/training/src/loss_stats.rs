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
    /// Tokens that were sampled: all of them, unless retrieved tokens are trained.
    pub n_sampled: usize,
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
    /// Log-probability that the teacher gives to the distilled tokens, less that of the student.
    pub advice: Advice,
}

/// Log-probability that the teacher gives to what was written, less that of the student, by whether
/// the trajectory is correct.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Advice {
    /// Sum over the tokens of correct trajectories.
    pub correct: f64,
    /// Number of these tokens.
    pub n_correct: usize,
    /// Sum over the tokens of incorrect trajectories.
    pub incorrect: f64,
    /// Number of these tokens.
    pub n_incorrect: usize,
}

impl Advice {
    /// Adds tokens of a trajectory.
    pub(crate) fn record(&mut self, is_correct: bool, log_ratios: &[f32]) {
        let (sum, n) = if is_correct {
            (&mut self.correct, &mut self.n_correct)
        } else {
            (&mut self.incorrect, &mut self.n_incorrect)
        };
        *sum += log_ratios.iter().map(|it| f64::from(*it)).sum::<f64>();
        *n += log_ratios.len();
    }

    fn add(&mut self, other: &Self) {
        self.correct += other.correct;
        self.n_correct += other.n_correct;
        self.incorrect += other.incorrect;
        self.n_incorrect += other.n_incorrect;
    }

    /// Mean over the tokens of correct trajectories, less that over the tokens of incorrect ones, in
    /// nats; `None` where one of the two has no token.
    pub fn contrast(&self) -> Option<f64> {
        let is_there = self.n_correct > 0 && self.n_incorrect > 0;
        let mean = |sum: f64, n: usize| sum / n as f64;
        is_there
            .then(|| mean(self.correct, self.n_correct) - mean(self.incorrect, self.n_incorrect))
    }
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
            n_sampled: 0,
            mismatch: 0.0,
            mismatch_kl: 0.0,
            mismatch_max: 0.0,
            llds: 0.0,
            divergence: 0.0,
            n_distilled: 0,
            entropy_gap: 0.0,
            advice: Advice::default(),
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
        self.n_sampled += other.n_sampled;
        self.mismatch += other.mismatch;
        self.mismatch_kl += other.mismatch_kl;
        self.mismatch_max = self.mismatch_max.max(other.mismatch_max);
        self.llds += other.llds;
        self.divergence += other.divergence;
        self.n_distilled += other.n_distilled;
        self.entropy_gap += other.entropy_gap;
        self.advice.add(&other.advice);
    }

    /// Adds the mismatch of training and rollout log-probabilities, where there are both.
    pub(crate) fn compare(&mut self, new: &[f32], rollout: &[f32]) {
        for (new, rollout) in new.iter().zip(rollout).filter(|(_, rollout)| !rollout.is_nan()) {
            self.n_sampled += 1;
            let difference = f64::from(new - rollout);
            self.mismatch += difference.abs();
            self.mismatch_kl += difference.exp() - difference - 1.0;
            self.mismatch_max = self.mismatch_max.max(difference.abs());
        }
    }

    /// Mean over the sampled tokens; 0 where there is none.
    pub fn mean_of_sampled(&self, sum: f64) -> f64 {
        sum / self.n_sampled.max(1) as f64
    }

    /// Mean over the trained tokens; 0 where there is none.
    pub fn mean(&self, sum: f64) -> f64 {
        sum / self.n_tokens.max(1) as f64
    }
}
