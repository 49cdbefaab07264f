//! Corpus coverage: whether the gold passages, titles and answers of questions are in an index.
//!
//! A question whose gold passage is missing from the corpus cannot be answered by searching, and
//! then it measures the corpus instead of the agent (arXiv 2605.27881: 37 % of sampled multi-hop
//! questions on Wikipedia of 2018). [`Coverage::of`] goes through all passages of an index once, and
//! searches for each question and each of its sub-questions.
//!
//! Texts are compared by their words, without case, punctuation, accents and other forms of the same
//! letters and digits: the terms of [`Analyzer::Unicode`].

use std::collections::{BTreeMap, HashMap, HashSet};

use aho_corasick::{AhoCorasick, BuildError};
use forage_trajectory::{EvidenceStep, Hit, Passage, Question, Retriever};
use rayon::prelude::*;

use crate::analyzer::Analyzer;
use crate::bm25::Bm25;
use crate::error::IndexError;

/// Passages that are compared at once.
const BATCH: usize = 4096;
/// Questions that are searched for at once.
const QUERIES: usize = 64;
/// Answers that every corpus has somewhere, and that say nothing about coverage.
const VERDICTS: [&str; 6] = ["yes", "no", "noanswer", "a", "an", "the"];

/// Corpus coverage of questions.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    /// Coverage by the source of the questions; questions without a source have an empty one.
    pub sources: BTreeMap<String, SourceCoverage>,
    /// Gold passages with a text that the index does not have, each once, in the order of the
    /// questions.
    pub missing: Vec<Passage>,
    /// Number of gold passages that are known by their id alone, which the index does not have.
    pub missing_ids: usize,
    /// Those of [`Self::missing`] that got another id.
    pub renamed: Vec<Renamed>,
}

/// Missing gold passage whose id another passage has: one of the index, or another gold passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// Id in the question.
    pub gold: String,
    /// Id in [`Coverage::missing`].
    pub added: String,
}

/// Corpus coverage of the questions of a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceCoverage {
    /// Number of questions.
    pub questions: usize,
    /// Questions all of whose gold passages are in the index, of those that have some.
    pub passages: Share,
    /// Questions all of whose gold titles are those of passages in the index, of those that have
    /// some.
    pub titles: Share,
    /// Questions with a golden answer that stands in a passage of the index, of those with an
    /// answer other than yes and no.
    pub answers: Share,
    /// Gold passages among the first k hits of the question: the sum of recall@k.
    pub recall: Share,
    /// Gold titles among the titles of the first k hits of the question: the sum of recall@k.
    pub title_recall: Share,
    /// Questions with a golden answer in one of the first k hits.
    pub answer_in_hits: Share,
    /// Gold passages of a sub-question among the first k hits of the sub-question: the sum of
    /// recall@k over sub-questions.
    pub step_recall: Share,
    /// Sub-questions with their answer in one of the first k hits of the sub-question.
    pub step_answer_in_hits: Share,
}

/// Share: a sum of numbers from 0 to 1, and how many they are.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Share {
    /// Sum.
    pub sum: f64,
    /// Number of numbers.
    pub of: usize,
}

impl Share {
    /// Mean of the numbers; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        (self.of > 0).then(|| self.sum / self.of as f64)
    }

    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.sum += value;
            self.of += 1;
        }
    }

    fn add_all(&mut self, all: impl ExactSizeIterator<Item = bool>) {
        if all.len() > 0 {
            let mut all = all;
            self.add(Some(f64::from(u8::from(all.all(|holds| holds)))));
        }
    }
}

/// Coverage that could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum CoverageError {
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A search failed.
    #[error("a search failed")]
    Search(#[from] forage_trajectory::SearchError),
    /// The answers cannot be looked for at once.
    #[error("the answers cannot be put into one automaton")]
    Answers(#[from] BuildError),
}

impl Coverage {
    /// Coverage of questions by an index, with `k` hits from a search engine over the same index.
    ///
    /// A gold passage is in the index if a passage has the same id and title, or the same title and
    /// text; a gold passage that is only an id, if a passage has that id. `progress` is called with
    /// the number of passages that were read.
    pub fn of(
        questions: &[Question],
        index: &Bm25,
        engine: &dyn Retriever,
        k: usize,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, CoverageError> {
        let wanted = Wanted::of(questions)?;
        let mut seen = Seen::default();
        let n_passages = index.manifest().passages as u32;
        for start in (0..n_passages).step_by(BATCH) {
            let batch = start..n_passages.min(start + BATCH as u32);
            let found: Vec<Seen> = batch
                .into_par_iter()
                .map(|doc| Ok(wanted.seen_in(&index.passage(doc)?)))
                .collect::<Result<_, IndexError>>()?;
            for found in found {
                seen.extend(found);
            }
            progress(u64::from(n_passages.min(start + BATCH as u32)));
        }
        let mut coverage = Self::default();
        for batch in questions.chunks(QUERIES) {
            coverage.add(batch, &seen, engine, k)?;
        }
        (coverage.missing, coverage.renamed) = missing(questions, &seen);
        coverage.missing_ids = missing_ids(questions, &seen);
        Ok(coverage)
    }

    /// Adds questions, after searching for them and their sub-questions.
    fn add(
        &mut self,
        questions: &[Question],
        seen: &Seen,
        engine: &dyn Retriever,
        k: usize,
    ) -> Result<(), CoverageError> {
        let mut queries: Vec<&str> = Vec::new();
        for question in questions {
            queries.push(&question.text);
            queries.extend(question.evidence.steps.iter().filter_map(query));
        }
        let mut found = engine.search(&queries, k).into_iter();
        let mut next = || found.next().transpose().map(Option::unwrap_or_default);
        for question in questions {
            let of_question = next()?;
            let source = self.sources.entry(question.source.clone()).or_default();
            source.add_index(question, seen);
            source.add_hits(question, &of_question);
            for step in question.evidence.steps.iter().filter(|step| query(step).is_some()) {
                source.add_step(question, step, &next()?);
            }
        }
        Ok(())
    }
}

impl SourceCoverage {
    /// Adds what the index has of a question.
    fn add_index(&mut self, question: &Question, seen: &Seen) {
        self.questions += 1;
        let golds = &question.evidence.passages;
        self.passages.add_all(golds.iter().map(|gold| seen.has(gold)));
        let titles = titles(golds);
        self.titles.add_all(titles.iter().map(|title| seen.titles.contains(title)));
        let answers = answers(&question.golden_answers);
        let has_one = answers.iter().any(|answer| seen.answers.contains(answer));
        self.answers.add((!answers.is_empty()).then(|| f64::from(u8::from(has_one))));
    }

    /// Adds what the search for a question found.
    fn add_hits(&mut self, question: &Question, hits: &[Hit]) {
        let golds: Vec<&Passage> = question.evidence.passages.iter().collect();
        self.recall.add(recall(&golds, hits));
        let titles = titles(&question.evidence.passages);
        let found: HashSet<String> = hits.iter().map(|hit| words(&hit.title)).collect();
        let n_found = titles.iter().filter(|title| found.contains(*title)).count();
        self.title_recall.add(share(n_found, titles.len()));
        self.answer_in_hits.add(stands_in(&question.golden_answers, hits));
    }

    /// Adds what the search for a sub-question found.
    fn add_step(&mut self, question: &Question, step: &EvidenceStep, hits: &[Hit]) {
        let of_step = |gold: &&Passage| step.passage_ids.contains(&gold.id);
        let golds: Vec<&Passage> = question.evidence.passages.iter().filter(of_step).collect();
        self.step_recall.add(recall(&golds, hits));
        let answer = std::slice::from_ref(&step.answer);
        self.step_answer_in_hits.add(stands_in(answer, hits));
    }
}

/// What is searched for a sub-question: its text, or its first reference query.
fn query(step: &EvidenceStep) -> Option<&str> {
    let texts = std::iter::once(&step.question).chain(&step.queries);
    texts.map(|text| text.trim()).find(|text| !text.is_empty())
}

/// Share of gold passages among hits.
fn recall(golds: &[&Passage], hits: &[Hit]) -> Option<f64> {
    let keys: HashSet<Key> =
        hits.iter().flat_map(|hit| Key::of(&hit.id, &hit.title, &hit.text)).collect();
    let is_found = |gold: &&&Passage| Key::of_gold(gold).iter().any(|key| keys.contains(key));
    share(golds.iter().filter(is_found).count(), golds.len())
}

/// Whether an answer stands in one of some hits; `None` without an answer to look for.
fn stands_in(golds: &[String], hits: &[Hit]) -> Option<f64> {
    let answers = answers(golds);
    let is_in = |hit: &Hit| {
        let text = padded(&[&hit.title, &hit.text]);
        answers.iter().any(|answer| text.contains(answer.as_str()))
    };
    (!answers.is_empty()).then(|| f64::from(u8::from(hits.iter().any(is_in))))
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// What identifies a passage: words of title and text, or its id with the words of the title.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// Id and words of the title.
    Named(String, String),
    /// Id alone.
    Id(String),
    /// Hash of the words of title and text.
    Words(blake3::Hash),
}

impl Key {
    /// All keys of a passage of the index.
    fn of(id: &str, title: &str, text: &str) -> [Self; 3] {
        let title = words(title);
        let content = blake3::hash(format!("{title}\n{}", words(text)).as_bytes());
        [Self::Named(id.to_owned(), title), Self::Id(id.to_owned()), Self::Words(content)]
    }

    /// Keys of a gold passage, any of which is enough.
    fn of_gold(gold: &Passage) -> Vec<Self> {
        let [named, id, content] = Self::of(&gold.id, &gold.title, &gold.text);
        match (gold.title.is_empty(), gold.text.is_empty()) {
            (true, true) => vec![id],
            (false, true) => vec![named],
            (_, false) => vec![named, content],
        }
    }
}

/// Keys, titles and answers to look for.
struct Wanted {
    keys: HashSet<Key>,
    titles: HashSet<String>,
    answers: Vec<String>,
    automaton: AhoCorasick,
}

impl Wanted {
    fn of(questions: &[Question]) -> Result<Self, BuildError> {
        let mut keys = HashSet::new();
        let mut titles_wanted = HashSet::new();
        let mut answers_wanted = HashSet::new();
        for question in questions {
            let golds = &question.evidence.passages;
            keys.extend(golds.iter().flat_map(Key::of_gold));
            // So that an added passage does not take the id of another.
            keys.extend(golds.iter().map(|gold| Key::Id(gold.id.clone())));
            titles_wanted.extend(titles(golds));
            answers_wanted.extend(answers(&question.golden_answers));
        }
        let mut answers: Vec<String> = answers_wanted.into_iter().collect();
        answers.sort();
        let automaton = AhoCorasick::new(&answers)?;
        Ok(Self { keys, titles: titles_wanted, answers, automaton })
    }

    /// What of it a passage has.
    fn seen_in(&self, passage: &Passage) -> Seen {
        let Passage { id, title, text } = passage;
        let keys = Key::of(id, title, text).into_iter().filter(|key| self.keys.contains(key));
        let title_words = words(title);
        let titles = Some(title_words).filter(|title| self.titles.contains(title));
        let text = padded(&[title, text]);
        let answers = self.automaton.find_overlapping_iter(&text);
        let answers = answers.map(|found| self.answers[found.pattern().as_usize()].clone());
        Seen {
            keys: keys.collect(),
            titles: titles.into_iter().collect(),
            answers: answers.collect(),
        }
    }
}

/// Keys, titles and answers that were found in the index.
#[derive(Default)]
struct Seen {
    keys: HashSet<Key>,
    titles: HashSet<String>,
    answers: HashSet<String>,
}

impl Seen {
    fn extend(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.titles.extend(other.titles);
        self.answers.extend(other.answers);
    }

    /// Whether the index has a gold passage.
    fn has(&self, gold: &Passage) -> bool {
        Key::of_gold(gold).iter().any(|key| self.keys.contains(key))
    }
}

/// Gold passages that can be added to the corpus: those with a text that is not there.
fn missing(questions: &[Question], seen: &Seen) -> (Vec<Passage>, Vec<Renamed>) {
    let mut contents = HashSet::new();
    let mut ids: HashMap<String, usize> = HashMap::new();
    let (mut missing, mut renamed) = (Vec::new(), Vec::new());
    for question in questions {
        for gold in &question.evidence.passages {
            let is_new = !gold.text.trim().is_empty()
                && !seen.has(gold)
                && contents.insert((words(&gold.title), words(&gold.text)));
            if is_new {
                // Two data sets may give one id to different passages, and so may the index.
                let taken = seen.keys.contains(&Key::Id(gold.id.clone()));
                let n_before = ids.entry(gold.id.clone()).or_default();
                *n_before += 1;
                let id = match (*n_before, taken) {
                    (1, false) => gold.id.clone(),
                    (n, _) => format!("{}#added-{n}", gold.id),
                };
                if id != gold.id {
                    renamed.push(Renamed { gold: gold.id.clone(), added: id.clone() });
                }
                missing.push(Passage { id, ..gold.clone() });
            }
        }
    }
    (missing, renamed)
}

/// Number of different gold passages without a title and a text that the index does not have.
fn missing_ids(questions: &[Question], seen: &Seen) -> usize {
    let golds = questions.iter().flat_map(|question| &question.evidence.passages);
    let is_missing =
        |gold: &&Passage| gold.title.is_empty() && gold.text.is_empty() && !seen.has(gold);
    golds.filter(is_missing).map(|gold| &gold.id).collect::<HashSet<_>>().len()
}

/// Titles of gold passages, each once, as their words.
fn titles(golds: &[Passage]) -> Vec<String> {
    let mut titles: Vec<String> = golds.iter().map(|gold| words(&gold.title)).collect();
    titles.retain(|title| !title.is_empty());
    titles.sort();
    titles.dedup();
    titles
}

/// Golden answers to look for, as words with a space at each end.
fn answers(golds: &[String]) -> Vec<String> {
    let wanted = golds.iter().map(|gold| words(gold));
    let wanted = wanted.filter(|gold| !gold.is_empty() && !VERDICTS.contains(&gold.as_str()));
    wanted.map(|gold| format!(" {gold} ")).collect()
}

/// Words of a text, in lower case and without accents, with single spaces.
fn words(text: &str) -> String {
    Analyzer::Unicode.terms(text).join(" ")
}

/// Words of texts, with a space at each end.
fn padded(texts: &[&str]) -> String {
    format!(" {} ", texts.iter().map(|text| words(text)).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use forage_trajectory::Evidence;

    use super::*;
    use crate::bm25::SearchOptions;

    fn passage(id: &str, title: &str, text: &str) -> Passage {
        Passage { id: id.into(), title: title.into(), text: text.into() }
    }

    fn question(source: &str, text: &str, answer: &str, golds: &[Passage]) -> Question {
        let evidence = Evidence { passages: golds.to_vec(), ..Evidence::default() };
        Question {
            source: source.into(),
            text: text.into(),
            golden_answers: vec![answer.into()],
            evidence,
            ..Question::default()
        }
    }

    fn coverage(questions: &[Question]) -> Coverage {
        let corpus = vec![
            passage("1", "Halvik", "Halvik is a port on the river Osk."),
            passage("2", "Osk", "The Osk rises in Tarn Moor, and yes, it is long."),
            passage("3", "Velmora", "Velmora is a town."),
        ];
        let index = Bm25::in_memory(corpus, Analyzer::English, &SearchOptions::default()).unwrap();
        let mut read = 0;
        let found = Coverage::of(questions, &index, &index, 1, &mut |n| read = n).unwrap();
        assert_eq!(read, 3);
        found
    }

    #[test]
    fn passages_titles_and_answers_are_looked_for_in_the_whole_index() {
        let by_text = passage("other/1", "Halvik", "Halvik is a port, on the river OSK");
        let by_id = passage("2", "", "");
        let by_title = passage("wiki-7", "Velmora", "Velmora was founded in 1911 by monks.");
        let absent = passage("1", "Ulm", "Ulm is elsewhere.");
        // The gold passage; shares of passages, titles and answers.
        let table = [
            (&by_text, "Tarn Moor", [Some(1.0), Some(1.0), Some(1.0)]),
            (&by_id, "tarn-moor", [Some(1.0), None, Some(1.0)]),
            (&by_title, "Moor Tarn", [Some(0.0), Some(1.0), Some(0.0)]),
            (&absent, "yes", [Some(0.0), Some(0.0), None]),
            // Answers are compared as rewards compare them.
            (&by_id, "Ｔａｒｎ Moor", [Some(1.0), None, Some(1.0)]),
            (&by_id, "A", [Some(1.0), None, None]),
        ];
        for (gold, answer, expected) in table {
            let found = coverage(&[question("s", "port?", answer, std::slice::from_ref(gold))]);
            let of = &found.sources["s"];
            let shares = [of.passages, of.titles, of.answers].map(|share| share.mean());
            assert_eq!(shares, expected, "{gold:?}");
        }
    }

    #[test]
    fn recall_is_that_of_the_hits() {
        let golds = [passage("1", "Halvik", ""), passage("2", "Osk", "")];
        let mut asked = question("s", "Halvik port", "Tarn Moor", &golds);
        let step = |question: &str, answer: &str, id: &str| EvidenceStep {
            question: question.into(),
            answer: answer.into(),
            passage_ids: vec![id.into()],
            ..EvidenceStep::default()
        };
        asked.evidence.steps =
            vec![step("Halvik port", "Osk", "1"), step("Velmora town", "Tarn Moor", "2")];
        let other = question("", "Velmora", "town", &[]);
        let found = coverage(&[asked, other]);
        let of = &found.sources["s"];
        // One of two gold passages is the only hit of the question.
        assert_eq!(of.recall, Share { sum: 0.5, of: 1 });
        assert_eq!(of.title_recall, Share { sum: 0.5, of: 1 });
        assert_eq!(of.answer_in_hits, Share { sum: 0.0, of: 1 });
        assert_eq!(of.step_recall, Share { sum: 1.0, of: 2 });
        assert_eq!(of.step_answer_in_hits, Share { sum: 1.0, of: 2 });
        let without = &found.sources[""];
        assert_eq!((without.recall.mean(), without.passages.mean()), (None, None));
        assert_eq!(without.answer_in_hits.mean(), Some(1.0));
    }

    #[test]
    fn missing_passages_get_ids_of_their_own() {
        let golds = [
            passage("1", "Ulm", "Ulm is elsewhere."),
            passage("a", "Ulm", "Ulm is on the Danube."),
            passage("a", "Ulm", "Ulm has a minster."),
            passage("b", "Ulm", "ULM has a minster!"),
            passage("9", "Ulm", ""),
            passage("2", "Osk", "The Osk rises in Tarn Moor, and yes, it is long."),
        ];
        let found = coverage(&[question("s", "?", "x", &golds)]);
        let ids: Vec<&str> = found.missing.iter().map(|passage| passage.id.as_str()).collect();
        assert_eq!(ids, ["1#added-1", "a", "a#added-2"]);
        let renamed: Vec<[&str; 2]> =
            found.renamed.iter().map(|it| [it.gold.as_str(), it.added.as_str()]).collect();
        assert_eq!(renamed, [["1", "1#added-1"], ["a", "a#added-2"]]);
    }
}
