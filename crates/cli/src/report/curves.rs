//! Curves of the metrics: one column of values for each name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{parse_line, read as read_file};

/// Maximum number of steps; further ones are thinned, as no screen has more columns of pixels.
const MAX_STEPS: usize = 2000;

/// Values of `metrics.jsonl` and `timings.jsonl`.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Curves {
    /// Steps that are kept, ascending.
    steps: Vec<u64>,
    /// For each name, one value a step; null where the step has none that is finite.
    series: BTreeMap<String, Vec<Option<f64>>>,
    /// Number of steps that are left out.
    left_out: usize,
    /// Sum of `seconds/step` over all steps.
    seconds: f64,
}

pub(super) fn read(run: &Path) -> anyhow::Result<Curves> {
    let mut rows = BTreeMap::<u64, BTreeMap<String, f64>>::new();
    for name in ["metrics.jsonl", "timings.jsonl"] {
        let path = run.join(name);
        let text = read_file(&path)?.unwrap_or_default();
        for (idx, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let row: Row = parse_line(line, &path, idx)?;
            // Of a step that a resumed run repeated, the later line counts.
            rows.entry(row.step).or_default().extend(row.numbers());
        }
    }
    Ok(columns(rows))
}

/// The values stay JSON: only numbers are drawn, and a NaN is written as null.
#[derive(serde::Deserialize)]
struct Row {
    step: u64,
    #[serde(flatten)]
    values: Map<String, Value>,
}

impl Row {
    fn numbers(self) -> impl Iterator<Item = (String, f64)> {
        self.values.into_iter().filter_map(|(name, value)| Some((name, value.as_f64()?)))
    }
}

fn columns(mut rows: BTreeMap<u64, BTreeMap<String, f64>>) -> Curves {
    let seconds = rows.values().filter_map(|row| row.get("seconds/step")).sum();
    let n_steps = rows.len();
    thin(&mut rows);
    let names: BTreeSet<_> = rows.values().flat_map(BTreeMap::keys).cloned().collect();
    let series = names
        .into_iter()
        .map(|name| {
            let column = rows.values().map(|row| row.get(&name).map(|&it| rounded(it))).collect();
            (name, column)
        })
        .collect();
    Curves { left_out: n_steps - rows.len(), steps: rows.into_keys().collect(), series, seconds }
}

/// Keeps every n-th step, the last one, and those with an evaluation.
fn thin(rows: &mut BTreeMap<u64, BTreeMap<String, f64>>) {
    let stride = rows.len().div_ceil(MAX_STEPS).max(1);
    let last = rows.len().saturating_sub(1);
    let mut idx = 0;
    rows.retain(|_, row| {
        let evaluated = row.keys().any(|name| name.starts_with("eval/"));
        let keep = evaluated || idx % stride == 0 || idx == last;
        idx += 1;
        keep
    });
}

/// Six significant digits: a chart shows no more, and the page is half as large.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_thinned_but_keep_their_ends_and_evaluations() {
        let mut rows = BTreeMap::new();
        for step in 1..=10_000_u64 {
            let mut row = BTreeMap::from([("reward/mean".to_owned(), 1.0 / step as f64)]);
            row.insert("seconds/step".to_owned(), 2.0);
            if step == 4_444 {
                row.insert("eval/greedy/em".to_owned(), 0.5);
            }
            rows.insert(step, row);
        }
        let curves = columns(rows);
        assert!(curves.steps.len() <= MAX_STEPS + 2);
        assert_eq!(curves.steps.len() + curves.left_out, 10_000);
        assert_eq!(curves.steps.first(), Some(&1));
        assert_eq!(curves.steps.last(), Some(&10_000));
        assert!(curves.steps.contains(&4_444));
        assert!((curves.seconds - 20_000.0).abs() < 1e-6, "of all steps, not of those kept");
        assert_eq!(curves.series["eval/greedy/em"].iter().flatten().collect::<Vec<_>>(), [&0.5]);
    }

    #[test]
    fn values_keep_six_digits() {
        let cases = [(0.0, 0.0), (1.0 / 3.0, 0.333_333), (-123_456_789.0, -123_457_000.0)];
        for (value, expected) in cases {
            assert!((rounded(value) - expected).abs() <= f64::EPSILON * expected.abs(), "{value}");
        }
    }
}
