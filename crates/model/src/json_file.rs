//! JSON files of a checkpoint folder, read and written whole.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{CheckpointError, CheckpointErrorKind};
use crate::text_file::{parse_json, read_text};

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    let fail = |kind| CheckpointError::new(path, kind);
    let text = read_text(path).map_err(|err| fail(err.into()))?;
    parse_json(&text).map_err(|err| fail(CheckpointErrorKind::Json(err)))
}

/// Writes an indented JSON file, whole or not at all.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), CheckpointError> {
    let fail = |kind| CheckpointError::new(path, kind);
    let text = serde_json::to_vec_pretty(value)
        .map_err(|err| fail(CheckpointErrorKind::Json(err.into())))?;
    forage_fs::write_file(path, &text).map_err(|err| fail(CheckpointErrorKind::Io(err)))
}
