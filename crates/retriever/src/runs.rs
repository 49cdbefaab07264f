//! Word segmentation by script, as ICU's: the words of Unicode, and for scripts that are written
//! without spaces the words of ICU's dictionaries, with n-grams beside them.
//!
//! A dictionary knows few names, and where a word ends depends on what stands around it. n-grams do
//! not: of a stretch of Chinese, Japanese or Korean every two letters are a term too, as in Lucene's
//! `CJKAnalyzer`, and of Thai, Lao, Khmer or Burmese every three. So a word that stands in a passage
//! is found in it, if it is no shorter than that or if the dictionary sees it.

use std::collections::VecDeque;

use icu_segmenter::options::WordBreakInvariantOptions;
use icu_segmenter::{WordSegmenter, WordSegmenterBorrowed};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_segmentation::{UnicodeSegmentation, UnicodeWordIndices};

use crate::segmentation::{MAX_LENGTH, is_without_spaces};

/// Bytes that the dictionary looks at together: its work grows with the square of them.
const WINDOW: usize = 768;
/// Bytes behind a window in which its last n-grams end.
const GRAM_BYTES: usize = 128;
/// Most marks of a letter of an n-gram.
const MOST_MARKS: usize = 8;

/// How the words of a stretch of text are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    /// Words between spaces: UAX #29.
    Spaced,
    /// Han, kana and Hangul: dictionary, and bigrams.
    Cjk,
    /// Thai, Lao, Khmer, Burmese and their like: dictionary, and trigrams.
    WithoutSpaces,
}

/// Iterator over the terms of a text, with the byte offsets where they begin.
pub(crate) struct Runs<'a> {
    text: &'a str,
    segmenter: WordSegmenterBorrowed<'static>,
    /// Words of the present run, and where it begins.
    words: UnicodeWordIndices<'a>,
    words_start: usize,
    /// Present run without spaces, as far as it is not segmented.
    rest: Option<(Run, usize)>,
    /// End of the present run.
    end: usize,
    /// Terms of the present window.
    terms: VecDeque<(usize, usize)>,
}

impl<'a> Runs<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            segmenter: WordSegmenter::new_dictionary(WordBreakInvariantOptions::default()),
            words: "".unicode_word_indices(),
            words_start: 0,
            rest: None,
            end: 0,
            terms: VecDeque::new(),
        }
    }

    /// Begins the next run. False at the end of the text.
    fn next_run(&mut self) -> bool {
        let start = self.end;
        let mut letters = self.text[start..].char_indices();
        let Some((_, first)) = letters.next() else { return false };
        let run = run_of(first).unwrap_or(Run::Spaced);
        let other = letters.find(|&(_, letter)| run_of(letter).is_some_and(|it| it != run));
        self.end = other.map_or(self.text.len(), |(place, _)| start + place);
        if run == Run::Spaced {
            self.words = self.text[start..self.end].unicode_word_indices();
            self.words_start = start;
        } else {
            self.rest = Some((run, start));
        }
        true
    }

    /// Segments the next window of a run without spaces.
    fn segment_window(&mut self, run: Run, start: usize) {
        let window_end = self.text.floor_char_boundary(self.end.min(start + WINDOW));
        let window = &self.text[start..window_end];
        let mut breaks: Vec<usize> = self.segmenter.segment_str(window).collect();
        // The last word may go on behind the window.
        if window_end < self.end && breaks.len() > 2 {
            breaks.pop();
        }
        let next = start + breaks.last().copied().unwrap_or(window.len());
        let words = breaks.windows(2).map(|pair| (start + pair[0], start + pair[1]));
        let mut terms: Vec<(usize, usize)> =
            words.filter(|(from, to)| to - from <= MAX_LENGTH).collect();
        let n = if run == Run::Cjk { 2 } else { 3 };
        let gram_end = self.text.floor_char_boundary(self.end.min(next + GRAM_BYTES));
        let places = letter_places(&self.text[start..gram_end]);
        let grams = places.windows(n + 1).map(|gram| (start + gram[0], start + gram[n]));
        terms.extend(grams.take_while(|gram| gram.0 < next));
        terms.sort_unstable();
        terms.dedup();
        self.terms.extend(terms);
        self.rest = (next < self.end).then_some((run, next));
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((start, end)) = self.terms.pop_front() {
                return Some((start, &self.text[start..end]));
            }
            if let Some((place, word)) = self.words.find(|(_, word)| word.len() <= MAX_LENGTH) {
                return Some((self.words_start + place, word));
            }
            if let Some((run, start)) = self.rest {
                self.segment_window(run, start);
            } else if !self.next_run() {
                return None;
            }
        }
    }
}

/// Places where the letters of a text begin, each with its marks, and the end of the text.
fn letter_places(text: &str) -> Vec<usize> {
    let mut places = Vec::new();
    let mut n_marks = 0;
    for (place, letter) in text.char_indices() {
        let is_mark = letter.general_category_group() == GeneralCategoryGroup::Mark;
        n_marks = if is_mark { n_marks + 1 } else { 0 };
        if n_marks == 0 || n_marks > MOST_MARKS || places.is_empty() {
            places.push(place);
            n_marks = 0;
        }
    }
    places.push(text.len());
    places
}

/// How the words around a letter are found; none for a mark, which goes with what is before it.
fn run_of(letter: char) -> Option<Run> {
    if letter < '\u{e00}' {
        let is_mark =
            letter >= '\u{300}' && letter.general_category_group() == GeneralCategoryGroup::Mark;
        return (!is_mark).then_some(Run::Spaced);
    }
    if is_without_spaces(letter) {
        return Some(Run::WithoutSpaces);
    }
    if is_cjk(letter) {
        return Some(Run::Cjk);
    }
    let is_mark = letter.general_category_group() == GeneralCategoryGroup::Mark;
    (!is_mark).then_some(Run::Spaced)
}

/// Whether a letter is of Han, kana, Bopomofo or Hangul.
fn is_cjk(letter: char) -> bool {
    matches!(letter, '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}'
        | '\u{3021}'..='\u{3029}' | '\u{3031}'..='\u{3035}' | '\u{3038}'..='\u{303b}'
        | '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}'
        | '\u{30fc}'..='\u{30ff}' | '\u{3105}'..='\u{312f}' | '\u{3131}'..='\u{318e}'
        | '\u{31a0}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{a960}'..='\u{a97c}' | '\u{ac00}'..='\u{d7fb}'
        | '\u{f900}'..='\u{faff}' | '\u{1aff0}'..='\u{1b16f}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, terms: &str) {
        let found: Vec<&str> = Runs::new(text).map(|it| it.1).collect();
        assert_eq!(found.join(" "), terms, "{text}");
    }

    #[test]
    fn words_and_grams() {
        check("o'dunn 3.5 x", "o'dunn 3.5 x");
        check("北方省的省会", "北方 方省 省 省的 的 的省 省会");
        check("山", "山");
        check("ハルビクは港町", "ハル ハルビク ルビ ビク クは は は港 港町");
        check("하빅은 항구", "하빅 하빅은 빅은 항구");
        check("iphone를 1911年", "iphone 를 1911 年");
        check("กรุงเทพ", "กรุง กรุงเทพ รุงเ งเท เทพ");
        check("ในเทพนิยาย", "ใน ในเ นเท เทพ เทพนิยาย ทพนิ พนิย นิยา ยาย");
        check("ខ្មែរ", "ខ្មែរ");
        check("", "");
        check("\u{3099}か", "か");
    }

    /// The words that stand in a passage are found by their terms, wherever windows end.
    #[test]
    fn windows_lose_nothing() {
        for (text, word) in [
            ("海港市是北方省的省会，", "北方省"),
            ("กรุงเทพเป็นเมืองหลวง", "เมืองหลวง"),
            ("하빅은항구도시이다", "항구"),
        ] {
            let long = text.repeat(500);
            let terms: std::collections::HashSet<&str> = Runs::new(&long).map(|it| it.1).collect();
            assert!(Runs::new(word).all(|it| terms.contains(it.1)), "{word}");
            let n = |text| {
                Runs::new(text).filter(|it| it.1 == &word[..word.floor_char_boundary(9)]).count()
            };
            let (once, often) = (n(text), n(long.as_str()));
            assert!(often >= once * 499, "{word}: {once} and {often}");
        }
    }

    #[test]
    fn long_texts_end() {
        for letter in ["一", "ก", "하", "か\u{3099}", "\u{e31}", "x", "\u{301}", "မ"] {
            let text = letter.repeat(50_000);
            assert!(Runs::new(&text).all(|(_, term)| term.len() <= MAX_LENGTH), "{letter}");
        }
    }

    proptest! {
        /// Spaced text is segmented as UAX #29 says, and every term is of the text.
        #[test]
        fn terms_are_of_the_text(text in "[a-z '.,1_\u{301}\u{e9}\u{5d0}\u{e01}\u{e31}\u{e32}\u{30ab}\u{6771}\u{ac00}\u{3099}\u{1f600}\n]{0,60}") {
            let terms: Vec<(usize, &str)> = Runs::new(&text).collect();
            for &(start, term) in &terms {
                prop_assert!(!term.is_empty() && text[start..].starts_with(term));
            }
            prop_assert!(terms.windows(2).all(|it| (it[0].0, it[0].1.len()) < (it[1].0, it[1].1.len())));
            let spaced: String = text.chars().filter(|it| *it < '\u{e00}').collect();
            let words: Vec<(usize, &str)> = spaced.unicode_word_indices().collect();
            prop_assert_eq!(Runs::new(&spaced).collect::<Vec<_>>(), words);
        }
    }
}
