//! Updates that were not taken: said, counted, kept for reproduction, and the end of a run that has
//! too many of them.
//!
//! A run is a function of its run file, so its last checkpoint and `--resume` lead to the same
//! update again. What is kept beside it is the mini-batch, in `skipped/`.

use anyhow::Result;
use forage_trajectory::{Grade, Group};
use serde_json::{Map, Value, json};

use crate::batch::Batch;
use crate::checkpoint::TrainState;
use crate::failure::{Code, Failure};
use crate::improve::{Improvement, Skipped};
use crate::record::GroupRecord;
use crate::train::{Parts, record as record_group};

/// Counts the updates of a step that were not taken, and keeps their mini-batches.
///
/// # Errors
///
/// Where this is the last step in a row that may be skipped: training has diverged. No checkpoint
/// is written then, so the newest is from before.
pub fn record(
    parts: &Parts<'_>,
    state: &mut TrainState,
    improvement: &Improvement,
    groups: &[(&Group, &[Grade])],
    batch: &Batch,
    row: &mut Map<String, Value>,
) -> Result<()> {
    let skipped = &improvement.skipped;
    state.n_skipped += skipped.len() as u64;
    state.skipped_in_a_row = if skipped.is_empty() { 0 } else { state.skipped_in_a_row + 1 };
    row.insert("train/skipped".into(), json!(state.n_skipped));
    let Some(first) = skipped.first() else { return Ok(()) };

    let mut records: Vec<GroupRecord> = Vec::new();
    for (idx, (group, grades)) in groups.iter().enumerate() {
        if skipped.iter().any(|it| it.groups.contains(&idx)) {
            records.push(record_group(state.step, group, grades, Some(&batch.advantages[idx])));
        }
    }
    let name = format!("skipped/step-{:06}", state.step);
    parts.run.write_groups(&name, &records)?;
    let updates: Vec<Value> = skipped.iter().map(|it| describe(it, state.step)).collect();
    parts.run.write_json(&format!("{name}.json"), &updates)?;

    let what = first.why.at(state.step);
    let whose = if first.of_critic { "of the critic, " } else { "" };
    eprintln!("warning: {whose}{what}; the update was not taken, and is in `{name}.json`");
    if state.skipped_in_a_row < parts.training().skip_limit {
        return Ok(());
    }
    let what = format!("{} steps in a row could not be taken", state.skipped_in_a_row);
    let failure = Failure::new(Code::Diverged, what)
        .hint("start again from the last checkpoint with a lower `optimizer.lr`");
    Err(anyhow::anyhow!(first.why.at(state.step)).context(failure))
}

fn describe(skipped: &Skipped, step: u64) -> Value {
    json!({
        "step": step,
        "why": skipped.why.at(step),
        "of": if skipped.of_critic { "critic" } else { "policy" },
        "epoch": skipped.epoch,
        "groups": [skipped.groups.start, skipped.groups.end],
    })
}
