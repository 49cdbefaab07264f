//! Atomic writes: files and folders that are written whole or not at all.
//!
//! Everything is written beside its place under a name that begins with [`PART_PREFIX`], synced,
//! and renamed; then the folder that holds it is synced. A process that is killed leaves what was
//! there before, and at most a `.part-…` beside it, which [`remove_parts`] clears.
//!
//! ```
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("state.json");
//! forage_fs::write_file(&path, b"{}")?;
//! assert_eq!(std::fs::read(&path)?, b"{}");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Prefix of the names of unfinished files and folders.
pub const PART_PREFIX: &str = ".part-";

/// Writes a file with these bytes. Its folder is made where it is absent.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// File that takes its name when it is committed; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    part: NamedTempFile,
    path: PathBuf,
}

impl AtomicFile {
    /// Begins a file. Its folder is made where it is absent.
    ///
    /// A link is followed: the file that it leads to is written.
    ///
    /// # Errors
    ///
    /// Those of the file system, and for a path of something that is no file, such as a device or a
    /// pipe, whose place a file would take.
    pub fn create(path: &Path) -> io::Result<Self> {
        let path = &target(path)?;
        let folder = parent(path);
        fs::create_dir_all(folder)?;
        let mut builder = tempfile::Builder::new();
        let prefix = prefix_of(path);
        builder.prefix(&prefix);
        // Temporary files are for their owner alone; these have the rights that any new file has.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        Ok(Self { part: builder.tempfile_in(folder)?, path: path.to_owned() })
    }

    /// Path of the unfinished file, for libraries that write to a path.
    pub fn part(&self) -> &Path {
        self.part.path()
    }

    /// Syncs the file and gives it its name, in the place of a file that may be there.
    pub fn commit(self) -> io::Result<()> {
        // A library that was given the path may have put another file there, with other rights.
        let file = File::open(self.part.path())?;
        file.set_permissions(self.part.as_file().metadata()?.permissions())?;
        file.sync_all()?;
        self.part.persist(&self.path).map_err(|error| error.error)?;
        sync_folder(parent(&self.path))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.part.flush()
    }
}

/// The path that is written: that behind links. Only a file may be there.
fn target(path: &Path) -> io::Result<PathBuf> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(path.to_owned()) };
    if !metadata.is_file() && !metadata.is_dir() {
        let what = format!("`{}` is a device or a pipe, and a file is written", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    if fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink()) {
        return path.canonicalize();
    }
    Ok(path.to_owned())
}

/// Writes a folder, in the place of one that may be there: `fill` is given an empty folder that
/// takes the name when everything in it is written and synced.
///
/// An older folder stays until the new one is whole. A process that is killed between the two
/// renames leaves the older one beside its place, and the next call puts it back.
///
/// # Errors
///
/// Those of `fill`, and those of the file system.
pub fn write_folder<E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let folder = parent(path);
    fs::create_dir_all(folder)?;
    let old = old_of(path);
    restore(path)?;
    let part = tempfile::Builder::new().prefix(&prefix_of(path)).tempdir_in(folder)?;
    // As with files: the rights of any new folder.
    let fresh = part.path().join("new");
    fs::create_dir(&fresh)?;
    fill(&fresh)?;
    replace_folder(&fresh, path, &old)?;
    remove_if_there(&old)?;
    Ok(())
}

/// Syncs a complete folder and gives it its name. A folder of that name is renamed to `old`, and
/// stays there.
///
/// # Errors
///
/// Those of the file system. Where the second rename fails, `old` is what was there before.
pub fn replace_folder(fresh: &Path, path: &Path, old: &Path) -> io::Result<()> {
    sync_tree(fresh)?;
    if path.exists() {
        fs::rename(path, old)?;
    }
    fs::rename(fresh, path)?;
    sync_folder(parent(path))
}

/// Puts back a folder whose replacement was cut short between its two renames. True where there
/// was one.
pub fn restore(path: &Path) -> io::Result<bool> {
    let old = old_of(path);
    if path.exists() {
        remove_if_there(&old)?;
        return Ok(false);
    }
    match fs::rename(&old, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts back every folder in `folder` whose replacement was cut short between its two renames, and
/// removes the older ones that are still beside the folder that replaced them.
pub fn restore_all(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if let Some(name) = name.strip_prefix('.').and_then(|name| name.strip_suffix(".old")) {
            restore(&folder.join(name))?;
        }
    }
    Ok(())
}

/// Removes unfinished files and folders of killed processes from a folder.
pub fn remove_parts(folder: &Path) {
    remove_leftovers(folder, |name| name.starts_with(PART_PREFIX));
}

/// Removes the unfinished states of one file or folder that killed processes left. No other process
/// may be writing it.
pub fn remove_parts_of(path: &Path) {
    let prefix = prefix_of(path);
    remove_leftovers(parent(path), |name| {
        let suffix = name.strip_prefix(&prefix);
        suffix.is_some_and(|suffix| suffix.chars().all(char::is_alphanumeric))
    });
}

fn remove_leftovers(folder: &Path, is_leftover: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_leftover(&entry.file_name().to_string_lossy()))
    {
        // A leftover that cannot be removed does no harm.
        let _ = fs::remove_file(entry.path());
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Prefix of the names of the unfinished states of one file or folder; some letters and digits
/// follow.
fn prefix_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("{PART_PREFIX}{name}.")
}

/// Syncs a folder, so that the names in it outlive a loss of power.
fn sync_folder(folder: &Path) -> io::Result<()> {
    // Elsewhere folders cannot be opened.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Syncs every file and folder below a folder, and the folder.
fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// Path of the older folder between the two renames.
fn old_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.old"))
}

fn remove_if_there(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The folder of a path; the parent of a bare name is empty, which no function takes.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(it) if !it.as_os_str().is_empty() => it,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_there_once_it_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file");
        write_file(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write_file(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(path.parent().unwrap()), ["file"]);
    }

    #[cfg(unix)]
    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_and_a_pipe_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let [link, target] = ["link", "target"].map(|name| folder.path().join(name));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_file(&link, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let error = write_file(Path::new("/dev/null"), b"x").unwrap_err();
        assert!(error.to_string().contains("a device or a pipe"), "{error}");
    }

    #[test]
    fn a_file_has_the_rights_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let mode =
            |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        write_file(&folder.path().join("ours"), b"").unwrap();
        fs::write(folder.path().join("any"), b"").unwrap();
        assert_eq!(mode("ours"), mode("any"));
    }

    /// Libraries write aside themselves, for their owner alone.
    #[cfg(unix)]
    #[test]
    fn a_file_that_a_library_put_there_has_the_same_rights() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ours");
        let file = AtomicFile::create(&path).unwrap();
        let other = NamedTempFile::new_in(folder.path()).unwrap();
        fs::write(other.path(), "text").unwrap();
        other.persist(file.part()).unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"text");
        fs::write(folder.path().join("any"), b"").unwrap();
        let mode =
            |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("ours"), mode("any"));
    }

    #[test]
    fn a_folder_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let fill = |text: &'static str| {
            move |part: &Path| -> io::Result<()> { fs::write(part.join(text), text) }
        };
        write_folder(&path, fill("one")).unwrap();
        write_folder(&path, fill("two")).unwrap();
        assert_eq!(names(&path), ["two"]);
        let failed = write_folder(&path, |_: &Path| Err(io::Error::other("full")));
        assert_eq!(failed.unwrap_err().to_string(), "full");
        assert_eq!(names(&path), ["two"]);
        assert_eq!(names(folder.path()), ["model"]);
    }

    #[test]
    fn a_folder_whose_replacement_was_cut_short_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        fs::create_dir(folder.path().join(".model.old")).unwrap();
        assert!(restore(&path).unwrap());
        assert!(!restore(&path).unwrap());
        assert_eq!(names(folder.path()), ["model"]);
        fs::create_dir(folder.path().join(".model.old")).unwrap();
        fs::create_dir(folder.path().join(".other.old")).unwrap();
        restore_all(folder.path()).unwrap();
        assert_eq!(names(folder.path()), ["model", "other"]);
        restore_all(&folder.path().join("none")).unwrap();
    }

    #[test]
    fn leftovers_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".part-file"), "").unwrap();
        fs::create_dir(folder.path().join(".part-folder")).unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        remove_parts(folder.path());
        assert_eq!(names(folder.path()), ["file"]);
        let path = folder.path().join("model");
        fs::create_dir(folder.path().join(".part-model.a1B2c3")).unwrap();
        fs::create_dir(folder.path().join(".part-model.two.a1B2c3")).unwrap();
        remove_parts_of(&path);
        assert_eq!(names(folder.path()), [".part-model.two.a1B2c3", "file"]);
    }
}
