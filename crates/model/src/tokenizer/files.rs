//! Configuration files of a tokenizer beside `tokenizer.json`, and the conversion of slow
//! tokenizers, whose vocabulary stands in `vocab.json` and `merges.txt`.

use std::collections::BTreeMap;
use std::path::Path;

use forage_trajectory::TokenId;
use serde_json::{Map, Value, json};

use super::{ChatError, TokenizerError};
use crate::text_file::{parse_json, read_text};

/// Names of the files that say how a tokenizer is used. They are kept as they are, and saved with
/// it.
const NAMES: [&str; 5] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
];

/// Configuration files that were found beside the tokenizer.
#[derive(Debug, Clone, Default)]
pub(super) struct ConfigFiles {
    /// Texts by name.
    texts: BTreeMap<&'static str, String>,
    /// Keys of `tokenizer_config.json`.
    config: Map<String, Value>,
    /// Keys of `special_tokens_map.json`, which older folders have instead.
    special: Map<String, Value>,
    /// Keys of `chat_template.json`, in which processors keep a template.
    processor: Map<String, Value>,
    /// Keys of `generation_config.json`.
    generation: Map<String, Value>,
    /// End-of-sequence tokens of `config.json`.
    model_ends: Vec<TokenId>,
}

impl ConfigFiles {
    /// Reads the files of a folder that are there.
    pub(super) fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let mut found = Self::default();
        for name in NAMES {
            let path = folder.join(name);
            if path.exists() {
                found.texts.insert(name, read(&path)?);
            }
        }
        let object = |name: &str| -> Result<Map<String, Value>, TokenizerError> {
            let text = found.texts.get(name).map_or("{}", String::as_str);
            parse_json(text).map_err(|err| TokenizerError::new(&folder.join(name), err))
        };
        let config = object("tokenizer_config.json")?;
        let special = object("special_tokens_map.json")?;
        let processor = object("chat_template.json")?;
        let generation = object("generation_config.json")?;
        // The model reads the file, and says what is wrong with it.
        let model = read_text(&folder.join("config.json")).unwrap_or_default();
        let model: Map<String, Value> = parse_json(&model).unwrap_or_default();
        let model_ends = token_ids(model.get("eos_token_id"));
        Ok(Self { config, special, processor, generation, model_ends, ..found })
    }

    /// Writes the files as they were read.
    pub(super) fn write(&self, folder: &Path) -> Result<(), TokenizerError> {
        for (name, text) in &self.texts {
            let path = folder.join(name);
            forage_fs::write_file(&path, text.as_bytes())
                .map_err(|err| TokenizerError::new(&path, err))?;
        }
        Ok(())
    }

    /// Text of a token that has a role, such as `eos_token`.
    pub(super) fn special_token(&self, role: &str) -> Option<String> {
        let text = |value: &Value| -> Option<String> {
            value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
        };
        [&self.config, &self.special].into_iter().find_map(|keys| text(keys.get(role)?))
    }

    /// Texts of all tokens that have roles, by role, as templates name them.
    pub(super) fn special_tokens(&self) -> Map<String, Value> {
        let roles = ["bos_token", "eos_token", "pad_token", "unk_token"];
        roles
            .iter()
            .filter_map(|role| Some(((*role).to_owned(), self.special_token(role)?.into())))
            .collect()
    }

    /// Tokens that end a generation: `eos_token_id` of `generation_config.json`, a number or a list
    /// of them.
    pub(super) fn generation_ends(&self) -> Vec<TokenId> {
        token_ids(self.generation.get("eos_token_id"))
    }

    /// `eos_token_id` of `config.json`, which is often the default of its class.
    pub(super) fn model_ends(&self) -> &[TokenId] {
        &self.model_ends
    }

    /// Chat template: a file of its own, or a key of `tokenizer_config.json`, which may hold
    /// several by name, or of `chat_template.json`.
    ///
    /// # Errors
    ///
    /// Several templates of which none is named `default`, and a key that holds no template.
    pub(super) fn chat_template(&self) -> Result<Option<String>, ChatError> {
        if let Some(text) = self.texts.get("chat_template.jinja") {
            return Ok(Some(text.clone()));
        }
        let keys = [&self.config, &self.processor].map(|keys| keys.get("chat_template"));
        match keys.into_iter().flatten().find(|value| !value.is_null()) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Array(several)) => {
                let named = several.iter().filter_map(|template| {
                    let name = template.get("name")?.as_str()?;
                    Some((name, template.get("template")?.as_str()?))
                });
                default_template(named).map(Some)
            }
            Some(Value::Object(several)) => {
                let named =
                    several.iter().filter_map(|(name, text)| Some((name.as_str(), text.as_str()?)));
                default_template(named).map(Some)
            }
            Some(_) => default_template(std::iter::empty()).map(Some),
        }
    }
}

/// Template named `default`.
fn default_template<'a>(
    named: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<String, ChatError> {
    let named: Vec<(&str, &str)> = named.collect();
    let default =
        named.iter().find(|(name, _)| *name == "default").map(|(_, text)| (*text).to_owned());
    default.ok_or_else(|| {
        let quoted: Vec<String> = named.iter().map(|(name, _)| format!("`{name}`")).collect();
        ChatError::NoDefault(quoted.join(", "))
    })
}

/// Token ids of a key that holds one or a list of them.
fn token_ids(value: Option<&Value>) -> Vec<TokenId> {
    let id = |value: &Value| TokenId::try_from(value.as_u64()?).ok();
    match value {
        Some(Value::Array(several)) => several.iter().filter_map(id).collect(),
        Some(one) => id(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Converts a slow tokenizer: makes the text of a `tokenizer.json` from `vocab.json`, `merges.txt`
/// and `tokenizer_config.json`.
///
/// How a text is cut before the merges stands in none of these files: it goes with the class.
pub(super) fn convert_slow_tokenizer(
    folder: &Path,
    files: &ConfigFiles,
) -> Result<String, TokenizerError> {
    let (normalizer, pre_tokenizer) = pre_tokenizer(folder, files)?;
    let path = folder.join("vocab.json");
    let vocabulary: Value =
        parse_json(&read(&path)?).map_err(|err| TokenizerError::new(&path, err))?;
    let path = folder.join("merges.txt");
    let merges = read(&path)?
        .lines()
        .filter(|line| !line.starts_with("#version") && !line.is_empty())
        .map(|line| line.split_once(' ').map(|(left, right)| json!([left, right])))
        .collect::<Option<Vec<Value>>>()
        .ok_or_else(|| TokenizerError::new(&path, "a line holds no pair"))?;
    let added = added_tokens(folder, files)?;
    let post_processor = post_processor(folder, files, &vocabulary, &added)?;
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": byte_level(false, false),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocabulary,
            "merges": merges,
        },
    });
    Ok(tokenizer.to_string())
}

/// Normalizer and pre-tokenizer of a tokenizer class.
fn pre_tokenizer(folder: &Path, files: &ConfigFiles) -> Result<(Value, Value), TokenizerError> {
    let class = files.config.get("tokenizer_class").and_then(Value::as_str).unwrap_or("");
    match class.trim_end_matches("Fast") {
        "Qwen2Tokenizer" => Ok((json!({"type": "NFC"}), qwen2_pre_tokenizer())),
        "GPT2Tokenizer" => {
            let space = files.config.get("add_prefix_space") == Some(&Value::Bool(true));
            Ok((Value::Null, byte_level(space, true)))
        }
        other => {
            let problem = format!(
                "`vocab.json` and `merges.txt` are read for `Qwen2Tokenizer` and `GPT2Tokenizer`, \
                 but `tokenizer_class` is `{other}`; save it as `tokenizer.json` with transformers"
            );
            Err(TokenizerError::new(&folder.join("tokenizer_config.json"), problem))
        }
    }
}

/// Post-processor, which puts a beginning-of-sequence token where `add_bos_token` asks for it.
fn post_processor(
    folder: &Path,
    files: &ConfigFiles,
    vocabulary: &Value,
    added: &[Value],
) -> Result<Value, TokenizerError> {
    let is_added = files.config.get("add_bos_token") == Some(&Value::Bool(true));
    let Some(token) = files.special_token("bos_token").filter(|_| is_added) else {
        return Ok(byte_level(false, false));
    };
    let listed = added.iter().find(|it| it["content"] == token).map(|it| &it["id"]);
    let id = listed.or_else(|| vocabulary.get(&token)).ok_or_else(|| {
        let problem = format!("`bos_token` is `{token}`, which is no token");
        TokenizerError::new(&folder.join("tokenizer_config.json"), problem)
    })?;
    Ok(begun_with(&token, id))
}

/// Added tokens by id: from `tokenizer_config.json`, or else from `added_tokens.json`, where
/// nothing says whether they are special, and all are taken to be.
fn added_tokens(folder: &Path, files: &ConfigFiles) -> Result<Vec<Value>, TokenizerError> {
    let mut tokens: Vec<(TokenId, Value)> = Vec::new();
    if let Some(Value::Object(listed)) = files.config.get("added_tokens_decoder") {
        let path = folder.join("tokenizer_config.json");
        for (id, token) in listed {
            let id = id.parse().map_err(|err| TokenizerError::new(&path, err))?;
            let mut token = token.clone();
            token["id"] = json!(id);
            tokens.push((id, token));
        }
    } else {
        let path = folder.join("added_tokens.json");
        if path.exists() {
            let listed: BTreeMap<String, TokenId> =
                parse_json(&read(&path)?).map_err(|err| TokenizerError::new(&path, err))?;
            tokens.extend(listed.into_iter().map(|(content, id)| {
                let token = json!({
                    "id": id, "content": content, "special": true, "normalized": false,
                    "single_word": false, "lstrip": false, "rstrip": false,
                });
                (id, token)
            }));
        }
    }
    tokens.sort_by_key(|it| it.0);
    Ok(tokens.into_iter().map(|it| it.1).collect())
}

/// Byte-level pre-tokenizer, post-processor or decoder.
fn byte_level(add_prefix_space: bool, use_regex: bool) -> Value {
    json!({
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": false,
        "use_regex": use_regex,
    })
}

/// Post-processor that puts a token before each sequence.
fn begun_with(token: &str, id: &Value) -> Value {
    let special = json!({"SpecialToken": {"id": token, "type_id": 0}});
    let first = json!({"Sequence": {"id": "A", "type_id": 0}});
    let second = json!({"Sequence": {"id": "B", "type_id": 1}});
    let template = json!({
        "type": "TemplateProcessing",
        "single": [special, first],
        "pair": [special, first, second],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
    });
    json!({"type": "Sequence", "processors": [byte_level(false, false), template]})
}

/// Pre-tokenizer of Qwen2: words with the character before them, single digits, runs of
/// punctuation, and spaces.
fn qwen2_pre_tokenizer() -> Value {
    let pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let split = json!({
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": false,
    });
    json!({"type": "Sequence", "pretokenizers": [split, byte_level(false, false)]})
}

pub(super) fn read(path: &Path) -> Result<String, TokenizerError> {
    read_text(path).map_err(|err| TokenizerError::new(path, err))
}
