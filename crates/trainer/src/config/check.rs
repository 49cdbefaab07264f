//! What sections of a run file ask of each other.

use anyhow::Result;
use forage_optimizer::AdvantageEstimator;

use super::{RunConfig, SftSection, TrainingSection};

impl RunConfig {
    /// Checks how `training`, `algorithm` and `critic` go together.
    pub(super) fn check_training(&self, training: &TrainingSection) -> Result<()> {
        let wrong = |what: &str| Err(anyhow::anyhow!("{what}"));
        let algorithm = self.algorithm();
        algorithm.check()?;
        if self.algorithm.is_some() && self.optimizer.clips() {
            return wrong(
                "`optimizer.clip_low` and `optimizer.clip_high` are not used with `algorithm`, \
                 whose `loss` has its own",
            );
        }
        let advantage = &algorithm.advantage;
        match (&self.critic, advantage.needs_critic()) {
            (None, true) => {
                return wrong(
                    "`critic` is missing, which `algorithm.advantage` `gae` and `step-gae` need: \
                     give `critic.lr`",
                );
            }
            (Some(_), false) => {
                return wrong(
                    "`critic` is used by `algorithm.advantage` `gae` and `step-gae` only",
                );
            }
            (Some(critic), true) if !(critic.lr.is_finite() && critic.lr > 0.0) => {
                return wrong("`critic.lr` must be a positive number");
            }
            _ => {}
        }
        let compares = !advantage.needs_critic()
            && !matches!(advantage, AdvantageEstimator::ReinforcePlusPlus(_));
        if training.group_size < 2 && (compares || training.extra_groups > 0) {
            return wrong(
                "`training.group_size` must be 2 or more: a group of one has no advantage",
            );
        }
        for (key, value) in [
            ("steps", training.steps),
            ("questions_per_step", training.questions_per_step as u64),
            ("group_size", training.group_size as u64),
            ("micro_batch_tokens", training.micro_batch_tokens as u64),
            ("checkpoint_every", training.checkpoint_every),
            ("save_trajectories_every", training.save_trajectories_every),
            ("mini_batches", training.mini_batches as u64),
            ("epochs", training.epochs as u64),
            ("reference_every", training.reference_every.unwrap_or(1)),
            ("skip_limit", training.skip_limit),
        ] {
            if value == 0 {
                return Err(anyhow::anyhow!("`training.{key}` is 0"));
            }
        }
        if !(training.temperature.is_finite() && training.temperature > 0.0) {
            return wrong("`training.temperature` must be positive");
        }
        if training.mini_batches > training.questions_per_step {
            return wrong("`training.mini_batches` is more than `training.questions_per_step`");
        }
        if training.reference_every.is_some() && algorithm.kl.is_none() {
            return wrong(
                "`training.reference_every` is used by `algorithm.kl` only, which is missing",
            );
        }
        if algorithm.llds.is_some() && training.mini_batches * training.epochs < 2 {
            return wrong(
                "`algorithm.llds` acts from the second update of a step on: raise \
                 `training.mini_batches` or `training.epochs`",
            );
        }
        if training.moving_average.is_some_and(|it| !(it > 0.0 && it < 1.0)) {
            return wrong("`training.moving_average` must be above 0 and below 1");
        }
        let stages = &training.curriculum;
        if stages.first().is_some_and(|it| it.from > 0)
            || !stages.is_sorted_by(|a, b| a.from < b.from)
        {
            return wrong("`training.curriculum` begins at step 0 and ascends in `from`");
        }
        Ok(())
    }

    /// Checks `sft`.
    pub(super) fn check_sft(&self, sft: &SftSection) -> Result<()> {
        let wrong = |what: &str| Err(anyhow::anyhow!("{what}"));
        if self.world.is_none() {
            return wrong("`sft` demonstrates in a generated world: `world` is missing");
        }
        for (key, value) in [
            ("micro_batch_tokens", sft.micro_batch_tokens as u64),
            ("checkpoint_every", sft.checkpoint_every),
            ("world_every", sft.world_every),
        ] {
            if value == 0 {
                return Err(anyhow::anyhow!("`sft.{key}` is 0"));
            }
        }
        for phase in &sft.phases {
            phase.habits.check()?;
        }
        if self.optimizer.clips() {
            return wrong("`optimizer.clip_low` and `optimizer.clip_high` are not used by `sft`");
        }
        Ok(())
    }
}
