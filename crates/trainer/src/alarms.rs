//! Signs that the policy earns its reward by other means than answering: `alarm/…`.
//!
//! Each alarm is a number in every row of the metrics, or in every row with an evaluation, and has
//! a threshold in the run file, `[alarms]`. One that is above it is a warning, once until it has
//! been below it again. Nothing is changed by an alarm: people decide.

use std::collections::BTreeSet;

use anyhow::Result;
use forage_reward_sdk::grammar::has_tags;
use forage_reward_sdk::text::{exact_match, normalize_answer};
use forage_trajectory::{Group, Origin, Question, SegmentKind, Trajectory};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::metrics::mean;
use crate::run_folder::RunFolder;

/// Evaluations that a rise of the reward is looked for over.
const EVALUATIONS: usize = 3;

/// Thresholds: an alarm above its own is a warning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlarmSection {
    /// `alarm/reward_without_em`: how much the mean reward of the steps rose over the last three
    /// evaluations, where the exact match of those did not; 0 where it did.
    pub reward_without_em: f64,
    /// `alarm/copied_answers`: the share of answers that are copied from what was found by a
    /// trajectory without a thought.
    pub copied_answers: f64,
    /// `alarm/unsearched`: the share of right answers that came without a search.
    pub unsearched: f64,
    /// `alarm/repeated_queries`: the share of searches whose query its trajectory had asked before.
    pub repeated_queries: f64,
    /// `alarm/tagged_answers`: the share of answers with tags of the grammar inside.
    pub tagged_answers: f64,
}

impl Default for AlarmSection {
    fn default() -> Self {
        Self {
            reward_without_em: 0.1,
            copied_answers: 0.5,
            unsearched: 0.5,
            repeated_queries: 0.5,
            tagged_answers: 0.05,
        }
    }
}

impl AlarmSection {
    /// Each alarm with its threshold and what it means.
    fn all(&self) -> [(&'static str, f64, &'static str); 5] {
        [
            (
                "reward_without_em",
                self.reward_without_em,
                "the reward rises, the exact match of held-out questions does not",
            ),
            (
                "copied_answers",
                self.copied_answers,
                "answers are copied from what was found, without a thought",
            ),
            ("unsearched", self.unsearched, "right answers come without a search"),
            ("repeated_queries", self.repeated_queries, "queries are repeated"),
            ("tagged_answers", self.tagged_answers, "answers hold tags of the grammar"),
        ]
    }

    /// Checks that the thresholds are numbers.
    pub fn check(&self) -> Result<()> {
        match self
            .all()
            .into_iter()
            .find(|(_, threshold, _)| threshold.is_nan() || *threshold < 0.0)
        {
            Some((name, threshold, _)) => {
                Err(anyhow::anyhow!("`alarms.{name}` is {threshold}: it is a number from 0 on"))
            }
            None => Ok(()),
        }
    }

    /// Adds the alarms of a step to its row, and warns of those that went above their thresholds.
    ///
    /// What was before is read from the metrics of the run, so that a resumed run says the same.
    pub fn watch(
        &self,
        run: &RunFolder,
        groups: &[Group],
        row: &mut Map<String, Value>,
    ) -> Result<()> {
        of_groups(groups, row);
        let rows = rows(run);
        if let Some(rise) = reward_without_em(&rows, row) {
            row.insert("alarm/reward_without_em".to_owned(), json!(rise));
        }
        for warning in self.warnings(&rows, row) {
            eprintln!("warning: {warning}");
        }
        Ok(())
    }

    /// What is above its threshold now, and was not when it was last looked at.
    fn warnings(&self, rows: &[Map<String, Value>], row: &Map<String, Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        for (name, threshold, meaning) in self.all() {
            let metric = format!("alarm/{name}");
            let value = |row: &Map<String, Value>| row.get(&metric).and_then(Value::as_f64);
            let Some(now) = value(row).filter(|it| *it > threshold) else { continue };
            if rows.iter().rev().find_map(value).is_none_or(|before| before <= threshold) {
                let step = row.get("step").and_then(Value::as_u64).unwrap_or(0);
                warnings.push(format!(
                    "step {step}: {meaning}: `{metric}` is {now:.3}, above {threshold}"
                ));
            }
        }
        warnings
    }
}

/// Rows of the steps before this one.
fn rows(run: &RunFolder) -> Vec<Map<String, Value>> {
    let text = std::fs::read_to_string(run.path("metrics.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn of_groups(groups: &[Group], row: &mut Map<String, Value>) {
    let played: Vec<(&Question, &Trajectory)> = groups
        .iter()
        .flat_map(|it| it.trajectories.iter().map(|one| (&it.question, one)))
        .filter(|(_, it)| !it.failed())
        .collect();
    let answered: Vec<(&Question, &Trajectory, &str)> = played
        .iter()
        .filter_map(|(question, it)| Some((*question, *it, it.final_answer()?)))
        .collect();
    let right: Vec<&Trajectory> = answered
        .iter()
        .filter(|(question, _, answer)| exact_match(answer, &question.golden_answers) > 0.0)
        .map(|(_, it, _)| *it)
        .collect();
    let count = |it: usize, of: usize| it as f64 / of.max(1) as f64;
    let copied = answered.iter().filter(|(_, it, answer)| is_copied(it, answer)).count();
    let tagged = answered.iter().filter(|(_, _, answer)| has_tags(answer)).count();
    let unsearched = right.iter().filter(|it| it.searches.is_empty()).count();
    let n_searches: usize = played.iter().map(|(_, it)| it.searches.len()).sum();
    let repeated: usize = played.iter().map(|(_, it)| n_repeated(it)).sum();
    for (name, value) in [
        ("copied_answers", count(copied, answered.len())),
        ("unsearched", count(unsearched, right.len())),
        ("repeated_queries", count(repeated, n_searches)),
        ("tagged_answers", count(tagged, answered.len())),
    ] {
        row.insert(format!("alarm/{name}"), json!(value));
    }
}

/// Whether an answer stands in what was found, and nothing was thought in between.
fn is_copied(it: &Trajectory, answer: &str) -> bool {
    let has_thought = it.segments.iter().any(|it| {
        it.origin == Origin::Policy && it.kind == SegmentKind::Think && !it.content.is_empty()
    });
    let answer = normalize_answer(answer);
    let stands_in = |text: &str| normalize_answer(text).contains(&answer);
    let mut hits = it.searches.iter().flat_map(|it| &it.hits);
    !has_thought && !answer.is_empty() && hits.any(|it| stands_in(&it.title) || stands_in(&it.text))
}

/// Searches of a trajectory that it had made before.
fn n_repeated(it: &Trajectory) -> usize {
    let queries = it.searches.iter().map(|it| normalize_answer(&it.query));
    it.searches.len() - queries.collect::<BTreeSet<_>>().len()
}

/// How much the mean reward rose between the steps that led to one evaluation and those that led
/// to another, if the exact match did not rise between the two. `None` where this row has no
/// evaluation, or where there are not two with steps before them.
fn reward_without_em(rows: &[Map<String, Value>], now: &Map<String, Value>) -> Option<f64> {
    now.get("eval/greedy/em")?;
    let mut rewards = Vec::new();
    let mut evaluated = Vec::new();
    for row in rows.iter().chain([now]) {
        let number = |name: &str| row.get(name).and_then(Value::as_f64);
        rewards.extend(number("reward/mean"));
        if let Some(em) = number("eval/greedy/em")
            && !rewards.is_empty()
        {
            evaluated.push((mean(&std::mem::take(&mut rewards)), em));
        }
    }
    let (before, now) = match evaluated.as_slice() {
        [] | [_] => return None,
        [.., now] => (evaluated[evaluated.len().saturating_sub(EVALUATIONS)], now),
    };
    Some(if now.1 > before.1 { 0.0 } else { (now.0 - before.0).max(0.0) })
}

#[cfg(test)]
mod tests {
    use forage_trajectory::{Hit, Outcome, Search};

    use super::*;

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
        let mut row = Map::new();
        of_groups(&[Group { question, trajectories }], &mut row);
        ["copied_answers", "unsearched", "repeated_queries", "tagged_answers"]
            .map(|it| row[&format!("alarm/{it}")].as_f64().unwrap())
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

    fn row(step: u64, reward: f64, em: Option<f64>) -> Map<String, Value> {
        let mut row = Map::new();
        row.insert("step".to_owned(), json!(step));
        if step > 0 {
            row.insert("reward/mean".to_owned(), json!(reward));
        }
        row.extend(em.map(|em| ("eval/greedy/em".to_owned(), json!(em))));
        row
    }

    #[test]
    fn rewards_without_em() {
        let rows = [
            row(0, 0.0, Some(0.2)),
            row(1, 0.1, None),
            row(2, 0.3, Some(0.25)),
            row(3, 0.4, Some(0.25)),
            row(4, 0.6, Some(0.25)),
            row(5, 0.7, Some(0.3)),
            row(6, 0.7, None),
        ];
        let found: Vec<Option<f64>> =
            (0..rows.len()).map(|it| reward_without_em(&rows[..it], &rows[it])).collect();
        let expected = [None, None, None, Some(0.2), Some(0.4), Some(0.0), None];
        for (found, expected) in found.iter().zip(expected) {
            match (found, expected) {
                (Some(found), Some(expected)) => {
                    assert!((found - expected).abs() < 1e-9, "{found}");
                }
                _ => assert_eq!(*found, expected),
            }
        }
    }

    #[test]
    fn a_warning_is_given_once_until_it_is_over() {
        let rows: Vec<Map<String, Value>> = [0.1, 0.6, 0.7, 0.2, 0.9]
            .iter()
            .enumerate()
            .map(|(step, value)| {
                Map::from_iter([
                    ("step".to_owned(), json!(step)),
                    ("alarm/unsearched".to_owned(), json!(value)),
                ])
            })
            .collect();
        let section = AlarmSection::default();
        let warnings: Vec<String> =
            (0..rows.len()).flat_map(|it| section.warnings(&rows[..it], &rows[it])).collect();
        let warning = |step, value| {
            format!(
                "step {step}: right answers come without a search: \
                 `alarm/unsearched` is {value}, above 0.5"
            )
        };
        assert_eq!(warnings, [warning(1, "0.600"), warning(4, "0.900")]);
    }

    #[test]
    fn thresholds_are_numbers() {
        for text in ["unsearched = -1.0", "unsearched = nan"] {
            let section: AlarmSection = toml::from_str(text).unwrap();
            assert!(section.check().is_err(), "{text}");
        }
        assert!(toml::from_str::<AlarmSection>("unserched = 0.5").is_err());
        assert!(AlarmSection::default().check().is_ok());
    }
}
