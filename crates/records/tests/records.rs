//! Files of every kind, and what becomes of them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use forage_records::{RecordError, Records, find_files, open_text};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

/// Records as `line: object`, and errors without the folder.
fn read(path: &Path) -> Vec<String> {
    let folder = format!("{}/", path.parent().unwrap().display());
    let shown = |error: &RecordError| {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        format!("error: {}", text.replace(&folder, ""))
    };
    match Records::open([path.to_owned()]) {
        Err(error) => vec![shown(&error)],
        Ok(records) => records
            .map(|record| {
                let record = record?;
                let (number, key) = (record.place().number, record.key().map(str::to_owned));
                let object = record.into_value()?;
                Ok(format!("{number}: {}{object}", key.map_or(String::new(), |it| it + " ")))
            })
            .map(|record| record.unwrap_or_else(|error| shown(&error)))
            .collect(),
    }
}

fn write(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).unwrap()
}

const SKIPPABLE: &[u8] = b"\x50\x2a\x4d\x18\x04\0\0\0\x01\x02\x03\x04";
const A: &[u8] = b"{\"a\":1}\n";
const B: &[u8] = b"{\"a\":2}\n";

#[test]
fn compressions() {
    let folder = TempDir::new().unwrap();
    let both = [A, B].concat();
    let expected = ["1: {\"a\":1}", "2: {\"a\":2}"];
    for (name, content) in [
        ("plain.gz", both.clone()),
        ("gzip.jsonl", gzip(&both)),
        ("members.jsonl", [gzip(A), gzip(B)].concat()),
        ("zstd.jsonl", zstd(&both)),
        ("frames.jsonl", [zstd(A), zstd(B)].concat()),
        ("skippable.jsonl", [zstd(A), SKIPPABLE.to_vec(), zstd(B)].concat()),
        ("pzstd.jsonl", [SKIPPABLE, &zstd(A), SKIPPABLE, &zstd(B)].concat()),
        ("bzip2.jsonl", bzip2(&both)),
        ("streams.jsonl", [bzip2(A), bzip2(B)].concat()),
        // An empty member first.
        ("empty-member.jsonl", [gzip(b""), gzip(&both)].concat()),
    ] {
        assert_eq!(read(&write(&folder, name, content)), expected, "{name}");
    }
    for (name, content) in
        [("0.jsonl", Vec::new()), ("0.gz", gzip(b"")), ("0.bz2", bzip2(b"")), ("0.zst", zstd(b""))]
    {
        assert!(read(&write(&folder, name, content)).is_empty(), "{name}");
    }
}

/// Random enough not to become small, so that a cut is in the middle.
fn long() -> Vec<u8> {
    let line = |number: u64| format!("{{\"a\":{}}}\n", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (1..20_000).map(line).collect::<String>().into_bytes()
}

#[test]
fn a_file_that_was_cut_off_is_an_error() {
    let folder = TempDir::new().unwrap();
    for (name, whole) in
        [("gzip", gzip(&long())), ("zstd", zstd(&long())), ("bzip2", bzip2(&long()))]
    {
        for cut in [10, whole.len() / 2, whole.len() - 1] {
            let found = read(&write(&folder, "cut", &whole[..cut]));
            let last = found.last().unwrap();
            assert!(last.contains("cannot read on"), "{name} {cut}: {last}");
            assert!(last.contains(&format!("the {name} file ends in the middle")), "{last}");
        }
        // A frame of zstd has no checksum unless it is asked for.
        if name == "zstd" {
            continue;
        }
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle..middle + 40].fill(0x55);
        let found = read(&write(&folder, "damaged", damaged));
        assert!(found.last().unwrap().contains(&format!("the {name} file is damaged")), "{name}");
    }
    let twice = read(&write(&folder, "twice.gz", gzip(&zstd(A))));
    assert_eq!(twice, ["error: `twice.gz`: this is zstd within gzip; unpack it once: `gzip -d`"]);
    let page = read(&write(&folder, "page.gz", gzip(b"<html><body>404")));
    assert!(page[0].contains("within gzip, this is a page of HTML"), "{}", page[0]);
}

#[test]
fn encodings() {
    let folder = TempDir::new().unwrap();
    let both = ["1: {\"a\":\"é\"}", "2: {\"a\":2}"];
    for content in [
        "{\"a\":\"é\"}\r\n{\"a\":2}\r\n",
        "\u{feff}{\"a\":\"é\"}\n{\"a\":2}",
        "\u{feff}{\"a\":\"é\"}\n\u{feff}{\"a\":2}\n",
        "\u{feff}\u{feff}{\"a\":\"é\"}\n \u{feff} {\"a\":2}\n",
    ] {
        assert_eq!(read(&write(&folder, "a", content)), both, "{content:?}");
    }
    // Joined without a line break between.
    for content in ["{\"a\":1}\u{feff}{\"a\":2}\n{\"a\":3}", "{\"a\":1}{\"a\":2}\n{\"a\":3}"] {
        let expected = ["1: {\"a\":1}", "1: {\"a\":2}", "2: {\"a\":3}"];
        assert_eq!(read(&write(&folder, "a", content)), expected, "{content:?}");
    }
    for (content, expected) in [
        (
            &b"{\"a\":1}\n{\"a\":\"\xe9\"}\n{\"a\":3}"[..],
            "not UTF-8 (Latin-1?): byte 0xe9 at 7 of the line",
        ),
        (b"{\"a\":1}\n\xe9\n{\"a\":3}", "not UTF-8 (Latin-1?)"),
    ] {
        let found = read(&write(&folder, "bad", content));
        assert!(found[1].contains(&format!("error: bad:2: {expected}")), "{found:?}");
    }
    // What PowerShell's `>>` makes of a file.
    let utf16: Vec<u8> = "{\"a\":1}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let found = read(&write(&folder, "half", [&A.repeat(100), &utf16[..]].concat()));
    assert_eq!(found[100], "error: half:101: not UTF-8 text: it has bytes of 0, as UTF-16 has");
    for content in [[b"\xff\xfe", &utf16[..]].concat(), utf16] {
        let found = read(&write(&folder, "utf16", &content));
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("error: `utf16`: not UTF-8: it begins like UTF-16"),
            "{found:?}"
        );
        assert!(open_text(&folder.path().join("utf16")).is_err());
    }
}

#[test]
fn layouts() {
    let folder = TempDir::new().unwrap();
    let both =
        |first, second| vec![format!("{first}: {{\"a\":1}}"), format!("{second}: {{\"a\":2}}")];
    for (content, lines) in [
        ("{\"a\":1}\n\n{\"a\":2}", (1, 3)),
        ("[{\"a\":1},{\"a\":2}]", (1, 1)),
        ("\n[\n  {\n    \"a\": 1\n  },\n  {\n    \"a\": 2\n  }\n]\n", (3, 6)),
        ("[{\"a\":1}]\n[{\"a\":2}]", (1, 2)),
        ("[{\"a\":1}][]\u{feff}[{\"a\":2}]", (1, 1)),
        ("{\n  \"a\": 1\n}\n{\n  \"a\": 2\n}\n", (1, 4)),
        ("{\"a\":\n1}{\"a\":2}", (1, 2)),
        ("{\"data\": [{\"a\":1},\n{\"a\":2}]}", (1, 2)),
        ("{\"Version\": 1,\n\"Data\": [{\"a\":1},\n{\"a\":2}], \"Split\": \"dev\"}", (2, 3)),
    ] {
        assert_eq!(read(&write(&folder, "a", content)), both(lines.0, lines.1), "{content}");
    }
    for (content, expected) in [
        ("[]", vec![]),
        (" \n\n", vec![]),
        ("{\"data\": []}", vec![]),
        ("{\"q\": {\"a\":1},\n \"r\": {\"a\":2}}", vec!["1: q {\"a\":1}", "2: r {\"a\":2}"]),
        // One record each, and no container.
        ("{\"data\": [{\"a\":1}],\n\"rest\": 5}", vec!["1: {\"data\":[{\"a\":1}],\"rest\":5}"]),
        ("{\"a\": [{\"b\": 1}], \"c\": 2}", vec!["1: {\"a\":[{\"b\":1}],\"c\":2}"]),
    ] {
        assert_eq!(read(&write(&folder, "a", content)), expected, "{content}");
    }
}

/// A bad record does not take the others with it; a broken structure ends the file.
#[test]
fn bad_records_and_broken_files() {
    let folder = TempDir::new().unwrap();
    let good = "{\"a\":1}\n";
    for (bad, expected) in [
        ("{\"a\": ", "not JSON: it ends in the middle, at byte 5 of the line"),
        ("{\"a\": 1,}", "not JSON: a comma has nothing after it, at byte 9 of the line"),
        (
            "{'a': 1}",
            "not JSON: Python's notation, with keys in single quotes; write it with `json.dumps`",
        ),
        ("{\"a\": 1, \"a\": 2}", "the object has the key `a` twice"),
        ("{\"b\": {\"a\": 1, \"a\": 1}}", "the object has the key `a` twice"),
        ("[1, 2]", "a record is an object of JSON, and this is a list of 2 numbers"),
        ("nonsense", "a record is an object of JSON, and this is `nonsense`"),
        ("{\"a\": 1} x", "not JSON: after the object there is `x`"),
    ] {
        let found = read(&write(&folder, "c", format!("{good}{bad}\n{{\"a\":3}}\n")));
        let expected = [
            "1: {\"a\":1}".to_owned(),
            format!("error: c:2: {expected}"),
            "3: {\"a\":3}".to_owned(),
        ];
        assert_eq!(found, expected, "{bad}");
    }
    // The first line, too.
    let found = read(&write(&folder, "c", "{\"a\": {\n{\"a\":2}\n"));
    assert_eq!(
        found,
        ["error: c:1: not JSON: it ends in the middle, at byte 7 of the line", "2: {\"a\":2}"]
    );
    let found = read(&write(&folder, "c", "[{\"a\":1},\n 5, {\"a\" 1},\n {\"a\":2}]"));
    let expected = [
        "1: {\"a\":1}",
        "error: c:2, row 2: a record is an object of JSON, and this is the number 5",
        "error: c:2, row 3: not JSON: a key has no `:` after it, at byte 6 of the line",
        "3: {\"a\":2}",
    ];
    assert_eq!(found, expected);
    for (content, expected) in [
        (
            "[{\"a\":1},\n{\"a\":",
            "c:2: what begins here has no end: the file was cut off, or a bracket or a quote is missing",
        ),
        ("[{\"a\":1}\n", "c:1: what begins here has no closing `]`: the file was cut off"),
        ("[{\"a\":1},]", "c:1: not JSON: a comma has nothing after it"),
        ("[{\"a\":1}\n{\"a\":2}]", "c:2: not JSON: a comma is missing"),
    ] {
        let found = read(&write(&folder, "c", content));
        assert_eq!(found, ["1: {\"a\":1}".to_owned(), format!("error: {expected}")], "{content}");
    }
    for (content, word) in [
        ("id\ttext\n1\tx\n", "a table (TSV)"),
        ("id,text\n1,x\n", "a table (CSV)"),
        ("<!DOCTYPE html>\n<p>Not found", "a page of HTML"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS"),
    ] {
        let found = read(&write(&folder, "c", content));
        assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
    }
}

#[test]
fn numbers_are_exact() {
    let folder = TempDir::new().unwrap();
    let content = "{\"a\":NaN,\"b\":-Infinity,\"c\":\"NaN\",\"d\":18446744073709551615,\
                   \"e\":-9223372036854775808,\"f\":123456789012345678901234567890,\"g\":0.1}";
    let expected = json!({
        "a": null, "b": null, "c": "NaN", "d": u64::MAX, "e": i64::MIN,
        "f": "123456789012345678901234567890", "g": 0.1,
    });
    for content in [content.to_owned(), format!("[{content}]")] {
        let path = write(&folder, "a", content);
        let record = Records::open([path]).unwrap().next().unwrap().unwrap();
        assert_eq!(record.clone().into_value().unwrap(), expected);
        assert_eq!(record.parse::<serde_json::Value>().unwrap(), expected);
    }
}

#[test]
fn an_enormous_record_is_an_error() {
    let folder = TempDir::new().unwrap();
    let long = "x".repeat(100_000);
    for content in [
        format!("{{\"a\":1}}\n{{\"a\":\"{long}\"}}\n"),
        format!("[{{\"a\":1}},\n{{\"a\":\"{long}\"}}]"),
        format!("{{\"a\":1}}\n{long}"),
    ] {
        let path = write(&folder, "a", gzip(content.as_bytes()));
        let mut records = Records::open([path]).unwrap().with_limit(90_000);
        assert!(records.next().unwrap().is_ok());
        let error = records.next().unwrap().unwrap_err();
        assert!(
            error.to_string().ends_with("a:2: the record is larger than the limit of 90000 bytes")
        );
        assert!(!error.is_bad_record());
        assert!(records.next().is_none());
    }
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only errors are looked at")]
struct Row {
    id: Option<String>,
    #[serde(default)]
    answers: Vec<String>,
    label: Option<Label>,
    n: Option<u64>,
    inner: Option<Inner>,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only errors are looked at")]
struct Inner {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a text or a list of texts")]
#[expect(dead_code, reason = "only errors are looked at")]
enum Label {
    One(String),
    Several(Vec<String>),
}

#[test]
fn faults_are_in_words_of_the_file() {
    let folder = TempDir::new().unwrap();
    for (row, expected) in [
        ("{\"id\": 5}", "`id` is the number 5 where a text is wanted"),
        ("{\"answers\": \"x\"}", "`answers` is the text `x` where a list is wanted"),
        (
            "{\"answers\": [\"x\", {\"y\": 1}]}",
            "`answers[1]` is an object with the key `y` where a text is wanted",
        ),
        ("{\"answers\": null}", "`answers` is null where a list is wanted"),
        ("{\"label\": 1}", "`label` is the number 1 where a text or a list of texts is wanted"),
        ("{\"n\": -1}", "`n` is the number -1 where a whole number from 0 on is wanted"),
        ("{\"inner\": {\"x\": 1}}", "`inner` has no `name`; it is an object with the key `x`"),
        ("{\"inner\": \"x\"}", "`inner` is the text `x` where an object is wanted"),
        ("{\"id\": \"a\", \"id\": \"b\"}", "the object has the key `id` twice"),
    ] {
        let path = write(&folder, "a", row);
        let record = Records::open([path.clone()]).unwrap().next().unwrap().unwrap();
        let error = record.parse::<Row>().unwrap_err();
        assert_eq!(error.to_string(), format!("{}:1: {expected}", path.display()), "{row}");
        assert!(error.is_bad_record());
    }
    let path = write(&folder, "a", "{\"x\": 1, \"y\": 2}");
    let record = Records::open([path]).unwrap().next().unwrap().unwrap();
    let error = record.parse::<Inner>().unwrap_err().to_string();
    assert!(error.ends_with("a:1: no `name` among the keys `x` and `y`"), "{error}");
}

#[test]
fn folders() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("b")).unwrap();
    for name in [
        "c.ndjson",
        "b/b.jsonl.bz2",
        "a.JSON",
        "d.parquet.zst",
        "README.md",
        ".hidden.json",
        "part-00000",
        "part-00001.gz",
        "LICENSE",
        "_SUCCESS",
    ] {
        fs::write(data.join(name), "{}").unwrap();
    }
    let found = |path: &Path| -> Result<Vec<String>, String> {
        let files = find_files([path.to_owned()]).map_err(|error| error.to_string())?;
        Ok(files.iter().map(|it| it.strip_prefix(path).unwrap().display().to_string()).collect())
    };
    let all =
        ["a.JSON", "b/b.jsonl.bz2", "c.ndjson", "d.parquet.zst", "part-00000", "part-00001.gz"];
    assert_eq!(found(&data).unwrap(), all);
    fs::create_dir(folder.path().join("none")).unwrap();
    assert!(
        found(&folder.path().join("none"))
            .unwrap_err()
            .contains("has no file that ends in `.jsonl`")
    );
    assert!(found(&folder.path().join("absent")).unwrap_err().starts_with("cannot open"));
}

#[cfg(unix)]
#[test]
fn links() {
    use std::os::unix::fs::symlink;
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("b")).unwrap();
    fs::write(data.join("b/b.jsonl"), "{}").unwrap();
    // Twice the same file: by a link to it, and by a link to its folder.
    symlink(data.join("b/b.jsonl"), data.join("c.jsonl")).unwrap();
    symlink(data.join("b"), data.join("d")).unwrap();
    assert_eq!(find_files([data.clone()]).unwrap(), [data.join("b/b.jsonl")]);

    symlink(&data, data.join("b/back")).unwrap();
    let error = find_files([data.clone()]).unwrap_err().to_string();
    assert!(error.contains("the link `") && error.contains("b/back` leads back to"), "{error}");
    fs::remove_file(data.join("b/back")).unwrap();

    symlink(data.join("self.jsonl"), data.join("self.jsonl")).unwrap();
    let error = find_files([data.clone()]).unwrap_err().to_string();
    assert!(error.contains("self.jsonl"), "{error}");
}

#[test]
fn texts_are_read_with_the_same_care() {
    let folder = TempDir::new().unwrap();
    let content = "\u{feff}1 0 a 1\r\n\n\u{feff} 2 0 b 1 ";
    for (name, content) in
        [("plain", content.as_bytes().to_vec()), ("zstd", zstd(content.as_bytes()))]
    {
        let lines: Vec<_> =
            open_text(&write(&folder, name, content)).unwrap().map(|it| it.unwrap()).collect();
        let found: Vec<_> = lines.iter().map(|it| (it.place.number, it.text.as_str())).collect();
        assert_eq!(found, [(1, "1 0 a 1"), (3, "2 0 b 1")], "{name}");
    }
    let mut lines = open_text(&write(&folder, "latin", b"a\n\xe9\n")).unwrap();
    assert!(lines.next().unwrap().is_ok());
    let error = lines.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("latin:2: not UTF-8 (Latin-1?)"), "{error}");
}

#[test]
fn progress_counts_bytes_of_the_files() {
    let folder = TempDir::new().unwrap();
    let files = [write(&folder, "a", gzip(&long())), write(&folder, "b", A)];
    let mut records = Records::open(files.clone()).unwrap();
    let total = files.iter().map(|it| fs::metadata(it).unwrap().len()).sum::<u64>();
    assert_eq!((records.total_bytes(), records.n_rows()), (Some(total), None));
    assert_eq!(records.by_ref().count(), 20_000);
    assert_eq!(records.bytes_read(), total);
}
