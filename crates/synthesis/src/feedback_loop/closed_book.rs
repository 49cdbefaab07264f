//! Closed-book filter: questions that are answered without searching.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use forage_trajectory::{Purpose, Stream};

use super::assemble::AcceptedQuestion;
use super::error::FeedbackLoopError;
use super::event::JournalEvent;
use super::journal::Journal;
use super::roles::{Agent, QaPair, StepError, WithUsage};
use super::runner::{FeedbackLoop, STACK_BYTES};
use crate::chat::Usage;

/// Step of the random streams of guesses; rounds count from 0.
const GUESSING: u64 = 1 << 32;

/// Result of the closed-book filter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClosedBookResult {
    /// Items whose questions were answered right in any run.
    pub right: BTreeSet<u64>,
    /// Usage of the guesses, those that the journal held included.
    pub usage: Usage,
}

impl ClosedBookResult {
    fn add(&mut self, index: u64, right: bool, usage: Usage) {
        self.usage += usage;
        if right {
            self.right.insert(index);
        }
    }
}

impl FeedbackLoop<'_> {
    /// Puts every question to an agent that cannot search, `guesses` times each. Questions that the
    /// journal holds a result for are not asked again.
    pub fn guessable(
        &self,
        journal: &Journal,
        accepted: &[AcceptedQuestion],
        closed_book: &dyn Agent,
        guesses: usize,
    ) -> Result<ClosedBookResult, FeedbackLoopError> {
        let known: BTreeMap<u64, (bool, Usage)> = journal.held().guessed.clone();
        let open: Vec<&AcceptedQuestion> =
            accepted.iter().filter(|accepted| !known.contains_key(&accepted.index)).collect();
        let next = AtomicUsize::new(0);
        let mut before = ClosedBookResult::default();
        for one in accepted {
            if let Some(&(right, usage)) = known.get(&one.index) {
                before.add(one.index, right, usage);
            }
        }
        let found: Mutex<Result<ClosedBookResult, FeedbackLoopError>> = Mutex::new(Ok(before));
        let work = || {
            while let Some(one) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                let done =
                    self.guess(one, closed_book, guesses).map_err(FeedbackLoopError::Stopped);
                let done = done.and_then(|(right, usage)| {
                    let index = one.index;
                    journal.append(&JournalEvent::Guessed { index, right, usage })?;
                    Ok((right, usage))
                });
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                let Ok(so_far) = found.as_mut() else { break };
                match done {
                    Ok((right, usage)) => so_far.add(one.index, right, usage),
                    Err(error) => {
                        *found = Err(error);
                        break;
                    }
                }
            }
        };
        let n_threads = self.config.in_flight.min(open.len());
        thread::scope(|scope| {
            for _ in 0..n_threads {
                thread::Builder::new()
                    .name("guess".to_owned())
                    .stack_size(STACK_BYTES)
                    .spawn_scoped(scope, work)
                    .map_err(|source| FeedbackLoopError::Threads { asked: n_threads, source })?;
            }
            Ok::<_, FeedbackLoopError>(())
        })?;
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn guess(
        &self,
        one: &AcceptedQuestion,
        closed_book: &dyn Agent,
        guesses: usize,
    ) -> Result<(bool, Usage), StepError> {
        let streams: Vec<Stream> = (0..guesses as u64)
            .map(|member| {
                let stream = Stream::new(self.seed, Purpose::Verification).at_step(GUESSING);
                stream.of_member(one.index, member)
            })
            .collect();
        let pair = QaPair {
            question: one.question.text.clone(),
            golden_answers: one.question.golden_answers.clone(),
            evidence: one.question.evidence.clone(),
        };
        let mut total = Usage::default();
        let mut right = false;
        for (run, stream) in
            closed_book.answer_all(&pair.question, &streams).into_iter().zip(streams)
        {
            let (run, judged) = match run {
                Ok(WithUsage { value, usage }) => (value, usage),
                // A refusal is no guess.
                Err(StepError::Item { usage, .. }) => {
                    total += usage;
                    continue;
                }
                Err(error) => return Err(error),
            };
            total += judged;
            let Some(answer) = run.answer() else { continue };
            match self.judge.judge(&pair, answer, stream.at_turn(GUESSING)) {
                Ok(WithUsage { value: judgement, usage }) => {
                    total += usage;
                    right |= judgement.right;
                }
                Err(StepError::Item { usage, .. }) => total += usage,
                Err(error) => return Err(error),
            }
        }
        Ok((right, total))
    }
}
