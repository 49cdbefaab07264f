//! Plugins for tests, and errors as people read them.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use forage_reward::PluginError;

/// Builds the plugins once, since no test target depends on a `cdylib`, and says where `name` is.
pub(crate) fn built(name: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/plugins");
        // Several processes may come here at once: cargo itself locks the folder.
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--target-dir", target, "--lib", "--example", "panicky"])
            .args(["-p", "exact-match", "-p", "format", "-p", "forage-reward-sdk"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs, as it runs this test");
        assert!(status.success(), "the plugins do not build");
        PathBuf::from(target).join("debug")
    });
    let file = libloading::library_filename(name);
    if name == "panicky" { FOLDER.join("examples").join(file) } else { FOLDER.join(file) }
}

/// An error with its causes and its hint, one a line, and its paths made short.
pub(crate) fn chain(err: &PluginError) -> String {
    let folder = built("exact_match").parent().expect("a library is in a folder").to_owned();
    let mut lines = vec![err.to_string()];
    let mut next = err.source();
    while let Some(err) = next {
        lines.push(format!("caused by: {err}"));
        next = err.source();
    }
    lines.extend(err.hint().map(|hint| format!("hint: {hint}")));
    lines.join("\n").replace(&folder.display().to_string(), "$OUT")
}
