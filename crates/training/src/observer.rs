//! Observer of a run: the only way in which the engine reports to its caller.
//!
//! The engine prints nothing and handles no signal. The caller shows progress and warnings as it
//! likes, and decides when a run should stop.

/// Observer of a training run. Every method has a default that does nothing, so `()` is an
/// observer that stays silent and never stops a run.
pub trait Observer {
    /// Start of a phase, for example `training`: `done` of `total` steps or questions are done.
    fn started(&self, phase: &'static str, done: u64, total: u64) {
        let _ = (phase, done, total);
    }

    /// Progress within a phase: `done` steps or questions are done, with a message about the last.
    fn advanced(&self, done: u64, message: &str) {
        let _ = (done, message);
    }

    /// End of a phase.
    fn finished(&self) {}

    /// Informational message, one line.
    fn note(&self, line: &str) {
        let _ = line;
    }

    /// Warning: a problem that does not end the run.
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
