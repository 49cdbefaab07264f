//! Misbehaves on purpose, in the way its configuration names: it tests the host.

#![forbid(unsafe_code)]

use forage_reward_sdk::prelude::*;

/// How to misbehave.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Panics.
    Panic,
    /// Earns a reward that is not a number.
    Nan,
    /// Has an infinite part.
    Part,
    /// Has a step value that is not a number.
    Step,
    /// Has one step value too many.
    Steps,
    /// Returns no grades.
    Short,
    /// Returns an error for each trajectory with a member above 0.
    Error,
    /// Returns an error for the group.
    GroupError,
    /// Has no opinion.
    NotApplicable,
    /// Warns, and earns a reward and as much for each search: a well-behaved plugin.
    Fine,
    /// Panics when it is dropped.
    Drop,
}

/// Configuration of [`Panicky`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    mode: Mode,
    #[serde(default)]
    reward: f64,
}

/// Misbehaves on purpose.
#[derive(Debug)]
pub struct Panicky(Config);

impl Reward for Panicky {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        Ok(Self(config))
    }

    fn score(&self, _: &Question, trajectory: &Trajectory) -> Result<Grade, RewardError> {
        let n_searches = trajectory.searches.len();
        match self.0.mode {
            Mode::Panic => panic!("no such key: {:?}", self.0.mode),
            Mode::Nan => Score::new(f64::NAN).into(),
            Mode::Part => Score::new(0.0).part("p", f64::INFINITY).into(),
            Mode::Step => Score::new(0.0).steps(vec![f64::NAN; n_searches]).into(),
            Mode::Steps => Score::new(0.0).steps(vec![0.0; n_searches + 1]).into(),
            Mode::Error if trajectory.member > 0 => Err(RewardError::new("the judge is away")),
            Mode::NotApplicable => Ok(Grade::NotApplicable),
            _ => {
                forage_reward_sdk::warn("all is well");
                let reward = self.0.reward;
                Score::new(reward).part("p", reward).steps(vec![reward; n_searches]).into()
            }
        }
    }

    fn score_group(&self, group: &Group) -> Result<Vec<Grade>, RewardError> {
        match self.0.mode {
            Mode::Short => Ok(Vec::new()),
            Mode::GroupError => Err(RewardError::new("the judge is away")),
            _ => {
                let grade = |it| self.score(&group.question, it);
                let failed = |err: RewardError| Grade::Failed(err.to_string());
                Ok(group.trajectories.iter().map(|it| grade(it).unwrap_or_else(failed)).collect())
            }
        }
    }
}

impl Drop for Panicky {
    fn drop(&mut self) {
        assert!(!matches!(self.0.mode, Mode::Drop), "dropped");
    }
}

export_reward!(Panicky);
