//! Effective configuration of a run: its keys with their defaults filled in.
//!
//! A run is resumed where its effective configuration is the one that it was started with, so that a
//! default that is written out is no other value. Keys that a section leaves out of its text where
//! they have their default are left out of both texts.

use forage_optimizer::{
    AdvantageEstimator, AlgorithmConfig, ConstantSchedule, KlPlace, LrSchedule, LrWarmup,
};
use forage_retriever::RetrieverConfig;

use crate::run_file::RawRunConfig;

/// Effective configurations of two run files, as TOML; `None` where one of them is no run file, such
/// as that of a synthesis.
///
/// What can be said in two ways is said in the same way in both: where one file has `[algorithm]`,
/// the algorithm of a file without it is written out.
pub(crate) fn effective_configurations(before: &str, now: &str) -> Option<[String; 2]> {
    let mut pair: [RawRunConfig; 2] = [toml::from_str(before).ok()?, toml::from_str(now).ok()?];
    let has_algorithm = pair.iter().any(|raw| raw.algorithm.is_some());
    let has_schedule = pair.iter().any(|raw| raw.optimizer.schedule.is_some());
    for raw in &mut pair {
        fill(raw);
        if has_schedule {
            fill_schedule(raw);
        }
        if has_algorithm {
            fill_algorithm(raw);
        }
    }
    let [before, now] = pair.map(|raw| toml::to_string(&raw).ok());
    Some([before?, now?])
}

/// Fills in the defaults that a section does not fill in by itself.
fn fill(raw: &mut RawRunConfig) {
    raw.retriever = raw.retriever.take().map(RetrieverConfig::with_defaults);
    if raw.training.is_none() {
        return;
    }
    raw.alarms = Some(raw.alarms.unwrap_or_default());
    if raw.algorithm.is_none() {
        let [low, high] = raw.optimizer.clip();
        (raw.optimizer.clip_low, raw.optimizer.clip_high) = (Some(low), Some(high));
    }
}

/// Writes the schedule of `optimizer.warmup_steps` out.
fn fill_schedule(raw: &mut RawRunConfig) {
    let warmup = LrWarmup::Steps(raw.optimizer.warmup_steps);
    if raw.optimizer.schedule.is_none() {
        raw.optimizer.schedule = Some(LrSchedule::Constant(ConstantSchedule { warmup }));
        raw.optimizer.warmup_steps = 0;
    }
}

/// Writes the algorithm out, in the place of `optimizer.clip_low` and `optimizer.clip_high`.
fn fill_algorithm(raw: &mut RawRunConfig) {
    if raw.training.is_none() {
        return;
    }
    let mut algorithm = raw.algorithm_or_default();
    (raw.optimizer.clip_low, raw.optimizer.clip_high) = (None, None);
    let AlgorithmConfig { advantage, value, kl, .. } = &mut algorithm;
    if advantage.needs_critic() {
        *value = Some(value.unwrap_or_default());
    }
    if let AdvantageEstimator::Gigpo(gigpo) = advantage {
        gigpo.step_scale = Some(gigpo.step_scale.unwrap_or(1.0));
    }
    if let Some(kl) = kl.as_mut().filter(|kl| kl.place == KlPlace::Loss) {
        kl.estimator = Some(kl.in_loss());
    }
    raw.algorithm = Some(algorithm);
}

#[cfg(test)]
mod tests {
    use forage_training::configuration_change::differences;

    use super::*;

    /// A run file over data, without keys that have a default.
    const RUN: &str = r#"
        name = "x"
        seed = 1
        model.path = "m"
        data = { train = "t", dev = "d", test = "e" }
        rollout = {}
        reward.em.plugin = "exact-match"
        reward.f1 = { plugin = "token-f1", gate = { reward = "em" } }
        training.steps = 2
        training.questions_per_step = 2
        training.group_size = 2
        training.micro_batch_tokens = 64
        training.checkpoint_every = 1
        training.save_trajectories_every = 1
        evaluation.every = 1
    "#;

    fn differing(before: &str, now: &str) -> Vec<String> {
        let [before, now] = [before, now].map(|text| format!("{RUN}{text}"));
        let [before, now] = effective_configurations(&before, &now).unwrap();
        let found = differences(&before, &now).unwrap();
        found.into_iter().map(|difference| difference.key).collect()
    }

    #[test]
    fn a_default_that_is_written_out_is_no_difference() {
        let index = "\nretriever.index = 'i'\noptimizer.lr = 1e-3\n";
        let dense = format!("{index}retriever.vectors = 'v'\nretriever.encoder.path = 'e'\n");
        let critic = format!(
            "{index}critic.lr = 1e-3\nalgorithm.advantage.name = 'gae'\n\
             algorithm.loss.name = 'ppo'\n"
        );
        for (text, defaults) in [
            (index, "retriever.k1 = 1.2\nretriever.b = 0.75\n"),
            (index, "combination.rule = 'sum'\n"),
            (index, "device = 'cpu'\nmodel.compute = 'f32'\n"),
            (index, "optimizer.clip_low = 0.2\noptimizer.warmup_steps = 0\n"),
            (index, "optimizer.schedule.name = 'constant'\n"),
            (index, "alarms = {}\n"),
            (index, "alarms.unsearched = 0.5\n"),
            (index, "algorithm.advantage.name = 'grpo'\nalgorithm.loss.name = 'ppo'\n"),
            (&dense, "retriever.rank = 'hybrid'\nretriever.candidates = 256\n"),
            (&critic, "algorithm.value.clip = 0.5\ncritic.schedule.name = 'constant'\n"),
        ] {
            let written = format!("{text}{defaults}");
            assert_eq!(differing(text, &written), Vec::<String>::new(), "{defaults}");
            assert_eq!(differing(&written, text), Vec::<String>::new(), "{defaults}");
            // Nor is it named beside another difference.
            let other = written.replace("optimizer.lr = 1e-3", "optimizer.lr = 2e-3");
            assert_eq!(differing(text, &other), ["optimizer.lr"], "{defaults}");
            assert_eq!(differing(&other, text), ["optimizer.lr"], "{defaults}");
        }
        let aliases = ["training.ema_decay = 0.9", "training.moving_average = 0.9"];
        let [one, other] = aliases.map(|alias| format!("{index}{alias}"));
        assert_eq!(differing(&one, &other), Vec::<String>::new());
    }

    #[test]
    fn values_other_than_the_default_are_named_as_they_are_written() {
        let base = "retriever.index = 'i'\noptimizer.lr = 1e-3\n";
        for (text, key) in [
            ("retriever.k1 = 0.9", "retriever.k1"),
            ("combination = { rule = 'lexicographic', order = ['em'] }", "combination.order"),
            ("optimizer.clip_high = 0.28", "optimizer.clip_high"),
            ("optimizer.warmup_steps = 3", "optimizer.warmup_steps"),
            ("alarms.unsearched = 0.4", "alarms.unsearched"),
            ("reward.em.config.metric = 'x'", "reward.em.config.metric"),
        ] {
            let found = differing(base, &format!("{base}{text}"));
            assert_eq!(found.first().map(String::as_str), Some(key), "{found:?}");
        }
        let algorithm = format!(
            "{base}algorithm = {{ advantage.name = 'grpo', loss = {{ name = 'ppo', clip_high = 0.3 }} }}"
        );
        assert_eq!(differing(base, &algorithm), ["algorithm.loss.clip_high"]);
        assert_eq!(effective_configurations("x = 1", RUN), None);
    }
}
