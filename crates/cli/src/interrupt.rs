//! Ctrl-C and SIGTERM: the run finishes its step, writes a checkpoint, and exits with code 130.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit_code::Code;
use crate::output::message;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Handles the signals from now on. The second one ends the process at once.
pub fn listen() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(Code::Interrupted as i32);
        }
        message(format_args!("stopping after this step; press Ctrl-C again to stop at once"));
    })
}

/// Whether there was a signal.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
