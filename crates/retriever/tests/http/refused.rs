//! What is no request: a status, a sentence, and a server that lives on.

use std::io::{Read, Write};
use std::net::TcpStream;

use forage_retriever::{RequestLimits, ServerOptions};
use serde_json::json;

use crate::{agent, post, start};

/// A name, a body, a status, and a part of the sentence.
type Case = (&'static str, Vec<u8>, u16, &'static str);

fn cases() -> Vec<Case> {
    let ten_megabytes = json!({ "queries": ["x".repeat(10 << 20)] }).to_string();
    let many_queries = json!({ "queries": vec!["x"; 101] }).to_string();
    let long: [Case; 2] = [
        (
            "many queries",
            many_queries.into_bytes(),
            422,
            "the request has 101 queries; this server takes at most 100",
        ),
        ("ten megabytes", ten_megabytes.into_bytes(), 413, "the body has more than 4194304 bytes"),
    ];
    let short = SHORT.iter().map(|&(name, body, status, part)| (name, body.to_vec(), status, part));
    short.chain(long).collect()
}

const SHORT: &[(&str, &[u8], u16, &str)] = &[
    ("no JSON", b"nonsense", 400, "the body is not JSON of a request: it begins with `nonsense`"),
    ("nothing", b"", 400, "the body is not JSON of a request: it is empty"),
    ("half of it", br#"{"queries": ["a""#, 400, "it ends in the middle, at byte 16"),
    (
        "two of them",
        br#"{"queries": ["a"]} {}"#,
        400,
        "something follows after its end, at byte 20",
    ),
    ("no UTF-8", b"{\"queries\": [\"\xff\xfe\"]}", 400, "it is not UTF-8: the byte 0xff at 15"),
    ("another encoding", b"\xff\xfe{\0}\0", 400, "it is UTF-16, and UTF-8 is wanted"),
    ("Python's notation", b"{'queries': ['a']}", 400, "it is in Python's notation"),
    ("a bare line break", b"{\"queries\": [\"a\nb\"]}", 400, "a text has a line break or another"),
    ("a key twice", br#"{"queries": ["a"], "queries": ["b"]}"#, 400, "has the key `queries` twice"),
    ("no object", br#"["a"]"#, 422, "the body is a list of 1 text, and a request is an object"),
    ("both", br#"{"query": "a", "queries": ["a"]}"#, 422, "both `query` and `queries`"),
    (
        "a text for a list",
        br#"{"queries": "a"}"#,
        422,
        "`queries` is the text `a` where a list of texts is wanted",
    ),
    (
        "a number for a query",
        br#"{"query": 1}"#,
        422,
        "`query` is the number 1 where a text or a list of texts is wanted",
    ),
    (
        "a text for a number",
        br#"{"queries": ["a"], "topk": "3"}"#,
        422,
        "`topk` is the text `3` where a whole number from 1 to 1000, the most of this server, is",
    ),
    ("a fraction", br#"{"queries": ["a"], "topk": 2.5}"#, 422, "`topk` is the number 2.5 where"),
    (
        "less than nothing",
        br#"{"queries": ["a"], "topk": -1}"#,
        422,
        "`topk` is the number -1 where",
    ),
    ("no number", br#"{"query": "a", "topk": NaN}"#, 400, "the body has `NaN`, which JSON does"),
    ("no hits", br#"{"query": "a", "top_k": 0}"#, 422, "`top_k` is the number 0 where"),
    (
        "no hits of FlashRAG",
        br#"{"query": ["a"], "top_n": 0}"#,
        422,
        "`top_n` is the number 0 where",
    ),
    ("no hits of R1-Searcher", br#"{"queries": ["a"], "k": 0}"#, 422, "`k` is the number 0 where"),
    (
        "no rank",
        br#"{"queries": ["a"], "topk_retrieval": 0}"#,
        422,
        "`topk_retrieval` is the number 0",
    ),
    (
        "a billion hits",
        br#"{"queries": ["a"], "topk": 1000000000}"#,
        422,
        "`topk` is the number 1000000000 where a whole number from 1 to 1000",
    ),
    (
        "the largest number",
        br#"{"queries": ["a"], "topk": 18446744073709551615}"#,
        422,
        "`topk` is the number 18446744073709551615 where",
    ),
    (
        "more digits than a number has",
        br#"{"queries": ["a"], "topk": 99999999999999999999999}"#,
        422,
        "`99999999999999999999999` where a whole number from 1 to 1000",
    ),
    (
        "two numbers of hits",
        br#"{"query": "a", "top_k": 2, "k": 3}"#,
        422,
        "`top_k` is 2 and `k` is 3: which of them?",
    ),
    (
        "a text for a truth value",
        br#"{"queries": ["a"], "return_scores": "yes"}"#,
        422,
        "`return_scores` is the text `yes` where true or false is wanted",
    ),
    (
        "two wishes for scores",
        br#"{"queries": ["a"], "return_scores": true, "return_score": false}"#,
        422,
        "`return_scores` is true and `return_score` is false: which of them?",
    ),
    (
        "an unknown key",
        br#"{"queries": ["a"], "topK": 3}"#,
        422,
        "`topK` is no key of a request; there are `queries`, `query`, `topk`",
    ),
];

#[test]
fn what_is_no_request_is_refused_with_a_sentence() {
    let limits = RequestLimits { queries: 100, ..RequestLimits::default() };
    let server = start(ServerOptions { limits, ..ServerOptions::default() });
    for (name, body, status, expected) in cases() {
        let reply = post(server.address(), "/retrieve", &body);
        let error = reply.body["error"].as_str().unwrap_or_default();
        assert!(reply.status == status && error.contains(expected), "{name}: {reply:?}");
        let example = r#"; a request is `{"queries": ["who wrote Hamlet?"], "topk": 3, "return_scores": true}`"#;
        assert!(status == 413 || error.ends_with(example), "{name}: {error}");
    }
    for (path, status, expected) in [
        ("/retrieve?dialect=klingon", 400, "no dialect is called `klingon`"),
        ("/retrieve?topk=3", 400, "the address may have `?dialect=` after its path"),
        ("/retrieve?dialect=rllm", 422, "one `query` at a time"),
        ("/nothing", 404, "there is no `/nothing`; there are `/retrieve`"),
        ("/health", 405, "searches are posted"),
        (
            "/access",
            422,
            "`queries` is no key of a request; there are `urls`; a request is `{\"urls\": [",
        ),
    ] {
        let reply = post(server.address(), path, br#"{"queries": ["a"]}"#);
        let error = reply.body["error"].as_str().unwrap_or_default();
        // rLLM's own server takes lists as well; this one answers them as Search-R1 does.
        if path.ends_with("rllm") {
            assert_eq!(reply.status, 200);
            continue;
        }
        assert!(reply.status == status && error.contains(expected), "{path}: {reply:?}");
    }
    for (path, example) in [
        ("/search", r#"{"query": "who wrote Hamlet?", "top_n": 3, "return_score": true}"#),
        ("/batch_search", r#"{"query": ["who wrote Hamlet?"], "top_n": 3, "return_score": true}"#),
        ("/queries", r#"{"queries": ["who wrote Hamlet?"], "k": 3}"#),
        ("/retrieve?dialect=rllm", r#"{"query": "who wrote Hamlet?", "top_k": 3}"#),
        ("/access", r#"{"urls": ["https://example.org/page"]}"#),
    ] {
        let reply = post(server.address(), path, b"[]");
        let expected = format!(
            "the body is an empty list, and a request is an object; a request is `{example}`"
        );
        assert_eq!((reply.status, &reply.body), (422, &json!({ "error": expected })), "{path}");
        if path != "/access" {
            assert_eq!(post(server.address(), path, example.as_bytes()).status, 200, "{path}");
        }
    }
    let reply = post(server.address(), "/access", br#"{"urls": ["a"]}"#);
    assert_eq!(reply.status, 404);

    // What is not even HTTP, and a caller who goes away.
    for bytes in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GET",
        b"POST /retrieve HTTP/1.1\r\nContent-Length: 99\r\n\r\n{",
    ] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // Whatever comes back, it ends.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let good = post(server.address(), "/retrieve", br#"{"queries": ["a"], "topk": 1}"#);
    assert_eq!(good.status, 200);
    let mut reply = agent().get(format!("http://{}/retrieve", server.address())).call().unwrap();
    assert_eq!(reply.status().as_u16(), 405);
    assert!(reply.body_mut().read_to_string().unwrap().contains("searches are posted"));
}
