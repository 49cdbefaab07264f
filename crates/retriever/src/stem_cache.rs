//! Cache of stems: of the words of a corpus, nearly all come again soon.

/// Longest word and longest term that the cache holds, in bytes.
const MAX_BYTES: usize = 15;
/// Number of entries, half a megabyte of them.
const SLOTS: usize = 1 << 14;

/// Direct-mapped cache from words in lower-case ASCII to their terms. Of two words with the same
/// slot, the later stays.
#[derive(Clone)]
pub(crate) struct StemCache(Vec<Slot>);

/// Entry: a word and its term, which is empty for a word that is dropped.
#[derive(Clone, Copy, Default)]
struct Slot {
    word: PackedWord,
    term: PackedWord,
}

/// Text of at most [`MAX_BYTES`] bytes and its length, packed into one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PackedWord(u128);

impl PackedWord {
    /// Word in lower case; none where it is too long, or not in ASCII.
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

    /// Writes the word in the place of a text.
    pub(crate) fn write_to(self, text: &mut String) {
        let bytes = self.0.to_le_bytes();
        text.clear();
        text.extend(bytes[..usize::from(bytes[MAX_BYTES])].iter().map(|&it| char::from(it)));
    }

    /// Index of the slot: a multiplicative hash.
    fn slot(self) -> usize {
        let (low, high) = (self.0 as u64, (self.0 >> 64) as u64);
        let mixed = (low ^ high.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (u64::BITS - SLOTS.trailing_zeros())) as usize
    }
}

impl StemCache {
    pub(crate) fn new() -> Self {
        Self(vec![Slot::default(); SLOTS])
    }

    /// Term of a word, empty for one that is dropped; none where the cache does not hold it.
    pub(crate) fn get(&self, word: PackedWord) -> Option<PackedWord> {
        let slot = self.0[word.slot()];
        (slot.word == word).then_some(slot.term)
    }

    /// Stores the term of a word; an empty one says that the word is dropped.
    pub(crate) fn put(&mut self, word: PackedWord, term: &str) {
        // Terms are in lower case.
        if let Some(term) = PackedWord::lower(term) {
            self.0[word.slot()] = Slot { word, term };
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
            PackedWord::lower(word).unwrap().write_to(&mut text);
            assert_eq!(text, lower);
        }
        assert_eq!(PackedWord::lower("ABCDEFGHIJKLMNOP"), None);
        assert_eq!(PackedWord::lower("é"), None);
        assert_ne!(PackedWord::lower("a\0"), PackedWord::lower("a"));
    }

    #[test]
    fn the_later_word_stays() {
        let mut stems = StemCache::new();
        let words: Vec<PackedWord> =
            (0..40_000).map(|idx| PackedWord::lower(&format!("word{idx}")).unwrap()).collect();
        for (idx, word) in words.iter().enumerate() {
            assert_eq!(stems.get(*word), None);
            stems.put(*word, if idx % 3 == 0 { "" } else { "term" });
            assert_eq!(stems.get(*word), PackedWord::lower(if idx % 3 == 0 { "" } else { "term" }));
        }
        stems.put(words[7], "a term that is too long");
        assert!(stems.get(words[7]).is_none_or(|it| it == PackedWord::lower("term").unwrap()));
    }
}
