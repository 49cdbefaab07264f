//! Reading of the members of an answer, with words for what is not there.
//!
//! A reader gives a [`ShapeFault`], to which those around it add their part of the path:
//! [`elements`] does for a list, [`ShapeFault::under`] for a key.

use std::fmt;

use forage_records::{describe, describe_keys};
use serde_json::Value;

/// Fault in the shape of an answer: the path from its root, and what is there.
///
/// ```
/// use forage_http::{elements, member, number};
///
/// let answer = serde_json::json!({ "data": [{ "score": 1.5 }, { "score": null }] });
/// let scores = elements(member(&answer, "data").unwrap(), |row| {
///     number(member(row, "score")?).map_err(|fault| fault.under("score"))
/// });
/// let fault = scores.unwrap_err().under("data");
/// assert_eq!(fault.to_string(), "`data[1].score` is null where a number is wanted");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeFault {
    path: String,
    what: String,
}

impl ShapeFault {
    /// Fault of a value; `what` goes on with the sentence "it …".
    pub fn new(what: impl Into<String>) -> Self {
        Self { path: String::new(), what: what.into() }
    }

    /// Fault of a value that is something else than is wanted.
    pub fn wanted(found: &Value, wanted: &str) -> Self {
        Self::new(format!("is {} where {wanted} is wanted", describe(found)))
    }

    /// The fault of the member of an object.
    #[must_use]
    pub fn under(self, key: &str) -> Self {
        Self { path: format!(".{key}{}", self.path), ..self }
    }

    /// The fault of the element of a list.
    #[must_use]
    pub fn at(self, idx: usize) -> Self {
        Self { path: format!("[{idx}]{}", self.path), ..self }
    }
}

impl fmt::Display for ShapeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.trim_start_matches('.') {
            "" => write!(f, "it {}", self.what),
            path => write!(f, "`{path}` {}", self.what),
        }
    }
}

/// Member of an object.
pub fn member<'a>(value: &'a Value, key: &str) -> Result<&'a Value, ShapeFault> {
    let Some(object) = value.as_object() else {
        return Err(ShapeFault::wanted(value, &format!("an object with `{key}`")));
    };
    object.get(key).ok_or_else(|| {
        // Some servers answer 200 with an error in it.
        let error = object.get("error").or_else(|| object.get("detail"));
        ShapeFault::new(match error {
            Some(error) => format!("has no `{key}`, but an error: {error}"),
            None if object.is_empty() => format!("has no `{key}`, and no other key"),
            None => {
                let keys = describe_keys(object.keys().map(String::as_str));
                format!("has no `{key}`, but {keys}")
            }
        })
    })
}

/// Elements of a list.
pub fn list(value: &Value) -> Result<&[Value], ShapeFault> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| ShapeFault::wanted(value, "a list"))
}

/// Reads every element of a list.
pub fn elements<'a, T>(
    value: &'a Value,
    mut read: impl FnMut(&'a Value) -> Result<T, ShapeFault>,
) -> Result<Vec<T>, ShapeFault> {
    let rows = list(value)?.iter().enumerate();
    rows.map(|(idx, row)| read(row).map_err(|fault| fault.at(idx))).collect()
}

/// Text.
pub fn text(value: &Value) -> Result<&str, ShapeFault> {
    value.as_str().ok_or_else(|| ShapeFault::wanted(value, "a text"))
}

/// Number.
pub fn number(value: &Value) -> Result<f64, ShapeFault> {
    value.as_f64().ok_or_else(|| ShapeFault::wanted(value, "a number"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_name_their_place() {
        let answer = json!({ "rows": [{ "a": 1 }, { "a": "1.5" }], "none": {} });
        let read = |row| member(row, "a").and_then(|it| number(it).map_err(|it| it.under("a")));
        for (fault, expected) in [
            (
                elements(&answer["rows"], read).unwrap_err().under("rows"),
                "`rows[1].a` is the text `1.5` where a number is wanted",
            ),
            (
                member(&answer, "data").unwrap_err(),
                "it has no `data`, but the keys `rows` and `none`",
            ),
            (
                member(&answer["none"], "data").unwrap_err().under("none"),
                "`none` has no `data`, and no other key",
            ),
            (
                member(&json!({ "error": "loading" }), "data").unwrap_err(),
                "it has no `data`, but an error: \"loading\"",
            ),
            (
                member(&json!([1]), "data").unwrap_err(),
                "it is a list of 1 number where an object with `data` is wanted",
            ),
            (list(&json!(null)).unwrap_err().at(2), "`[2]` is null where a list is wanted"),
            (text(&json!(7)).unwrap_err(), "it is the number 7 where a text is wanted"),
        ] {
            assert_eq!(fault.to_string(), expected);
        }
    }
}
