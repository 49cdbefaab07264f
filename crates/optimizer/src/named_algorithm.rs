//! Sections of a run file that choose an algorithm by its `name`.
//!
//! Such a section is an enum with serde's internal tag `name` and one struct of options for each
//! algorithm; the derived code alone decides what is read. [`named_algorithm!`] adds two things to
//! it. The ranges are checked while the file is read. And errors are explained: serde does not say
//! which key has a value of the wrong type, nor which algorithm has the key that this one refuses.
//! [`Explanation`] finds both out by reading parts of the section again, so that no table of names
//! and keys has to be kept beside the types.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::error::OptimizerError;

/// Key of the algorithm's name.
const NAME: &str = "name";

/// Keys of a section and their values, `name` included.
type Options = BTreeMap<String, OptionValue>;

/// Value of a run file.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum OptionValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<OptionValue>),
    /// A table.
    Table(Options),
}

/// Error of the derived code, with the parts that [`Explanation`] needs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ReadError {
    /// A name that no variant has.
    #[error("unknown variant `{variant}`, expected one of {}", list(.known))]
    UnknownVariant { variant: String, known: &'static [&'static str] },
    /// A key that the struct does not have.
    #[error("unknown field `{field}`, expected one of {}", list(.known))]
    UnknownField { field: String, known: &'static [&'static str] },
    /// A key without a default that is missing.
    #[error("missing field `{0}`")]
    MissingField(&'static str),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Implements `Serialize` and `Deserialize` for an enum of named algorithms, by the functions that
/// serde derives with `remote = "Self"`. The enum has a method `check`.
macro_rules! named_algorithm {
    ($algorithm:ty, $section:literal) => {
        impl serde::Serialize for $algorithm {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                // The derived function, not this one: inherent functions go before those of traits.
                <$algorithm>::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $algorithm {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::named_algorithm::read(
                    $section,
                    deserializer,
                    <$algorithm>::deserialize,
                    <$algorithm>::check,
                )
            }
        }
    };
}

pub(crate) use named_algorithm;

/// Reads a section with `derived`, the function that serde derives, and checks its ranges.
pub(crate) fn read<'de, T, D, F, C>(
    section: &'static str,
    deserializer: D,
    derived: F,
    check: C,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    F: Fn(OptionValue) -> Result<T, ReadError>,
    C: Fn(&T) -> Result<(), OptimizerError>,
{
    let options = Options::deserialize(deserializer)?;
    derived(OptionValue::Table(options.clone()))
        .map_err(|error| Explanation { section, options: &options, derived }.of(error))
        .and_then(|algorithm| check(&algorithm).map(|()| algorithm))
        .map_err(de::Error::custom)
}

/// A section that cannot be read.
struct Explanation<'a, F> {
    section: &'static str,
    options: &'a Options,
    derived: F,
}

impl<T, F> Explanation<'_, F>
where
    F: Fn(OptionValue) -> Result<T, ReadError>,
{
    /// The error of the whole section, in terms of its keys.
    fn of(&self, error: ReadError) -> OptimizerError {
        let name = match self.name() {
            Ok(name) => name,
            Err(error) => return error,
        };
        // What is wrong with the name alone too is that a key is missing.
        let without_options = self.error_with(name, None);
        for (key, value) in self.options.iter().filter(|(key, _)| *key != NAME) {
            match self.error_with(name, Some((key, value))) {
                Some(error) if Some(&error) != without_options.as_ref() => {
                    return self.of_key(name, key, value, error);
                }
                _ => {}
            }
        }
        let (section, name) = (self.section, name.to_owned());
        match error {
            ReadError::MissingField(key) => {
                OptimizerError::MissingKey { section, key: key.to_owned(), name }
            }
            error => OptimizerError::Value { key: section.to_owned(), problem: error.to_string() },
        }
    }

    /// The error of one key.
    fn of_key(
        &self,
        name: &str,
        key: &str,
        value: &OptionValue,
        error: ReadError,
    ) -> OptimizerError {
        let refuses = |error: &ReadError| matches!(error, ReadError::UnknownField { field, .. } if field == key);
        let has_key = |name: &str| {
            self.error_with(name, Some((key, value))).as_ref().is_none_or(|error| !refuses(error))
        };
        let (section, key, name) = (self.section, key.to_owned(), name.to_owned());
        match error {
            ReadError::UnknownField { field, known } if field == key => {
                let users: Vec<&str> =
                    self.names().iter().copied().filter(|name| has_key(name)).collect();
                if users.is_empty() {
                    OptimizerError::UnknownKey { section, key, name, known: list(known) }
                } else {
                    OptimizerError::UnusedKey { section, key, name, users: list(&users) }
                }
            }
            error => OptimizerError::Value {
                key: format!("{section}.{key}"),
                problem: error.to_string(),
            },
        }
    }

    /// The name in the section, if an algorithm has it.
    fn name(&self) -> Result<&str, OptimizerError> {
        let (section, names) = (self.section, self.names());
        match self.options.get(NAME) {
            Some(OptionValue::Text(name)) if names.contains(&name.as_str()) => Ok(name),
            Some(OptionValue::Text(name)) => {
                Err(OptimizerError::UnknownName { section, name: name.clone(), known: list(names) })
            }
            Some(_) => {
                let problem = format!("it must be one of the strings {}", list(names));
                Err(OptimizerError::Value { key: format!("{section}.{NAME}"), problem })
            }
            None => Err(OptimizerError::MissingName { section, known: list(names) }),
        }
    }

    /// The names of all algorithms, in the order of the enum's variants.
    fn names(&self) -> &'static [&'static str] {
        match self.error_with("", None) {
            Some(ReadError::UnknownVariant { known, .. }) => known,
            _ => &[],
        }
    }

    /// The error of a section with this name and at most one other key.
    fn error_with(&self, name: &str, option: Option<(&str, &OptionValue)>) -> Option<ReadError> {
        let name = (NAME.to_owned(), OptionValue::Text(name.to_owned()));
        let option = option.map(|(key, value)| (key.to_owned(), value.clone()));
        (self.derived)(OptionValue::Table([name].into_iter().chain(option).collect())).err()
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        return "no keys".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl<'de> Deserializer<'de> for OptionValue {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Integer(value) => visitor.visit_i64(value),
            Self::Float(value) => visitor.visit_f64(value),
            Self::Text(value) => visitor.visit_string(value),
            Self::List(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter())),
            Self::Table(values) => visitor.visit_map(MapDeserializer::new(values.into_iter())),
        }
    }

    // The code that serde derives for an internal tag asks for nothing else.
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

impl IntoDeserializer<'_, ReadError> for OptionValue {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl de::Error for ReadError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownVariant { variant: variant.to_owned(), known }
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::UnknownField { field: field.to_owned(), known }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::MissingField(field)
    }
}
