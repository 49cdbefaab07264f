//! Dense search with an embedder of letters, in process and behind `/v1/embeddings`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use forage_http::{HttpError, StatusError};
use forage_retriever::{
    Analyzer, Bm25, ClientError, Corpus, Dense, Embeddings, EmbeddingsConfig, Fused, HttpConfig,
    IndexOptions, SearchOptions, build_graph, build_index, build_vectors,
};
use forage_trajectory::{BoxError, Embedder, Hit, Passage, Retriever, TextRole};
use tempfile::TempDir;

use crate::faulty::{Act, Faulty};

/// How often each letter occurs: what a text is about, to a child.
struct Letters;

impl Embedder for Letters {
    fn name(&self) -> &'static str {
        "letters"
    }

    fn dimension(&self) -> usize {
        26
    }

    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, BoxError> {
        if texts.contains(&"fails") {
            return Err("no such letters".into());
        }
        let vector = |text: &&str| {
            let mut vector = vec![0.0; 26];
            for letter in text.to_ascii_lowercase().bytes().filter(u8::is_ascii_lowercase) {
                vector[usize::from(letter - b'a')] +=
                    if role == TextRole::Query { 0.5 } else { 1.0 };
            }
            vector
        };
        Ok(texts.iter().map(vector).collect())
    }
}

struct Site {
    folder: TempDir,
    passages: Arc<Bm25>,
}

impl Site {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let passage = |(idx, text): (usize, &str)| Passage {
            id: idx.to_string(),
            title: String::new(),
            text: text.to_owned(),
        };
        let texts = ["banana", "cab", "zzz", "zz top", "cab"];
        let passages = texts.into_iter().enumerate().map(passage).collect();
        let index = folder.path().join("index");
        let options = IndexOptions { analyzer: Analyzer::Plain, ..IndexOptions::default() };
        build_index(Corpus::memory(passages), &index, &options, &|_| {}).unwrap();
        let passages = Arc::new(Bm25::open(&index, &SearchOptions::default()).unwrap());
        Self { folder, passages }
    }

    fn vectors(&self) -> PathBuf {
        self.folder.path().join("vectors")
    }

    fn build(&self, embedder: &dyn Embedder) {
        build_vectors(&self.passages, embedder, &self.vectors(), 2, &|_| {}).unwrap();
    }

    fn open(&self, embedder: Arc<dyn Embedder>) -> Result<Dense, String> {
        Dense::open(&self.vectors(), Arc::clone(&self.passages), embedder)
            .map_err(|it| it.to_string().replace(&format!("{}/", self.folder.path().display()), ""))
    }
}

fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|it| it.id.as_str()).collect()
}

#[test]
fn passages_by_their_vectors() {
    let site = Site::new();
    site.build(&Letters);
    let dense = Arc::new(site.open(Arc::new(Letters)).unwrap());
    let found = dense.search(&["zzzz", " ", "cab"], 3);
    let found: Vec<&Vec<Hit>> = found.iter().map(|it| it.as_ref().unwrap()).collect();
    assert_eq!(ids(found[0]), ["2", "3", "0"]);
    assert!((found[0][0].score - 6.0).abs() < 1e-6);
    assert_eq!(found[0][0].text, "zzz");
    assert!(found[1].is_empty());
    assert_eq!(ids(found[2]), ["0", "1", "4"]);
    assert!(dense.search(&["fails"], 3)[0].is_err());
    for k in [100, usize::MAX] {
        assert_eq!(ids(dense.search(&["zz"], k)[0].as_ref().unwrap()).len(), 5);
    }

    // By a graph, which sees all five where that many are looked at, and some otherwise.
    build_graph(&site.vectors(), &|_| {}).unwrap();
    for candidates in [2, 4, 5] {
        let graph = site.open(Arc::new(Letters)).unwrap().with_candidates(candidates);
        let found = graph.search(&["zzzz"], 1).remove(0).unwrap();
        assert_eq!(found, dense.search(&["zzzz"], 1).remove(0).unwrap());
    }
    fs::remove_file(site.vectors().join("graph.usearch")).unwrap();
    assert!(site.open(Arc::new(Letters)).err().unwrap().contains("`graph.usearch`"));
    // Built again, the vectors have no graph.
    site.build(&Letters);
    site.open(Arc::new(Letters)).unwrap();

    let bm25 = Arc::clone(&site.passages);
    let hybrid = Fused::new(vec![bm25, dense], 50);
    assert_eq!(ids(hybrid.search(&["cab"], 3)[0].as_ref().unwrap()), ["1", "4", "0"]);
    for (k, expected) in [(0, 0), (1, 1), (usize::MAX, 5)] {
        assert_eq!(hybrid.search(&["cab"], k)[0].as_ref().unwrap().len(), expected);
    }
}

/// An embedding server that refuses a text refuses all that came with it.
#[test]
fn a_text_that_cannot_be_embedded_fails_alone() {
    struct Picky;
    impl Embedder for Picky {
        fn name(&self) -> &'static str {
            "letters"
        }
        fn dimension(&self) -> usize {
            26
        }
        fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, BoxError> {
            let status = match texts {
                _ if texts.contains(&"down") => 503,
                _ if texts.contains(&"bad") => 413,
                _ => return Letters.embed(texts, role),
            };
            let (url, body) = ("http://e5".to_owned(), String::new());
            let error = StatusError { url, status, body, retry_after: None };
            Err(Box::new(ClientError::from(HttpError::from(error))))
        }
    }
    let site = Site::new();
    site.build(&Letters);
    let dense = site.open(Arc::new(Picky)).unwrap();
    let found = dense.search(&["zz", "bad", "", "cab", "zz"], 1);
    let found: Vec<bool> = found.iter().map(Result::is_ok).collect();
    assert_eq!(found, [true, false, true, true, true]);
    // A failure of the server is one of all.
    assert!(dense.search(&["zz", "down"], 1).iter().all(Result::is_err));
}

#[test]
fn vectors_that_do_not_fit() {
    struct Other;
    impl Embedder for Other {
        fn name(&self) -> &'static str {
            "other"
        }
        fn dimension(&self) -> usize {
            2
        }
        fn embed(&self, texts: &[&str], _: TextRole) -> Result<Vec<Vec<f32>>, BoxError> {
            Ok(vec![vec![1.0, 1e9]; texts.len()])
        }
    }
    let site = Site::new();
    assert!(site.open(Arc::new(Letters)).err().unwrap().starts_with("cannot read the vectors"));
    let error = build_vectors(&site.passages, &Other, &site.vectors(), 2, &|_| {}).unwrap_err();
    assert!(error.to_string().ends_with("a number that is not finite in half precision"));
    assert!(!site.vectors().exists());
    site.build(&Letters);
    assert_eq!(
        site.open(Arc::new(Other)).err().unwrap(),
        "the vectors in `vectors` cannot be used: they were made by `letters` with 26 numbers \
         each, and not by `other` with 2"
    );
    let manifest = site.vectors().join("forage-vectors.json");
    let good = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, good.replace("\"fingerprint\": \"", "\"fingerprint\": \"x")).unwrap();
    assert!(site.open(Arc::new(Letters)).err().unwrap().ends_with("of another index"));
    fs::write(&manifest, good).unwrap();
    fs::write(site.vectors().join("vectors.f16"), [0; 10]).unwrap();
    assert!(site.open(Arc::new(Letters)).err().unwrap().contains("has 10 bytes and not 260"));
}

#[test]
fn vectors_from_a_server() {
    let config = |server: &Faulty| EmbeddingsConfig {
        url: format!("http://{}/v1/embeddings", server.address),
        model: "e5".to_owned(),
        query_prefix: "query: ".to_owned(),
        passage_prefix: "passage: ".to_owned(),
        batch: 2,
        http: HttpConfig { backoff_seconds: 0.01, ..HttpConfig::default() },
    };
    let one = r#"{"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [3, 4]}], "model": "e5"}"#;
    let two =
        r#"{"data": [{"index": 1, "embedding": [0, -2]}, {"index": 0, "embedding": [5, 0]}]}"#;
    let script = vec![Act::Status(503, None), Act::Say(one), Act::Say(two), Act::Say(one)];
    let server = Faulty::start(script);
    let embeddings = Embeddings::connect(&config(&server)).unwrap();
    assert_eq!(
        (embeddings.name(), embeddings.dimension()),
        ("e5, prefixes \"query: \" and \"passage: \"", 2)
    );
    let vectors = embeddings.embed(&["a", "b", "c"], TextRole::Passage).unwrap();
    assert_eq!(vectors, [[1.0, 0.0], [0.0, -1.0], [0.6, 0.8]]);
    let asked = server.requests();
    assert_eq!(asked[1]["input"][0], "query: length");
    assert_eq!(
        asked[2],
        serde_json::json!({"model": "e5", "input": ["passage: a", "passage: b"], "encoding_format": "float"})
    );

    for (answer, expected) in [
        (r#"{"data": []}"#, "`data` has 0 vectors, and 1 texts were sent"),
        (
            r#"{"data": [{"index": 3, "embedding": [1]}]}"#,
            "`data[0].index` is 3, which is of no text or was there before",
        ),
        (
            r#"{"data": [{"index": 0, "embedding": [0, 0]}]}"#,
            "`data[0].embedding` is a list of 2 numbers that is no direction",
        ),
        (
            r#"{"data": [{"index": 0, "embedding": [0.5, NaN]}]}"#,
            "`data[0].embedding[1]` is null where a number is wanted; `NaN` was written there",
        ),
        (
            r#"{"data": [{"index": 0, "embedding": "AACAPw=="}]}"#,
            "`data[0].embedding` is the text `AACAPw==` where a list is wanted",
        ),
        (
            r#"{"data": [{"index": -1, "embedding": [1]}]}"#,
            "`data[0].index` is the number -1 where",
        ),
        (r#"{"data": [{"index": 0}]}"#, "`data[0]` has no `embedding`, but the key `index`"),
        (r#"{"error": "x"}"#, "it has no `data`, but an error: \"x\""),
    ] {
        let server = Faulty::start(vec![Act::Say(answer)]);
        let error = Embeddings::connect(&config(&server)).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let longer = r#"{"data": [{"embedding": [1, 2, 3]}]}"#;
    let server = Faulty::start(vec![Act::Say(one), Act::Say(longer)]);
    let embeddings = Embeddings::connect(&config(&server)).unwrap();
    let error = embeddings.embed(&["a"], TextRole::Query).unwrap_err().to_string();
    let expected = "`data[0].embedding` has 3 numbers, and the vectors before it have 2";
    assert!(error.contains(expected), "{error}");
}
