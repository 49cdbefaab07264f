//! The `[retriever]` section: what goes together, and what is opened.

use std::sync::Arc;

use forage_retriever::{
    Analyzer, Corpus, Dialect, EncoderConfig, EngineConfig, EngineError, HttpConfig, IndexOptions,
    RecordConfig, RecordMode, RemoteConfig, RetrieverConfig, SearchEngine, ServerOptions,
    build_index,
};
use forage_trajectory::{BoxError, Embedder, Passage, Retriever};
use serde_json::json;
use tempfile::TempDir;

use crate::start;

fn remote(url: &str) -> RemoteConfig {
    let http = HttpConfig { attempts: 1, retry_budget: 0, ..HttpConfig::default() };
    RemoteConfig { http, ..RemoteConfig::new(url, Dialect::SearchR1) }
}

fn no_encoder(_: &EncoderConfig) -> Result<Arc<dyn Embedder>, BoxError> {
    Err("there is no model here".into())
}

#[test]
fn keys_that_go_together() {
    let remote = json!({ "url": "http://x" });
    let elastic = json!({ "url": "http://x", "index": "i" });
    let qdrant = json!({ "url": "http://x", "collection": "c" });
    let web = json!({ "engine": "brave" });
    let embeddings = json!({ "url": "http://x/v1/embeddings", "model": "e5", "batch": 8 });
    let encoder = json!({ "path": "e5" });
    let one_of = "`retriever` wants one of `index`, `remote`, `elastic`, `qdrant` and `web`";
    let no_embedder = |key: &str| {
        format!(
            "`retriever.{key}` needs either `retriever.embeddings` or `retriever.encoder`, which \
             embed queries"
        )
    };
    for (section, expected) in [
        (json!({}), one_of),
        (json!({ "k1": 0.9 }), one_of),
        (json!({ "index": "i", "remote": remote }), one_of),
        (json!({ "index": "i" }), ""),
        (json!({ "index": "i", "k1": 0.9 }), ""),
        (json!({ "k1": 0.9, "remote": remote }), "`retriever.k1` is used with `index` only"),
        (
            json!({ "vectors": "v", "elastic": elastic }),
            "`retriever.vectors` is used with `index` only",
        ),
        (json!({ "index": "i", "rank": "dense" }), "`retriever.rank` is used with `vectors` only"),
        (
            json!({ "index": "i", "embeddings": embeddings }),
            "`retriever.embeddings` is used with `vectors` and `qdrant` only",
        ),
        (json!({ "index": "i", "web": web }), one_of),
        (json!({ "elastic": elastic }), ""),
        (json!({ "remote": remote }), ""),
        (json!({ "web": web }), ""),
        (
            json!({ "index": "i", "candidates": 9 }),
            "`retriever.candidates` is used with `vectors` only",
        ),
        (
            json!({ "index": "i", "candidates": 0, "vectors": "v", "encoder": encoder }),
            "`retriever.candidates` is 0; it must be 1 or more",
        ),
        (json!({ "index": "i", "candidates": 9, "vectors": "v", "encoder": encoder }), ""),
        (
            json!({ "index": "i", "vectors": "v", "encoder": encoder, "embeddings": embeddings }),
            &no_embedder("vectors"),
        ),
        (json!({ "index": "i", "vectors": "v" }), &no_embedder("vectors")),
        (json!({ "index": "i", "vectors": "v", "embeddings": embeddings }), ""),
        (json!({ "qdrant": qdrant }), &no_embedder("qdrant")),
        (json!({ "qdrant": qdrant, "embeddings": embeddings }), ""),
    ] {
        match serde_json::from_value::<RetrieverConfig>(section.clone()) {
            Ok(config) => {
                assert_eq!(expected, "", "{section}");
                let json = serde_json::to_string(&config).unwrap();
                assert_eq!(serde_json::from_str::<RetrieverConfig>(&json).unwrap(), config);
            }
            Err(error) => assert_eq!(error.to_string(), expected, "{section}"),
        }
    }
}

/// A synthesis is known by its configuration as it is written.
#[test]
fn a_section_is_written_as_it_was() {
    let text = r#"{"index":"i","analyzer":"plain","b":0.5,"vectors":"v","rank":"dense","candidates":9,"encoder":{"path":"e5"}}"#;
    let config: RetrieverConfig = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&config).unwrap(), text);
}

#[test]
fn a_record_replaces_its_engine() {
    let folder = TempDir::new().unwrap();
    let record = |mode| Some(RecordConfig { file: folder.path().join("record.jsonl"), mode });
    let server = start(ServerOptions::default());
    let url = format!("http://{}/retrieve", server.address());
    let recorded = RetrieverConfig {
        engine: EngineConfig::Remote(remote(&url)),
        record: record(RecordMode::Record),
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
    build_index(Corpus::memory(vec![passage]), &index, &options, &|_| {}).unwrap();
    let mut config = RetrieverConfig::of_index(&index);
    for mode in [None, Some(RecordMode::Record), Some(RecordMode::Replay)] {
        let file = folder.path().join("record.jsonl");
        config.record = mode.map(|mode| RecordConfig { file, mode });
        let engine = SearchEngine::open(&config, &no_encoder).unwrap();
        assert_eq!(engine.manifest().unwrap().passages, 1);
        assert_eq!(engine.search(&["film"], 3).remove(0).unwrap()[0].id, "1");
    }
    // Ranked otherwise, nothing is recorded.
    let EngineConfig::Index(ranked) = &mut config.engine else { panic!("it is an index") };
    ranked.b = Some(0.1);
    let engine = SearchEngine::open(&config, &no_encoder).unwrap();
    assert!(engine.search(&["film"], 3)[0].is_err());
}
