//! Encoders against sentence-transformers and transformers, against themselves in other batches,
//! and folders that are refused.
//!
//! `tests/fixtures/bert*` hold random encoders with the vectors that `tests/oracles/encoders.py`
//! made.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use forage_model::{EncoderOptions, TextEncoder};
use forage_trajectory::{Embedder, TextRole};
use proptest::prelude::*;
use proptest::sample::Index;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Changes a JSON object.
type Edit = fn(&mut Map<String, Value>);

const ROLES: [TextRole; 2] = [TextRole::Query, TextRole::Passage];

#[derive(Deserialize)]
struct Vectors {
    query: Vec<Vec<f32>>,
    passage: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    mean: Vectors,
    cls: Option<Vectors>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn expected(name: &str) -> Expected {
    serde_json::from_slice(&fs::read(fixture(name).join("expected.json")).unwrap()).unwrap()
}

fn open(folder: &Path, options: &EncoderOptions) -> TextEncoder {
    TextEncoder::load(folder, &Device::flex(), options).unwrap()
}

/// A copy of a fixture that may be damaged.
fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    for part in ["", "1_Pooling"] {
        let Ok(entries) = fs::read_dir(fixture(name).join(part)) else { continue };
        for path in entries.map(|it| it.unwrap().path()).filter(|it| it.is_file()) {
            fs::copy(&path, folder.path().join(part).join(path.file_name().unwrap())).unwrap();
        }
    }
    folder
}

fn edit_json(path: &Path, edit: Edit) {
    let mut keys: Map<String, Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    edit(&mut keys);
    fs::write(path, serde_json::to_vec(&keys).unwrap()).unwrap();
}

/// An error with its causes, one a line.
fn load_error(folder: &Path, options: &EncoderOptions) -> String {
    let error = TextEncoder::load(folder, &Device::flex(), options).unwrap_err();
    let mut lines = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        lines.push(error.to_string());
        source = error.source();
    }
    lines.join("\n")
}

fn e5() -> EncoderOptions {
    EncoderOptions {
        query_prefix: Some("query: ".to_owned()),
        passage_prefix: Some("passage: ".to_owned()),
        max_tokens: None,
    }
}

fn check(encoder: &TextEncoder, texts: &[String], wanted: &Vectors, what: &str) {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (role, wanted) in ROLES.into_iter().zip([&wanted.query, &wanted.passage]) {
        let found = encoder.embed(&texts, role).unwrap();
        assert_eq!(found.len(), wanted.len());
        for ((found, wanted), text) in found.iter().zip(wanted).zip(&texts) {
            assert_eq!((found.len(), wanted.len()), (32, 32));
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-5, "{what}, {role:?}, {text:?}");
            }
        }
    }
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    let Expected { texts, mean, cls } = expected("bert");
    // The prefixes are the folder's own.
    let encoder = open(&fixture("bert"), &EncoderOptions::default());
    assert_eq!(encoder.dimension(), 32);
    check(&encoder, &texts, &mean, "mean");
    let folder = copy("bert");
    edit_json(&folder.path().join("1_Pooling/config.json"), |keys| {
        keys["pooling_mode_mean_tokens"] = json!(false);
        keys["pooling_mode_cls_token"] = json!(true);
    });
    let by_first = open(folder.path(), &EncoderOptions::default());
    check(&by_first, &texts, cls.as_ref().unwrap(), "cls");
    assert_ne!(encoder.name(), by_first.name());
    // As later versions write it.
    fs::write(folder.path().join("1_Pooling/config.json"), r#"{"pooling_mode": "cls"}"#).unwrap();
    assert_eq!(open(folder.path(), &EncoderOptions::default()).name(), by_first.name());
}

#[test]
fn masked_language_models_with_a_vocabulary_are_encoders() {
    let Expected { texts, mean, .. } = expected("bert-vocab");
    let encoder = open(&fixture("bert-vocab"), &e5());
    check(&encoder, &texts, &mean, "e5");
    // The model may stand in a folder of its own.
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("0_Transformer");
    fs::rename(copy("bert-vocab").keep(), &inner).unwrap();
    let modules =
        json!([{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]);
    fs::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
    assert_eq!(open(folder.path(), &e5()).name(), encoder.name());
}

#[test]
fn names_of_tensorflow_are_read() {
    let folder = copy("bert");
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    let old = header
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta");
    assert_ne!(header, old);
    let length = (old.len() as u64).to_le_bytes();
    let data = &bytes[8 + header.len()..];
    fs::write(&path, [&length[..], old.as_bytes(), data].concat()).unwrap();
    let plain = open(&fixture("bert"), &EncoderOptions::default());
    assert_eq!(open(folder.path(), &EncoderOptions::default()).name(), plain.name());
}

#[test]
fn lengths_are_kept_where_they_mean_something() {
    let folder = copy("bert");
    let usage = r#"{"similarity_fn_name": "dot"}"#;
    fs::write(folder.path().join("config_sentence_transformers.json"), usage).unwrap();
    edit_modules(folder.path(), |modules| modules.truncate(2));
    let scaled = open(&fixture("bert"), &e5());
    let plain = open(folder.path(), &e5());
    let vector = |it: &TextEncoder| it.embed(&["to be"], TextRole::Query).unwrap().remove(0);
    let (scaled, plain) = (vector(&scaled), vector(&plain));
    let length = plain.iter().map(|it| it * it).sum::<f32>().sqrt();
    assert!((length - 1.0).abs() > 0.1, "{length}");
    for (scaled, plain) in scaled.iter().zip(&plain) {
        assert!((scaled * length - plain).abs() < 1e-5);
    }
}

fn edit_modules(folder: &Path, edit: fn(&mut Vec<Value>)) {
    let path = folder.join("modules.json");
    let mut modules: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut modules);
    fs::write(&path, serde_json::to_vec(&modules).unwrap()).unwrap();
}

#[test]
fn a_name_tells_models_and_settings_apart() {
    let options = |max_tokens| EncoderOptions { max_tokens, ..e5() };
    let name = |options: &EncoderOptions| open(&fixture("bert"), options).name().to_owned();
    let names = [name(&e5()), name(&EncoderOptions::default()), name(&options(Some(9)))];
    // The folder has the prompts of e5.
    assert_eq!(names[0], names[1]);
    assert_ne!(names[0], names[2]);
    let other = open(&fixture("bert-vocab"), &options(Some(24)));
    assert_ne!(names[0], other.name());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Neither the batch nor the order of texts changes a bit of a vector.
    #[test]
    fn vectors_depend_on_no_batch(picks in prop::collection::vec(any::<Index>(), 1..90)) {
        for name in ["bert", "bert-vocab"] {
            let encoder = open(&fixture(name), &e5());
            let texts = expected(name).texts;
            let alone: Vec<Vec<f32>> = texts
                .iter()
                .map(|it| encoder.embed(&[it.as_str()], TextRole::Passage).unwrap().remove(0))
                .collect();
            let picks: Vec<usize> = picks.iter().map(|it| it.index(texts.len())).collect();
            let batch: Vec<&str> = picks.iter().map(|&it| texts[it].as_str()).collect();
            let found = encoder.embed(&batch, TextRole::Passage).unwrap();
            for (found, pick) in found.iter().zip(picks) {
                prop_assert_eq!(found, &alone[pick]);
            }
        }
    }
}

#[test]
fn no_texts_have_no_vectors() {
    let encoder = open(&fixture("bert"), &e5());
    assert!(encoder.embed(&[], TextRole::Query).unwrap().is_empty());
}

#[test]
fn vectors_that_are_not_finite_are_an_error() {
    let folder = copy("bert");
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    // Whatever tensor is last in the file: hidden states of the pooler are not used, so all of it.
    let start = end / 2;
    for at in (start..end - 3).step_by(4) {
        bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    }
    fs::write(&path, bytes).unwrap();
    let error = open(folder.path(), &e5()).embed(&["to be"], TextRole::Query).unwrap_err();
    assert_eq!(error.to_string(), "the vector of `to be` is not finite");
}

#[test]
fn configurations_that_are_refused() {
    let cases: [(&str, Edit, &str); 14] = [
        ("config.json", |it| it["model_type"] = json!("roberta"), "`model_type` is `roberta`"),
        ("config.json", |it| drop(it.remove("vocab_size")), "`vocab_size` is missing"),
        ("config.json", |it| it["hidden_size"] = json!(0), "`hidden_size` is 0"),
        ("config.json", |it| it["num_attention_heads"] = json!(5), "no multiple of"),
        ("config.json", |it| it["hidden_act"] = json!("relu"), "`hidden_act` \"relu\""),
        (
            "config.json",
            |it| drop(it.insert("position_embedding_type".to_owned(), json!("relative_key"))),
            "`position_embedding_type` \"relative_key\"",
        ),
        ("config.json", |it| it["is_decoder"] = json!(true), "`is_decoder`"),
        (
            "config.json",
            |it| drop(it.insert("quantization_config".to_owned(), json!({"bits": 4}))),
            "`quantization_config`",
        ),
        (
            "config.json",
            |it| it["num_hidden_layers"] = json!(3),
            "tensor `encoder.layer.2.attention.self.query.weight` is missing",
        ),
        (
            "config.json",
            |it| it["num_hidden_layers"] = json!(1),
            "has no place in the model of `config.json`",
        ),
        (
            "config.json",
            |it| it["intermediate_size"] = json!(64),
            "`encoder.layer.0.intermediate.dense.weight` has shape [48, 32]",
        ),
        (
            "1_Pooling/config.json",
            |it| it["pooling_mode_max_tokens"] = json!(true),
            "pooling by `mean`, `max` is not supported",
        ),
        (
            "1_Pooling/config.json",
            |it| drop(it.insert("include_prompt".to_owned(), json!(false))),
            "`include_prompt`",
        ),
        (
            "sentence_bert_config.json",
            |it| it["max_seq_length"] = json!(2),
            "2 tokens leave no room",
        ),
    ];
    for (file, edit, named) in cases {
        let folder = copy("bert");
        edit_json(&folder.path().join(file), edit);
        let error = load_error(folder.path(), &EncoderOptions::default());
        assert!(error.contains(named), "{named}: {error}");
    }
    let folder = copy("bert");
    let long = EncoderOptions { max_tokens: Some(41), ..e5() };
    assert!(load_error(folder.path(), &long).contains("`max_tokens` 41 exceeds the model's 40"));
    edit_modules(folder.path(), |it| it[2]["type"] = json!("sentence_transformers.models.Dense"));
    assert!(load_error(folder.path(), &e5()).contains("the module `Dense` is not supported"));
    edit_modules(folder.path(), |it| it[0]["path"] = json!("../elsewhere"));
    assert!(load_error(folder.path(), &e5()).contains("`../elsewhere` is no folder within"));
}

#[test]
fn tokenizers_that_do_not_fit_are_refused() {
    let folder = copy("bert-vocab");
    let path = folder.path().join("vocab.txt");
    let words = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{words}one\nmore\n")).unwrap();
    let error = load_error(folder.path(), &e5());
    assert!(error.contains("the tokenizer has") && error.contains("the embedding"), "{error}");
    fs::write(&path, words.replace("[SEP]", "[OTHER]")).unwrap();
    let error = load_error(folder.path(), &e5());
    assert!(error.contains("vocab.txt") && error.contains("there is no token `[SEP]`"), "{error}");
    fs::remove_file(path).unwrap();
    assert!(load_error(folder.path(), &e5()).contains("tokenizer.json"));
}
