//! Observer of a run: the one way in which the engine speaks to whoever started it.
//!
//! The engine prints nothing and reads no signal. A program shows progress and warnings as it
//! likes, and says when a run should stop.

/// Observer of a training run. Every method has a default that does nothing, so `()` is an
/// observer that stays silent and never stops a run.
pub trait Observer {
    /// A phase begins, for example `training`: `done` of `total` steps or questions are behind it.
    fn started(&self, phase: &'static str, done: u64, total: u64) {
        let _ = (phase, done, total);
    }

    /// `done` steps or questions of the phase are behind it, with a few words about the last.
    fn advanced(&self, done: u64, message: &str) {
        let _ = (done, message);
    }

    /// The phase is over.
    fn finished(&self) {}

    /// A line for the user that is no warning.
    fn note(&self, line: &str) {
        let _ = line;
    }

    /// Something that does not end the run but should be looked at.
    fn warning(&self, message: &str) {
        let _ = message;
    }

    /// Whether the run should stop after the present step. It then writes a checkpoint and returns
    /// [`TrainingError::Stopped`](crate::TrainingError::Stopped).
    fn should_stop(&self) -> bool {
        false
    }
}

impl Observer for () {}
