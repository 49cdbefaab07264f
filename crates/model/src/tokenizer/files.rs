//! Configuration files of a tokenizer beside `tokenizer.json`, and the conversion of slow
//! tokenizers, whose vocabulary stands in `vocab.json` and `merges.txt`.

use std::collections::BTreeMap;
use std::path::Path;

use forage_trajectory::TokenId;
use serde_json::{Map, Value, json};

use super::TokenizerError;

/// Names of the files that say how a tokenizer is used. They are kept as they are, and saved with
/// it.
const NAMES: [&str; 4] = [
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
];

/// Configuration files that were found beside the tokenizer.
#[derive(Debug, Clone, Default)]
pub(super) struct ConfigFiles {
    /// Texts by name.
    texts: BTreeMap<&'static str, String>,
    /// Keys of `tokenizer_config.json`.
    config: Map<String, Value>,
    /// Keys of `generation_config.json`.
    generation: Map<String, Value>,
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
            serde_json::from_str(text).map_err(|err| TokenizerError::new(&folder.join(name), err))
        };
        let (config, generation) =
            (object("tokenizer_config.json")?, object("generation_config.json")?);
        Ok(Self { config, generation, ..found })
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
        let value = self.config.get(role)?;
        value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
    }

    /// Texts of all tokens that have roles, by role, as templates name them.
    pub(super) fn special_tokens(&self) -> Map<String, Value> {
        let roles = ["bos_token", "eos_token", "pad_token", "unk_token"];
        roles
            .iter()
            .filter_map(|role| Some(((*role).to_owned(), self.special_token(role)?.into())))
            .collect()
    }

    /// Tokens that end a generation (`eos_token_id`): a number or a list of them.
    pub(super) fn generation_ends(&self) -> Vec<TokenId> {
        let ends = match self.generation.get("eos_token_id") {
            Some(Value::Array(several)) => several.clone(),
            Some(one) => vec![one.clone()],
            None => Vec::new(),
        };
        ends.iter().filter_map(|end| TokenId::try_from(end.as_u64()?).ok()).collect()
    }

    /// Chat template: a file of its own, or a key of `tokenizer_config.json`, which may hold
    /// several by name.
    pub(super) fn chat_template(&self) -> Option<String> {
        if let Some(text) = self.texts.get("chat_template.jinja") {
            return Some(text.clone());
        }
        match self.config.get("chat_template")? {
            Value::String(text) => Some(text.clone()),
            Value::Array(several) => {
                let default = several.iter().find(|it| it["name"] == "default")?;
                default["template"].as_str().map(str::to_owned)
            }
            _ => None,
        }
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
        serde_json::from_str(&read(&path)?).map_err(|err| TokenizerError::new(&path, err))?;
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
            let listed: BTreeMap<String, TokenId> = serde_json::from_str(&read(&path)?)
                .map_err(|err| TokenizerError::new(&path, err))?;
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

fn read(path: &Path) -> Result<String, TokenizerError> {
    std::fs::read_to_string(path).map_err(|err| TokenizerError::new(path, err))
}
