//! `WordPiece` tokenizer of an encoder: word pieces between `[CLS]` and `[SEP]`.
//!
//! Unlike in the tokenizer of decoders, control tokens in a text are what the library makes of
//! them, so that embeddings are those of other programs. A page can only bend its own embedding by
//! what it says.

use std::path::Path;

use forage_trajectory::{BoxError, TokenId};
use serde::Deserialize;
use tokenizers::decoders::wordpiece::WordPiece as Decoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, TruncationParams};

use crate::text_file::{parse_json, read_text};
use crate::tokenizer::TokenizerError;

/// Tokenizer of an encoder.
#[derive(Debug)]
pub(super) struct WordPieceTokenizer {
    inner: tokenizers::Tokenizer,
}

/// Keys of `tokenizer_config.json`. Defaults: those of transformers.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Settings {
    do_lower_case: bool,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: bool,
    /// Tokens of a text, at most; a huge number stands for no limit.
    model_max_length: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            do_lower_case: true,
            strip_accents: None,
            tokenize_chinese_chars: true,
            model_max_length: None,
        }
    }
}

impl WordPieceTokenizer {
    /// Loads `tokenizer.json` of a folder, or else `vocab.txt`, with `tokenizer_config.json`. Also
    /// returns the limit of a text in tokens, where the folder has one.
    pub(super) fn load(folder: &Path) -> Result<(Self, Option<usize>), TokenizerError> {
        let path = folder.join("tokenizer_config.json");
        let settings = if path.exists() {
            let text = read_text(&path).map_err(|err| TokenizerError::new(&path, err))?;
            parse_json(&text).map_err(|err| TokenizerError::new(&path, err))?
        } else {
            Settings::default()
        };
        let (path, vocabulary) = (folder.join("tokenizer.json"), folder.join("vocab.txt"));
        let inner = if !path.exists() && vocabulary.exists() {
            convert_slow_tokenizer(&vocabulary, &settings)
                .map_err(|err| TokenizerError::new(&vocabulary, err))?
        } else {
            tokenizers::Tokenizer::from_file(&path)
                .map_err(|err| TokenizerError::new(&path, err))?
        };
        let limit = settings.model_max_length.filter(|it| (1.0..1e9).contains(it));
        Ok((Self { inner }, limit.map(|it| it as usize)))
    }

    /// Truncates texts to so many tokens, `[CLS]` and `[SEP]` included.
    pub(super) fn truncate_to(&mut self, n_tokens: usize) -> Result<(), BoxError> {
        self.inner.with_padding(None);
        let truncation = TruncationParams { max_length: n_tokens, ..TruncationParams::default() };
        self.inner.with_truncation(Some(truncation))?;
        Ok(())
    }

    /// Vocabulary size: one more than the largest token.
    pub(super) fn n_tokens(&self) -> usize {
        self.inner.get_vocab(true).into_values().max().map_or(0, |it| it as usize + 1)
    }

    /// Tokens of a text, with `[CLS]` and `[SEP]`.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        Ok(self.inner.encode_fast(text, true)?.get_ids().to_vec())
    }

    /// Text of a `tokenizer.json`, which identifies the tokenizer.
    pub(super) fn json(&self) -> Result<String, BoxError> {
        self.inner.to_string(false)
    }
}

/// Converts a slow tokenizer: that of a `vocab.txt`, a token a line.
fn convert_slow_tokenizer(
    vocabulary: &Path,
    settings: &Settings,
) -> Result<tokenizers::Tokenizer, BoxError> {
    let model = WordPiece::from_file(&vocabulary.to_string_lossy()).build()?;
    let mut inner = tokenizers::Tokenizer::new(model);
    let id = |token: &str| {
        let missing = || BoxError::from(format!("there is no token `{token}`"));
        Ok::<_, BoxError>((token.to_owned(), inner.token_to_id(token).ok_or_else(missing)?))
    };
    let ends = BertProcessing::new(id("[SEP]")?, id("[CLS]")?);
    id("[UNK]")?;
    let normalizer = BertNormalizer::new(
        true,
        settings.tokenize_chinese_chars,
        settings.strip_accents,
        settings.do_lower_case,
    );
    inner.with_normalizer(Some(normalizer))?;
    inner.with_pre_tokenizer(Some(BertPreTokenizer));
    inner.with_post_processor(Some(ends));
    inner.with_decoder(Some(Decoder::default()));
    let special: Vec<AddedToken> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .iter()
        .filter(|token| inner.token_to_id(token).is_some())
        .map(|&it| AddedToken::from(it, true))
        .collect();
    inner.add_special_tokens(special)?;
    Ok(inner)
}
