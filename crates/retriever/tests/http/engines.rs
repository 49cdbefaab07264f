//! `OpenSearch`, Quickwit and Qdrant: what is sent, and what is made of their answers.

use std::sync::Arc;

use forage_retriever::{Elastic, ElasticConfig, ElasticEngine, HttpConfig, Qdrant, QdrantConfig};
use forage_trajectory::{BoxError, Embedder, Hit, Retriever, TextRole};
use serde_json::json;

use crate::faulty::{Act, Faulty};

fn elastic(server: &Faulty, engine: ElasticEngine) -> Elastic {
    Elastic::new(&ElasticConfig {
        url: format!("http://{}/", server.address),
        index: "wiki".to_owned(),
        fields: vec!["title^2".to_owned(), "text".to_owned()],
        engine,
        batch: 64,
        connections: 2,
        http: HttpConfig { backoff_seconds: 0.01, ..HttpConfig::default() },
    })
    .unwrap()
}

fn hit(id: &str, title: &str, text: &str, score: f32) -> Hit {
    Hit { id: id.into(), title: title.into(), text: text.into(), score }
}

#[test]
fn opensearch() {
    let answer = r#"{"took": 3, "responses": [
        {"hits": {"hits": [
            {"_id": "x1", "_score": 2.5, "_source": {"title": "T", "text": "x"}},
            {"_id": "x2", "_score": 1.25, "_source": {"id": 7, "contents": "\"U\"\ny"}}
        ]}, "status": 200},
        {"hits": {"hits": []}, "status": 200},
        {"error": {"type": "circuit_breaking_exception"}, "status": 429}
    ]}"#;
    let server = Faulty::start(vec![Act::Status(503, None), Act::Say(answer)]);
    let mut found = elastic(&server, ElasticEngine::Opensearch).search(&["a", "", "b", "c"], 2);
    let error = found.pop().unwrap().unwrap_err();
    assert!(error.source.to_string().contains("answered 429: {\"type\":\"circuit_breaking"));
    let found: Vec<Vec<Hit>> = found.into_iter().map(Result::unwrap).collect();
    let expected = vec![hit("x1", "T", "x", 2.5), hit("7", "U", "y", 1.25)];
    assert_eq!(found, [expected, vec![], vec![]]);
    let fields = json!(["title^2", "text"]);
    assert_eq!(server.requests()[1][0], json!({ "index": "wiki" }));
    assert_eq!(
        server.requests()[1][3],
        json!({
            "query": { "multi_match": { "query": "b", "fields": fields } },
            "size": 2, "track_total_hits": false,
        })
    );
}

#[test]
fn hits_of_a_part_of_the_shards_are_none() {
    for (answer, expected) in [
        (
            r#"{"responses": [{"timed_out": true, "hits": {"hits": []}, "status": 200}]}"#,
            "timed_out",
        ),
        (
            r#"{"responses": [{"timed_out": false, "_shards": {"total": 5, "failed": 3}, "hits": {"hits": []}}]}"#,
            "3 of 5 shards failed",
        ),
    ] {
        let server = Faulty::start(vec![Act::Say(answer)]);
        let found = elastic(&server, ElasticEngine::Opensearch).search(&["a"], 2).remove(0);
        let error = found.unwrap_err().source.to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn quickwit() {
    let answer = r#"{"responses": [{"hits": {"hits": [
        {"_id": "", "_score": null, "sort": [2.5], "_source": {"id": "a", "title": "T", "text": "x"}}
    ]}}]}"#;
    let server = Faulty::start(vec![Act::Say(answer)]);
    let found = elastic(&server, ElasticEngine::Quickwit).search(&["a"], 3).remove(0).unwrap();
    assert_eq!(found, [hit("a", "T", "x", 2.5)]);
    assert_eq!(server.requests()[0][1]["sort"], json!(["_score"]));
}

struct Constant;

impl Embedder for Constant {
    fn name(&self) -> &'static str {
        "constant"
    }

    fn dimension(&self) -> usize {
        2
    }

    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, BoxError> {
        assert_eq!(role, TextRole::Query);
        if texts.contains(&"fails") {
            Err("no model".into())
        } else {
            Ok(vec![vec![1.0, 0.5]; texts.len()])
        }
    }
}

#[test]
fn qdrant() {
    let answer = r#"{"result": [
        {"points": [{"id": 5, "version": 0, "score": 0.5, "payload": {"contents": "\"T\"\nx"}}]},
        {"points": []}
    ], "status": "ok", "time": 0.001}"#;
    let server = Faulty::start(vec![Act::Say(answer)]);
    let config = QdrantConfig {
        url: format!("http://{}", server.address),
        collection: "wiki".to_owned(),
        vector: Some("e5".to_owned()),
        batch: 64,
        connections: 1,
        http: HttpConfig::default(),
    };
    let qdrant = Qdrant::new(&config, Arc::new(Constant)).unwrap();
    let found = qdrant.search(&["a", "b"], 3);
    let found: Vec<Vec<Hit>> = found.into_iter().map(Result::unwrap).collect();
    assert_eq!(found, [vec![hit("5", "T", "x", 0.5)], vec![]]);
    let search = json!({ "query": [1.0, 0.5], "limit": 3, "with_payload": true, "using": "e5" });
    assert_eq!(server.requests()[0], json!({ "searches": [search, search] }));
    let error = qdrant.search(&["fails"], 3).remove(0).unwrap_err();
    assert_eq!(error.source.to_string(), "queries could not be embedded");
    assert_eq!(server.requests().len(), 1);
}
