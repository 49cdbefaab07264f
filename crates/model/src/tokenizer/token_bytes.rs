//! Bytes of every token of a vocabulary.
//!
//! Decoding token by token gives U+FFFD for parts of characters, and loses the spaces that some
//! tokenizers strip from the beginning of a text. Bytes can be put together without loss.

use std::collections::HashMap;

use forage_trajectory::TokenId;
use tokenizers::DecoderWrapper;

/// Bytes of all tokens, one after the other.
#[derive(Debug)]
pub(super) struct TokenBytes {
    bytes: Vec<u8>,
    /// Offset behind each token.
    ends: Vec<usize>,
    /// Whether the decoder of the library gives the text of these bytes.
    are_whole: bool,
}

/// Byte encoding of a vocabulary.
enum ByteEncoding {
    /// Byte-level BPE: one printable character stands for each byte (GPT-2).
    ByteLevel(HashMap<char, u8>),
    /// `▁` stands for a space, `<0x0A>` for a byte (`SentencePiece`).
    SentencePiece,
    /// Another encoding, which the decoder of the library knows.
    Other,
}

impl TokenBytes {
    /// Bytes of all tokens of a tokenizer.
    pub(super) fn new(tokenizer: &tokenizers::Tokenizer) -> Self {
        let encoding = ByteEncoding::of(tokenizer);
        let last = tokenizer.get_vocab(true).into_values().max();
        let n_tokens = last.map_or(0, |it| it as usize + 1);
        let are_whole = !matches!(encoding, ByteEncoding::SentencePiece);
        let mut all = Self { bytes: Vec::new(), ends: Vec::with_capacity(n_tokens), are_whole };
        for id in 0..n_tokens as TokenId {
            encoding.append(tokenizer, id, &mut all.bytes);
            all.ends.push(all.bytes.len());
        }
        all
    }

    /// Bytes of a token; none for an unknown id.
    pub(super) fn get(&self, token: TokenId) -> &[u8] {
        let token = token as usize;
        let Some(&end) = self.ends.get(token) else { return &[] };
        let start = if token == 0 { 0 } else { self.ends[token - 1] };
        &self.bytes[start..end]
    }

    /// Whether the decoder of the library gives the text of these bytes. That of `SentencePiece`
    /// takes the space off the beginning of a text, which a turn of a model is not.
    pub(super) fn are_whole(&self) -> bool {
        self.are_whole
    }

    /// Vocabulary size.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

impl ByteEncoding {
    fn of(tokenizer: &tokenizers::Tokenizer) -> Self {
        let decoders = match tokenizer.get_decoder() {
            Some(DecoderWrapper::Sequence(sequence)) => sequence.get_decoders().to_vec(),
            Some(decoder) => vec![decoder.clone()],
            None => Vec::new(),
        };
        if decoders.iter().any(|decoder| matches!(decoder, DecoderWrapper::ByteLevel(_))) {
            return Self::ByteLevel(bytes_of_characters());
        }
        let marks_spaces = |decoder: &DecoderWrapper| {
            matches!(decoder, DecoderWrapper::ByteFallback(_) | DecoderWrapper::Metaspace(_))
        };
        if decoders.iter().any(marks_spaces) { Self::SentencePiece } else { Self::Other }
    }

    fn append(&self, tokenizer: &tokenizers::Tokenizer, id: TokenId, bytes: &mut Vec<u8>) {
        let Some(token) = tokenizer.id_to_token(id) else { return };
        match self {
            Self::ByteLevel(table) => {
                match token
                    .chars()
                    .map(|character| table.get(&character).copied())
                    .collect::<Option<Vec<u8>>>()
                {
                    Some(spelled) => bytes.extend(spelled),
                    // An added token that is written as it is.
                    None => bytes.extend_from_slice(token.as_bytes()),
                }
            }
            Self::SentencePiece => {
                let hexadecimal = token.strip_prefix("<0x").and_then(|it| it.strip_suffix('>'));
                match hexadecimal.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    Some(byte) => bytes.push(byte),
                    None => bytes.extend_from_slice(token.replace('▁', " ").as_bytes()),
                }
            }
            Self::Other => {
                let text = tokenizer.decode(&[id], false).unwrap_or_default();
                bytes.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// Byte table of GPT-2: printable Latin-1 stands for itself, and characters from U+0100 on for the
/// other bytes, in order.
fn bytes_of_characters() -> HashMap<char, u8> {
    let is_printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..=u8::MAX).filter(|it| !is_printable(it));
    let stand_ins = others.zip('\u{100}'..).map(|(byte, character)| (character, byte));
    let printable = (0..=u8::MAX).filter(is_printable).map(|it| (char::from(it), it));
    printable.chain(stand_ins).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_character() {
        let table = bytes_of_characters();
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        assert_eq!(table.len(), 256);
        assert!(alphabet.iter().all(|it| table.contains_key(it)));
        assert_eq!((table[&'Ġ'], table[&'Ċ'], table[&'é']), (b' ', b'\n', 0xE9));
    }
}
