//! The pruned ranking against an exhaustive one, bit for bit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::thread;

use forage_retriever::{Analyzer, Bm25, Corpus, IndexOptions, SearchOptions, build_index};
use forage_trajectory::{Hit, Passage, Purpose, Retriever, Stream};
use proptest::prelude::*;
use rand::RngExt;
use tantivy::fieldnorm::FieldNormReader;
use tempfile::TempDir;

fn corpus(texts: &[String]) -> Vec<Passage> {
    let passage = |(idx, text): (usize, &String)| Passage {
        id: idx.to_string(),
        title: String::new(),
        text: text.clone(),
    };
    texts.iter().enumerate().map(passage).collect()
}

fn open(texts: &[String], analyzer: Analyzer, options: &SearchOptions) -> Bm25 {
    Bm25::in_memory(corpus(texts), analyzer, options).unwrap()
}

fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|it| it.id.as_str()).collect()
}

/// How often each passage has each word.
fn bags(texts: &[String]) -> Vec<HashMap<String, u32>> {
    let bag = |text: &String| {
        let mut bag = HashMap::new();
        for term in Analyzer::Plain.terms(text) {
            *bag.entry(term).or_default() += 1;
        }
        bag
    };
    texts.iter().map(bag).collect()
}

/// BM25 as it is written in Lucene: every passage, every term.
fn exhaustive(
    bags: &[HashMap<String, u32>],
    query: &str,
    k: usize,
    options: &SearchOptions,
) -> Vec<(usize, f32)> {
    let length = |bag: &HashMap<String, u32>| bag.values().sum::<u32>();
    // Passages without a word are not counted.
    let n = bags.iter().filter(|it| !it.is_empty()).count() as f64;
    let average = (bags.iter().map(|it| f64::from(length(it))).sum::<f64>() / n) as f32;
    let mut counts = BTreeMap::<String, u32>::new();
    for term in Analyzer::Plain.terms(query) {
        *counts.entry(term).or_default() += 1;
    }
    let mut weights: Vec<(String, f32)> = counts
        .into_iter()
        .filter_map(|(term, count)| {
            let df = bags.iter().filter(|it| it.contains_key(&term)).count() as f64;
            let idf = (1.0 + (n - df + 0.5) / (df + 0.5)).ln() as f32;
            (df > 0.0).then_some((term, count as f32 * idf))
        })
        .collect();
    weights.sort_by(|left, right| right.1.total_cmp(&left.1));
    let mut scored: Vec<(usize, f32)> = bags
        .iter()
        .enumerate()
        .filter(|(_, bag)| weights.iter().any(|(term, _)| bag.contains_key(term)))
        .map(|(doc, bag)| {
            let code = FieldNormReader::fieldnorm_to_id(length(bag));
            let length = FieldNormReader::id_to_fieldnorm(code) as f32;
            let norm = options.k1 * (1.0 - options.b + options.b * length / average);
            let tf = |term: &str| bag.get(term).copied().unwrap_or(0) as f32;
            let terms = weights.iter().filter(|(term, _)| tf(term) > 0.0);
            let score = |(term, weight): &(String, f32)| {
                let inverse = 1.0 / norm;
                weight - weight / (1.0 + tf(term) * inverse)
            };
            (doc, terms.map(|it| f64::from(score(it))).sum::<f64>() as f32)
        })
        .collect();
    scored.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    scored.truncate(k);
    scored
}

/// Words of a small vocabulary, the first ones much more often than the last.
fn word() -> impl Strategy<Value = String> {
    (0.0_f64..1.0).prop_map(|it| format!("w{}", (it.powi(4) * 30.0) as u32))
}

fn text(max_words: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 0..max_words).prop_map(|words| words.join(" "))
}

fn check(
    bm25: &Bm25,
    bags: &[HashMap<String, u32>],
    options: &SearchOptions,
    query: &str,
    k: usize,
) {
    let hits = bm25.search_one(query, k).unwrap();
    let found: Vec<(usize, u32)> =
        hits.iter().map(|it| (it.id.parse().unwrap(), it.score.to_bits())).collect();
    let expected: Vec<(usize, u32)> = exhaustive(bags, query, k, options)
        .into_iter()
        .map(|(doc, score)| (doc, score.to_bits()))
        .collect();
    assert_eq!(found, expected, "{query} at {k}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn pruning_changes_nothing(
        texts in prop::collection::vec(text(40), 1..900),
        queries in prop::collection::vec((text(12), 0_usize..20), 1..12),
        k1 in prop_oneof![Just(0.0_f32), Just(0.9), Just(1.2), 0.0_f32..5.0],
        b in prop_oneof![Just(0.0_f32), Just(0.4), Just(0.75), Just(1.0)],
    ) {
        let options = SearchOptions { analyzer: None, k1, b };
        let bm25 = open(&texts, Analyzer::Plain, &options);
        let bags = bags(&texts);
        for (query, k) in queries {
            check(&bm25, &bags, &options, &query, k);
        }
    }
}

/// Many windows and blocks; rare words in stretches of the corpus, so that some hold nothing.
#[test]
fn pruning_changes_nothing_in_long_lists() {
    let mut rng = Stream::new(1, Purpose::World).rng();
    let mut word = |passage: usize| match rng.random_range(0..10) {
        0 => format!("rare{}", passage / 1500 * 7 + rng.random_range(0..7)),
        1..4 => format!("some{}", rng.random_range(0..200)),
        _ => format!("often{}", rng.random_range(0_u32..30).pow(2) / 60),
    };
    let texts: Vec<String> = (0..12_000)
        .map(|passage| {
            let n_words = 4 + passage % 23;
            (0..n_words).map(|_| word(passage)).collect::<Vec<_>>().join(" ")
        })
        .collect();
    let queries: Vec<String> = (0..40)
        .map(|idx| (0..=(idx % 9)).map(|_| word(idx * 300)).collect::<Vec<_>>().join(" "))
        .collect();
    let bags = bags(&texts);
    for (k1, b) in [(0.9, 0.4), (1.2, 0.75), (3.0, 1.0)] {
        let options = SearchOptions { analyzer: None, k1, b };
        let bm25 = open(&texts, Analyzer::Plain, &options);
        for (idx, query) in queries.iter().enumerate() {
            check(&bm25, &bags, &options, query, [1, 3, 10, 100][idx % 4]);
        }
    }
}

#[test]
fn queries_without_hits_and_more_hits_than_passages() {
    let texts =
        ["a cat".to_owned(), "a dog".to_owned(), "a cat and a dog".to_owned(), String::new()];
    let bm25 = open(&texts, Analyzer::English, &SearchOptions::default());
    let no_ids: [&str; 0] = [];
    for (query, k, expected) in [
        ("cats", 10, &["0", "2"][..]),
        ("cats dogs", usize::MAX, &["2", "0", "1"]),
        ("cats dogs", 1, &["2"]),
        ("cats", 0, &no_ids),
        ("", 3, &no_ids),
        (" \n\t?!", 3, &no_ids),
        ("the and of it", 3, &no_ids),
        ("zebra", 3, &no_ids),
        ("\u{0}\u{1b}[31m", 3, &no_ids),
    ] {
        assert_eq!(ids(&bm25.search_one(query, k).unwrap()), expected, "{query:?}");
    }
}

#[test]
fn ties_are_in_the_order_of_the_corpus() {
    let mut texts = vec!["same words here".to_owned(); 700];
    texts[300] = "same same same words".to_owned();
    let bm25 = open(&texts, Analyzer::Plain, &SearchOptions::default());
    assert_eq!(ids(&bm25.search_one("same", 4).unwrap()), ["300", "0", "1", "2"]);
}

#[test]
fn repeated_query_terms_count() {
    let texts = ["cat".to_owned(), "dog".to_owned(), "bird".to_owned()];
    let bm25 = open(&texts, Analyzer::Plain, &SearchOptions::default());
    assert_eq!(ids(&bm25.search_one("cat dog", 2).unwrap()), ["0", "1"]);
    let hits = bm25.search_one("cat dog Dog", 2).unwrap();
    assert_eq!(ids(&hits), ["1", "0"]);
    assert!((hits[0].score / hits[1].score - 2.0).abs() < 1e-6);
}

/// Several indexing threads, several segments: the merged one is in the order of the corpus.
#[test]
fn the_index_on_disk_is_in_the_order_of_the_corpus() {
    let folder = TempDir::new().unwrap();
    let texts: Vec<String> = (0..5000).map(|idx| format!("common w{}", idx % 7)).collect();
    let index = folder.path().join("index");
    let options = IndexOptions { analyzer: Analyzer::Plain, ..IndexOptions::default() };
    build_index(Corpus::memory(corpus(&texts)), &index, &options, &|_| {}).unwrap();
    let on_disk = Bm25::open(&index, &SearchOptions::default()).unwrap();
    let all = on_disk.search_one("common", 5000).unwrap();
    let expected: BTreeSet<usize> = (0..5000).collect();
    assert!(all.iter().map(|it| it.id.parse::<usize>().unwrap()).eq(expected));
    let in_memory = open(&texts, Analyzer::Plain, &SearchOptions::default());
    assert_eq!(on_disk.search_one("w3", 50).unwrap(), in_memory.search_one("w3", 50).unwrap());
}

#[test]
fn a_hit_does_not_depend_on_batch_or_thread() {
    let texts: Vec<String> =
        (0_u32..600).map(|idx| format!("w{} w{} w{}", idx % 5, idx % 17, idx * idx % 23)).collect();
    let bm25 = open(&texts, Analyzer::English, &SearchOptions::default());
    let queries: Vec<String> = (0..40).map(|idx| format!("w{} w{}", idx % 5, idx % 23)).collect();
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let alone: Vec<Vec<Hit>> =
        queries.iter().map(|query| bm25.search_one(query, 5).unwrap()).collect();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let batch: Vec<Vec<Hit>> =
                    bm25.search(&queries, 5).into_iter().map(Result::unwrap).collect();
                assert_eq!(batch, alone);
            });
        }
    });
    assert!(bm25.search(&[], 5).is_empty());
}
