//! The parts of an index that is being made: runs of passages in the order of the corpus, each a
//! segment of its own, made on several threads and merged in their order.
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
use crate::index::Fields;

/// Bytes of text in the first parts. Each later one is as long as the earlier of its thread
/// together, so that a small corpus keeps all threads busy and a large one has few parts.
const FIRST_BYTES: usize = 1 << 20;

/// The number of a part and its passages.
type Job = (usize, Vec<Passage>);

/// How parts are made.
pub(crate) struct Workshop<'a> {
    pub(crate) schema: Schema,
    pub(crate) tokenizers: TokenizerManager,
    pub(crate) n_threads: usize,
    /// For text, postings and all else of a part.
    pub(crate) bytes_a_thread: usize,
    /// Makes an empty place for the part of a number.
    pub(crate) place: &'a (dyn Fn(usize) -> Result<Box<dyn Directory>, IndexError> + Sync),
}

impl Workshop<'_> {
    /// Makes parts of the passages, up to the first error.
    pub(crate) fn make(
        &self,
        passages: impl Iterator<Item = Result<Passage, IndexError>>,
    ) -> Result<Vec<Index>, IndexError> {
        // Nothing waits in the channel: text is held by the reader and by each thread, once.
        let (jobs, waiting) = mpsc::sync_channel(0);
        let waiting = Mutex::new(Some(waiting));
        thread::scope(|scope| {
            let work = || {
                let made = self.work(&waiting);
                if made.is_err() {
                    // Or the reader would wait for ever.
                    drop(lock(&waiting).take());
                }
                made
            };
            let threads: Vec<_> = (0..self.n_threads).map(|_| scope.spawn(work)).collect();
            let read = self.hand_out(passages, &jobs);
            drop(jobs);
            // All of them are waited for before the first error is returned.
            let ended: Vec<_> = threads.into_iter().map(ScopedJoinHandle::join).collect();
            let made: Result<Vec<_>, _> = ended
                .into_iter()
                .map(|it| it.unwrap_or_else(|panic| resume_unwind(panic)))
                .collect();
            let mut parts = made?.concat();
            read?;
            parts.sort_by_key(|(number, _)| *number);
            Ok(parts.into_iter().map(|(_, part)| part).collect())
        })
    }

    /// Cuts the passages into jobs. Ends early where nobody takes them any more: a thread then
    /// ended with an error, which says why.
    fn hand_out(
        &self,
        passages: impl Iterator<Item = Result<Passage, IndexError>>,
        jobs: &SyncSender<Job>,
    ) -> Result<(), IndexError> {
        let (mut part, mut bytes, mut number) = (Vec::new(), 0, 0);
        for passage in passages {
            let passage = passage?;
            bytes += passage.title.len() + passage.text.len();
            part.push(passage);
            if bytes >= self.part_bytes(number) {
                if jobs.send((number, std::mem::take(&mut part))).is_err() {
                    return Ok(());
                }
                (bytes, number) = (0, number + 1);
            }
        }
        if !part.is_empty() {
            // As above.
            drop(jobs.send((number, part)));
        }
        Ok(())
    }

    /// Bytes of text in a part. A quarter of what a thread may take is its text; postings and a
    /// copy of the text on its way to the disk fit in the rest.
    fn part_bytes(&self, number: usize) -> usize {
        let most = self.bytes_a_thread / 4;
        let round = (number / self.n_threads).min(30) as u32;
        FIRST_BYTES.saturating_mul(1 << round).min(most)
    }

    /// Makes parts until there are no more.
    fn work(
        &self,
        waiting: &Mutex<Option<Receiver<Job>>>,
    ) -> Result<Vec<(usize, Index)>, IndexError> {
        let next = || lock(waiting).as_ref().and_then(|it| it.recv().ok());
        let mut made = Vec::new();
        while let Some((number, passages)) = next() {
            made.push((number, self.part(number, passages)?));
        }
        Ok(made)
    }

    fn part(&self, number: usize, passages: Vec<Passage>) -> Result<Index, IndexError> {
        let fields = Fields::of(&self.schema)?;
        let mut writer = self.builder().single_segment_index_writer::<TantivyDocument>(
            (self.place)(number)?,
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
