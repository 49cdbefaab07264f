//! Threads to call a plugin on, kept from one call to the next.
//!
//! A call that may hang needs a thread that can be left to itself. To start one for every call
//! takes as long as the call, above all since a new thread has nothing in its caches and none of the
//! memory it will need.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long both sides look for the other before they sleep, and let others run meanwhile. To wake a
/// thread takes as long as most calls do.
const SPIN_TIME: Duration = Duration::from_micros(200);

/// What a worker is asked to do.
type Job = Box<dyn FnOnce() + Send>;

/// Threads that wait for work. There are never more of them than there were callers at once.
///
/// A worker lives as long as somebody holds the [`Sender`] of its jobs: those of idle workers are
/// here, and those of busy ones with their callers.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    idle: Mutex<Vec<Sender<Job>>>,
}

/// Why a call has no result.
#[derive(Debug)]
pub(crate) enum Missed {
    /// No thread could be started.
    NoThread(io::Error),
    /// It takes too long. It is left to itself, and its thread ends with it.
    Deadline,
    /// It panicked, and its thread ended.
    Panicked,
}

impl Workers {
    /// Runs `call` on a thread of its own, and waits so long for what it returns. What the call
    /// holds is dropped before its result is here.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        deadline: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Missed> {
        // Not within the `match`, which would keep the lock while a thread is started.
        let idle = self.idle().pop();
        let worker = match idle {
            Some(worker) => worker,
            None => start().map_err(Missed::NoThread)?,
        };
        let (answer, answered) = mpsc::sync_channel(1);
        // Nobody listens any more where the deadline has passed.
        let job = move || drop(answer.send(call()));
        // A worker whose sender is held waits for a job. If it did not, its call would be missed.
        drop(worker.send(Box::new(job)));
        match receive(&answered, deadline) {
            Ok(result) => {
                // The last in is the first out: its caches are the warmest.
                self.idle().push(worker);
                Ok(result)
            }
            Err(RecvTimeoutError::Timeout) => Err(Missed::Deadline),
            Err(RecvTimeoutError::Disconnected) => Err(Missed::Panicked),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Sender<Job>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is sent within so much time.
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

/// Starts a thread that does its jobs until nobody can send it another.
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

    /// Says that it is dropped.
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
        assert!(matches!(workers.run(Duration::from_millis(20), call), Err(Missed::Deadline)));
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
        assert!(matches!(broken, Err::<(), _>(Missed::Panicked)));
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
