//! Beginning-of-sequence tokens and prefix spaces: what a tokenizer puts where a text begins, which
//! must not be put where one continues another.

use forage_trajectory::{BoxError, TokenId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokenizers::tokenizer::PostProcessor;
use tokenizers::{Encoding, Token};

/// Beginning-of-sequence tokens: those that the post-processor of `tokenizer.json` puts before a
/// sequence.
pub(super) fn beginning(tokenizer: &tokenizers::Tokenizer) -> Result<Vec<TokenId>, BoxError> {
    let Some(processor) = tokenizer.get_post_processor() else { return Ok(Vec::new()) };
    let content = Token::new(0, "a".to_owned(), (0, 1));
    let finished = processor.process(Encoding::from_tokens(vec![content], 0), None, true)?;
    let added = finished.get_special_tokens_mask().iter().take_while(|it| **it == 1).count();
    Ok(finished.get_ids()[..added].to_vec())
}

/// Tokenizer with a prefix space, without this space.
#[derive(Debug, Clone)]
pub(super) struct WithoutPrefixSpace {
    /// Tokenizer that puts no space before a text.
    pub(super) tokenizer: tokenizers::Tokenizer,
    /// Whether it encodes what follows a control token as well. Most tokenizers put the space there
    /// too, as if a text began.
    pub(super) after_control: bool,
}

impl WithoutPrefixSpace {
    /// Removes the prefix space of a tokenizer; `None` where it has none.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer) -> Result<Option<Self>, BoxError> {
        let normalizer = without_space(tokenizer.get_normalizer())?;
        let pre_tokenizer = without_space(tokenizer.get_pre_tokenizer())?;
        if normalizer.is_none() && pre_tokenizer.is_none() {
            return Ok(None);
        }
        let (mut continuing, mut after_control) = (tokenizer.clone(), false);
        if let Some((normalizer, _)) = normalizer {
            continuing.with_normalizer(Some(normalizer))?;
        }
        if let Some((pre_tokenizer, first_only)) = pre_tokenizer {
            continuing.with_pre_tokenizer(Some(pre_tokenizer));
            after_control = first_only;
        }
        Ok(Some(Self { tokenizer: continuing, after_control }))
    }
}

/// Normalizer or pre-tokenizer without the prefix space, and whether that is for whole texts only;
/// `None` where it has none.
fn without_space<T: Serialize + DeserializeOwned>(
    part: Option<&T>,
) -> Result<Option<(T, bool)>, BoxError> {
    let mut json = serde_json::to_value(part)?;
    let Some(first_only) = take_space(&mut json) else { return Ok(None) };
    Ok(Some((serde_json::from_value(json)?, first_only)))
}

/// Removes the prefix space from a part in the form of `tokenizer.json`.
fn take_space(part: &mut Value) -> Option<bool> {
    match part["type"].as_str()? {
        "Prepend" => {
            *part = json!({"type": "Sequence", "normalizers": []});
            Some(false)
        }
        "Metaspace" if part["prepend_scheme"] != "never" => {
            let first_only = part["prepend_scheme"] == "first";
            part["prepend_scheme"] = "never".into();
            Some(first_only)
        }
        "ByteLevel" if part["add_prefix_space"] == true => {
            part["add_prefix_space"] = false.into();
            Some(false)
        }
        "Sequence" => {
            let list =
                ["normalizers", "pretokenizers"].into_iter().find(|key| part[*key].is_array());
            let parts = part[list?].as_array_mut()?;
            parts.iter_mut().fold(None, |found, part| take_space(part).or(found))
        }
        _ => None,
    }
}
