//! Search-cost penalty: for searches beyond the minimum of the group.
//!
//! After OTC (arXiv 2504.14870), which pays less for a correct answer the more tool calls it took
//! beyond the minimum. With `n` the number of searches of a trajectory, and `n*` the minimum of `n`
//! over the trajectories of the group with a correct answer,
//!
//! ```text
//! reward = − min(cost · max(0, n − n*), limit)
//! ```
//!
//! There is no penalty if no trajectory of the group is correct: `n*` is unknown then, and a
//! penalty would only teach not to search.
//!
//! # Options
//!
//! - `cost`: penalty of one search beyond `n*`. Default: 0.05.
//! - `limit`: maximum penalty of a trajectory. Default: 0.5.
//! - `charge`: trajectories that are penalized. `"right"` are those with a correct answer, so that
//!   further searching does not make an incorrect one worse; or `"all"`. Default: `"right"`.
//!
//! # Parts
//!
//! `searches`, the number `n`, and `needless`, the number beyond `n*`.
//!
//! # Departures
//!
//! OTC multiplies the reward of the answer by a function with its maximum at `n*`, and keeps `n*`
//! over the whole run. Here a penalty is added, and `n*` is that of the current group: a grade must
//! not depend on what was graded before.

#![forbid(unsafe_code)]

use forage_reward_sdk::{prelude::*, text};

/// Configuration of [`SearchCost`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Penalty of one search beyond the minimum. Default: 0.05.
    pub cost: f64,
    /// Maximum penalty of a trajectory. Default: 0.5.
    pub limit: f64,
    /// Trajectories that are penalized. Default: `right`.
    pub charge: Charge,
}

impl Default for Config {
    fn default() -> Self {
        Self { cost: 0.05, limit: 0.5, charge: Charge::default() }
    }
}

/// Trajectories that are penalized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Charge {
    /// Trajectories with a correct answer.
    #[default]
    Right,
    /// All trajectories.
    All,
}

/// Search-cost penalty.
#[derive(Debug)]
pub struct SearchCost {
    config: Config,
}

impl Reward for SearchCost {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        for (name, value) in [("cost", config.cost), ("limit", config.limit)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(RewardError::new(format!("`{name}` is {value}: it is 0 or more")));
            }
        }
        Ok(Self { config })
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        let fewest = is_right(question, it).then_some(it.searches.len());
        Ok(self.grade(question, it, fewest))
    }

    fn score_group(&self, group: &Group) -> Result<Vec<Grade>, RewardError> {
        let question = &group.question;
        let right = group.trajectories.iter().filter(|it| is_right(question, it));
        let fewest = right.map(|trajectory| trajectory.searches.len()).min();
        Ok(group.trajectories.iter().map(|it| self.grade(question, it, fewest)).collect())
    }
}

impl SearchCost {
    fn grade(&self, question: &Question, it: &Trajectory, fewest: Option<usize>) -> Grade {
        if question.golden_answers.is_empty() {
            return Grade::NotApplicable;
        }
        let n_searches = it.searches.len();
        let n_needless = fewest.map_or(0, |fewest| n_searches.saturating_sub(fewest)) as f64;
        let charged = self.config.charge == Charge::All || is_right(question, it);
        let cost = (self.config.cost * n_needless).min(self.config.limit);
        // Not `-cost`, which is −0 for 0.
        let score = Score::new(if charged { 0.0 - cost } else { 0.0 });
        score.part("searches", n_searches as f64).part("needless", n_needless).into()
    }
}

fn is_right(question: &Question, it: &Trajectory) -> bool {
    it.clean_answer()
        .is_some_and(|answer| text::exact_match(answer, &question.golden_answers) > 0.0)
}

export_reward!(SearchCost);

#[cfg(test)]
mod tests {
    use super::*;

    fn played(n_searches: usize, answer: &str) -> Trajectory<'static> {
        (0..n_searches).fold(Trajectory::default(), |it, _| it.search("x", [])).answer(answer)
    }

    #[test]
    fn charges_what_another_did_without() {
        for (charge, group, expected) in [
            (
                Charge::Right,
                [(2, "Paris"), (4, "Paris"), (4, "Lyon")].as_slice(),
                [0.0, -0.1, 0.0].as_slice(),
            ),
            (Charge::All, &[(2, "Paris"), (4, "Paris"), (4, "Lyon")], &[0.0, -0.1, -0.1]),
            (Charge::All, &[(1, "Lyon"), (9, "Lyon")], &[0.0, 0.0]),
            (Charge::Right, &[(3, "Paris"), (1, "Lyon")], &[0.0, 0.0]),
            (Charge::Right, &[(0, "Paris"), (40, "Paris")], &[0.0, -0.5]),
            (Charge::All, &[], &[]),
        ] {
            let plugin = SearchCost::new(Config { charge, ..Config::default() }).unwrap();
            let group = Group {
                question: Question::new("?", ["Paris"]),
                trajectories: group.iter().map(|(n, answer)| played(*n, answer)).collect(),
                ..Group::default()
            };
            let rewards: Vec<f64> =
                plugin.score_group(&group).unwrap().iter().filter_map(Grade::reward).collect();
            assert_eq!(rewards.len(), expected.len());
            let same = rewards.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(same, "{charge:?}: {rewards:?}, {expected:?}");
        }
    }

    #[test]
    fn alone_nothing_is_needless() {
        let plugin = SearchCost::new(Config::default()).unwrap();
        let question = Question::new("?", ["Paris"]);
        let grade = plugin.score(&question, &played(7, "Paris")).unwrap();
        assert_eq!(grade.reward(), Some(0.0));
        assert_eq!(plugin.score(&Question::default(), &played(7, "x")), Ok(Grade::NotApplicable));
        let wrong = SearchCost::new(Config { cost: -1.0, ..Config::default() }).unwrap_err();
        assert_eq!(wrong.to_string(), "`cost` is -1: it is 0 or more");
    }
}
