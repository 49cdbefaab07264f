//! Segments of an index that is being built: runs of passages in the order of the corpus, indexed
//! on several threads and merged in their order.
//!
//! So passages keep the order of the corpus however many threads there are, and the merge copies
//! stored text block by block instead of unpacking it.

use std::panic::resume_unwind;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use forage_trajectory::Passage;
use tantivy::directory::Directory;
use tantivy::schema::Schema;
use tantivy::tokenizer::TokenizerManager;
use tantivy::{Index, IndexBuilder, IndexSettings, TantivyDocument};

use crate::IndexError;
use crate::schema::Fields;

/// Bytes of text in the first segments. Each later one is as long as the earlier of its thread
/// together, so that a small corpus keeps all threads busy and a large one has few segments.
const FIRST_BYTES: usize = 1 << 20;

/// Ordinal of a segment, and its passages.
type Job = (usize, Vec<Passage>);

/// Multi-threaded builder of segments.
pub(crate) struct SegmentBuilder<'a> {
    pub(crate) schema: Schema,
    pub(crate) tokenizers: TokenizerManager,
    pub(crate) n_threads: usize,
    /// Memory budget of a thread, for text, postings and all else of a segment.
    pub(crate) bytes_a_thread: usize,
    /// Makes an empty directory for the segment of an ordinal.
    pub(crate) directory: &'a (dyn Fn(usize) -> Result<Box<dyn Directory>, IndexError> + Sync),
}

impl SegmentBuilder<'_> {
    /// Indexes the passages into segments, up to the first error.
    pub(crate) fn build(
        &self,
        passages: impl Iterator<Item = Result<Passage, IndexError>>,
    ) -> Result<Vec<Index>, IndexError> {
        // Nothing waits in the channel: text is held by the reader and by each thread, once.
        let (jobs, waiting) = mpsc::sync_channel(0);
        let waiting = Mutex::new(Some(waiting));
        thread::scope(|scope| {
            let work = || {
                let built = self.build_waiting(&waiting);
                if built.is_err() {
                    // Or the reader would wait for ever.
                    drop(lock(&waiting).take());
                }
                built
            };
            let threads: Vec<_> = (0..self.n_threads).map(|_| scope.spawn(work)).collect();
            let read = self.send_jobs(passages, &jobs);
            drop(jobs);
            // All of them are waited for before the first error is returned.
            let ended: Vec<_> = threads.into_iter().map(ScopedJoinHandle::join).collect();
            let built: Result<Vec<_>, _> = ended
                .into_iter()
                .map(|outcome| outcome.unwrap_or_else(|panic| resume_unwind(panic)))
                .collect();
            let mut segments = built?.concat();
            read?;
            segments.sort_by_key(|(ordinal, _)| *ordinal);
            Ok(segments.into_iter().map(|(_, segment)| segment).collect())
        })
    }

    /// Cuts the passages into jobs and sends them. Ends early where no thread receives any more:
    /// one of them then ended with an error, which says why.
    fn send_jobs(
        &self,
        passages: impl Iterator<Item = Result<Passage, IndexError>>,
        jobs: &SyncSender<Job>,
    ) -> Result<(), IndexError> {
        let (mut segment, mut bytes, mut ordinal) = (Vec::new(), 0, 0);
        for passage in passages {
            let passage = passage?;
            bytes += passage.title.len() + passage.text.len();
            segment.push(passage);
            if bytes >= self.segment_bytes(ordinal) {
                if jobs.send((ordinal, std::mem::take(&mut segment))).is_err() {
                    return Ok(());
                }
                (bytes, ordinal) = (0, ordinal + 1);
            }
        }
        if !segment.is_empty() {
            // As above.
            drop(jobs.send((ordinal, segment)));
        }
        Ok(())
    }

    /// Bytes of text in a segment: at most a quarter of the budget of a thread. Postings, and a
    /// copy of the text on its way to the disk, fit in the rest.
    fn segment_bytes(&self, ordinal: usize) -> usize {
        let most = self.bytes_a_thread / 4;
        let round = (ordinal / self.n_threads).min(30) as u32;
        FIRST_BYTES.saturating_mul(1 << round).min(most)
    }

    /// Indexes jobs until there are no more.
    fn build_waiting(
        &self,
        waiting: &Mutex<Option<Receiver<Job>>>,
    ) -> Result<Vec<(usize, Index)>, IndexError> {
        let next = || lock(waiting).as_ref().and_then(|receiver| receiver.recv().ok());
        let mut built = Vec::new();
        while let Some((ordinal, passages)) = next() {
            built.push((ordinal, self.build_segment(ordinal, passages)?));
        }
        Ok(built)
    }

    fn build_segment(&self, ordinal: usize, passages: Vec<Passage>) -> Result<Index, IndexError> {
        let fields = Fields::of(&self.schema)?;
        let mut writer = self.builder().single_segment_index_writer::<TantivyDocument>(
            (self.directory)(ordinal)?,
            self.bytes_a_thread,
        )?;
        for passage in passages {
            let mut document = TantivyDocument::new();
            document.add_text(fields.contents, format!("{}\n{}", passage.title, passage.text));
            document.add_text(fields.id, passage.id);
            document.add_text(fields.title, passage.title);
            document.add_text(fields.text, passage.text);
            writer.add_document(document)?;
        }
        Ok(writer.finalize()?)
    }

    fn builder(&self) -> IndexBuilder {
        let settings = IndexSettings {
            // A hit is read out of one block: smaller ones are read faster.
            docstore_blocksize: 8192,
            ..IndexSettings::default()
        };
        Index::builder()
            .schema(self.schema.clone())
            .settings(settings)
            .tokenizers(self.tokenizers.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
