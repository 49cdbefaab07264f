//! Model folders: what is read, what is refused and by which words, and what is written.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use forage_model::{
    Decoder, ModelConfig, ModelFamily, NumberType, SaveOptions, Tokenizer, load, load_config,
    numbers, read_tensors, save, save_folder, write_tensors,
};
use forage_trajectory::protocol::TAGS;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Damages a file.
type Damage = fn(&Path);

/// Changes a JSON object.
type Edit = fn(&mut Map<String, Value>);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A copy of a fixture that may be damaged.
fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

/// An error with its causes, one a line.
fn chain(error: &dyn Error) -> String {
    let mut lines = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        lines.push(error.to_string());
        source = error.source();
    }
    lines.join("\n")
}

fn load_error(folder: &Path) -> String {
    chain(&load(folder, &Device::flex()).unwrap_err())
}

/// Changes one key of a JSON file; `null` stays a value.
fn edit_json(path: &Path, edit: impl FnOnce(&mut Map<String, Value>)) {
    let mut json: Map<String, Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    edit(&mut json);
    fs::write(path, serde_json::to_vec(&json).unwrap()).unwrap();
}

/// Rewrites a file of tensors, each as its bytes.
fn edit_tensors(
    path: &Path,
    edit: impl FnOnce(&mut BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>),
) {
    let bytes = fs::read(path).unwrap();
    let mut tensors: BTreeMap<_, _> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, it)| (name, (it.dtype(), it.shape().to_vec(), it.data().to_vec())))
        .collect();
    edit(&mut tensors);
    let views = tensors
        .iter()
        .map(|(name, it)| (name, TensorView::new(it.0, it.1.clone(), &it.2).unwrap()));
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn weights(decoder: &Decoder) -> Vec<Vec<f32>> {
    decoder.weights().iter().map(numbers).collect()
}

/// Published configurations, shortened to the keys that matter.
fn published(model_type: &str) -> Map<String, Value> {
    let config = json!({
        "model_type": model_type,
        "hidden_act": "silu",
        "vocab_size": 1000,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "eos_token_id": [7, 8],
        "sliding_window": 4096,
        "use_sliding_window": false,
        "layer_types": ["full_attention", "full_attention"],
        "rope_scaling": null,
        "rope_theta": 500_000.0,
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": true,
    });
    let Value::Object(config) = config else { unreachable!("it is an object") };
    config
}

#[test]
fn both_forms_of_a_configuration_are_read() {
    let old = ModelConfig::from_keys(published("llama")).unwrap();
    let mut keys = published("llama");
    for key in ["rope_theta", "rope_scaling", "torch_dtype"] {
        keys.remove(key);
    }
    keys.insert(
        "rope_parameters".to_owned(),
        json!({"rope_theta": 500_000.0, "rope_type": "default"}),
    );
    keys.insert("dtype".to_owned(), json!("bfloat16"));
    assert_eq!(ModelConfig::from_keys(keys).unwrap(), old);
    assert_eq!(old.other["eos_token_id"], json!([7, 8]));

    let written = old.to_keys();
    assert_eq!(written["architectures"], json!(["LlamaForCausalLM"]));
    assert_eq!(written["eos_token_id"], json!([7, 8]));
    let again = ModelConfig::from_keys(written).unwrap();
    assert_eq!((again.rope, again.head_dim), (old.rope, Some(16)));
}

#[test]
fn families_know_what_a_configuration_leaves_out() {
    for (model_type, head_dim, theta) in
        [("llama", 16, 10_000.0), ("qwen2", 16, 10_000.0), ("qwen3", 128, 10_000.0)]
    {
        let mut keys = published(model_type);
        for key in ["num_key_value_heads", "rope_theta", "rms_norm_eps", "tie_word_embeddings"] {
            keys.remove(key);
        }
        let config = ModelConfig::from_keys(keys).unwrap();
        assert_eq!(config.head_dim(), head_dim, "{model_type}");
        assert_eq!(config.num_key_value_heads, 4);
        assert!((config.theta() - theta).abs() < 1e-9);
        assert!((config.rms_norm_eps - 1e-6).abs() < 1e-12);
        assert!(!config.tie_word_embeddings);
    }
}

#[test]
fn biases_are_where_the_family_has_them() {
    let attention = ["q_proj", "k_proj", "v_proj", "o_proj"].map(|it| format!("self_attn.{it}"));
    let mlp = ["gate_proj", "up_proj", "down_proj"].map(|it| format!("mlp.{it}"));
    let cases: [(&str, bool, Vec<&String>); 5] = [
        ("qwen2", false, attention[..3].iter().collect()),
        ("qwen2", true, attention[..3].iter().collect()),
        ("qwen3", false, vec![]),
        ("qwen3", true, attention.iter().collect()),
        ("llama", true, attention.iter().chain(&mlp).collect()),
    ];
    for (model_type, on, expected) in cases {
        let mut keys = published(model_type);
        keys.insert("attention_bias".to_owned(), json!(on));
        keys.insert("mlp_bias".to_owned(), json!(on));
        let config = ModelConfig::from_keys(keys).unwrap();
        let mut found: Vec<String> = config
            .parameters()
            .into_iter()
            .filter_map(|it| {
                let name = it.name.strip_prefix("model.layers.1.")?.strip_suffix(".bias")?;
                Some(name.to_owned())
            })
            .collect();
        let mut expected: Vec<String> = expected.into_iter().cloned().collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{model_type}, {on}");
    }
}

/// Each bias enters the computation: adding to it changes the logits.
#[test]
fn every_tensor_matters() {
    for model_type in ["llama", "qwen3"] {
        let mut keys = published(model_type);
        keys.extend([
            ("attention_bias".to_owned(), json!(true)),
            ("mlp_bias".to_owned(), json!(true)),
            ("head_dim".to_owned(), json!(8)),
            ("vocab_size".to_owned(), json!(30)),
            ("initializer_range".to_owned(), json!(0.3)),
        ]);
        let config = ModelConfig::from_keys(keys).unwrap();
        let device = Device::flex();
        let decoder = Decoder::init(&config, 5, &device);
        let logits = |it: &Decoder| numbers(&it.logits(it.forward(&[vec![1, 2, 3, 4]])));
        let before = logits(&decoder);
        for (idx, spec) in config.parameters().iter().enumerate() {
            // The same number on every key turns all scores of a query alike, but for the rotation.
            let mut changed = decoder.weights().to_vec();
            changed[idx] = changed[idx].clone() + 0.5;
            let changed = Decoder::with_weights(&config, changed, &device);
            let most = logits(&changed)
                .iter()
                .zip(&before)
                .map(|(left, right)| (left - right).abs())
                .fold(0.0, f32::max);
            assert!(most > 1e-4, "{model_type}: {} moves logits by {most}", spec.name);
        }
    }
}

#[test]
fn configurations_that_are_refused() {
    let cases: [(&str, Value, &str); 13] = [
        (
            "model_type",
            json!("mixtral"),
            "`model_type` `mixtral` is not supported; these are: `llama`, `qwen2`, `qwen3`",
        ),
        ("model_type", Value::Null, "`model_type` is missing"),
        ("vocab_size", Value::Null, "`vocab_size` is missing"),
        ("vocab_size", json!("many"), "`vocab_size`: invalid type"),
        ("hidden_size", json!(0), "`hidden_size` is 0"),
        ("hidden_size", json!(1_u64 << 60), "`hidden_size` 1152921504606846976 is too large"),
        ("num_hidden_layers", json!(4_000_000_000_u64), "`num_hidden_layers` 4000000000 is too"),
        ("num_key_value_heads", json!(4), "`num_key_value_heads` 4"),
        ("head_dim", json!(7), "`head_dim` 7 is odd"),
        ("use_sliding_window", json!(true), "`use_sliding_window`"),
        ("layer_types", json!(["full_attention", "sliding_attention"]), "\"sliding_attention\""),
        ("hidden_act", json!("gelu"), "`hidden_act` \"gelu\""),
        ("quantization_config", json!({"bits": 4}), "`quantization_config`"),
    ];
    for (key, value, named) in cases {
        let folder = copy("qwen2-tied");
        edit_json(&folder.path().join("config.json"), |it| {
            it.insert(key.to_owned(), value);
        });
        let error = load_error(folder.path());
        assert!(error.contains("config.json") && error.contains(named), "{error}");
    }
    let folder = copy("qwen2-tied");
    fs::write(folder.path().join("config.json"), "{").unwrap();
    assert!(load_error(folder.path()).contains("config.json"));
}

#[test]
fn damaged_weights_are_refused() {
    let cases: [(&str, Damage, &str); 8] = [
        ("cut short", |it| set_len(it, 1000), "not a whole safetensors file"),
        ("cut within the length", |it| set_len(it, 5), "not a whole safetensors file"),
        ("empty", |it| set_len(it, 0), "not a whole safetensors file"),
        (
            "2^60 bytes of header",
            |it| overwrite(it, &(1_u64 << 60).to_le_bytes()),
            "not a whole safetensors file",
        ),
        ("no header", |it| overwrite(it, &[0; 64]), "not a whole safetensors file"),
        (
            "one tensor less",
            |it| edit_tensors(it, |all| drop(all.remove("model.norm.weight"))),
            "tensor `model.norm.weight` is missing",
        ),
        (
            "one tensor more",
            |it| {
                edit_tensors(it, |all| {
                    let norm = all["model.norm.weight"].clone();
                    all.insert("model.layers.9.input_layernorm.weight".to_owned(), norm);
                });
            },
            "tensor `model.layers.9.input_layernorm.weight` has no place",
        ),
        (
            "other numbers",
            |it| {
                edit_tensors(it, |all| {
                    let norm = all.get_mut("model.norm.weight").unwrap();
                    norm.0 = Dtype::I32;
                });
            },
            "tensor `model.norm.weight` is stored as I32",
        ),
    ];
    for (name, damage, expected) in cases {
        let folder = copy("qwen2-tied");
        damage(&folder.path().join("model.safetensors"));
        let error = load_error(folder.path());
        assert!(error.contains("model.safetensors`"), "{name}: {error}");
        assert!(error.contains(expected), "{name}: {error}");
    }
    let folder = copy("qwen2-tied");
    edit_tensors(&folder.path().join("model.safetensors"), |all| {
        all.get_mut("model.norm.weight").unwrap().1 = vec![2, 24];
    });
    let error = load_error(folder.path());
    let expected = "`model.norm.weight` has shape [2, 24], the model of `config.json` wants [48]";
    assert!(error.contains(expected), "{error}");
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(load_error(folder.path()).contains("neither `model.safetensors` nor"));
}

fn set_len(path: &Path, len: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::File::options().write(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn an_index_stays_in_its_folder_and_tells_the_truth() {
    let name = "model.norm.weight";
    for file in ["../x.safetensors", "/etc/passwd", "a/../../x", "..", "sub/x.safetensors", ""] {
        let folder = copy("qwen2-untied-sharded");
        edit_json(&folder.path().join("model.safetensors.index.json"), |it| {
            it["weight_map"][name] = json!(file);
        });
        let error = load_error(folder.path());
        let expected =
            format!("puts tensor `{name}` into `{file}`, which is no file of the folder");
        assert!(error.contains(&expected), "{error}");
    }
    let cases: [(Edit, &str); 4] = [
        (
            |it| it["weight_map"]["model.norm.weight"] = json!("model-9.safetensors"),
            "files that the index names are not there: `model-9.safetensors`",
        ),
        (
            |it| it["weight_map"]["model.extra"] = json!("model-00001-of-00007.safetensors"),
            "`model.extra` is missing",
        ),
        (
            |it| drop(it["weight_map"].as_object_mut().unwrap().remove("model.norm.weight")),
            "`model.norm.weight` is in this file, but not according to the index",
        ),
        (|it| drop(it.remove("weight_map")), "missing field `weight_map`"),
    ];
    for (edit, expected) in cases {
        let folder = copy("qwen2-untied-sharded");
        edit_json(&folder.path().join("model.safetensors.index.json"), edit);
        let error = load_error(folder.path());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn tensors_that_other_programs_leave_behind_are_harmless() {
    // A head that repeats the embedding it is tied to, but no other head.
    let folder = copy("qwen2-tied");
    let path = folder.path().join("model.safetensors");
    edit_tensors(&path, |all| {
        let embedding = all["model.embed_tokens.weight"].clone();
        all.insert("lm_head.weight".to_owned(), embedding);
    });
    load(folder.path(), &Device::flex()).unwrap();
    edit_tensors(&path, |all| all.get_mut("lm_head.weight").unwrap().2[0] ^= 1);
    let error = load_error(folder.path());
    assert!(error.contains("tied to the embedding, but `lm_head.weight` differs from"), "{error}");
    assert!(error.contains("set `tie_word_embeddings` to false"), "{error}");
    // The same numbers in another type are no other head.
    edit_tensors(&path, |all| {
        let (_, shape, bytes) = all["model.embed_tokens.weight"].clone();
        let bf16: Vec<u8> = bytes.chunks(4).flat_map(|it| it[2..].to_vec()).collect();
        let f32: Vec<u8> = bf16.chunks(2).flat_map(|it| [0, 0, it[0], it[1]]).collect();
        all.insert("model.embed_tokens.weight".to_owned(), (Dtype::F32, shape.clone(), f32));
        all.insert("lm_head.weight".to_owned(), (Dtype::BF16, shape, bf16));
    });
    load(folder.path(), &Device::flex()).unwrap();
    // Frequencies, which Llama 2 was published with.
    let folder = copy("llama");
    edit_tensors(&folder.path().join("model.safetensors"), |all| {
        let name = "model.layers.0.self_attn.rotary_emb.inv_freq".to_owned();
        all.insert(name, (Dtype::F32, vec![4], vec![0; 16]));
    });
    load(folder.path(), &Device::flex()).unwrap();
}

/// Heads and embeddings of a folder, whose configuration ties them, or not, or does not say.
#[test]
fn a_head_is_what_the_configuration_says() {
    const TIE: &str = "tie_word_embeddings";
    let no_head = "but the file has none: set `tie_word_embeddings` to true";
    for (name, tie, renamed, expected) in [
        ("qwen2-tied", Some(true), None, Ok(())),
        ("qwen2-tied", Some(false), None, Err("the config says that the head is not tied, ")),
        ("qwen2-tied", Some(false), None, Err(no_head)),
        ("qwen2-tied", None, None, Err("as by default in `qwen2`, ")),
        ("qwen2-tied", None, None, Err(no_head)),
        ("llama", None, None, Ok(())),
        ("llama", Some(true), None, Err("tied to the embedding, but `lm_head.weight` differs")),
        // Shared tensors that are stored once, under either name.
        ("qwen2-tied", Some(true), Some("lm_head.weight"), Ok(())),
        (
            "qwen2-tied",
            Some(false),
            Some("lm_head.weight"),
            Err("`model.embed_tokens.weight` is missing"),
        ),
    ] {
        let folder = copy(name);
        edit_json(&folder.path().join("config.json"), |it| match tie {
            Some(tie) => drop(it.insert(TIE.to_owned(), json!(tie))),
            None => drop(it.remove(TIE)),
        });
        if let Some(renamed) = renamed {
            edit_tensors(&folder.path().join("model.safetensors"), |all| {
                let embedding = all.remove("model.embed_tokens.weight").unwrap();
                all.insert(renamed.to_owned(), embedding);
            });
        }
        match expected {
            Ok(()) => {
                let found = weights(&load(folder.path(), &Device::flex()).unwrap());
                let original = weights(&load(&fixture(name), &Device::flex()).unwrap());
                assert_eq!(found, original, "{name}, {tie:?}");
            }
            Err(expected) => {
                let error = load_error(folder.path());
                assert!(error.contains(expected), "{name}, {tie:?}: {error}");
            }
        }
    }
}

#[test]
fn names_of_wrappers_are_read() {
    let rename = |from: &Path, new: &dyn Fn(&str) -> String| {
        edit_tensors(&from.join("model.safetensors"), |all| {
            let old = std::mem::take(all);
            all.extend(old.into_iter().map(|(name, it)| (new(&name), it)));
        });
    };
    for name in ["qwen2-tied", "llama"] {
        let original = weights(&load(&fixture(name), &Device::flex()).unwrap());
        let prefixes = ["module.", "_orig_mod.", "base_model.model.", "language_model.", "model."];
        for prefix in prefixes {
            let folder = copy(name);
            rename(folder.path(), &|it| format!("{prefix}{it}"));
            let found = weights(&load(folder.path(), &Device::flex()).unwrap());
            assert_eq!(found, original, "{name}, {prefix}");
        }
        let folder = copy(name);
        rename(folder.path(), &|it| it.strip_prefix("model.").unwrap_or(it).to_owned());
        assert_eq!(weights(&load(folder.path(), &Device::flex()).unwrap()), original, "{name}");
    }
    // What is wrong is told by the name in the file.
    let folder = copy("qwen2-tied");
    edit_tensors(&folder.path().join("model.safetensors"), |all| {
        let norm = all["model.norm.weight"].clone();
        all.insert("module.model.norm.weight".to_owned(), norm);
    });
    let error = load_error(folder.path());
    let expected = "tensors `model.norm.weight` and `module.model.norm.weight` are both";
    assert!(error.contains(expected), "{error}");
    let folder = copy("qwen2-tied");
    rename(folder.path(), &|it| format!("student.{it}"));
    let error = load_error(folder.path());
    assert!(error.contains("these weights belong to another model"), "{error}");
}

#[test]
fn a_wrong_key_is_named_with_the_value_that_fits() {
    let edits: [(&str, Edit, &str); 9] = [
        (
            "qwen2-tied",
            |it| it["vocab_size"] = json!(300),
            "all tensors fit with `vocab_size` = 320",
        ),
        ("qwen2-tied", |it| it["hidden_size"] = json!(64), "`hidden_size` = 48"),
        ("qwen2-tied", |it| it["intermediate_size"] = json!(100), "`intermediate_size` = "),
        ("qwen2-tied", |it| it["num_hidden_layers"] = json!(1), "`num_hidden_layers` = "),
        ("qwen2-tied", |it| it["num_hidden_layers"] = json!(9), "`num_hidden_layers` = "),
        ("qwen2-tied", |it| it["num_key_value_heads"] = json!(1), "`num_key_value_heads` = "),
        ("qwen2-tied", |it| it["model_type"] = json!("llama"), "`model_type` = \"qwen2\""),
        ("qwen3", |it| it["head_dim"] = json!(32), "`head_dim` = "),
        ("qwen3", |it| it["model_type"] = json!("llama"), "`model_type` = \"qwen3\""),
    ];
    for (name, edit, expected) in edits {
        let folder = copy(name);
        edit_json(&folder.path().join("config.json"), edit);
        let error = load_error(folder.path());
        assert!(error.contains("one key of `config.json` is wrong"), "{name}: {error}");
        assert!(error.contains(expected), "{name}: {error}");
    }
    // Two keys are another model.
    let folder = copy("qwen2-tied");
    edit_json(&folder.path().join("config.json"), |it| {
        it["vocab_size"] = json!(300);
        it["intermediate_size"] = json!(100);
    });
    let error = load_error(folder.path());
    assert!(error.contains("`model.embed_tokens.weight` has shape [320, 48]"), "{error}");
    assert!(error.contains("wants [300, 48]"), "{error}");
    assert!(error.contains("0 are missing and 10 have another shape"), "{error}");
}

#[test]
fn weights_in_other_forms_are_named() {
    for (file, expected) in [
        ("pytorch_model.bin", "there is `pytorch_model.bin`: it is a pickle of PyTorch"),
        ("pytorch_model-00001-of-00002.bin", "a pickle of PyTorch"),
        ("model-q4.gguf", "there is `model-q4.gguf`: quantized weights are not read"),
        ("model-00001-of-00002.safetensors", "`model.safetensors.index.json` is missing"),
        ("consolidated.00.pth", "there is `consolidated.00.pth`"),
        ("model_world_size_8_rank_0.pt", "verl.model_merger"),
        ("README.md", "nor `model.safetensors.index.json`"),
    ] {
        let folder = copy("qwen2-tied");
        fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        fs::write(folder.path().join(file), "x").unwrap();
        let error = load_error(folder.path());
        assert!(error.contains(expected), "{file}: {error}");
    }
    // A cache of the hub, and the folder of a trainer, have no `config.json`.
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("snapshots")).unwrap();
    let error = load_error(folder.path());
    assert!(error.contains("name the folder in its `snapshots`"), "{error}");
    for (name, edit) in [
        ("layers.0.mlp.up_proj.qweight", "quantized weights are not supported"),
        ("layers.0.mlp.up_proj.weight_scale_inv", "quantized weights are not supported"),
        ("layers.0.mlp.up_proj.lora_A.default.weight", "the adapters are not merged"),
    ] {
        let folder = copy("qwen2-tied");
        edit_tensors(&folder.path().join("model.safetensors"), |all| {
            let norm = all["model.norm.weight"].clone();
            all.insert(format!("model.{name}"), norm);
        });
        let error = load_error(folder.path());
        assert!(error.contains(name) && error.contains(edit), "{error}");
    }
    let folder = copy("qwen2-tied");
    edit_tensors(&folder.path().join("model.safetensors"), |all| {
        let norm = all.get_mut("model.norm.weight").unwrap();
        *norm = (Dtype::F8_E4M3, vec![48], vec![0; 48]);
    });
    let error = load_error(folder.path());
    assert!(error.contains("stored as F8_E4M3"), "{error}");
}

#[test]
fn files_that_were_not_fetched_are_named() {
    let pointer = format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 987654\n",
        "0".repeat(64)
    );
    for (name, file) in [
        ("qwen2-tied", "model.safetensors"),
        ("qwen2-tied", "config.json"),
        ("qwen2-untied-sharded", "model-00003-of-00007.safetensors"),
        ("prompts/chatml", "tokenizer.json"),
    ] {
        let folder = copy(name);
        fs::write(folder.path().join(file), &pointer).unwrap();
        let error = match file {
            "tokenizer.json" => chain(&Tokenizer::load(folder.path(), &TAGS).unwrap_err()),
            _ => load_error(folder.path()),
        };
        assert!(error.contains(&format!("{file}`")), "{error}");
        assert!(error.contains("was not fetched") && error.contains("`git lfs pull`"), "{error}");
    }
    let folder = copy("qwen2-untied-sharded");
    set_len(&folder.path().join("model-00003-of-00007.safetensors"), 2000);
    let error = load_error(folder.path());
    assert!(error.contains("model-00003-of-00007.safetensors`"), "{error}");
    assert!(error.contains("it has 2000 bytes, and its header asks for"), "{error}");
    for name in ["model-00003-of-00007.safetensors", "model-00005-of-00007.safetensors"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let error = load_error(folder.path());
    let expected = "2 of the 7 files that the index names are not there: \
                    `model-00003-of-00007.safetensors`, `model-00005-of-00007.safetensors`";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_configuration_as_python_writes_it() {
    let folder = copy("qwen2-tied");
    let path = folder.path().join("config.json");
    let text = fs::read_to_string(&path).unwrap();
    // With a byte-order mark.
    fs::write(&path, format!("\u{FEFF}{text}")).unwrap();
    load(folder.path(), &Device::flex()).unwrap();
    fs::write(&path, text.replacen('{', "{\n\"scale\": NaN,", 1)).unwrap();
    let error = load_error(folder.path());
    assert!(error.contains("line 2 has `NaN`, which Python writes"), "{error}");
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&path, bytes).unwrap();
    let error = load_error(folder.path());
    assert!(error.contains("config.json`") && error.contains("not the JSON"), "{error}");
    for (key, value, named) in [
        (
            "architectures",
            json!(["Qwen2ForSequenceClassification"]),
            "`Qwen2ForSequenceClassification`",
        ),
        ("quantization_config", json!({"quant_method": "fp8"}), "(`fp8`): quantized"),
    ] {
        fs::write(&path, &text).unwrap();
        edit_json(&path, |it| drop(it.insert(key.to_owned(), value)));
        let error = load_error(folder.path());
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_tied_model_is_saved_tied() {
    let folder = copy("qwen2-tied");
    edit_tensors(&folder.path().join("model.safetensors"), |all| {
        let embedding = all["model.embed_tokens.weight"].clone();
        all.insert("lm_head.weight".to_owned(), embedding);
    });
    let decoder = load(folder.path(), &Device::flex()).unwrap();
    let saved = tempfile::tempdir().unwrap();
    save(&decoder, saved.path(), SaveOptions::default()).unwrap();
    let config: Value =
        serde_json::from_slice(&fs::read(saved.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(config["tie_word_embeddings"], json!(true));
    let bytes = fs::read(saved.path().join("model.safetensors")).unwrap();
    let names = SafeTensors::deserialize(&bytes).unwrap();
    assert!(!names.names().contains(&"lm_head.weight"));
}

/// Collects what `tracing` says on this thread.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn warnings_of(folder: &Path) -> String {
    let said = Said::default();
    let writer = said.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || load(folder, &Device::flex()).unwrap());
    let bytes = said.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let folder = copy("qwen2-tied");
    assert_eq!(warnings_of(folder.path()), "");
    let path = folder.path().join("model.safetensors");
    let damage = |name: &str, number: f32| {
        edit_tensors(&path, |all| {
            all.get_mut(name).unwrap().2[4..8].copy_from_slice(&number.to_le_bytes());
        });
    };
    damage("model.layers.1.mlp.up_proj.weight", f32::NAN);
    let said = warnings_of(folder.path());
    assert!(
        said.contains("WARN") && said.contains("`model.layers.1.mlp.up_proj.weight`"),
        "{said}"
    );
    assert!(!said.contains("others"), "{said}");
    damage("model.norm.weight", f32::INFINITY);
    assert!(warnings_of(folder.path()).contains("and so do 1 others"));
}

#[test]
fn number_types_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let exact = [0.0_f32, -1.5, 0.25, 65504.0];
    let as_bytes = |f: fn(f32) -> Vec<u8>| exact.iter().flat_map(|&it| f(it)).collect::<Vec<u8>>();
    for (dtype, bytes, tolerance) in [
        (Dtype::F32, as_bytes(|it| it.to_le_bytes().to_vec()), 0.0),
        (Dtype::F16, as_bytes(|it| half::f16::from_f32(it).to_le_bytes().to_vec()), 0.0),
        (Dtype::BF16, as_bytes(|it| half::bf16::from_f32(it).to_le_bytes().to_vec()), 32.0),
    ] {
        let view = TensorView::new(dtype, vec![2, 2], &bytes).unwrap();
        fs::write(&path, safetensors::serialize([("x", view)], None).unwrap()).unwrap();
        let found = read_tensors(&path, &[("x".to_owned(), vec![2, 2])]).unwrap();
        for (found, exact) in found[0].iter().zip(exact) {
            assert!((found - exact).abs() <= tolerance, "{dtype:?}: {found} for {exact}");
        }
    }
    // Larger than a window.
    let many: Vec<f32> = (0..3_000_000).map(|it| it as f32).collect();
    write_tensors(&path, &[("x".to_owned(), vec![many.len()], many.clone())]).unwrap();
    assert_eq!(read_tensors(&path, &[("x".to_owned(), vec![many.len()])]).unwrap()[0], many);
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn saved_folders_load_again() {
    let device = Device::flex();
    for name in ["qwen2-tied", "qwen3", "llama3-rope", "llama"] {
        let decoder = load(&fixture(name), &device).unwrap();
        let folder = tempfile::tempdir().unwrap();
        save(&decoder, folder.path(), SaveOptions::default()).unwrap();
        assert_eq!(names_in(folder.path()), ["config.json", "model.safetensors"]);
        let again = load(folder.path(), &device).unwrap();
        assert_eq!(weights(&again), weights(&decoder), "{name}");
        let (found, expected) = (again.config(), decoder.config());
        assert_eq!(found.to_keys(), expected.to_keys(), "{name}");
        assert_eq!(found.other["eos_token_id"], json!(2));

        // Cut into shards, in the place of the single file, and back.
        let cut = SaveOptions { max_shard_bytes: 100_000, ..SaveOptions::default() };
        save(&decoder, folder.path(), cut).unwrap();
        let shards = names_in(folder.path());
        assert!(shards.len() > 4 && !shards.contains(&"model.safetensors".to_owned()));
        for shard in shards.iter().filter(|it| it.ends_with(".safetensors")) {
            let bytes = fs::read(folder.path().join(shard)).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let size: usize = tensors.tensors().iter().map(|it| it.1.data().len()).sum();
            assert!(size <= 100_000 || tensors.len() == 1, "{shard} holds {size} bytes");
        }
        assert_eq!(weights(&load(folder.path(), &device).unwrap()), weights(&decoder));
        save(&decoder, folder.path(), SaveOptions::default()).unwrap();
        assert_eq!(names_in(folder.path()), ["config.json", "model.safetensors"]);
    }
}

#[test]
fn bf16_is_rounded_to_nearest_and_named() {
    let decoder = load(&fixture("qwen3"), &Device::flex()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = SaveOptions { number_type: NumberType::Bf16, ..SaveOptions::default() };
    save(&decoder, folder.path(), options).unwrap();
    let config: Value =
        serde_json::from_slice(&fs::read(folder.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(config["torch_dtype"], "bfloat16");
    let again = load(folder.path(), &Device::flex()).unwrap();
    for (found, exact) in weights(&again).concat().iter().zip(weights(&decoder).concat()) {
        assert_eq!(found.to_bits(), half::bf16::from_f32(exact).to_f32().to_bits());
    }
}

#[test]
fn a_folder_is_replaced_as_a_whole() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("model");
    let tokenizer = Tokenizer::train(&["ab ab abc".to_owned()], 270, &TAGS).unwrap();
    let decoder = load(&fixture("llama"), &Device::flex()).unwrap();
    let cut = SaveOptions { max_shard_bytes: 100_000, ..SaveOptions::default() };
    save_folder(&decoder, &tokenizer, &folder, cut).unwrap();
    // Left by a process that was killed.
    fs::create_dir(parent.path().join(".part-model.a1B2c3")).unwrap();
    save_folder(&decoder, &tokenizer, &folder, SaveOptions::default()).unwrap();
    assert_eq!(names_in(&folder), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(names_in(parent.path()), ["model"]);
    assert_eq!(load_config(&folder).unwrap().model_type, ModelFamily::Llama);
    Tokenizer::load(&folder, &TAGS).unwrap().check_fits(decoder.config()).unwrap();
    // Where it cannot be written, the old one stays.
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let error = save_folder(&decoder, &tokenizer, &file.join("model"), cut).unwrap_err();
    assert!(chain(&error).contains("file/model"), "{error}");
}

#[test]
fn a_tokenizer_must_fit_the_embedding() {
    let decoder = load(&fixture("llama"), &Device::flex()).unwrap();
    let words: Vec<String> = (0..5000).map(|it| format!("w{}", it * it)).collect();
    let tokenizer = Tokenizer::train(&[words.join(" ")], 400, &TAGS).unwrap();
    let error = tokenizer.check_fits(decoder.config()).unwrap_err();
    assert!(chain(&error).contains("has 400 tokens, the embedding 320 rows"), "{}", chain(&error));
}
