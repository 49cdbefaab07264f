//! Scripts of a corpus or a query, and which of them an analyzer was not made for.

use std::fmt;

use crate::Analyzer;

/// Least share of the letters, in percent, that is worth a warning.
const WORTH_A_WARNING: u64 = 5;

/// Script of a letter, as far as analyzers differ in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    /// Latin, and every script that is not among the others.
    Other,
    /// Arabic.
    Arabic,
    /// Burmese.
    Burmese,
    /// Chinese characters, also of Japanese.
    Chinese,
    /// Cyrillic.
    Cyrillic,
    /// Greek.
    Greek,
    /// Hebrew.
    Hebrew,
    /// Devanagari, Bengali, Tamil and the others of India.
    Indic,
    /// Hiragana and katakana.
    Japanese,
    /// Khmer.
    Khmer,
    /// Hangul.
    Korean,
    /// Lao.
    Lao,
    /// Thai.
    Thai,
}

impl Script {
    /// Every script, in the order of their declaration.
    const ALL: [Self; 13] = [
        Self::Other,
        Self::Arabic,
        Self::Burmese,
        Self::Chinese,
        Self::Cyrillic,
        Self::Greek,
        Self::Hebrew,
        Self::Indic,
        Self::Japanese,
        Self::Khmer,
        Self::Korean,
        Self::Lao,
        Self::Thai,
    ];

    fn of(letter: char) -> Self {
        match letter {
            '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Self::Greek,
            '\u{400}'..='\u{52f}' | '\u{1c80}'..='\u{1c8f}' => Self::Cyrillic,
            '\u{590}'..='\u{5ff}' => Self::Hebrew,
            '\u{600}'..='\u{6ff}'
            | '\u{750}'..='\u{77f}'
            | '\u{870}'..='\u{8ff}'
            | '\u{fb50}'..='\u{fdff}'
            | '\u{fe70}'..='\u{fefe}' => Self::Arabic,
            '\u{900}'..='\u{dff}' => Self::Indic,
            '\u{e00}'..='\u{e7f}' => Self::Thai,
            '\u{e80}'..='\u{eff}' => Self::Lao,
            '\u{1000}'..='\u{109f}' | '\u{a9e0}'..='\u{a9ff}' | '\u{aa60}'..='\u{aa7f}' => {
                Self::Burmese
            }
            '\u{1780}'..='\u{17ff}' => Self::Khmer,
            '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7ff}' => {
                Self::Korean
            }
            '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' => {
                Self::Japanese
            }
            '\u{2e80}'..='\u{2fdf}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{323af}' => Self::Chinese,
            _ => Self::Other,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Arabic => "Arabic",
            Self::Burmese => "Burmese",
            Self::Chinese => "Chinese",
            Self::Cyrillic => "Cyrillic",
            Self::Greek => "Greek",
            Self::Hebrew => "Hebrew",
            Self::Indic => "Indic",
            Self::Japanese => "Japanese",
            Self::Khmer => "Khmer",
            Self::Korean => "Korean",
            Self::Lao => "Lao",
            Self::Thai => "Thai",
        }
    }

    /// Whether words are written without spaces, or grow particles as in Korean.
    const fn is_without_spaces(self) -> bool {
        matches!(
            self,
            Self::Burmese
                | Self::Chinese
                | Self::Japanese
                | Self::Khmer
                | Self::Korean
                | Self::Lao
                | Self::Thai
        )
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Analyzer {
    /// Whether the analyzer finds the words of a script as they are searched for. `plain` is made
    /// for every script with spaces.
    const fn suits(self, script: Script) -> bool {
        match self {
            Self::Unicode => true,
            Self::Plain => !script.is_without_spaces(),
            Self::English | Self::LuceneEnglish => matches!(script, Script::Other),
        }
    }

    /// Scripts of a text that the analyzer was not made for; none where they are few of its letters.
    pub fn unsuited(self, text: &str) -> Option<UnsuitedScripts> {
        let mut letters = LetterCounts::default();
        letters.add(text);
        letters.unsuited(self)
    }
}

/// Numbers of letters by script.
#[derive(Debug, Clone, Default)]
pub(crate) struct LetterCounts([u64; Script::ALL.len()]);

impl LetterCounts {
    pub(crate) fn add(&mut self, text: &str) {
        let n_ascii = text.bytes().filter(u8::is_ascii_alphabetic).count();
        self.0[Script::Other as usize] += n_ascii as u64;
        if !text.is_ascii() {
            for letter in text.chars().filter(|letter| !letter.is_ascii()) {
                self.0[Script::of(letter) as usize] += u64::from(letter.is_alphabetic());
            }
        }
    }

    /// Scripts that an analyzer was not made for; none where they are few of the letters.
    pub(crate) fn unsuited(&self, analyzer: Analyzer) -> Option<UnsuitedScripts> {
        let all: u64 = self.0.iter().sum();
        let count = |script: Script| self.0[script as usize];
        let is_unsuited = |script: &Script| !analyzer.suits(*script) && count(*script) > 0;
        let mut scripts: Vec<Script> = Script::ALL.into_iter().filter(is_unsuited).collect();
        let n_unsuited: u64 = scripts.iter().map(|&script| count(script)).sum();
        if n_unsuited == 0 || n_unsuited * 100 < all * WORTH_A_WARNING {
            return None;
        }
        scripts.sort_by_key(|&script| std::cmp::Reverse(count(script)));
        // The others would only make the sentence long.
        scripts.retain(|&script| count(script) * 100 >= n_unsuited * WORTH_A_WARNING);
        let percent = n_unsuited as f64 / all as f64 * 100.0;
        Some(UnsuitedScripts { analyzer, scripts, percent })
    }
}

/// Scripts of a good part of a text that its analyzer was not made for.
#[derive(Debug, Clone, PartialEq)]
pub struct UnsuitedScripts {
    /// Analyzer.
    pub analyzer: Analyzer,
    /// Scripts, the most frequent first.
    pub scripts: Vec<Script>,
    /// Their share of the letters, in percent.
    pub percent: f64,
}

impl UnsuitedScripts {
    /// What the analyzer lacks: a fragment.
    pub fn reason(&self) -> String {
        let analyzer = self.analyzer;
        if self.scripts.iter().any(|it| it.is_without_spaces()) {
            format!("`{analyzer}` does not find the words in {}", self.names("and"))
        } else {
            format!("`{analyzer}` is made for English and not for {}", self.names("and"))
        }
    }

    fn names(&self, conjunction: &str) -> String {
        let names: Vec<&str> = self.scripts.iter().map(|it| it.name()).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => {
                format!("{} {conjunction} {last}", rest.join(", "))
            }
            _ => names.join(""),
        }
    }
}

impl fmt::Display for UnsuitedScripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, names) = (self.percent, self.names("or"));
        write!(f, "{percent:.0} % of the letters are {names}, and {}", self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsuited_scripts() {
        use Analyzer::{English, LuceneEnglish, Plain, Unicode};
        let thai = "กรุงเทพ";
        for (analyzer, text, expected) in [
            (
                English,
                format!("abcdefgh {thai}"),
                "47 % of the letters are Thai, and `english` does not find the words in Thai",
            ),
            (English, "x".repeat(200) + thai, ""),
            (
                Plain,
                "海港市は하".to_owned(),
                "100 % of the letters are Chinese, Japanese or Korean, and `plain` does not find \
                 the words in Chinese, Japanese and Korean",
            ),
            (Plain, "Ёлкино القاهرة".to_owned(), ""),
            (
                LuceneEnglish,
                "Ёлкино Halvik".to_owned(),
                "50 % of the letters are Cyrillic, and `lucene-english` is made for English and \
                 not for Cyrillic",
            ),
            (Unicode, format!("海港市 {thai} Ёлкино"), ""),
            (English, "Zürich, Łódź, 1911!".to_owned(), ""),
            (English, String::new(), ""),
        ] {
            let found = analyzer.unsuited(&text).map_or(String::new(), |it| it.to_string());
            assert_eq!(found, expected, "{analyzer}: {text}");
        }
    }

    #[test]
    fn scripts_have_their_places() {
        for (idx, script) in Script::ALL.into_iter().enumerate() {
            assert_eq!(script as usize, idx);
        }
    }
}
