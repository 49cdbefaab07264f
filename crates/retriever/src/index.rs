//! Makes an index from a corpus.
//!
//! An index is built in a sibling folder and renamed into place when it is complete, so a build
//! that is cut short leaves the old index as it was. What it left behind is removed by the next
//! build.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use tantivy::Index;
use tantivy::directory::{Directory, MmapDirectory, RamDirectory};
use tantivy::indexer::merge_indices;
use tantivy::schema::{Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::TokenizerManager;

use crate::analyzer::TantivyAnalyzer;
use crate::manifest::{Fingerprint, MANIFEST_FILE, Manifest};
use crate::parts::Workshop;
use crate::site::BuildSite;
use crate::{Analyzer, Corpus, CorpusError, IndexError, Place};

/// Title and text together, indexed and not stored.
pub(crate) const CONTENTS: &str = "contents";
pub(crate) const ID: &str = "id";
pub(crate) const TITLE: &str = "title";
pub(crate) const TEXT: &str = "text";

/// One thread reads for all; more than this would wait for it.
const MAX_THREADS: usize = 16;
const BYTES_A_THREAD: usize = 128 << 20;
/// The least that a part of the corpus is worth being made alone.
const MIN_BYTES_A_THREAD: usize = 15_000_000;
/// Addresses in the arena that holds the postings of a part have 32 bits.
const MAX_BYTES_A_THREAD: usize = 4_000_000_000;
const PASSAGES_A_REPORT: u64 = 1000;

/// How to build an index.
#[derive(Debug, Clone, Copy, Default)]
pub struct IndexOptions {
    /// What text becomes.
    pub analyzer: Analyzer,
    /// Counts bad lines and repeated ids instead of failing at the first.
    pub skip_bad: bool,
    /// Most bytes that text and postings take up before they are written, over all threads;
    /// 128 MiB a thread where it is not given. Fewer threads work where it is too little for all.
    /// Beside it a build holds some 30 bytes a passage, to find repeated ids.
    pub memory: Option<usize>,
}

impl IndexOptions {
    /// How many threads work, and how many bytes each of them has.
    fn share(self) -> Result<(usize, usize), IndexError> {
        let n_threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let Some(memory) = self.memory else { return Ok((n_threads, BYTES_A_THREAD)) };
        if memory < MIN_BYTES_A_THREAD {
            return Err(IndexError::Memory { found: memory, least: MIN_BYTES_A_THREAD });
        }
        let n_threads = n_threads.min(memory / MIN_BYTES_A_THREAD);
        Ok((n_threads, (memory / n_threads).min(MAX_BYTES_A_THREAD)))
    }
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
    let share = options.share()?;
    let site = BuildSite::claim(folder, MANIFEST_FILE)?;
    let parts_folder = site.folder("parts")?;
    let place = |number: usize| {
        let folder = parts_folder.join(number.to_string());
        fs::create_dir(&folder).map_err(IndexError::file("create", &folder))?;
        let directory = MmapDirectory::open(folder).map_err(tantivy::TantivyError::from)?;
        Ok(Box::new(directory) as Box<dyn Directory>)
    };
    let (parts, mut report) = make_parts(corpus, *options, share, &place, progress)?;
    let fresh = if parts.len() == 1 {
        parts_folder.join("0")
    } else {
        let fresh = site.folder("new")?;
        let directory = MmapDirectory::open(&fresh).map_err(tantivy::TantivyError::from)?;
        merge_indices(&parts, directory)?;
        fresh
    };
    drop(parts);
    report.manifest.write(&fresh)?;
    open_to_others(&fresh)?;
    report.index_bytes = folder_bytes(&fresh)?;
    site.publish(&fresh)?;
    Ok(report)
}

/// Builds an index that is never on disk.
pub(crate) fn build_in_memory(
    corpus: Corpus,
    options: IndexOptions,
) -> Result<(Index, Manifest), IndexError> {
    let place = |_| Ok(Box::new(RamDirectory::create()) as Box<dyn Directory>);
    let (mut parts, report) = make_parts(corpus, options, (1, BYTES_A_THREAD), &place, &|_| {})?;
    let index = match parts.len() {
        1 => parts.remove(0),
        _ => merge_indices(&parts, RamDirectory::create())?,
    };
    Ok((index, report.manifest))
}

fn schema() -> Schema {
    let mut schema = Schema::builder();
    let terms = TextFieldIndexing::default()
        .set_tokenizer(CONTENTS)
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(true);
    schema.add_text_field(CONTENTS, TextOptions::default().set_indexing_options(terms));
    schema.add_text_field(ID, STORED);
    schema.add_text_field(TITLE, STORED);
    schema.add_text_field(TEXT, STORED);
    schema.build()
}

/// Reads the corpus and makes the parts of its index.
fn make_parts(
    mut corpus: Corpus,
    options: IndexOptions,
    (n_threads, bytes_a_thread): (usize, usize),
    place: &(dyn Fn(usize) -> Result<Box<dyn Directory>, IndexError> + Sync),
    progress: &dyn Fn(Progress),
) -> Result<(Vec<Index>, BuildReport), IndexError> {
    let tokenizers = TokenizerManager::default();
    tokenizers.register(CONTENTS, TantivyAnalyzer::new(options.analyzer));
    let workshop = Workshop { schema: schema(), tokenizers, n_threads, bytes_a_thread, place };

    let mut seen = SeenIds::default();
    let mut fingerprint = Fingerprint::default();
    let (mut passages, mut skipped, mut first_skipped) = (0_u64, 0_u64, None);
    let parts = workshop.make(std::iter::from_fn(|| {
        loop {
            let next = corpus.next()?.and_then(|(place, passage)| {
                seen.insert(&passage.id, place)?;
                Ok(passage)
            });
            match next {
                Ok(passage) => {
                    fingerprint.add(&passage);
                    passages += 1;
                    if passages.is_multiple_of(PASSAGES_A_REPORT) {
                        progress(Progress::Reading { passages, bytes: corpus.bytes_read() });
                    }
                    return Some(Ok(passage));
                }
                Err(error) if options.skip_bad && error.is_bad_line() => {
                    skipped += 1;
                    first_skipped.get_or_insert(error);
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }))?;
    if passages == 0 {
        return Err(IndexError::Empty { skipped });
    }
    progress(Progress::Reading { passages, bytes: corpus.bytes_read() });
    progress(Progress::Merging { passages });
    let report = BuildReport {
        manifest: Manifest::new(options.analyzer, passages, &fingerprint),
        skipped,
        first_skipped,
        bytes_read: corpus.bytes_read(),
        index_bytes: 0,
    };
    Ok((parts, report))
}

/// The fields of the schema.
pub(crate) struct Fields {
    pub(crate) contents: Field,
    pub(crate) id: Field,
    pub(crate) title: Field,
    pub(crate) text: Field,
}

impl Fields {
    pub(crate) fn of(schema: &Schema) -> tantivy::Result<Self> {
        Ok(Self {
            contents: schema.get_field(CONTENTS)?,
            id: schema.get_field(ID)?,
            title: schema.get_field(TITLE)?,
            text: schema.get_field(TEXT)?,
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

/// tantivy makes some of its files readable by nobody else, whatever the umask says.
fn open_to_others(folder: &Path) -> Result<(), IndexError> {
    let set = || {
        let permissions = fs::metadata(folder.join(MANIFEST_FILE))?.permissions();
        for entry in fs::read_dir(folder)? {
            fs::set_permissions(entry?.path(), permissions.clone())?;
        }
        Ok(())
    };
    set().map_err(IndexError::file("set the permissions of", folder))
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
