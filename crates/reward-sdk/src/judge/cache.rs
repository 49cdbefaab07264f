//! Cache of verdicts: a file with a line of JSON for each, which is appended to.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::RewardError;

/// Cache of verdicts, by the hash of everything that they depend on.
#[derive(Debug)]
pub(crate) struct Cache {
    inner: Mutex<(HashMap<String, bool>, Option<File>)>,
}

impl Cache {
    /// Cache in memory.
    pub(crate) fn in_memory() -> Self {
        Self { inner: Mutex::new((HashMap::new(), None)) }
    }

    /// Cache in a file, which is created if it does not exist. An incomplete last line, which a
    /// killed run can leave, is dropped.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or written, and any other invalid line.
    pub(crate) fn open(path: &Path) -> Result<Self, RewardError> {
        let wrong = |what: String| RewardError::new(format!("cache `{}`: {what}", path.display()));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(err) => return Err(wrong(err.to_string())),
        };
        let whole = text.rfind('\n').map_or("", |at| &text[..=at]);
        let mut verdicts = HashMap::new();
        for (idx, line) in whole.lines().enumerate() {
            let (key, verdict): (String, bool) = serde_json::from_str(line)
                .map_err(|err| wrong(format!("line {} is no verdict, {err}", idx + 1)))?;
            verdicts.insert(key, verdict);
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|file| file.set_len(whole.len() as u64).map(|()| file))
            .map_err(|err| wrong(err.to_string()))?;
        Ok(Self { inner: Mutex::new((verdicts, Some(file))) })
    }

    /// Verdict for a hash.
    pub(crate) fn get(&self, key: &str) -> Option<bool> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).0.get(key).copied()
    }

    /// Adds a verdict. One that cannot be written to the file is kept in memory, with a warning.
    pub(crate) fn insert(&self, key: String, verdict: bool) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (verdicts, file) = &mut *inner;
        if let Some(file) = file {
            let line = format!("[\"{key}\",{verdict}]\n");
            if let Err(err) = file.write_all(line.as_bytes()) {
                crate::warn(&format!("a verdict was not written to the cache: {err}"));
            }
        }
        verdicts.insert(key, verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_survive_and_half_lines_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.jsonl");
        let cache = Cache::open(&path).unwrap();
        cache.insert("a".to_owned(), true);
        cache.insert("b".to_owned(), false);
        drop(cache);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}[\"c\",tr")).unwrap();
        let cache = Cache::open(&path).unwrap();
        assert_eq!(["a", "b", "c"].map(|key| cache.get(key)), [Some(true), Some(false), None]);
        cache.insert("d".to_owned(), true);
        drop(cache);
        assert_eq!(Cache::open(&path).unwrap().get("d"), Some(true));

        fs::write(&path, "hello\n").unwrap();
        let err = Cache::open(&path).unwrap_err();
        assert!(err.to_string().contains("line 1 is no verdict"), "{err}");
    }
}
