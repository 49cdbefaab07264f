//! Runner of the feedback loop: propose, attempt K times, judge, revise.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use forage_trajectory::{Purpose, Stream};

use super::config::{FeedbackLoopConfig, UpdateRule};
use super::error::FeedbackLoopError;
use super::event::JournalEvent;
use super::item::{Documents, Item};
use super::journal::{Journal, Unfinished};
use super::record::{ItemEnd, ItemRecord, Round};
use super::roles::{
    Agent, Judge, Judgement, Proposal, QuestionGenerator, Revision, StepError, WithUsage,
};
use super::trace::AgentRun;
use super::verdict::{Attempt, PairVerdict};
use crate::chat::{Budget, Usage};

/// Stack of an item's thread. Memory is taken only as it is used.
pub(super) const STACK_BYTES: usize = 1 << 20;

/// Turn of the judge's random stream; the agent's own turns count from 0.
const JUDGING: u64 = 1 << 32;

/// Feedback loop of SAGE with its roles: generator, agent and judge.
#[derive(Clone, Copy)]
pub struct FeedbackLoop<'a> {
    /// Configuration of the loop.
    pub config: &'a FeedbackLoopConfig,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Corpus that items start from.
    pub documents: &'a dyn Documents,
    /// Proposes and revises pairs.
    pub generator: &'a dyn QuestionGenerator,
    /// Attempts questions.
    pub agent: &'a dyn Agent,
    /// Judges answers.
    pub judge: &'a dyn Judge,
    /// Budget that all roles spend from.
    pub budget: &'a Budget,
    /// Stop flag: ends the run after the steps that are under way.
    pub stop: &'a AtomicBool,
}

impl FeedbackLoop<'_> {
    /// Runs every item that the journal does not hold as finished, `in_flight` of them at once,
    /// each on a thread of its own, and returns the records of all items in the order of their
    /// indices. With [`FeedbackLoopConfig::keep`] the items end with the one that is the last to be
    /// kept, in the order of indices: those that were under way beyond it stay in the journal, and
    /// are not returned. `each` is called with every record when its item is finished, those of the
    /// journal first.
    ///
    /// The record of an item is a function of seed and index, as far as the roles are: it does not
    /// depend on kills, on the number of threads or on their order.
    ///
    /// # Errors
    ///
    /// [`FeedbackLoopError::Stopped`] where a budget is spent, an engine is broken or `stop` was
    /// set; the journal holds every finished step, and the same call resumes from there.
    pub fn run(
        &self,
        journal: &Journal,
        each: &mut (dyn FnMut(&ItemRecord) + Send),
    ) -> Result<Vec<ItemRecord>, FeedbackLoopError> {
        self.config.check()?;
        let (mut finished, waiting) = {
            let mut held = journal.held();
            self.budget.add(std::mem::take(&mut held.used));
            (std::mem::take(&mut held.finished), std::mem::take(&mut held.unfinished))
        };
        finished.retain(|index, _| *index < self.config.items);
        finished.values().for_each(&mut *each);
        let open: Vec<u64> =
            (0..self.config.items).filter(|it| !finished.contains_key(it)).collect();

        let next = AtomicU64::new(0);
        let waiting = Mutex::new(waiting);
        let done = Mutex::new((finished, each));
        let stopped: Mutex<Option<FeedbackLoopError>> = Mutex::new(None);
        let is_full = || {
            let done = done.lock().unwrap_or_else(PoisonError::into_inner);
            self.end(&done.0).is_some()
        };
        let halt = |error: FeedbackLoopError| {
            // In this order: what others report once they have seen the flag is not the cause.
            stopped.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            self.stop.store(true, Ordering::Relaxed);
        };
        let work = || {
            while !self.stop.load(Ordering::Relaxed) && !is_full() {
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
                    halt(FeedbackLoopError::Threads { asked: n_threads, source });
                    break;
                }
            }
        });
        if let Some(error) = stopped.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let (mut finished, _) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = self.end(&finished) {
            finished.retain(|index, _| *index < end);
        } else if (finished.len() as u64) < self.config.items {
            return Err(FeedbackLoopError::Interrupted);
        }
        Ok(finished.into_values().collect())
    }

    /// Number of items, from the first on, of which as many passed as are to be kept; `None` where
    /// all items are attempted, or these are not finished.
    fn end(&self, finished: &BTreeMap<u64, ItemRecord>) -> Option<u64> {
        let keep = self.config.keep?;
        let in_order = finished.values().zip(0..).take_while(|(record, idx)| record.index == *idx);
        let mut passed = in_order.filter(|(record, _)| record.end == ItemEnd::Passed);
        passed.nth(usize::try_from(keep).ok()? - 1).map(|(_, idx)| idx + 1)
    }

    /// Runs an item to its end, from the steps that the journal holds.
    fn item(
        &self,
        journal: &Journal,
        index: u64,
        known: Unfinished,
    ) -> Result<ItemRecord, FeedbackLoopError> {
        let item = Item::draw(self.config, self.documents, self.seed, index)
            .map_err(|source| stopped(StepError::engine("drawing a document", source)))?;
        let mut work = ItemInFlight {
            feedback_loop: self,
            journal,
            item: &item,
            known,
            usage: Usage::default(),
        };
        work.usage = work.known.usage;
        let (rounds, end) = work.rounds()?;
        let record = ItemRecord::new(&item, rounds, end, work.usage);
        journal.append(&JournalEvent::Done { item: item.clone(), record: record.clone() })?;
        Ok(record)
    }
}

/// The error of a step that ends the run.
fn stopped(error: StepError) -> FeedbackLoopError {
    FeedbackLoopError::Stopped(error)
}

/// An item in flight.
struct ItemInFlight<'a> {
    feedback_loop: &'a FeedbackLoop<'a>,
    journal: &'a Journal,
    item: &'a Item,
    known: Unfinished,
    usage: Usage,
}

impl ItemInFlight<'_> {
    fn rounds(&mut self) -> Result<(Vec<Round>, ItemEnd), FeedbackLoopError> {
        let mut rounds = Vec::with_capacity(self.feedback_loop.config.rounds + 1);
        // The current pair with its attempts.
        let mut before: Option<(Proposal, Vec<Attempt>)> = None;
        for round in 0..=self.feedback_loop.config.rounds {
            let proposal = match self.proposal(round, before.as_ref())? {
                Ok(proposal) => proposal,
                Err(reason) => {
                    rounds.push(Round::NotMade { reason });
                    continue;
                }
            };
            let attempts = self.attempts(round, &proposal)?;
            let verdict = PairVerdict::of(&attempts);
            let lost: Vec<String> = attempts
                .iter()
                .filter_map(|attempt| match attempt {
                    Attempt::Lost { reason } => Some(reason.clone()),
                    Attempt::Ran { .. } => None,
                })
                .collect();
            let nothing_ran = (verdict.n_runs == 0).then(|| lost.first().cloned()).flatten();
            rounds.push(Round::Tried { pair: proposal.pair.clone(), verdict, lost });
            if let Some(reason) = nothing_ran {
                return Ok((rounds, ItemEnd::Lost { reason }));
            }
            if verdict.passes(self.item.target_steps) {
                return Ok((rounds, ItemEnd::Passed));
            }
            before = Some((proposal, attempts));
        }
        let never = rounds.iter().find_map(|round| match round {
            Round::NotMade { reason } if before.is_none() => Some(reason.clone()),
            _ => None,
        });
        let end = never.map_or(ItemEnd::OutOfRounds, |reason| ItemEnd::Lost { reason });
        Ok((rounds, end))
    }

    /// The proposal of a round, or the reason why there is none.
    fn proposal(
        &mut self,
        round: usize,
        before: Option<&(Proposal, Vec<Attempt>)>,
    ) -> Result<Result<Proposal, String>, FeedbackLoopError> {
        if let Some(known) = self.known.proposals.remove(&round) {
            return Ok(known);
        }
        self.check_stop()?;
        let FeedbackLoop { config, generator, .. } = *self.feedback_loop;
        let stream = self.stream(Purpose::Proposals, round);
        let made = match before {
            Some((previous, attempts)) if config.update == UpdateRule::Feedback => {
                let choice = self.stream(Purpose::Feedback, round);
                let feedback = PairVerdict::of(attempts).feedback(attempts, choice);
                let item = self.item;
                generator.revise(&Revision { item, round, previous, feedback: &feedback, stream })
            }
            _ => generator.propose(self.item, stream),
        };
        let (proposal, usage) = match made {
            Ok(WithUsage { value, usage }) => (Ok(value), usage),
            Err(StepError::Item { reason, usage }) => (Err(reason), usage),
            Err(error) => return Err(stopped(error)),
        };
        self.usage += usage;
        let index = self.item.index;
        self.journal.append(&JournalEvent::Proposed {
            index,
            round,
            proposal: proposal.clone(),
            usage,
        })?;
        Ok(proposal)
    }

    /// The K attempts at a pair: those of the journal, and the others in parallel.
    fn attempts(
        &mut self,
        round: usize,
        proposal: &Proposal,
    ) -> Result<Vec<Attempt>, FeedbackLoopError> {
        let tries = self.feedback_loop.config.tries;
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
            // The agent is given the question and nothing else.
            let runs = self.feedback_loop.agent.answer_all(&proposal.pair.question, &streams);
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
                        events.push(JournalEvent::Tried { index, round, member, attempt, usage });
                    }
                    Err(error) => broken = broken.or(Some(error)),
                }
            }
            // Finished attempts are kept whatever the others failed of.
            self.journal.append_all(&events)?;
            if let Some(error) = broken {
                return Err(stopped(error));
            }
        }
        Ok(attempts.into_iter().flatten().collect())
    }

    /// Judges the answer of a run. An empty answer is wrong without being judged.
    fn judged(
        &self,
        proposal: &Proposal,
        run: Result<WithUsage<AgentRun>, StepError>,
        stream: Stream,
    ) -> Result<(Attempt, Usage), StepError> {
        let WithUsage { value: run, usage } = match run {
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
        match self.feedback_loop.judge.judge(&proposal.pair, answer, stream.at_turn(JUDGING)) {
            Ok(WithUsage { value: judgement, usage }) => {
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
        Stream::new(self.feedback_loop.seed, purpose)
            .at_step(round as u64)
            .of_member(self.item.index, 0)
    }

    fn check_stop(&self) -> Result<(), FeedbackLoopError> {
        if self.feedback_loop.stop.load(Ordering::Relaxed) {
            Err(FeedbackLoopError::Interrupted)
        } else {
            Ok(())
        }
    }
}
