//! Analyzers: from text to terms, for passages and for queries.

use std::fmt;
use std::str::FromStr;

use frostem::{Algorithm, Stemmer};
use serde::{Deserialize, Serialize};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

use crate::segmentation::Words;
use crate::stem_cache::{PackedWord, StemCache};

/// Lucene's English stop words, sorted.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
];

/// Analyzer: tokenizer, token filters and stemmer, known by a name.
///
/// All of them split at the word boundaries of Unicode (UAX #29) and lower-case. No accents are
/// folded. Words of more than 255 bytes are dropped; `lucene-english` cuts them, as Lucene does.
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
}

/// Error: no analyzer has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no analyzer is called `{name}`; there are `english`, `lucene-english` and `plain`")]
pub struct UnknownAnalyzer {
    /// Name that was asked for.
    pub name: String,
}

impl Analyzer {
    /// Every analyzer.
    pub const ALL: [Self; 3] = [Self::English, Self::LuceneEnglish, Self::Plain];

    /// Name in run files, on the command line and in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "english",
            Self::LuceneEnglish => "lucene-english",
            Self::Plain => "plain",
        }
    }

    /// Version of the terms: it grows when the same text gives other terms than before, and then
    /// old indexes are refused.
    pub const fn version(self) -> u32 {
        match self {
            Self::English | Self::Plain => 1,
            Self::LuceneEnglish => 2,
        }
    }

    /// Terms of a text, in order.
    pub fn terms(self, text: &str) -> Vec<String> {
        let mut token = Token::default();
        let mut terms = self.stream(text, &mut token);
        std::iter::from_fn(|| terms.advance().then(|| terms.token().text.clone())).collect()
    }

    /// Token stream: the terms of a text with their byte offsets.
    pub(crate) fn stream<'a>(self, text: &'a str, token: &'a mut Token) -> Terms<'a> {
        token.reset();
        let words = match self {
            Self::English | Self::Plain => Words::unicode(text),
            Self::LuceneEnglish => Words::lucene(text),
        };
        Terms { analyzer: self, words, stems: None, token }
    }

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
        }
    }

    fn stem(self, term: &mut String) {
        match self {
            Self::English => stem_by(Algorithm::English, term),
            Self::LuceneEnglish => stem_as_lucene(term),
            Self::Plain => {}
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
    analyzer: Analyzer,
    token: Token,
    stems: StemCache,
}

impl TantivyAnalyzer {
    pub(crate) fn new(analyzer: Analyzer) -> Self {
        Self { analyzer, token: Token::default(), stems: StemCache::new() }
    }
}

impl Tokenizer for TantivyAnalyzer {
    type TokenStream<'a> = Terms<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Terms<'a> {
        let stems = Some(&mut self.stems);
        Terms { stems, ..self.analyzer.stream(text, &mut self.token) }
    }
}

/// Token stream over the terms of a text.
pub(crate) struct Terms<'a> {
    analyzer: Analyzer,
    words: Words<'a>,
    stems: Option<&'a mut StemCache>,
    token: &'a mut Token,
}

impl Terms<'_> {
    /// Filters and stems a word into the token. False where the word is dropped.
    fn make_term(&mut self, word: &str) -> bool {
        let term = &mut self.token.text;
        if self.analyzer == Analyzer::Plain {
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
                self.token.offset_from = start;
                self.token.offset_to = start + word.len();
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
        use Analyzer::{English, LuceneEnglish, Plain};
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
        check(Plain, "--- !? \u{1f600}", "");
        check(Plain, &format!("{} b {}", "a".repeat(256), "c".repeat(3)), "b ccc");
    }

    #[test]
    fn remembered_terms_are_the_same() {
        let text = "The runner's running; THE Runners ran generously, and it was naïve: it's is a \
                    internationalizations of Internationalization 's S's a's technologies us";
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
        let text = "Él's café, naïvely";
        let mut token = Token::default();
        let mut terms = Analyzer::English.stream(text, &mut token);
        let mut words = Vec::new();
        while terms.advance() {
            words.push(&text[terms.token().offset_from..terms.token().offset_to]);
        }
        assert_eq!(words, ["Él's", "café", "naïvely"]);
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
