//! Plugins for tests.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// All plugins of this repository.
pub(crate) const PLUGINS: [&str; 8] = [
    "entity-match",
    "exact-match",
    "format",
    "misbehaving",
    "retrieval-recall",
    "search-cost",
    "step-search",
    "token-f1",
];

/// Builds the plugins once, since no test target depends on a `cdylib`, and says where `name` is.
pub(crate) fn built(name: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/plugins");
        // Several processes may come here at once: cargo itself locks the folder.
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--target-dir", target, "--lib"])
            .args(PLUGINS.iter().flat_map(|name| ["-p", name]))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs, as it runs this test");
        assert!(status.success(), "the plugins do not build");
        PathBuf::from(target).join("debug")
    });
    FOLDER.join(libloading::library_filename(name.replace('-', "_")))
}
