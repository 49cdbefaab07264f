//! The loop: propose, try K times, judge, and go back to the generator.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use forage_trajectory::{Purpose, Stream};

use super::journal::Unfinished;
use super::{
    Agent, Attempt, Documents, End, Event, Generator, Item, ItemRecord, Journal, Judge, Judgement,
    Ledger, Made, Proposal, Revision, Round, Run, SageConfig, SageError, StepError, Update, Usage,
    Verdict,
};

/// Stack of the thread of an item. Memory is taken only as it is used.
pub(super) const STACK_BYTES: usize = 1 << 20;

/// Turn of the random numbers of a judge; the agent's own turns count from 0.
const JUDGING: u64 = 1 << 32;

/// Everything that the loop runs with.
#[derive(Clone, Copy)]
pub struct Sage<'a> {
    /// The knobs.
    pub config: &'a SageConfig,
    /// Every random number follows from it.
    pub seed: u64,
    /// Where items begin.
    pub documents: &'a dyn Documents,
    /// Who makes pairs.
    pub generator: &'a dyn Generator,
    /// Who tries them.
    pub agent: &'a dyn Agent,
    /// Who says whether an answer is right.
    pub judge: &'a dyn Judge,
    /// The account that the parts spend from.
    pub ledger: &'a Ledger,
    /// Set from anywhere, ends the run after the steps that are being made.
    pub stop: &'a AtomicBool,
}

impl Sage<'_> {
    /// Works on every item that the journal does not hold as finished, `in_flight` of them at once,
    /// each on a thread of its own, and returns all of them in the order of their indices. `each`
    /// is called with items as they are finished, those of the journal first.
    ///
    /// What comes of an item is a function of seed and index; so it does not matter how often a run
    /// was killed, how many threads it has, or in which order they come.
    ///
    /// # Errors
    ///
    /// [`SageError::Stopped`] where a budget is spent, an engine is broken or `stop` was set; the
    /// journal holds whatever was finished, and the same call goes on from there.
    pub fn run(
        &self,
        journal: &Journal,
        each: &mut (dyn FnMut(&ItemRecord) + Send),
    ) -> Result<Vec<ItemRecord>, SageError> {
        self.config.check()?;
        let (mut finished, waiting) = {
            let mut held = journal.held();
            self.ledger.book(std::mem::take(&mut held.used));
            (std::mem::take(&mut held.finished), std::mem::take(&mut held.unfinished))
        };
        finished.retain(|index, _| *index < self.config.items);
        finished.values().for_each(&mut *each);
        let open: Vec<u64> =
            (0..self.config.items).filter(|it| !finished.contains_key(it)).collect();

        let next = AtomicU64::new(0);
        let waiting = Mutex::new(waiting);
        let done = Mutex::new((finished, each));
        let stopped: Mutex<Option<SageError>> = Mutex::new(None);
        let halt = |error: SageError| {
            // In this order: what others report once they have seen the flag is not the cause.
            stopped.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            self.stop.store(true, Ordering::Relaxed);
        };
        let work = || {
            while !self.stop.load(Ordering::Relaxed) {
                let nth = next.fetch_add(1, Ordering::Relaxed) as usize;
                let Some(&index) = open.get(nth) else { break };
                let known = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&index);
                match self.item(journal, index, known.unwrap_or_default()) {
                    Ok(record) => {
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        (done.1)(&record);
                        done.0.insert(index, record);
                    }
                    Err(error) => halt(error),
                }
            }
        };
        let n_threads = self.config.in_flight.min(open.len());
        thread::scope(|scope| {
            for _ in 0..n_threads {
                let spawned = thread::Builder::new()
                    .name("item".to_owned())
                    .stack_size(STACK_BYTES)
                    .spawn_scoped(scope, work);
                if let Err(source) = spawned {
                    halt(SageError::Threads { asked: n_threads, source });
                    break;
                }
            }
        });
        if let Some(error) = stopped.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let (finished, _) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        if (finished.len() as u64) < self.config.items {
            return Err(SageError::Interrupted);
        }
        Ok(finished.into_values().collect())
    }

    /// Works on an item to its end, from what is known of it.
    fn item(
        &self,
        journal: &Journal,
        index: u64,
        known: Unfinished,
    ) -> Result<ItemRecord, SageError> {
        let item = Item::draw(self.config, self.documents, self.seed, index)
            .map_err(|source| stopped(StepError::engine("drawing a document", source)))?;
        let mut work = Work { sage: self, journal, item: &item, known, usage: Usage::default() };
        work.usage = work.known.usage;
        let (rounds, end) = work.rounds()?;
        let record = ItemRecord::new(&item, rounds, end, work.usage);
        journal.append(&Event::Done { item: item.clone(), record: record.clone() })?;
        Ok(record)
    }
}

/// A step that ended the run.
fn stopped(error: StepError) -> SageError {
    SageError::Stopped(error)
}

/// An item in flight.
struct Work<'a> {
    sage: &'a Sage<'a>,
    journal: &'a Journal,
    item: &'a Item,
    known: Unfinished,
    usage: Usage,
}

impl Work<'_> {
    fn rounds(&mut self) -> Result<(Vec<Round>, End), SageError> {
        let mut rounds = Vec::with_capacity(self.sage.config.rounds + 1);
        // The pair that stands, with what came of it.
        let mut before: Option<(Proposal, Vec<Attempt>)> = None;
        for round in 0..=self.sage.config.rounds {
            let proposal = match self.proposal(round, before.as_ref())? {
                Ok(proposal) => proposal,
                Err(reason) => {
                    rounds.push(Round::NotMade { reason });
                    continue;
                }
            };
            let attempts = self.attempts(round, &proposal)?;
            let verdict = Verdict::of(&attempts);
            let lost: Vec<String> = attempts
                .iter()
                .filter_map(|it| match it {
                    Attempt::Lost { reason } => Some(reason.clone()),
                    Attempt::Ran { .. } => None,
                })
                .collect();
            let nothing_ran = (verdict.n_runs == 0).then(|| lost.first().cloned()).flatten();
            rounds.push(Round::Tried { pair: proposal.pair.clone(), verdict, lost });
            if let Some(reason) = nothing_ran {
                return Ok((rounds, End::Lost { reason }));
            }
            if verdict.passes(self.item.target_steps) {
                return Ok((rounds, End::Passed));
            }
            before = Some((proposal, attempts));
        }
        let never = rounds.iter().find_map(|it| match it {
            Round::NotMade { reason } if before.is_none() => Some(reason.clone()),
            _ => None,
        });
        let end = never.map_or(End::OutOfRounds, |reason| End::Lost { reason });
        Ok((rounds, end))
    }

    /// The proposal of a round, or why there is none.
    fn proposal(
        &mut self,
        round: usize,
        before: Option<&(Proposal, Vec<Attempt>)>,
    ) -> Result<Result<Proposal, String>, SageError> {
        if let Some(known) = self.known.proposals.remove(&round) {
            return Ok(known);
        }
        self.check_stop()?;
        let Sage { config, generator, .. } = *self.sage;
        let stream = self.stream(Purpose::Proposals, round);
        let made = match before {
            Some((previous, attempts)) if config.update == Update::Feedback => {
                let choice = self.stream(Purpose::Feedback, round);
                let feedback = Verdict::of(attempts).feedback(attempts, choice);
                let item = self.item;
                generator.revise(&Revision { item, round, previous, feedback: &feedback, stream })
            }
            _ => generator.propose(self.item, stream),
        };
        let (proposal, usage) = match made {
            Ok(Made { it, usage }) => (Ok(it), usage),
            Err(StepError::Item { reason, usage }) => (Err(reason), usage),
            Err(error) => return Err(stopped(error)),
        };
        self.usage += usage;
        let index = self.item.index;
        self.journal.append(&Event::Proposed {
            index,
            round,
            proposal: proposal.clone(),
            usage,
        })?;
        Ok(proposal)
    }

    /// K attempts at a pair: those that are known, and the others side by side.
    fn attempts(&mut self, round: usize, proposal: &Proposal) -> Result<Vec<Attempt>, SageError> {
        let tries = self.sage.config.tries;
        let mut attempts: Vec<Option<Attempt>> =
            (0..tries).map(|member| self.known.attempts.remove(&(round, member))).collect();
        let missing: Vec<usize> = (0..tries).filter(|member| attempts[*member].is_none()).collect();
        if !missing.is_empty() {
            self.check_stop()?;
            let streams: Vec<Stream> = missing
                .iter()
                .map(|member| {
                    let stream = self.stream(Purpose::Verification, round);
                    stream.of_member(self.item.index, *member as u64)
                })
                .collect();
            // The question is all that the agent is told.
            let runs = self.sage.agent.answer_all(&proposal.pair.question, &streams);
            let mut broken = (runs.len() != streams.len()).then(|| {
                let problem = format!("{} runs for {} wishes", runs.len(), streams.len());
                StepError::engine("the agent", problem)
            });
            let mut events = Vec::with_capacity(runs.len());
            for ((run, stream), &member) in runs.into_iter().zip(streams).zip(&missing) {
                match self.judged(proposal, run, stream) {
                    Ok((attempt, usage)) => {
                        self.usage += usage;
                        let index = self.item.index;
                        attempts[member] = Some(attempt.clone());
                        events.push(Event::Tried { index, round, member, attempt, usage });
                    }
                    Err(error) => broken = broken.or(Some(error)),
                }
            }
            // Those that came to an end are kept whatever became of the others.
            self.journal.append_all(&events)?;
            if let Some(error) = broken {
                return Err(stopped(error));
            }
        }
        Ok(attempts.into_iter().flatten().collect())
    }

    /// A run with its judgement. An answer that is empty is wrong without being judged.
    fn judged(
        &self,
        proposal: &Proposal,
        run: Result<Made<Run>, StepError>,
        stream: Stream,
    ) -> Result<(Attempt, Usage), StepError> {
        let Made { it: run, usage } = match run {
            Ok(made) => made,
            Err(StepError::Item { reason, usage }) => {
                return Ok((Attempt::Lost { reason }, usage));
            }
            Err(error) => return Err(error),
        };
        let Some(answer) = run.answer() else {
            return Ok((Attempt::Ran { run, judgement: Judgement::default() }, usage));
        };
        let mut total = usage;
        match self.sage.judge.judge(&proposal.pair, answer, stream.at_turn(JUDGING)) {
            Ok(Made { it: judgement, usage }) => {
                total += usage;
                Ok((Attempt::Ran { run, judgement }, total))
            }
            Err(StepError::Item { reason, usage }) => {
                total += usage;
                Ok((Attempt::Lost { reason: format!("not judged: {reason}") }, total))
            }
            Err(error) => Err(error),
        }
    }

    fn stream(&self, purpose: Purpose, round: usize) -> Stream {
        Stream::new(self.sage.seed, purpose).at_step(round as u64).of_member(self.item.index, 0)
    }

    fn check_stop(&self) -> Result<(), SageError> {
        if self.sage.stop.load(Ordering::Relaxed) { Err(SageError::Interrupted) } else { Ok(()) }
    }
}
