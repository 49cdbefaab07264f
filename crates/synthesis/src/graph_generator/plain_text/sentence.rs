//! Words and sentences of a text, and the words that single out what stands after them.

use std::ops::{Range, RangeInclusive};

/// Numbers of words in a cue.
const CUE_WORDS: RangeInclusive<usize> = 3..=7;

/// Cue of a mention: the words before it in its sentence, if they occur once in the texts of its
/// whole article; `None` where no cue does.
pub(super) fn cue(text: &str, range: &Range<usize>, article: &[&str]) -> Option<String> {
    let sentence = sentence_start(text, range.start);
    let before = text[sentence..range.start].trim_end();
    let words: Vec<&str> = before.split_whitespace().collect();
    for length in CUE_WORDS {
        if words.len() < length {
            return None;
        }
        let cue = words[words.len() - length..].join(" ");
        let is_plain = !cue.contains(['"', '“', '”', '(', ')', '[', ']', '<', '>', '`']);
        if !is_plain {
            return None;
        }
        let n_found: usize =
            article.iter().map(|passage| passage.matches(cue.as_str()).count()).sum();
        if n_found == 1 {
            return Some(cue);
        }
    }
    None
}

/// Start of the sentence that a byte is in. An initial (`J. Smith`) ends no sentence.
pub(super) fn sentence_start(text: &str, at: usize) -> usize {
    let mut start = 0;
    for (idx, _) in text[..at].match_indices(". ") {
        let last = text[..idx].rsplit([' ', '.']).next().unwrap_or_default();
        if last.chars().count() > 2 {
            start = idx + 2;
        }
    }
    start
}

/// Whether a sentence begins at this byte.
pub(super) fn starts_sentence(text: &str, at: usize) -> bool {
    let before = text[..at].trim_end();
    before.is_empty() || before.ends_with(['.', '!', '?', ':', ';', '"', '”'])
}

/// Words with where they stand, their punctuation cut off.
pub(super) fn words(text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let base = text.as_ptr() as usize;
    text.split_whitespace().filter_map(move |word| {
        let cut = word.trim_matches(|it: char| !it.is_alphanumeric());
        let start = cut.as_ptr() as usize - base;
        (!cut.is_empty()).then(|| (start..start + cut.len(), cut))
    })
}

/// Whether a range stands in a quotation of more than itself, as titles of works do.
pub(super) fn is_part_of_quote(text: &str, range: &Range<usize>) -> bool {
    let sentence = &text[sentence_start(text, range.start)..range.start];
    let is_open = |open: &str, close: &str| {
        sentence.rfind(open).is_some_and(|at| !sentence[at + open.len()..].contains(close))
    };
    let is_quoted =
        sentence.matches('"').count() % 2 == 1 || is_open("``", "''") || is_open("“", "”");
    let after = text[range.end..].trim_start_matches([',', '.', ' ']);
    let is_all = sentence.ends_with(['"', '`', '“']) && after.starts_with(['"', '\'', '”']);
    is_quoted && !is_all
}
