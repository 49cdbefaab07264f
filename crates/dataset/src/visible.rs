//! Removal of characters that nobody sees from questions and answers.

use std::borrow::Cow;

/// Text without characters that print nothing: zero-width blanks, soft hyphens, byte-order marks,
/// marks of direction and control characters. Line breaks and tabs stay, and so do the joiners that
/// change the letters beside them in Persian or Hindi.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if text.contains(is_invisible) {
        Cow::Owned(text.replace(is_invisible, ""))
    } else {
        Cow::Borrowed(text)
    }
}

fn is_invisible(c: char) -> bool {
    match c {
        '\n' | '\r' | '\t' => false,
        '\u{ad}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2060}'
        | '\u{feff}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prints_nothing_is_removed() {
        let cases = [
            ("Where is\u{200b} Paris?", "Where is Paris?"),
            ("\u{feff}Pa\u{ad}ris\0", "Paris"),
            ("\u{202b}تهران\u{202c}", "تهران"),
            // The joiner between two letters of Persian is spelling.
            ("می\u{200c}روم", "می\u{200c}روم"),
            ("a\tb\nc", "a\tb\nc"),
        ];
        for (text, expected) in cases {
            assert_eq!(visible(text), expected, "{text:?}");
        }
    }
}
