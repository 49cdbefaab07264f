//! Word segmentation: at the word boundaries of Unicode (UAX #29), or as Lucene's
//! `StandardTokenizer` departs from them.

use std::iter::Peekable;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_segmentation::{UWordBoundIndices, UnicodeSegmentation, UnicodeWordIndices};

/// Longest word: Lucene cuts longer ones, in units of UTF-16; others are dropped, in bytes.
const MAX_LENGTH: usize = 255;

/// Iterator over the words of a text, with the byte offsets where they begin.
///
/// A text is segmented in chunks, of ASCII or not: for ASCII there is a fast path. Chunks are cut
/// between a space and ASCII that is none, where every rule of UAX #29 sees a boundary and none
/// looks across.
pub(crate) struct Words<'a> {
    text: &'a str,
    rules: Rules,
    chunk: Chunk<'a>,
    start: usize,
    /// Byte offset of the next chunk.
    end: usize,
    /// Rest of a word that was cut.
    rest: Option<(usize, &'a str)>,
}

/// Segmentation rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// UAX #29: a word holds a letter or a digit. Too long ones are dropped.
    Unicode,
    /// Lucene's `StandardTokenizer`.
    ///
    /// Beyond those of Unicode it has whole stretches of Thai, Lao, Khmer and Burmese, which are
    /// written without spaces, and emoji; signs such as `\u{b2}` and `\u{bd}` are none.
    Lucene,
}

/// Iterator over a chunk of the text.
enum Chunk<'a> {
    /// Words of UAX #29; in ASCII, Lucene does not depart from them.
    Words(UnicodeWordIndices<'a>),
    /// Segments of UAX #29, out of which the tokens of Lucene are made.
    Segments(Peekable<UWordBoundIndices<'a>>),
}

impl<'a> Words<'a> {
    pub(crate) fn unicode(text: &'a str) -> Self {
        Self::over(text, Rules::Unicode)
    }

    pub(crate) fn lucene(text: &'a str) -> Self {
        Self::over(text, Rules::Lucene)
    }

    fn over(text: &'a str, rules: Rules) -> Self {
        let chunk = Chunk::Words("".unicode_word_indices());
        Self { text, rules, chunk, start: 0, end: 0, rest: None }
    }

    /// Next word, however long.
    fn whole(&mut self) -> Option<(usize, &'a str)> {
        loop {
            let found = match &mut self.chunk {
                Chunk::Words(words) => words.next(),
                Chunk::Segments(segments) => next_of_lucene(segments, &self.text[self.start..]),
            };
            if let Some((place, word)) = found {
                return Some((self.start + place, word));
            }
            if self.end == self.text.len() {
                return None;
            }
            self.start = self.end;
            let length = chunk_length(&self.text[self.start..]);
            self.end += length;
            let chunk = &self.text[self.start..self.end];
            self.chunk = if self.rules == Rules::Unicode || chunk.is_ascii() {
                Chunk::Words(chunk.unicode_word_indices())
            } else {
                Chunk::Segments(chunk.split_word_bound_indices().peekable())
            };
        }
    }

    /// Beginning of a word, as long as Lucene takes for one token.
    fn cut(&mut self, start: usize, word: &'a str) -> &'a str {
        let mut units = 0;
        let fits = |&(_, character): &(usize, char)| {
            units += character.len_utf16();
            units <= MAX_LENGTH
        };
        let end = word.char_indices().take_while(fits).last();
        let end = end.map_or(word.len(), |(last, character)| last + character.len_utf8());
        if end < word.len() {
            self.rest = Some((start + end, &word[end..]));
        }
        &word[..end]
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (start, word) = self.rest.take().or_else(|| self.whole())?;
            if word.len() <= MAX_LENGTH {
                return Some((start, word));
            }
            if self.rules == Rules::Lucene {
                return Some((start, self.cut(start, word)));
            }
        }
    }
}

/// Length of the next chunk: as much of the text as is ASCII, or else as is not.
fn chunk_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let Some(other) = bytes.iter().position(|it| !it.is_ascii()) else { return bytes.len() };
    let is_gap = |pair: &[u8]| pair[0] == b' ' && pair[1] != b' ' && pair[1].is_ascii();
    if let Some(gap) = bytes[..other].windows(2).rposition(is_gap) {
        return gap + 1;
    }
    let gap = bytes[other..].windows(2).position(is_gap);
    gap.map_or(bytes.len(), |gap| other + gap + 1)
}

/// Next token of Lucene among the segments of a text.
fn next_of_lucene<'a>(
    segments: &mut Peekable<UWordBoundIndices<'a>>,
    text: &'a str,
) -> Option<(usize, &'a str)> {
    loop {
        let (start, segment) = segments.next()?;
        if starts_without_spaces(segment) {
            let mut end = start + segment.len();
            while let Some((_, more)) = segments.next_if(|&(_, next)| starts_without_spaces(next)) {
                end += more.len();
            }
            return Some((start, &text[start..end]));
        }
        if is_word(segment) {
            return Some((start, segment));
        }
    }
}

fn is_word(segment: &str) -> bool {
    let has_letter = segment.chars().any(|letter| {
        letter.is_alphanumeric() && letter.general_category() != GeneralCategory::OtherNumber
    });
    has_letter || (!segment.is_ascii() && is_emoji(segment))
}

/// Whether a segment is an emoji: a pictograph, a flag of two letters, or a keycap.
fn is_emoji(segment: &str) -> bool {
    let is_letter_of_flag = |it: char| ('\u{1f1e6}'..='\u{1f1ff}').contains(&it);
    let mut characters = segment.chars();
    match (characters.next(), characters.next()) {
        (Some(first), Some(second)) if is_letter_of_flag(first) => is_letter_of_flag(second),
        (Some(first), _) => is_in(first, &PICTOGRAPHIC) || segment.ends_with('\u{20e3}'),
        (None, _) => false,
    }
}

fn starts_without_spaces(segment: &str) -> bool {
    segment.chars().next().is_some_and(|it| it >= '\u{e00}' && is_in(it, &WITHOUT_SPACES))
}

fn is_in(character: char, ranges: &[(u32, u32)]) -> bool {
    let character = u32::from(character);
    let after = ranges.partition_point(|it| it.1 < character);
    ranges.get(after).is_some_and(|it| it.0 <= character)
}

/// Characters of the line break class `SA`.
const WITHOUT_SPACES: [(u32, u32); 28] = [
    (0xe01, 0xe3a),
    (0xe40, 0xe4e),
    (0xe81, 0xebd),
    (0xec0, 0xece),
    (0xedc, 0xedf),
    (0x1000, 0x103f),
    (0x1050, 0x108f),
    (0x109a, 0x109f),
    (0x1780, 0x17d3),
    (0x17d7, 0x17d7),
    (0x17dc, 0x17dd),
    (0x1950, 0x196d),
    (0x1970, 0x1974),
    (0x1980, 0x19ab),
    (0x19b0, 0x19c9),
    (0x19da, 0x19da),
    (0x19de, 0x19df),
    (0x1a20, 0x1a5e),
    (0x1a60, 0x1a7c),
    (0x1aa0, 0x1aad),
    (0xa9e0, 0xa9ef),
    (0xa9fa, 0xa9fe),
    (0xaa60, 0xaac2),
    (0xaadb, 0xaadf),
    (0x11700, 0x1171a),
    (0x1171d, 0x1172b),
    (0x1173a, 0x1173b),
    (0x1173f, 0x11746),
];

/// Characters with the property `Extended_Pictographic`.
const PICTOGRAPHIC: [(u32, u32); 78] = [
    (0xa9, 0xa9),
    (0xae, 0xae),
    (0x203c, 0x203c),
    (0x2049, 0x2049),
    (0x2122, 0x2122),
    (0x2139, 0x2139),
    (0x2194, 0x2199),
    (0x21a9, 0x21aa),
    (0x231a, 0x231b),
    (0x2328, 0x2328),
    (0x2388, 0x2388),
    (0x23cf, 0x23cf),
    (0x23e9, 0x23f3),
    (0x23f8, 0x23fa),
    (0x24c2, 0x24c2),
    (0x25aa, 0x25ab),
    (0x25b6, 0x25b6),
    (0x25c0, 0x25c0),
    (0x25fb, 0x25fe),
    (0x2600, 0x2605),
    (0x2607, 0x2612),
    (0x2614, 0x2685),
    (0x2690, 0x2705),
    (0x2708, 0x2712),
    (0x2714, 0x2714),
    (0x2716, 0x2716),
    (0x271d, 0x271d),
    (0x2721, 0x2721),
    (0x2728, 0x2728),
    (0x2733, 0x2734),
    (0x2744, 0x2744),
    (0x2747, 0x2747),
    (0x274c, 0x274c),
    (0x274e, 0x274e),
    (0x2753, 0x2755),
    (0x2757, 0x2757),
    (0x2763, 0x2767),
    (0x2795, 0x2797),
    (0x27a1, 0x27a1),
    (0x27b0, 0x27b0),
    (0x27bf, 0x27bf),
    (0x2934, 0x2935),
    (0x2b05, 0x2b07),
    (0x2b1b, 0x2b1c),
    (0x2b50, 0x2b50),
    (0x2b55, 0x2b55),
    (0x3030, 0x3030),
    (0x303d, 0x303d),
    (0x3297, 0x3297),
    (0x3299, 0x3299),
    (0x1f000, 0x1f0ff),
    (0x1f10d, 0x1f10f),
    (0x1f12f, 0x1f12f),
    (0x1f16c, 0x1f171),
    (0x1f17e, 0x1f17f),
    (0x1f18e, 0x1f18e),
    (0x1f191, 0x1f19a),
    (0x1f1ad, 0x1f1e5),
    (0x1f201, 0x1f20f),
    (0x1f21a, 0x1f21a),
    (0x1f22f, 0x1f22f),
    (0x1f232, 0x1f23a),
    (0x1f23c, 0x1f23f),
    (0x1f249, 0x1f3fa),
    (0x1f400, 0x1f53d),
    (0x1f546, 0x1f64f),
    (0x1f680, 0x1f6ff),
    (0x1f774, 0x1f77f),
    (0x1f7d5, 0x1f7ff),
    (0x1f80c, 0x1f80f),
    (0x1f848, 0x1f84f),
    (0x1f85a, 0x1f85f),
    (0x1f888, 0x1f88f),
    (0x1f8ae, 0x1f8ff),
    (0x1f90c, 0x1f93a),
    (0x1f93c, 0x1f945),
    (0x1f947, 0x1faff),
    (0x1fc00, 0x1fffd),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, words: &[&str]) {
        let found: Vec<(usize, &str)> = Words::lucene(text).collect();
        assert!(found.iter().all(|&(start, word)| text[start..].starts_with(word)));
        let found: Vec<&str> = found.into_iter().map(|it| it.1).collect();
        assert_eq!(found, words, "{text}");
    }

    #[test]
    fn words_of_lucene() {
        check("it isn't 3.5 x_y", &["it", "isn't", "3.5", "x_y"]);
        check("5 m\u{b2}, 2\u{bd} caf\u{e9}s", &["5", "m", "2", "caf\u{e9}s"]);
        check(
            "\u{e01}\u{e30}\u{e40}\u{e17}\u{e22} a",
            &["\u{e01}\u{e30}\u{e40}\u{e17}\u{e22}", "a"],
        );
        check(
            "\u{1f600}\u{1f600} \u{2660} 1\u{fe0f}\u{20e3} #\u{fe0f}\u{20e3} \u{a9}!",
            &[
                "\u{1f600}",
                "\u{1f600}",
                "\u{2660}",
                "1\u{fe0f}\u{20e3}",
                "#\u{fe0f}\u{20e3}",
                "\u{a9}",
            ],
        );
        check(
            "\u{1f1fa}\u{1f1f8}\u{1f1e9}\u{1f1ea}\u{1f1e9}",
            &["\u{1f1fa}\u{1f1f8}", "\u{1f1e9}\u{1f1ea}"],
        );
        check(
            "\u{6771}\u{4eac} \u{3042}\u{3044} \u{30ab}\u{30bf}",
            &["\u{6771}", "\u{4eac}", "\u{3042}", "\u{3044}", "\u{30ab}\u{30bf}"],
        );
        let (long, accented) = ("a".repeat(300), "\u{e9}".repeat(300));
        check(&format!("{long} b"), &[&long[..255], &long[..45], "b"]);
        check(&accented, &[&accented[..510], &accented[..90]]);
        check("", &[]);
    }

    #[test]
    fn ranges_are_in_order() {
        for ranges in [&WITHOUT_SPACES[..], &PICTOGRAPHIC] {
            assert!(ranges.iter().all(|it| it.0 <= it.1));
            assert!(ranges.windows(2).all(|it| it[0].1 < it[1].0));
        }
    }

    proptest! {
        #[test]
        fn chunks_change_nothing(text in "[a-z ' \\.,1_\u{301}\u{e9}\u{e01}\u{e31}\u{200d}\u{1f600}\u{1f1fa}\u{30ab}\u{6771}\u{5d0}\u{b2}\n]{0,60}") {
            let whole: Vec<(usize, &str)> = text.unicode_word_indices().collect();
            prop_assert_eq!(Words::unicode(&text).collect::<Vec<_>>(), whole);
            let mut segments = text.split_word_bound_indices().peekable();
            let whole: Vec<(usize, &str)> =
                std::iter::from_fn(|| next_of_lucene(&mut segments, &text)).collect();
            prop_assert_eq!(Words::lucene(&text).collect::<Vec<_>>(), whole);
        }
    }
}
