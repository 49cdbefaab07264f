//! Weight files whose bytes are wrong: an error says so, whatever the bytes, and nothing panics.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use forage_model::{CheckpointError, EncoderOptions, TextEncoder, load};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Changes the header of a safetensors file.
type Edit = fn(&mut Map<String, Value>);

const NORM: &str = "model.norm.weight";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A model folder with these weights.
fn folder_with(name: &str, weights: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json"] {
        if let Ok(bytes) = fs::read(fixture(name).join(file)) {
            fs::write(folder.path().join(file), bytes).unwrap();
        }
    }
    fs::write(folder.path().join("model.safetensors"), weights).unwrap();
    folder
}

/// Reads a folder as a decoder, or as an encoder.
fn read(name: &str, folder: &Path) -> Result<(), CheckpointError> {
    let device = Device::flex();
    if name == "bert" {
        TextEncoder::load(folder, &device, &EncoderOptions::default()).map(drop)
    } else {
        load(folder, &device).map(drop)
    }
}

/// Length of the header, and the whole file.
fn weights(name: &str) -> (usize, Vec<u8>) {
    let bytes = fs::read(fixture(name).join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    (length as usize, bytes)
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let cases: [(&str, Edit); 7] = [
        ("a range that ends before it begins", |it| it[NORM]["data_offsets"] = json!([192, 0])),
        ("ranges that overlap", |it| it[NORM]["data_offsets"] = json!([0, 192])),
        ("a range beyond the file", |it| {
            it[NORM]["data_offsets"] = json!([1_u64 << 40, (1_u64 << 40) + 192]);
        }),
        ("a shape that is larger than its range", |it| it[NORM]["shape"] = json!([49])),
        ("a shape that overflows", |it| it[NORM]["shape"] = json!([1_u64 << 62, 8])),
        ("numbers of no type", |it| it[NORM]["dtype"] = json!("F33")),
        ("a tensor that is none", |it| it[NORM] = json!("none")),
    ];
    for (what, edit) in cases {
        let (length, bytes) = weights("qwen2-tied");
        let mut header: Map<String, Value> = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        edit(&mut header);
        let header = serde_json::to_vec(&header).unwrap();
        let length_of = (header.len() as u64).to_le_bytes();
        let damaged = [&length_of[..], &header, &bytes[8 + length..]].concat();
        let folder = folder_with("qwen2-tied", &damaged);
        let error = read("qwen2-tied", folder.path()).unwrap_err();
        let said = format!("{error}: {}", error.source().unwrap());
        assert!(
            said.contains("model.safetensors`: not a whole safetensors file"),
            "{what}: {said}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_byte_ends_the_process(
        name in prop::sample::select(vec!["qwen2-tied", "bert"]),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        length in prop::option::weighted(0.2, any::<Index>()),
    ) {
        let (header, mut bytes) = weights(name);
        let whole = bytes.len();
        // Where a byte means most.
        for (at, byte) in changes {
            bytes[at.index(8 + header)] = byte;
        }
        if let Some(length) = length {
            bytes.truncate(length.index(whole));
        }
        let folder = folder_with(name, &bytes);
        let found = read(name, folder.path());
        prop_assert!(found.is_err() || bytes.len() == whole);
    }
}
