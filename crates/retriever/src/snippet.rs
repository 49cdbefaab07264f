//! Snippets: the part of a passage with most of the query's terms.

use std::collections::HashSet;
use std::ops::Range;

use tantivy::tokenizer::{Token, TokenStream};

use crate::Analyzer;

/// Snippet of a passage, with the words that match the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    text: String,
    words: Vec<Range<usize>>,
    cut_before: bool,
    cut_after: bool,
}

impl Snippet {
    /// Best window of about `width` bytes: the one with most different query terms, then with most
    /// matches, then the first; cut between words.
    pub(crate) fn new(text: &str, query: &[String], analyzer: Analyzer, width: usize) -> Self {
        let query: HashSet<&str> = query.iter().map(String::as_str).collect();
        let mut token = Token::default();
        let mut terms = analyzer.stream(text, &mut token);
        let mut matches: Vec<(Range<usize>, &str)> = Vec::new();
        while terms.advance() {
            let Token { text: term, offset_from, offset_to, .. } = terms.token();
            if let Some(&term) = query.get(term.as_str()) {
                matches.push((*offset_from..*offset_to, term));
            }
        }
        let window = best_window(&matches, width).unwrap_or(0..0);
        let shown = widened(text, window, width);
        let words = matches
            .into_iter()
            .map(|(word, _)| word)
            .filter(|word| shown.start <= word.start && word.end <= shown.end)
            .map(|word| word.start - shown.start..word.end - shown.start)
            .collect();
        Self {
            words,
            cut_before: !text[..shown.start].trim().is_empty(),
            cut_after: !text[shown.end..].trim().is_empty(),
            text: text[shown].to_owned(),
        }
    }

    /// Text of the snippet, as it is in the passage.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Highlighted line, with `before` and `after` around the matches. Line breaks and other
    /// control characters become spaces: a passage must not steer a terminal.
    pub fn render(&self, before: &str, after: &str) -> String {
        let mut line = String::from(if self.cut_before { "… " } else { "" });
        let mut at = 0;
        for word in &self.words {
            line.extend(self.text[at..word.start].chars().map(printable));
            line.push_str(before);
            line.extend(self.text[word.clone()].chars().map(printable));
            line.push_str(after);
            at = word.end;
        }
        line.extend(self.text[at..].chars().map(printable));
        line.push_str(if self.cut_after { " …" } else { "" });
        line
    }
}

fn printable(character: char) -> char {
    if character.is_control() { ' ' } else { character }
}

/// Best window, from its first to its last match; none where nothing matches.
fn best_window(matches: &[(Range<usize>, &str)], width: usize) -> Option<Range<usize>> {
    let mut best: Option<((usize, usize), Range<usize>)> = None;
    for (idx, (first, _)) in matches.iter().enumerate() {
        let within = matches[idx..].iter().take_while(|(word, _)| word.end <= first.start + width);
        let (mut terms, mut n_words, mut end) = (HashSet::new(), 0, first.end);
        for (word, term) in within {
            terms.insert(term);
            n_words += 1;
            end = word.end;
        }
        let worth = (terms.len(), n_words);
        if best.as_ref().is_none_or(|(most, _)| worth > *most) {
            best = Some((worth, first.start..end));
        }
    }
    best.map(|(_, window)| window)
}

/// Widens a window to `width`, as far as there is text, and cuts it between words.
fn widened(text: &str, window: Range<usize>, width: usize) -> Range<usize> {
    let spare = width.saturating_sub(window.len());
    let mut start = window.start.saturating_sub(spare / 2);
    let end = text.len().min(start + width.max(window.len()));
    start = start.min(window.start).min(end.saturating_sub(width));
    let start = text.floor_char_boundary(start);
    let end = text.ceil_char_boundary(end);
    let from = if start == 0 {
        0
    } else {
        // To the word after the first gap, but never into the window.
        let gap = text[start..window.start].find(char::is_whitespace).map(|gap| start + gap);
        gap.map_or(window.start, |gap| gap + leading_space(&text[gap..window.start]))
    };
    let to = if end == text.len() {
        end
    } else {
        let gap = text[window.end..end].rfind(char::is_whitespace);
        // One word that is longer than the whole width is cut where it must be.
        let last = if window.is_empty() { end } else { window.end };
        gap.map_or(last, |gap| window.end + gap)
    };
    from..to
}

fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "The film was shot in 1978. It was directed by Ridley Scott, whose father \
                        was an engineer.\nScott won no prize for it.";

    #[track_caller]
    fn check(text: &str, query: &str, width: usize, expected: &str) {
        let analyzer = Analyzer::English;
        let snippet = Snippet::new(text, &analyzer.terms(query), analyzer, width);
        assert_eq!(snippet.render("[", "]"), expected, "{query}");
    }

    #[test]
    fn snippets() {
        check(
            TEXT,
            "Who is Scott's father?",
            60,
            "… Ridley [Scott], whose [father] was an engineer. [Scott] won no …",
        );
        check(TEXT, "prizes", 30, "… Scott won no [prize] for it.");
        check(TEXT, "film", 24, "The [film] was shot in …");
        check(TEXT, "nothing", 24, "The film was shot in …");
        check(
            TEXT,
            "engineer scott",
            1000,
            "The film was shot in 1978. It was directed by Ridley [Scott], whose father was an [engineer]. [Scott] won no prize for it.",
        );
        check("a\u{1b}[31mb scott", "scott", 100, "a [31mb [scott]");
        check("Größenwahnsinnig höflich Ärger", "ärger", 10, "… [Ärger]");
        check("Größenwahnsinnighöflichärger", "x", 10, "Größenwa …");
        check("", "x", 10, "");
    }
}
