//! JSON document that another program wrote, whole in memory: the body of a request, the answer of
//! a server, a line of a process.
//!
//! What is no fault of the whole is mended: a byte-order mark at the beginning is passed over, half
//! a character (`\ud800`, which Python writes for what it could not decode) becomes U+FFFD, and a
//! number that is not finite (`NaN`, `Infinity`, `1e999`) is null. [`Document::explained`] tells of
//! the last where null is not what is wanted.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use crate::scan::{ValueScanner, is_huge_integer, with_words_replaced};
use crate::strict::StrictValue;
use crate::words::document_fault;

/// Noncharacter before a number that is not finite, until its place is known.
const MARK: char = '\u{fdd0}';
/// Fault of a document in the encoding of Windows.
const UTF16: &str = "it is UTF-16, and UTF-8 is wanted";

/// JSON document that another program wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its value. Integers beyond 64 bits are texts.
    pub value: Value,
    /// Numbers that are not finite: their paths, and how they were written.
    not_finite: Vec<(String, String)>,
}

impl Document {
    /// Parses a document. Of two equal keys, the last counts.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words: `it ends in the middle, at byte 30`.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        Self::parse_with(bytes, |text| serde_json::from_str(text))
    }

    /// Parses a document in which no object may have a key twice.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    pub fn parse_strict(bytes: &[u8]) -> Result<Self, String> {
        Self::parse_with(bytes, |text| serde_json::from_str(text).map(|StrictValue(value)| value))
    }

    fn parse_with(
        bytes: &[u8],
        parse: fn(&str) -> serde_json::Result<Value>,
    ) -> Result<Self, String> {
        let text = utf8(bytes)?;
        let text = text.trim_start_matches('\u{feff}');
        let text = &*with_whole_characters(text);
        let mut scanner = ValueScanner::default();
        scanner.feed(text.trim_start().as_bytes());
        if !scanner.wants_repair
            && let Ok(value) = parse(text)
        {
            return Ok(Self { value, not_finite: Vec::new() });
        }
        let text = with_words_replaced(text, marked);
        let mut value = parse(&text).map_err(|error| document_fault(&text, &error))?;
        let mut not_finite = Vec::new();
        unmark(&mut value, &mut String::new(), &mut not_finite);
        Ok(Self { value, not_finite })
    }

    /// The first number that is not finite, as it was written; none where every number is one.
    pub fn first_not_finite(&self) -> Option<&str> {
        self.not_finite.first().map(|(_, written)| written.as_str())
    }

    /// A fault that names a path of the document, and which number that is not finite was written
    /// there, if one was.
    pub fn explained(&self, fault: String) -> String {
        let is_named = |(path, _): &&(String, String)| fault.contains(&format!("`{path}`"));
        match self.not_finite.iter().find(is_named) {
            Some((_, written)) => {
                format!("{fault}; `{written}` was written there, which JSON does not have")
            }
            None => fault,
        }
    }
}

/// Text of a document. Halves of characters that were written as bytes become U+FFFD.
fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    let has_zeros = bytes.len() > 1 && bytes[..2].contains(&0);
    if has_zeros || bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(UTF16.to_owned());
    }
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return Ok(Cow::Borrowed(text)),
        Err(error) => error,
    };
    let mut mended = bytes.to_vec();
    let mut at = error.valid_up_to();
    while at + 3 <= mended.len() {
        if let [0xed, 0xa0..=0xbf, 0x80..=0xbf] = mended[at..at + 3] {
            mended[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
            at += 3;
        } else {
            at += 1;
        }
    }
    String::from_utf8(mended).map(Cow::Owned).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("it is not UTF-8: the byte {:#04x} at {}", bytes[at], at + 1)
    })
}

/// JSON with `\ufffd` for escapes that are half a character.
fn with_whole_characters(text: &str) -> Cow<'_, str> {
    let mut whole = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(next) = memchr::memchr(b'\\', &text.as_bytes()[at..]) {
        at += next;
        at += match (surrogate(text, at), surrogate(text, at + 6)) {
            (None, _) => 2.min(text.len() - at),
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
            (Some(_), _) => {
                whole.push_str(&text[copied..at]);
                whole.push_str("\\ufffd");
                copied = at + 6;
                6
            }
        };
        if at >= text.len() {
            break;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    whole.push_str(&text[copied..]);
    Cow::Owned(whole)
}

/// The surrogate that an escape at a place stands for.
fn surrogate(text: &str, at: usize) -> Option<u32> {
    let digits = text.as_bytes().get(at..at + 6)?.strip_prefix(b"\\u")?;
    let code = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (0xd800..0xe000).contains(&code).then_some(code)
}

/// Replacement of what a parser would round or refuse.
fn marked(word: &str) -> Option<String> {
    let is_number = || word.starts_with(|char: char| char.is_ascii_digit() || char == '-');
    let is_infinite = || is_number() && word.parse().is_ok_and(|number: f64| number.is_infinite());
    match word {
        "NaN" | "Infinity" | "-Infinity" => Some(format!("\"{MARK}{word}\"")),
        _ if is_huge_integer(word) => Some(format!("\"{word}\"")),
        _ if is_infinite() => Some(format!("\"{MARK}{word}\"")),
        _ => None,
    }
}

/// Replaces marked numbers by null, and collects where they stood.
fn unmark(value: &mut Value, path: &mut String, found: &mut Vec<(String, String)>) {
    let n = path.len();
    match value {
        Value::String(text) => {
            if let Some(written) = text.strip_prefix(MARK) {
                found.push((path.trim_start_matches('.').to_owned(), written.to_owned()));
                *value = Value::Null;
            }
        }
        Value::Array(list) => {
            for (idx, value) in list.iter_mut().enumerate() {
                write!(path, "[{idx}]").expect("a string takes everything");
                unmark(value, path, found);
                path.truncate(n);
            }
        }
        Value::Object(object) => {
            for (key, value) in object {
                write!(path, ".{key}").expect("a string takes everything");
                unmark(value, path, found);
                path.truncate(n);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(bytes: &[u8]) -> Value {
        Document::parse_strict(bytes).unwrap().value
    }

    #[test]
    fn what_is_no_fault_of_the_whole_is_mended() {
        let cases: [(&[u8], Value); 12] = [
            (b"\xef\xbb\xbf{\"a\": 1}\r\n", json!({ "a": 1 })),
            (br#"["\ud800", "x"]"#, json!(["\u{fffd}", "x"])),
            (br#"["a\udc00b\ud800"]"#, json!(["a\u{fffd}b\u{fffd}"])),
            (br#"["\ud83d\ude00\uD83D"]"#, json!(["\u{1f600}\u{fffd}"])),
            (br#"["\ud800\ud83d\ude00"]"#, json!(["\u{fffd}\u{1f600}"])),
            // An escaped backslash, and no escape of a character.
            (br#"["\\ud800"]"#, json!(["\\ud800"])),
            (b"[\"a\xed\xa0\x80b\"]", json!(["a\u{fffd}b"])),
            (br#"[NaN, -Infinity, 1e999, "NaN"]"#, json!([null, null, null, "NaN"])),
            (b"[123456789012345678901234]", json!(["123456789012345678901234"])),
            (b"[18446744073709551615, 0.5]", json!([u64::MAX, 0.5])),
            (br#"["\u0000\u001f"]"#, json!(["\0\u{1f}"])),
            (br#"{"Id": {"N": ["I"]}}"#, json!({ "Id": { "N": ["I"] } })),
        ];
        for (bytes, expected) in cases {
            assert_eq!(value(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn faults_in_words() {
        let cases: [(&[u8], &str); 12] = [
            (b"", "it is empty"),
            (b" \n", "it is empty"),
            (b"nonsense", "it begins with `nonsense`"),
            (b"<html>\n<p>", "it begins with `<html> <p>`"),
            (b"{\"a\": [1", "it ends in the middle, at byte 8"),
            (b"{\"a\": 1\n\n \"b\": 2}", "a comma or a closing bracket is missing, at byte 11"),
            (b"{} {}", "something follows after its end, at byte 4"),
            (
                b"[\"a\nb\"]",
                "a text has a line break or another control character that is not escaped, at byte 4",
            ),
            (
                b"{'a': 1}",
                "it is in Python's notation, with keys in single quotes; `json.dumps` writes JSON",
            ),
            (b"{\"a\": {\"b\": 1, \"b\": 2}}", "an object has the key `b` twice"),
            (b"[\"\xff\"]", "it is not UTF-8: the byte 0xff at 3"),
            (b"\xff\xfe[\0]\0", "it is UTF-16, and UTF-8 is wanted"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(
                Document::parse_strict(bytes).unwrap_err(),
                expected,
                "{}",
                bytes.escape_ascii()
            );
        }
        assert_eq!(Document::parse(b"{\"a\": 1, \"a\": 2}").unwrap().value, json!({ "a": 2 }));
        assert_eq!(Document::parse(b"[\0]\0").unwrap_err(), UTF16);
    }

    #[test]
    fn numbers_that_are_not_finite_are_told_of() {
        let document = Document::parse(br#"{"r": [[{"s": 1}, {"s": NaN}]], "t": 1}"#).unwrap();
        let fault = |path: &str| document.explained(format!("`{path}` is null"));
        assert_eq!(
            fault("r[0][1].s"),
            "`r[0][1].s` is null; `NaN` was written there, which JSON does not have"
        );
        assert_eq!(fault("r[0][0].s"), "`r[0][0].s` is null");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_document_or_a_fault(bytes in proptest::collection::vec(0_u8..=255, 0..40)) {
            let _ = Document::parse(&bytes);
        }

        #[test]
        fn any_escapes_are_a_document_or_a_fault(text in r#"["\\ud8c0Nni\[\]{}:,é 1e9-]{0,40}"#) {
            let _ = Document::parse_strict(text.as_bytes());
        }

        #[test]
        fn json_is_read_as_it_is(texts in proptest::collection::vec(".{0,20}", 0..5)) {
            let written = serde_json::to_vec(&texts).unwrap();
            proptest::prop_assert_eq!(value(&written), json!(texts));
        }
    }
}
