//! Values of a row by key, in the shapes that tables and JSON give them.
//!
//! `null` is absent everywhere. Structures may be lists, tables by column, or the text of either.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::error::{RowError, beginning, describe};
use crate::literal::{self, Reading};

/// Object of a row.
pub(crate) type Object = Map<String, Value>;

/// Value of a key; `null` is absent.
pub(crate) fn field<'a>(object: &'a Object, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

/// Text of a key, if it is a text that is not blank.
pub(crate) fn text<'a>(object: &'a Object, key: &str) -> Option<&'a str> {
    field(object, key)?.as_str().filter(|text| !text.trim().is_empty())
}

/// First of some keys that holds a text.
pub(crate) fn first_text<'a>(object: &'a Object, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| text(object, key))
}

/// Object of a key, also one that arrived as text.
pub(crate) fn object<'a>(object: &'a Object, key: &str) -> Option<Cow<'a, Object>> {
    match field(object, key)? {
        Value::Object(it) => Some(Cow::Borrowed(it)),
        Value::String(it) => match literal::read(it) {
            Reading::Literal(Value::Object(it)) => Some(Cow::Owned(it)),
            _ => None,
        },
        _ => None,
    }
}

/// Identifier: a text, or a whole number as it was written. One that went through floating point may
/// be that of another.
pub(crate) fn id(key: &str, value: &Value) -> Result<String, RowError> {
    match value {
        Value::String(it) => Ok(it.clone()),
        Value::Number(it) if !it.is_f64() => Ok(it.to_string()),
        _ => Err(RowError::Shape {
            key: key.to_owned(),
            expected: "an id is a text or a whole number, without a point",
            found: describe(value),
        }),
    }
}

/// Value of a key, with a structure that arrived as text read.
pub(crate) fn structure<'a>(path: &str, value: &'a Value) -> Result<Cow<'a, Value>, RowError> {
    let Value::String(it) = value else { return Ok(Cow::Borrowed(value)) };
    match literal::read(it) {
        Reading::Text => Ok(Cow::Borrowed(value)),
        Reading::Literal(value) => Ok(Cow::Owned(value)),
        Reading::Unclear => {
            Err(RowError::ListAsText { key: path.to_owned(), found: beginning(it) })
        }
    }
}

/// Rows of a small table: a list of objects, a list of lists in the order of `names`, or an object
/// of columns. `None` for anything else.
pub(crate) fn records(
    path: &str,
    value: &Value,
    names: &[&str],
) -> Result<Option<Vec<Object>>, RowError> {
    match structure(path, value)?.as_ref() {
        Value::Array(items) => {
            items.iter().map(|item| record(path, item, names)).collect::<Result<Option<_>, _>>()
        }
        Value::Object(columns) => columns_to_records(path, columns),
        _ => Ok(None),
    }
}

/// Rows of a small table, as [`records`]; an error for anything else.
pub(crate) fn table(
    path: &str,
    value: &Value,
    names: &[&str],
    expected: &'static str,
) -> Result<Vec<Object>, RowError> {
    records(path, value, names)?.ok_or_else(|| RowError::Shape {
        key: path.to_owned(),
        expected,
        found: odd_entry(value, names).map_or_else(
            || describe(value),
            |(position, entry)| format!("a list whose entry {position} is {}", describe(entry)),
        ),
    })
}

/// The first entry of a list that is no row of a table, with its position.
fn odd_entry<'a>(value: &'a Value, names: &[&str]) -> Option<(usize, &'a Value)> {
    let entries = value.as_array()?.iter().enumerate();
    entries.into_iter().find(|(_, entry)| !matches!(record("", entry, names), Ok(Some(_))))
}

fn record(path: &str, item: &Value, names: &[&str]) -> Result<Option<Object>, RowError> {
    Ok(match structure(path, item)?.into_owned() {
        Value::Object(it) => Some(it),
        Value::Array(values) if !values.is_empty() && values.len() <= names.len() => {
            Some(names.iter().map(|name| (*name).to_owned()).zip(values).collect())
        }
        _ => None,
    })
}

fn columns_to_records(path: &str, columns: &Object) -> Result<Option<Vec<Object>>, RowError> {
    let mut records: Vec<Object> = Vec::new();
    let mut length = None;
    for (name, column) in columns.iter().filter(|(_, column)| !column.is_null()) {
        let Value::Array(values) = structure(path, column)?.into_owned() else { return Ok(None) };
        let first = *length.get_or_insert(values.len());
        if values.len() != first {
            return Err(RowError::Shape {
                key: format!("{path}.{name}"),
                expected: "columns of a table have one length",
                found: format!("a list of {} beside one of {first}", values.len()),
            });
        }
        records.resize_with(records.len().max(values.len()), Object::new);
        for (record, value) in records.iter_mut().zip(values) {
            record.insert(name.clone(), value);
        }
    }
    Ok(Some(records))
}

/// Texts of a list, or of one text. Numbers are texts; anything else is left out.
pub(crate) fn texts(path: &str, value: &Value) -> Result<Vec<String>, RowError> {
    let mut texts = Vec::new();
    match structure(path, value)?.as_ref() {
        Value::String(it) => texts.push(it.clone()),
        Value::Number(it) => texts.push(it.to_string()),
        Value::Array(items) => {
            for item in items {
                texts.extend(self::texts(path, item)?);
            }
        }
        _ => {}
    }
    Ok(texts)
}

/// Whole number of a key.
pub(crate) fn index(object: &Object, key: &str) -> Option<u64> {
    let value = field(object, key)?;
    let whole = |number: f64| (number >= 0.0 && number.fract() == 0.0).then_some(number as u64);
    value
        .as_u64()
        .or_else(|| value.as_f64().and_then(whole))
        .or_else(|| value.as_str()?.parse().ok())
}
