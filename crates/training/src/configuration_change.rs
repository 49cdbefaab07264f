//! Differences between two configurations in TOML, key by key.
//!
//! [`differences`] compares values and not text: comments, the order of keys and the way in which a
//! table is written do not count, and neither does whether a number is written `1` or `1.0`.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

/// Longest value that is quoted, in characters.
const LONGEST: usize = 80;

/// Key with different values in two configurations.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyDifference {
    /// Key with its sections, for example `training.steps`.
    pub key: String,
    /// Value in the first configuration.
    pub before: Option<Value>,
    /// Value in the second configuration.
    pub now: Option<Value>,
}

/// Keys that differ between two configurations, in alphabetical order.
///
/// # Errors
///
/// A text that is no TOML.
pub fn differences(before: &str, now: &str) -> Result<Vec<KeyDifference>, toml::de::Error> {
    let (mut before, now) = (values(before)?, values(now)?);
    let mut found = Vec::new();
    for (key, value) in now {
        match before.remove(&key) {
            Some(old) if equal(&old, &value) => {}
            old => found.push(KeyDifference { key, before: old, now: Some(value) }),
        }
    }
    let removed = before.into_iter();
    found.extend(removed.map(|(key, old)| KeyDifference { key, before: Some(old), now: None }));
    found.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(without_filled_tables(found))
}

/// Leaves out tables that are empty in one configuration: the keys that the other has in them are
/// named.
fn without_filled_tables(found: Vec<KeyDifference>) -> Vec<KeyDifference> {
    let keys: Vec<String> = found.iter().map(|difference| difference.key.clone()).collect();
    let is_filled = |difference: &KeyDifference| {
        let values = difference.before.iter().chain(&difference.now);
        let inside = format!("{}.", difference.key);
        values.into_iter().all(Value::is_table) && keys.iter().any(|key| key.starts_with(&inside))
    };
    found.into_iter().filter(|difference| !is_filled(difference)).collect()
}

/// Keys that differ between two effective configurations, which have their defaults filled in. Where
/// those leave out a key, its value is the one that was written.
///
/// # Errors
///
/// A text that is no TOML.
pub fn effective_differences(
    written: [&str; 2],
    [before, now]: [&str; 2],
) -> Result<Vec<KeyDifference>, toml::de::Error> {
    let mut found = differences(before, now)?;
    let [before, now] = [values(written[0])?, values(written[1])?];
    for KeyDifference { key, before: old, now: new } in &mut found {
        *old = old.take().or_else(|| before.get(key).cloned());
        *new = new.take().or_else(|| now.get(key).cloned());
    }
    Ok(found)
}

impl KeyDifference {
    /// Old and new value of a number that was raised.
    pub fn raised(&self) -> Option<(u64, u64)> {
        let number = |value: &Option<Value>| u64::try_from(value.as_ref()?.as_integer()?).ok();
        let (before, now) = (number(&self.before)?, number(&self.now)?);
        (now > before).then_some((before, now))
    }
}

impl fmt::Display for KeyDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| value.as_ref().map_or("not given".to_owned(), quoted);
        write!(f, "`{}` is {} and was {}", self.key, shown(&self.now), shown(&self.before))
    }
}

/// Values of a configuration by their whole keys.
fn values(text: &str) -> Result<BTreeMap<String, Value>, toml::de::Error> {
    let mut flat = BTreeMap::new();
    for (key, value) in toml::from_str::<Table>(text)? {
        flatten(key, value, &mut flat);
    }
    Ok(flat)
}

/// Adds a value, or the values inside of it, under their whole keys.
fn flatten(key: String, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Table(table) if !table.is_empty() => {
            for (name, value) in table {
                flatten(format!("{key}.{name}"), value, into);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for (idx, item) in items.into_iter().enumerate() {
                flatten(format!("{key}[{idx}]"), item, into);
            }
        }
        value => {
            into.insert(key, value);
        }
    }
}

/// Whether two values mean the same.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Integer(one), Value::Float(other)) | (Value::Float(other), Value::Integer(one)) => {
            (*one as f64).total_cmp(other).is_eq()
        }
        (Value::Float(one), Value::Float(other)) => one.total_cmp(other).is_eq(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (one, other) => one == other,
    }
}

/// Value as TOML on one line, cut where it is long.
fn quoted(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        value => value.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: &str, now: &str) -> Vec<String> {
        differences(before, now).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_are_compared_and_not_text() {
        let before = "# a run\nseed = 1\n[optimizer]\nlr = 1\nbetas = [0.9, 1]\n[kl]\n";
        let now = "optimizer = { betas = [0.9, 1.0], lr = 1.0 } # the same\nkl = {}\nseed = 1";
        assert_eq!(told(before, now), Vec::<String>::new());
    }

    #[test]
    fn each_key_is_named_with_both_values() {
        for (before, now, expected) in [
            ("a.b = 1", "a.b = 3", "`a.b` is 3 and was 1"),
            ("a.b = 1", "a.c = 1", "`a.b` is not given and was 1, `a.c` is 1 and was not given"),
            ("[a.b]", "a.b.c = 1", "`a.b.c` is 1 and was not given"),
            ("a = 'x'", "a = 'y\"'", "`a` is \"y\\\"\" and was \"x\""),
            ("[[p]]\ns = 1\n[[p]]\ns = 2", "[[p]]\ns = 1\n[[p]]\ns = 4", "`p[1].s` is 4 and was 2"),
            (
                "seed = 9007199254740993",
                "seed = 9007199254740992",
                "`seed` is 9007199254740992 and was 9007199254740993",
            ),
        ] {
            assert_eq!(told(before, now).join(", "), expected);
        }
        let long = format!("a = '{}'", "é".repeat(200));
        assert!(told("", &long)[0].chars().count() < 120);
        assert!(differences("a = ", "").is_err());
    }

    #[test]
    fn a_value_that_is_left_out_is_shown_as_it_was_written() {
        let (before, now) = ("a = 'default'\nb = 1", "a = 'other'\nb = 1\nc = 2");
        let found = effective_differences([before, now], ["", "a = 'other'"]).unwrap();
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["`a` is \"other\" and was \"default\""]);
    }

    #[test]
    fn a_number_is_raised_or_not() {
        let raised = |before: &str, now: &str| differences(before, now).unwrap()[0].raised();
        assert_eq!(raised("s = 1", "s = 3"), Some((1, 3)));
        for (before, now) in [("s = 3", "s = 1"), ("", "s = 1"), ("s = '1'", "s = 2")] {
            assert_eq!(raised(before, now), None);
        }
    }
}
