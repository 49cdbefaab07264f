//! Index builder: from a corpus to a folder with one merged segment and a manifest.
//!
//! An index is built in a staging folder and renamed into place when it is complete, so a build
//! that is cut short leaves the old index as it was. What it left behind is removed by the next
//! build.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::thread;

use forage_records::Place;
use tantivy::Index;
use tantivy::directory::{Directory, MmapDirectory, RamDirectory};
use tantivy::indexer::merge_indices;
use tantivy::tokenizer::TokenizerManager;

use crate::analyzer::TantivyAnalyzer;
use crate::manifest::{Fingerprint, IndexManifest, MANIFEST_FILE};
use crate::schema::{CONTENTS, schema};
use crate::script::LetterCounts;
use crate::segments::SegmentBuilder;
use crate::staging::StagingDir;
use crate::{Analyzer, Corpus, CorpusError, IndexError, UnsuitedScripts};

/// Most indexing threads: one thread reads for all, and more than this would wait for it.
const MAX_THREADS: usize = 16;
/// Default memory budget of a thread.
const BYTES_A_THREAD: usize = 128 << 20;
/// Smallest memory budget of a thread; smaller segments are not worth a thread.
const MIN_BYTES_A_THREAD: usize = 15_000_000;
/// Largest memory budget of a thread: addresses in the arena that holds the postings of a segment
/// have 32 bits.
const MAX_BYTES_A_THREAD: usize = 4_000_000_000;
/// Passages between two reports of progress.
const PASSAGES_A_REPORT: u64 = 1000;

/// Options of an index build.
#[derive(Debug, Clone, Copy, Default)]
pub struct IndexOptions {
    /// Analyzer of the passages. Default: `english`.
    pub analyzer: Analyzer,
    /// Whether bad lines and repeated ids are skipped and counted, instead of failing at the first.
    /// Default: false.
    pub skip_bad: bool,
    /// Memory budget over all threads, in bytes: what text and postings take up before they are
    /// written. Fewer threads work where it is too little for all. Beside it a build holds some 30
    /// bytes a passage, to find repeated ids. Default: 128 MiB a thread.
    pub memory: Option<usize>,
}

impl IndexOptions {
    /// Number of threads, and memory budget of each in bytes.
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

/// Progress of an index build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildProgress {
    /// Passages are read and indexed.
    Reading {
        /// Passages so far.
        passages: u64,
        /// Bytes of the files so far, before decompression.
        bytes: u64,
    },
    /// Segments are merged into one.
    Merging {
        /// All passages.
        passages: u64,
    },
}

/// Result of an index build.
#[derive(Debug)]
pub struct BuildReport {
    /// Manifest of the index.
    pub manifest: IndexManifest,
    /// Bad lines that were skipped.
    pub skipped: u64,
    /// First bad line that was skipped.
    pub first_skipped: Option<CorpusError>,
    /// Bytes of the files, before decompression.
    pub bytes_read: u64,
    /// Size of the index, in bytes.
    pub index_bytes: u64,
    /// Scripts of a good part of the passages that the analyzer was not made for.
    pub unsuited: Option<UnsuitedScripts>,
}

/// Builds an index in `folder`, in the place of the index that may be there.
///
/// # Errors
///
/// Those of the corpus, where an id comes twice, where the folder holds something else than an
/// index or another process builds it, and those of the file system.
pub fn build_index(
    corpus: Corpus,
    folder: &Path,
    options: &IndexOptions,
    progress: &dyn Fn(BuildProgress),
) -> Result<BuildReport, IndexError> {
    let share = options.share()?;
    let staging = StagingDir::claim(folder, MANIFEST_FILE)?;
    let segments_folder = staging.folder("parts")?;
    let directory = |ordinal: usize| {
        let folder = segments_folder.join(ordinal.to_string());
        fs::create_dir(&folder).map_err(IndexError::file("create", &folder))?;
        let directory = MmapDirectory::open(folder).map_err(tantivy::TantivyError::from)?;
        Ok(Box::new(directory) as Box<dyn Directory>)
    };
    let (segments, mut report) = build_segments(corpus, *options, share, &directory, progress)?;
    let fresh = if segments.len() == 1 {
        segments_folder.join("0")
    } else {
        let fresh = staging.folder("new")?;
        let directory = MmapDirectory::open(&fresh).map_err(tantivy::TantivyError::from)?;
        merge_indices(&segments, directory)?;
        fresh
    };
    drop(segments);
    report.manifest.write(&fresh)?;
    open_to_others(&fresh)?;
    report.index_bytes = folder_bytes(&fresh)?;
    staging.publish(&fresh)?;
    Ok(report)
}

/// Builds an index in memory.
pub(crate) fn build_in_memory(
    corpus: Corpus,
    options: IndexOptions,
) -> Result<(Index, IndexManifest), IndexError> {
    let directory = |_| Ok(Box::new(RamDirectory::create()) as Box<dyn Directory>);
    let share = (1, BYTES_A_THREAD);
    let (mut segments, report) = build_segments(corpus, options, share, &directory, &|_| {})?;
    let index = match segments.len() {
        1 => segments.remove(0),
        _ => merge_indices(&segments, RamDirectory::create())?,
    };
    Ok((index, report.manifest))
}

/// Reads the corpus and indexes it into segments.
fn build_segments(
    mut corpus: Corpus,
    options: IndexOptions,
    (n_threads, bytes_a_thread): (usize, usize),
    directory: &(dyn Fn(usize) -> Result<Box<dyn Directory>, IndexError> + Sync),
    progress: &dyn Fn(BuildProgress),
) -> Result<(Vec<Index>, BuildReport), IndexError> {
    let tokenizers = TokenizerManager::default();
    tokenizers.register(CONTENTS, TantivyAnalyzer::new(options.analyzer));
    let builder =
        SegmentBuilder { schema: schema(), tokenizers, n_threads, bytes_a_thread, directory };

    let mut seen = SeenIds::default();
    let mut fingerprint = Fingerprint::default();
    let mut letters = LetterCounts::default();
    let (mut passages, mut skipped, mut first_skipped) = (0_u64, 0_u64, None);
    let segments = builder.build(std::iter::from_fn(|| {
        loop {
            let next = corpus.next()?.and_then(|(place, passage)| {
                seen.insert(&passage.id, place)?;
                Ok(passage)
            });
            match next {
                Ok(passage) => {
                    fingerprint.add(&passage);
                    letters.add(&passage.title);
                    letters.add(&passage.text);
                    passages += 1;
                    if passages.is_multiple_of(PASSAGES_A_REPORT) {
                        progress(BuildProgress::Reading { passages, bytes: corpus.bytes_read() });
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
    progress(BuildProgress::Reading { passages, bytes: corpus.bytes_read() });
    progress(BuildProgress::Merging { passages });
    let report = BuildReport {
        manifest: IndexManifest::new(options.analyzer, passages, &fingerprint),
        skipped,
        first_skipped,
        bytes_read: corpus.bytes_read(),
        index_bytes: 0,
        unsuited: letters.unsuited(options.analyzer),
    };
    Ok((segments, report))
}

/// Place of each id that was read. Only hashes of ids are kept, some 30 bytes a passage: of 21
/// million ids, two share a hash with a chance of one in 80 000.
#[derive(Default)]
struct SeenIds {
    /// First place of each file.
    files: Vec<Place>,
    /// Ordinal of the file, and number of the line or row, by hash of the id.
    numbers: HashMap<u64, (u32, u32)>,
}

impl SeenIds {
    fn insert(&mut self, id: &str, place: Place) -> Result<(), CorpusError> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        match self.numbers.entry(hasher.finish()) {
            Entry::Vacant(vacant) => {
                let number = place.number as u32;
                if self.files.last().is_none_or(|last| last.file != place.file) {
                    self.files.push(place);
                }
                vacant.insert(((self.files.len() - 1) as u32, number));
                Ok(())
            }
            Entry::Occupied(occupied) => {
                let &(file, number) = occupied.get();
                let first = Place { number: number.into(), ..self.files[file as usize].clone() };
                Err(CorpusError::Duplicate { place, id: id.to_owned(), first })
            }
        }
    }
}

/// Gives all files the permissions of the manifest: tantivy makes some readable by their owner
/// alone, whatever the umask says.
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
