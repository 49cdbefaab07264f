//! Training loop: questions → groups → grades → advantages → updates.

use std::time::{Duration, Instant};

use forage_model::{Decoder, Generator};
use forage_trajectory::{Grade, Group};

use crate::alarms::Alarms;
use crate::batch::{Batch, Policies, make_batch};
use crate::checkpoint::TrainState;
use crate::critic::CriticState;
use crate::error::TrainingError;
use crate::evaluate::Decoding;
use crate::metrics::{
    EvaluationMetrics, RolloutMetrics, SamplingMetrics, StepMetrics, StepTimings, UpdateMetrics,
};
use crate::record::{Evaluation, GroupRecord};
use crate::rollout_step::{RolloutBatch, generator, rollout_step};
use crate::run::RunContext;
use crate::skipped_updates::record_skipped;
use crate::untrained_steps::UntrainedSteps;
use crate::update::{UpdateStats, update_policy};

/// Evaluations of the test questions before and after training.
#[derive(Debug, Clone)]
pub struct TrainingResults {
    /// Greedy, then sampled, before training.
    pub before: [Evaluation; 2],
    /// Greedy, then sampled, after it.
    pub after: [Evaluation; 2],
}

/// Trains until `training.steps`, from the newest checkpoint of the run's folder where it has one.
///
/// # Errors
///
/// [`TrainingError`]. After [`TrainingError::Stopped`], [`TrainingError::Reward`],
/// [`TrainingError::Grades`], [`TrainingError::NoTrajectory`] and [`TrainingError::SearchStopped`] a
/// checkpoint of the last step is in the run's folder.
pub fn train(
    context: &RunContext<'_>,
    start: TrainState,
) -> Result<TrainingResults, TrainingError> {
    let RunContext { config, run, tokenizer, observer, .. } = *context;
    let training = &config.training;
    context.question_sampler().check()?;
    let initial = start.decoder.clone();
    let mut generator = generator(initial.clone(), tokenizer.clone(), config.cache_tokens);
    let before = evaluate_test(context, &mut generator, 0)?;
    let (mut state, mut watches) = begin_or_resume(context, &mut generator, start, &initial)?;

    observer.started("training", state.step, training.steps);
    while state.step < training.steps {
        if observer.should_stop() {
            state.save(run, tokenizer)?;
            return Err(TrainingError::Stopped { run: run.root().to_owned() });
        }
        let reward = train_step(context, &mut generator, &mut state, &mut watches, &initial)?;
        let message = reward.map_or_else(String::new, |reward| format!("reward {reward:.3}"));
        observer.advanced(state.step, &message);
        if state.step.is_multiple_of(training.checkpoint_every) || state.step == training.steps {
            state.save(run, tokenizer)?;
        }
    }
    observer.finished();

    generator.set_decoder(state.eval_weights().clone());
    let after = evaluate_test(context, &mut generator, state.step)?;
    Ok(TrainingResults { before, after })
}

/// Watches over the steps of a run, which warn and may end it.
struct Watches {
    alarms: Alarms,
    untrained: UntrainedSteps,
}

/// Training step: rollout, batch, updates, metrics. Returns the mean reward, where there is one.
fn train_step(
    context: &RunContext<'_>,
    generator: &mut Generator,
    state: &mut TrainState,
    watches: &mut Watches,
    initial: &Decoder,
) -> Result<Option<f64>, TrainingError> {
    let RunContext { config, run, .. } = *context;
    let training = &config.training;
    let began = Instant::now();
    generator.set_decoder(state.decoder.clone());
    let rollout = sample(context, generator, state)?;
    let rollout_time = began.elapsed();

    let trained = rollout.trained(training);
    let groups: Vec<(&Group, &[Grade])> =
        trained.iter().map(|&idx| (&rollout.groups[idx], &*rollout.grades[idx])).collect();
    let policies = Policies {
        decoder: &state.decoder,
        reference: state.reference.as_ref().unwrap_or(initial),
        critic: state.critic.as_ref(),
    };
    let batch = make_batch(context, policies, &groups, state.step)?;
    let updates = update_policy(config, state, &batch);
    state.step += 1;
    state.update_ema(training.ema_decay);
    if training.reference_every.is_some_and(|every| state.step.is_multiple_of(every)) {
        state.reference = Some(state.decoder.clone());
    }
    let update_time = began.elapsed().saturating_sub(rollout_time);

    let mut metrics = StepMetrics {
        step: state.step,
        rollout: Some(RolloutMetrics::of(
            &rollout.groups,
            &rollout.grades,
            &context.grader.names(),
        )),
        sampling: SamplingMetrics::of(&config.algorithm, training, &rollout, &batch),
        update: Some(UpdateMetrics::of(&config.algorithm, &updates)),
        skipped: Some(record_skipped(context, state, &updates, &groups, &batch)?),
        ..StepMetrics::default()
    };
    let reward = metrics.rollout.as_ref().and_then(|rollout| rollout.reward_mean);
    if state.step.is_multiple_of(config.evaluation.every) || state.step == training.steps {
        generator.set_decoder(state.eval_weights().clone());
        let evaluation = context.evaluator().dev(generator, state.step)?;
        metrics.evaluation = Some(EvaluationMetrics::of(&evaluation));
    }
    let exact_match = metrics.evaluation.as_ref().and_then(|evaluation| evaluation.exact_match);
    let (values, warnings) = watches.alarms.watch(state.step, &rollout.groups, reward, exact_match);
    metrics.alarms = Some(values);
    for warning in &warnings {
        context.observer.warning(warning);
    }

    if state.step.is_multiple_of(training.save_trajectories_every) {
        let records = records(state.step, &rollout, &trained, &batch);
        run.write_trajectories(&format!("step-{:06}-train", state.step), &records)?;
    }
    run.append("metrics.jsonl", &metrics)?;
    let timings =
        timings(context, state.step, [rollout_time, update_time, began.elapsed()], &updates);
    run.append("timings.jsonl", &timings)?;
    watches.untrained.watch(context, state.step, &rollout.grades, &batch, &updates)?;
    Ok(reward)
}

/// Rollout of the next step. Where the rewards or the search engine fail, a checkpoint is written
/// first, so that the run can be resumed from this step once they work.
fn sample(
    context: &RunContext<'_>,
    generator: &mut Generator,
    state: &TrainState,
) -> Result<RolloutBatch, TrainingError> {
    let rollout = rollout_step(context, generator, state.step);
    if let Err(
        TrainingError::Reward(_)
        | TrainingError::Grades { .. }
        | TrainingError::NoTrajectory { .. }
        | TrainingError::SearchStopped { .. },
    ) = &rollout
    {
        state.save(context.run, context.tokenizer)?;
    }
    rollout
}

/// State and watches at the start of the loop: those of the newest checkpoint, or initial ones,
/// after an evaluation of the dev questions as row 0 of the metrics.
fn begin_or_resume(
    context: &RunContext<'_>,
    generator: &mut Generator,
    start: TrainState,
    initial: &Decoder,
) -> Result<(TrainState, Watches), TrainingError> {
    let RunContext { config, run, .. } = *context;
    let alarms = config.alarms;
    if let Some(state) = TrainState::load_newest(run, initial)? {
        run.forget_after("metrics.jsonl", state.step)?;
        run.forget_after("timings.jsonl", state.step)?;
        run.check_rows("metrics.jsonl", state.step)?;
        run.forget_files_after(state.step)?;
        let (alarms, untrained) = (Alarms::resume(alarms, run)?, UntrainedSteps::resume(run)?);
        return Ok((state, Watches { alarms, untrained }));
    }
    run.forget_all(&["metrics.jsonl", "timings.jsonl"])?;
    run.forget_files_after(0)?;
    let evaluation = context.evaluator().dev(generator, 0)?;
    let evaluation = Some(EvaluationMetrics::of(&evaluation));
    run.append("metrics.jsonl", &StepMetrics { evaluation, ..StepMetrics::default() })?;
    let state = TrainState {
        critic: config.critic.as_ref().map(|_| CriticState::new(initial)),
        ema: config.training.ema_decay.map(|_| initial.clone()),
        ..start
    };
    Ok((state, Watches { alarms: Alarms::new(alarms), untrained: UntrainedSteps::default() }))
}

/// Evaluates the test questions with both decodings.
fn evaluate_test(
    context: &RunContext<'_>,
    generator: &mut Generator,
    step: u64,
) -> Result<[Evaluation; 2], TrainingError> {
    let evaluator = context.evaluator();
    let greedy = evaluator.test(generator, step, Decoding::Greedy)?;
    let sampled = evaluator.test(generator, step, Decoding::Sampled)?;
    Ok([greedy, sampled])
}

/// Records of a step. Groups that are not trained have no advantages.
fn records(
    step: u64,
    rollout: &RolloutBatch,
    trained: &[usize],
    batch: &Batch,
) -> Vec<GroupRecord> {
    let advantages = |idx: usize| {
        let position = trained.iter().position(|&trained| trained == idx)?;
        Some(batch.advantages[position].as_slice())
    };
    let groups = rollout.groups.iter().zip(&rollout.grades).enumerate();
    let record = |(idx, (group, grades)): (usize, (&Group, &Vec<Grade>))| {
        GroupRecord::of_training(step, group, grades, advantages(idx))
    };
    groups.map(record).collect()
}

/// Durations of a step: rollout, update, and the whole step.
fn timings(
    context: &RunContext<'_>,
    step: u64,
    [rollout, update, all]: [Duration; 3],
    updates: &UpdateStats,
) -> StepTimings {
    let has_teacher = context.config.algorithm.self_distillation.is_some();
    StepTimings {
        step,
        rollout: Some(rollout.as_secs_f64()),
        update: Some(update.as_secs_f64()),
        step_seconds: all.as_secs_f64(),
        teacher: has_teacher.then_some(updates.teaching.as_secs_f64()),
    }
}
