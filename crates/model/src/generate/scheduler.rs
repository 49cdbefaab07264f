//! Scheduler of continuous batching: which request is admitted next, and whether its KV cache fits
//! into the memory.
//!
//! Requests are served first come, first served. One that does not fit into the memory that is left
//! waits, and so do those behind it. Requests with the same prompt share its prefill. What a
//! sequence samples depends on none of this.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};

use forage_trajectory::{Completion, Request, TokenId};

use super::batch_slots::KvCache;

/// Sequence between two turns, with its KV cache.
#[derive(Debug)]
pub(crate) struct Parked {
    /// Tokens whose keys and values are in the cache.
    pub(crate) seen: Vec<TokenId>,
    /// KV cache of `seen`.
    pub(crate) cache: KvCache,
}

/// Prefill of a prompt that several sequences begin with: its KV cache and the logits after it,
/// computed by the first and copied by the others.
pub(crate) type SharedPrefill = OnceLock<(KvCache, Vec<f32>)>;

/// Request that was admitted to a batch.
pub(crate) struct Active<'a> {
    /// Index of the request.
    pub(crate) idx: usize,
    /// Request.
    pub(crate) request: &'a Request<'a>,
    /// Earlier turns of its sequence, where they are cached.
    pub(crate) parked: Option<Parked>,
    /// Prefill that it shares with others.
    pub(crate) prefill: Option<Arc<SharedPrefill>>,
}

/// Scheduler of the requests of a batch, for all workers.
pub(crate) struct Scheduler<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
    /// Positions that may be cached at once.
    capacity: usize,
}

struct State<'a> {
    waiting: VecDeque<Waiting<'a>>,
    prompts: Vec<SharedPrompt>,
    parked: BTreeMap<usize, Parked>,
    completions: Vec<Option<Completion>>,
    /// Positions that are cached or reserved.
    used: usize,
    n_running: usize,
    /// Whether a worker panicked: then no other must wait for it.
    is_broken: bool,
}

struct Waiting<'a> {
    idx: usize,
    request: &'a Request<'a>,
    prompt: Option<usize>,
}

struct SharedPrompt {
    prefill: Arc<SharedPrefill>,
    /// Number of its tokens.
    length: usize,
    /// Number of requests that share it.
    n: usize,
    /// Number of those that wait.
    n_waiting: usize,
}

impl SharedPrompt {
    fn of(length: usize) -> Self {
        Self { prefill: Arc::default(), length, n: 0, n_waiting: 0 }
    }

    /// Whether no request was admitted yet that computes the prefill.
    fn is_fresh(&self) -> bool {
        self.n_waiting == self.n
    }

    /// Drops the prefill: the next request that waits for it computes it anew.
    fn reset(&mut self) {
        self.prefill = Arc::default();
        self.n = self.n_waiting;
    }
}

/// Number of parked positions of a sequence.
fn n_parked(parked: &BTreeMap<usize, Parked>, sequence: usize) -> usize {
    parked.get(&sequence).map_or(0, |parked| parked.seen.len())
}

impl<'a> Scheduler<'a> {
    /// Scheduler of these requests, with the sequences that are parked.
    pub(crate) fn new(
        requests: &'a [Request<'a>],
        parked: BTreeMap<usize, Parked>,
        capacity: usize,
    ) -> Self {
        let mut prompts: Vec<SharedPrompt> = Vec::new();
        let mut by_context: BTreeMap<&[TokenId], usize> = BTreeMap::new();
        let mut waiting = VecDeque::new();
        for (idx, request) in requests.iter().enumerate() {
            let is_fresh = !parked.contains_key(&request.sequence);
            let prompt = is_fresh.then(|| {
                *by_context.entry(request.context).or_insert_with(|| {
                    prompts.push(SharedPrompt::of(request.context.len()));
                    prompts.len() - 1
                })
            });
            if let Some(prompt) = prompt {
                prompts[prompt].n += 1;
                prompts[prompt].n_waiting += 1;
            }
            waiting.push_back(Waiting { idx, request, prompt });
        }
        for next in &mut waiting {
            next.prompt = next.prompt.filter(|&at| prompts[at].n > 1);
        }
        let state = State {
            waiting,
            prompts,
            used: parked.values().map(|parked| parked.seen.len()).sum(),
            parked,
            completions: vec![None; requests.len()],
            n_running: 0,
            is_broken: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().expect("no holder panics")
    }

    /// Admits the next request. `None` where there is none left, or where it has to wait for one of
    /// the caller's own, if the caller `has_others`.
    pub(crate) fn admit(&self, has_others: bool) -> Option<Active<'a>> {
        let mut state = self.lock();
        loop {
            if state.is_broken {
                return None;
            }
            if let Some(active) = state.admit(self.capacity) {
                return Some(active);
            }
            if state.waiting.is_empty() || has_others {
                return None;
            }
            state = self.changed.wait(state).expect("no holder panics");
        }
    }

    /// Finishes a request: takes its completion, and parks its sequence.
    pub(crate) fn finish(
        &self,
        reservation: &Reservation,
        completion: Completion,
        mut parked: Parked,
    ) {
        parked.cache.shrink();
        let mut state = self.lock();
        state.used = state.used - reservation.positions + parked.seen.len();
        state.n_running -= 1;
        state.parked.insert(reservation.sequence, parked);
        state.completions[reservation.idx] = Some(completion);
        self.changed.notify_all();
    }

    /// Ends the waiting of all workers, where one of them panics.
    pub(crate) fn abort(&self) {
        self.lock().is_broken = true;
        self.changed.notify_all();
    }

    /// Completions in the order of the requests, and all parked sequences.
    pub(crate) fn into_parts(self) -> (Vec<Option<Completion>>, BTreeMap<usize, Parked>) {
        let state = self.state.into_inner().expect("no holder panics");
        (state.completions, state.parked)
    }
}

/// Reservation of positions for a request that runs, given back when it finishes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reservation {
    idx: usize,
    sequence: usize,
    positions: usize,
}

impl Active<'_> {
    /// Reservation of the request.
    pub(crate) fn reservation(&self) -> Reservation {
        let positions = positions(self.request);
        Reservation { idx: self.idx, sequence: self.request.sequence, positions }
    }
}

/// Number of positions that a request may come to.
pub(crate) fn positions(request: &Request<'_>) -> usize {
    request.context.len() + request.max_new_tokens
}

impl<'a> State<'a> {
    /// Admits the next request, if there is room for it. Where nothing runs, room is made by
    /// preemption: other sequences lose their caches, which are computed again when they go on.
    fn admit(&mut self, capacity: usize) -> Option<Active<'a>> {
        let next = self.waiting.front()?;
        let (sequence, own) = (next.request.sequence, positions(next.request));
        let prompt = next.prompt;
        // The first of those that share a prompt also pays for the copy that the others take.
        let fresh = prompt.map(|at| &self.prompts[at]).filter(|it| it.is_fresh());
        let extra = fresh.map_or(0, |it| it.length);
        let needed = own + extra;
        if !self.make_room(sequence, needed, prompt, capacity) {
            return None;
        }
        // Alone it fits, that was checked; a copy for others may be too much.
        let fits = self.used - n_parked(&self.parked, sequence) + needed <= capacity;
        let next = self.waiting.pop_front().expect("it was just looked at");
        let parked = self.parked.remove(&sequence);
        self.used += own;
        self.used -= parked.as_ref().map_or(0, |parked| parked.seen.len());
        self.n_running += 1;
        let prefill = prompt.and_then(|at| self.share(at, extra, fits));
        Some(Active { idx: next.idx, request: next.request, parked, prefill })
    }

    /// Makes room for a sequence by dropping caches of others; false where it has to wait for
    /// running ones.
    fn make_room(
        &mut self,
        sequence: usize,
        needed: usize,
        prompt: Option<usize>,
        capacity: usize,
    ) -> bool {
        while self.used - n_parked(&self.parked, sequence) + needed > capacity {
            if self.n_running > 0 {
                return false;
            }
            let others = self.parked.keys().rev().copied().filter(|&it| it != sequence);
            let waits =
                |other: usize| self.waiting.iter().any(|next| next.request.sequence == other);
            let victim = others.clone().find(|&it| !waits(it)).or_else(|| others.clone().next());
            let Some(victim) = victim else {
                self.drop_prefills(prompt);
                break;
            };
            let parked = self.parked.remove(&victim).expect("it was just found");
            self.used -= parked.seen.len();
        }
        true
    }

    /// Shared prefill for a request that was just admitted: `extra` positions were asked for its
    /// copy, and `fits` tells whether there is room for them.
    fn share(&mut self, prompt: usize, extra: usize, fits: bool) -> Option<Arc<SharedPrefill>> {
        let shared = &mut self.prompts[prompt];
        let length = shared.length;
        let is_first = shared.is_fresh();
        shared.n_waiting -= 1;
        if !fits {
            // The copy makes room, if there is one, and the next request begins anew.
            self.used -= if is_first { 0 } else { length };
            shared.reset();
            return None;
        }
        self.used += extra;
        if shared.n_waiting > 0 {
            return Some(Arc::clone(&shared.prefill));
        }
        self.used -= length;
        Some(std::mem::take(&mut shared.prefill))
    }

    /// Drops the prefills that sequences further behind would copy, except for one prompt; the next
    /// of those sequences computes them anew.
    fn drop_prefills(&mut self, except: Option<usize>) {
        for (at, shared) in self.prompts.iter_mut().enumerate() {
            let is_kept = shared.n_waiting > 0 && !shared.is_fresh();
            if is_kept && Some(at) != except {
                self.used -= shared.length;
                shared.reset();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use forage_trajectory::{FinishReason, Purpose, Stream};
    use proptest::prelude::*;

    use super::*;
    use crate::kv_cache::CpuKvCache;

    fn request(sequence: usize, context: &[TokenId], max_new_tokens: usize) -> Request<'_> {
        let stream = Stream::new(1, Purpose::Rollout);
        Request { sequence, context, max_new_tokens, stop: &[], stream }
    }

    /// Ends a request after so many tokens.
    fn finish(scheduler: &Scheduler<'_>, active: &Active<'_>, n_tokens: usize) {
        let tokens = vec![7; n_tokens.min(active.request.max_new_tokens)];
        let seen = [active.request.context, &tokens].concat();
        let logprobs = vec![0.0; tokens.len()];
        let completion = Completion { tokens, logprobs, finish: FinishReason::Length };
        let parked = Parked { seen, cache: KvCache::Cpu(CpuKvCache::new(0)) };
        scheduler.finish(&active.reservation(), completion, parked);
    }

    #[test]
    fn what_is_beyond_the_memory_waits_and_a_prompt_is_shared() {
        let (group, other) = (vec![1; 10], vec![2; 26]);
        let requests = [request(0, &group, 4), request(1, &group, 4), request(2, &other, 4)];
        // Twice a prompt with 4 tokens, and the copy of the prompt until both have it.
        let scheduler = Scheduler::new(&requests, BTreeMap::new(), 38);
        let first = scheduler.admit(false).unwrap();
        let second = scheduler.admit(true).unwrap();
        let prompts = [&first, &second].map(|it| it.prefill.as_ref().unwrap());
        assert!(Arc::ptr_eq(prompts[0], prompts[1]));
        assert!(scheduler.admit(true).is_none());
        finish(&scheduler, &first, 3);
        assert!(scheduler.admit(true).is_none());
        finish(&scheduler, &second, 3);
        // Nothing runs: what is kept of others makes room.
        let third = scheduler.admit(true).unwrap();
        assert!((third.idx, third.prefill.is_none()) == (2, true));
        finish(&scheduler, &third, 4);
        assert!(scheduler.admit(false).is_none());
        let (completions, parked) = scheduler.into_parts();
        assert!(completions.iter().all(Option::is_some));
        assert!(parked.values().map(|it| it.seen.len()).sum::<usize>() <= 38);
    }

    /// The copy for the third once counted as if it could not be forgotten.
    #[test]
    fn a_prompt_that_is_kept_for_later_makes_room_for_a_large_request() {
        let (group, other) = (vec![1; 10], vec![2; 26]);
        let requests = [request(0, &group, 4), request(1, &other, 4), request(2, &group, 4)];
        let scheduler = Scheduler::new(&requests, BTreeMap::new(), 30);
        for _ in 0..requests.len() {
            let active = scheduler.admit(false).unwrap();
            assert!(scheduler.lock().used <= 30);
            finish(&scheduler, &active, 4);
        }
    }

    proptest! {
        /// Memory is never exceeded, requests start in order, and all are served.
        #[test]
        fn memory_is_bounded_and_everybody_is_served(
            asked in prop::collection::vec((0..3_usize, 1..12_usize, 0..6_usize), 1..20),
            spare in 0..40_usize,
            ends in prop::collection::vec((any::<prop::sample::Index>(), 0..6_usize), 80),
        ) {
            let contexts: Vec<Vec<TokenId>> =
                asked.iter().map(|&(group, n, _)| vec![group as TokenId; n]).collect();
            let requests: Vec<Request<'_>> = asked
                .iter()
                .zip(&contexts)
                .enumerate()
                .map(|(idx, (asked, context))| request(idx, context, asked.2))
                .collect();
            let capacity = requests.iter().map(positions).max().unwrap() + spare;
            let mut ends = ends.into_iter().cycle();
            let mut parked = BTreeMap::new();
            for _ in 0..2 {
                let scheduler = Scheduler::new(&requests, std::mem::take(&mut parked), capacity);
                let mut running = Vec::new();
                let mut started = 0;
                while started < requests.len() || !running.is_empty() {
                    while let Some(active) = scheduler.admit(!running.is_empty()) {
                        prop_assert_eq!(active.idx, started);
                        started += 1;
                        running.push(active);
                        prop_assert!(scheduler.lock().used <= capacity);
                    }
                    let (which, n_tokens) = ends.next().unwrap();
                    let active = running.swap_remove(which.index(running.len()));
                    finish(&scheduler, &active, n_tokens);
                    prop_assert!(scheduler.lock().used <= capacity);
                }
                let (completions, kept) = scheduler.into_parts();
                prop_assert!(completions.iter().all(Option::is_some));
                parked = kept;
            }
        }
    }
}
