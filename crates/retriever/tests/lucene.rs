//! Against Lucene on 25,790 real passages in many scripts: every term, and the scores of a run.
//!
//! `lucene/passages.run` holds, for every fifth question, what Anserini 0.22.1 (Lucene 9) finds
//! first, made by `benchmarks/peers/retrieval`. The passages are not part of the repository. They
//! are looked for in `data` of `$FORAGE_SHARED`, or of `../shared` beside the workspace.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use forage_retriever::{Analyzer, Bm25, SearchOptions};
use forage_trajectory::Passage;
use serde_json::Value;

const CORPORA: [&str; 3] =
    ["musique/corpus.jsonl", "hotpotqa/corpus.jsonl", "wiki_passage_pool/passages.jsonl"];
const QUESTIONS: [&str; 2] = ["musique/questions.jsonl", "hotpotqa/questions.jsonl"];

fn rows(file: PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The distinct passages of all corpora, numbered.
fn passages(data: &Path) -> Vec<Passage> {
    let mut seen = HashSet::new();
    let rows = CORPORA.iter().flat_map(|it| rows(data.join(it)));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let distinct = rows.map(|row| (text(&row, "title"), text(&row, "text")));
    let distinct = distinct.filter(|it| seen.insert(it.clone())).enumerate();
    distinct.map(|(idx, (title, text))| Passage { id: idx.to_string(), title, text }).collect()
}

#[test]
fn real_passages_as_lucene_ranks_them() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let data = env::var_os("FORAGE_SHARED").map_or(beside, PathBuf::from).join("data");
    if !CORPORA.iter().chain(&QUESTIONS).all(|it| data.join(it).exists()) {
        eprintln!("skipped: there are no passages in `$FORAGE_SHARED` or `../shared`");
        return;
    }
    let passages = passages(&data);
    let analyzer = Analyzer::LuceneEnglish;
    let (mut n_terms, mut unique) = (0, HashSet::new());
    for passage in &passages {
        let terms = analyzer.terms(&format!("{}\n{}", passage.title, passage.text));
        n_terms += terms.len();
        unique.extend(terms);
    }
    assert_eq!((passages.len(), n_terms, unique.len()), (25_790, 1_639_572, 82_177));

    let options = SearchOptions { analyzer: Some(analyzer), k1: 0.9, b: 0.4 };
    let bm25 = Bm25::in_memory(passages, analyzer, &options).unwrap();
    let questions: Vec<Value> = QUESTIONS.iter().flat_map(|it| rows(data.join(it))).collect();
    let mut found: HashMap<usize, Vec<(String, f64)>> = HashMap::new();
    for line in include_str!("lucene/passages.run").lines() {
        let columns: Vec<&str> = line.split(' ').collect();
        let (question, rank): (usize, usize) =
            (columns[0].parse().unwrap(), columns[3].parse().unwrap());
        let ours = found.entry(question).or_insert_with(|| {
            let hits = bm25.search_one(questions[question]["question"].as_str().unwrap(), 10);
            hits.unwrap().into_iter().map(|it| (it.id, f64::from(it.score))).collect()
        });
        // Four decimals are printed, and equal scores lowered by a millionth each.
        let score = (columns[4].parse::<f64>().unwrap() * 1e4).round() / 1e4;
        let (_, same) = ours
            .iter()
            .find(|it| it.0 == columns[2])
            .unwrap_or_else(|| panic!("question {question}: {} is not among {ours:?}", columns[2]));
        assert!((same - score).abs() < 5.1e-5, "question {question}: {same} and not {score}");
        assert!((ours[rank - 1].1 - score).abs() < 5.1e-5, "question {question}: {ours:?}");
    }
    assert_eq!(found.len(), 138);
}
