//! Worker threads for plugin calls with a deadline, which are reused.
//!
//! A call that may hang needs a thread that can be abandoned. Starting one for every call takes as
//! long as the call, mostly because the caches and the allocator of a new thread are cold.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Spin time: how long both sides poll and yield before they sleep. Waking a thread takes as long
/// as most calls.
const SPIN_TIME: Duration = Duration::from_micros(200);

/// Job of a worker.
type Job = Box<dyn FnOnce() + Send>;

/// Pool of worker threads. It has at most as many as there were concurrent callers.
///
/// A worker lives as long as the [`Sender`] of its jobs: the pool holds the senders of idle
/// workers, the callers those of busy ones.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    idle: Mutex<Vec<Sender<Job>>>,
}

/// Reason why a call has no result.
#[derive(Debug)]
pub(crate) enum CallFailure {
    /// The thread could not be started.
    NoThread(io::Error),
    /// The deadline passed. The call is abandoned, and its thread ends with it.
    Deadline,
    /// The call panicked, and its thread ended.
    Panicked,
}

impl Workers {
    /// Runs `call` on a worker, and waits for its result until the deadline. What `call` captured
    /// is dropped before its result is returned.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        deadline: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CallFailure> {
        // Not within the `match`, which would keep the lock while a thread is started.
        let idle = self.idle().pop();
        let worker = match idle {
            Some(worker) => worker,
            None => start().map_err(CallFailure::NoThread)?,
        };
        let (answer, answered) = mpsc::sync_channel(1);
        // After the deadline there is no receiver any more.
        let job = move || drop(answer.send(call()));
        // A worker waits for jobs as long as its sender exists; if it did not, the call would fail.
        drop(worker.send(Box::new(job)));
        match receive(&answered, deadline) {
            Ok(result) => {
                // Last in, first out: the caches of the last worker are the warmest.
                self.idle().push(worker);
                Ok(result)
            }
            Err(RecvTimeoutError::Timeout) => Err(CallFailure::Deadline),
            Err(RecvTimeoutError::Disconnected) => Err(CallFailure::Panicked),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Sender<Job>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receives an item within `timeout`, polling for [`SPIN_TIME`] first.
fn receive<T>(receiver: &Receiver<T>, timeout: Duration) -> Result<T, RecvTimeoutError> {
    let began = Instant::now();
    while began.elapsed() < SPIN_TIME.min(timeout) {
        match receiver.try_recv() {
            Ok(item) => return Ok(item),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => thread::yield_now(),
        }
    }
    receiver.recv_timeout(timeout.saturating_sub(began.elapsed()))
}

/// Starts a worker, which runs its jobs until their sender is dropped.
fn start() -> io::Result<Sender<Job>> {
    let (worker, jobs) = mpsc::channel::<Job>();
    let work = move || {
        while let Ok(job) = receive(&jobs, Duration::MAX) {
            job();
        }
    };
    thread::Builder::new().name("reward plugin".to_owned()).spawn(work)?;
    Ok(worker)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread::ThreadId;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn ask(workers: &Workers) -> ThreadId {
        workers.run(LONG, || thread::current().id()).unwrap()
    }

    thread_local! {
        /// Set on a worker, it tells when the worker ends.
        static FLAG: RefCell<Option<Up>> = const { RefCell::new(None) };
    }

    /// Sends a message when it is dropped.
    struct Up(Sender<()>);

    impl Drop for Up {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn one_caller_has_one_worker() {
        let workers = Workers::default();
        let first = ask(&workers);
        assert_ne!(first, thread::current().id());
        for _ in 0..100 {
            assert_eq!(ask(&workers), first);
        }
        assert_eq!(workers.idle().len(), 1);
    }

    #[test]
    fn there_are_no_more_workers_than_callers() {
        const CALLERS: usize = 8;
        let workers = Workers::default();
        let (meet, seen) = (Barrier::new(CALLERS), Mutex::new(HashSet::new()));
        thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    for _ in 0..100 {
                        meet.wait();
                        let id = ask(&workers);
                        seen.lock().unwrap().insert(id);
                    }
                });
            }
        });
        let n = seen.lock().unwrap().len();
        assert!(n <= CALLERS, "{n}");
        assert_eq!(workers.idle().len(), n);
    }

    #[test]
    fn who_misses_the_deadline_is_not_asked_again_and_ends() {
        let workers = Workers::default();
        let slow = ask(&workers);
        let (go, gone) = mpsc::channel::<()>();
        let (up, ended) = mpsc::channel();
        let call = move || {
            FLAG.set(Some(Up(up)));
            let _ = gone.recv();
        };
        assert!(matches!(workers.run(Duration::from_millis(20), call), Err(CallFailure::Deadline)));
        assert!(workers.idle().is_empty());
        assert_ne!(ask(&workers), slow);
        assert_ne!(ask(&workers), slow);
        assert_eq!(workers.idle().len(), 1);
        drop(go);
        ended.recv_timeout(LONG).expect("the thread ends with the call");
    }

    #[test]
    fn a_panic_ends_its_worker_only() {
        let workers = Workers::default();
        let first = ask(&workers);
        let broken = workers.run(LONG, || std::panic::resume_unwind(Box::new("no message")));
        assert!(matches!(broken, Err::<(), _>(CallFailure::Panicked)));
        assert!(workers.idle().is_empty());
        assert_ne!(ask(&workers), first);
    }

    #[test]
    fn idle_workers_end_with_their_owner() {
        let workers = Workers::default();
        let (up, ended) = mpsc::channel();
        workers.run(LONG, move || FLAG.set(Some(Up(up)))).unwrap();
        assert!(ended.try_recv().is_err(), "it waits for more");
        drop(workers);
        ended.recv_timeout(LONG).expect("the thread ends");
    }
}
