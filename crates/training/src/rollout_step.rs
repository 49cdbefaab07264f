//! Rollout of a training step: groups of trajectories with their grades, and dynamic sampling.

use forage_model::{Decoder, Generator, Tokenizer};
use forage_rollout::{RolloutTask, run_episodes};
use forage_trajectory::{Grade, Group, Purpose, Question, Stream, Trajectory};

use crate::config::TrainingSection;
use crate::error::{Diverged, TrainingError};
use crate::run::RunContext;
use crate::statistics::differ;

/// Groups of a step with their grades.
#[derive(Debug)]
pub struct RolloutBatch {
    /// All groups, those of dynamic sampling last.
    pub groups: Vec<Group>,
    /// Grades of each group, one a trajectory.
    pub grades: Vec<Vec<Grade>>,
    /// Groups that dynamic sampling added, because the rewards of others did not differ.
    pub n_extra: usize,
}

impl RolloutBatch {
    /// Indices of the groups that are trained: all of them, or, with dynamic sampling, those whose
    /// rewards differ (DAPO, arXiv 2503.14476, equation 11).
    pub fn trained(&self, training: &TrainingSection) -> Vec<usize> {
        let all = 0..self.groups.len();
        if training.extra_groups == 0 { all.collect() } else { self.informative(all) }
    }

    fn informative(&self, groups: impl Iterator<Item = usize>) -> Vec<usize> {
        groups.filter(|&idx| has_variance(&self.grades[idx])).collect()
    }
}

/// Whether the rewards of a group differ, so that its trajectories have advantages.
pub fn has_variance(group: &[Grade]) -> bool {
    differ(&group.iter().filter_map(Grade::reward).collect::<Vec<_>>())
}

/// Token generator over the weights of a policy. `cache_tokens` bounds its KV cache.
pub fn generator(decoder: Decoder, tokenizer: Tokenizer, cache_tokens: Option<usize>) -> Generator {
    let generator = Generator::new(decoder, tokenizer);
    match cache_tokens {
        Some(cache_tokens) => generator.with_cache_tokens(cache_tokens),
        None => generator,
    }
}

/// Samples `group_size` trajectories of every question of a step, in one batch, and grades them.
/// Dynamic sampling then adds groups of extra questions, at most `extra_groups`, until the rewards
/// of `questions_per_step` groups differ.
///
/// # Errors
///
/// [`TrainingError::Reward`] where the rewards failed, [`TrainingError::NoTrajectory`] and
/// [`TrainingError::SearchStopped`] where the search engine did, and [`TrainingError::Diverged`]
/// where the policy sampled from logits that are not finite.
pub fn rollout_step(
    context: &RunContext<'_>,
    generator: &mut Generator,
    step: u64,
) -> Result<RolloutBatch, TrainingError> {
    let training = &context.config.training;
    let sampler = context.question_sampler();
    let mut batch = RolloutBatch { groups: Vec::new(), grades: Vec::new(), n_extra: 0 };
    batch.add(context, generator, step, &sampler.batch(step))?;
    if training.extra_groups == 0 {
        return Ok(batch);
    }
    let mut extra = sampler.extra(step);
    extra.truncate(training.extra_groups);
    let mut extra = extra.as_slice();
    loop {
        let n_informative = batch.informative(0..batch.groups.len()).len();
        let wanted = training.questions_per_step.saturating_sub(n_informative);
        let (some, rest) = extra.split_at(wanted.min(extra.len()));
        if some.is_empty() {
            return Ok(batch);
        }
        batch.add(context, generator, step, some)?;
        batch.n_extra += some.len();
        extra = rest;
    }
}

impl RolloutBatch {
    /// Samples and grades the groups of some more questions.
    fn add(
        &mut self,
        context: &RunContext<'_>,
        generator: &mut Generator,
        step: u64,
        questions: &[&Question],
    ) -> Result<(), TrainingError> {
        let RunContext { config, environment, grader, .. } = *context;
        let training = &config.training;
        let retriever = &*environment.retriever;
        let tasks = self.tasks(config.seed, step, questions, training.group_size);
        let trajectories =
            run_episodes(generator, retriever, &config.rollout, &tasks, training.sampling())?;
        check(&trajectories, step)?;
        if retriever.has_given_up() {
            return Err(TrainingError::SearchStopped { step: step + 1 });
        }
        let mut trajectories = trajectories.into_iter();
        for question in questions {
            let trajectories = trajectories.by_ref().take(training.group_size).collect();
            let group = Group { question: (*question).clone(), trajectories };
            let grades = grader.grade(&group, step).map_err(TrainingError::Reward)?;
            let (n_grades, n_trajectories) = (grades.len(), group.trajectories.len());
            if n_grades != n_trajectories {
                return Err(TrainingError::Grades { n_grades, n_trajectories });
            }
            self.grades.push(grades);
            self.groups.push(group);
        }
        Ok(())
    }

    /// Rollout tasks: one for each member of the groups of some questions.
    fn tasks<'q>(
        &self,
        seed: u64,
        step: u64,
        questions: &[&'q Question],
        group_size: usize,
    ) -> Vec<RolloutTask<'q>> {
        let stream = Stream::new(seed, Purpose::Rollout).at_step(step);
        let first = self.groups.len();
        let of_question = |(idx, question): (usize, &&'q Question)| {
            let (group, question) = ((first + idx) as u64, *question);
            (0..group_size).map(move |member| RolloutTask {
                question,
                member,
                stream: stream.of_member(group, member as u64),
            })
        };
        questions.iter().enumerate().flat_map(of_question).collect()
    }
}

/// Refuses a step in which every trajectory failed, or with logits that are not finite.
fn check(trajectories: &[Trajectory], step: u64) -> Result<(), TrainingError> {
    let mut searches = trajectories.iter().flat_map(|trajectory| &trajectory.searches);
    if let Some(failure) = searches.find_map(|search| search.failure.as_ref())
        && trajectories.iter().all(Trajectory::failed)
    {
        let source = failure.clone().into();
        return Err(TrainingError::NoTrajectory { step: step + 1, source });
    }
    let mut logprobs = trajectories.iter().flat_map(|trajectory| &trajectory.logprobs);
    if logprobs.any(|logprob| !logprob.is_finite()) {
        return Err(Diverged::Sampling { step: step + 1 }.into());
    }
    Ok(())
}
