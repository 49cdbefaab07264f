//! Skipped updates: those that are not finite are counted, kept for reproduction, and end a run
//! that has too many of them.
//!
//! A run is a function of its run file, so its last checkpoint and `--resume` lead to the same
//! update again. What is kept beside it is the mini-batch, in `skipped/`.

use forage_trajectory::{Grade, Group};
use serde_json::{Value, json};

use crate::batch::Batch;
use crate::checkpoint::TrainState;
use crate::error::{Diverged, NonFiniteUpdate, TrainingError};
use crate::record::GroupRecord;
use crate::run::RunContext;
use crate::update::{SkippedUpdate, UpdateStats};

/// Counts the updates of a step that were skipped, writes their mini-batches into `skipped/`, and
/// returns the number of skipped updates of the run so far.
///
/// # Errors
///
/// [`Diverged::Skipped`] where this is the last step in a row that may be skipped. No checkpoint is
/// written then, so the newest is from before.
pub fn record_skipped(
    context: &RunContext<'_>,
    state: &mut TrainState,
    updates: &UpdateStats,
    groups: &[(&Group, &[Grade])],
    batch: &Batch,
) -> Result<u64, TrainingError> {
    let skipped = &updates.skipped;
    state.n_skipped += skipped.len() as u64;
    state.skipped_in_a_row = if skipped.is_empty() { 0 } else { state.skipped_in_a_row + 1 };
    let Some(first) = skipped.first() else { return Ok(state.n_skipped) };

    let name = format!("skipped/step-{:06}", state.step);
    let is_skipped = |idx: &usize| skipped.iter().any(|update| update.groups.contains(idx));
    let record = |idx: usize| {
        let (group, grades) = groups[idx];
        GroupRecord::of_training(state.step, group, grades, Some(&batch.advantages[idx]))
    };
    let records: Vec<GroupRecord> = (0..groups.len()).filter(is_skipped).map(record).collect();
    context.run.write_groups(&name, &records)?;
    let rows: Vec<Value> = skipped.iter().map(|update| describe(update, state.step)).collect();
    context.run.write_json(&format!("{name}.json"), &rows)?;

    let what = first.why.at(state.step);
    let whose = if first.of_critic { "of the critic, " } else { "" };
    context
        .observer
        .warning(&format!("{whose}{what}; the update was not taken, and is in `{name}.json`"));
    if state.skipped_in_a_row < context.config.training.skip_limit {
        return Ok(state.n_skipped);
    }
    let source = NonFiniteUpdate { step: state.step, non_finite: first.why.clone() };
    Err(Diverged::Skipped { n_steps: state.skipped_in_a_row, source }.into())
}

fn describe(skipped: &SkippedUpdate, step: u64) -> Value {
    json!({
        "step": step,
        "why": skipped.why.at(step),
        "of": if skipped.of_critic { "critic" } else { "policy" },
        "epoch": skipped.epoch,
        "groups": [skipped.groups.start, skipped.groups.end],
    })
}
