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
    ("no JSON", b"nonsense", 400, "the body is not JSON: expected ident"),
    ("nothing", b"", 400, "the body is not JSON: EOF"),
    ("half of it", br#"{"queries": ["a""#, 400, "the body is not JSON: EOF"),
    ("two of them", br#"{"queries": ["a"]} {}"#, 400, "the body is not JSON: trailing"),
    ("no UTF-8", b"{\"queries\": [\"\xff\xfe\"]}", 400, "the body is not UTF-8 at byte 14"),
    ("no object", br#""a""#, 422, "expected an object such as {\"queries\""),
    ("both", br#"{"query": "a", "queries": ["a"]}"#, 422, "both `query` and `queries`"),
    ("a text for a list", br#"{"queries": "a"}"#, 422, "`queries` is a list of texts"),
    ("a number for a query", br#"{"query": 1}"#, 422, "`query` is a text or a list of texts"),
    ("a text for a number", br#"{"queries": ["a"], "topk": "3"}"#, 422, "a whole number such as 3"),
    ("a fraction", br#"{"queries": ["a"], "topk": 2.5}"#, 422, "`topk` is 2.5; it must be a whole"),
    ("less than nothing", br#"{"queries": ["a"], "topk": -1}"#, 422, "`topk` is -1; it must be a"),
    (
        "a text for a truth value",
        br#"{"queries": ["a"], "return_scores": "yes"}"#,
        422,
        "true or false",
    ),
    ("no hits", br#"{"query": "a", "top_k": 0}"#, 422, "`top_k` is 0; it must be 1 or more"),
    (
        "a billion hits",
        br#"{"queries": ["a"], "topk": 1000000000}"#,
        422,
        "`topk` is 1000000000; this server gives at most 1000",
    ),
    (
        "the largest number",
        br#"{"queries": ["a"], "topk": 18446744073709551615}"#,
        422,
        "`topk` is 18446744073709551615; this server gives at most 1000",
    ),
    (
        "more digits than a number has",
        br#"{"queries": ["a"], "topk": 99999999999999999999999}"#,
        422,
        "it must be a whole number, 1 or more",
    ),
    (
        "two numbers of hits",
        br#"{"query": "a", "top_k": 2, "k": 3}"#,
        422,
        "`top_k` is 2 and `k` is 3: which of them?",
    ),
    ("an unknown key", br#"{"queries": ["a"], "topK": 3}"#, 422, "unknown field `topK`"),
    ("a key twice", br#"{"queries": ["a"], "queries": ["b"]}"#, 422, "duplicate field `queries`"),
];

#[test]
fn what_is_no_request_is_refused_with_a_sentence() {
    let limits = RequestLimits { queries: 100, ..RequestLimits::default() };
    let server = start(ServerOptions { limits, ..ServerOptions::default() });
    for (name, body, status, expected) in cases() {
        let reply = post(server.address(), "/retrieve", &body);
        let error = reply.body["error"].as_str().unwrap_or_default();
        assert!(reply.status == status && error.contains(expected), "{name}: {reply:?}");
    }
    for (path, status, expected) in [
        ("/retrieve?dialect=klingon", 400, "no dialect is called `klingon`"),
        ("/retrieve?topk=3", 400, "the address may have `?dialect=` after its path"),
        ("/retrieve?dialect=rllm", 422, "one `query` at a time"),
        ("/nothing", 404, "there is no `/nothing`; there are `/retrieve`"),
        ("/health", 405, "searches are posted"),
        ("/access", 422, "unknown field `queries`"),
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
