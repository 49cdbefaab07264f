//! Ctrl-C and SIGTERM: finish the step, write a checkpoint, leave with exit code 130.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Code, Failure};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Listens for signals. The second one ends the process at once.
pub fn listen() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(Code::Interrupted as i32);
        }
        eprintln!("stopping after this step; press Ctrl-C again to stop at once");
    })
}

/// Whether somebody asked to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// The failure that ends an interrupted run.
pub fn stopped(run: &Path) -> Failure {
    Failure::new(Code::Interrupted, "interrupted; a checkpoint was written").hint(format!(
        "go on with the same command and `--resume` (the run is in `{}`)",
        run.display()
    ))
}
