//! Judge that is a reward plugin.

use std::path::Path;

use anyhow::Result;
use forage_reward::{Combination, RewardSection, Rewards, copy_plugin, find_plugin};
use forage_synthesis::feedback_loop::{Judge, Judgement, QaPair, StepError, WithUsage};
use forage_trajectory::protocol::ANSWER;
use forage_trajectory::{Grade, Group, Origin, Outcome, SegmentKind, Stream, Trajectory};
use serde_json::Value;

use super::section::PluginJudgeSection;
use crate::plugins::{plugin_failure, search_folders};

/// Judge that is a reward plugin with a threshold.
#[derive(Debug)]
pub struct PluginJudge {
    rewards: Rewards,
    least: f64,
}

/// The name of the reward in its errors.
const NAME: &str = "judge";

impl PluginJudge {
    /// Copies the plugin of a run file into `folder` and loads the copy. Also returns its hash.
    pub fn load(
        section: &PluginJudgeSection,
        run_file: &Path,
        folder: &Path,
    ) -> Result<(Self, String)> {
        let PluginJudgeSection { plugin, config, least } = section;
        let library = find_plugin(plugin, &search_folders(run_file)).map_err(plugin_failure)?;
        let copied = copy_plugin(&library, folder).map_err(plugin_failure)?;
        let config = Value::Object(config.clone());
        let reward: RewardSection =
            serde_json::from_value(serde_json::json!({"plugin": plugin, "config": config}))?;
        let sections = [(NAME.to_owned(), reward, copied.path)];
        let rewards = Rewards::load(&sections, Combination::default()).map_err(plugin_failure)?;
        Ok((Self { rewards, least: *least }, copied.hash))
    }
}

impl Judge for PluginJudge {
    /// The plugin sees a trajectory that holds the answer and nothing else.
    fn judge(
        &self,
        pair: &QaPair,
        answer: &str,
        _stream: Stream,
    ) -> Result<WithUsage<Judgement>, StepError> {
        let question = pair.question(NAME.to_owned());
        let mut trajectory = Trajectory::new(NAME, 0);
        trajectory.push_given(Origin::Prompt, SegmentKind::Prompt, &question.text, &[]);
        trajectory.tag(
            SegmentKind::Answer,
            &ANSWER.wrap(&format!(" {answer} ")),
            0..0,
            Some(answer),
        );
        trajectory.outcome = Outcome::Answered;
        let group = Group { question, trajectories: vec![trajectory] };
        let grades = self
            .rewards
            .score(&group)
            .map_err(|error| StepError::engine("the judge's plugin", error))?;
        match grades.into_iter().next() {
            Some(Grade::Scored(score)) => {
                let right = score.reward >= self.least;
                Ok(WithUsage::free(Judgement { right, reply: String::new() }))
            }
            Some(Grade::Failed(reason)) => Err(StepError::engine("the judge's plugin", reason)),
            Some(Grade::NotApplicable) | None => Err(StepError::item("the judge does not apply")),
        }
    }
}
