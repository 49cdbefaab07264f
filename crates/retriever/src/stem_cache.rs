//! Remembers what became of a word: of the words of a corpus, nearly all come again soon.

/// Longer words, and words with longer terms, are not remembered.
const MAX_BYTES: usize = 15;
/// Words that are remembered at once, half a megabyte of them.
const SLOTS: usize = 1 << 14;

/// Terms of words in lower-case ASCII. Of two words that fall on one place, the later stays.
#[derive(Clone)]
pub(crate) struct Stems(Vec<Slot>);

/// A word and its term; no term for a word that is dropped.
#[derive(Clone, Copy, Default)]
struct Slot {
    word: Short,
    term: Short,
}

/// A text of at most [`MAX_BYTES`], padded with zeros, and its length; compared at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Short(u128);

impl Short {
    /// A word in lower case; none where it is too long, or not in ASCII.
    pub(crate) fn lower(word: &str) -> Option<Self> {
        if word.len() > MAX_BYTES || !word.is_ascii() {
            return None;
        }
        let mut bytes = [0; 16];
        bytes[..word.len()].copy_from_slice(word.as_bytes());
        bytes.make_ascii_lowercase();
        bytes[MAX_BYTES] = word.len() as u8;
        Some(Self(u128::from_le_bytes(bytes)))
    }

    /// Puts it in the place of a text.
    pub(crate) fn write_to(self, text: &mut String) {
        let bytes = self.0.to_le_bytes();
        text.clear();
        text.extend(bytes[..usize::from(bytes[MAX_BYTES])].iter().map(|&it| char::from(it)));
    }

    fn place(self) -> usize {
        let (low, high) = (self.0 as u64, (self.0 >> 64) as u64);
        let mixed = (low ^ high.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (u64::BITS - SLOTS.trailing_zeros())) as usize
    }
}

impl Stems {
    pub(crate) fn new() -> Self {
        Self(vec![Slot::default(); SLOTS])
    }

    /// The term of a word, empty for one that is dropped, where it is remembered.
    pub(crate) fn get(&self, word: Short) -> Option<Short> {
        let slot = self.0[word.place()];
        (slot.word == word).then_some(slot.term)
    }

    /// Remembers the term of a word, or that it is dropped.
    pub(crate) fn put(&mut self, word: Short, term: &str) {
        // Terms are in lower case.
        if let Some(term) = Short::lower(term) {
            self.0[word.place()] = Slot { word, term };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_are_read_back() {
        for (word, lower) in
            [("", ""), ("A", "a"), ("Don't", "don't"), ("ABCDEFGHIJKLMNO", "abcdefghijklmno")]
        {
            let mut text = "before".to_owned();
            Short::lower(word).unwrap().write_to(&mut text);
            assert_eq!(text, lower);
        }
        assert_eq!(Short::lower("ABCDEFGHIJKLMNOP"), None);
        assert_eq!(Short::lower("é"), None);
        assert_ne!(Short::lower("a\0"), Short::lower("a"));
    }

    #[test]
    fn the_later_word_stays() {
        let mut stems = Stems::new();
        let words: Vec<Short> =
            (0..40_000).map(|idx| Short::lower(&format!("word{idx}")).unwrap()).collect();
        for (idx, word) in words.iter().enumerate() {
            assert_eq!(stems.get(*word), None);
            stems.put(*word, if idx % 3 == 0 { "" } else { "term" });
            assert_eq!(stems.get(*word), Short::lower(if idx % 3 == 0 { "" } else { "term" }));
        }
        stems.put(words[7], "a term that is too long");
        assert!(stems.get(words[7]).is_none_or(|it| it == Short::lower("term").unwrap()));
    }
}
