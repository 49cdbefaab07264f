//! Folding of characters that look the same to a reader, before answers are compared.
//!
//! Only what cannot make two different answers equal is folded: `é` and `e` stay apart, and so do
//! `²` and `2`.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// Folded text. ASCII is returned as it is.
///
/// - Unicode's canonical composition (NFC): `é` in one piece and in two.
/// - Full-width and half-width forms, ligatures, Roman numerals and the presentation forms of
///   Arabic (NFKC, for these alone).
/// - Apostrophes, quotation marks, hyphens and the minus sign, commas and full stops in their ASCII
///   form, which the rule of `SQuAD` then treats as punctuation.
/// - Decimal digits of other scripts.
/// - Arabic: vowel signs and the tatweel are dropped, and an alef has no hamza; Hebrew points are
///   dropped. Russian: `ё` is `е`.
/// - Zero-width characters, soft hyphens and marks of direction are dropped. White space of any
///   kind is a space to the rule of `SQuAD` already.
///
/// ```
/// use forage_reward_sdk::text::fold;
///
/// assert_eq!(fold("Maeve O’Dunn, １９１１"), "Maeve O'Dunn, 1911");
/// ```
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let visible = text.chars().filter(|character| !is_invisible(*character));
    let mut compatible = String::with_capacity(text.len());
    for character in visible {
        if has_compatible_form(character) {
            compatible.extend(std::iter::once(character).nfkc());
        } else {
            compatible.push(character);
        }
    }
    let mut folded = String::with_capacity(compatible.len());
    for character in compatible.nfc().filter(|character| !is_point(*character)) {
        match ascii_form(character) {
            Some(form) => folded.push_str(form),
            None => folded.push(letter(character)),
        }
    }
    Cow::Owned(folded)
}

/// Characters that a reader does not see.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
    )
}

/// Characters whose compatible form (NFKC) looks the same: Roman numerals, Latin ligatures, the
/// presentation forms of Hebrew and Arabic, and the forms of other widths.
fn has_compatible_form(character: char) -> bool {
    matches!(
        character,
        '\u{2160}'..='\u{217f}' | '\u{fb00}'..='\u{fdff}' | '\u{fe70}'..='\u{ffef}'
    )
}

/// Points and vowel signs of Arabic and Hebrew, and the tatweel.
fn is_point(character: char) -> bool {
    matches!(
        character,
        '\u{591}'..='\u{5bd}'
            | '\u{5bf}'
            | '\u{5c1}'
            | '\u{5c2}'
            | '\u{5c4}'
            | '\u{5c5}'
            | '\u{5c7}'
            | '\u{610}'..='\u{61a}'
            | '\u{640}'
            | '\u{64b}'..='\u{655}'
            | '\u{670}'
            | '\u{6d6}'..='\u{6dc}'
            | '\u{6df}'..='\u{6e4}'
            | '\u{6e7}'
            | '\u{6e8}'
            | '\u{6ea}'..='\u{6ed}'
    )
}

/// ASCII form of punctuation.
fn ascii_form(character: char) -> Option<&'static str> {
    Some(match character {
        '‘' | '’' | '‚' | '‛' | '′' | '‵' | 'ʹ' | 'ʻ' | 'ʼ' | 'ʽ' | 'ʾ' | 'ʿ' | '`' | '´' => {
            "'"
        }
        '“' | '”' | '„' | '‟' | '″' | '«' | '»' | '‹' | '›' | '「' | '」' | '『' | '』' | '《'
        | '》' | '〈' | '〉' | '【' | '】' => "\"",
        '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' | '﹣' => "-",
        // The Arabic separator of groups of three, and the decimal one below.
        '、' | '،' | '\u{66c}' => ",",
        '。' | '\u{66b}' => ".",
        '؟' => "?",
        '؛' => ";",
        '…' => "...",
        _ => return None,
    })
}

/// Letter or digit in its plain form.
fn letter(character: char) -> char {
    match character {
        'أ' | 'إ' | 'آ' | 'ٱ' => 'ا',
        // Persian and Urdu have code points of their own for two letters of the same look.
        'ک' => 'ك',
        'ی' => 'ي',
        'ё' => 'е',
        'Ё' => 'Е',
        _ => digit(character).unwrap_or(character),
    }
}

/// Zeros of the scripts in which numbers are written; their other digits follow.
const ZEROS: [char; 16] = [
    '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}', '\u{be6}',
    '\u{c66}', '\u{ce6}', '\u{d66}', '\u{e50}', '\u{ed0}', '\u{f20}', '\u{1040}', '\u{17e0}',
];

/// ASCII form of a decimal digit of another script.
fn digit(character: char) -> Option<char> {
    ZEROS.iter().find_map(|zero| {
        let value = (character as u32).checked_sub(*zero as u32)?;
        char::from_digit(value, 10)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_look_the_same_are_the_same() {
        for (one, other) in [
            ("O’Dunn", "O'Dunn"),
            ("OʼDunn", "O'Dunn"),
            ("Cafe\u{301} Zu\u{308}low", "Café Zülow"),
            ("１９１１", "1911"),
            ("Ａｌｉｅｎ！", "Alien!"),
            ("ｶﾞ", "ガ"),
            ("ﬁlm Ⅷ", "film VIII"),
            ("−5", "-5"),
            ("1914–1918", "1914-1918"),
            ("“Alien”", "\"Alien\""),
            ("مُحَمَّد", "محمد"),
            ("محـــمد", "محمد"),
            ("أحمد", "احمد"),
            ("ا\u{654}حمد", "احمد"),
            ("١٩١١", "1911"),
            ("۱۹۱۱", "1911"),
            ("१९११", "1911"),
            ("כָּל", "כל"),
            ("Королёв", "Королев"),
            ("New\u{200b}ton", "Newton"),
            ("\u{feff}Paris\u{200e}", "Paris"),
            ("co\u{ad}operate", "cooperate"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
            assert_eq!(fold(&fold(one)), fold(one), "{one}");
        }
    }

    #[test]
    fn different_texts_stay_different() {
        for (one, other) in [
            ("é", "e"),
            ("10²", "102"),
            ("½", "12"),
            ("ß", "ss"),
            ("й", "и"),
            ("ñ", "n"),
            ("が", "か"),
            ("Ⓐ", "A"),
            ("東京", "京東"),
        ] {
            assert_ne!(fold(one), fold(other), "{one} {other}");
        }
        assert!(matches!(fold("plain text"), Cow::Borrowed("plain text")));
    }
}
