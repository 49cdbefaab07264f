//! Question sampler: the training questions of a step, and those of dynamic sampling.
//!
//! It has no state: the questions of a step follow from the seed and the step.

use std::collections::BTreeSet;

use forage_trajectory::{Purpose, Question, Stream};
use rand::seq::SliceRandom;

use crate::config::{CurriculumStage, TrainingSection};
use crate::error::ConfigurationError;

/// Sampler of training questions, without replacement within an epoch.
#[derive(Debug, Clone, Copy)]
pub struct QuestionSampler<'a> {
    /// All training questions.
    pub all: &'a [Question],
    /// Questions a step, and curriculum.
    pub training: &'a TrainingSection,
    /// Seed of the run.
    pub seed: u64,
}

impl<'a> QuestionSampler<'a> {
    /// Checks that every stage of the curriculum has a question, and that it bounds any.
    pub fn check(&self) -> Result<(), ConfigurationError> {
        if self.all.is_empty() {
            return Err(ConfigurationError::NoQuestion);
        }
        let has_hops = || self.all.iter().any(|question| question.hops().is_some());
        if !self.training.curriculum.is_empty() && !has_hops() {
            return Err(ConfigurationError::UnknownHops);
        }
        for &CurriculumStage { from, hops } in &self.training.curriculum {
            if self.eligible(from).is_empty() {
                return Err(ConfigurationError::EmptyStage { from, hops });
            }
        }
        Ok(())
    }

    /// Questions of a step: those of its stage, shuffled anew in every epoch.
    pub fn batch(&self, step: u64) -> Vec<&'a Question> {
        let eligible = self.eligible(step);
        let (stage, begins) = self.stage(step).map_or((0, 0), |(it, stage)| (it, stage.from));
        let shuffled = |epoch: u64| {
            let stream = Stream::new(self.seed, Purpose::Shuffle).at_step(epoch);
            let mut order: Vec<usize> = (0..eligible.len()).collect();
            order.shuffle(&mut stream.of_member(stage as u64, 0).rng());
            order
        };
        let a_step = self.training.questions_per_step as u64;
        let first = (step - begins) * a_step;
        let n = eligible.len() as u64;
        let mut epoch = first / n;
        let mut order = shuffled(epoch);
        (first..first + a_step)
            .map(|at| {
                if at / n != epoch {
                    epoch = at / n;
                    order = shuffled(epoch);
                }
                eligible[order[(at % n) as usize]]
            })
            .collect()
    }

    /// Extra questions for dynamic sampling, in order: those of the stage that the step does not
    /// have.
    pub fn extra(&self, step: u64) -> Vec<&'a Question> {
        let asked: BTreeSet<&str> =
            self.batch(step).iter().map(|question| question.id.as_str()).collect();
        let mut others = self.eligible(step);
        others.retain(|question| !asked.contains(question.id.as_str()));
        let stream = Stream::new(self.seed, Purpose::DynamicSampling).at_step(step);
        others.shuffle(&mut stream.rng());
        others
    }

    /// The stage of a step, with its index.
    fn stage(&self, step: u64) -> Option<(usize, &'a CurriculumStage)> {
        self.training.curriculum.iter().enumerate().rfind(|(_, it)| it.from <= step)
    }

    /// Questions of the stage of a step. A question without a known number of hops is in every
    /// stage.
    fn eligible(&self, step: u64) -> Vec<&'a Question> {
        let max_hops = self.stage(step).map(|(_, stage)| stage.hops);
        let fits = |question: &&Question| match (max_hops, question.hops()) {
            (Some(max_hops), Some(hops)) => hops <= max_hops,
            _ => true,
        };
        self.all.iter().filter(fits).collect()
    }
}

#[cfg(test)]
mod tests {
    use forage_trajectory::EvidenceStep;

    use super::*;

    fn question(id: usize, hops: usize) -> Question {
        let mut question = Question { id: id.to_string(), ..Question::default() };
        question.evidence.steps = vec![EvidenceStep::default(); hops];
        question
    }

    fn training(curriculum: Vec<CurriculumStage>) -> TrainingSection {
        let text = "steps = 1\nquestions_per_step = 3\ngroup_size = 2\nmicro_batch_tokens = 1\n\
                    checkpoint_every = 1\nsave_trajectories_every = 1";
        TrainingSection { curriculum, ..toml::from_str(text).unwrap() }
    }

    #[test]
    fn every_epoch_asks_every_question_once() {
        let all: Vec<Question> = (0..7).map(|it| question(it, 0)).collect();
        let training = training(Vec::new());
        let sampler = QuestionSampler { all: &all, training: &training, seed: 5 };
        let asked: Vec<&str> =
            (0..7).flat_map(|step| sampler.batch(step)).map(|it| it.id.as_str()).collect();
        let mut orders = Vec::new();
        for epoch in asked.chunks(7) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, ["0", "1", "2", "3", "4", "5", "6"]);
            orders.push(epoch.to_vec());
        }
        assert_ne!(orders[0], orders[1]);
    }

    #[test]
    fn further_questions_are_others_and_the_same_each_time() {
        let all: Vec<Question> = (0..7).map(|it| question(it, 0)).collect();
        let training = training(Vec::new());
        let sampler = QuestionSampler { all: &all, training: &training, seed: 5 };
        let ids = |it: Vec<&Question>| it.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
        let mut both = ids(sampler.batch(0));
        both.extend(ids(sampler.extra(0)));
        both.sort_unstable();
        assert_eq!(both, ["0", "1", "2", "3", "4", "5", "6"]);
        assert_eq!(ids(sampler.extra(1)), ids(sampler.extra(1)));
    }

    #[test]
    fn a_curriculum_begins_with_what_is_easy() {
        let all: Vec<Question> = (0..12).map(|it| question(it, it % 4 + 1)).collect();
        let stages =
            vec![CurriculumStage { from: 0, hops: 1 }, CurriculumStage { from: 2, hops: 3 }];
        let training = training(stages);
        let sampler = QuestionSampler { all: &all, training: &training, seed: 5 };
        sampler.check().unwrap();
        let hops = |step| sampler.batch(step).iter().filter_map(|it| it.hops()).max();
        assert_eq!([hops(0), hops(1)], [Some(1), Some(1)]);
        assert!((2..6).all(|step| hops(step) <= Some(3)) && (2..6).any(|it| hops(it) == Some(3)));
        let hard: Vec<Question> = (0..4).map(|it| question(it, 4)).collect();
        let error = QuestionSampler { all: &hard, ..sampler }.check().unwrap_err();
        assert!(error.to_string().contains("`training.curriculum`"), "{error}");
        let unknown: Vec<Question> = (0..4).map(|it| question(it, 0)).collect();
        let error = QuestionSampler { all: &unknown, ..sampler }.check().unwrap_err();
        assert!(matches!(error, ConfigurationError::UnknownHops), "{error}");
    }
}
