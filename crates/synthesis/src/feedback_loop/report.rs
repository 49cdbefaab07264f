//! Report of a run: the tables of the paper (SAGE, intrinsic results).

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::assemble::{Assembly, DropReason};
use super::config::FeedbackLoopConfig;
use super::record::{ItemRecord, Round};
use crate::chat::Usage;

/// Row of the table: the current pairs after some rounds, of the items with one target or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportRow {
    /// Items, lost ones included.
    pub items: usize,
    /// Share of them whose pair is correct (pass@K).
    pub correct: f64,
    /// Share of them whose pair is correct and as hard as the target.
    pub passed: f64,
    /// Mean share of right runs over the correct ones (Avg@K).
    pub average: f64,
    /// Mean searches of a run over the correct ones.
    pub searches: f64,
}

/// Rows of the table after some rounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AfterRound {
    /// Rounds after the first.
    pub rounds: usize,
    /// Over all items.
    pub all: ReportRow,
    /// By target steps.
    pub by_steps: BTreeMap<usize, ReportRow>,
    /// Runs of the agent so far.
    pub agent_runs: usize,
}

/// Report of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SynthesisReport {
    /// After each round, from the first.
    pub rounds: Vec<AfterRound>,
    /// Pairs that did not pass, by round and reason: `too easy`, `wrong`, or the reason why there
    /// was none.
    pub reasons: Vec<BTreeMap<String, usize>>,
    /// Lost runs by reason.
    pub lost_runs: BTreeMap<String, usize>,
    /// Number of kept questions.
    pub accepted: usize,
    /// Dropped items by reason.
    pub dropped: BTreeMap<DropReason, usize>,
    /// Kept questions by the fewest searches of a right run.
    pub by_searches: BTreeMap<usize, usize>,
    /// Usage of the run.
    pub usage: Usage,
}

impl SynthesisReport {
    /// Report of finished items.
    pub fn of(records: &[ItemRecord], assembly: &Assembly, config: &FeedbackLoopConfig) -> Self {
        let mut report = Self {
            rounds: (0..=config.rounds).map(|it| after(records, it, config)).collect(),
            reasons: vec![BTreeMap::new(); config.rounds + 1],
            accepted: assembly.accepted.len(),
            dropped: assembly.dropped.clone(),
            usage: assembly.usage,
            ..Self::default()
        };
        for record in records {
            report.usage += record.usage;
            for (reasons, round) in report.reasons.iter_mut().zip(&record.rounds) {
                if let Some(reason) = reason(round, record.target_steps) {
                    *reasons.entry(reason.to_owned()).or_default() += 1;
                }
                if let Round::Tried { lost, .. } = round {
                    for reason in lost {
                        *report.lost_runs.entry(reason.clone()).or_default() += 1;
                    }
                }
            }
        }
        for it in &assembly.accepted {
            *report.by_searches.entry(it.min_steps).or_default() += 1;
        }
        report
    }

    /// Report as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("writing to a string does not fail");
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "rounds     S   items  correct   passed    Avg@K  searches  agent runs")?;
        for after in &self.rounds {
            let runs = after.agent_runs.to_string();
            write_row(text, &after.rounds.to_string(), "all", &after.all, &runs)?;
            for (steps, row) in &after.by_steps {
                write_row(text, "", &steps.to_string(), row, "")?;
            }
        }
        for (round, reasons) in self.reasons.iter().enumerate() {
            if !reasons.is_empty() {
                writeln!(text, "\nnot passed in round {round}:")?;
                write_counts(text, reasons.iter().map(|(reason, n)| (reason.clone(), *n)))?;
            }
        }
        if !self.lost_runs.is_empty() {
            writeln!(text, "\nruns that were lost:")?;
            write_counts(text, self.lost_runs.iter().map(|(reason, n)| (reason.clone(), *n)))?;
        }
        writeln!(text, "\nquestions kept: {}", self.accepted)?;
        let searches = self.by_searches.iter();
        write_counts(text, searches.map(|(steps, n)| (format!("{steps} searches at least"), *n)))?;
        if !self.dropped.is_empty() {
            writeln!(text, "items dropped:")?;
            write_counts(text, self.dropped.iter().map(|(reason, n)| (reason.to_string(), *n)))?;
        }
        if !self.usage.is_nothing() {
            let Usage { calls, prompt_tokens, completion_tokens, money } = self.usage;
            writeln!(
                text,
                "used: {calls} calls, {prompt_tokens} tokens read, {completion_tokens} written, \
                 {money:.2} spent"
            )?;
        }
        Ok(())
    }
}

fn write_row(
    text: &mut String,
    rounds: &str,
    steps: &str,
    row: &ReportRow,
    runs: &str,
) -> std::fmt::Result {
    let ReportRow { items, correct, passed, average, searches } = *row;
    let [correct, passed, average] = [correct, passed, average].map(|it| 100.0 * it);
    let line = format!(
        "{rounds:>6}  {steps:>4}  {items:>6}  {correct:>6.1}%  {passed:>6.1}%  {average:>6.1}%  \
         {searches:>8.2}  {runs:>10}"
    );
    writeln!(text, "{}", line.trim_end())
}

fn write_counts(
    text: &mut String,
    counts: impl Iterator<Item = (String, usize)>,
) -> std::fmt::Result {
    let mut counts = counts;
    counts.try_for_each(|(what, n)| writeln!(text, "{n:>8}  {what}"))
}

/// The rows after some rounds.
fn after(records: &[ItemRecord], rounds: usize, config: &FeedbackLoopConfig) -> AfterRound {
    let mut by_steps: BTreeMap<usize, Vec<&ItemRecord>> = BTreeMap::new();
    for record in records {
        by_steps.entry(record.target_steps).or_default().push(record);
    }
    let row = |records: &[&ItemRecord]| row(records, rounds, config);
    let agent_runs = records
        .iter()
        .flat_map(|record| record.rounds.iter().take(rounds + 1))
        .map(|round| match round {
            Round::Tried { verdict, lost, .. } => verdict.n_runs + lost.len(),
            Round::NotMade { .. } => 0,
        })
        .sum();
    AfterRound {
        rounds,
        all: row(&records.iter().collect::<Vec<_>>()),
        by_steps: by_steps.into_iter().map(|(steps, it)| (steps, row(&it))).collect(),
        agent_runs,
    }
}

fn row(records: &[&ItemRecord], rounds: usize, config: &FeedbackLoopConfig) -> ReportRow {
    let mut row = ReportRow { items: records.len(), ..ReportRow::default() };
    let (mut n_correct, mut n_passed, mut n_runs, mut n_searches) = (0, 0, 0, 0);
    for record in records {
        let standing = record.standing(rounds, config.update);
        let Some((_, verdict)) = standing.and_then(|idx| record.rounds[idx].tried()) else {
            continue;
        };
        n_passed += usize::from(verdict.passes(record.target_steps));
        if verdict.is_correct() {
            n_correct += 1;
            row.average += verdict.average();
            n_runs += verdict.n_runs;
            n_searches += verdict.n_searches;
        }
    }
    let share = |n: usize, of: usize| n as f64 / of.max(1) as f64;
    row.correct = share(n_correct, records.len());
    row.passed = share(n_passed, records.len());
    row.average /= n_correct.max(1) as f64;
    row.searches = share(n_searches, n_runs);
    row
}

/// The reason why a round did not end its item.
fn reason(round: &Round, target_steps: usize) -> Option<&str> {
    match round {
        Round::Tried { verdict, .. } if verdict.passes(target_steps) => None,
        Round::Tried { verdict, .. } if verdict.is_correct() => Some("too easy"),
        Round::Tried { verdict, .. } if verdict.n_runs == 0 => Some("no run came to an end"),
        Round::Tried { .. } => Some("wrong"),
        Round::NotMade { reason } => Some(reason),
    }
}
