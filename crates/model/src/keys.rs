//! JSON keys of a `config.json`, taken one by one.
//!
//! [`Keys`] is the object while it is read: what has been taken is gone, so that what is left can
//! be kept or refused. It knows no key by name.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Invalid model configuration: it asks for something this crate does not compute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("model configuration: {0}")]
pub struct ConfigError(pub String);

/// Keys of a JSON object that are still to be read.
#[derive(Debug)]
pub(crate) struct Keys {
    /// The key that the object stands under; empty for the file itself.
    place: &'static str,
    map: Map<String, Value>,
}

impl Keys {
    /// Keys of a whole file.
    pub(crate) fn new(map: Map<String, Value>) -> Self {
        Self { place: "", map }
    }

    /// Keys of an object within the file, under the key `place`.
    pub(crate) fn within(place: &'static str, map: Map<String, Value>) -> Self {
        Self { place, map }
    }

    /// Takes a key that may be absent; `null` counts as absent.
    pub(crate) fn optional<T: DeserializeOwned>(
        &mut self,
        key: &str,
    ) -> Result<Option<T>, ConfigError> {
        match self.map.shift_remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|err| ConfigError(format!("{}: {err}", self.name(key)))),
        }
    }

    /// Takes a key that must be there.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, ConfigError> {
        let missing = ConfigError(format!("{} is missing", self.name(key)));
        self.optional(key)?.ok_or(missing)
    }

    /// Keys that have not been taken.
    pub(crate) fn rest(&self) -> &Map<String, Value> {
        &self.map
    }

    fn name(&self, key: &str) -> String {
        if self.place.is_empty() { format!("`{key}`") } else { format!("`{}.{key}`", self.place) }
    }
}

/// Refuses sizes that no model has, by key: 0, and what is too large to list the tensors of.
pub(crate) fn check_sizes(sizes: &[(&str, usize)]) -> Result<(), ConfigError> {
    for &(key, value) in sizes {
        if value == 0 {
            return Err(ConfigError(format!("`{key}` is 0")));
        }
        // Whatever the file says, the list of tensors must fit, and two sizes multiply.
        let most = if key == "num_hidden_layers" { 1 << 16 } else { u32::MAX as usize };
        if value > most {
            return Err(ConfigError(format!("`{key}` {value} is too large")));
        }
    }
    Ok(())
}
