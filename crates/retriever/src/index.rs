//! Makes an index from a corpus.
//!
//! An index is built in a sibling folder and renamed into place when it is complete, so a build
//! that is cut short leaves the old index as it was. What it left behind is removed by the next
//! build.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use tantivy::indexer::NoMergePolicy;
use tantivy::schema::{
    FAST, Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{
    Index, IndexBuilder, IndexSettings, IndexSortByField, IndexWriter, Order, TantivyDocument,
};

use crate::analyzer::TantivyAnalyzer;
use crate::manifest::{Fingerprint, MANIFEST_FILE, Manifest};
use crate::{Analyzer, Corpus, CorpusError, IndexError, Place};

/// Title and text together, indexed and not stored.
pub(crate) const CONTENTS: &str = "contents";
pub(crate) const ID: &str = "id";
pub(crate) const TITLE: &str = "title";
pub(crate) const TEXT: &str = "text";
/// The number of the passage, by which the one segment is sorted.
const ORDINAL: &str = "ordinal";

/// tantivy starts at most this many threads.
const MAX_THREADS: usize = 8;
const BYTES_A_THREAD: usize = 128 << 20;
/// The least that tantivy works with.
const MIN_BYTES_A_THREAD: usize = 15_000_000;
const PASSAGES_A_REPORT: u64 = 1000;

/// How to build an index.
#[derive(Debug, Clone, Copy, Default)]
pub struct IndexOptions {
    /// What text becomes.
    pub analyzer: Analyzer,
    /// Counts bad lines and repeated ids instead of failing at the first.
    pub skip_bad: bool,
}

/// Where a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Passages are read.
    Reading {
        /// Passages so far.
        passages: u64,
        /// Bytes of the files so far, before decompression.
        bytes: u64,
    },
    /// Everything is read; the parts are merged into one.
    Merging {
        /// All passages.
        passages: u64,
    },
}

/// What a build did.
#[derive(Debug)]
pub struct BuildReport {
    /// What the index says of itself.
    pub manifest: Manifest,
    /// Bad lines that were skipped.
    pub skipped: u64,
    /// The first of them.
    pub first_skipped: Option<CorpusError>,
    /// Bytes of the files, before decompression.
    pub bytes_read: u64,
    /// Size of the index.
    pub index_bytes: u64,
}

/// Builds an index in `folder`, in place of the index that may be there.
pub fn build(
    corpus: Corpus,
    folder: &Path,
    options: &IndexOptions,
    progress: &dyn Fn(Progress),
) -> Result<BuildReport, IndexError> {
    let site = BuildSite::claim(folder)?;
    let fresh = site.folder("new")?;
    let index = builder().create_in_dir(&fresh)?;
    let n_threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let mut report = fill(&index, corpus, *options, (n_threads, BYTES_A_THREAD), progress)?;
    drop(index);
    report.manifest.write(&fresh)?;
    share(&fresh)?;
    report.index_bytes = folder_bytes(&fresh)?;
    site.publish(&fresh)?;
    Ok(report)
}

/// Builds an index that is never on disk.
pub(crate) fn build_in_memory(
    corpus: Corpus,
    options: IndexOptions,
) -> Result<(Index, Manifest), IndexError> {
    let index = builder().create_in_ram()?;
    let report = fill(&index, corpus, options, (1, MIN_BYTES_A_THREAD), &|_| {})?;
    Ok((index, report.manifest))
}

fn builder() -> IndexBuilder {
    let mut schema = Schema::builder();
    let terms = TextFieldIndexing::default()
        .set_tokenizer(CONTENTS)
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(true);
    schema.add_text_field(CONTENTS, TextOptions::default().set_indexing_options(terms));
    schema.add_text_field(ID, STORED);
    schema.add_text_field(TITLE, STORED);
    schema.add_text_field(TEXT, STORED);
    schema.add_u64_field(ORDINAL, FAST);
    let settings = IndexSettings {
        sort_by_field: Some(IndexSortByField { field: ORDINAL.to_owned(), order: Order::Asc }),
        ..IndexSettings::default()
    };
    Index::builder().schema(schema.build()).settings(settings)
}

/// Adds all passages and merges what comes of them into one segment.
fn fill(
    index: &Index,
    mut corpus: Corpus,
    options: IndexOptions,
    (n_threads, bytes_a_thread): (usize, usize),
    progress: &dyn Fn(Progress),
) -> Result<BuildReport, IndexError> {
    index.tokenizers().register(CONTENTS, TantivyAnalyzer::new(options.analyzer));
    let mut writer: IndexWriter =
        index.writer_with_num_threads(n_threads, n_threads * bytes_a_thread)?;
    // Parts of the corpus come out of several threads: merge them all, once, at the end.
    writer.set_merge_policy(Box::new(NoMergePolicy));
    let fields = Fields::of(&index.schema())?;

    let mut seen = SeenIds::default();
    let mut fingerprint = Fingerprint::default();
    let (mut passages, mut skipped, mut first_skipped) = (0_u64, 0_u64, None);
    while let Some(next) = corpus.next() {
        let next = next.and_then(|(place, passage)| {
            seen.insert(&passage.id, place)?;
            Ok(passage)
        });
        let passage = match next {
            Ok(passage) => passage,
            Err(error) if options.skip_bad && error.is_bad_line() => {
                skipped += 1;
                first_skipped.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        fingerprint.add(&passage);
        let mut document = TantivyDocument::new();
        document.add_text(fields.contents, format!("{}\n{}", passage.title, passage.text));
        document.add_text(fields.id, passage.id);
        document.add_text(fields.title, passage.title);
        document.add_text(fields.text, passage.text);
        document.add_u64(fields.ordinal, passages);
        writer.add_document(document)?;
        passages += 1;
        if passages.is_multiple_of(PASSAGES_A_REPORT) {
            progress(Progress::Reading { passages, bytes: corpus.bytes_read() });
        }
    }
    progress(Progress::Reading { passages, bytes: corpus.bytes_read() });
    if passages == 0 {
        return Err(IndexError::Empty { skipped });
    }

    progress(Progress::Merging { passages });
    writer.commit()?;
    let segments = index.searchable_segment_ids()?;
    if segments.len() > 1 {
        writer.merge(&segments).wait()?;
    }
    writer.garbage_collect_files().wait()?;
    writer.wait_merging_threads()?;
    Ok(BuildReport {
        manifest: Manifest::new(options.analyzer, passages, &fingerprint),
        skipped,
        first_skipped,
        bytes_read: corpus.bytes_read(),
        index_bytes: 0,
    })
}

/// The fields of the schema.
pub(crate) struct Fields {
    pub(crate) contents: Field,
    pub(crate) id: Field,
    pub(crate) title: Field,
    pub(crate) text: Field,
    ordinal: Field,
}

impl Fields {
    pub(crate) fn of(schema: &Schema) -> tantivy::Result<Self> {
        Ok(Self {
            contents: schema.get_field(CONTENTS)?,
            id: schema.get_field(ID)?,
            title: schema.get_field(TITLE)?,
            text: schema.get_field(TEXT)?,
            ordinal: schema.get_field(ORDINAL)?,
        })
    }
}

/// Where each id was seen. Only hashes of ids are kept, some 30 bytes a passage: of 21 million
/// ids, two share a hash with a chance of one in 80 000.
#[derive(Default)]
struct SeenIds {
    files: Vec<Arc<Path>>,
    places: HashMap<u64, (u32, u32)>,
}

impl SeenIds {
    fn insert(&mut self, id: &str, place: Place) -> Result<(), CorpusError> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        match self.places.entry(hasher.finish()) {
            Entry::Vacant(vacant) => {
                if self.files.last() != Some(&place.file) {
                    self.files.push(place.file);
                }
                vacant.insert(((self.files.len() - 1) as u32, place.line as u32));
                Ok(())
            }
            Entry::Occupied(occupied) => {
                let &(file, line) = occupied.get();
                let file = Arc::clone(&self.files[file as usize]);
                let first = Place { file, line: u64::from(line) };
                Err(CorpusError::Duplicate { place, id: id.to_owned(), first })
            }
        }
    }
}

/// The sibling folder that an index is built in, held by a lock while it is.
///
/// ```text
/// .wiki.building/lock     held by the process that builds `wiki`
/// .wiki.building/new      the index to be
/// .wiki.building/old      the index that was, for the moment between two renames
/// ```
struct BuildSite {
    folder: PathBuf,
    target: PathBuf,
    /// Unlocked when it is dropped, by whatever end the process comes to.
    _lock: File,
}

impl BuildSite {
    /// Takes the site, and clears what an earlier build left there.
    fn claim(target: &Path) -> Result<Self, IndexError> {
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
        let site = Self { folder, target: target.clone(), _lock: lock };
        let old = site.folder.join("old");
        if !target.exists() && old.join(MANIFEST_FILE).exists() {
            fs::rename(&old, &target).map_err(IndexError::file("restore", &target))?;
        }
        for leftover in ["old", "new"] {
            remove_folder(&site.folder.join(leftover))?;
        }
        let is_index = target.join(MANIFEST_FILE).exists();
        let is_empty = || fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_none());
        if target.exists() && !is_index && !is_empty() {
            return Err(occupied());
        }
        Ok(site)
    }

    fn folder(&self, name: &str) -> Result<PathBuf, IndexError> {
        let folder = self.folder.join(name);
        fs::create_dir(&folder).map_err(IndexError::file("create", &folder))?;
        Ok(folder)
    }

    /// Puts the new index in the place of the old one.
    fn publish(&self, fresh: &Path) -> Result<(), IndexError> {
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

/// tantivy makes some of its files readable by nobody else, whatever the umask says.
fn share(folder: &Path) -> Result<(), IndexError> {
    let share = || {
        let permissions = fs::metadata(folder.join(MANIFEST_FILE))?.permissions();
        for entry in fs::read_dir(folder)? {
            fs::set_permissions(entry?.path(), permissions.clone())?;
        }
        Ok(())
    };
    share().map_err(IndexError::file("set the permissions of", folder))
}

fn remove_folder(folder: &Path) -> Result<(), IndexError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(IndexError::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

fn folder_bytes(folder: &Path) -> Result<u64, IndexError> {
    let sum = || {
        let mut bytes = 0;
        for entry in fs::read_dir(folder)? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    };
    sum().map_err(IndexError::file("read", folder))
}
