//! The training loop: questions → groups → grades → advantages → updates.

use std::time::Instant;

use anyhow::Result;
use forage_model::Tokenizer;
use forage_reward::Rewards;
use forage_trajectory::{Grade, Group};
use serde_json::{Map, json};

use crate::asking::Asking;
use crate::batch::{Policies, prepare};
use crate::checkpoint::TrainState;
use crate::config::{RunConfig, TrainingSection};
use crate::critic::CriticState;
use crate::evaluate::{Evaluator, Kind};
use crate::failure::{Code, Failure};
use crate::improve::improve;
use crate::interrupt;
use crate::metrics;
use crate::model::generator;
use crate::playground::Playground;
use crate::progress::Progress;
use crate::record::{Evaluation, GradeRecord, GroupRecord};
use crate::roll_out::{Played, roll_out};
use crate::run_folder::RunFolder;
use crate::skip;

/// What a run is made of.
pub struct Parts<'a> {
    /// The run file.
    pub config: &'a RunConfig,
    /// The run's folder.
    pub run: &'a RunFolder,
    /// Questions and search engine.
    pub playground: &'a Playground,
    /// The rewards.
    pub rewards: &'a Rewards,
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
}

impl Parts<'_> {
    /// The section of the run file that training needs.
    pub fn training(&self) -> &TrainingSection {
        self.config.training.as_ref().expect("a checked command has its section")
    }
}

/// Evaluations of the test questions before and after.
#[derive(Debug, Clone)]
pub struct Results {
    /// Greedy, then sampled, before training.
    pub before: [Evaluation; 2],
    /// Greedy, then sampled, after it.
    pub after: [Evaluation; 2],
}

/// Trains until `training.steps`, from the newest checkpoint of the run's folder where it has one.
pub fn train(parts: &Parts<'_>, start: TrainState) -> Result<Results> {
    let Parts { config, run, playground, tokenizer, .. } = *parts;
    let training = parts.training();
    let algorithm = config.algorithm();
    Asking { all: &playground.train, training, seed: config.seed }.check()?;
    let evaluator = Evaluator { config, playground, run };
    let first_policy = start.decoder.clone();
    let mut generator = generator(&config.model, first_policy.clone(), tokenizer.clone());
    let before = [Kind::Greedy, Kind::Sampled].map(|kind| evaluator.test(&mut generator, 0, kind));
    let [greedy, sampled] = before;
    let before = [greedy?, sampled?];

    let mut state = if let Some(state) = TrainState::load_newest(run, &first_policy)? {
        run.forget_after("metrics.jsonl", state.step)?;
        run.forget_after("timings.jsonl", state.step)?;
        state
    } else {
        run.forget_all(&["metrics.jsonl", "timings.jsonl"])?;
        let mut row = Map::from_iter([("step".to_owned(), json!(0))]);
        evaluator.dev(&mut generator, 0, &mut row)?;
        run.append("metrics.jsonl", &row)?;
        let critic = algorithm.advantage.needs_critic();
        TrainState {
            critic: critic.then(|| CriticState::new(&first_policy)),
            average: training.moving_average.map(|_| first_policy.clone()),
            ..start
        }
    };

    let mut progress = Progress::new("training", state.step, training.steps);
    while state.step < training.steps {
        if interrupt::asked() {
            state.save(run, tokenizer)?;
            return Err(interrupt::stopped(run.root()).into());
        }
        let began = Instant::now();
        generator.set_decoder(state.decoder.clone());
        let played = match roll_out(parts, training, &mut generator, state.step) {
            Ok(played) => played,
            Err(failure) => {
                // What was learned is not the plugin's: the run can be resumed with a better one.
                if failure.downcast_ref::<Failure>().is_some_and(|it| it.code == Code::Plugin) {
                    state.save(run, tokenizer)?;
                }
                return Err(failure);
            }
        };
        let rolled = began.elapsed();
        let trained = played.trained(training);
        let groups: Vec<(&Group, &[Grade])> =
            trained.iter().map(|&it| (&played.groups[it], played.grades[it].as_slice())).collect();
        let policies = Policies {
            decoder: &state.decoder,
            reference: state.reference.as_ref().unwrap_or(&first_policy),
            critic: state.critic.as_ref(),
        };
        let batch = prepare(parts, &algorithm, policies, &groups, state.step)?;
        let improvement = improve(config, &algorithm, &mut state, &batch);
        state.step += 1;
        state.move_average(training.moving_average.unwrap_or(0.0));
        if training.reference_every.is_some_and(|it| state.step.is_multiple_of(it)) {
            state.reference = Some(state.decoder.clone());
        }

        let mut row = Map::from_iter([("step".to_owned(), json!(state.step))]);
        metrics::of_groups(&mut row, &played.groups, &played.grades);
        metrics::of_sampling(&mut row, &algorithm, training, &played, &batch);
        metrics::of_update(&mut row, &algorithm, &improvement);
        let updated = began.elapsed().saturating_sub(rolled);
        skip::record(parts, &mut state, &improvement, &groups, &batch, &mut row)?;
        if state.step.is_multiple_of(config.evaluation.every) || state.step == training.steps {
            generator.set_decoder(state.shown().clone());
            evaluator.dev(&mut generator, state.step, &mut row)?;
        }
        config.alarms.unwrap_or_default().watch(run, &played.groups, &mut row)?;
        if state.step.is_multiple_of(training.save_trajectories_every) {
            let records = records(state.step, &played, &trained, &batch.advantages);
            run.write_trajectories(&format!("step-{:06}-train", state.step), &records)?;
        }
        run.append("metrics.jsonl", &row)?;
        let mut timing = Map::from_iter([
            ("step".to_owned(), json!(state.step)),
            ("seconds/rollout".to_owned(), json!(rolled.as_secs_f64())),
            ("seconds/update".to_owned(), json!(updated.as_secs_f64())),
            ("seconds/step".to_owned(), json!(began.elapsed().as_secs_f64())),
        ]);
        if algorithm.self_distillation.is_some() {
            let teaching = improvement.teaching.as_secs_f64();
            timing.insert("seconds/teacher".to_owned(), json!(teaching));
        }
        run.append("timings.jsonl", &timing)?;
        progress
            .set(state.step, &format!("reward {:.3}", row["reward/mean"].as_f64().unwrap_or(0.0)));

        if state.step.is_multiple_of(training.checkpoint_every) || state.step == training.steps {
            state.save(run, tokenizer)?;
        }
    }
    progress.finish();

    generator.set_decoder(state.shown().clone());
    let greedy = evaluator.test(&mut generator, state.step, Kind::Greedy)?;
    let sampled = evaluator.test(&mut generator, state.step, Kind::Sampled)?;
    Ok(Results { before, after: [greedy, sampled] })
}

/// The records of a step. Groups that are not trained have no advantages.
fn records(
    step: u64,
    played: &Played,
    trained: &[usize],
    advantages: &[Vec<Option<f64>>],
) -> Vec<GroupRecord> {
    let groups = played.groups.iter().zip(&played.grades).enumerate();
    groups
        .map(|(idx, (group, grades))| {
            let of_group = trained.iter().position(|it| *it == idx).map(|it| &advantages[it]);
            record(step, group, grades, of_group.map(Vec::as_slice))
        })
        .collect()
}

/// The record of a group.
pub(crate) fn record(
    step: u64,
    group: &Group,
    grades: &[Grade],
    advantages: Option<&[Option<f64>]>,
) -> GroupRecord {
    let grade = |(idx, it): (usize, &Grade)| {
        GradeRecord::new(it, advantages.and_then(|advantages| advantages[idx]))
    };
    GroupRecord {
        step,
        split: "train".to_owned(),
        group: group.clone(),
        grades: grades.iter().enumerate().map(grade).collect(),
    }
}
