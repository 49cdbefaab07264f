//! Values of JSON in words, for messages.

use serde_json::Value;

/// Most characters of a text that a message shows.
const SHOWN: usize = 40;
/// Most keys of an object that a message shows.
const SHOWN_KEYS: usize = 8;

/// Describes a value: "an object with the keys `a` and `b`", "a list of 3 numbers", "the number 5".
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.is_empty() => "an empty text".to_owned(),
        Value::String(text) => format!("the text `{}`", shortened(text)),
        Value::Array(values) if values.is_empty() => "an empty list".to_owned(),
        Value::Array(values) => {
            format!("a list of {} {}", values.len(), kind_of_all(values))
        }
        Value::Object(object) if object.is_empty() => "an object without keys".to_owned(),
        Value::Object(object) => {
            format!("an object with {}", describe_keys(object.keys().map(String::as_str)))
        }
    }
}

/// Names keys: "the key `a`", "the keys `a`, `b` and `c`", "no keys".
pub fn describe_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    let keys: Vec<String> = keys.into_iter().map(|key| format!("`{}`", shortened(key))).collect();
    match keys.as_slice() {
        [] => "no keys".to_owned(),
        [only] => format!("the key {only}"),
        [first @ .., last] if keys.len() <= SHOWN_KEYS => {
            format!("the keys {} and {last}", first.join(", "))
        }
        _ => {
            let n_more = keys.len() - SHOWN_KEYS;
            format!("the keys {} and {n_more} more", keys[..SHOWN_KEYS].join(", "))
        }
    }
}

/// Beginning of a text, on one line.
pub(crate) fn shortened(text: &str) -> String {
    let plain = |char: char| if char.is_control() { ' ' } else { char };
    let mut short: String = text.chars().take(SHOWN).map(plain).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Kind of all values of a list: "numbers", or "values" where they differ.
fn kind_of_all(values: &[Value]) -> &'static str {
    let one = values.len() == 1;
    let kind = |value: &Value| match (value, one) {
        (Value::Null, true) => "null",
        (Value::Null, false) => "nulls",
        (Value::Bool(_), true) => "truth value",
        (Value::Bool(_), false) => "truth values",
        (Value::Number(_), true) => "number",
        (Value::Number(_), false) => "numbers",
        (Value::String(_), true) => "text",
        (Value::String(_), false) => "texts",
        (Value::Array(_), true) => "list",
        (Value::Array(_), false) => "lists",
        (Value::Object(_), true) => "object",
        (Value::Object(_), false) => "objects",
    };
    let first = kind(&values[0]);
    if values.iter().all(|value| kind(value) == first) { first } else { "values of several kinds" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_words() {
        for (json, words) in [
            ("null", "null"),
            ("true", "true"),
            ("-5.5", "the number -5.5"),
            ("\"\"", "an empty text"),
            ("\"a\\nb\"", "the text `a b`"),
            ("[]", "an empty list"),
            ("[1, 2, 3]", "a list of 3 numbers"),
            ("[{}]", "a list of 1 object"),
            ("[1, \"a\"]", "a list of 2 values of several kinds"),
            ("{}", "an object without keys"),
            ("{\"a\": 1}", "an object with the key `a`"),
            ("{\"a\": 1, \"b\": 2}", "an object with the keys `a` and `b`"),
        ] {
            assert_eq!(describe(&serde_json::from_str(json).unwrap()), words, "{json}");
        }
        let keys: Vec<String> = (0..11).map(|number| number.to_string()).collect();
        let words = describe_keys(keys.iter().map(String::as_str));
        assert_eq!(words, "the keys `0`, `1`, `2`, `3`, `4`, `5`, `6`, `7` and 3 more");
        assert_eq!(shortened(&"é".repeat(41)), format!("{}…", "é".repeat(40)));
    }
}
