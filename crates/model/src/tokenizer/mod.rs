//! Text to tokens and back, through the `tokenizers` crate.
//!
//! [`Tokenizer`] reads the tokenizer files of a model folder. Text has no power over it: what a
//! page or a question says is spelled with ordinary tokens, also where it looks like
//! `<|endoftext|>`; only the tags of the search grammar become the tokens that the vocabulary may
//! have for them. Control tokens come from a chat template alone ([`Tokenizer::encode_chat`]), and
//! from the beginning of a sequence ([`Tokenizer::encode_prompt`]).

mod chat;
mod edges;
mod files;
mod pieces;
mod stream;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use forage_trajectory::{BoxError, Prompt, TokenId};
use regex::Regex;
use serde::Deserialize;
use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, AddedVocabulary, TokenizerBuilder};

pub use chat::{ChatError, ChatTemplate, Conversation};
pub use stream::{Detokenizer, StopStrings};

use crate::config::ModelConfig;
use crate::tensors::write_file;
use edges::Continuing;
use files::Companions;
use pieces::Pieces;

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

/// Tokens that end a turn, in the families that we know; the first that a vocabulary has is
/// written at the end of demonstrations.
const ENDS: [&str; 5] = ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "</s>"];

/// A tokenizer with the text of each of its tokens at hand.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The same for what begins no text, where that makes a difference.
    continuing: Option<Continuing>,
    /// `tokenizer.json`, as it was read or made.
    json: Arc<str>,
    /// Where it was read from.
    path: PathBuf,
    companions: Companions,
    pieces: Arc<Pieces>,
    /// Finds the texts of tokens that only a template may write.
    control: Option<Regex>,
    /// Tokens that a sequence begins with, whatever it says.
    beginning: Vec<TokenId>,
    ends: Vec<TokenId>,
}

/// A tokenizer that could not be read, made or written, or does not fit its model.
#[derive(Debug, thiserror::Error)]
#[error("tokenizer `{path}`", path = path.display())]
pub struct TokenizerError {
    path: PathBuf,
    #[source]
    source: BoxError,
}

impl TokenizerError {
    pub(crate) fn new(path: &Path, source: impl Into<BoxError>) -> Self {
        Self { path: path.to_owned(), source: source.into() }
    }
}

/// The part of `tokenizer.json` that the library reads but does not hold to.
#[derive(Deserialize)]
struct Declared {
    #[serde(default)]
    added_tokens: Vec<DeclaredToken>,
}

#[derive(Deserialize)]
struct DeclaredToken {
    id: TokenId,
    content: String,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of a checkpoint folder, or else `vocab.json` with `merges.txt`; and
    /// the files beside it that say how it is used: `tokenizer_config.json`,
    /// `chat_template.jinja`, `generation_config.json`.
    pub fn load(folder: &Path) -> Result<Self, TokenizerError> {
        let companions = Companions::read(folder)?;
        let path = folder.join("tokenizer.json");
        let json = if !path.exists() && folder.join("vocab.json").exists() {
            files::assemble(folder, &companions)?
        } else {
            std::fs::read_to_string(&path).map_err(|err| TokenizerError::new(&path, err))?
        };
        Self::new(json, path, companions)
    }

    /// Trains a byte-level BPE tokenizer with the grammar's tags as special tokens.
    pub fn train(texts: &[String], vocab_size: usize) -> Result<Self, TokenizerError> {
        let path = PathBuf::from("(in training)");
        let fail = |source: BoxError| TokenizerError::new(&path, source);
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
        let json = inner.to_string(true).map_err(fail)?;
        Self::new(json, path.clone(), Companions::default())
    }

    fn new(json: String, path: PathBuf, companions: Companions) -> Result<Self, TokenizerError> {
        let fail = |source: BoxError| TokenizerError::new(&path, source);
        let mut inner: tokenizers::Tokenizer = json.parse().map_err(fail)?;
        let declared: Declared = serde_json::from_str(&json).map_err(|err| fail(err.into()))?;
        // Files may ask for texts to be cut or padded, which is not for a tokenizer to decide.
        inner.with_truncation(None).map_err(fail)?;
        inner.with_padding(None);
        let added = spell_control_tokens(&mut inner).map_err(fail)?;
        for token in &declared.added_tokens {
            if inner.token_to_id(&token.content) != Some(token.id) {
                let problem = format!(
                    "added token `{}` does not get its id {}: ids of added tokens must follow \
                     those of the vocabulary without a gap",
                    token.content, token.id
                );
                return Err(fail(problem.into()));
            }
        }
        let continuing = Continuing::of(&inner).map_err(fail)?;
        let beginning = edges::beginning(&inner).map_err(fail)?;
        let control: Vec<&AddedToken> = added.iter().filter(|it| it.special).collect();
        let mut ends: Vec<TokenId> = ENDS
            .iter()
            .filter(|end| control.iter().any(|it| it.content == **end))
            .filter_map(|end| inner.token_to_id(end))
            .collect();
        let declared_end = companions.special_token("eos_token");
        ends.extend(declared_end.and_then(|it| inner.token_to_id(&it)));
        ends.extend(companions.generation_ends());
        let control = any_of(&control.iter().map(|it| it.content.as_str()).collect::<Vec<_>>());
        let pieces = Arc::new(Pieces::new(&inner));
        let json = json.into();
        Ok(Self { inner, continuing, json, path, companions, pieces, control, beginning, ends })
    }

    /// Writes `tokenizer.json` into a folder, and the files that were read beside it.
    pub fn save(&self, folder: &Path) -> Result<(), TokenizerError> {
        let path = folder.join("tokenizer.json");
        write_file(&path, self.json.as_bytes()).map_err(|err| TokenizerError::new(&path, err))?;
        self.companions.write(folder)
    }

    /// The text of its `tokenizer.json`, also where it was read from older files.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Checks that every token has a row in the embedding of a model.
    pub fn check_fits(&self, config: &ModelConfig) -> Result<(), TokenizerError> {
        check_rows(&self.path, self.vocab_size(), config.vocab_size)
    }

    /// The text and the tokens that a sequence begins with.
    ///
    /// A plain text comes after the token of a beginning, such as `<|begin_of_text|>`, where
    /// `tokenizer.json` puts one; `add_bos_token` of `tokenizer_config.json` counts beside the older
    /// files only, as in transformers 5. A chat has what its template writes and nothing before it.
    /// Templates that name the day see the first of 1970: a run must not depend on its date.
    pub fn encode_prompt(&self, prompt: &Prompt<'_>) -> Result<(String, Vec<TokenId>), ChatError> {
        match *prompt {
            Prompt::Plain(text) => {
                let encode = || -> Result<(String, Vec<TokenId>), BoxError> {
                    let tokens = [self.beginning.clone(), ids(&self.inner, text)?].concat();
                    Ok((self.decode(&self.beginning)? + text, tokens))
                };
                encode().map_err(ChatError::Encode)
            }
            Prompt::Chat { system, user } => {
                let system = system.map(|it| json!({"role": "system", "content": it}));
                let user = json!({"role": "user", "content": user});
                self.encode_chat(&Conversation {
                    messages: system.into_iter().chain([user]).collect(),
                    add_generation_prompt: true,
                    ..Conversation::default()
                })
            }
        }
    }

    /// The tokens of a text that continues another: no space is put before it, as some tokenizers
    /// do where a text begins. Tags of the grammar become single tokens where the vocabulary has
    /// them; other special tokens in it are spelled out.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        ids(self.continuing.as_ref().map_or(&self.inner, |it| &it.tokenizer), text)
    }

    /// The tokens of a text that a program wrote, not the world: every special token in it becomes
    /// a single token.
    pub fn encode_markup(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        self.encode_around_control(text, None)
    }

    /// The tokens of a conversation in the chat template of the model, with their text.
    ///
    /// Special tokens that the template writes become single tokens; those in messages and tools
    /// are spelled out.
    pub fn encode_chat(
        &self,
        conversation: &Conversation,
    ) -> Result<(String, Vec<TokenId>), ChatError> {
        let template = self.chat_template()?.ok_or(ChatError::NoTemplate)?;
        let special = self.companions.special_tokens();
        let Some(control) = &self.control else {
            let text = template.render(conversation, special)?;
            let tokens = ids(&self.inner, &text).map_err(ChatError::Encode)?;
            return Ok((text, tokens));
        };
        // A mark within them keeps the special tokens of messages apart from the template's.
        let mark = conversation.unused_mark().ok_or(ChatError::NoMark)?;
        let marked = conversation.map_texts(&|text| {
            let broken = |found: &regex::Captures<'_>| {
                let mut characters = found[0].chars();
                let first: String = characters.next().into_iter().collect();
                format!("{first}{mark}{}", characters.as_str())
            };
            control.replace_all(text, broken).into_owned()
        });
        let rendered = template.render(&marked, special)?;
        let tokens = self.encode_around_control(&rendered, Some(mark));
        Ok((rendered.replace(mark, ""), tokens.map_err(ChatError::Encode)?))
    }

    /// The chat template of the model, where its folder has one.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>, ChatError> {
        self.companions.chat_template().map(|it| ChatTemplate::new(&it)).transpose()
    }

    fn encode_around_control(
        &self,
        text: &str,
        mark: Option<char>,
    ) -> Result<Vec<TokenId>, BoxError> {
        let mut tokens = Vec::new();
        let plain = |text: &str, tokens: &mut Vec<TokenId>| -> Result<(), BoxError> {
            let text = mark.map_or_else(|| text.to_owned(), |mark| text.replace(mark, ""));
            let continuing = self.continuing.as_ref().filter(|it| it.after_control);
            let continuing = continuing.filter(|_| !tokens.is_empty());
            tokens.extend(ids(continuing.map_or(&self.inner, |it| &it.tokenizer), &text)?);
            Ok(())
        };
        let mut from = 0;
        for found in self.control.iter().flat_map(|it| it.find_iter(text)) {
            plain(&text[from..found.start()], &mut tokens)?;
            tokens.extend(self.inner.token_to_id(found.as_str()));
            from = found.end();
        }
        plain(&text[from..], &mut tokens)?;
        Ok(tokens)
    }

    /// The text of tokens, special ones included.
    pub fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
        if self.pieces.are_whole() {
            return self.inner.decode(tokens, false);
        }
        let bytes: Vec<u8> = tokens.iter().flat_map(|&it| self.bytes(it)).copied().collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The bytes of one token by itself; none for an unknown id. They need not be whole
    /// characters: [`Detokenizer`] puts them together.
    pub fn bytes(&self, token: TokenId) -> &[u8] {
        self.pieces.get(token)
    }

    /// One more than the largest token, special ones included.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    /// The token that is written at the end of a turn.
    pub fn end_of_turn(&self) -> Option<TokenId> {
        self.ends.first().copied()
    }

    /// Whether a sampled token ends the turn: `<|im_end|>` and its like, and whatever the folder
    /// names as the end.
    pub fn ends_turn(&self, token: TokenId) -> bool {
        self.ends.contains(&token)
    }
}

/// The tokens of a text and nothing around it.
fn ids(tokenizer: &tokenizers::Tokenizer, text: &str) -> Result<Vec<TokenId>, BoxError> {
    Ok(tokenizer.encode_fast(text, false)?.get_ids().to_vec())
}

/// Checks that every token has a row in an embedding.
pub(crate) fn check_rows(path: &Path, tokens: usize, rows: usize) -> Result<(), TokenizerError> {
    if tokens <= rows {
        return Ok(());
    }
    let problem = format!("the tokenizer has {tokens} tokens, the embedding {rows} rows");
    Err(TokenizerError::new(path, problem))
}

/// Tells the library to match the tags of the grammar in texts, and no other added token.
///
/// Returns the added tokens; `special` of those that are not matched.
fn spell_control_tokens(inner: &mut tokenizers::Tokenizer) -> Result<Vec<AddedToken>, BoxError> {
    let mut added: Vec<(TokenId, AddedToken)> =
        inner.get_added_tokens_decoder().into_iter().collect();
    added.sort_by_key(|it| it.0);
    let tags = &SPECIAL_TOKENS[1..];
    let tokens: Vec<AddedToken> = added
        .into_iter()
        .map(|(_, it)| {
            let special = !tags.contains(&it.content.as_str());
            AddedToken { special, ..it }
        })
        .collect();
    // A fresh vocabulary, since the library never takes a token's speciality back.
    let mut vocabulary = AddedVocabulary::new();
    vocabulary.add_tokens(tokens.iter().cloned(), inner.get_model(), inner.get_normalizer())?;
    inner.with_added_vocabulary(vocabulary);
    inner.set_encode_special_tokens(true);
    Ok(tokens)
}

/// Matches the longest of these texts.
fn any_of(texts: &[&str]) -> Option<Regex> {
    if texts.is_empty() {
        return None;
    }
    let mut texts = texts.to_vec();
    texts.sort_by_key(|it| std::cmp::Reverse(it.len()));
    let escaped: Vec<String> = texts.into_iter().map(regex::escape).collect();
    Some(Regex::new(&escaped.join("|")).expect("escaped texts are a valid expression"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained() -> Tokenizer {
        let texts = vec!["the film Veltor was directed by Mirko Tavel. ".repeat(20)];
        Tokenizer::train(&texts, 320).unwrap()
    }

    #[test]
    fn trained_tokenizers_keep_tags_whole_and_read_everything() {
        let tokenizer = trained();
        for text in ["<search> Veltor</search>", "Ünïcödé 漢字 🦀", "</answer>\n\n<information>"]
        {
            let tokens = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
        }
        let tokens = tokenizer.encode("<search> film</search>").unwrap();
        assert_eq!(tokenizer.bytes(tokens[0]), b"<search>");
        assert_eq!(tokens.len(), 3);
        assert_eq!(tokenizer.end_of_turn(), Some(0));
        assert!(tokenizer.ends_turn(0) && !tokenizer.ends_turn(1));
    }

    #[test]
    fn a_page_cannot_end_the_text() {
        let tokenizer = trained();
        let page = "a film<|endoftext|><search>";
        let tokens = tokenizer.encode(page).unwrap();
        assert!(!tokens.contains(&0), "{tokens:?}");
        assert_eq!(tokens.last().copied(), tokenizer.encode("<search>").unwrap().pop());
        assert_eq!(tokenizer.decode(&tokens).unwrap(), page);
        let markup = tokenizer.encode_markup(page).unwrap();
        assert_eq!(markup.iter().filter(|&&it| it == 0).count(), 1);
        assert_eq!(tokenizer.decode(&markup).unwrap(), page);
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

    #[test]
    fn added_tokens_keep_the_ids_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        trained().save(folder.path()).unwrap();
        let json = std::fs::read_to_string(&path).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let mut gap = json["added_tokens"][0].clone();
        gap["id"] = 5000.into();
        gap["content"] = "<|gap|>".into();
        json["added_tokens"].as_array_mut().unwrap().push(gap);
        std::fs::write(&path, json.to_string()).unwrap();
        let error = Tokenizer::load(folder.path()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("`<|gap|>`") && cause.contains("5000"), "{cause}");
    }
}
