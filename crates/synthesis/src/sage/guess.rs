//! Questions that are answered without searching: the closed-book run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use forage_trajectory::{Purpose, Stream};

use super::drive::STACK_BYTES;
use super::{Accepted, Agent, Event, Journal, Made, Pair, Sage, SageError, StepError, Usage};

/// Step of the random numbers of guesses; rounds count from 0.
const GUESSING: u64 = 1 << 32;

/// What guessing came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guessed {
    /// The items whose questions were answered right, in any run.
    pub right: BTreeSet<u64>,
    /// What it took, with what the journal held of these items.
    pub usage: Usage,
}

impl Guessed {
    fn add(&mut self, index: u64, right: bool, usage: Usage) {
        self.usage += usage;
        if right {
            self.right.insert(index);
        }
    }
}

impl Sage<'_> {
    /// Asks an agent that cannot search, `guesses` times each. What the journal holds is not asked
    /// again.
    pub fn guessable(
        &self,
        journal: &Journal,
        accepted: &[Accepted],
        closed_book: &dyn Agent,
        guesses: usize,
    ) -> Result<Guessed, SageError> {
        let known: BTreeMap<u64, (bool, Usage)> = journal.held().guessed.clone();
        let open: Vec<&Accepted> =
            accepted.iter().filter(|it| !known.contains_key(&it.index)).collect();
        let next = AtomicUsize::new(0);
        let mut before = Guessed::default();
        for one in accepted {
            if let Some(&(right, usage)) = known.get(&one.index) {
                before.add(one.index, right, usage);
            }
        }
        let found: Mutex<Result<Guessed, SageError>> = Mutex::new(Ok(before));
        let work = || {
            while let Some(one) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                let done = self.guess(one, closed_book, guesses).map_err(SageError::Stopped);
                let done = done.and_then(|(right, usage)| {
                    let index = one.index;
                    journal.append(&Event::Guessed { index, right, usage })?;
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
                    .map_err(|source| SageError::Threads { asked: n_threads, source })?;
            }
            Ok::<_, SageError>(())
        })?;
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn guess(
        &self,
        one: &Accepted,
        closed_book: &dyn Agent,
        guesses: usize,
    ) -> Result<(bool, Usage), StepError> {
        let streams: Vec<Stream> = (0..guesses as u64)
            .map(|member| {
                let stream = Stream::new(self.seed, Purpose::Verification).at_step(GUESSING);
                stream.of_member(one.index, member)
            })
            .collect();
        let pair = Pair {
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
                Ok(Made { it, usage }) => (it, usage),
                // Who refuses has not guessed.
                Err(StepError::Item { usage, .. }) => {
                    total += usage;
                    continue;
                }
                Err(error) => return Err(error),
            };
            total += judged;
            let Some(answer) = run.answer() else { continue };
            match self.judge.judge(&pair, answer, stream.at_turn(GUESSING)) {
                Ok(Made { it, usage }) => {
                    total += usage;
                    right |= it.right;
                }
                Err(StepError::Item { usage, .. }) => total += usage,
                Err(error) => return Err(error),
            }
        }
        Ok((right, total))
    }
}
