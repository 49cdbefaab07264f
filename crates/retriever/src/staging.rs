//! Staging folder of a build: a build that is cut short leaves what was there as it was.
//!
//! As [`forage_fs::write_folder`], but a lock also keeps two processes from the same build, which
//! may take an hour, and parts are built beside the result.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::IndexError;

/// Staging folder: a sibling of the target, locked for as long as it is built in.
///
/// ```text
/// .wiki.building/lock     held by the process that builds `wiki`
/// .wiki.building/parts    segments before they are merged
/// .wiki.building/new      the merged index
/// .wiki.building/graph    a new graph for vectors that stay
/// .wiki.building/old      the old index, between two renames
/// ```
pub(crate) struct StagingDir {
    folder: PathBuf,
    target: PathBuf,
    /// File that only a complete target has.
    manifest: &'static str,
    /// The operating system releases the lock however the process ends.
    _lock: File,
}

impl StagingDir {
    /// Locks the staging folder of a target, restores a target whose replacement was cut short, and
    /// clears what an earlier build left. `manifest` is the file that only a complete target has.
    pub(crate) fn claim(target: &Path, manifest: &'static str) -> Result<Self, IndexError> {
        let target = std::path::absolute(target).map_err(IndexError::file("find", target))?;
        let occupied = || IndexError::Occupied { folder: target.clone() };
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(occupied());
        };
        let folder = parent.join(format!(".{}.building", name.to_string_lossy()));
        fs::create_dir_all(&folder).map_err(IndexError::file("create", &folder))?;
        let lock_file = folder.join("lock");
        let lock = File::create(&lock_file).map_err(IndexError::file("create", &lock_file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(IndexError::Busy { folder: target }),
            Err(TryLockError::Error(error)) => {
                return Err(IndexError::file("lock", &lock_file)(error));
            }
        }
        let staging = Self { folder, target: target.clone(), manifest, _lock: lock };
        let old = staging.folder.join("old");
        if !target.exists() && old.join(staging.manifest).exists() {
            fs::rename(&old, &target).map_err(IndexError::file("restore", &target))?;
        }
        for leftover in ["old", "new", "parts", "graph"] {
            remove_folder(&staging.folder.join(leftover))?;
        }
        let is_index = target.join(staging.manifest).exists();
        let is_empty = || fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_none());
        if target.exists() && !is_index && !is_empty() {
            return Err(occupied());
        }
        Ok(staging)
    }

    /// Makes an empty folder in the staging folder.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, IndexError> {
        let folder = self.folder.join(name);
        fs::create_dir(&folder).map_err(IndexError::file("create", &folder))?;
        Ok(folder)
    }

    /// Syncs a folder and gives it the name of the target, in the place of the one that may be there.
    pub(crate) fn publish(&self, fresh: &Path) -> Result<(), IndexError> {
        forage_fs::replace_folder(fresh, &self.target, &self.folder.join("old"))
            .map_err(IndexError::file("replace", &self.target))
    }
}

impl Drop for StagingDir {
    fn drop(&mut self) {
        // The old index goes only if there is a new one in its place.
        if self.target.exists() || !self.folder.join("old").exists() {
            // What cannot be removed now is removed by the next build.
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

fn remove_folder(folder: &Path) -> Result<(), IndexError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(IndexError::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
