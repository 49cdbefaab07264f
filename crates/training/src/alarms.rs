//! Alarms: signs that the policy earns its reward by other means than answering, `alarm/…`.
//!
//! Each alarm is a number in every row of the metrics, or in every row with an evaluation, and has
//! a threshold in the run file, `[alarms]`. One that rises above its threshold is a warning: one
//! warning, until it has been below the threshold again. An alarm changes nothing in the run.

use std::collections::{BTreeSet, VecDeque};

use forage_reward_sdk::grammar::has_tags;
use forage_reward_sdk::text::{exact_match, normalize_answer};
use forage_trajectory::statistics::mean;
use forage_trajectory::{Group, Origin, Question, SegmentKind, Trajectory};
use serde::Deserialize;

use crate::config::AlarmSection;
use crate::error::TrainingError;
use crate::metrics::AlarmMetrics;
use crate::run_folder::RunFolder;
use crate::statistics::share;

/// Window of `alarm/reward_without_em`, in evaluations.
const EVALUATIONS: usize = 3;

/// Alarms of a run, with the values of earlier steps that they need.
#[derive(Debug, Clone, Default)]
pub struct Alarms {
    section: AlarmSection,
    /// Last value of each alarm.
    last: AlarmValues,
    /// Mean rewards of the steps since the last evaluation.
    rewards: Vec<f64>,
    /// Last evaluations: mean reward of the steps before each, and its exact match.
    evaluated: VecDeque<(f64, f64)>,
}

/// Values of the alarms; `None` for one that had none so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
struct AlarmValues {
    #[serde(rename = "alarm/reward_without_em")]
    reward_without_em: Option<f64>,
    #[serde(rename = "alarm/copied_answers")]
    copied_answers: Option<f64>,
    #[serde(rename = "alarm/unsearched")]
    unsearched: Option<f64>,
    #[serde(rename = "alarm/repeated_queries")]
    repeated_queries: Option<f64>,
    #[serde(rename = "alarm/tagged_answers")]
    tagged_answers: Option<f64>,
}

/// Past row of the metrics: the values that a resumed run needs.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct PastRow {
    #[serde(rename = "reward/mean")]
    reward: Option<f64>,
    #[serde(rename = "eval/greedy/em")]
    exact_match: Option<f64>,
    #[serde(flatten)]
    alarms: AlarmValues,
}

impl Alarms {
    /// Alarms at the beginning of a run.
    pub fn new(section: AlarmSection) -> Self {
        Self { section, ..Self::default() }
    }

    /// Alarms of a run that is resumed, from its metrics so far. Its warnings are those of a
    /// run without an interruption.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Damaged`] where a row of the metrics cannot be read.
    pub fn resume(section: AlarmSection, run: &RunFolder) -> Result<Self, TrainingError> {
        let mut alarms = Self::new(section);
        let rows: Vec<PastRow> = run.read_rows("metrics.jsonl")?;
        for row in rows {
            alarms.observe_rewards(row.reward, row.exact_match);
            alarms.last.update(&row.alarms);
        }
        Ok(alarms)
    }

    /// Alarms of a step, and a warning for each that rose above its threshold.
    ///
    /// `reward` is the mean reward of the step, `exact_match` that of its evaluation, where there
    /// is one.
    pub fn watch(
        &mut self,
        step: u64,
        groups: &[Group],
        reward: Option<f64>,
        exact_match: Option<f64>,
    ) -> (AlarmMetrics, Vec<String>) {
        let rise = self.observe_rewards(reward, exact_match);
        let metrics = AlarmMetrics { reward_without_em: rise, ..of_groups(groups) };
        let now = AlarmValues::of(&metrics);
        let warnings = self.warnings(step, &now);
        self.last.update(&now);
        (metrics, warnings)
    }

    /// Warnings: one for each alarm that is above its threshold now and was not at its last value.
    fn warnings(&self, step: u64, now: &AlarmValues) -> Vec<String> {
        let thresholds = self.section.thresholds();
        let mut warnings = Vec::new();
        for (((name, now), (_, last)), (threshold, meaning)) in
            now.all().into_iter().zip(self.last.all()).zip(thresholds)
        {
            let Some(value) = now.filter(|value| *value > threshold) else { continue };
            if last.is_none_or(|last| last <= threshold) {
                warnings.push(format!(
                    "step {step}: {meaning}: `alarm/{name}` is {value:.3}, above {threshold}"
                ));
            }
        }
        warnings
    }

    /// Rise of the mean reward from the steps before the first evaluation of the window to those
    /// before the present one, where exact match did not rise between the two; 0 where it did.
    /// `None` where this step has no evaluation, or where there are not two with steps before them.
    fn observe_rewards(&mut self, reward: Option<f64>, exact_match: Option<f64>) -> Option<f64> {
        self.rewards.extend(reward);
        let exact_match = exact_match?;
        if !self.rewards.is_empty() {
            self.evaluated.push_back((mean(&std::mem::take(&mut self.rewards)), exact_match));
        }
        if self.evaluated.len() > EVALUATIONS {
            self.evaluated.pop_front();
        }
        let (before, now) = (self.evaluated.front()?, self.evaluated.back()?);
        if self.evaluated.len() < 2 {
            return None;
        }
        Some(if now.1 > before.1 { 0.0 } else { (now.0 - before.0).max(0.0) })
    }
}

impl AlarmValues {
    fn of(metrics: &AlarmMetrics) -> Self {
        Self {
            reward_without_em: metrics.reward_without_em,
            copied_answers: Some(metrics.copied_answers),
            unsearched: Some(metrics.unsearched),
            repeated_queries: Some(metrics.repeated_queries),
            tagged_answers: Some(metrics.tagged_answers),
        }
    }

    /// Name and value of each alarm, in the order of [`AlarmSection::thresholds`].
    fn all(&self) -> [(&'static str, Option<f64>); 5] {
        [
            ("reward_without_em", self.reward_without_em),
            ("copied_answers", self.copied_answers),
            ("unsearched", self.unsearched),
            ("repeated_queries", self.repeated_queries),
            ("tagged_answers", self.tagged_answers),
        ]
    }

    /// Overwrites the values that `now` has.
    fn update(&mut self, now: &Self) {
        *self = Self {
            reward_without_em: now.reward_without_em.or(self.reward_without_em),
            copied_answers: now.copied_answers.or(self.copied_answers),
            unsearched: now.unsearched.or(self.unsearched),
            repeated_queries: now.repeated_queries.or(self.repeated_queries),
            tagged_answers: now.tagged_answers.or(self.tagged_answers),
        };
    }
}

impl AlarmSection {
    /// Threshold and meaning of each alarm, in the order of [`AlarmValues::all`].
    fn thresholds(&self) -> [(f64, &'static str); 5] {
        [
            (
                self.reward_without_em,
                "the reward rises, the exact match of held-out questions does not",
            ),
            (self.copied_answers, "answers are copied from what was found, without a thought"),
            (self.unsearched, "right answers come without a search"),
            (self.repeated_queries, "queries are repeated"),
            (self.tagged_answers, "answers hold tags of the grammar"),
        ]
    }
}

/// Alarms that follow from the trajectories of a step.
fn of_groups(groups: &[Group]) -> AlarmMetrics {
    let trajectories: Vec<(&Question, &Trajectory)> = groups
        .iter()
        .flat_map(|group| group.trajectories.iter().map(|one| (&group.question, one)))
        .filter(|(_, trajectory)| !trajectory.failed())
        .collect();
    let answered: Vec<(&Question, &Trajectory, &str)> = trajectories
        .iter()
        .filter_map(|(question, one)| Some((*question, *one, one.final_answer()?)))
        .collect();
    let right: Vec<&Trajectory> = answered
        .iter()
        .filter(|(question, _, answer)| exact_match(answer, &question.golden_answers) > 0.0)
        .map(|(_, trajectory, _)| *trajectory)
        .collect();
    let copied = answered.iter().filter(|(_, one, answer)| is_copied(one, answer)).count();
    let tagged = answered.iter().filter(|(_, _, answer)| has_tags(answer)).count();
    let unsearched = right.iter().filter(|one| one.searches.is_empty()).count();
    let n_searches: usize = trajectories.iter().map(|(_, one)| one.searches.len()).sum();
    let repeated: usize = trajectories.iter().map(|(_, one)| n_repeated(one)).sum();
    AlarmMetrics {
        copied_answers: share(copied, answered.len()),
        unsearched: share(unsearched, right.len()),
        repeated_queries: share(repeated, n_searches),
        tagged_answers: share(tagged, answered.len()),
        reward_without_em: None,
    }
}

/// Whether an answer is in a retrieved passage, and the trajectory has no thought.
fn is_copied(it: &Trajectory, answer: &str) -> bool {
    let has_thought = it.segments.iter().any(|segment| {
        segment.origin == Origin::Policy
            && segment.kind == SegmentKind::Think
            && !segment.content.is_empty()
    });
    let answer = normalize_answer(answer);
    let stands_in = |text: &str| normalize_answer(text).contains(&answer);
    let mut hits = it.searches.iter().flat_map(|it| &it.hits);
    !has_thought
        && !answer.is_empty()
        && hits.any(|hit| stands_in(&hit.title) || stands_in(&hit.text))
}

/// Number of searches of a trajectory whose query it had asked before.
fn n_repeated(it: &Trajectory) -> usize {
    let queries = it.searches.iter().map(|search| normalize_answer(&search.query));
    it.searches.len() - queries.collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use forage_trajectory::{Hit, Outcome, Search};

    use super::*;
    use crate::run_folder::Opening;

    /// A trajectory with these queries, each of which finds `Alien`, and this answer.
    fn played(thought: &str, queries: &[&str], answer: &str) -> Trajectory {
        let mut it = Trajectory::new("q", 0);
        it.outcome = Outcome::Answered;
        it.tag(SegmentKind::Think, "", 0..0, Some(thought));
        for query in queries {
            let hit = Hit { title: "Alien".to_owned(), ..Hit::default() };
            let search =
                Search { query: (*query).to_owned(), hits: vec![hit], segment: 0, failure: None };
            it.searches.push(search);
        }
        it.tag(SegmentKind::Answer, "", 0..0, Some(answer));
        it
    }

    fn alarms(trajectories: Vec<Trajectory>) -> [f64; 4] {
        let golden_answers = vec!["Alien".to_owned()];
        let question = Question { golden_answers, ..Question::default() };
        let found = of_groups(&[Group { question, trajectories }]);
        [found.copied_answers, found.unsearched, found.repeated_queries, found.tagged_answers]
    }

    #[test]
    fn each_habit_has_its_alarm() {
        let good = || played("hm", &["x", "y"], "Alien");
        let mut failed = played("", &["x", "x"], "<answer>");
        failed.outcome = Outcome::Failed("no server".to_owned());
        for (trajectories, expected) in [
            (vec![], [0.0; 4]),
            (vec![good(), failed], [0.0; 4]),
            (vec![good(), played("", &["x"], "alien")], [0.5, 0.0, 0.0, 0.0]),
            (vec![good(), played("", &["x"], "Other")], [0.0; 4]),
            (vec![good(), played("hm", &[], "Alien")], [0.0, 0.5, 0.0, 0.0]),
            (vec![good(), played("hm", &["x", "X!"], "no")], [0.0, 0.0, 0.25, 0.0]),
            (vec![good(), played("hm", &["x"], "<search> y")], [0.0, 0.0, 0.0, 0.5]),
        ] {
            let found = alarms(trajectories.clone());
            let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(near, "{found:?} instead of {expected:?}: {trajectories:?}");
        }
    }

    #[test]
    fn rewards_without_em() {
        let rows = [
            (None, Some(0.2)),
            (Some(0.1), None),
            (Some(0.3), Some(0.25)),
            (Some(0.4), Some(0.25)),
            (Some(0.6), Some(0.25)),
            (Some(0.7), Some(0.3)),
            (Some(0.7), None),
        ];
        let mut alarms = Alarms::default();
        let found = rows.map(|(reward, em)| alarms.observe_rewards(reward, em));
        let expected = [None, None, None, Some(0.2), Some(0.4), Some(0.0), None];
        for (found, expected) in found.into_iter().zip(expected) {
            match (found, expected) {
                (Some(found), Some(expected)) => {
                    assert!((found - expected).abs() < 1e-9, "{found}");
                }
                _ => assert_eq!(found, expected),
            }
        }
    }

    #[test]
    fn a_warning_is_given_once_until_it_is_over() {
        let mut alarms = Alarms::default();
        let mut warnings = Vec::new();
        for (step, value) in [0.1, 0.6, 0.7, 0.2, 0.9].into_iter().enumerate() {
            let now = AlarmValues { unsearched: Some(value), ..AlarmValues::default() };
            warnings.extend(alarms.warnings(step as u64, &now));
            alarms.last.update(&now);
        }
        let warning = |step, value| {
            format!(
                "step {step}: right answers come without a search: \
                 `alarm/unsearched` is {value}, above 0.5"
            )
        };
        assert_eq!(warnings, [warning(1, "0.600"), warning(4, "0.900")]);
    }

    #[test]
    fn a_resumed_run_remembers_what_the_metrics_tell() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::open(folder.path(), "", Opening::Fresh).unwrap();
        let text = "{\"step\":0,\"eval/greedy/em\":0.2}\n\
                    {\"step\":1,\"reward/mean\":0.5,\"alarm/unsearched\":0.9}\n\
                    {\"step\":2,\"reward/mean\":0.25,\"eval/greedy/em\":0.25}\n";
        std::fs::write(run.path("metrics.jsonl"), text).unwrap();
        let alarms = Alarms::resume(AlarmSection::default(), &run).unwrap();
        assert_eq!(alarms.last.unsearched, Some(0.9));
        assert_eq!(alarms.evaluated, [(0.375, 0.25)]);
        std::fs::write(run.path("metrics.jsonl"), "{\"step\":0}\n{\"st").unwrap();
        let error = Alarms::resume(AlarmSection::default(), &run).unwrap_err();
        assert!(error.to_string().contains("metrics.jsonl"), "{error}");
    }
}
