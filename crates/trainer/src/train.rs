//! The training loop: questions → groups → grades → advantages → one step.

use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::Device;
use forage_model::{Generator, Tokenizer};
use forage_optimizer::group_advantages;
use forage_reward::Rewards;
use forage_rollout::{Task, play};
use forage_trajectory::{Grade, Group, Purpose, Question, Sampling, Stream};
use rand::seq::SliceRandom;
use serde_json::{Map, json};

use crate::checkpoint::TrainState;
use crate::config::{RunConfig, TrainingSection};
use crate::evaluate::{Evaluator, Kind};
use crate::failure::{Code, Failure};
use crate::interrupt;
use crate::learner::{Objective, Sample, learn};
use crate::metrics;
use crate::playground::Playground;
use crate::plugins::plugin_failure;
use crate::progress::Progress;
use crate::record::{Evaluation, GradeRecord, GroupRecord};
use crate::run_folder::RunFolder;
use crate::update::take_step;

/// What a run is made of.
pub struct Parts<'a> {
    /// The run file.
    pub config: &'a RunConfig,
    /// The run's folder.
    pub run: &'a RunFolder,
    /// Where tensors live.
    pub device: &'a Device,
    /// Questions and search engine.
    pub playground: &'a Playground,
    /// The rewards.
    pub rewards: &'a Rewards,
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
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
    let Parts { config, run, device, playground, rewards, tokenizer } = *parts;
    let training = config.training.as_ref().expect("a checked command has its section");
    let evaluator = Evaluator { config, playground, run };
    let mut generator = Generator::new(start.decoder.clone(), tokenizer.clone());
    let before = [Kind::Greedy, Kind::Sampled].map(|kind| evaluator.test(&mut generator, 0, kind));
    let [greedy, sampled] = before;
    let before = [greedy?, sampled?];

    let mut state = if let Some(state) = TrainState::load_newest(run, device)? {
        run.forget_after("metrics.jsonl", state.step)?;
        run.forget_after("timings.jsonl", state.step)?;
        state
    } else {
        run.forget_all(&["metrics.jsonl", "timings.jsonl"])?;
        let mut row = Map::from_iter([("step".to_owned(), json!(0))]);
        evaluator.dev(&mut generator, 0, &mut row)?;
        run.append("metrics.jsonl", &row)?;
        start
    };

    let mut progress = Progress::new("training", state.step, training.steps);
    while state.step < training.steps {
        if interrupt::asked() {
            state.save(run, tokenizer)?;
            return Err(interrupt::stopped(run.root()).into());
        }
        let began = Instant::now();
        generator.set_decoder(state.decoder.clone());
        let groups = roll_out(parts, training, &mut generator, state.step)?;
        let rolled = began.elapsed();
        let grades = groups
            .iter()
            .map(|group| rewards.score(group).map_err(plugin_failure))
            .collect::<Result<Vec<Vec<Grade>>>>()?;
        let advantages: Vec<Vec<Option<f64>>> = grades
            .iter()
            .map(|it| group_advantages(&it.iter().map(Grade::reward).collect::<Vec<_>>()))
            .collect();

        let (trained, n_tokens) = to_train(&groups, &advantages);
        let objective =
            Objective::Reinforce { config: &config.optimizer, temperature: training.temperature };
        let learned =
            learn(&state.decoder, &trained, objective, n_tokens, training.micro_batch_tokens);
        let lr = config.optimizer.lr_at(state.step);
        let norm = take_step(&config.optimizer, &mut state, learned.gradients, lr)?;

        let mut row = Map::from_iter([("step".to_owned(), json!(state.step))]);
        metrics::of_groups(&mut row, &groups, &grades);
        metrics::of_update(&mut row, &learned.sums, n_tokens, norm, lr);
        let updated = began.elapsed().saturating_sub(rolled);
        if state.step.is_multiple_of(config.evaluation.every) || state.step == training.steps {
            generator.set_decoder(state.decoder.clone());
            evaluator.dev(&mut generator, state.step, &mut row)?;
        }
        if state.step.is_multiple_of(training.save_trajectories_every) {
            let records = records(state.step, &groups, &grades, &advantages);
            run.write_trajectories(&format!("step-{:06}-train", state.step), &records)?;
        }
        run.append("metrics.jsonl", &row)?;
        let timing = Map::from_iter([
            ("step".to_owned(), json!(state.step)),
            ("seconds/rollout".to_owned(), json!(rolled.as_secs_f64())),
            ("seconds/update".to_owned(), json!(updated.as_secs_f64())),
            ("seconds/step".to_owned(), json!(began.elapsed().as_secs_f64())),
        ]);
        run.append("timings.jsonl", &timing)?;
        progress
            .set(state.step, &format!("reward {:.3}", row["reward/mean"].as_f64().unwrap_or(0.0)));

        if state.step.is_multiple_of(training.checkpoint_every) || state.step == training.steps {
            state.save(run, tokenizer)?;
        }
    }
    progress.finish();

    generator.set_decoder(state.decoder.clone());
    let greedy = evaluator.test(&mut generator, state.step, Kind::Greedy)?;
    let sampled = evaluator.test(&mut generator, state.step, Kind::Sampled)?;
    Ok(Results { before, after: [greedy, sampled] })
}

/// Plays `group_size` trajectories of every question of a step, in one batch.
fn roll_out(
    parts: &Parts<'_>,
    training: &TrainingSection,
    generator: &mut Generator,
    step: u64,
) -> Result<Vec<Group>> {
    let seed = parts.config.seed;
    let questions = questions_of(&parts.playground.train, training, seed, step);
    let stream = Stream::new(seed, Purpose::Rollout).at_step(step);
    let tasks: Vec<Task<'_>> = questions
        .iter()
        .enumerate()
        .flat_map(|(idx, question)| {
            (0..training.group_size).map(move |member| Task {
                question,
                member,
                stream: stream.of_member(idx as u64, member as u64),
            })
        })
        .collect();
    let sampling = Sampling::Temperature(training.temperature);
    let retriever = &parts.playground.retriever;
    let played = play(generator, retriever, &parts.config.rollout, &tasks, sampling)?;
    if let Some(failure) =
        played.iter().flat_map(|it| &it.searches).find_map(|it| it.failure.as_ref())
        && played.iter().all(forage_trajectory::Trajectory::failed)
    {
        return Err(anyhow::anyhow!("{failure}")).context(
            Failure::new(Code::Input, format!("every trajectory of step {} failed", step + 1))
                .hint("the search engine did not answer; resume when it does"),
        );
    }
    if played.iter().flat_map(|it| &it.logprobs).any(|it| !it.is_finite()) {
        let what = format!("step {} sampled from logits that are not finite", step + 1);
        return Err(Failure::new(Code::Diverged, what)
            .hint("start again from the last checkpoint with a lower `optimizer.lr`")
            .into());
    }
    let mut played = played.into_iter();
    Ok(questions
        .into_iter()
        .map(|question| Group {
            question: question.clone(),
            trajectories: played.by_ref().take(training.group_size).collect(),
        })
        .collect())
}

/// The questions of a step: the training questions in an order of their own in every epoch.
fn questions_of<'a>(
    all: &'a [Question],
    training: &TrainingSection,
    seed: u64,
    step: u64,
) -> Vec<&'a Question> {
    let shuffled = |epoch: u64| {
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.shuffle(&mut Stream::new(seed, Purpose::Shuffle).at_step(epoch).rng());
        order
    };
    let first = step * training.questions_per_step as u64;
    let n = all.len() as u64;
    let mut epoch = first / n;
    let mut order = shuffled(epoch);
    (first..first + training.questions_per_step as u64)
        .map(|at| {
            if at / n != epoch {
                epoch = at / n;
                order = shuffled(epoch);
            }
            &all[order[(at % n) as usize]]
        })
        .collect()
}

/// What is trained, and over how many tokens the loss is a mean. A trajectory whose advantage is 0
/// moves nothing and is left out of the work, not of the mean; a failed one is in neither.
fn to_train(groups: &[Group], advantages: &[Vec<Option<f64>>]) -> (Vec<Sample>, usize) {
    let mut samples = Vec::new();
    let mut n_tokens = 0;
    for (group, advantages) in groups.iter().zip(advantages) {
        for (trajectory, advantage) in group.trajectories.iter().zip(advantages) {
            let Some(advantage) = *advantage else { continue };
            n_tokens += trajectory.n_policy_tokens();
            if advantage.abs() > 1e-9 {
                samples.push(Sample::of_trajectory(trajectory, advantage as f32));
            }
        }
    }
    (samples, n_tokens)
}

fn records(
    step: u64,
    groups: &[Group],
    grades: &[Vec<Grade>],
    advantages: &[Vec<Option<f64>>],
) -> Vec<GroupRecord> {
    let record = |((group, grades), advantages): ((&Group, &Vec<Grade>), &Vec<Option<f64>>)| {
        let grades = grades.iter().zip(advantages);
        GroupRecord {
            step,
            split: "train".to_owned(),
            group: group.clone(),
            grades: grades.map(|(grade, advantage)| GradeRecord::new(grade, *advantage)).collect(),
        }
    };
    groups.iter().zip(grades).zip(advantages).map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_asks_every_question_once() {
        let all: Vec<Question> =
            (0..7).map(|it| Question { id: it.to_string(), ..Question::default() }).collect();
        let training = TrainingSection {
            steps: 1,
            questions_per_step: 3,
            group_size: 2,
            temperature: 1.0,
            micro_batch_tokens: 1,
            checkpoint_every: 1,
            save_trajectories_every: 1,
        };
        let asked: Vec<&str> = (0..7)
            .flat_map(|step| questions_of(&all, &training, 5, step))
            .map(|it| it.id.as_str())
            .collect();
        let mut orders = Vec::new();
        for epoch in asked.chunks(7) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, ["0", "1", "2", "3", "4", "5", "6"]);
            orders.push(epoch.to_vec());
        }
        assert_ne!(orders[0], orders[1]);
    }
}
