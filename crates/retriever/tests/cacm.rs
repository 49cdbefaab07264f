//! Against Lucene on a real collection: the 3,204 abstracts of CACM and a run of Anserini.
//!
//! The data is not part of the repository. It is looked for in `data/ir_cacm` of `$FORAGE_SHARED`,
//! or of `../shared` beside the workspace.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use forage_retriever::{
    Analyzer, Bm25, Corpus, IndexOptions, SearchOptions, TopicAverage, TrecRun, build_index,
    measure, read_qrels, read_topics,
};
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

/// The scores of a run as they are printed, by topic and document.
fn printed_scores(run: &Path) -> HashMap<(String, String), f64> {
    let text = fs::read_to_string(run).unwrap();
    let score = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        ((columns[0].to_owned(), columns[2].to_owned()), columns[4].parse().unwrap())
    };
    text.lines().map(score).collect()
}

#[test]
fn cacm_as_lucene_ranks_it() {
    let Some(data) = data() else {
        eprintln!("skipped: there is no `data/ir_cacm` in `$FORAGE_SHARED` or `../shared`");
        return;
    };
    let passages = abstracts(&data.join("cacm.tar.gz"));
    let analyzer = Analyzer::LuceneEnglish;
    let terms: Vec<String> = passages.iter().flat_map(|it| analyzer.terms(&it.text)).collect();
    let n_unique = terms.iter().collect::<BTreeSet<_>>().len();
    let n_passages = passages.len();

    let folder = TempDir::new().unwrap();
    let index = folder.path().join("cacm");
    let options = IndexOptions { analyzer, ..IndexOptions::default() };
    build_index(Corpus::memory(passages), &index, &options, &|_| {}).unwrap();
    let bm25 = Bm25::open(&index, &ANSERINI).unwrap();

    let qrels = read_qrels(&data.join("qrels.cacm.txt")).unwrap();
    let reference = TrecRun::read(&data.join("anserini_cacm-bm25.run.txt")).unwrap();
    let printed = printed_scores(&data.join("anserini_cacm-bm25.run.txt"));
    let (mut run, mut worst, mut n_scores) = (TrecRun::default(), 0.0_f64, 0);
    for topic in read_topics(&data.join("topics.cacm.txt")).unwrap() {
        let hits = bm25.search_one(&topic.query, 1000).unwrap();
        let theirs = &reference.topics[&topic.id];
        let top = |ids: &mut dyn Iterator<Item = &String>| {
            ids.take(10).cloned().collect::<BTreeSet<String>>()
        };
        assert_eq!(
            top(&mut hits.iter().map(|it| &it.id)),
            top(&mut theirs.iter().map(|it| &it.0)),
            "the ten best of topic {}",
            topic.id
        );
        for (id, _) in theirs {
            let ours = hits.iter().find(|it| it.id == *id).map_or(0.0, |it| f64::from(it.score));
            // Rounded again, one that was lowered is what it was.
            let score = (printed[&(topic.id.clone(), id.clone())] * 1e4).round() / 1e4;
            worst = worst.max((ours - score).abs());
            n_scores += 1;
        }
        run.add(&topic.id, &hits);
    }

    // Anserini publishes 3204 documents, 320968 terms, 14363 different ones, MAP 0.3123 and
    // P@30 0.1942. It rounds the scores of a run to four decimals, and lowers the later ones of
    // equal scores by a millionth each. So 5e-5 is as near as the file lets anyone see.
    assert_eq!((n_passages, terms.len(), n_unique, n_scores), (3204, 320_968, 14363, 1920));
    assert!(worst <= 5e-5, "scores differ by up to {worst}");
    let measures = ["map", "p@30", "ndcg@10", "recall@1000"].map(|it| it.parse().unwrap());
    let found = measure(&run, &qrels, &measures, TopicAverage::Common);
    assert_eq!(found.topics.len(), 52);
    for ((value, measure), expected) in
        found.means.iter().zip(&measures).zip([0.3123, 0.1942, 0.4544, 0.8867])
    {
        assert!((value - expected).abs() < 2e-4, "{measure} is {value:.4} and not {expected}");
    }
}
