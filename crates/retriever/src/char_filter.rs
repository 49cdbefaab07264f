//! Character filters: what a text becomes before it is segmented.
//!
//! A text is filtered in pieces, each a letter with the marks behind it, because composition never
//! looks across: a piece ends where a character begins that combines with nothing before it. More
//! than [`LONGEST_PIECE`] characters are cut, so that a text of nothing but marks takes no more
//! memory than any other.

use unicode_normalization::char::{canonical_combining_class, decompose_compatible};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Most characters of a piece. Unicode's stream-safe format has 30 marks behind a letter.
const LONGEST_PIECE: usize = 32;

/// Character filter. ASCII is left as it is, but for its case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CharFilter {
    /// Canonical composition (NFC), with all apostrophes as the ASCII one and without soft hyphens.
    Canonical,
    /// Search folding, near to Lucene's `ICUFoldingFilter`: compatibility composition and case
    /// folding (NFKC, full-width forms, ligatures), without accents, points, tatweel and invisible
    /// characters, with ASCII digits, and one form each of yeh, kaf and heh. It departs from it
    /// where a mark makes another word: the marks of India's scripts, Thai and Lao, and the voiced
    /// and long sounds of kana stay; and of the letters with strokes and tails it knows those of
    /// living alphabets.
    Fold,
}

/// Change of a text: what stands in the place of what, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Edit {
    start: usize,
    end: usize,
    original_start: usize,
    original_end: usize,
}

/// Changes of a text, in order, by which places in the filtered text are found in the original.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edits(Vec<Edit>);

impl Edits {
    /// Byte range of the original in whose place a range of the filtered text stands.
    pub(crate) fn original(&self, start: usize, end: usize) -> (usize, usize) {
        let before = |edit: Option<&Edit>, place: usize| {
            edit.map_or(place, |edit| edit.original_end + (place - edit.end))
        };
        let last = self.0[..self.0.partition_point(|it| it.start <= start)].last();
        let original_start = match last {
            Some(edit) if start < edit.end => edit.original_start,
            edit => before(edit, start),
        };
        let last = self.0[..self.0.partition_point(|it| it.start < end)].last();
        let original_end = match last {
            Some(edit) if end <= edit.end => edit.original_end,
            edit => before(edit, end),
        };
        (original_start, original_end.max(original_start))
    }
}

impl CharFilter {
    /// Writes the filtered text in the place of `filtered`, and the changes in that of `edits`.
    pub(crate) fn apply(self, text: &str, filtered: &mut String, mut edits: Option<&mut Edits>) {
        filtered.clear();
        if let Some(edits) = &mut edits {
            edits.0.clear();
        }
        let mut at = 0;
        while at < text.len() {
            let n_ascii = leading_ascii(&text[at..]);
            self.push_ascii(&text[at..at + n_ascii], filtered);
            at += n_ascii;
            let piece = &text[at..at + piece_length(&text[at..])];
            let start = filtered.len();
            self.push(piece, filtered);
            if let Some(edits) = &mut edits
                && filtered[start..] != *piece
            {
                let (end, original_end) = (filtered.len(), at + piece.len());
                edits.0.push(Edit { start, end, original_start: at, original_end });
            }
            at += piece.len();
        }
    }

    fn push_ascii(self, text: &str, filtered: &mut String) {
        let start = filtered.len();
        filtered.push_str(text);
        if self == Self::Fold {
            filtered[start..].make_ascii_lowercase();
        }
    }

    fn push(self, piece: &str, filtered: &mut String) {
        if piece.is_ascii() {
            return self.push_ascii(piece, filtered);
        }
        let letters = piece.chars().map(with_ascii_apostrophe);
        match self {
            Self::Canonical => filtered.extend(letters.filter(|it| *it != SOFT_HYPHEN).nfc()),
            Self::Fold if piece.chars().all(is_unfolded) => filtered.push_str(piece),
            Self::Fold => {
                let start = filtered.len();
                let letters = letters.filter(|it| !is_ignorable(*it)).flat_map(compatible).nfc();
                let folded = letters.flat_map(char::to_uppercase).flat_map(char::to_lowercase);
                let bare = folded.nfd().filter(|it| !is_accent(*it));
                filtered.extend(bare.flat_map(plain_letters).nfc());
                join_sara_am(filtered, start);
            }
        }
    }
}

/// Length of the ASCII at the beginning of a text that has no mark behind it.
fn leading_ascii(text: &str) -> usize {
    let first_other = text.bytes().position(|it| !it.is_ascii());
    first_other.map_or(text.len(), |n| n.saturating_sub(1))
}

/// Length of the piece at the beginning of a text.
fn piece_length(text: &str) -> usize {
    let mut letters = text.char_indices();
    let Some((_, mut before)) = letters.next() else { return 0 };
    for (n, (place, letter)) in letters.enumerate() {
        if n + 1 == LONGEST_PIECE || begins_piece(letter, before) {
            return place;
        }
        before = letter;
    }
    text.len()
}

/// Whether a character combines with nothing before it.
fn begins_piece(letter: char, before: char) -> bool {
    // Most letters of most texts: Latin, Cyrillic, Thai consonants, kana, Han and Hangul.
    if matches!(letter, '\0'..='\u{7f}' | '\u{c0}'..='\u{24f}' | '\u{400}'..='\u{481}'
        | '\u{e01}'..='\u{e30}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}'
        | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}')
    {
        return true;
    }
    if (before, letter) == (NIKHAHIT, SARA_AA) {
        return false;
    }
    let mut first = None;
    decompose_compatible(letter, |part| {
        first.get_or_insert(part);
    });
    first.is_none_or(|first| {
        canonical_combining_class(first) == 0
            && is_nfc_quick(std::iter::once(first)) == IsNormalized::Yes
    })
}

const SOFT_HYPHEN: char = '\u{ad}';
/// Thai vowels which look like one, `SARA_AM`.
const NIKHAHIT: char = '\u{e4d}';
const SARA_AA: char = '\u{e32}';
const SARA_AM: &str = "\u{e33}";

/// The ASCII apostrophe for everything that is typed in its place: quotation marks, modifier
/// letters, primes, the acute accent and the full-width form.
fn with_ascii_apostrophe(letter: char) -> char {
    match letter {
        '\u{b4}' | '\u{2b9}' | '\u{2bb}' | '\u{2bc}' | '\u{2bd}' | '\u{2c8}' | '\u{2018}'
        | '\u{2019}' | '\u{201a}' | '\u{201b}' | '\u{2032}' | '\u{2035}' | '\u{ff07}' => '\'',
        _ => letter,
    }
}

/// Whether folding changes nothing about a letter: the ideographs of Chinese and Japanese, kana and
/// Thai letters.
fn is_unfolded(letter: char) -> bool {
    matches!(letter, '\u{4e00}'..='\u{9fff}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}'
        | '\u{e01}'..='\u{e3a}' | '\u{e40}'..='\u{e4c}')
}

/// Compatibility decomposition. Letters of Thai and Lao that dictionaries spell with one character
/// stay whole.
fn compatible(letter: char) -> impl Iterator<Item = char> {
    let is_whole = matches!(letter, '\u{e33}' | '\u{eb3}' | '\u{edc}' | '\u{edd}');
    let whole = is_whole.then_some(letter);
    whole.into_iter().chain((!is_whole).then_some(letter).into_iter().nfkc())
}

/// Replaces the two characters that look like `SARA_AM`, from a place on.
fn join_sara_am(text: &mut String, start: usize) {
    let apart = [NIKHAHIT, SARA_AA].iter().collect::<String>();
    if text[start..].contains(&apart) {
        let joined = text[start..].replace(&apart, SARA_AM);
        text.truncate(start);
        text.push_str(&joined);
    }
}

/// Whether a character is invisible: the property `Default_Ignorable_Code_Point`.
fn is_ignorable(letter: char) -> bool {
    matches!(letter, SOFT_HYPHEN | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}'
        | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a mark is an accent or a point: those of Latin, Greek, Cyrillic, Hebrew, Arabic and
/// Syriac. Vowel signs of other scripts are letters.
fn is_accent(letter: char) -> bool {
    letter == TATWEEL
        || matches!(letter, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}'
            | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'..='\u{5c2}' | '\u{5c4}'..='\u{5c5}'
            | '\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}'
            | '\u{6d6}'..='\u{6dc}' | '\u{6df}'..='\u{6e4}' | '\u{6e7}'..='\u{6e8}'
            | '\u{6ea}'..='\u{6ed}' | '\u{711}' | '\u{730}'..='\u{74a}' | '\u{8d3}'..='\u{8e1}'
            | '\u{8e3}'..='\u{8ff}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

const TATWEEL: char = '\u{640}';

/// Plain letters for one that Unicode does not decompose, and ASCII for a digit.
fn plain_letters(letter: char) -> impl Iterator<Item = char> {
    let letters = match letter {
        'æ' => ['a', 'e'],
        'œ' => ['o', 'e'],
        'þ' => ['t', 'h'],
        _ => [plain_letter(letter), '\0'],
    };
    letters.into_iter().filter(|it| *it != '\0')
}

fn plain_letter(letter: char) -> char {
    match letter {
        'ø' => 'o',
        'ł' => 'l',
        'đ' | 'ð' => 'd',
        'ħ' => 'h',
        'ŧ' => 't',
        'ŋ' => 'n',
        'ґ' => 'г',
        // Farsi yeh and alef maksura; keheh; teh marbuta and the hehs; wasla.
        '\u{6cc}' | '\u{649}' => '\u{64a}',
        '\u{6a9}' => '\u{643}',
        '\u{629}' | '\u{6c1}' | '\u{6d5}' => '\u{647}',
        '\u{671}' => '\u{627}',
        // Geresh and gershayim.
        '\u{5f3}' => '\'',
        '\u{5f4}' => '"',
        _ if letter.is_ascii() => letter,
        _ => digit(letter).unwrap_or(letter),
    }
}

/// ASCII digit for one of another script. Unicode has ten of them in a row, from a code point that
/// ends in 0 or in 6.
fn digit(letter: char) -> Option<char> {
    let is_digit = |code: u32| {
        char::from_u32(code)
            .is_some_and(|it| it.general_category() == GeneralCategory::DecimalNumber)
    };
    let code = u32::from(letter);
    if !is_digit(code) {
        return None;
    }
    let row = code & !0xf;
    let zero = if is_digit(row) { row } else { row + 6 };
    char::from_digit(code.checked_sub(zero)?, 10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filtered(filter: CharFilter, text: &str) -> String {
        let mut filtered = "before".to_owned();
        filter.apply(text, &mut filtered, None);
        filtered
    }

    #[test]
    fn canonical() {
        for (text, expected) in [
            ("Maeve O’Dunn", "Maeve O'Dunn"),
            (
                "O\u{b4}Dunn O\u{2bc}Dunn O＇Dunn O‘Dunn O′Dunn",
                "O'Dunn O'Dunn O'Dunn O'Dunn O'Dunn",
            ),
            ("Cafe\u{301} Zu\u{308}low", "Café Zülow"),
            ("\u{212b} \u{2126}", "Å Ω"),
            ("Ha\u{ad}fen", "Hafen"),
            ("\u{1112}\u{1161}\u{1107}\u{1175}\u{11a8}", "하빅"),
            ("か\u{3099}", "が"),
            ("e\u{323}\u{301} e\u{301}\u{323}", "ẹ\u{301} ẹ\u{301}"),
            ("Ｈ１ ﬁ ²", "Ｈ１ ﬁ ²"),
            ("ABC `x' \"y\"", "ABC `x' \"y\""),
        ] {
            assert_eq!(filtered(CharFilter::Canonical, text), expected);
        }
    }

    #[test]
    fn folded() {
        for (text, expected) in [
            ("Café CAFÉ Cafe\u{301}", "cafe cafe cafe"),
            ("Ｈａｌｖｉｋ　１９１１", "halvik 1911"),
            ("Straße ΣΊΣΥΦΟΣ ſ ﬁn", "strasse σισυφοσ s fin"),
            (
                "Øresund Łódź Đà Æsir Œuvre Þór İstanbul ısı",
                "oresund lodz da aesir oeuvre thor istanbul isi",
            ),
            ("Ёлкино Ё Е\u{308}", "елкино е е"),
            ("القَاهِرَةُ أحمد إلى آل قـــلم", "القاهره احمد الي ال قلم"),
            ("شَلוֹם שָׁלוֹם צה״ל", "شلוֹם שלום צה\"ל".replace("וֹ", "ו").as_str()),
            ("١٩١١ ۱۹۱۱ १९११ ๑๙๑๑ 𝟭𝟵", "1911 1911 1911 1911 19"),
            ("ﾊﾙﾋﾞｸ ｶﾞ", "ハルビク ガ"),
            ("が か\u{3099}", "が が"),
            ("하빅 \u{1112}\u{1161}\u{1107}\u{1175}\u{11a8}", "하빅 하빅"),
            ("น้ำ น้\u{e4d}\u{e32}", "น้ำ น้ำ"),
            ("हिन्दी कुत्ता", "हिन्दी कुत्ता"),
            ("zero\u{200d}width Ha\u{ad}fen \u{feff}x", "zerowidth hafen x"),
            ("O’Dunn m² ½", "o'dunn m2 1⁄2"),
        ] {
            assert_eq!(filtered(CharFilter::Fold, text), expected, "{text}");
        }
    }

    #[test]
    fn places_are_those_of_the_original() {
        let text = "a Cafe\u{301} b\u{ad}c Ｈａ x";
        let (mut filtered, mut edits) = (String::new(), Edits::default());
        CharFilter::Fold.apply(text, &mut filtered, Some(&mut edits));
        assert_eq!(filtered, "a cafe bc ha x");
        for (word, expected) in
            [("a", "a"), ("cafe", "Cafe\u{301}"), ("bc", "b\u{ad}c"), ("ha", "Ｈａ"), ("x", "x")]
        {
            let start =
                if word == "a" { 0 } else { filtered.find(&format!(" {word}")).unwrap() + 1 };
            let (start, end) = edits.original(start, start + word.len());
            assert_eq!(&text[start..end], expected, "{word}");
        }
    }

    #[test]
    fn a_text_of_marks_is_cut() {
        let text = "\u{301}".repeat(100_000);
        for filter in [CharFilter::Canonical, CharFilter::Fold] {
            assert!(filtered(filter, &text).len() <= text.len());
        }
    }

    proptest! {
        /// Composed and decomposed texts are the same, whichever letters stand beside each other.
        #[test]
        fn forms_of_unicode_are_one(text in "[a-z \u{e9}\u{1e69}\u{ac01}\u{304c}\u{212b}\u{451}\u{623}\u{958}\u{f73}\u{9cb}\u{1100}\u{1161}\u{11a8}\u{301}\u{323}\u{3099}\u{9be}\u{e33}’\u{ad}]{0,12}") {
            let (composed, decomposed) = (text.nfc().collect::<String>(), text.nfd().collect::<String>());
            for filter in [CharFilter::Canonical, CharFilter::Fold] {
                prop_assert_eq!(filtered(filter, &text), filtered(filter, &composed));
                prop_assert_eq!(filtered(filter, &text), filtered(filter, &decomposed));
            }
        }

        #[test]
        fn places_are_on_characters(text in "[a-z \u{e9}\u{301}\u{ff28}\u{ad}\u{df}\u{fdfa}\u{4e00}]{0,20}") {
            let (mut filtered, mut edits) = (String::new(), Edits::default());
            CharFilter::Fold.apply(&text, &mut filtered, Some(&mut edits));
            let places: Vec<usize> = filtered.char_indices().map(|it| it.0).chain([filtered.len()]).collect();
            for pair in places.windows(2) {
                let (start, end) = edits.original(pair[0], pair[1]);
                prop_assert!(text.get(start..end).is_some());
            }
        }
    }
}
