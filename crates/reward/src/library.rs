//! Shared libraries of plugins: finding them, and copying them into the folder of a run.

use std::env::consts::DLL_EXTENSION;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{PluginError, PluginErrorKind};

/// Finds the shared library of a plugin.
///
/// A `plugin` with a path separator or the extension of a library is a path, and is used as it
/// stands. Otherwise it is a name, such as `exact-match`, and its library (`libexact_match.so` on
/// Linux) is taken from the first of the folders that has it.
///
/// # Errors
///
/// [`PluginErrorKind::NotFound`], with the files that were looked for.
pub fn find_plugin(plugin: &str, folders: &[PathBuf]) -> Result<PathBuf, PluginError> {
    let path = Path::new(plugin);
    let is_path = path.components().count() > 1
        || path.extension().is_some_and(|extension| extension == DLL_EXTENSION);
    let looked_for: Vec<PathBuf> = if is_path {
        vec![path.to_owned()]
    } else {
        let file = libloading::library_filename(plugin.replace('-', "_"));
        folders.iter().map(|folder| folder.join(&file)).collect()
    };
    match looked_for.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => Err(PluginError::new(path, PluginErrorKind::NotFound { looked_for })),
    }
}

/// Copy of a plugin library in the folder of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginCopy {
    /// Path of the copy. The file name ends in the first 8 digits of the hash, so that two builds
    /// of a plugin have two files and a library that is in use is never overwritten.
    pub path: PathBuf,
    /// blake3 hash of the file, in 64 hexadecimal digits.
    pub hash: String,
}

/// Copies a plugin library into a folder, which is created if it does not exist.
///
/// # Errors
///
/// [`PluginErrorKind::Read`] and [`PluginErrorKind::Copy`].
pub fn copy_plugin(library: &Path, folder: &Path) -> Result<PluginCopy, PluginError> {
    let bytes =
        fs::read(library).map_err(|err| PluginError::new(library, PluginErrorKind::Read(err)))?;
    let hash = blake3::hash(&bytes).to_hex().to_string();
    let stem = library.file_stem().unwrap_or_default().to_string_lossy();
    let path = folder.join(format!("{stem}-{}.{DLL_EXTENSION}", &hash[..8]));

    // Whole or not there: a second run that starts at the same time loads the same file.
    forage_fs::write_file(&path, &bytes).map_err(|source| {
        PluginError::new(library, PluginErrorKind::Copy { to: path.clone(), source })
    })?;
    Ok(PluginCopy { path, hash })
}
