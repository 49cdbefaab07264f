//! Configuration files of sentence-transformers: pooling, normalization and prompts.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::CheckpointError;
use crate::json_file::read_json;
use crate::keys::ConfigError;

/// Pooling of the hidden states of a text.
///
/// Its debug format is a part of the name of a [`TextEncoder`](super::TextEncoder).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// Mean pooling.
    Mean,
    /// CLS pooling: the first hidden state.
    First,
}

/// Configuration of a sentence-transformers model, beside the encoder itself.
#[derive(Debug, PartialEq)]
pub(super) struct SentenceTransformersConfig {
    /// Folder of `config.json`, weights and tokenizer.
    pub(super) model: PathBuf,
    /// Pooling. Default: mean.
    pub(super) pooling: Pooling,
    /// Whether embeddings are scaled to length 1. Default: true, but for models that were trained
    /// for dot products.
    pub(super) unit: bool,
    /// Whether texts are lower-cased before they are tokenized. Default: false.
    pub(super) lower_case: bool,
    /// Tokens of a text, at most.
    pub(super) max_tokens: Option<usize>,
    /// Prompts before a query and before a passage. Default: none.
    pub(super) prompts: [String; 2],
}

/// Entry of `modules.json`.
#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    /// Python class, with its module.
    r#type: String,
}

/// Keys of `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Limits {
    max_seq_length: Option<usize>,
    do_lower_case: Option<bool>,
}

/// Keys of `config_sentence_transformers.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    prompts: Map<String, Value>,
    similarity_fn_name: Option<String>,
}

impl SentenceTransformersConfig {
    /// Reads the files that are there. A folder without any of them gives mean pooling and
    /// embeddings of length 1.
    pub(super) fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join("modules.json");
        let modules: Option<Vec<Module>> = optional_json(&path)?;
        let (mut model, mut pooling) = (folder.to_owned(), folder.join("1_Pooling"));
        let mut normalizes = false;
        for Module { path: place, r#type } in modules.iter().flatten() {
            let wrong = |what: String| CheckpointError::new(&path, ConfigError(what).into());
            let is_inside = Path::new(place)
                .components()
                .all(|component| matches!(component, Component::Normal(_)));
            if !is_inside {
                return Err(wrong(format!("`{place}` is no folder within this one")));
            }
            match r#type.rsplit('.').next().unwrap_or_default() {
                "Transformer" if place.is_empty() => {}
                "Transformer" => model = folder.join(place),
                "Pooling" => pooling = folder.join(place),
                "Normalize" => normalizes = true,
                other => return Err(wrong(format!("the module `{other}` is not supported"))),
            }
        }
        let usage: Usage =
            optional_json(&folder.join("config_sentence_transformers.json"))?.unwrap_or_default();
        let limits: Limits =
            optional_json(&model.join("sentence_bert_config.json"))?.unwrap_or_default();
        // Models that were trained for dot products say so; the length of a vector means something
        // to them.
        let wants_dot = usage.similarity_fn_name.is_some_and(|it| it.starts_with("dot"));
        let prompt = |names: &[&str]| {
            let found = names.iter().find_map(|name| usage.prompts.get(*name)?.as_str());
            found.unwrap_or_default().to_owned()
        };
        Ok(Self {
            pooling: pooling_of(&pooling.join("config.json"))?,
            unit: normalizes || !wants_dot,
            lower_case: limits.do_lower_case.unwrap_or(false),
            max_tokens: limits.max_seq_length,
            prompts: [prompt(&["query"]), prompt(&["document", "passage", "corpus"])],
            model,
        })
    }
}

/// Reads the pooling mode of its `config.json`, in the old form of a key a mode or in the new one.
fn pooling_of(path: &Path) -> Result<Pooling, CheckpointError> {
    let Some(keys) = optional_json::<Map<String, Value>>(path)? else { return Ok(Pooling::Mean) };
    let of_keys = keys
        .iter()
        .filter(|it| it.1 == true)
        .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
        .map(|mode| mode.trim_end_matches("_token").trim_end_matches("_tokens"));
    let modes: Vec<&str> = match keys.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode],
        Some(Value::Array(modes)) => modes.iter().filter_map(Value::as_str).collect(),
        _ => of_keys.collect(),
    };
    let wrong = |what: String| Err(CheckpointError::new(path, ConfigError(what).into()));
    if keys.get("include_prompt") == Some(&Value::Bool(false)) {
        return wrong("`include_prompt` false is not supported".to_owned());
    }
    match modes[..] {
        ["mean"] => Ok(Pooling::Mean),
        ["cls"] => Ok(Pooling::First),
        _ => wrong(format!(
            "pooling by `{}` is not supported; `mean` and `cls` are",
            modes.join("`, `")
        )),
    }
}

/// Reads a JSON file that may be missing.
fn optional_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CheckpointError> {
    if path.exists() { read_json(path).map(Some) } else { Ok(None) }
}
