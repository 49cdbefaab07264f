//! Incremental detokenization and stop strings: text out of tokens as they are sampled, wherever
//! tokens happen to be cut. Both work on bytes of tokens, and know no tokenizer.

/// Incremental detokenizer: makes text of the bytes of tokens, and never splits a character.
///
/// The texts that it returned, joined, are at every time the beginning of the text of all bytes, in
/// which U+FFFD stands for bytes that are no character.
///
/// ```
/// let mut text = forage_model::Detokenizer::default();
/// assert_eq!(text.push(b"caf\xc3"), "caf");
/// assert_eq!(text.push(b"\xa9!"), "é!");
/// assert_eq!(text.push(b"\xf0\x9f"), "");
/// assert_eq!(text.finish(), "\u{FFFD}");
/// ```
#[derive(Debug, Default, Clone)]
pub struct Detokenizer {
    /// Beginning of a character; at most three bytes.
    held: Vec<u8>,
}

impl Detokenizer {
    /// Takes the bytes of the next token, and returns the characters that are now complete.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let mut text = String::new();
        let mut done = 0;
        for chunk in self.held.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            let invalid = chunk.invalid();
            let is_last = done + invalid.len() == self.held.len();
            if is_last && is_beginning(invalid) {
                break;
            }
            if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                done += invalid.len();
            }
        }
        self.held.drain(..done);
        text
    }

    /// Ends the text: U+FFFD for a character that was never completed, or nothing.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }
}

/// Whether more bytes could make a character of these.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|err| err.error_len().is_none())
}

/// Stop strings, which end a generation.
#[derive(Debug, Clone)]
pub struct StopStrings<'a> {
    stops: Vec<&'a [u8]>,
    /// Last bytes, one fewer than the longest stop string.
    tail: Vec<u8>,
}

impl<'a> StopStrings<'a> {
    /// Watches for these strings; an empty one never stops.
    pub fn new(stops: &[&'a str]) -> Self {
        let stops = stops.iter().map(|it| it.as_bytes()).filter(|it| !it.is_empty()).collect();
        Self { stops, tail: Vec::new() }
    }

    /// Takes the bytes of the next token, and tells whether they complete a stop string.
    pub fn completed_by(&mut self, bytes: &[u8]) -> bool {
        self.tail.extend_from_slice(bytes);
        let seen = &self.tail;
        let completed =
            self.stops.iter().any(|stop| seen.windows(stop.len()).any(|it| it == *stop));
        let longest = self.stops.iter().map(|it| it.len()).max().unwrap_or(1);
        let surplus = self.tail.len().saturating_sub(longest - 1);
        self.tail.drain(..surplus);
        completed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stop_strings_are_found_wherever_tokens_are_cut() {
        let text = "a </search> b。c";
        let stops = ["</search>", "。"];
        let end = text.find("</search>").unwrap() + "</search>".len();
        for size in 1..6 {
            let mut watch = StopStrings::new(&stops);
            let stopped =
                text.as_bytes().chunks(size).position(|piece| watch.completed_by(piece)).unwrap();
            assert_eq!(stopped, (end - 1) / size, "pieces of {size}");
        }
        let mut watch = StopStrings::new(&stops);
        assert!(!["</sear", "", "ch", " >"].iter().any(|it| watch.completed_by(it.as_bytes())));
        assert!("b。".as_bytes().chunks(1).any(|it| watch.completed_by(it)));
        assert!(!StopStrings::new(&[""]).completed_by(b"x"));
    }

    proptest! {
        #[test]
        fn no_character_is_split_and_nothing_is_lost(
            bytes in prop_oneof![
                any::<Vec<u8>>(),
                any::<String>().prop_map(String::into_bytes),
            ],
            cuts in proptest::collection::vec(1_usize..5, 0..64),
        ) {
            let mut text = Detokenizer::default();
            let (mut rest, mut found) = (bytes.as_slice(), String::new());
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                found += &text.push(piece);
                prop_assert!(text.held.len() < 4);
                rest = after;
            }
            found += &text.push(rest);
            found += &text.finish();
            prop_assert_eq!(found, String::from_utf8_lossy(&bytes));
        }
    }
}
