//! Analyzers: from text to terms, for passages and for queries.

use std::fmt;
use std::str::FromStr;

use frostem::{Algorithm, Stemmer};
use serde::{Deserialize, Serialize};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use crate::char_filter::{CharFilter, Edits};
use crate::runs::Runs;
use crate::segmentation::Words;
use crate::stem_cache::{PackedWord, StemCache};

/// Lucene's English stop words, sorted.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
];

/// Analyzer: character filter, tokenizer, token filters and stemmer, known by a name.
///
/// All of them split at the word boundaries of Unicode (UAX #29) and lower-case. Words of more than
/// 255 bytes are dropped; `lucene-english` cuts them, as Lucene does. Texts that are the same to
/// Unicode (NFC, NFD) have the same terms, with every kind of apostrophe; but not in
/// `lucene-english`, nor in Lucene.
///
/// | text | `english` | `lucene-english` | `plain` | `unicode` |
/// |---|---|---|---|---|
/// | English | stemmed | stemmed | words | words |
/// | other languages with spaces | words | words | words | words without accents and points |
/// | Chinese, Japanese | single letters | single letters | single letters | words and bigrams |
/// | Korean | words with particles | words with particles | words with particles | the same, and bigrams |
/// | Thai, Lao, Khmer, Burmese | single letters | whole sentences | single letters | words and trigrams |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Analyzer {
    /// English analyzer: without possessive `'s` and Lucene's 33 stop words, stemmed by Porter2.
    #[default]
    English,
    /// Lucene's `EnglishAnalyzer`, with Porter's first stemmer, as in Lucene 9: the terms of
    /// Anserini and Pyserini.
    LuceneEnglish,
    /// Lower-cased words, without stop words or stemmer.
    Plain,
    /// Analyzer of all languages, near to Lucene's `ICUTokenizer` with `ICUFoldingFilter` and, for
    /// Chinese, Japanese and Korean, to its `CJKAnalyzer`: words of ICU's dictionaries where there
    /// are no spaces, with n-grams beside them; NFKC, case folding, no accents and points; no stop
    /// words and no stemmer.
    Unicode,
}

/// Error: no analyzer has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no analyzer is called `{name}`; there are `english`, `lucene-english`, `plain` and `unicode`"
)]
pub struct UnknownAnalyzer {
    /// Name that was asked for.
    pub name: String,
}

impl Analyzer {
    /// Every analyzer.
    pub const ALL: [Self; 4] = [Self::English, Self::LuceneEnglish, Self::Plain, Self::Unicode];

    /// Name in run files, on the command line and in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "english",
            Self::LuceneEnglish => "lucene-english",
            Self::Plain => "plain",
            Self::Unicode => "unicode",
        }
    }

    /// Version of the terms: it grows when the same text gives other terms than before. Indexes of
    /// older versions, from [`oldest_version`](Self::oldest_version) on, are searched with the
    /// terms that they have.
    pub const fn version(self) -> u32 {
        match self {
            Self::English | Self::Plain | Self::LuceneEnglish => 2,
            Self::Unicode => 1,
        }
    }

    /// Oldest version whose indexes can still be searched.
    pub const fn oldest_version(self) -> u32 {
        match self {
            Self::English | Self::Plain | Self::Unicode => 1,
            Self::LuceneEnglish => 2,
        }
    }

    /// Terms of a text, in order.
    pub fn terms(self, text: &str) -> Vec<String> {
        VersionedAnalyzer::from(self).terms(text)
    }
}

/// Analyzer as it was in one of its versions.
///
/// | version | |
/// |---|---|
/// | 1 of `english` and `plain` | texts as they are, without a character filter |
/// | 2 of `english` and `plain` | [`CharFilter::Canonical`] first; terms of ASCII are those of version 1 |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VersionedAnalyzer {
    pub(crate) analyzer: Analyzer,
    pub(crate) version: u32,
}

impl From<Analyzer> for VersionedAnalyzer {
    fn from(analyzer: Analyzer) -> Self {
        Self { analyzer, version: analyzer.version() }
    }
}

/// Buffers of an analysis.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    token: Token,
    filtered: String,
    edits: Edits,
}

impl VersionedAnalyzer {
    /// Terms of a text, in order.
    pub(crate) fn terms(self, text: &str) -> Vec<String> {
        let mut scratch = Scratch::default();
        let mut terms = self.stream(text, &mut scratch, Offsets::Filtered);
        std::iter::from_fn(|| terms.advance().then(|| terms.token().text.clone())).collect()
    }

    /// Token stream: the terms of a text with their byte offsets.
    pub(crate) fn stream<'a>(
        self,
        text: &'a str,
        scratch: &'a mut Scratch,
        offsets: Offsets,
    ) -> Terms<'a> {
        let Scratch { token, filtered, edits } = scratch;
        token.reset();
        let (text, edits) = match self.char_filter().filter(|_| !text.is_ascii()) {
            None => (text, None),
            Some(filter) => {
                let wanted = (offsets == Offsets::Original).then_some(&mut *edits);
                filter.apply(text, filtered, wanted);
                (filtered.as_str(), (offsets == Offsets::Original).then_some(&*edits))
            }
        };
        let words = match self.analyzer {
            Analyzer::English | Analyzer::Plain => Segments::Words(Words::unicode(text)),
            Analyzer::LuceneEnglish => Segments::Words(Words::lucene(text)),
            Analyzer::Unicode => Segments::Runs(Runs::new(text)),
        };
        Terms { analyzer: self.analyzer, words, edits, stems: None, token }
    }

    fn char_filter(self) -> Option<CharFilter> {
        match self.analyzer {
            Analyzer::English | Analyzer::Plain if self.version > 1 => Some(CharFilter::Canonical),
            Analyzer::English | Analyzer::Plain | Analyzer::LuceneEnglish => None,
            Analyzer::Unicode => Some(CharFilter::Fold),
        }
    }
}

impl Analyzer {
    /// Lower-case filter: writes a word in lower case in the place of a term.
    fn lower(self, word: &str, term: &mut String) {
        term.clear();
        if word.is_ascii() {
            term.push_str(word);
            term.make_ascii_lowercase();
            return;
        }
        let letters = word.chars().map(char::to_lowercase);
        match self {
            Self::English | Self::Plain => term.extend(letters.flatten()),
            // A letter is one letter.
            Self::LuceneEnglish => term.extend(letters.filter_map(|mut it| it.next())),
            // Folded before.
            Self::Unicode => term.push_str(word),
        }
    }

    fn stem(self, term: &mut String) {
        match self {
            Self::English => stem_by(Algorithm::English, term),
            Self::LuceneEnglish => stem_as_lucene(term),
            Self::Plain | Self::Unicode => {}
        }
    }
}

impl fmt::Display for Analyzer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Analyzer {
    type Err = UnknownAnalyzer;

    fn from_str(name: &str) -> Result<Self, UnknownAnalyzer> {
        let found = Self::ALL.into_iter().find(|it| it.name() == name);
        found.ok_or_else(|| UnknownAnalyzer { name: name.to_owned() })
    }
}

/// Adapter of an analyzer to tantivy, with a cache of stems. Each indexing thread has one.
#[derive(Clone)]
pub(crate) struct TantivyAnalyzer {
    analyzer: VersionedAnalyzer,
    scratch: Scratch,
    stems: StemCache,
}

impl TantivyAnalyzer {
    pub(crate) fn new(analyzer: Analyzer) -> Self {
        let analyzer = VersionedAnalyzer::from(analyzer);
        Self { analyzer, scratch: Scratch::default(), stems: StemCache::new() }
    }
}

impl Tokenizer for TantivyAnalyzer {
    type TokenStream<'a> = Terms<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Terms<'a> {
        let stems = Some(&mut self.stems);
        // The index keeps no places.
        Terms { stems, ..self.analyzer.stream(text, &mut self.scratch, Offsets::Filtered) }
    }
}

/// Text that the offsets of terms are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offsets {
    /// The filtered text: nothing is kept to find places in the original.
    Filtered,
    /// The original.
    Original,
}

/// Iterator over the words of a text.
enum Segments<'a> {
    Words(Words<'a>),
    Runs(Runs<'a>),
}

impl<'a> Segments<'a> {
    fn next(&mut self) -> Option<(usize, &'a str)> {
        match self {
            Self::Words(words) => words.next(),
            Self::Runs(runs) => runs.next(),
        }
    }
}

/// Token stream over the terms of a text.
pub(crate) struct Terms<'a> {
    analyzer: Analyzer,
    words: Segments<'a>,
    edits: Option<&'a Edits>,
    stems: Option<&'a mut StemCache>,
    token: &'a mut Token,
}

impl Terms<'_> {
    /// Filters and stems a word into the token. False where the word is dropped.
    fn make_term(&mut self, word: &str) -> bool {
        let term = &mut self.token.text;
        if matches!(self.analyzer, Analyzer::Plain | Analyzer::Unicode) {
            self.analyzer.lower(word, term);
            return true;
        }
        let word = without_possessive(word);
        let short = self.stems.as_ref().and_then(|_| PackedWord::lower(word));
        if let (Some(stems), Some(short)) = (&self.stems, short)
            && let Some(known) = stems.get(short)
        {
            known.write_to(term);
            return !term.is_empty();
        }
        self.analyzer.lower(word, term);
        if STOP_WORDS.binary_search(&term.as_str()).is_ok() {
            term.clear();
        } else {
            self.analyzer.stem(term);
        }
        if let (Some(stems), Some(short)) = (&mut self.stems, short) {
            stems.put(short, term);
        }
        !term.is_empty()
    }
}

impl TokenStream for Terms<'_> {
    fn advance(&mut self) -> bool {
        while let Some((start, word)) = self.words.next() {
            if self.make_term(word) {
                let (start, end) = (start, start + word.len());
                let (start, end) =
                    self.edits.map_or((start, end), |edits| edits.original(start, end));
                self.token.offset_from = start;
                self.token.offset_to = end;
                self.token.position = self.token.position.wrapping_add(1);
                return true;
            }
        }
        false
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// Possessive filter: a word without `'s`, with any of the apostrophes that Lucene's filter knows.
fn without_possessive(word: &str) -> &str {
    word.strip_suffix(['s', 'S'])
        .and_then(|rest| rest.strip_suffix(['\'', '\u{2019}', '\u{ff07}']))
        .unwrap_or(word)
}

/// Porter stemmer as in Lucene, which follows Porter's program; Snowball follows his paper.
/// Lucene's leaves words of one or two letters, before `ed` and `ing` it undoubles every consonant
/// but l, s and z, and its second step turns `bli` into `ble` and `logi` into `log`.
fn stem_as_lucene(term: &mut String) {
    if term.chars().nth(2).is_none() {
        return;
    }
    let stem = term.strip_suffix("ing").or_else(|| term.strip_suffix("ed"));
    if let Some(stem) = stem.filter(|stem| has_vowel(stem)) {
        let mut letters = stem.char_indices().rev();
        if let (Some((last, letter)), Some((_, before))) = (letters.next(), letters.next())
            // Snowball undoubles the others.
            && letter == before
            && !"aeiouylsz".contains(letter)
            && !"bdfgmnprt".contains(letter)
        {
            term.truncate(last);
        }
    }
    // What the first step turns into `bli` and `logi`; neither `ble` nor `log` is changed by it.
    let endings =
        [(["bly", "bli", "blis", "blies"], "ble"), (["logy", "logi", "logis", "logies"], "log")];
    for (endings, replacement) in endings {
        let stem = endings.iter().find_map(|ending| term.strip_suffix(ending));
        if let Some(stem) = stem.filter(|stem| has_vowel_then_consonant(stem)) {
            term.truncate(stem.len());
            term.push_str(replacement);
        }
    }
    stem_by(Algorithm::Porter, term);
}

fn stem_by(algorithm: Algorithm, term: &mut String) {
    let stem = Stemmer::new(algorithm).stem(term);
    if stem != term.as_str() {
        *term = stem.into_owned();
    }
}

/// Which letters of a stem are vowels. A `y` after a consonant is one.
fn vowels(stem: &str) -> impl Iterator<Item = bool> {
    let mut before = None;
    stem.chars().map(move |letter| {
        let is_y = letter == 'y' && before == Some(false);
        let vowel = is_y || matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u');
        before = Some(vowel);
        vowel
    })
}

fn has_vowel(stem: &str) -> bool {
    vowels(stem).any(|it| it)
}

/// Whether Porter's measure m of a stem is more than 0.
fn has_vowel_then_consonant(stem: &str) -> bool {
    vowels(stem).skip_while(|it| !it).any(|it| !it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(analyzer: Analyzer, text: &str, terms: &str) {
        assert_eq!(analyzer.terms(text).join(" "), terms, "{analyzer}: {text}");
    }

    #[test]
    fn terms() {
        use Analyzer::{English, LuceneEnglish, Plain, Unicode};
        check(
            Plain,
            "The U.S. Navy's 3.5-inch guns, isn't it?",
            "the u.s navy's 3.5 inch guns isn't it",
        );
        check(English, "The U.S. Navy's 3.5-inch guns", "u. navi 3.5 inch gun");
        check(English, "Who is Beyoncé’s FATHER?", "who beyoncé father");
        check(English, "generously skies", "generous sky");
        check(LuceneEnglish, "generously skies", "gener ski");
        check(LuceneEnglish, "possibly assemblies ably us", "possibl assembl abli us");
        check(LuceneEnglish, "technology biology dogs", "technolog biologi dog");
        check(LuceneEnglish, "trekking trekked running falling kking", "trek trek run fall kking");
        check(LuceneEnglish, "\u{130}zmir m\u{b2}", "izmir m");
        check(LuceneEnglish, "it was the THE and AN", "");
        check(Plain, "東京 Ünïcode ÅNGSTRÖM İ", "東 京 ünïcode ångström i\u{307}");
        check(Plain, "Cafe\u{301} CAFÉ O’Dunn O'Dunn", "café café o'dunn o'dunn");
        check(English, "Beyonce\u{301}’s O´Dunn O’Dunn O'Dunn", "beyoncé o'dunn o'dunn o'dunn");
        check(LuceneEnglish, "O’Dunn O'Dunn Cafe\u{301} Café", "o’dunn o'dunn cafe\u{301} café");
        check(Unicode, "The Cafés of O’DUNN, 北方省", "the cafes of o'dunn 北方 方省 省");
        check(Unicode, "القَاهِرَةُ أحمد Ёлкино", "القاهره احمد елкино");
        check(Plain, "--- !? \u{1f600}", "");
        check(Plain, &format!("{} b {}", "a".repeat(256), "c".repeat(3)), "b ccc");
    }

    #[test]
    fn remembered_terms_are_the_same() {
        let text = "The runner's running; THE Runners ran generously, and it was naïve: it's is a \
                    O’Dunn’s 北方省 internationalizations of Internationalization 's S's a's technologies us";
        for analyzer in Analyzer::ALL {
            let mut remembering = TantivyAnalyzer::new(analyzer);
            for text in [text, &text.repeat(3), &text.to_uppercase(), text] {
                let mut found = Vec::new();
                let mut terms = remembering.token_stream(text);
                while terms.advance() {
                    found.push(terms.token().text.clone());
                }
                assert_eq!(found, analyzer.terms(text), "{analyzer}");
            }
        }
    }

    #[test]
    fn offsets_are_of_the_text() {
        for (analyzer, text, expected) in [
            (Analyzer::English, "Él's café, naïvely", &["Él's", "café", "naïvely"][..]),
            (Analyzer::English, "E\u{301}l’s cafe\u{301} x", &["E\u{301}l’s", "cafe\u{301}", "x"]),
            (Analyzer::Unicode, "Ｈａ E\u{301}l’s 北方", &["Ｈａ", "E\u{301}l’s", "北方"]),
        ] {
            let mut scratch = Scratch::default();
            let analyzer = VersionedAnalyzer::from(analyzer);
            let mut terms = analyzer.stream(text, &mut scratch, Offsets::Original);
            let mut words = Vec::new();
            while terms.advance() {
                words.push(&text[terms.token().offset_from..terms.token().offset_to]);
            }
            assert_eq!(words, expected);
        }
    }

    /// What an index of an older version holds is found as it was.
    #[test]
    fn terms_of_version_1() {
        for analyzer in [Analyzer::English, Analyzer::Plain] {
            let old = VersionedAnalyzer { analyzer, version: 1 };
            assert_eq!(old.terms("O’Dunn Cafe\u{301}"), ["o’dunn", "cafe\u{301}"]);
            let text = "The U.S. Navy's 3.5-inch guns, isn't it? `x' ''s";
            assert_eq!(old.terms(text), analyzer.terms(text));
        }
    }

    #[test]
    fn names_are_read_back() {
        for analyzer in Analyzer::ALL {
            assert_eq!(analyzer.name().parse(), Ok(analyzer));
            let json = serde_json::to_string(&analyzer).unwrap();
            assert_eq!(json, format!("\"{analyzer}\""));
        }
        assert!("porter".parse::<Analyzer>().is_err());
        assert!(STOP_WORDS.is_sorted());
    }
}
