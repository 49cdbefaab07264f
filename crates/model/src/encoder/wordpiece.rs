//! Texts as an encoder reads them: word pieces between the tokens that begin and end a text.
//!
//! Everything else in this crate spells control tokens in texts out; here they are what the
//! library makes of them, so that vectors are those that other programs make. A vector that a page
//! bends by what it says is its own.

use std::path::Path;

use forage_trajectory::{BoxError, TokenId};
use serde::Deserialize;
use tokenizers::decoders::wordpiece::WordPiece as Decoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, TruncationParams};

use crate::tokenizer::TokenizerError;

/// The tokenizer of an encoder.
#[derive(Debug)]
pub(super) struct Words {
    inner: tokenizers::Tokenizer,
}

/// `tokenizer_config.json`: what matters here.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Settings {
    do_lower_case: bool,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: bool,
    /// A number that means nothing where there is no limit.
    model_max_length: Option<f64>,
}

impl Default for Settings {
    /// Those of transformers.
    fn default() -> Self {
        Self {
            do_lower_case: true,
            strip_accents: None,
            tokenize_chinese_chars: true,
            model_max_length: None,
        }
    }
}

impl Words {
    /// Reads `tokenizer.json` of a folder, or else `vocab.txt`, with `tokenizer_config.json`.
    /// Also says how long a text may be, in tokens, where the folder does.
    pub(super) fn load(folder: &Path) -> Result<(Self, Option<usize>), TokenizerError> {
        let path = folder.join("tokenizer_config.json");
        let settings = if path.exists() {
            let text = std::fs::read(&path).map_err(|err| TokenizerError::new(&path, err))?;
            serde_json::from_slice(&text).map_err(|err| TokenizerError::new(&path, err))?
        } else {
            Settings::default()
        };
        let (path, vocabulary) = (folder.join("tokenizer.json"), folder.join("vocab.txt"));
        let inner = if !path.exists() && vocabulary.exists() {
            assemble(&vocabulary, &settings).map_err(|err| TokenizerError::new(&vocabulary, err))?
        } else {
            tokenizers::Tokenizer::from_file(&path)
                .map_err(|err| TokenizerError::new(&path, err))?
        };
        let limit = settings.model_max_length.filter(|it| (1.0..1e9).contains(it));
        Ok((Self { inner }, limit.map(|it| it as usize)))
    }

    /// Texts are cut to so many tokens, those that begin and end them included.
    pub(super) fn cut_to(&mut self, n_tokens: usize) -> Result<(), BoxError> {
        self.inner.with_padding(None);
        let truncation = TruncationParams { max_length: n_tokens, ..TruncationParams::default() };
        self.inner.with_truncation(Some(truncation))?;
        Ok(())
    }

    /// One more than the largest token.
    pub(super) fn n_tokens(&self) -> usize {
        self.inner.get_vocab(true).into_values().max().map_or(0, |it| it as usize + 1)
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        Ok(self.inner.encode_fast(text, true)?.get_ids().to_vec())
    }

    /// Everything that decides what a text becomes.
    pub(super) fn json(&self) -> Result<String, BoxError> {
        self.inner.to_string(false)
    }
}

/// The tokenizer that goes with a `vocab.txt`, a token a line.
fn assemble(vocabulary: &Path, settings: &Settings) -> Result<tokenizers::Tokenizer, BoxError> {
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
        .filter(|it| inner.token_to_id(it).is_some())
        .map(|&it| AddedToken::from(it, true))
        .collect();
    inner.add_special_tokens(special)?;
    Ok(inner)
}
