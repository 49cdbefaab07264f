//! Text to tokens and back, through the `tokenizers` crate.

use std::path::{Path, PathBuf};

use forage_trajectory::{BoxError, TokenId};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, TokenizerBuilder};

/// The tags of the search grammar and the end of a turn: one token each in tokenizers we train.
pub const SPECIAL_TOKENS: [&str; 9] = [
    "<|endoftext|>",
    "<think>",
    "</think>",
    "<search>",
    "</search>",
    "<information>",
    "</information>",
    "<answer>",
    "</answer>",
];

/// A tokenizer with the text of each of its tokens at hand.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    pieces: Vec<String>,
    end_of_turn: Option<TokenId>,
}

/// A tokenizer that could not be read or made.
#[derive(Debug, thiserror::Error)]
#[error("tokenizer `{path}`", path = path.display())]
pub struct TokenizerError {
    path: PathBuf,
    #[source]
    source: BoxError,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of a checkpoint folder.
    pub fn load(folder: &Path) -> Result<Self, TokenizerError> {
        let path = folder.join("tokenizer.json");
        let inner = tokenizers::Tokenizer::from_file(&path)
            .map_err(|source| TokenizerError { path: path.clone(), source })?;
        Ok(Self::new(inner))
    }

    /// Trains a byte-level BPE tokenizer with the grammar's tags as special tokens.
    pub fn train(texts: &[String], vocab_size: usize) -> Result<Self, TokenizerError> {
        let fail = |source: BoxError| TokenizerError { path: "(in training)".into(), source };
        let special: Vec<AddedToken> =
            SPECIAL_TOKENS.iter().map(|&tag| AddedToken::from(tag, true)).collect();
        let mut trainer = BpeTrainer::builder()
            .vocab_size(vocab_size)
            .special_tokens(special)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .show_progress(false)
            .build();
        let mut inner = TokenizerBuilder::new()
            .with_model(BPE::default())
            .with_normalizer(None::<tokenizers::NormalizerWrapper>)
            .with_pre_tokenizer(Some(ByteLevel::new(false, true, true)))
            .with_post_processor(Some(ByteLevel::new(false, true, true)))
            .with_decoder(Some(ByteLevel::default()))
            .build()
            .map_err(fail)?;
        inner.train(&mut trainer, texts.iter().map(String::as_str)).map_err(fail)?;
        // The same tokenizer, with its parts behind the crate's dynamic wrappers.
        let json = inner.to_string(false).map_err(fail)?;
        Ok(Self::new(json.parse().map_err(fail)?))
    }

    fn new(inner: tokenizers::Tokenizer) -> Self {
        let n_tokens = inner.get_vocab_size(true) as TokenId;
        let pieces =
            (0..n_tokens).map(|id| inner.decode(&[id], false).unwrap_or_default()).collect();
        let end_of_turn =
            ["<|im_end|>", "<|endoftext|>"].iter().find_map(|it| inner.token_to_id(it));
        Self { inner, pieces, end_of_turn }
    }

    /// Writes `tokenizer.json` into a folder.
    pub fn save(&self, folder: &Path) -> Result<(), TokenizerError> {
        let path = folder.join("tokenizer.json");
        self.inner.save(&path, true).map_err(|source| TokenizerError { path, source })
    }

    /// The tokens of a text; special tokens in it become single tokens.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        Ok(self.inner.encode_fast(text, false)?.get_ids().to_vec())
    }

    /// The text of tokens, special ones included.
    pub fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
        self.inner.decode(tokens, false)
    }

    /// The text of one token by itself; empty for an unknown id. Half a character is U+FFFD.
    pub fn piece(&self, token: TokenId) -> &str {
        self.pieces.get(token as usize).map_or("", String::as_str)
    }

    /// How many tokens there are, special ones included.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// The token that ends a turn: `<|im_end|>` or else `<|endoftext|>`.
    pub fn end_of_turn(&self) -> Option<TokenId> {
        self.end_of_turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trained_tokenizers_keep_tags_whole_and_read_everything() {
        let texts = vec!["the film Veltor was directed by Mirko Tavel. ".repeat(20)];
        let tokenizer = Tokenizer::train(&texts, 320).unwrap();
        for text in ["<search> Veltor</search>", "Ünïcödé 漢字 🦀", "</answer>\n\n<information>"]
        {
            let tokens = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
        }
        let tokens = tokenizer.encode("<search> film</search>").unwrap();
        assert_eq!(tokenizer.piece(tokens[0]), "<search>");
        assert_eq!(tokens.len(), 3);
        assert_eq!(tokenizer.end_of_turn(), Some(0));
    }

    #[test]
    fn a_saved_tokenizer_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = Tokenizer::train(&["a b c ab abc".to_owned()], 300).unwrap();
        tokenizer.save(folder.path()).unwrap();
        let back = Tokenizer::load(folder.path()).unwrap();
        let text = "<think> abc cab";
        assert_eq!(back.encode(text).unwrap(), tokenizer.encode(text).unwrap());
        let missing = Tokenizer::load(&folder.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("tokenizer.json"));
    }
}
