//! Recall on published multi-hop questions, as their collections report it for BM25.
//!
//! The data is not part of the repository. It is looked for in `data` of `$FORAGE_SHARED`, or of
//! `../shared` beside the workspace.

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use forage_retriever::{
    Analyzer, Bm25, Corpus, Qrels, SearchOptions, TopicAverage, TrecRun, measure, read_topics,
};
use forage_trajectory::Retriever;
use serde_json::Value;

fn data(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = env::var_os("FORAGE_SHARED").map_or(beside, PathBuf::from);
    let path = shared.join("data").join(name);
    if !path.is_dir() {
        eprintln!("skipped: there is no `data/{name}` in `$FORAGE_SHARED` or `../shared`");
        return None;
    }
    Some(path)
}

fn judgements(questions: &Path) -> Qrels {
    let lines = BufReader::new(File::open(questions).unwrap()).lines();
    lines
        .map(|line| {
            let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let gold = row["gold_pids"].as_array().unwrap();
            let gold = gold.iter().map(|it| (it.to_string(), 1)).collect();
            (row["id"].as_str().unwrap().to_owned(), gold)
        })
        .collect()
}

#[test]
fn multi_hop_questions() {
    for (name, expected, all) in [
        ("musique", [0.262, 0.351, 0.454, 0.539], Some(0.185)),
        ("hotpotqa", [0.412, 0.567, 0.732, 0.843], None),
    ] {
        let Some(folder) = data(name) else { continue };
        let corpus = Corpus::files([folder.join("corpus.jsonl")]).unwrap();
        let passages = corpus.map(|it| it.unwrap().1).collect();
        let options = SearchOptions { analyzer: None, k1: 0.9, b: 0.4 };
        let bm25 = Bm25::in_memory(passages, Analyzer::LuceneEnglish, &options).unwrap();
        let questions = folder.join("questions.jsonl");
        let topics = read_topics(&questions).unwrap();
        let queries: Vec<&str> = topics.iter().map(|it| it.query.as_str()).collect();
        let mut run = TrecRun::default();
        for (topic, hits) in topics.iter().zip(bm25.search(&queries, 10)) {
            run.add(&topic.id, &hits.unwrap());
        }
        let measures = ["recall@1", "recall@2", "recall@5", "recall@10", "all@10"];
        let measures = measures.map(|it| it.parse().unwrap());
        let found = measure(&run, &judgements(&questions), &measures, TopicAverage::Judged);
        let expected = expected.into_iter().chain(all);
        for ((value, measure), expected) in found.means.iter().zip(&measures).zip(expected) {
            assert!(
                (value - expected).abs() < 0.003,
                "{name}: {measure} is {value:.4} and not {expected}"
            );
        }
    }
}
