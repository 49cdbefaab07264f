//! Faults of a parser in words of the file.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::describe::{describe, describe_keys, shortened};
use crate::strict::StrictValue;

/// Why a text that begins with `{` is not JSON.
pub(crate) fn syntax_fault(text: &str, error: &serde_json::Error) -> String {
    if let Some(key) = duplicate_key(&error.to_string()) {
        return format!("the object has the key `{key}` twice");
    }
    if is_python(text) {
        return "not JSON: Python's notation, with keys in single quotes; write it with \
                `json.dumps`"
            .to_owned();
    }
    let found = syntax_in_words(error);
    match error.line() {
        1 => format!("not JSON: {found}, at byte {} of the line", error.column()),
        line => format!("not JSON: {found}, {} lines below, at byte {}", line - 1, error.column()),
    }
}

/// Why a whole text is not JSON, with the place in it.
pub(crate) fn document_fault(text: &str, error: &serde_json::Error) -> String {
    if let Some(key) = duplicate_key(&error.to_string()) {
        return format!("an object has the key `{key}` twice");
    }
    let start = text.trim_start();
    if start.is_empty() {
        return "it is empty".to_owned();
    }
    if is_python(start) {
        return "it is in Python's notation, with keys in single quotes; `json.dumps` writes JSON"
            .to_owned();
    }
    if !start.starts_with(|char| matches!(char, '{' | '[' | '"' | '-' | '0'..='9'))
        && !["true", "false", "null"].iter().any(|word| start.starts_with(word))
    {
        return format!("it begins with `{}`", shortened(start));
    }
    let found = syntax_in_words(error);
    let lines_before = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let at = lines_before.map(str::len).sum::<usize>() + error.column();
    format!("{found}, at byte {at}")
}

/// Whether an object of Python was printed and not written as JSON.
fn is_python(text: &str) -> bool {
    let inner = text.strip_prefix('{').map_or("", str::trim_start);
    inner.starts_with('\'') || inner.starts_with("u'")
}

/// Fault of syntax in words, without its place.
fn syntax_in_words(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(first, _)| first);
    let found = match message {
        _ if error.is_eof() => "it ends in the middle",
        "key must be a string" => "a key is not in double quotes",
        "trailing comma" => "a comma has nothing after it",
        "trailing characters" => "something follows after its end",
        "expected value" | "expected ident" => "a value is missing or has no quotes",
        "expected `:`" => "a key has no `:` after it",
        "expected `,` or `}`" | "expected `,` or `]`" => "a comma or a closing bracket is missing",
        "invalid escape" => "a text has a `\\` that escapes nothing",
        "control character (\\u0000-\\u001F) found while parsing a string" => {
            "a text has a line break or another control character that is not escaped"
        }
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "a text has half a character (`\\ud800` to `\\udfff` come in pairs)"
        }
        "number out of range" => "a number is too large",
        "invalid number" => "a number is written as JSON has none",
        "recursion limit exceeded" => "lists or objects are nested more than 127 deep",
        other => other,
    };
    found.to_owned()
}

/// Why a value is not a `T`: the key, what it has, and what is wanted.
pub(crate) fn shape_fault<T: DeserializeOwned>(value: &Value) -> String {
    let Err(error) = serde_path_to_error::deserialize::<_, T>(value) else {
        return "the record cannot be read".to_owned();
    };
    let path = error.path().clone();
    let message = error.into_inner().to_string();
    if let Some(key) = between(&message, "missing field `", "`") {
        let owner = value_at(value, &path);
        return match (owner, path_in_words(&path)) {
            (Some(Value::Object(object)), None) => {
                format!("no `{key}` among {}", describe_keys(object.keys().map(String::as_str)))
            }
            (Some(owner), Some(path)) => {
                format!("`{path}` has no `{key}`; it is {}", describe(owner))
            }
            _ => format!("no `{key}`"),
        };
    }
    if let Some(key) = duplicate_key(&message) {
        return format!("`{key}` is there twice");
    }
    if let Some(key) = between(&message, "unknown field `", "`") {
        return format!("`{key}` is not a key that is known here");
    }
    let subject = path_in_words(&path).map_or("the record".to_owned(), |path| format!("`{path}`"));
    let found = value_at(value, &path).map_or("something else".to_owned(), describe);
    match wanted(&message) {
        Some(wanted) => format!("{subject} is {found} where {wanted} is wanted"),
        None => format!("{subject} is {found}, which is not what is wanted there"),
    }
}

/// Parses JSON in which no key is there twice.
pub(crate) fn parse_strict(text: &str) -> Result<Value, String> {
    match serde_json::from_str::<StrictValue>(text) {
        Ok(StrictValue(value)) => Ok(value),
        Err(error) => Err(syntax_fault(text, &error)),
    }
}

fn duplicate_key(message: &str) -> Option<&str> {
    between(message, "duplicate field `", "`")
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    rest.split_once(after).map(|(found, _)| found)
}

/// What serde expected, in words. A type with `#[serde(expecting = "…")]` says it itself.
fn wanted(message: &str) -> Option<String> {
    if message.contains("did not match any variant") {
        return None;
    }
    let expected = message.rsplit_once(", expected ").map_or(message, |(_, expected)| expected);
    Some(match expected {
        "a string" | "a borrowed string" | "string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        other if other.starts_with("struct ") => "an object".to_owned(),
        other => shortened_words(other),
    })
}

/// A message without line breaks; longer than what is quoted of a file.
fn shortened_words(words: &str) -> String {
    if words.chars().count() <= 200 { words.replace('\n', " ") } else { shortened(words) }
}

/// Value at a path, as far as the path leads.
fn value_at<'a>(value: &'a Value, path: &Path) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Map { key } => value.get(key),
        Segment::Seq { index } => value.get(index),
        _ => Some(value),
    })
}

/// Path in words: `answers[2].text`.
fn path_in_words(path: &Path) -> Option<String> {
    let words = path.to_string();
    (words != "." && words != "?").then_some(words)
}
