//! LLM-as-a-judge reward: 1 for an answer that a language model judges to be correct, else 0.
//!
//! E-GRPO (arXiv 2510.24694) and SAGE (arXiv 2601.18202) reward answers like this. The judge is any
//! server with the chat completions of the `OpenAI` protocol: vLLM, `SGLang`, llama.cpp, or a
//! hosted service. It is shown the question, the golden answers and the answer, and nothing else of
//! the trajectory.
//!
//! # Options
//!
//! See [`Config`]. The prompt is a file with `{question}`, `{golden_answers}` and `{answer}`.
//! Default: `prompts/judge.txt` of the SDK. Its hash is part of the key of every cached verdict and
//! is written to the log of the run.
//!
//! # Parts
//!
//! `right`, the verdict, and `em`, the exact match, to compare the judge with.
//!
//! # Failures
//!
//! - A reply without a verdict in its last line fails the trajectory, which is left out and does
//!   not count as incorrect.
//! - A judge that cannot be reached after all retries is a [`RewardError::broken`].
//!
//! # Departures
//!
//! - A missing answer, one with a tag of the agent loop inside, and one with more than `max_words`
//!   words are incorrect without a call of the judge: such answers could be prompt injections.
//! - The same answer is judged once. Verdicts are cached, because a grade must not change when a
//!   run is resumed, which temperature 0 alone does not guarantee.

#![forbid(unsafe_code)]

use forage_reward_sdk::judge::Judge;
use forage_reward_sdk::{prelude::*, text};

pub use forage_reward_sdk::judge::Config;

/// LLM-as-a-judge reward.
#[derive(Debug)]
pub struct LlmJudge {
    judge: Judge,
}

impl Reward for LlmJudge {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        Ok(Self { judge: Judge::new(config)? })
    }

    fn applicability(&self, question: &Question) -> Applicability {
        Applicability::by_golden_answers(question)
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        if question.golden_answers.is_empty() {
            return Ok(Grade::NotApplicable);
        }
        let is_right = self.judge.is_right(question, it)?;
        Ok(grade(question, it, is_right))
    }

    /// Judges all trajectories concurrently, and equal answers once.
    fn score_group(&self, group: &Group) -> Result<Vec<Grade>, RewardError> {
        let question = &group.question;
        if question.golden_answers.is_empty() {
            return Ok(vec![Grade::NotApplicable; group.trajectories.len()]);
        }
        let verdicts = self.judge.are_right(group)?;
        let judged = group.trajectories.iter().zip(verdicts);
        let grades = judged.map(|(trajectory, verdict)| match verdict {
            Ok(is_right) => grade(question, trajectory, is_right),
            Err(err) => Grade::Failed(err.to_string()),
        });
        Ok(grades.collect())
    }
}

fn grade(question: &Question, it: &Trajectory, is_right: bool) -> Grade {
    let right = f64::from(u8::from(is_right));
    let golds = &question.golden_answers;
    let em = it.clean_answer().map_or(0.0, |answer| text::exact_match(answer, golds));
    Score::new(right).part("right", right).part("em", em).into()
}

export_reward!(LlmJudge);

#[cfg(test)]
mod tests;
