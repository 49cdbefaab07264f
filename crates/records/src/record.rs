//! Record: one object of a file, with its place.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::scan::repaired;
use crate::words::{parse_strict, shape_fault};
use crate::{Place, RecordError};

/// Record of a file: an object with its place.
#[derive(Debug, Clone)]
pub struct Record {
    place: Place,
    key: Option<String>,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    /// Text that begins with `{`, ends with its `}`, and may still be no JSON between them.
    Json(String),
    Object(Map<String, Value>),
}

impl Record {
    pub(crate) fn of_json(place: Place, key: Option<String>, text: String) -> Self {
        Self { place, key, body: Body::Json(text) }
    }

    pub(crate) fn of_object(place: Place, object: Map<String, Value>) -> Self {
        Self { place, key: None, body: Body::Object(object) }
    }

    /// Place in its file.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Key of the record, where the file is one object of objects: `{"q1": {…}, "q2": {…}}`.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Parses the record. JSON goes from its bytes into the type without a value between.
    ///
    /// A message about an untagged enum says what is wanted only where the enum has
    /// `#[serde(expecting = "…")]`; that, and what a `Deserialize` by hand expects, names a thing,
    /// such as "a text or a list of texts".
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, RecordError> {
        match &self.body {
            Body::Json(text) => serde_json::from_str(text).or_else(|_| {
                let value = Value::Object(self.parse_json(text)?);
                serde::Deserialize::deserialize(&value)
                    .map_err(|_: serde_json::Error| self.bad(shape_fault::<T>(&value)))
            }),
            Body::Object(object) => {
                let value = Value::Object(object.clone());
                serde::Deserialize::deserialize(&value)
                    .map_err(|_: serde_json::Error| self.bad(shape_fault::<T>(&value)))
            }
        }
    }

    /// The object. A key that is there twice, at any depth, is an error.
    pub fn into_object(self) -> Result<Map<String, Value>, RecordError> {
        match self.body {
            Body::Object(object) => Ok(object),
            Body::Json(ref text) => self.parse_json(text),
        }
    }

    /// The object as a value; like [`Record::into_object`].
    pub fn into_value(self) -> Result<Value, RecordError> {
        self.into_object().map(Value::Object)
    }

    /// Error that says what is wrong with this record.
    pub fn bad(&self, what: impl Into<String>) -> RecordError {
        RecordError::BadRecord { place: self.place.clone(), what: what.into() }
    }

    fn parse_json(&self, text: &str) -> Result<Map<String, Value>, RecordError> {
        match parse_strict(&repaired(text)) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(self.bad("a record is an object")),
            Err(what) => Err(self.bad(what)),
        }
    }
}
