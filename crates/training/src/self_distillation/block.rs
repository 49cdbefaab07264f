//! Hindsight block in text: attempts at a question, each with its label.

use std::fmt::Write as _;

use forage_trajectory::protocol::strip_tags;

/// Block of attempts, one line each, as the [parent module](super) shows it: the label, true for
/// correct and `None` for none, and queries or other texts.
pub(crate) fn attempts_block(attempts: &[(Option<bool>, Vec<&str>)]) -> String {
    let mut block = "Attempts at this question:\n".to_owned();
    for (place, (label, texts)) in attempts.iter().enumerate() {
        let label = match label {
            Some(true) => " CORRECT.",
            Some(false) => " INCORRECT.",
            None => "",
        };
        let quoted = strip_tags(&texts.join("; "));
        writeln!(block, "{}.{label} {quoted}", place + 1).expect("writing to a string");
    }
    block
}
