//! Which request is next, and whether there is room for it.
//!
//! Requests are served in order. One that does not fit into the memory that is left waits, and so
//! do those behind it. What a sequence samples depends on none of this.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};

use forage_trajectory::{Completion, Request, TokenId};

use super::slots::Past;

/// A sequence between two turns.
#[derive(Debug)]
pub(crate) struct Idle {
    /// The tokens whose keys and values are kept.
    pub(crate) seen: Vec<TokenId>,
    /// Those.
    pub(crate) past: Past,
}

/// A prompt that several sequences begin with: computed by the first, copied by the others.
pub(crate) type Prompt = OnceLock<(Past, Vec<f32>)>;

/// A request that may run.
pub(crate) struct Admitted<'a> {
    /// Its place in the batch.
    pub(crate) idx: usize,
    /// What is asked for.
    pub(crate) request: &'a Request<'a>,
    /// What was computed of it before.
    pub(crate) idle: Option<Idle>,
    /// Shared with others.
    pub(crate) prompt: Option<Arc<Prompt>>,
}

/// The requests of a batch, for all who work on it.
pub(crate) struct Schedule<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
    /// Positions that may be kept at once.
    capacity: usize,
}

struct State<'a> {
    waiting: VecDeque<Waiting<'a>>,
    prompts: Vec<Shared>,
    idle: BTreeMap<usize, Idle>,
    completions: Vec<Option<Completion>>,
    /// Positions that are kept or promised.
    used: usize,
    n_running: usize,
    /// Whether somebody panicked: then nobody must wait for them.
    is_broken: bool,
}

struct Waiting<'a> {
    idx: usize,
    request: &'a Request<'a>,
    prompt: Option<usize>,
}

struct Shared {
    prompt: Arc<Prompt>,
    /// Its tokens.
    length: usize,
    /// How many will have it.
    n: usize,
    /// How many still wait for it.
    n_waiting: usize,
}

impl<'a> Schedule<'a> {
    /// All of these requests, and what is known of sequences.
    pub(crate) fn new(
        requests: &'a [Request<'a>],
        idle: BTreeMap<usize, Idle>,
        capacity: usize,
    ) -> Self {
        let mut prompts: Vec<Shared> = Vec::new();
        let mut by_context: BTreeMap<&[TokenId], usize> = BTreeMap::new();
        let mut waiting = VecDeque::new();
        for (idx, request) in requests.iter().enumerate() {
            let is_fresh = !idle.contains_key(&request.sequence);
            let prompt = is_fresh.then(|| {
                *by_context.entry(request.context).or_insert_with(|| {
                    let length = request.context.len();
                    prompts.push(Shared { prompt: Arc::default(), length, n: 0, n_waiting: 0 });
                    prompts.len() - 1
                })
            });
            if let Some(prompt) = prompt {
                prompts[prompt].n += 1;
                prompts[prompt].n_waiting += 1;
            }
            waiting.push_back(Waiting { idx, request, prompt });
        }
        for it in &mut waiting {
            it.prompt = it.prompt.filter(|&at| prompts[at].n > 1);
        }
        let state = State {
            waiting,
            prompts,
            used: idle.values().map(|it| it.seen.len()).sum(),
            idle,
            completions: vec![None; requests.len()],
            n_running: 0,
            is_broken: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), capacity }
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().expect("no holder panics")
    }

    /// The next request. None where there is none left, or where it has to wait for one of
    /// the caller's own, if the caller `has_others`.
    pub(crate) fn admit(&self, has_others: bool) -> Option<Admitted<'a>> {
        let mut state = self.lock();
        loop {
            if state.is_broken {
                return None;
            }
            if let Some(admitted) = state.admit(self.capacity) {
                return Some(admitted);
            }
            if state.waiting.is_empty() || has_others {
                return None;
            }
            state = self.changed.wait(state).expect("no holder panics");
        }
    }

    /// Takes a sequence back, and what was made of its request.
    pub(crate) fn finish(&self, admitted: &Promise, completion: Completion, mut idle: Idle) {
        idle.past.shrink();
        let mut state = self.lock();
        state.used = state.used - admitted.positions + idle.seen.len();
        state.n_running -= 1;
        state.idle.insert(admitted.sequence, idle);
        state.completions[admitted.idx] = Some(completion);
        self.changed.notify_all();
    }

    /// Lets nobody wait any longer, where a thread ends by a panic.
    pub(crate) fn give_up(&self) {
        self.lock().is_broken = true;
        self.changed.notify_all();
    }

    /// What was made of all requests, in their order, and all sequences.
    pub(crate) fn into_parts(self) -> (Vec<Option<Completion>>, BTreeMap<usize, Idle>) {
        let state = self.state.into_inner().expect("no holder panics");
        (state.completions, state.idle)
    }
}

/// What a running request will give back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promise {
    idx: usize,
    sequence: usize,
    positions: usize,
}

impl Admitted<'_> {
    pub(crate) fn promise(&self) -> Promise {
        let positions = positions(self.request);
        Promise { idx: self.idx, sequence: self.request.sequence, positions }
    }
}

/// Positions that a request may come to.
pub(crate) fn positions(request: &Request<'_>) -> usize {
    request.context.len() + request.max_new_tokens
}

impl<'a> State<'a> {
    /// The next request, if there is room for it. Where nothing runs, room is made: other
    /// sequences are forgotten, and computed again when it is their turn.
    fn admit(&mut self, capacity: usize) -> Option<Admitted<'a>> {
        let next = self.waiting.front()?;
        let (sequence, own) = (next.request.sequence, positions(next.request));
        let prompt = next.prompt;
        // The first of those who share a prompt also pays for the copy that the others take.
        let extra = prompt.map_or(0, |at| {
            let shared = &self.prompts[at];
            if shared.n_waiting == shared.n { shared.length } else { 0 }
        });
        let kept = |idle: &BTreeMap<usize, Idle>| idle.get(&sequence).map_or(0, |it| it.seen.len());
        let needed = own + extra;
        while self.used - kept(&self.idle) + needed > capacity {
            if self.n_running > 0 {
                return None;
            }
            let others = self.idle.keys().rev().copied().filter(|&it| it != sequence);
            let waits = |it: usize| self.waiting.iter().any(|next| next.request.sequence == it);
            let victim = others.clone().find(|&it| !waits(it)).or_else(|| others.clone().next());
            let Some(victim) = victim else {
                self.forget_copies(prompt);
                break;
            };
            let idle = self.idle.remove(&victim).expect("it was just found");
            self.used -= idle.seen.len();
        }
        // Alone it fits, that was checked; a copy for others may be too much.
        let fits = self.used - kept(&self.idle) + needed <= capacity;
        let next = self.waiting.pop_front().expect("it was just looked at");
        let idle = self.idle.remove(&sequence);
        self.used += own;
        self.used -= idle.as_ref().map_or(0, |it| it.seen.len());
        self.n_running += 1;
        let prompt = prompt.and_then(|at| {
            let shared = &mut self.prompts[at];
            let length = shared.length;
            let is_first = shared.n_waiting == shared.n;
            shared.n_waiting -= 1;
            if !fits {
                // The copy makes room, if there is one, and whoever is next begins anew.
                self.used -= if is_first { 0 } else { length };
                shared.prompt = Arc::default();
                shared.n = shared.n_waiting;
                return None;
            }
            self.used += extra;
            if shared.n_waiting > 0 {
                return Some(Arc::clone(&shared.prompt));
            }
            self.used -= length;
            Some(std::mem::take(&mut shared.prompt))
        });
        Some(Admitted { idx: next.idx, request: next.request, idle, prompt })
    }

    /// Forgets the prompts that sequences further behind would copy; the next of them computes
    /// anew.
    fn forget_copies(&mut self, but: Option<usize>) {
        for (at, shared) in self.prompts.iter_mut().enumerate() {
            let is_kept = 0 < shared.n_waiting && shared.n_waiting < shared.n;
            if is_kept && Some(at) != but {
                self.used -= shared.length;
                shared.prompt = Arc::default();
                shared.n = shared.n_waiting;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use forage_trajectory::{FinishReason, Purpose, Stream};
    use proptest::prelude::*;

    use super::*;
    use crate::cache::HostCache;

    fn request(sequence: usize, context: &[TokenId], max_new_tokens: usize) -> Request<'_> {
        let stream = Stream::new(1, Purpose::Rollout);
        Request { sequence, context, max_new_tokens, stop: &[], stream }
    }

    /// Ends a request after so many tokens.
    fn finish(schedule: &Schedule<'_>, admitted: &Admitted<'_>, n_tokens: usize) {
        let tokens = vec![7; n_tokens.min(admitted.request.max_new_tokens)];
        let seen = [admitted.request.context, &tokens].concat();
        let logprobs = vec![0.0; tokens.len()];
        let completion = Completion { tokens, logprobs, finish: FinishReason::Length };
        let idle = Idle { seen, past: Past::Host(HostCache::new(0)) };
        schedule.finish(&admitted.promise(), completion, idle);
    }

    #[test]
    fn what_is_beyond_the_memory_waits_and_a_prompt_is_shared() {
        let (group, other) = (vec![1; 10], vec![2; 26]);
        let requests = [request(0, &group, 4), request(1, &group, 4), request(2, &other, 4)];
        // Twice a prompt with 4 tokens, and the copy of the prompt until both have it.
        let schedule = Schedule::new(&requests, BTreeMap::new(), 38);
        let first = schedule.admit(false).unwrap();
        let second = schedule.admit(true).unwrap();
        let prompts = [&first, &second].map(|it| it.prompt.as_ref().unwrap());
        assert!(Arc::ptr_eq(prompts[0], prompts[1]));
        assert!(schedule.admit(true).is_none());
        finish(&schedule, &first, 3);
        assert!(schedule.admit(true).is_none());
        finish(&schedule, &second, 3);
        // Nothing runs: what is kept of others makes room.
        let third = schedule.admit(true).unwrap();
        assert!((third.idx, third.prompt.is_none()) == (2, true));
        finish(&schedule, &third, 4);
        assert!(schedule.admit(false).is_none());
        let (completions, idle) = schedule.into_parts();
        assert!(completions.iter().all(Option::is_some));
        assert!(idle.values().map(|it| it.seen.len()).sum::<usize>() <= 38);
    }

    /// The copy for the third once counted as if it could not be forgotten.
    #[test]
    fn a_prompt_that_is_kept_for_later_makes_room_for_a_large_request() {
        let (group, other) = (vec![1; 10], vec![2; 26]);
        let requests = [request(0, &group, 4), request(1, &other, 4), request(2, &group, 4)];
        let schedule = Schedule::new(&requests, BTreeMap::new(), 30);
        for _ in 0..requests.len() {
            let admitted = schedule.admit(false).unwrap();
            assert!(schedule.lock().used <= 30);
            finish(&schedule, &admitted, 4);
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
            let mut idle = BTreeMap::new();
            for _ in 0..2 {
                let schedule = Schedule::new(&requests, std::mem::take(&mut idle), capacity);
                let mut running = Vec::new();
                let mut started = 0;
                while started < requests.len() || !running.is_empty() {
                    while let Some(admitted) = schedule.admit(!running.is_empty()) {
                        prop_assert_eq!(admitted.idx, started);
                        started += 1;
                        running.push(admitted);
                        prop_assert!(schedule.lock().used <= capacity);
                    }
                    let (which, n_tokens) = ends.next().unwrap();
                    let admitted = running.swap_remove(which.index(running.len()));
                    finish(&schedule, &admitted, n_tokens);
                    prop_assert!(schedule.lock().used <= capacity);
                }
                let (completions, kept) = schedule.into_parts();
                prop_assert!(completions.iter().all(Option::is_some));
                idle = kept;
            }
        }
    }
}
