//! Output files of a finished synthesis.

use std::io::Write;

use anyhow::{Context, Result};
use forage_fs::AtomicFile;
use forage_synthesis::feedback_loop::{
    AcceptedQuestion, Assembly, Attempt, Journal, JournalEvent, Proposal,
};
use forage_training::run_folder::RunFolder;
use forage_world::Split;
use serde::Serialize;

use crate::exit_code::unwritable;

/// Row of `traces.jsonl.zst`: proposal and attempts of a question.
#[derive(Debug, Serialize)]
struct TraceRow {
    split: Split,
    #[serde(flatten)]
    accepted: AcceptedQuestion,
    /// Proposal of the generator.
    proposal: Option<Proposal>,
    /// Attempts of the agent, in their order.
    attempts: Vec<Attempt>,
}

/// Writes the questions of every split.
pub(super) fn questions(run: &RunFolder, assembly: &Assembly, splits: &[Split]) -> Result<()> {
    for split in Split::ALL {
        let mut lines = Vec::new();
        for (it, of) in assembly.accepted.iter().zip(splits) {
            if *of == split {
                serde_json::to_writer(&mut lines, &it.question)?;
                lines.push(b'\n');
            }
        }
        run.write_whole(&format!("{split}.jsonl"), &lines)?;
    }
    Ok(())
}

/// Writes the traces of all questions, in their order, compressed. They are read from the journal
/// one by one: together they may be too large for the memory.
pub(super) fn traces(
    run: &RunFolder,
    journal: &Journal,
    assembly: &Assembly,
    splits: &[Split],
) -> Result<()> {
    let path = run.path("traces.jsonl.zst");
    let file = AtomicFile::create(&path).with_context(|| unwritable(&path))?;
    let mut encoder = zstd::Encoder::new(file, 3).with_context(|| unwritable(&path))?;
    for (accepted, split) in assembly.accepted.iter().zip(splits) {
        let mut row = TraceRow {
            split: *split,
            accepted: accepted.clone(),
            proposal: None,
            attempts: Vec::new(),
        };
        for event in journal.events_of(accepted.index)? {
            match event {
                JournalEvent::Proposed { round, proposal, .. } if round == accepted.round => {
                    row.proposal = proposal.ok();
                }
                JournalEvent::Tried { round, attempt, .. } if round == accepted.round => {
                    row.attempts.push(attempt);
                }
                _ => {}
            }
        }
        let mut line = serde_json::to_vec(&row)?;
        line.push(b'\n');
        encoder.write_all(&line).with_context(|| unwritable(&path))?;
    }
    encoder.finish().and_then(AtomicFile::commit).with_context(|| unwritable(&path))
}
