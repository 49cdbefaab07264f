//! The `[retriever]` section: what goes together, and what is opened.

use std::sync::Arc;

use forage_retriever::{
    Analyzer, Corpus, Dialect, ElasticConfig, ElasticEngine, EmbeddingsConfig, EncoderConfig,
    EngineError, HttpConfig, IndexOptions, QdrantConfig, Rank, RecordConfig, RecordMode,
    RemoteConfig, RetrieverConfig, SearchEngine, ServerOptions, WebConfig, WebEngine, build,
};
use forage_trajectory::{BoxError, Embedder, Passage, Retriever};
use tempfile::TempDir;

use crate::start;

fn remote(url: &str) -> RemoteConfig {
    let http = HttpConfig { attempts: 1, retry_budget: 0, ..HttpConfig::default() };
    RemoteConfig { http, ..RemoteConfig::new(url, Dialect::SearchR1) }
}

fn no_encoder(_: &EncoderConfig) -> Result<Arc<dyn Embedder>, BoxError> {
    Err("there is no model here".into())
}

fn elastic() -> ElasticConfig {
    ElasticConfig {
        url: "http://x".into(),
        index: "i".into(),
        fields: vec!["f".into()],
        engine: ElasticEngine::Opensearch,
        batch: 1,
        connections: 1,
        http: HttpConfig::default(),
    }
}

#[test]
fn keys_that_go_together() {
    let index = || RetrieverConfig::of_index("index");
    let none = RetrieverConfig::default;
    let embeddings = || {
        Some(EmbeddingsConfig {
            url: "http://x/v1/embeddings".into(),
            model: "e5".into(),
            query_prefix: String::new(),
            passage_prefix: String::new(),
            batch: 8,
            http: HttpConfig::default(),
        })
    };
    let qdrant = Some(QdrantConfig {
        url: "http://x".into(),
        collection: "c".into(),
        vector: None,
        batch: 1,
        connections: 1,
        http: HttpConfig::default(),
    });
    let vectors = || Some("vectors".into());
    let one_of = "`retriever` wants one of `index`, `remote`, `elastic`, `qdrant` and `web`";
    let web = Some(WebConfig {
        engine: WebEngine::Brave,
        url: None,
        blocked: Vec::new(),
        page_bytes: None,
        connections: 1,
        http: HttpConfig::default(),
    });
    let encoder = || Some(EncoderConfig { path: "e5".into(), ..EncoderConfig::default() });
    for (config, expected) in [
        (none(), one_of),
        (RetrieverConfig { remote: Some(remote("http://x")), ..index() }, one_of),
        (index(), ""),
        (RetrieverConfig { k1: Some(0.9), ..index() }, ""),
        (
            RetrieverConfig { k1: Some(0.9), remote: Some(remote("http://x")), ..none() },
            "`retriever.k1` is used with `index` only",
        ),
        (
            RetrieverConfig { vectors: vectors(), elastic: Some(elastic()), ..none() },
            "`retriever.vectors` is used with `index` only",
        ),
        (
            RetrieverConfig { rank: Some(Rank::Dense), ..index() },
            "`retriever.rank` is used with `vectors` only",
        ),
        (
            RetrieverConfig { embeddings: embeddings(), ..index() },
            "`retriever.embeddings` is used with `vectors` and `qdrant` only",
        ),
        (RetrieverConfig { web, ..index() }, one_of),
        (
            RetrieverConfig { candidates: Some(9), ..index() },
            "`retriever.candidates` is used with `vectors` only",
        ),
        (
            RetrieverConfig {
                candidates: Some(0),
                vectors: vectors(),
                encoder: encoder(),
                ..index()
            },
            "`retriever.candidates` is 0; it must be 1 or more",
        ),
        (RetrieverConfig { vectors: vectors(), encoder: encoder(), ..index() }, ""),
        (
            RetrieverConfig {
                vectors: vectors(),
                encoder: encoder(),
                embeddings: embeddings(),
                ..index()
            },
            "`retriever.vectors` needs either `retriever.embeddings` or `retriever.encoder`, which \
             embed queries",
        ),
        (
            RetrieverConfig { vectors: vectors(), ..index() },
            "`retriever.vectors` needs either `retriever.embeddings` or `retriever.encoder`, which \
             embed queries",
        ),
        (RetrieverConfig { vectors: vectors(), embeddings: embeddings(), ..index() }, ""),
        (
            RetrieverConfig { qdrant: qdrant.clone(), ..none() },
            "`retriever.qdrant` needs either `retriever.embeddings` or `retriever.encoder`, which \
             embed queries",
        ),
        (RetrieverConfig { qdrant, embeddings: embeddings(), ..none() }, ""),
    ] {
        let checked = config.check().map_or_else(|it| it.to_string(), |()| String::new());
        assert_eq!(checked, expected, "{config:?}");
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<RetrieverConfig>(&json).unwrap(), config);
    }
}

#[test]
fn a_record_replaces_its_engine() {
    let folder = TempDir::new().unwrap();
    let record = |mode| Some(RecordConfig { file: folder.path().join("record.jsonl"), mode });
    let server = start(ServerOptions::default());
    let url = format!("http://{}/retrieve", server.address());
    let recorded = RetrieverConfig {
        remote: Some(remote(&url)),
        record: record(RecordMode::Record),
        ..RetrieverConfig::default()
    };
    let engine = SearchEngine::open(&recorded, &no_encoder).unwrap();
    let found = engine.search(&["a"], 2).remove(0).unwrap();
    assert_eq!((found.len(), engine.manifest(), engine.has_given_up()), (2, None, false));
    server.stop();
    assert!(engine.search(&["b"], 2)[0].is_err());
    assert!(engine.has_given_up());
    drop(engine);
    let replayed = RetrieverConfig { record: record(RecordMode::Replay), ..recorded };
    let engine = SearchEngine::open(&replayed, &no_encoder).unwrap();
    assert_eq!(engine.search(&["a"], 2).remove(0).unwrap(), found);
    assert!(engine.search(&["b"], 2)[0].is_err());
    assert!(!engine.has_given_up());
}

#[test]
fn an_index_and_its_record() {
    let folder = TempDir::new().unwrap();
    let index = folder.path().join("index");
    let nowhere = SearchEngine::open(&RetrieverConfig::of_index(&index), &no_encoder);
    assert!(matches!(nowhere.err(), Some(EngineError::Index(_))));
    let passage = Passage { id: "1".into(), title: "T".into(), text: "film".into() };
    let options = IndexOptions { analyzer: Analyzer::Plain, ..IndexOptions::default() };
    build(Corpus::memory(vec![passage]), &index, &options, &|_| {}).unwrap();
    let mut config = RetrieverConfig::of_index(&index);
    for mode in [None, Some(RecordMode::Record), Some(RecordMode::Replay)] {
        let file = folder.path().join("record.jsonl");
        config.record = mode.map(|mode| RecordConfig { file, mode });
        let engine = SearchEngine::open(&config, &no_encoder).unwrap();
        assert_eq!(engine.manifest().unwrap().passages, 1);
        assert_eq!(engine.search(&["film"], 3).remove(0).unwrap()[0].id, "1");
    }
    // Ranked otherwise, nothing is recorded.
    config.b = Some(0.1);
    let engine = SearchEngine::open(&config, &no_encoder).unwrap();
    assert!(engine.search(&["film"], 3)[0].is_err());
}
