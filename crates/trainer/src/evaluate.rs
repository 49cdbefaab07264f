//! Evaluation on held-out questions: exact match and F1, by hops, with intervals.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use forage_reward_sdk::text::{exact_match, token_f1};
use forage_rollout::{RolloutConfig, RolloutTask, run_episodes};
use forage_trajectory::{
    Group, Policy, Purpose, Question, Retriever, Sampling, Stream, Trajectory,
};
use rand::RngExt;
use serde_json::{Map, Value, json};

use crate::config::RunConfig;
use crate::failure::{Code, Failure};
use crate::playground::Playground;
use crate::progress::Progress;
use crate::record::{Evaluation, EvaluationRow, GradeRecord, GroupRecord, Interval};
use crate::run_folder::RunFolder;

/// Trajectories played at once.
const BATCH: usize = 128;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2_000;

/// One played question with its scores.
#[derive(Debug, Clone)]
pub struct Played {
    /// What happened.
    pub trajectory: Trajectory,
    /// 1 where the answer matches a golden one exactly, after normalization.
    pub em: f64,
    /// Token F1 with the nearest golden answer.
    pub f1: f64,
}

/// How test questions are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Greedy decoding.
    Greedy,
    /// Sampling at temperature 1.
    Sampled,
}

/// Evaluates a run on its held-out questions.
#[derive(Clone, Copy)]
pub struct Evaluator<'a> {
    /// The run file.
    pub config: &'a RunConfig,
    /// Questions and search engine.
    pub playground: &'a Playground,
    /// Where evaluations are written.
    pub run: &'a RunFolder,
}

impl Kind {
    fn sampling(self) -> Sampling {
        match self {
            Self::Greedy => Sampling::Greedy,
            Self::Sampled => Sampling::Temperature(1.0),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::Sampled => "sampled",
        }
    }
}

impl Evaluator<'_> {
    /// Evaluates the test questions and writes table and trajectories. An evaluation that a
    /// stopped run has written already is read back.
    pub fn test(&self, policy: &mut dyn Policy, step: u64, kind: Kind) -> Result<Evaluation> {
        let file = self.run.path(&format!("evaluations/step-{step:06}-{}.json", kind.name()));
        if let Ok(json) = std::fs::read(&file) {
            return serde_json::from_slice(&json).with_context(|| {
                Failure::new(Code::Input, format!("`{}` is damaged", file.display()))
            });
        }
        let questions = &self.playground.test;
        let mut progress = Progress::new("evaluating", 0, questions.len() as u64);
        let seed = self.config.seed;
        let played = play_all(
            policy,
            &self.playground.retriever,
            &self.config.rollout,
            questions,
            kind.sampling(),
            seed,
            |done| progress.set(done as u64, kind.name()),
        )?;
        progress.finish();
        let evaluation = summarize(step, kind.sampling(), "test", questions, &played, seed);
        let groups: Vec<GroupRecord> = questions
            .iter()
            .zip(played)
            .map(|(question, played)| played.record(step, kind.name(), question))
            .collect();
        self.run.write_evaluation(kind.name(), &evaluation, &groups)?;
        Ok(evaluation)
    }

    /// Evaluates the dev questions with greedy decoding and adds `eval/greedy/…` to the metrics.
    pub fn dev(
        &self,
        policy: &mut dyn Policy,
        step: u64,
        row: &mut Map<String, Value>,
    ) -> Result<Evaluation> {
        let questions = &self.playground.dev;
        let played = play_all(
            policy,
            &self.playground.retriever,
            &self.config.rollout,
            questions,
            Sampling::Greedy,
            self.config.seed,
            |_| {},
        )?;
        let table = summarize(step, Sampling::Greedy, "dev", questions, &played, self.config.seed);
        for it in &table.rows {
            let suffix = if it.name == "all" { String::new() } else { format!("/{}", it.name) };
            row.insert(format!("eval/greedy/em{suffix}"), json!(it.em.mean));
            row.insert(format!("eval/greedy/f1{suffix}"), json!(it.f1.mean));
            row.insert(format!("eval/greedy/searches{suffix}"), json!(it.searches));
        }
        Ok(table)
    }
}

impl Played {
    /// The record of the report, with exact match as the reward.
    pub fn record(self, step: u64, split: &str, question: &Question) -> GroupRecord {
        let parts = [("em".to_owned(), self.em), ("f1".to_owned(), self.f1)].into();
        let grade = GradeRecord { reward: Some(self.em), parts, ..GradeRecord::default() };
        GroupRecord {
            step,
            split: split.to_owned(),
            group: Group { question: question.clone(), trajectories: vec![self.trajectory] },
            grades: vec![grade],
        }
    }
}

/// Plays every question once. The result does not depend on how questions are batched.
pub fn play_all(
    policy: &mut dyn Policy,
    retriever: &dyn Retriever,
    rollout: &RolloutConfig,
    questions: &[Question],
    sampling: Sampling,
    seed: u64,
    mut tick: impl FnMut(usize),
) -> Result<Vec<Played>> {
    let stream = Stream::new(seed, Purpose::Evaluation);
    let tasks: Vec<RolloutTask<'_>> = questions
        .iter()
        .enumerate()
        .map(|(idx, question)| RolloutTask {
            question,
            member: 0,
            stream: stream.of_member(idx as u64, 0),
        })
        .collect();
    let mut played = Vec::with_capacity(tasks.len());
    for batch in tasks.chunks(BATCH) {
        let trajectories = run_episodes(policy, retriever, rollout, batch, sampling)?;
        for (task, trajectory) in batch.iter().zip(trajectories) {
            let golden = &task.question.golden_answers;
            let answer = trajectory.final_answer().unwrap_or_default();
            let em = exact_match(answer, golden);
            let f1 = token_f1(answer, golden);
            played.push(Played { trajectory, em, f1 });
        }
        tick(played.len());
    }
    Ok(played)
}

/// The table of an evaluation: all questions, then by hops.
pub fn summarize(
    step: u64,
    sampling: Sampling,
    name: &str,
    questions: &[Question],
    played: &[Played],
    seed: u64,
) -> Evaluation {
    let mut by_hops: BTreeMap<Option<usize>, Vec<&Played>> = BTreeMap::new();
    for (question, played) in questions.iter().zip(played) {
        by_hops.entry(question.hops()).or_default().push(played);
    }
    let mut rows = vec![row("all".to_owned(), &played.iter().collect::<Vec<_>>(), seed)];
    rows.extend(by_hops.into_iter().map(|(hops, played)| {
        let name = hops.map_or_else(|| "?".to_owned(), |it| it.to_string());
        row(name, &played, seed)
    }));
    Evaluation { step, sampling: sampling_name(sampling), questions: name.to_owned(), rows }
}

/// `greedy`, or the temperature.
pub fn sampling_name(sampling: Sampling) -> String {
    match sampling {
        Sampling::Greedy => "greedy".to_owned(),
        Sampling::Temperature(temperature) | Sampling::Truncated { temperature, .. } => {
            format!("temperature {temperature}")
        }
    }
}

fn row(name: String, played: &[&Played], seed: u64) -> EvaluationRow {
    let n = played.len();
    let mean =
        |f: &dyn Fn(&Played) -> f64| played.iter().map(|it| f(it)).sum::<f64>() / n.max(1) as f64;
    let of =
        |f: fn(&Played) -> f64| interval(&played.iter().map(|it| f(it)).collect::<Vec<_>>(), seed);
    EvaluationRow {
        name,
        n,
        em: of(|it| it.em),
        f1: of(|it| it.f1),
        searches: mean(&|it| it.trajectory.searches.len() as f64),
        answered: mean(&|it| f64::from(u8::from(it.trajectory.final_answer().is_some()))),
    }
}

/// Mean with the 95 % percentile interval of a bootstrap over questions.
pub fn interval(values: &[f64], seed: u64) -> Interval {
    let n = values.len();
    if n == 0 {
        return Interval::default();
    }
    let mut rng = Stream::new(seed, Purpose::Bootstrap).rng();
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..n).map(|_| values[rng.random_range(0..n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    Interval {
        mean: values.iter().sum::<f64>() / n as f64,
        low: means[RESAMPLES / 40],
        high: means[RESAMPLES - 1 - RESAMPLES / 40],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_a_binomial_share() {
        let values: Vec<f64> = (0..400).map(|it| f64::from(u8::from(it % 4 == 0))).collect();
        let found = interval(&values, 1);
        assert!((found.mean - 0.25).abs() < 1e-12);
        // 1.96 standard errors of a share of 0.25 over 400 questions are 0.0424.
        assert!((found.high - found.mean - 0.0424).abs() < 0.006, "{found:?}");
        assert!((found.mean - found.low - 0.0424).abs() < 0.006, "{found:?}");
        assert_eq!(interval(&[], 1), Interval::default());
    }
}
