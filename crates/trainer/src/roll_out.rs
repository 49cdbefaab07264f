//! A step's rollout: groups of trajectories with their grades, and dynamic sampling.

use anyhow::{Context, Result};
use forage_model::Generator;
use forage_rollout::{RolloutTask, run_episodes};
use forage_trajectory::{Grade, Group, Purpose, Question, Stream, Trajectory};

use crate::asking::Asking;
use crate::config::TrainingSection;
use crate::failure::{Code, Failure};
use crate::metrics::varied;
use crate::plugins::plugin_failure;
use crate::train::Parts;

/// What was played and graded in a step.
#[derive(Debug)]
pub struct Played {
    /// All groups, those of dynamic sampling last.
    pub groups: Vec<Group>,
    /// One a trajectory.
    pub grades: Vec<Vec<Grade>>,
    /// Groups that were played because others had no variance.
    pub n_extra: usize,
}

impl Played {
    /// Indices of the groups that are trained: all of them, or, with dynamic sampling, those that
    /// can tell their trajectories apart (DAPO, arXiv 2503.14476, equation 11).
    pub fn trained(&self, training: &TrainingSection) -> Vec<usize> {
        let all = 0..self.groups.len();
        if training.extra_groups == 0 { all.collect() } else { self.informative(all) }
    }

    fn informative(&self, groups: impl Iterator<Item = usize>) -> Vec<usize> {
        groups.filter(|&it| varied(&self.grades[it])).collect()
    }
}

/// Plays `group_size` trajectories of every question of a step, in one batch, and grades them.
/// Dynamic sampling then asks further questions, at most `extra_groups`, until as many groups as a
/// step has questions have variance.
pub fn roll_out(
    parts: &Parts<'_>,
    training: &TrainingSection,
    generator: &mut Generator,
    step: u64,
) -> Result<Played> {
    let asking = Asking { all: &parts.playground.train, training, seed: parts.config.seed };
    let mut played = Played { groups: Vec::new(), grades: Vec::new(), n_extra: 0 };
    played.add(parts, training, generator, step, &asking.of_step(step))?;
    if training.extra_groups == 0 {
        return Ok(played);
    }
    let mut further = asking.further(step);
    further.truncate(training.extra_groups);
    let mut further = further.as_slice();
    loop {
        let n_informative = played.informative(0..played.groups.len()).len();
        let wanted = training.questions_per_step.saturating_sub(n_informative);
        let (some, rest) = further.split_at(wanted.min(further.len()));
        if some.is_empty() {
            return Ok(played);
        }
        played.add(parts, training, generator, step, some)?;
        played.n_extra += some.len();
        further = rest;
    }
}

impl Played {
    fn add(
        &mut self,
        parts: &Parts<'_>,
        training: &TrainingSection,
        generator: &mut Generator,
        step: u64,
        questions: &[&Question],
    ) -> Result<()> {
        let stream = Stream::new(parts.config.seed, Purpose::Rollout).at_step(step);
        let first = self.groups.len();
        let tasks: Vec<RolloutTask<'_>> = questions
            .iter()
            .enumerate()
            .flat_map(|(idx, question)| {
                (0..training.group_size).map(move |member| RolloutTask {
                    question,
                    member,
                    stream: stream.of_member((first + idx) as u64, member as u64),
                })
            })
            .collect();
        let sampling = training.sampling();
        let retriever = &parts.playground.retriever;
        let trajectories =
            run_episodes(generator, retriever, &parts.config.rollout, &tasks, sampling)?;
        check(&trajectories, step)?;
        if retriever.has_given_up() {
            return Err(Failure::new(
                Code::Input,
                format!("the search server stopped answering in step {}", step + 1),
            )
            .hint("its budget of failures is spent; go on with `--resume` when it is well again")
            .into());
        }
        let mut trajectories = trajectories.into_iter();
        for question in questions {
            let trajectories = trajectories.by_ref().take(training.group_size).collect();
            let group = Group { question: (*question).clone(), trajectories };
            self.grades.push(parts.rewards.score_at(&group, step).map_err(plugin_failure)?);
            self.groups.push(group);
        }
        Ok(())
    }
}

/// Refuses a step that says nothing about the policy, or that a broken policy played.
fn check(played: &[Trajectory], step: u64) -> Result<()> {
    if let Some(failure) =
        played.iter().flat_map(|it| &it.searches).find_map(|it| it.failure.as_ref())
        && played.iter().all(Trajectory::failed)
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
    Ok(())
}
