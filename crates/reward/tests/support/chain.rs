//! Errors as people read them.

use std::error::Error;

use forage_reward::PluginError;

use crate::support::built;

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
