//! Context of a run: the inputs that every part of a training step reads and none changes.

use forage_model::Tokenizer;
use forage_trajectory::Grader;

use crate::config::TrainConfig;
use crate::environment::Environment;
use crate::evaluate::Evaluator;
use crate::observer::Observer;
use crate::question_sampler::QuestionSampler;
use crate::run_folder::RunFolder;

/// Context of a training run.
#[derive(Clone, Copy)]
pub struct RunContext<'a> {
    /// Configuration.
    pub config: &'a TrainConfig,
    /// Folder that the run writes into.
    pub run: &'a RunFolder,
    /// Questions and search engine.
    pub environment: &'a Environment,
    /// Rewards.
    pub grader: &'a dyn Grader,
    /// Tokenizer of the policy.
    pub tokenizer: &'a Tokenizer,
    /// Observer of the run.
    pub observer: &'a dyn Observer,
}

impl<'a> RunContext<'a> {
    /// Sampler of the training questions.
    pub fn question_sampler(&self) -> QuestionSampler<'a> {
        QuestionSampler {
            all: &self.environment.train,
            training: &self.config.training,
            seed: self.config.seed,
        }
    }

    /// Evaluator on the held-out questions.
    pub fn evaluator(&self) -> Evaluator<'a> {
        Evaluator {
            seed: self.config.seed,
            rollout: &self.config.rollout,
            environment: self.environment,
            run: self.run,
            observer: self.observer,
        }
    }
}
