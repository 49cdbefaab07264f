//! Manifest of a run, `manifest.json`: what it depends on besides its configuration.

use serde_json::{Value, json};

use crate::run_file::RunConfig;

/// Key of the folder that a run was started in, where relative paths of its run file begin.
pub(crate) const WORKING_DIRECTORY: &str = "working_directory";

/// What every run has in its manifest.
pub(crate) fn of(config: &RunConfig) -> Value {
    json!({
        "name": config.name,
        "version": env!("CARGO_PKG_VERSION"),
        "commit": std::env::var("FORAGE_COMMIT").ok(),
        "device": config.device,
        "seed": config.seed,
        "model": config.model_folder().map(|folder| folder.display().to_string()),
        (WORKING_DIRECTORY): std::env::current_dir().ok(),
    })
}
