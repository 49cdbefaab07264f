//! Rows of a parquet file as objects of JSON, one row group at a time.
//!
//! Integers stay integers. Bytes that are UTF-8 are text, since some writers do not mark texts as
//! such; other bytes are no value that a reader takes. What is not a number (NaN, infinities) is null,
//! and dates and times are texts without a zone.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::ConvertedType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::{ReaderIter, TreeBuilder};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Number, Value};

use crate::{Place, Record, RecordError};

/// Rows of a parquet file.
pub(crate) struct ParquetRows {
    reader: SerializedFileReader<File>,
    file: Arc<Path>,
    group: usize,
    rows: Option<ReaderIter>,
    n_read: u64,
    n_rows: u64,
    n_bytes: u64,
}

impl ParquetRows {
    pub(crate) fn open(file: File, name: Arc<Path>) -> Result<Self, RecordError> {
        let open = |source| RecordError::Open { path: name.to_path_buf(), source };
        let refused = |what| RecordError::Format { path: name.to_path_buf(), what };
        let n_bytes = file.metadata().map_err(open)?.len();
        let reader = guarded(|| SerializedFileReader::new(file)).map_err(|error| {
            refused(format!("this begins like parquet, but its end cannot be read, so it may have been cut off; copy or download it again ({error})"))
        })?;
        let metadata = reader.metadata().file_metadata();
        check_schema(metadata.schema()).map_err(refused)?;
        let n_rows = metadata.num_rows().max(0) as u64;
        Ok(Self { reader, file: name, group: 0, rows: None, n_read: 0, n_rows, n_bytes })
    }

    /// Rows of the file, as its footer says.
    pub(crate) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Share of the file that was read, in bytes.
    pub(crate) fn bytes_read(&self) -> u64 {
        if self.n_rows == 0 {
            return self.n_bytes;
        }
        (u128::from(self.n_bytes) * u128::from(self.n_read) / u128::from(self.n_rows)) as u64
    }

    pub(crate) fn next_record(&mut self) -> Result<Option<Record>, RecordError> {
        let place = Place::row(Arc::clone(&self.file), self.n_read + 1);
        let error = |error: ParquetError| {
            let source = io::Error::new(io::ErrorKind::InvalidData, fault(&error));
            RecordError::Read { place: place.clone(), source }
        };
        let Some(row) = guarded(|| self.next_row()).map_err(error)? else {
            return Ok(None);
        };
        self.n_read += 1;
        let object = row.into_columns().into_iter().map(|(name, field)| (name, value(&field)));
        Ok(Some(Record::of_object(place, object.collect())))
    }

    fn next_row(&mut self) -> Result<Option<Row>, ParquetError> {
        loop {
            if let Some(row) = self.rows.as_mut().and_then(Iterator::next) {
                return row.map(Some);
            }
            if self.group == self.reader.num_row_groups() {
                return Ok(None);
            }
            let group = self.reader.get_row_group(self.group)?;
            let schema = self.reader.metadata().file_metadata().schema_descr_ptr();
            self.rows = Some(TreeBuilder::new().as_iter(schema, &*group)?);
            self.group += 1;
        }
    }
}

/// Calls the parquet reader, which panics at some damaged files.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(ParquetError::General("the file is damaged".to_owned())))
}

/// An error without the bytes that it may quote.
fn fault(error: &ParquetError) -> String {
    let text = error.to_string();
    if text.contains("BYTE_ARRAY as String") {
        return "a text in this row is not UTF-8".to_owned();
    }
    let text = text.strip_prefix("Parquet error: ").unwrap_or(&text);
    let text = crate::describe::shortened(text);
    format!("the parquet file is damaged from this row on ({text}); copy or download it again")
}

/// Refuses columns that cannot be told apart or that the reader does not know.
fn check_schema(schema: &Type) -> Result<(), String> {
    if !schema.is_group() {
        return match schema.get_basic_info().converted_type() {
            ConvertedType::INTERVAL => {
                Err(format!("the column `{}` has intervals, which are not read", schema.name()))
            }
            _ => Ok(()),
        };
    }
    let fields = schema.get_fields();
    for (idx, field) in fields.iter().enumerate() {
        if fields[..idx].iter().any(|other| other.name() == field.name()) {
            return Err(format!("two columns have the name `{}`", field.name()));
        }
        check_schema(field)?;
    }
    Ok(())
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(*value),
        Field::Byte(number) => (*number).into(),
        Field::Short(number) => (*number).into(),
        Field::Int(number) => (*number).into(),
        Field::Long(number) => (*number).into(),
        Field::UByte(number) => (*number).into(),
        Field::UShort(number) => (*number).into(),
        Field::UInt(number) => (*number).into(),
        Field::ULong(number) => (*number).into(),
        Field::Float16(number) => float(f64::from(*number)),
        // The shortest text of an f32, not its digits as an f64.
        Field::Float(number) => number.to_string().parse().map_or(Value::Null, float),
        Field::Double(number) => float(*number),
        Field::Str(text) => Value::String(text.clone()),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Value::String(text.to_owned()),
            Err(_) => not_text(bytes.len()),
        },
        Field::Decimal(decimal) => self::decimal(&field.to_string(), decimal.scale()),
        Field::TimestampMillis(_) | Field::TimestampMicros(_) => {
            // Whether it is of a zone or of none, the reader does not say.
            let text = field.to_string();
            let text = text.strip_suffix(" +00:00").unwrap_or(&text);
            Value::String(
                text.strip_suffix(".000000")
                    .or_else(|| text.strip_suffix(".000"))
                    .unwrap_or(text)
                    .to_owned(),
            )
        }
        Field::Date(_) | Field::TimeMillis(_) | Field::TimeMicros(_) => {
            Value::String(field.to_string())
        }
        Field::Group(row) => {
            row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
        }
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter();
            Value::Object(entries.map(|(key, field)| (map_key(key), value(field))).collect())
        }
    }
}

/// Bytes that are no text: an object that no reader takes for one, and that names them.
fn not_text(n_bytes: usize) -> Value {
    let name = format!("{n_bytes} bytes that are not UTF-8");
    Value::Object([(name, Value::Null)].into_iter().collect())
}

/// Decimal number: a whole one where it has no places, else a number with a point.
fn decimal(text: &str, scale: i32) -> Value {
    let whole = if scale <= 0 { text.trim_end_matches('.') } else { text };
    serde_json::from_str::<Number>(whole)
        .map_or_else(|_| Value::String(whole.to_owned()), Value::Number)
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// Key of a map, which need not be a text.
fn map_key(key: &Field) -> String {
    match value(key) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
