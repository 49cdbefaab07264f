//! Where something is built, so that a build that is cut short leaves what was there as it was.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::IndexError;

/// The sibling folder that an index is built in, held by a lock while it is.
///
/// ```text
/// .wiki.building/lock     held by the process that builds `wiki`
/// .wiki.building/parts    parts of the index to be
/// .wiki.building/new      the index to be
/// .wiki.building/graph    the graph to be, of vectors that stay
/// .wiki.building/old      the index that was, for the moment between two renames
/// ```
pub(crate) struct BuildSite {
    folder: PathBuf,
    target: PathBuf,
    /// The file that a finished folder has.
    manifest: &'static str,
    /// Unlocked when it is dropped, by whatever end the process comes to.
    _lock: File,
}

impl BuildSite {
    /// Takes the site of a folder whose finished form has the file `manifest`, and clears what an earlier build left there.
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
        let site = Self { folder, target: target.clone(), manifest, _lock: lock };
        let old = site.folder.join("old");
        if !target.exists() && old.join(site.manifest).exists() {
            fs::rename(&old, &target).map_err(IndexError::file("restore", &target))?;
        }
        for leftover in ["old", "new", "parts", "graph"] {
            remove_folder(&site.folder.join(leftover))?;
        }
        let is_index = target.join(site.manifest).exists();
        let is_empty = || fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_none());
        if target.exists() && !is_index && !is_empty() {
            return Err(occupied());
        }
        Ok(site)
    }

    /// A fresh folder in the site.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, IndexError> {
        let folder = self.folder.join(name);
        fs::create_dir(&folder).map_err(IndexError::file("create", &folder))?;
        Ok(folder)
    }

    /// Puts the new index in the place of the old one.
    pub(crate) fn publish(&self, fresh: &Path) -> Result<(), IndexError> {
        let old = self.folder.join("old");
        if self.target.exists() {
            fs::rename(&self.target, &old).map_err(IndexError::file("replace", &self.target))?;
        }
        fs::rename(fresh, &self.target).map_err(IndexError::file("create", &self.target))?;
        if let Some(parent) = self.target.parent() {
            let sync = File::open(parent).and_then(|it| it.sync_all());
            sync.map_err(IndexError::file("sync", parent))?;
        }
        Ok(())
    }
}

impl Drop for BuildSite {
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
