//! Snippets: the part of a passage with most of the query's terms.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tantivy::tokenizer::{Token, TokenStream};

use crate::analyzer::{Offsets, Scratch, VersionedAnalyzer};

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
    pub(crate) fn new(
        text: &str,
        query: &[String],
        analyzer: impl Into<VersionedAnalyzer>,
        width: usize,
    ) -> Self {
        let query: HashSet<&str> = query.iter().map(String::as_str).collect();
        let mut scratch = Scratch::default();
        let mut terms = analyzer.into().stream(text, &mut scratch, Offsets::Original);
        let mut matches: Vec<(Range<usize>, &str)> = Vec::new();
        while terms.advance() {
            let Token { text: term, offset_from, offset_to, .. } = terms.token();
            if let Some(&term) = query.get(term.as_str()) {
                matches.push((*offset_from..*offset_to, term));
            }
        }
        let window = best_window(&matches, width).unwrap_or(0..0);
        let shown = widened(text, window, width);
        let mut words: Vec<Range<usize>> = Vec::new();
        for (word, _) in matches {
            if word.start < shown.start || word.end > shown.end {
                continue;
            }
            let word = word.start - shown.start..word.end - shown.start;
            // n-grams overlap.
            match words.last_mut().filter(|last| word.start < last.end) {
                Some(last) => last.end = last.end.max(word.end),
                None => words.push(word),
            }
        }
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
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut next = 0;
    for (idx, (first, first_term)) in matches.iter().enumerate() {
        while let Some((word, term)) = matches.get(next)
            && (word.end <= first.start + width || next == idx)
        {
            *counts.entry(term).or_default() += 1;
            next += 1;
        }
        let worth = (counts.len(), next - idx);
        if best.as_ref().is_none_or(|(most, _)| worth > *most) {
            // The last may end before one that began earlier.
            let end = matches[idx..next].iter().map(|(word, _)| word.end).max();
            best = Some((worth, first.start..end.unwrap_or(first.end)));
        }
        if let Some(count) = counts.get_mut(first_term) {
            *count -= 1;
            if *count == 0 {
                counts.remove(first_term);
            }
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

    use crate::Analyzer;

    const TEXT: &str = "The film was shot in 1978. It was directed by Ridley Scott, whose father \
                        was an engineer.\nScott won no prize for it.";

    #[track_caller]
    fn check(text: &str, query: &str, width: usize, expected: &str) {
        check_with(Analyzer::English, text, query, width, expected);
    }

    #[track_caller]
    fn check_with(analyzer: Analyzer, text: &str, query: &str, width: usize, expected: &str) {
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
        check(
            "Maeve O’Dunn at a Cafe\u{301}",
            "O'Dunn café",
            40,
            "Maeve [O’Dunn] at a [Cafe\u{301}]",
        );
        let unicode = Analyzer::Unicode;
        check_with(unicode, "海港市是北方省的省会", "北方省", 100, "海港市是[北方省]的省会");
        check_with(unicode, "Ｈａｌｖｉｋ Café", "halvik cafe", 100, "[Ｈａｌｖｉｋ] [Café]");
        check_with(unicode, "กรุงเทพเป็นเมืองหลวง", "กรุงเทพ", 100, "[กรุงเทพ]เป็นเมืองหลวง");
    }

    #[test]
    fn many_matches_take_no_longer_each() {
        let text = "scott ".repeat(200_000);
        let query = ["scott".to_owned()];
        let snippet = Snippet::new(&text, &query, Analyzer::English, 100_000);
        assert!(snippet.text.len() <= 100_000 && snippet.cut_after);
    }
}
