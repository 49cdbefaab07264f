//! Scanner of JSON values: where one ends, without parsing it.
//!
//! It also sees what Python writes and JSON has not (`NaN`, `Infinity`), and integers that a parser
//! would round; [`repaired`] mends both.

use std::borrow::Cow;

/// Digits from which on an integer may be larger than 64 bits.
const MANY_DIGITS: u32 = 19;

/// Scanner of one JSON value, fed in pieces that begin with the first byte of the value.
#[derive(Debug, Default)]
pub(crate) struct ValueScanner {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    n_digits: u32,
    /// Whether the value has something for [`repaired`].
    pub(crate) wants_repair: bool,
}

impl ValueScanner {
    /// Goes on with the next piece. The length of the rest of the value, where it ends in the piece.
    ///
    /// A value that is no object, list or text ends before a comma, a bracket or white space.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < piece.len() {
            if self.in_string {
                at += self.skip_string(&piece[at..]);
                if !self.in_string && self.depth == 0 {
                    return Some(at);
                }
                continue;
            }
            let byte = piece[at];
            self.n_digits = if byte.is_ascii_digit() { self.n_digits + 1 } else { 0 };
            self.wants_repair |= self.n_digits >= MANY_DIGITS || matches!(byte, b'N' | b'I');
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' | b',' | b' ' | b'\t' | b'\n' | b'\r' if self.depth == 0 => {
                    return Some(at);
                }
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// Goes on within a text; the number of bytes read.
    fn skip_string(&mut self, piece: &[u8]) -> usize {
        if self.is_escaped {
            self.is_escaped = false;
            return 1;
        }
        match memchr::memchr2(b'"', b'\\', piece) {
            None => piece.len(),
            Some(at) => {
                self.is_escaped = piece[at] == b'\\';
                self.in_string = self.is_escaped;
                at + 1
            }
        }
    }
}

/// The value that `text` begins with: its length, or `None` where it does not end.
pub(crate) fn value_len(text: &[u8]) -> Option<usize> {
    ValueScanner::default().feed(text)
}

/// JSON with `null` for `NaN` and the infinities, and with integers beyond 64 bits as texts, so that
/// no id passes through floating point.
pub(crate) fn repaired(text: &str) -> Cow<'_, str> {
    with_words_replaced(text, |word| match word {
        "NaN" | "Infinity" | "-Infinity" => Some("null".to_owned()),
        _ if is_huge_integer(word) => Some(format!("\"{word}\"")),
        _ => None,
    })
}

/// JSON in which words and numbers outside of texts are replaced.
pub(crate) fn with_words_replaced(
    text: &str,
    replacement: impl Fn(&str) -> Option<String>,
) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut replaced = String::new();
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        let token = token_len(&bytes[at..]);
        if let Some(instead) = replacement(&text[at..at + token]) {
            replaced.push_str(&text[copied..at]);
            replaced.push_str(&instead);
            copied = at + token;
        }
        at += token;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    replaced.push_str(&text[copied..]);
    Cow::Owned(replaced)
}

/// Length of a text with its quotes, of a run of letters and digits, or of one other byte.
fn token_len(bytes: &[u8]) -> usize {
    match bytes[0] {
        b'"' => value_len(bytes).unwrap_or(bytes.len()),
        first if is_word(first) => {
            bytes.iter().position(|&byte| !is_word(byte)).unwrap_or(bytes.len())
        }
        _ => 1,
    }
}

/// Bytes of numbers and words; bytes beyond ASCII are kept together too.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.') || !byte.is_ascii()
}

/// Whether a token is an integer that neither `i64` nor `u64` holds.
pub(crate) fn is_huge_integer(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    digits.len() >= MANY_DIGITS as usize
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && word.parse::<i64>().is_err()
        && word.parse::<u64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [(&str, Option<usize>); 10] = [
        ("{}", Some(2)),
        ("{\"a\": [1, {\"b\": \"}\"}]} x", Some(22)),
        ("\"a\\\"b\" ", Some(6)),
        ("\"a\\\\\"b", Some(5)),
        ("12, 13", Some(2)),
        ("null]", Some(4)),
        ("12", None),
        ("{\"a\": \"}", None),
        ("[[]", None),
        ("\"\\", None),
    ];

    #[test]
    fn values_end_where_they_end_however_they_are_cut() {
        for (text, expected) in VALUES {
            assert_eq!(value_len(text.as_bytes()), expected, "{text}");
            for cut in 1..text.len() {
                let mut scanner = ValueScanner::default();
                let (left, right) = text.as_bytes().split_at(cut);
                let end = scanner.feed(left).or_else(|| Some(cut + scanner.feed(right)?));
                assert_eq!(end, expected, "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn numbers_that_json_or_a_parser_has_not() {
        for (text, expected) in [
            (
                r#"{"a": NaN, "b": "NaN", "c": [-Infinity, Infinity]}"#,
                r#"{"a": null, "b": "NaN", "c": [null, null]}"#,
            ),
            (r#"{"id": 12345678901234567890}"#, r#"{"id": 12345678901234567890}"#),
            (r#"{"id": 123456789012345678901}"#, r#"{"id": "123456789012345678901"}"#),
            (r#"{"id": -9223372036854775809}"#, r#"{"id": "-9223372036854775809"}"#),
            (r#"{"id": "123456789012345678901"}"#, r#"{"id": "123456789012345678901"}"#),
            ("{\"a\": 0.1234567890123456789012}", "{\"a\": 0.1234567890123456789012}"),
            ("{\"é\": \"\\\"NaN\", \"b\":NaN}", "{\"é\": \"\\\"NaN\", \"b\":null}"),
        ] {
            assert_eq!(repaired(text), expected);
            let mut scanner = ValueScanner::default();
            scanner.feed(text.as_bytes());
            assert!(scanner.wants_repair || repaired(text) == text, "{text}");
        }
    }
}
