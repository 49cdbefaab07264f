//! Ctrl-C and SIGTERM: finish the step, write a checkpoint, leave with exit code 130.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit_code::Code;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Listens for signals. The second one ends the process at once.
pub fn listen() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(Code::Interrupted as i32);
        }
        eprintln!("stopping after this step; press Ctrl-C again to stop at once");
    })
}

/// Whether a signal asked the run to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
