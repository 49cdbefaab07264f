//! Requests as the clients of other projects send them, and how the server behaves under load.

use std::fs;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use forage_retriever::{
    Analyzer, Bm25, Corpus, Dialect, IndexOptions, PageStore, RequestLimits, SearchOptions, Server,
    ServerOptions, build_index,
};
use forage_trajectory::{Hit, Passage, Retriever, SearchError};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{agent, get, post, post_with, start, start_with};

fn document(query: &str, idx: usize) -> Value {
    json!({
        "id": format!("{query}/{idx}"),
        "contents": format!("\"Title\"\nabout {query}\nand {idx}"),
        "title": "Title",
        "text": format!("about {query}\nand {idx}"),
    })
}

fn scored(query: &str, idx: usize) -> Value {
    json!({ "document": document(query, idx), "score": 2.5 / (idx + 1) as f64 })
}

fn rllm(query: &str, idx: usize) -> Value {
    let document = document(query, idx);
    json!({
        "id": document["id"], "content": document["contents"], "score": 2.5 / (idx + 1) as f64,
        "document": document,
    })
}

/// A name, a path, what is sent, and what is expected.
type Recorded = (&'static str, &'static str, &'static str, Value);

/// What the clients of these projects send, key for key.
fn recorded() -> Vec<Recorded> {
    vec![
        (
            "Search-R1, verl, verl-tool, ROLL, SkyRL since 2026",
            "/retrieve",
            r#"{"queries": ["a", "b"], "topk": 1, "return_scores": true}"#,
            json!({ "result": [[scored("a", 0)], [scored("b", 0)]] }),
        ),
        (
            "Search-R1, with the server's own number of hits",
            "/retrieve",
            r#"{"queries": ["a"], "topk": null, "return_scores": true}"#,
            json!({ "result": [[scored("a", 0), scored("a", 1)]] }),
        ),
        (
            "Search-R1 with a reranker",
            "/retrieve",
            r#"{"queries": ["a"], "topk_retrieval": 10, "topk_rerank": 1, "return_scores": true}"#,
            json!({ "result": [[scored("a", 0)]] }),
        ),
        (
            "Search-R1's web servers",
            "/retrieve",
            r#"{"queries": ["a"]}"#,
            json!({ "result": [[scored("a", 0), scored("a", 1)]] }),
        ),
        (
            "nothing to search for",
            "/retrieve",
            r#"{"queries": [], "topk": 3, "return_scores": true}"#,
            json!({ "result": [] }),
        ),
        (
            "slime, torchtitan, ASearcher; two queries are what the reference server gets wrong",
            "/retrieve",
            r#"{"queries": ["a", "b"], "topk": 2, "return_scores": false}"#,
            json!({ "result": [
                [document("a", 0), document("a", 1)],
                [document("b", 0), document("b", 1)],
            ] }),
        ),
        (
            "SkyRL",
            "/retrieve",
            r#"{"query": "a", "topk": 1, "return_scores": true}"#,
            json!({ "result": [[scored("a", 0)]] }),
        ),
        (
            "rLLM",
            "/retrieve",
            r#"{"query": "a", "top_k": 2}"#,
            json!({
                "query": "a", "method": "bm25", "results": [rllm("a", 0), rllm("a", 1)],
                "num_results": 2,
            }),
        ),
        (
            "rLLM, with both names",
            "/retrieve",
            r#"{"query": "a", "top_k": 1, "k": 1}"#,
            json!({ "query": "a", "method": "bm25", "results": [rllm("a", 0)], "num_results": 1 }),
        ),
        (
            "ZeroSearch, where the address can be chosen",
            "/retrieve?dialect=zerosearch",
            r#"{"query": "a", "top_k": 1}"#,
            json!([{ "text": "\"Title\"\nabout a\nand 0" }]),
        ),
        (
            "ReCall, ReSearch: one query",
            "/search",
            r#"{"query": "a", "top_n": 1}"#,
            json!([document("a", 0)]),
        ),
        (
            "FlashRAG: one query with scores",
            "/search",
            r#"{"query": "a", "top_n": 1, "return_score": true}"#,
            json!([[document("a", 0)], [2.5]]),
        ),
        (
            "ReCall, ReSearch: several queries",
            "/batch_search",
            r#"{"query": ["a", "b"], "top_n": 1}"#,
            json!([[document("a", 0)], [document("b", 0)]]),
        ),
        (
            "FlashRAG: several queries with scores",
            "/batch_search",
            r#"{"query": ["a", "b"], "top_n": 1, "return_score": true}"#,
            json!([[[document("a", 0)], [document("b", 0)]], [[2.5], [2.5]]]),
        ),
        (
            "R1-Searcher",
            "/queries",
            r#"{"queries": ["a"], "k": 1}"#,
            json!({ "queries": ["a"], "answers": [["\"Title\"\nabout a\nand 0"]] }),
        ),
    ]
}

#[test]
fn every_dialect_is_answered() {
    let server = start(ServerOptions::default());
    for (name, path, body, expected) in recorded() {
        let reply = post(server.address(), path, body.as_bytes());
        assert_eq!((reply.status, &reply.body), (200, &expected), "{name}");
    }
}

/// What one silly query of a batch gets, in every dialect that takes batches, and a lone one.
fn with_silly_queries() -> Vec<Recorded> {
    let empty = |query: usize| json!({ "query": query, "reason": "the query is empty" });
    vec![
        (
            "Search-R1: an empty query among others",
            "/retrieve",
            r#"{"queries": ["a", "", "b", " \n\t"], "topk": 1, "return_scores": true}"#,
            json!({
                "result": [[scored("a", 0)], [], [scored("b", 0)], []],
                "skipped": [empty(1), empty(3)],
            }),
        ),
        (
            "slime",
            "/retrieve",
            r#"{"queries": ["", "b"], "topk": 1, "return_scores": false}"#,
            json!({ "result": [[], [document("b", 0)]], "skipped": [empty(0)] }),
        ),
        (
            "a query that is too long, and what is no text",
            "/retrieve",
            r#"{"queries": ["abcdefghijk", "a", null, 7, true, ["a"]], "topk": 1}"#,
            json!({
                "result": [[], [scored("a", 0)], [], [], [], []],
                "skipped": [
                    { "query": 0, "reason": "the query has 11 bytes; this server takes at most 10" },
                    { "query": 2, "reason": "the query is null and not a text" },
                    { "query": 3, "reason": "the query is a number and not a text" },
                    { "query": 4, "reason": "the query is a truth value and not a text" },
                    { "query": 5, "reason": "the query is a list and not a text" },
                ],
            }),
        ),
        (
            "nothing but empty queries",
            "/retrieve",
            r#"{"queries": [""], "topk": 1}"#,
            json!({ "result": [[]], "skipped": [empty(0)] }),
        ),
        ("no query at all", "/retrieve", "{}", json!({ "result": [] })),
        ("no list of queries", "/retrieve", r#"{"queries": null}"#, json!({ "result": [] })),
        (
            "no number of hits, as in the reference server",
            "/retrieve",
            r#"{"queries": ["a"], "topk": 0}"#,
            json!({ "result": [[scored("a", 0), scored("a", 1)]] }),
        ),
        (
            "SkyRL: a lone empty query",
            "/retrieve",
            r#"{"query": "", "topk": 1, "return_scores": true}"#,
            json!({ "result": [[]], "skipped": [empty(0)] }),
        ),
        (
            "rLLM",
            "/retrieve",
            r#"{"query": " ", "top_k": 2}"#,
            json!({
                "query": " ", "method": "bm25", "results": [], "num_results": 0,
                "skipped": [empty(0)],
            }),
        ),
        ("ZeroSearch", "/retrieve?dialect=zerosearch", r#"{"query": "", "top_k": 1}"#, json!([])),
        (
            "ZeroSearch, without queries",
            "/retrieve?dialect=zerosearch",
            r#"{"queries": []}"#,
            json!([]),
        ),
        (
            "FlashRAG with scores",
            "/batch_search",
            r#"{"query": ["a", "", "b"], "top_n": 1, "return_score": true}"#,
            json!([[[document("a", 0)], [], [document("b", 0)]], [[2.5], [], [2.5]]]),
        ),
        (
            "ReCall, ReSearch",
            "/batch_search",
            r#"{"query": ["", "b"], "top_n": 1}"#,
            json!([[], [document("b", 0)]]),
        ),
        ("ReCall: a lone empty query", "/search", r#"{"query": "", "top_n": 1}"#, json!([])),
        (
            "R1-Searcher",
            "/queries",
            r#"{"queries": ["", "a"], "k": 1}"#,
            json!({
                "queries": ["", "a"], "answers": [[], ["\"Title\"\nabout a\nand 0"]],
                "skipped": [empty(0)],
            }),
        ),
    ]
}

#[test]
fn a_silly_query_costs_the_others_nothing() {
    let limits = RequestLimits { query_bytes: 10, ..RequestLimits::default() };
    let server = start(ServerOptions { limits, ..ServerOptions::default() });
    for (name, path, body, expected) in with_silly_queries() {
        let reply = post(server.address(), path, body.as_bytes());
        assert_eq!((reply.status, &reply.body), (200, &expected), "{name}");
    }
    let metrics = get(server.address(), "/metrics").1;
    for line in [
        "forage_queries_skipped_total{reason=\"empty\"} 11",
        "forage_queries_skipped_total{reason=\"too_long\"} 1",
        "forage_queries_skipped_total{reason=\"not_text\"} 4",
        "forage_queries_total 9",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} in:\n{metrics}");
    }
}

/// Queries as models write them, all in one batch, over a real index: each costs only itself.
#[test]
fn every_silly_query_of_a_batch_is_answered() {
    let folder = TempDir::new().unwrap();
    let passage = |(id, text): (&str, &str)| Passage {
        id: id.to_owned(),
        title: String::new(),
        text: text.to_owned(),
    };
    let passages = [("0", "Hamlet was written by Shakespeare"), ("1", "the whale is white")];
    let index = folder.path().join("index");
    let corpus = Corpus::memory(passages.map(passage).into());
    build_index(corpus, &index, &IndexOptions::default(), &|_| {}).unwrap();
    let bm25 = Bm25::open(&index, &SearchOptions::default()).unwrap();
    let server = start_with(bm25, None, ServerOptions::default());

    let long = "whale ".repeat(200_000);
    let queries = [
        ("hamlet", vec!["0"], None),
        ("", vec![], Some("the query is empty")),
        (r" \t\n\u00a0", vec![], Some("the query is empty")),
        (&long, vec![], Some("the query has 1200000 bytes; this server takes at most 16384")),
        (r"\u0001whale\u001f\u007f", vec!["1"], None),
        (r"\u0000 whale", vec!["1"], None),
        (r#"?!.,;:()[]{}\"\\/+-*~^&|"#, vec![], None),
        (r"whale \ud800", vec!["1"], None),
        (r"\udfff", vec![], None),
        (r#"AND OR NOT (title: \""#, vec![], None),
        (r"whale \ufeff\u202e\u0301", vec!["1"], None),
        ("whale", vec!["1"], None),
    ];
    let texts: Vec<String> = queries.iter().map(|it| format!("\"{}\"", it.0)).collect();
    // As a program on Windows sends it, and with half a character that is not escaped.
    let body =
        format!("\u{feff}{{\"queries\": [{}, \"hamlet ###\"], \"topk\": 1}}", texts.join(", "));
    let mut body = body.into_bytes();
    let half = body.windows(3).position(|bytes| bytes == b"###").unwrap();
    body[half..half + 3].copy_from_slice(b"\xed\xa0\x80");
    let reply = post(server.address(), "/retrieve", &body);
    assert_eq!(reply.status, 200, "{:?}", reply.body["error"]);
    let skipped = reply.body["skipped"].as_array().unwrap();
    for (idx, (query, expected, reason)) in queries.iter().enumerate() {
        let hits = reply.body["result"][idx].as_array().unwrap();
        let ids: Vec<&str> =
            hits.iter().map(|hit| hit["document"]["id"].as_str().unwrap()).collect();
        assert_eq!(&ids, expected, "{query:.40}");
        let told = skipped.iter().find(|it| it["query"] == idx).map(|it| it["reason"].as_str());
        assert_eq!(told.flatten(), *reason, "{query:.40}");
    }
    assert_eq!(reply.body["result"][queries.len()][0]["document"]["id"], "0");
}

/// `ZeroSearch` sends to `/retrieve` of a fixed address: the server is started with its dialect.
#[test]
fn a_server_of_one_dialect() {
    let dialect = Some(Dialect::ZeroSearch);
    let server = start(ServerOptions { dialect, ..ServerOptions::default() });
    let reply = post(server.address(), "/retrieve", br#"{"query": "a", "top_k": 1}"#);
    assert_eq!(reply.body, json!([{ "text": "\"Title\"\nabout a\nand 0" }]));
    let reply = post(server.address(), "/retrieve", br#"{"queries": ["a"], "topk": 1}"#);
    assert_eq!(reply.status, 422);
}

#[test]
fn pages_are_found_by_their_address() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("pages.jsonl");
    let lines = "\u{feff}{\"url\": \"https://a\", \"contents\": \"page A\"}\n\n\
                 {\"url\": \"https://b\", \"contents\": \"page\\nB\", \"more\": 1}\n";
    fs::write(&file, lines).unwrap();
    let pages = PageStore::open(&file).unwrap();
    assert_eq!(pages.len(), 2);
    let server = start_with(crate::Canned, Some(pages), ServerOptions::default());
    let reply = post(
        server.address(),
        "/access",
        br#"{"urls": ["https://b", "https://c", null, "https://a"]}"#,
    );
    let expected =
        json!({ "result": [{ "contents": "page\nB" }, null, null, { "contents": "page A" }] });
    assert_eq!((reply.status, reply.body), (200, expected));

    // A passage whose id is an address has it as `url`, too.
    let reply = post(server.address(), "/retrieve", br#"{"queries": ["https://a"], "topk": 1}"#);
    assert_eq!(reply.body["result"][0][0]["document"]["url"], "https://a/0");

    fs::write(&file, "{\"url\": \"https://a\"}\n").unwrap();
    let error = PageStore::open(&file).unwrap_err().to_string();
    let expected = "pages.jsonl:1: not a page, {\"url\": \"…\", \"contents\": \"…\"}: it has no \
                    `contents`, but the key `url`";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn health_and_metrics() {
    let facts = json!({ "corpus_size": 7 }).as_object().unwrap().clone();
    let server = start(ServerOptions { facts, ..ServerOptions::default() });
    let (status, health) = get(server.address(), "/health");
    let health: Value = serde_json::from_str(&health).unwrap();
    let expected = json!({ "status": "healthy", "retrieval_method": "bm25", "corpus_size": 7 });
    assert_eq!((status, health), (200, expected));

    post(server.address(), "/retrieve", br#"{"queries": ["a", "b"]}"#);
    post(server.address(), "/retrieve", b"nonsense");
    let (status, metrics) = get(server.address(), "/metrics");
    assert_eq!(status, 200);
    for line in [
        "# TYPE forage_requests_total counter",
        "forage_requests_total{path=\"/retrieve\",status=\"200\"} 1",
        "forage_requests_total{path=\"/retrieve\",status=\"400\"} 1",
        "forage_queries_total 2",
        "forage_queries_waiting 0",
        "# TYPE forage_request_seconds histogram",
        "forage_request_seconds_bucket{le=\"+Inf\"} 2",
        "forage_request_seconds_count 2",
        "forage_batch_queries_bucket{le=\"1\"} 0",
        "forage_batch_queries_bucket{le=\"2\"} 1",
        "forage_batch_queries_sum 2",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} in:\n{metrics}");
    }
}

#[test]
fn a_token_is_wanted() {
    let token = Some("s3cret".to_owned());
    let server = start(ServerOptions { token, ..ServerOptions::default() });
    let body = br#"{"queries": ["a"]}"#;
    for (path, body) in [("/retrieve", &body[..]), ("/access", br#"{"urls": []}"#)] {
        for token in [None, Some("other"), Some("")] {
            let reply = post_with(&agent(), server.address(), path, body, token);
            assert_eq!(reply.status, 401, "{path} {token:?}");
        }
    }
    let reply = post_with(&agent(), server.address(), "/retrieve", body, Some("s3cret"));
    assert_eq!(reply.status, 200);
    assert_eq!(get(server.address(), "/health").0, 200);
    assert_eq!(get(server.address(), "/metrics").0, 401);
}

/// Holds the first search until it is let go, and counts the queries of each.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    calls: Mutex<Vec<usize>>,
}

/// The retriever behind a gate.
struct Held(Arc<Gate>);

impl Retriever for Held {
    fn search(&self, queries: &[&str], _: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        let Gate { open, opened, calls } = &*self.0;
        calls.lock().unwrap().push(queries.len());
        let mut open = open.lock().unwrap();
        while !*open {
            open = opened.wait(open).unwrap();
        }
        queries.iter().map(|_| Ok(Vec::new())).collect()
    }
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// Waits until a number of queries stand in the queue.
fn await_queue(address: std::net::SocketAddr, n: usize) {
    let line = format!("forage_queries_waiting {n}");
    while !get(address, "/metrics").1.lines().any(|it| it == line) {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn requests_gather_and_a_full_queue_refuses() {
    let gate = Arc::new(Gate::default());
    let limits = RequestLimits { queries: 4, ..RequestLimits::default() };
    let options = ServerOptions { workers: 1, queue: 6, limits, ..ServerOptions::default() };
    let server = start_with(Held(Arc::clone(&gate)), None, options);
    let address = server.address();
    let ask = |n: usize| {
        let body = json!({ "queries": vec!["x"; n] }).to_string();
        thread::spawn(move || post(address, "/retrieve", body.as_bytes()))
    };
    let first = ask(1);
    while gate.calls.lock().unwrap().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    let mut waiting = vec![first];
    for n in [1, 2, 3] {
        waiting.push(ask(n));
        await_queue(address, n * (n + 1) / 2);
    }
    let refused = ask(1).join().unwrap();
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("1")));
    gate.open();
    assert!(waiting.into_iter().all(|it| it.join().unwrap().status == 200));
    assert_eq!(*gate.calls.lock().unwrap(), [1, 6]);
    assert_eq!(ask(1).join().unwrap().status, 200);
}

#[test]
fn a_request_has_a_deadline() {
    let deadline = Duration::from_millis(150);
    let server = start(ServerOptions { deadline, ..ServerOptions::default() });
    let reply = post(server.address(), "/retrieve", br#"{"queries": ["slow 600"]}"#);
    assert_eq!(reply.status, 504);
    assert_eq!(reply.body["error"], "there was no answer within 0.15 s");
}

#[test]
fn an_engine_that_fails_or_panics() {
    let server = start(ServerOptions::default());
    for (query, expected) in [
        ("fail", "search for `fail` failed: the disk is gone"),
        ("panic", "the search engine panicked; its log says more"),
    ] {
        let body = json!({ "queries": ["a", query] }).to_string();
        let reply = post(server.address(), "/retrieve", body.as_bytes());
        assert_eq!((reply.status, reply.body["error"].as_str()), (500, Some(expected)));
    }
    assert_eq!(post(server.address(), "/retrieve", br#"{"queries": ["a"]}"#).status, 200);
}

#[test]
fn a_server_that_stops_answers_what_it_has() {
    let server = start(ServerOptions::default());
    let address = server.address();
    let asked = thread::spawn(move || post(address, "/retrieve", br#"{"queries": ["slow 300"]}"#));
    while !get(address, "/metrics").1.contains("forage_queries_total 1") {
        thread::sleep(Duration::from_millis(5));
    }
    server.stop();
    assert_eq!(asked.join().unwrap().status, 200);
    assert!(agent().get(format!("http://{address}/health")).call().is_err());
}

#[test]
fn sixty_four_callers_at_once() {
    let passage = |idx: usize| Passage {
        id: idx.to_string(),
        title: format!("Page {idx}"),
        text: format!("words w{} w{} w{}", idx % 7, idx % 31, idx % 101),
    };
    let passages = (0..3000).map(passage).collect();
    let options = SearchOptions::default();
    let bm25 = Arc::new(Bm25::in_memory(passages, Analyzer::Plain, &options).unwrap());
    let retriever: Arc<dyn Retriever> = Arc::<Bm25>::clone(&bm25);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(listener, &retriever, None, ServerOptions::default()).unwrap();
    let address = server.address();
    thread::scope(|scope| {
        for caller in 0..64 {
            let bm25 = &bm25;
            scope.spawn(move || {
                let agent = agent();
                for turn in 0..5 {
                    let queries: Vec<String> = (0..=caller % 5)
                        .map(|idx| format!("w{} w{}", (caller + turn) % 31, idx * 13 % 101))
                        .collect();
                    let body = json!({ "queries": queries, "topk": caller % 4 + 1 }).to_string();
                    let reply = post_with(&agent, address, "/retrieve", body.as_bytes(), None);
                    assert_eq!(reply.status, 200);
                    for (query, found) in
                        queries.iter().zip(reply.body["result"].as_array().unwrap())
                    {
                        let hits = bm25.search_one(query, caller % 4 + 1).unwrap();
                        let expected: Vec<&str> = hits.iter().map(|it| it.id.as_str()).collect();
                        let found: Vec<&str> = found
                            .as_array()
                            .unwrap()
                            .iter()
                            .map(|it| it["document"]["id"].as_str().unwrap())
                            .collect();
                        assert_eq!(found, expected, "{query}");
                    }
                }
            });
        }
    });
    server.stop();
}

#[test]
fn options_that_contradict() {
    let listener = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let default = ServerOptions::default;
    for (options, expected) in [
        (
            ServerOptions { queue: 9, ..default() },
            "`queue` is 9; it must be `limits.queries`, 4096, or more",
        ),
        (ServerOptions { batch: 0, ..default() }, "`batch` is 0; it must be 1 or more"),
        (
            ServerOptions { deadline: Duration::ZERO, ..default() },
            "`deadline` is 0; it must be more than 0",
        ),
        (
            ServerOptions { token: Some(" ".into()), ..default() },
            "`token` is empty; it must be a text",
        ),
        (
            ServerOptions {
                limits: RequestLimits { k: 2, ..RequestLimits::default() },
                ..default()
            },
            "`limits.default_k` is 3; it must be 1 to 2",
        ),
    ] {
        let canned: Arc<dyn Retriever> = Arc::new(crate::Canned);
        let started = Server::start(listener(), &canned, None, options);
        assert_eq!(started.err().unwrap().to_string(), expected);
    }
}
