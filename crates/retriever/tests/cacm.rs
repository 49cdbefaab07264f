//! Against Lucene on a real collection: the 3,204 abstracts of CACM and a run of Anserini.
//!
//! The data is not part of the repository. It is looked for in `data/ir_cacm` of `$FORAGE_SHARED`,
//! or of `../shared` beside the workspace.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use forage_retriever::{Analyzer, Bm25, Corpus, IndexOptions, SearchOptions, build};
use forage_trajectory::Passage;
use tempfile::TempDir;

/// Anserini's defaults.
const ANSERINI: SearchOptions =
    SearchOptions { analyzer: Some(Analyzer::LuceneEnglish), k1: 0.9, b: 0.4 };

fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = env::var_os("FORAGE_SHARED").map_or(beside, PathBuf::from);
    let folder = shared.join("data/ir_cacm");
    folder.is_dir().then_some(folder)
}

/// The abstracts without their two HTML tags, by id.
fn abstracts(archive: &Path) -> Vec<Passage> {
    let unpacked = TempDir::new().unwrap();
    let status =
        Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(unpacked.path()).status();
    assert!(status.unwrap().success(), "tar");
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir(unpacked.path()).unwrap() {
        let path = entry.unwrap().path();
        let id = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let html = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        let outside = html.split('<').map(|part| part.split_once('>').map_or(part, |it| it.1));
        texts.insert(id, outside.collect::<Vec<_>>().join(" "));
    }
    let passage = |(id, text)| Passage { id, title: String::new(), text };
    texts.into_iter().map(passage).collect()
}

fn topics(text: &str) -> Vec<(String, String)> {
    let topic = |part: &str| {
        let (id, query) = part.split_once("</DOCNO>").unwrap();
        let query = query.split_once("</DOC>").unwrap().0;
        (id.trim().to_owned(), query.to_owned())
    };
    text.split("<DOCNO>").skip(1).map(topic).collect()
}

/// Average precision as `trec_eval` has it: over all relevant passages, found or not.
fn average_precision(ranking: &[String], relevant: &HashSet<&str>) -> f64 {
    let mut found = 0.0;
    let mut sum = 0.0;
    for (idx, id) in ranking.iter().enumerate() {
        if relevant.contains(id.as_str()) {
            found += 1.0;
            sum += found / (idx + 1) as f64;
        }
    }
    sum / relevant.len() as f64
}

#[test]
fn cacm_as_lucene_ranks_it() {
    let Some(data) = data() else {
        eprintln!("skipped: there is no `data/ir_cacm` in `$FORAGE_SHARED` or `../shared`");
        return;
    };
    let read = |name: &str| fs::read_to_string(data.join(name)).unwrap();
    let passages = abstracts(&data.join("cacm.tar.gz"));
    let analyzer = Analyzer::LuceneEnglish;
    let terms: Vec<String> = passages.iter().flat_map(|it| analyzer.terms(&it.text)).collect();
    let n_unique = terms.iter().collect::<BTreeSet<_>>().len();
    let n_passages = passages.len();

    let folder = TempDir::new().unwrap();
    let index = folder.path().join("cacm");
    let options = IndexOptions { analyzer, skip_bad: false };
    build(Corpus::memory(passages), &index, &options, &|_| {}).unwrap();
    let bm25 = Bm25::open(&index, &ANSERINI).unwrap();

    let judgements = read("qrels.cacm.txt");
    let mut relevant = BTreeMap::<&str, HashSet<&str>>::new();
    for line in judgements.lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        if columns[3] != "0" {
            relevant.entry(columns[0]).or_default().insert(columns[2]);
        }
    }
    let run = read("anserini_cacm-bm25.run.txt");
    let mut reference = BTreeMap::<&str, Vec<(&str, f32)>>::new();
    for line in run.lines() {
        let columns: Vec<&str> = line.split_whitespace().collect();
        reference.entry(columns[0]).or_default().push((columns[2], columns[4].parse().unwrap()));
    }

    let (mut precisions, mut n_found, mut worst) = (0.0, 0, 0.0_f32);
    for (topic, query) in topics(&read("topics.cacm.txt")) {
        let hits = bm25.search_one(&query, 1000).unwrap();
        let theirs = &reference[topic.as_str()];
        let top = |ids: &mut dyn Iterator<Item = &str>| {
            ids.take(10).map(str::to_owned).collect::<BTreeSet<String>>()
        };
        assert_eq!(
            top(&mut hits.iter().map(|it| it.id.as_str())),
            top(&mut theirs.iter().map(|it| it.0)),
            "the ten best of topic {topic}"
        );
        for (id, score) in theirs {
            let ours = hits.iter().find(|it| it.id == *id).map_or(0.0, |it| it.score);
            worst = worst.max((ours - score).abs());
        }
        if let Some(relevant) = relevant.get(topic.as_str()) {
            let mut ranking: Vec<_> = hits.into_iter().map(|it| (it.score, it.id)).collect();
            // As `trec_eval`: equal scores by id, descending.
            ranking.sort_by(|left, right| right.0.total_cmp(&left.0).then(right.1.cmp(&left.1)));
            let ranking: Vec<String> = ranking.into_iter().map(|it| it.1).collect();
            precisions += average_precision(&ranking, relevant);
            let top_30 = ranking.iter().take(30);
            n_found += top_30.filter(|it| relevant.contains(it.as_str())).count();
        }
    }

    // Anserini publishes 3204 documents, 320968 terms, 14363 different ones, MAP 0.3123 and
    // P@30 0.1942. The scores of its run have four decimals.
    assert_eq!((n_passages, terms.len(), n_unique), (3204, 320_968, 14363));
    assert!(worst < 1e-4, "scores differ by up to {worst}");
    let n_judged = relevant.len() as f64;
    let (map, p_30) = (precisions / n_judged, n_found as f64 / 30.0 / n_judged);
    assert!((map - 0.3123).abs() < 2e-4, "MAP {map:.4}");
    assert!((p_30 - 0.1942).abs() < 1e-4, "P@30 {p_30:.4}");
}
