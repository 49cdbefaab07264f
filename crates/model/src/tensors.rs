//! Safetensors files: named tensors, read and written one at a time.
//!
//! [`TensorFile`] reads a window of the file and converts it to f32, so that reading takes the
//! memory of the numbers and little more. It does not memory-map: a file that another program
//! truncates meanwhile is an error here, and would end a process that has mapped it. It knows
//! nothing of models.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use forage_fs::AtomicFile;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};

use crate::error::{CheckpointError, CheckpointErrorKind};
use crate::text_file::{LfsPointer, POINTER_START, TextError};

/// Bytes that are read at once; a multiple of the size of every number type.
const WINDOW: usize = 1 << 20;

/// Bytes before the header, which hold its length.
const LENGTH: usize = 8;

/// Bytes that a header may have, at most, as in the library that writes them.
const MAX_HEADER: u64 = 100_000_000;

/// Open safetensors file, whose header has been read and found whole.
#[derive(Debug)]
pub(crate) struct TensorFile {
    path: PathBuf,
    /// Locked for each read, since reading moves its cursor.
    file: Mutex<File>,
    metadata: Metadata,
    /// Offset of the numbers, in bytes.
    data: usize,
}

impl TensorFile {
    /// Reads the header, and compares what it says with the length of the file.
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let fail = |kind| CheckpointError::new(path, kind);
        let wrong = |err| fail(CheckpointErrorKind::Safetensors(err));
        let io = |err| fail(CheckpointErrorKind::Io(err));
        let mut file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let mut start = Vec::with_capacity(POINTER_START);
        (&mut file).take(POINTER_START as u64).read_to_end(&mut start).map_err(io)?;
        if LfsPointer::is_one(&start, len) {
            return Err(fail(TextError::from(LfsPointer).into()));
        }
        file.rewind().map_err(io)?;
        let mut header_len = [0; LENGTH];
        if len < LENGTH as u64 {
            return Err(wrong(SafeTensorError::HeaderTooSmall));
        }
        file.read_exact(&mut header_len).map_err(io)?;
        let header_len = u64::from_le_bytes(header_len);
        if header_len > MAX_HEADER {
            return Err(wrong(SafeTensorError::HeaderTooLarge));
        }
        if header_len > len - LENGTH as u64 {
            return Err(wrong(SafeTensorError::InvalidHeaderLength));
        }
        let mut header = vec![0; header_len as usize];
        file.read_exact(&mut header).map_err(io)?;
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|err| wrong(SafeTensorError::InvalidHeaderDeserialization(err)))?;
        let data = LENGTH + header.len();
        match (data as u64).checked_add(metadata.data_len() as u64) {
            Some(wanted) if wanted == len => {}
            Some(wanted) if wanted > len => {
                return Err(fail(CheckpointErrorKind::Truncated { found: len, wanted }));
            }
            _ => return Err(wrong(SafeTensorError::MetadataIncompleteBuffer)),
        }
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), metadata, data })
    }

    /// Path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors, sorted.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.metadata.tensors().into_keys().collect()
    }

    /// Checks that a tensor is there, in this shape and in a number type that can be read.
    pub(crate) fn check(&self, name: &str, shape: &[usize]) -> Result<(), CheckpointError> {
        let info = self.info(name)?;
        if info.shape != shape {
            return Err(self.fail(CheckpointErrorKind::Shape {
                name: name.to_owned(),
                found: info.shape.clone(),
                expected: shape.to_vec(),
            }));
        }
        if !matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            let (name, dtype) = (name.to_owned(), info.dtype);
            return Err(self.fail(CheckpointErrorKind::Dtype { name, dtype }));
        }
        Ok(())
    }

    /// Numbers of a tensor that [`TensorFile::check`] has passed, row by row, as f32.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let info = self.info(name)?;
        let mut numbers = Vec::with_capacity(info.shape.iter().product());
        let bytes = self.bytes_of(info);
        let mut window = Vec::new();
        for at in bytes.clone().step_by(WINDOW) {
            self.read_bytes(at..bytes.end.min(at + WINDOW), &mut window)?;
            append_f32(&window, info.dtype, &mut numbers);
        }
        Ok(numbers)
    }

    /// Shape of a tensor.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.metadata.info(name).map(|info| info.shape.as_slice())
    }

    /// Whether two tensors hold the same numbers, which may be stored in different types.
    pub(crate) fn same(&self, name: &str, other: (&Self, &str)) -> Result<bool, CheckpointError> {
        let (left, right) = (self.info(name)?, other.0.info(other.1)?);
        if left.shape != right.shape {
            return Ok(false);
        }
        if left.dtype != right.dtype {
            self.check(name, &left.shape)?;
            other.0.check(other.1, &right.shape)?;
            return Ok(self.read(name)? == other.0.read(other.1)?);
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let (left, right) = (self.bytes_of(left), other.0.bytes_of(right));
        for at in (0..left.len()).step_by(WINDOW) {
            let end = left.len().min(at + WINDOW);
            self.read_bytes(left.start + at..left.start + end, &mut ours)?;
            other.0.read_bytes(right.start + at..right.start + end, &mut theirs)?;
            if ours != theirs {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_bytes(&self, range: Range<usize>, window: &mut Vec<u8>) -> Result<(), CheckpointError> {
        window.resize(range.len(), 0);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(range.start as u64))
            .and_then(|_| file.read_exact(window))
            .map_err(|err| self.fail(CheckpointErrorKind::Io(err)))
    }

    /// Entry of a tensor in the header.
    fn info(&self, name: &str) -> Result<&TensorInfo, CheckpointError> {
        let missing = || self.fail(CheckpointErrorKind::Missing(name.to_owned()));
        self.metadata.info(name).ok_or_else(missing)
    }

    /// Range of bytes of a tensor in the file.
    fn bytes_of(&self, info: &TensorInfo) -> Range<usize> {
        self.data + info.data_offsets.0..self.data + info.data_offsets.1
    }

    fn fail(&self, kind: CheckpointErrorKind) -> CheckpointError {
        CheckpointError::new(&self.path, kind)
    }
}

/// Reads named tensors of a safetensors file as f32, in the given order. The file must hold just
/// these, in these shapes.
pub fn read_tensors(
    path: &Path,
    expected: &[(String, Vec<usize>)],
) -> Result<Vec<Vec<f32>>, CheckpointError> {
    let file = TensorFile::open(path)?;
    for (name, shape) in expected {
        file.check(name, shape)?;
    }
    let mut surplus = file.names();
    for (name, _) in expected {
        surplus.remove(name);
    }
    if let Some(name) = surplus.pop_first() {
        return Err(file.fail(CheckpointErrorKind::Surplus(name)));
    }
    expected.iter().map(|(name, _)| file.read(name)).collect()
}

/// Writes a safetensors file of named tensors as f32, whole or not at all.
pub fn write_tensors(
    path: &Path,
    tensors: &[(String, Vec<usize>, Vec<f32>)],
) -> Result<(), CheckpointError> {
    let fail = |kind| CheckpointError::new(path, kind);
    let mut views = Vec::with_capacity(tensors.len());
    for (name, shape, numbers) in tensors {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(numbers))
            .map_err(|err| fail(CheckpointErrorKind::Safetensors(err)))?;
        views.push((name.as_str(), view));
    }
    write_views(path, views)
}

/// Writes a safetensors file, one tensor after the other, whole or not at all.
pub(crate) fn write_views<V: safetensors::View>(
    path: &Path,
    views: Vec<(&str, V)>,
) -> Result<(), CheckpointError> {
    // `transformers` refuses a file that does not say what it was made for.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let write = || -> Result<(), CheckpointErrorKind> {
        let file = AtomicFile::create(path)?;
        safetensors::serialize_to_file(views, Some(metadata), file.part()).map_err(
            |err| match err {
                SafeTensorError::IoError(err) => CheckpointErrorKind::Io(err),
                err => CheckpointErrorKind::Safetensors(err),
            },
        )?;
        Ok(file.commit()?)
    };
    write().map_err(|kind| CheckpointError::new(path, kind))
}

/// Appends little-endian numbers, converted to f32. Other types were refused before.
fn append_f32(bytes: &[u8], dtype: Dtype, numbers: &mut Vec<f32>) {
    let pairs = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    match dtype {
        Dtype::F16 => numbers.extend(pairs().map(|pair| half::f16::from_le_bytes(pair).to_f32())),
        Dtype::BF16 => numbers.extend(pairs().map(|pair| half::bf16::from_le_bytes(pair).to_f32())),
        _ => numbers.extend(
            bytes
                .chunks_exact(4)
                .map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]])),
        ),
    }
}
