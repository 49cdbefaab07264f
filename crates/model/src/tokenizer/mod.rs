//! Tokenizer: text to tokens and back, through the `tokenizers` crate.
//!
//! [`Tokenizer`] reads the tokenizer files of a model folder. Text cannot inject control tokens:
//! what a page or a question says is encoded as ordinary tokens, also where it looks like
//! `<|endoftext|>`. Only the tags that the caller names become the tokens that the vocabulary may
//! have for them. Control tokens come from a chat template alone ([`Tokenizer::encode_chat`]), and
//! from the beginning of a sequence ([`Tokenizer::encode_prompt`]). What the tags mean, it does not
//! know.

mod chat;
mod detokenizer;
mod files;
mod prefix_space;
mod token_bytes;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use forage_trajectory::protocol::PromptThought;
use forage_trajectory::{BoxError, END_OF_MESSAGE, END_OF_TURN, Prompt, TokenId};
use regex::Regex;
use serde::Deserialize;
use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, AddedVocabulary, TokenizerBuilder};

pub use chat::{ChatError, ChatTemplate, Conversation};
pub use detokenizer::{Detokenizer, StopStrings};

use crate::config::ModelConfig;
use crate::text_file::parse_json;
use files::ConfigFiles;
use prefix_space::WithoutPrefixSpace;
use token_bytes::TokenBytes;

/// First special token of tokenizers that are trained here; it ends a text, and a turn.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Tokenizer of a model, with its chat template and the bytes of each of its tokens.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The same without a prefix space, for text that continues another.
    continuing: Option<WithoutPrefixSpace>,
    /// Text of `tokenizer.json`, as it was read or made.
    json: Arc<str>,
    /// Path that errors name.
    path: PathBuf,
    files: ConfigFiles,
    token_bytes: Arc<TokenBytes>,
    /// Pattern of the control tokens, which only a template may write.
    control: Option<Regex>,
    /// Beginning-of-sequence tokens (BOS).
    beginning: Vec<TokenId>,
    end_of_turn: Vec<TokenId>,
}

/// Tokenizer that could not be read, trained or written, or does not fit its model.
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

/// Part of `tokenizer.json` that the library reads but does not hold to.
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
    /// Loads the tokenizer of a checkpoint folder: `tokenizer.json`, or else `vocab.json` with
    /// `merges.txt`; and the files beside it that say how it is used: `tokenizer_config.json`,
    /// `chat_template.jinja`, `generation_config.json`.
    ///
    /// `tags` are the added tokens that text may contain: [`Tokenizer::encode`] makes single tokens
    /// of them, where the vocabulary has them, and of no other added token.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`] names the file.
    pub fn load(folder: &Path, tags: &[&str]) -> Result<Self, TokenizerError> {
        let files = ConfigFiles::read(folder)?;
        let path = folder.join("tokenizer.json");
        let json = if !path.exists() && folder.join("vocab.json").exists() {
            files::convert_slow_tokenizer(folder, &files)?
        } else {
            files::read(&path)?
        };
        Self::new(json, path, files, tags)
    }

    /// Trains a byte-level BPE tokenizer. Its special tokens are [`END_OF_TEXT`] and then `tags`,
    /// which text may contain, as in [`Tokenizer::load`].
    pub fn train(
        texts: &[String],
        vocab_size: usize,
        tags: &[&str],
    ) -> Result<Self, TokenizerError> {
        let path = PathBuf::from("(in training)");
        let fail = |source: BoxError| TokenizerError::new(&path, source);
        let special = [END_OF_TEXT].iter().chain(tags);
        let special: Vec<AddedToken> = special.map(|&tag| AddedToken::from(tag, true)).collect();
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
        Self::new(json, path.clone(), ConfigFiles::default(), tags)
    }

    fn new(
        json: String,
        path: PathBuf,
        files: ConfigFiles,
        tags: &[&str],
    ) -> Result<Self, TokenizerError> {
        let fail = |source: BoxError| TokenizerError::new(&path, source);
        let mut inner: tokenizers::Tokenizer = json.parse().map_err(fail)?;
        let declared: Declared = parse_json(&json).map_err(|err| fail(err.into()))?;
        // Files may ask for texts to be cut or padded, which is not for a tokenizer to decide.
        inner.with_truncation(None).map_err(fail)?;
        inner.with_padding(None);
        let added = match_only(&mut inner, tags).map_err(fail)?;
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
        let continuing = WithoutPrefixSpace::of(&inner).map_err(fail)?;
        let beginning = prefix_space::beginning(&inner).map_err(fail)?;
        let control: Vec<&AddedToken> = added.iter().filter(|it| it.special).collect();
        let end_of_turn = end_of_turn(&inner, &control, &files);
        let control =
            any_of(&control.iter().map(|token| token.content.as_str()).collect::<Vec<_>>());
        let token_bytes = Arc::new(TokenBytes::new(&inner));
        let json = json.into();
        Ok(Self {
            inner,
            continuing,
            json,
            path,
            files,
            token_bytes,
            control,
            beginning,
            end_of_turn,
        })
    }

    /// Saves `tokenizer.json` into a folder, and the files that were read beside it, each whole or
    /// not at all.
    pub fn save(&self, folder: &Path) -> Result<(), TokenizerError> {
        let path = folder.join("tokenizer.json");
        forage_fs::write_file(&path, self.json.as_bytes())
            .map_err(|err| TokenizerError::new(&path, err))?;
        self.files.write(folder)
    }

    /// Text of its `tokenizer.json`, also where it was loaded from older files.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Checks that every token has a row in the embedding of a model.
    pub fn check_fits(&self, config: &ModelConfig) -> Result<(), TokenizerError> {
        check_rows(&self.path, self.vocab_size(), config.vocab_size)
    }

    /// Encodes a prompt: the text and the tokens that a sequence begins with.
    ///
    /// A plain text comes after a beginning-of-sequence token, such as `<|begin_of_text|>`, where
    /// `tokenizer.json` puts one; `add_bos_token` of `tokenizer_config.json` counts beside the
    /// older files only, as in transformers 5. A chat is the output of its template and nothing
    /// before it. Templates that ask for the date get 1970-01-01: a run must not depend on its
    /// date.
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

    /// Encodes a text that continues another: no prefix space is put before it, as some tokenizers
    /// do where a text begins. Tags become single tokens where the vocabulary has them; other added
    /// tokens in it are encoded as ordinary text.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        ids(self.continuing.as_ref().map_or(&self.inner, |it| &it.tokenizer), text)
    }

    /// Encodes a conversation in the chat template of the model: the text and its tokens.
    ///
    /// Control tokens that the template writes become single tokens; those in messages and tools
    /// are encoded as ordinary text.
    pub fn encode_chat(
        &self,
        conversation: &Conversation,
    ) -> Result<(String, Vec<TokenId>), ChatError> {
        let template = self.chat_template()?.ok_or(ChatError::NoTemplate)?;
        let special = self.files.special_tokens();
        let Some(control) = &self.control else {
            let text = template.render(conversation, special)?;
            let tokens = ids(&self.inner, &text).map_err(ChatError::Encode)?;
            return Ok((text, tokens));
        };
        // A mark within them keeps the control tokens of messages apart from the template's.
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
        let tokens = self.encode_around_control(&rendered, mark);
        Ok((rendered.replace(mark, ""), tokens.map_err(ChatError::Encode)?))
    }

    /// Chat template of the model, where its folder has one.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>, ChatError> {
        self.files.chat_template()?.map(|it| ChatTemplate::new(&it)).transpose()
    }

    /// Thought of the generation prompt of the chat template; `None` where there is no template:
    /// see [`ChatTemplate::thought`].
    pub fn chat_thought(&self) -> Result<Option<PromptThought>, ChatError> {
        let template = self.chat_template()?;
        template.map(|template| template.thought(self.files.special_tokens())).transpose()
    }

    /// Encodes a text whose control tokens become single tokens, except where a mark, which is left
    /// out, stands in them.
    fn encode_around_control(&self, text: &str, mark: char) -> Result<Vec<TokenId>, BoxError> {
        let mut tokens = Vec::new();
        let plain = |text: &str, tokens: &mut Vec<TokenId>| -> Result<(), BoxError> {
            let text = text.replace(mark, "");
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

    /// Decodes tokens to text, special ones included.
    pub fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
        if self.token_bytes.are_whole() {
            return self.inner.decode(tokens, false);
        }
        let bytes: Vec<u8> = tokens.iter().flat_map(|&it| self.bytes(it)).copied().collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Bytes of one token by itself; none for an unknown id. They need not be whole characters:
    /// [`Detokenizer`] puts them together.
    pub fn bytes(&self, token: TokenId) -> &[u8] {
        self.token_bytes.get(token)
    }

    /// Vocabulary size: one more than the largest token, special ones included.
    pub fn vocab_size(&self) -> usize {
        self.token_bytes.len()
    }

    /// Whether a sampled token ends the turn: the end-of-turn token of a model family, such as
    /// `<|im_end|>`, or an `eos_token` of the folder.
    pub fn ends_turn(&self, token: TokenId) -> bool {
        self.end_of_turn.contains(&token)
    }

    /// Tokens that end a turn, in order: those that [`Tokenizer::ends_turn`] tells.
    pub fn end_of_turn(&self) -> &[TokenId] {
        &self.end_of_turn
    }
}

/// End-of-turn tokens: those of the published families among the added tokens, and those that the
/// files of the folder name.
fn end_of_turn(
    inner: &tokenizers::Tokenizer,
    control: &[&AddedToken],
    files: &ConfigFiles,
) -> Vec<TokenId> {
    let is_control = |text: &str| control.iter().any(|token| token.content == text);
    let (message, turn) = END_OF_MESSAGE;
    let is_end = |end: &&&str| is_control(end) && !(**end == message && is_control(turn));
    let mut ends: Vec<TokenId> =
        END_OF_TURN.iter().filter(is_end).filter_map(|end| inner.token_to_id(end)).collect();
    let declared = files.special_token("eos_token");
    ends.extend(declared.and_then(|it| inner.token_to_id(&it)));
    ends.extend(files.generation_ends());
    let of_model = files.model_ends().iter().copied();
    ends.extend(of_model.filter(|id| inner.id_to_token(*id).is_some_and(|text| is_control(&text))));
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// Tokens of a text and nothing around it.
fn ids(tokenizer: &tokenizers::Tokenizer, text: &str) -> Result<Vec<TokenId>, BoxError> {
    Ok(tokenizer.encode_fast(text, false)?.get_ids().to_vec())
}

/// Checks that every token has a row in an embedding.
pub(crate) fn check_rows(path: &Path, tokens: usize, rows: usize) -> Result<(), TokenizerError> {
    if tokens <= rows {
        return Ok(());
    }
    let problem = format!(
        "the tokenizer has {tokens} tokens, the embedding {rows} rows: they belong to two models, \
         or tokens were added without resizing the embedding"
    );
    Err(TokenizerError::new(path, problem))
}

/// Lets the library match these tags in texts, and no other added token.
///
/// Returns the added tokens, where `special` stands for those that are not matched.
fn match_only(
    inner: &mut tokenizers::Tokenizer,
    tags: &[&str],
) -> Result<Vec<AddedToken>, BoxError> {
    let mut added: Vec<(TokenId, AddedToken)> =
        inner.get_added_tokens_decoder().into_iter().collect();
    added.sort_by_key(|it| it.0);
    let tokens: Vec<AddedToken> = added
        .into_iter()
        .map(|(_, token)| {
            let special = !tags.contains(&token.content.as_str());
            AddedToken { special, ..token }
        })
        .collect();
    // A fresh vocabulary, since the library never takes a token's speciality back.
    let mut vocabulary = AddedVocabulary::new();
    vocabulary.add_tokens(tokens.iter().cloned(), inner.get_model(), inner.get_normalizer())?;
    inner.with_added_vocabulary(vocabulary);
    inner.set_encode_special_tokens(true);
    Ok(tokens)
}

/// Pattern that matches any of some texts, the longest first.
fn any_of(texts: &[&str]) -> Option<Regex> {
    if texts.is_empty() {
        return None;
    }
    let mut texts = texts.to_vec();
    texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    let escaped: Vec<String> = texts.into_iter().map(regex::escape).collect();
    Some(Regex::new(&escaped.join("|")).expect("escaped texts are a valid expression"))
}

#[cfg(test)]
mod tests {
    use forage_trajectory::protocol::TAGS;

    use super::*;

    fn trained() -> Tokenizer {
        let texts = vec!["the film Veltor was directed by Mirko Tavel. ".repeat(20)];
        Tokenizer::train(&texts, 320, &TAGS).unwrap()
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
        assert_eq!(tokenizer.bytes(0), END_OF_TEXT.as_bytes());
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
    }

    #[test]
    fn a_saved_tokenizer_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = Tokenizer::train(&["a b c ab abc".to_owned()], 300, &TAGS).unwrap();
        tokenizer.save(folder.path()).unwrap();
        let back = Tokenizer::load(folder.path(), &TAGS).unwrap();
        let text = "<think> abc cab";
        assert_eq!(back.encode(text).unwrap(), tokenizer.encode(text).unwrap());
        let missing = Tokenizer::load(&folder.path().join("none"), &TAGS).unwrap_err();
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
        let error = Tokenizer::load(folder.path(), &TAGS).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("`<|gap|>`") && cause.contains("5000"), "{cause}");
    }

    /// A folder of the trained tokenizer with more added tokens, and the id of the first of them.
    fn with_added(texts: &[&str]) -> (tempfile::TempDir, TokenId) {
        let folder = tempfile::tempdir().unwrap();
        trained().save(folder.path()).unwrap();
        let path = folder.path().join("tokenizer.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let first = trained().vocab_size();
        for (at, text) in texts.iter().enumerate() {
            let mut token = json["added_tokens"][0].clone();
            token["id"] = (first + at).into();
            token["content"] = (*text).into();
            json["added_tokens"].as_array_mut().unwrap().push(token);
        }
        std::fs::write(&path, json.to_string()).unwrap();
        (folder, first as TokenId)
    }

    #[test]
    fn every_family_ends_its_turns() {
        for end in END_OF_TURN.into_iter().filter(|it| *it != END_OF_TEXT) {
            let (folder, id) = with_added(&["<|other|>", end]);
            let tokenizer = Tokenizer::load(folder.path(), &TAGS).unwrap();
            assert_eq!(tokenizer.end_of_turn(), [0, id + 1], "{end}");
            assert!(tokenizer.ends_turn(id + 1) && !tokenizer.ends_turn(id), "{end}");
        }
        // In harmony it ends a message.
        let (folder, id) = with_added(&["<|end|>", "<|return|>"]);
        let tokenizer = Tokenizer::load(folder.path(), &TAGS).unwrap();
        assert_eq!(tokenizer.end_of_turn(), [0, id + 1]);
    }

    #[test]
    fn the_files_of_a_folder_name_ends_of_turns() {
        let (config, special) = ("tokenizer_config.json", "special_tokens_map.json");
        let (generation, model) = ("generation_config.json", "config.json");
        let (_, id) = with_added(&[]);
        for (file, keys, ends) in [
            (config, json!({"eos_token": "<|a|>"}), vec![0, id]),
            (config, json!({"eos_token": {"content": "<|b|>", "special": true}}), vec![0, id + 1]),
            (config, json!({"eos_token": null}), vec![0]),
            (special, json!({"eos_token": {"content": "<|a|>"}}), vec![0, id]),
            (generation, json!({"eos_token_id": id + 1}), vec![0, id + 1]),
            (generation, json!({"eos_token_id": [id, id + 1, 0]}), vec![0, id, id + 1]),
            (generation, json!({"eos_token_id": null}), vec![0]),
            (model, json!({"eos_token_id": [id + 1]}), vec![0, id + 1]),
            // The default of a class, which is no end in this vocabulary.
            (model, json!({"eos_token_id": 2}), vec![0]),
        ] {
            let (folder, _) = with_added(&["<|a|>", "<|b|>"]);
            std::fs::write(folder.path().join(file), format!("\u{FEFF}{keys}")).unwrap();
            let tokenizer = Tokenizer::load(folder.path(), &TAGS).unwrap();
            assert_eq!(tokenizer.end_of_turn(), ends, "{file}: {keys}");
        }
    }

    #[test]
    fn a_template_is_read_from_where_it_stands() {
        let config = "tokenizer_config.json";
        let rag = json!({"name": "rag", "template": "b"});
        for (file, text, expected) in [
            ("chat_template.jinja", "a".to_owned(), Ok("a")),
            ("chat_template.json", json!({"chat_template": "a"}).to_string(), Ok("a")),
            (config, json!({"chat_template": "a"}).to_string(), Ok("a")),
            (
                config,
                json!({"chat_template": [rag, {"name": "default", "template": "a"}]}).to_string(),
                Ok("a"),
            ),
            (config, json!({"chat_template": {"rag": "b", "default": "a"}}).to_string(), Ok("a")),
            (config, json!({"chat_template": [rag]}).to_string(), Err("names `rag` and none")),
            (config, json!({"chat_template": 3}).to_string(), Err("names no template and none")),
            (config, json!({"chat_template": null}).to_string(), Err("has no chat template")),
        ] {
            let (folder, _) = with_added(&[]);
            std::fs::write(folder.path().join(file), &text).unwrap();
            let tokenizer = Tokenizer::load(folder.path(), &TAGS).unwrap();
            let saved = tempfile::tempdir().unwrap();
            tokenizer.save(saved.path()).unwrap();
            for tokenizer in [tokenizer, Tokenizer::load(saved.path(), &TAGS).unwrap()] {
                let found = tokenizer.encode_prompt(&Prompt::Chat { system: None, user: "?" });
                match expected {
                    Ok(expected) => assert_eq!(found.unwrap().0, expected, "{file}: {text}"),
                    Err(expected) => {
                        let error = found.unwrap_err().to_string();
                        assert!(error.contains(expected), "{file}: {text}: {error}");
                    }
                }
            }
        }
    }
}
