//! What text becomes before it is indexed or searched.

use std::fmt;
use std::str::FromStr;

use frostem::{Algorithm, Stemmer};
use serde::{Deserialize, Serialize};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use unicode_segmentation::{UnicodeSegmentation, UnicodeWordIndices};

/// Longer words are neither indexed nor searched; Lucene cuts them there instead.
const MAX_WORD_BYTES: usize = 255;

/// Lucene's English stop words, sorted.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it",
    "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these",
    "they", "this", "to", "was", "will", "with",
];

/// A way to turn text into terms, known by its name.
///
/// All of them split at the word boundaries of Unicode (UAX #29), as Lucene's `StandardTokenizer`
/// does, and lower-case. No accents are folded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Analyzer {
    /// Without possessive `'s` and Lucene's 33 stop words, stemmed by Porter2.
    #[default]
    English,
    /// The same with Porter's first stemmer as Lucene has it: the terms of Anserini and Pyserini.
    ///
    /// Departures: words over 255 bytes are dropped instead of cut, and emoji, which newer
    /// versions of Lucene index, are no words here.
    LuceneEnglish,
    /// Lower-cased words and nothing else.
    Plain,
}

/// A name that no analyzer has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no analyzer is called `{name}`; there are `english`, `lucene-english` and `plain`")]
pub struct UnknownAnalyzer {
    /// The name.
    pub name: String,
}

impl Analyzer {
    /// Every analyzer.
    pub const ALL: [Self; 3] = [Self::English, Self::LuceneEnglish, Self::Plain];

    /// The name in run files, on the command line and in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "english",
            Self::LuceneEnglish => "lucene-english",
            Self::Plain => "plain",
        }
    }

    /// Grows when the same text gives other terms than before: old indexes are then refused.
    pub const fn version(self) -> u32 {
        match self {
            Self::English | Self::LuceneEnglish | Self::Plain => 1,
        }
    }

    /// The terms of a text, in order.
    pub fn terms(self, text: &str) -> Vec<String> {
        let mut token = Token::default();
        let mut terms = self.stream(text, &mut token);
        std::iter::from_fn(|| terms.advance().then(|| terms.token().text.clone())).collect()
    }

    /// The terms of a text with the bytes they came from.
    pub(crate) fn stream<'a>(self, text: &'a str, token: &'a mut Token) -> Terms<'a> {
        token.reset();
        let stem: Option<fn(&mut String)> = match self {
            Self::English => Some(stem_porter2),
            Self::LuceneEnglish => Some(stem_as_lucene),
            Self::Plain => None,
        };
        Terms { words: text.unicode_word_indices(), stem, token }
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

/// The analyzer as tantivy calls it while it indexes.
#[derive(Clone)]
pub(crate) struct TantivyAnalyzer {
    analyzer: Analyzer,
    token: Token,
}

impl TantivyAnalyzer {
    pub(crate) fn new(analyzer: Analyzer) -> Self {
        Self { analyzer, token: Token::default() }
    }
}

impl Tokenizer for TantivyAnalyzer {
    type TokenStream<'a> = Terms<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Terms<'a> {
        self.analyzer.stream(text, &mut self.token)
    }
}

/// A walk over the terms of a text.
pub(crate) struct Terms<'a> {
    words: UnicodeWordIndices<'a>,
    /// Whoever stems also drops stop words and possessives.
    stem: Option<fn(&mut String)>,
    token: &'a mut Token,
}

impl TokenStream for Terms<'_> {
    fn advance(&mut self) -> bool {
        for (start, word) in self.words.by_ref() {
            if word.len() > MAX_WORD_BYTES {
                continue;
            }
            let kept = if self.stem.is_some() { without_possessive(word) } else { word };
            let term = &mut self.token.text;
            term.clear();
            if kept.is_ascii() {
                term.push_str(kept);
                term.make_ascii_lowercase();
            } else {
                term.extend(kept.chars().flat_map(char::to_lowercase));
            }
            if let Some(stem) = self.stem {
                if STOP_WORDS.binary_search(&term.as_str()).is_ok() {
                    continue;
                }
                stem(term);
            }
            self.token.offset_from = start;
            self.token.offset_to = start + word.len();
            self.token.position = self.token.position.wrapping_add(1);
            return true;
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

/// Cuts `'s` off the end, with any of the apostrophes that Lucene's filter knows.
fn without_possessive(word: &str) -> &str {
    word.strip_suffix(['s', 'S'])
        .and_then(|rest| rest.strip_suffix(['\'', '\u{2019}', '\u{ff07}']))
        .unwrap_or(word)
}

fn stem_porter2(term: &mut String) {
    stem_by(Algorithm::English, term);
}

/// Lucene stems like Porter's program and not like his paper, which Snowball follows: it leaves
/// words of one or two letters, and its second step turns `bli` into `ble` and `logi` into `log`.
fn stem_as_lucene(term: &mut String) {
    if term.chars().nth(2).is_none() {
        return;
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

/// Whether Porter's measure of a stem is more than 0. A `y` after a consonant is a vowel.
fn has_vowel_then_consonant(stem: &str) -> bool {
    let mut after_vowel = false;
    for (idx, letter) in stem.chars().enumerate() {
        let vowel = matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u')
            || (letter == 'y' && idx > 0 && !after_vowel);
        if after_vowel && !vowel {
            return true;
        }
        after_vowel = vowel;
    }
    false
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
        check(LuceneEnglish, "it was the THE and AN", "");
        check(Plain, "東京 Ünïcode ÅNGSTRÖM İ", "東 京 ünïcode ångström i\u{307}");
        check(Plain, "--- !? \u{1f600}", "");
        check(Plain, &format!("{} b {}", "a".repeat(256), "c".repeat(3)), "b ccc");
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
