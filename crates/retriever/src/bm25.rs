//! BM25 ranking over an open index.
//!
//! [`Bm25`] reads postings, statistics and stored fields; which postings have to be read for the k
//! best is decided in [`maxscore`](crate::maxscore).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use forage_trajectory::{Hit, Passage, Retriever, SearchError};
use rayon::prelude::*;
use tantivy::directory::MmapDirectory;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::{BlockSegmentPostings, TermInfo};
use tantivy::schema::{IndexRecordOption, Value};
use tantivy::{
    DocAddress, Index, InvertedIndexReader, ReloadPolicy, Searcher, TantivyDocument, Term,
};

use crate::analyzer::VersionedAnalyzer;
use crate::directory::ReadOnlyDirectory;
use crate::index::build_in_memory;
use crate::maxscore::{Impacts, LengthNorms, ScoredDoc, TermList, top_k};
use crate::schema::Fields;
use crate::{Analyzer, Corpus, IndexError, IndexManifest, IndexOptions, Snippet};

/// Shortest posting list that has block-max impacts.
const LONG_LIST: u32 = 128;

/// Cache size of the document store, in unpacked blocks of 8 KiB. The members of a group, and steps
/// that ask the same questions, find the same passages.
const CACHED_BLOCKS: usize = 4096;

/// Stored passages that are read in one task.
const PASSAGES_A_TASK: u32 = 1 << 14;

/// Options of BM25. The defaults are Lucene's; Anserini's are k1 = 0.9 and b = 0.4.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchOptions {
    /// Analyzer that the index must have been built with. Default: any.
    pub analyzer: Option<Analyzer>,
    /// Term-frequency saturation, 0 or more; at 0, repetitions of a term do not count. Default:
    /// 1.2.
    pub k1: f32,
    /// Length normalization, from 0 to 1. Default: 0.75.
    pub b: f32,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { analyzer: None, k1: 1.2, b: 0.75 }
    }
}

impl SearchOptions {
    fn check(&self) -> Result<(), IndexError> {
        let Self { k1, b, .. } = *self;
        if !(k1.is_finite() && k1 >= 0.0) {
            return Err(IndexError::Parameter { name: "k1", value: k1, range: "0 or more" });
        }
        if !(0.0..=1.0).contains(&b) {
            return Err(IndexError::Parameter { name: "b", value: b, range: "from 0 to 1" });
        }
        Ok(())
    }
}

/// BM25 retriever over an open index. Shared by many threads.
///
/// The score of a passage is that of Lucene's `BM25Similarity` (Robertson and Zaragoza 2009): the
/// sum over the query's terms, repeated ones counted as often as they are there, of
///
/// idf · tf / (tf + k1 · (1 - b + b · length / average length)),
/// idf = ln(1 + (N - df + 0.5) / (df + 0.5)),
///
/// without the factor k1 + 1 of the textbook, which changes no order. Lengths are kept in one
/// byte: exact to 40 terms, in steps of 5 to 12 % above, as in Lucene. N and the average are those
/// of the passages that have a term. Every operation is Lucene's, in its precision.
pub struct Bm25 {
    manifest: IndexManifest,
    analyzer: VersionedAnalyzer,
    searcher: Searcher,
    fields: Fields,
    postings: Arc<InvertedIndexReader>,
    /// Number of passages with a term: those without are not in the statistics, as in Lucene.
    n_filled: f64,
    norms: LengthNorms,
    /// Block-max impacts of the posting lists that were searched so far, by the offset of the list
    /// in the index: some 8 bytes for 128 postings.
    impacts: RwLock<HashMap<usize, Arc<Impacts>>>,
}

impl Bm25 {
    /// Opens the index in a folder, which is only read.
    pub fn open(folder: &Path, options: &SearchOptions) -> Result<Self, IndexError> {
        options.check()?;
        let (manifest, analyzer) = IndexManifest::read(folder, options.analyzer)?;
        let damaged = |what: String| IndexError::Damaged { folder: folder.to_owned(), what };
        let directory = MmapDirectory::open(folder).map_err(|error| damaged(error.to_string()))?;
        let index = Index::open(ReadOnlyDirectory(directory))?;
        Self::over(&index, manifest, analyzer, options, &damaged)
    }

    /// Builds an index of a few passages in memory.
    pub fn in_memory(
        passages: Vec<Passage>,
        analyzer: Analyzer,
        options: &SearchOptions,
    ) -> Result<Self, IndexError> {
        options.check()?;
        let options_of_index = IndexOptions { analyzer, ..IndexOptions::default() };
        let (index, manifest) = build_in_memory(Corpus::memory(passages), options_of_index)?;
        let damaged = |what| IndexError::Damaged { folder: PathBuf::from("<memory>"), what };
        Self::over(&index, manifest, analyzer, options, &damaged)
    }

    fn over(
        index: &Index,
        manifest: IndexManifest,
        analyzer: Analyzer,
        options: &SearchOptions,
        damaged: &dyn Fn(String) -> IndexError,
    ) -> Result<Self, IndexError> {
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .doc_store_cache_num_blocks(CACHED_BLOCKS)
            .try_into()?;
        let searcher = reader.searcher();
        let [segment] = searcher.segment_readers() else {
            let n = searcher.segment_readers().len();
            return Err(damaged(format!("it has {n} segments and not one")));
        };
        let (found, expected) = (u64::from(segment.max_doc()), manifest.passages);
        if found != expected {
            return Err(damaged(format!("it has {found} of {expected} passages")));
        }
        let fields = Fields::of(&index.schema())?;
        let postings = segment.inverted_index(fields.contents)?;
        let lengths = segment.get_fieldnorms_reader(fields.contents)?;
        let lengths: Vec<u8> =
            (0..segment.max_doc()).map(|doc| lengths.fieldnorm_id(doc)).collect();
        let n_filled = lengths.iter().filter(|it| **it > 0).count() as f64;
        // Nothing is ever found where no passage has a term.
        let average = postings.total_num_tokens() as f64 / n_filled.max(1.0);
        let norms = LengthNorms::new(lengths, &length_norms(options, average as f32));
        let impacts = RwLock::default();
        let analyzer = manifest.versioned(analyzer);
        Ok(Self { manifest, analyzer, searcher, fields, postings, n_filled, norms, impacts })
    }

    /// Manifest of the index.
    pub fn manifest(&self) -> &IndexManifest {
        &self.manifest
    }

    /// Analyzer of the index.
    pub fn analyzer(&self) -> Analyzer {
        self.analyzer.analyzer
    }

    /// Terms of a query, in order: those of the analyzer in the version that the index was built
    /// with.
    pub fn terms(&self, query: &str) -> Vec<String> {
        self.analyzer.terms(query)
    }

    /// Ids of all passages, in the order of the corpus. Reads all that is stored.
    pub fn passage_ids(&self) -> Result<Vec<String>, IndexError> {
        let segment = &self.searcher.segment_readers()[0];
        let store = segment.get_store_reader(1).map_err(engine)?;
        let id = |document: tantivy::Result<TantivyDocument>| {
            let document = document?;
            let id = document.get_first(self.fields.id).and_then(|value| value.as_str());
            Ok(id.unwrap_or_default().to_owned())
        };
        store.iter(segment.alive_bitset()).map(id).collect()
    }

    /// Top-k search for one query: the `k` best passages, best first, ties in the order of the
    /// corpus. Empty for a query without terms.
    pub fn search_one(&self, query: &str, k: usize) -> Result<Vec<Hit>, IndexError> {
        self.rank(query, k)?.into_iter().map(|ranked| self.hit(ranked)).collect()
    }

    /// Snippet of a passage: the part with most of the query's terms, about `width` bytes long.
    pub fn snippet(&self, text: &str, query: &str, width: usize) -> Snippet {
        Snippet::new(text, &self.terms(query), self.analyzer, width)
    }

    fn rank(&self, query: &str, k: usize) -> Result<Vec<ScoredDoc>, IndexError> {
        // A `BTreeMap`, because terms of equal weight are summed in this order.
        let mut counts = BTreeMap::<String, u32>::new();
        for term in self.terms(query) {
            *counts.entry(term).or_default() += 1;
        }
        let mut lists = Vec::with_capacity(counts.len());
        for (term, count) in counts {
            let term = Term::from_field_text(self.fields.contents, &term);
            let Some(info) = self.postings.get_term_info(&term).map_err(engine)? else { continue };
            let df = f64::from(info.doc_freq);
            // In f32, a term that nearly every passage has would weigh nothing.
            let idf = (1.0 + (self.n_filled - df + 0.5) / (df + 0.5)).ln();
            let weight = count as f32 * idf as f32;
            let impacts = self.impacts(&info).map_err(engine)?;
            let postings = self.read(&info).map_err(engine)?;
            lists.push(TermList::new(postings, weight, impacts));
        }
        Ok(top_k(lists, &self.norms, k))
    }

    fn read(&self, info: &TermInfo) -> io::Result<BlockSegmentPostings> {
        self.postings.read_block_postings_from_terminfo(info, IndexRecordOption::WithFreqs)
    }

    /// Block-max impacts of a posting list; the first search for its term reads all of it.
    fn impacts(&self, info: &TermInfo) -> io::Result<Option<Arc<Impacts>>> {
        if info.doc_freq < LONG_LIST {
            return Ok(None);
        }
        let key = info.postings_range.start;
        let known = self.impacts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(impacts) = known.get(&key) {
            return Ok(Some(Arc::clone(impacts)));
        }
        drop(known);
        let impacts = Arc::new(Impacts::of(self.read(info)?, &self.norms));
        let mut known = self.impacts.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Arc::clone(known.entry(key).or_insert(impacts))))
    }

    /// Passage by its number in the order of the corpus, from 0.
    pub fn passage(&self, doc: u32) -> Result<Passage, IndexError> {
        Ok(self.passage_of(&self.searcher.doc(DocAddress::new(0, doc))?))
    }

    /// Passages with some ids, by id. The stored passages are read for it: in an index of millions
    /// this takes seconds.
    pub fn passages_by_id<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<&'a str, Passage>, IndexError> {
        let ids: BTreeSet<&str> = ids.into_iter().collect();
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let n_passages = self.manifest.passages as u32;
        let chunks = n_passages.div_ceil(PASSAGES_A_TASK);
        let found_in = |chunk: u32| -> Result<Vec<(&'a str, Passage)>, IndexError> {
            let store = self.searcher.segment_reader(0).get_store_reader(1).map_err(engine)?;
            let start = chunk * PASSAGES_A_TASK;
            let mut found = Vec::new();
            for doc in start..n_passages.min(start.saturating_add(PASSAGES_A_TASK)) {
                let document: TantivyDocument = store.get(doc)?;
                let id = document.get_first(self.fields.id).and_then(|value| value.as_str());
                if let Some(id) = id.and_then(|id| ids.get(id).copied()) {
                    found.push((id, self.passage_of(&document)));
                }
            }
            Ok(found)
        };
        let found: Vec<Vec<(&str, Passage)>> =
            (0..chunks).into_par_iter().map(found_in).collect::<Result<_, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    fn passage_of(&self, document: &TantivyDocument) -> Passage {
        let value = |field| {
            let value = document.get_first(field).and_then(|value| value.as_str());
            value.unwrap_or_default().to_owned()
        };
        Passage {
            id: value(self.fields.id),
            title: value(self.fields.title),
            text: value(self.fields.text),
        }
    }

    /// Hit for a scored document.
    pub(crate) fn hit(&self, ranked: ScoredDoc) -> Result<Hit, IndexError> {
        let Passage { id, title, text } = self.passage(ranked.doc)?;
        Ok(Hit { id, title, text, score: ranked.score })
    }
}

impl Retriever for Bm25 {
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        queries
            .par_iter()
            .map(|&query| {
                self.search_one(query, k)
                    .map_err(|error| SearchError { query: query.to_owned(), source: error.into() })
            })
            .collect()
    }
}

fn engine(error: io::Error) -> IndexError {
    IndexError::Engine(error.into())
}

/// Length norms k1 · (1 - b + b · length / average length), by length code.
fn length_norms(options: &SearchOptions, average: f32) -> [f32; 256] {
    let SearchOptions { k1, b, .. } = *options;
    std::array::from_fn(|code| {
        let length = FieldNormReader::id_to_fieldnorm(code as u8) as f32;
        k1 * (1.0 - b + b * length / average)
    })
}
