//! Parquet as pyarrow writes it; `data/write.py` has the rows.

use std::fs;
use std::path::{Path, PathBuf};

use forage_records::{Records, is_parquet};
use serde_json::{Value, json};
use tempfile::TempDir;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn rows() -> [Value; 3] {
    [
        json!({
            "id": 9_007_199_254_740_993_i64,
            "question": "Where is Halvik?",
            "golden_answers": ["Halvik", "Port of Halvik"],
            "raw": "text é",
            "score": null,
            "half": 0.1,
            "reward_model": {"ground_truth": {"target": ["Halvik"]}, "style": "rule"},
            "prompt": [{"role": "user", "content": "Where?"}, {"role": "user", "content": null}],
            "sub": [[1, 2], [], null],
        }),
        json!({
            "id": -1, "question": null, "golden_answers": [], "raw": { "2 bytes that are not UTF-8": null }, "score": 2.5,
            "half": null, "reward_model": null, "prompt": [], "sub": null,
        }),
        json!({
            "id": 3, "question": "", "golden_answers": null, "raw": null, "score": null,
            "half": 3.0, "reward_model": {"ground_truth": null, "style": null}, "prompt": null,
            "sub": [],
        }),
    ]
}

#[test]
fn what_pyarrow_writes_is_read() {
    for name in ["none", "snappy", "gzip", "zstd", "brotli", "lz4", "old", "pages"] {
        let path = data(&format!("{name}.parquet"));
        assert!(is_parquet(&path).unwrap());
        let mut records = Records::open([path.clone()]).unwrap();
        assert_eq!(records.n_rows(), Some(3), "{name}");
        let found: Vec<_> = records.by_ref().map(|record| record.unwrap()).collect();
        assert_eq!(found[2].place().to_string(), format!("{}, row 3", path.display()));
        let values: Vec<Value> = found.into_iter().map(|it| it.into_value().unwrap()).collect();
        assert_eq!(values, rows(), "{name}");
        assert_eq!(Some(records.bytes_read()), records.total_bytes());
    }
}

#[test]
fn parquet_that_is_damaged_or_packed() {
    let folder = TempDir::new().unwrap();
    let whole = fs::read(data("snappy.parquet")).unwrap();
    let error = |content: &[u8]| {
        let path = folder.path().join("x");
        fs::write(&path, content).unwrap();
        let first = Records::open([path]).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        first.unwrap_err().to_string()
    };
    for cut in [4, 8, whole.len() / 2, whole.len() - 1] {
        assert!(error(&whole[..cut]).contains("may have been cut off"), "{cut}");
    }
    assert!(error(b"PAR1\xc3\x80 \xc3\xbfPAR1").contains("its end cannot be read"));
    let packed = zstd::encode_all(&whole[..], 1).unwrap();
    assert!(error(&packed).contains("this is parquet within zstd; unpack it once: `zstd -d`"));
    // Whatever byte is wrong, it is an error or other values, and never the end of the program.
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        let path = folder.path().join("x");
        fs::write(&path, damaged).unwrap();
        if let Ok(records) = Records::open([path]) {
            assert!(records.take(100).count() <= 100);
        }
    }
}
