//! The client: every dialect against our own server, and every fault against a faulty one.

use std::error::Error;
use std::time::{Duration, Instant};

use forage_retriever::{Dialect, HttpConfig, HttpCounts, Remote, RemoteConfig, ServerOptions};
use forage_trajectory::{Hit, Retriever, SearchError};

use crate::faulty::{Act, Faulty};
use crate::{Canned, start};

/// Quick to lose patience.
fn config(url: String) -> RemoteConfig {
    let http = HttpConfig {
        timeout_seconds: 0.5,
        attempts: 3,
        backoff_seconds: 0.01,
        ..HttpConfig::default()
    };
    RemoteConfig { http, ..RemoteConfig::new(url, Dialect::SearchR1) }
}

fn ids(found: Vec<Result<Vec<Hit>, SearchError>>) -> Vec<Vec<String>> {
    found.into_iter().map(|it| it.unwrap().into_iter().map(|it| it.id).collect()).collect()
}

/// A failure with its sources, in one line, and the address of the server left out.
fn why(error: &SearchError, url: &str) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line = format!("{line}: {error}");
        source = error.source();
    }
    line.replace(url, "URL")
}

#[test]
fn every_dialect_reads_what_the_server_writes() {
    let server = start(ServerOptions::default());
    let queries = ["a", " b\n", "", "c"];
    let expected = Canned.search(&["a", "b", "c"], 2);
    let mut expected: Vec<Vec<Hit>> = expected.into_iter().map(Result::unwrap).collect();
    expected.insert(2, Vec::new());
    for dialect in Dialect::ALL {
        let path = match dialect {
            Dialect::FlashRag => "batch_search".to_owned(),
            Dialect::R1Searcher => "queries".to_owned(),
            _ => format!("retrieve?dialect={dialect}"),
        };
        let url = format!("http://{}/{path}", server.address());
        for batch in [1, 2, 64] {
            let remote = Remote::new(&RemoteConfig { batch, dialect, ..config(url.clone()) });
            let found = remote.unwrap().search(&queries, 2);
            for (found, expected) in found.into_iter().zip(&expected) {
                let found = found.unwrap();
                assert_eq!(found.len(), expected.len(), "{dialect}");
                for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
                    assert_eq!((&found.title, &found.text), (&expected.title, &expected.text));
                    let texts_only = matches!(dialect, Dialect::ZeroSearch | Dialect::R1Searcher);
                    let has_scores = !texts_only && dialect != Dialect::Slime;
                    assert!(texts_only || found.id == expected.id, "{dialect}");
                    let score = if has_scores { expected.score } else { 1.0 / (idx + 1) as f32 };
                    assert!((found.score - score).abs() < 1e-6, "{dialect}");
                }
            }
        }
    }
}

/// Answers of other servers that are a little different.
#[test]
fn documents_come_in_many_shapes() {
    let hash = "f0c1e0c8";
    for (answer, expected) in [
        (
            r#"{"result": [[{"document": {"id": 7, "contents": "\"T\"\nx"}, "score": 3}]]}"#,
            ("7", "T", "x"),
        ),
        (r#"{"result": [[{"id": "7", "contents": "no title\nx"}]]}"#, ("7", "", "no title\nx")),
        (
            r#"{"result": [[{"document": {"title": "T", "text": "x", "contents": "\"T\"\nx"}}]]}"#,
            ("?", "T", "x"),
        ),
        (r#"{"result": [[{"document": {"contents": "\"T\"\nx"}}]]}"#, ("?", "T", "x")),
        (
            r#"{"result": [[{"docid": "d", "title": "T", "contents": "\"T\"\nx", "score": 1}]]}"#,
            ("d", "T", "x"),
        ),
        (r#"{"result": [["\"T\"\nx"]], "more": 1}"#, ("?", "T", "x")),
    ] {
        let server = Faulty::start(vec![Act::Say(answer)]);
        let remote = Remote::new(&config(server.url())).unwrap();
        let hits = remote.search(&["q"], 3).remove(0).unwrap();
        let [hit] = hits.as_slice() else { panic!("{hits:?}") };
        assert_eq!((hit.title.as_str(), hit.text.as_str()), (expected.1, expected.2), "{answer}");
        if expected.0 == "?" {
            assert_eq!(hit.id.len(), hash.len() * 2, "{answer}");
        } else {
            assert_eq!(hit.id, expected.0, "{answer}");
        }
    }
}

/// What the server does, what comes of it, and what is counted.
type Fault = (&'static str, Vec<Act>, Result<(), &'static str>, HttpCounts);

fn faults() -> Vec<Fault> {
    use Act::{Answer, HalfBody, HalfJson, Hang, Reset, Say, Slow, Status};
    let counts = |answered, failed, retried| HttpCounts { answered, failed, retried };
    let millis = Duration::from_millis;
    vec![
        ("well", vec![Answer], Ok(()), counts(1, 0, 0)),
        ("slow, but in time", vec![Slow(millis(200))], Ok(()), counts(1, 0, 0)),
        ("hangs once", vec![Hang, Answer], Ok(()), counts(1, 0, 1)),
        (
            "hangs",
            vec![Hang],
            Err("3 attempts failed: no answer from `URL`: timeout"),
            counts(0, 1, 2),
        ),
        (
            "too slow",
            vec![Slow(millis(900))],
            Err("3 attempts failed: no answer from `URL`: timeout"),
            counts(0, 1, 2),
        ),
        ("resets twice", vec![Reset, Reset, Answer], Ok(()), counts(1, 0, 2)),
        ("resets", vec![Reset], Err("3 attempts failed: no answer from `URL`: "), counts(0, 1, 2)),
        ("asks for patience", vec![Status(429, Some("1")), Answer], Ok(()), counts(1, 0, 1)),
        (
            "asks for too much patience",
            vec![Status(429, Some("3600"))],
            Err("`URL` answered 429: {\"error\": \"no\"}"),
            counts(0, 1, 0),
        ),
        (
            "is busy",
            vec![Status(429, None)],
            Err("3 attempts failed: `URL` answered 429"),
            counts(0, 1, 2),
        ),
        ("stumbles", vec![Status(500, None), Status(503, None), Answer], Ok(()), counts(1, 0, 2)),
        (
            "is broken",
            vec![Status(500, None)],
            Err("3 attempts failed: `URL` answered 500"),
            counts(0, 1, 2),
        ),
        ("knows nobody", vec![Status(401, None)], Err("`URL` answered 401"), counts(0, 1, 0)),
        ("is elsewhere", vec![Status(404, None)], Err("`URL` answered 404"), counts(0, 1, 0)),
        ("says half", vec![HalfJson, Answer], Ok(()), counts(1, 0, 1)),
        (
            "always says half",
            vec![HalfJson],
            Err(
                "3 attempts failed: the answer of `URL` is not JSON: it ends in the middle, at byte 32",
            ),
            counts(0, 1, 2),
        ),
        ("breaks off", vec![HalfBody, Answer], Ok(()), counts(1, 0, 1)),
        (
            "miscounts",
            vec![Say(r#"{"result": []}"#)],
            Err(
                "the answer of `URL` is not what was asked for: `result` is a list of 0, and 1 query was sent",
            ),
            counts(0, 1, 0),
        ),
        (
            "speaks otherwise",
            vec![Say(r#"{"results": []}"#)],
            Err("is not what was asked for: it has no `result`, but the key `results`"),
            counts(0, 1, 0),
        ),
        (
            "says no with a yes",
            vec![Say(r#"{"error": "index is loading"}"#)],
            Err("it has no `result`, but an error: \"index is loading\""),
            counts(0, 1, 0),
        ),
        (
            "says no beside its results",
            vec![Say(r#"{"error": "index is loading", "result": [[]]}"#)],
            Err("it has an error: \"index is loading\""),
            counts(0, 1, 0),
        ),
        (
            "finds no words",
            vec![Say(r#"{"result": [[{"id": 1}]]}"#)],
            Err(
                "`result[0][0]` is an object with the key `id` where a document with `contents` or",
            ),
            counts(0, 1, 0),
        ),
        (
            "is a web page",
            vec![Say("<html>")],
            Err("3 attempts failed: the answer of `URL` is not JSON: it begins with `<html>`"),
            counts(0, 1, 2),
        ),
    ]
}

#[test]
fn faults_are_retried_or_reported() {
    for (name, script, expected, counted) in faults() {
        let server = Faulty::start(script);
        let remote = Remote::new(&config(server.url())).unwrap();
        let found = remote.search(&["q"], 3).remove(0);
        match (&found, expected) {
            (Ok(hits), Ok(())) => assert_eq!(hits[0].id, "q", "{name}"),
            (Err(error), Err(expected)) => {
                let why = why(error, &server.url());
                assert!(why.starts_with("search for `q` failed: "), "{name}: {why}");
                assert!(why.contains(expected), "{name}: {why}");
            }
            _ => panic!("{name}: {found:?}"),
        }
        assert_eq!(remote.counts(), counted, "{name}");
        assert_eq!(server.requests().len() as u64, 1 + counted.retried, "{name}");
    }
}

/// Answers that are not what was asked for: the place in them, and what is there.
const WRONG: &[(Dialect, &str, &str)] = &[
    (
        Dialect::SearchR1,
        r#"{"result": [[{"document": {"contents": "x"}, "score": 2}, {"document": {"contents": "y"}, "score": NaN}]]}"#,
        "`result[0][1].score` is null where a number is wanted; `NaN` was written there, which \
         JSON does not have",
    ),
    (
        Dialect::SearchR1,
        r#"{"result": [[{"document": {"contents": "x"}, "score": -Infinity}]]}"#,
        "`result[0][0].score` is null where a number is wanted; `-Infinity` was written there",
    ),
    (
        Dialect::SearchR1,
        r#"{"result": [[{"document": {"contents": "x"}, "score": 1e999}]]}"#,
        "`result[0][0].score` is null where a number is wanted; `1e999` was written there",
    ),
    (
        Dialect::SearchR1,
        r#"{"result": [[{"document": {"contents": "x"}, "score": null}]]}"#,
        "`result[0][0].score` is null where a number is wanted",
    ),
    (
        Dialect::SearchR1,
        r#"{"result": [[{"document": {"contents": "x"}, "score": "0.5"}]]}"#,
        "`result[0][0].score` is the text `0.5` where a number is wanted",
    ),
    (
        Dialect::SearchR1,
        r#"{"result": [[{"document": {"contents": "x"}, "score": 1e300}]]}"#,
        "`result[0][0].score` is the number 1e+300 where a number that fits 32 bits is wanted",
    ),
    (
        Dialect::SearchR1,
        r#"{"result": [[{"score": 1}]]}"#,
        "`result[0][0]` is an object with the key `score` where a document with `contents`",
    ),
    (
        Dialect::SearchR1,
        r#"{"result": [[{"document": null, "score": 1}]]}"#,
        "`result[0][0].document` is null where a document is wanted",
    ),
    (
        Dialect::SearchR1,
        r#"{"result": [[{"document": {"id": 1, "contents": NaN}, "score": 1}]]}"#,
        "`result[0][0].document.contents` is null where a text is wanted; `NaN` was written there",
    ),
    (
        Dialect::SearchR1,
        r#"{"result": [[{"document": {"id": 7.0, "contents": "x"}, "score": 1}]]}"#,
        "`result[0][0].document.id` is the number 7.0 where a text or a whole number is wanted",
    ),
    (Dialect::SearchR1, r#"{"result": [null]}"#, "`result[0]` is null where a list is wanted"),
    (Dialect::SearchR1, r#"{"result": null}"#, "`result` is null where a list is wanted"),
    (Dialect::SearchR1, r#"{"result": [[], []]}"#, "`result` is a list of 2, and 1 query was sent"),
    (Dialect::SearchR1, "[]", "it is an empty list where an object with `result` is wanted"),
    (
        Dialect::Rllm,
        r#"{"results": [7]}"#,
        "`results[0]` is the number 7 where a document is wanted",
    ),
    (
        Dialect::FlashRag,
        r#"[[[{"contents": "x"}]], [[NaN]]]"#,
        "`[1][0][0]` is null where a number is wanted; `NaN` was written there",
    ),
    (
        Dialect::FlashRag,
        r#"[[[{"contents": "x"}]], [[]]]"#,
        "`[1][0]` has 0 scores for 1 documents",
    ),
    (Dialect::FlashRag, r#"[[[{"contents": "x"}]], []]"#, "`[1]` is a list of 0, and 1 query was"),
    (
        Dialect::FlashRag,
        "[[]]",
        "it is a list of 1 list where a list of two, documents and scores,",
    ),
    (
        Dialect::R1Searcher,
        r#"{"answers": [[7]]}"#,
        "`answers[0][0]` is the number 7 where a document",
    ),
];

#[test]
fn wrong_answers_are_told_with_their_place() {
    for &(dialect, answer, expected) in WRONG {
        let server = Faulty::start(vec![Act::Say(answer)]);
        let remote = Remote::new(&RemoteConfig { dialect, ..config(server.url()) }).unwrap();
        let error = remote.search(&["q"], 3).remove(0).unwrap_err();
        let why = why(&error, &server.url());
        let start = format!(
            "search for `q` failed: the answer of `URL` is not what was asked for: {expected}"
        );
        assert!(why.starts_with(&start), "{answer}: {why}");
        assert_eq!(server.requests().len(), 1, "{answer}: it would be the same again");
    }
}

/// What Python writes where it does not matter.
#[test]
fn answers_are_read_with_their_small_faults() {
    let answer = concat!(
        "\u{feff}",
        r#"{"result": [[{"document": {"id": 123456789012345678901234, "title": NaN, "contents": "a\ud800"}, "score": 2, "rank": NaN}]]}"#
    );
    let server = Faulty::start(vec![Act::Say(answer)]);
    let remote = Remote::new(&config(server.url())).unwrap();
    let hits = remote.search(&["q"], 3).remove(0).unwrap();
    let [hit] = hits.as_slice() else { panic!("{hits:?}") };
    assert_eq!((hit.id.as_str(), hit.text.as_str()), ("123456789012345678901234", "a\u{fffd}"));
}

#[test]
fn nobody_listens() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/retrieve");
    let remote = Remote::new(&config(url.clone())).unwrap();
    let error = remote.search(&["q", "r"], 3).remove(1).unwrap_err();
    let why = why(&error, &url);
    assert!(
        why.starts_with("search for `r` failed: 3 attempts failed: no answer from `URL`"),
        "{why}"
    );
}

#[test]
fn one_bad_query_does_not_cost_the_others() {
    let server = Faulty::start(vec![Act::RefuseBad]);
    let remote = Remote::new(&config(server.url())).unwrap();
    let mut found = remote.search(&["a", "b", "bad", "c", "d"], 3);
    let error = found.remove(2).unwrap_err();
    assert!(why(&error, &server.url()).contains("answered 422: {\"error\": \"a bad query\"}"));
    assert_eq!(ids(found), [["a"], ["b"], ["c"], ["d"]]);
}

/// Our own server answers the others of a batch; what it did not search for is no empty result.
#[test]
fn a_query_that_the_server_skips_fails_alone() {
    let server = start(ServerOptions::default());
    let long = "x".repeat(20_000);
    for dialect in [Dialect::SearchR1, Dialect::Slime, Dialect::Rllm, Dialect::R1Searcher] {
        let path = match dialect {
            Dialect::R1Searcher => "queries".to_owned(),
            _ => format!("retrieve?dialect={dialect}"),
        };
        let url = format!("http://{}/{path}", server.address());
        let remote = Remote::new(&RemoteConfig { dialect, ..config(url.clone()) }).unwrap();
        let mut found = remote.search(&["a", &long, " ", "b"], 1);
        let error = found.remove(1).unwrap_err();
        assert!(
            why(&error, &url).ends_with(
                "the server did not search for the query: the query has 20000 bytes; this server \
                 takes at most 16384"
            ),
            "{dialect}"
        );
        let n_hits: Vec<usize> = found.into_iter().map(|it| it.unwrap().len()).collect();
        assert_eq!(n_hits, [1, 0, 1], "{dialect}");
    }
}

/// What other servers say beside the lists is none of our business.
#[test]
fn other_members_of_an_answer_change_nothing() {
    for skipped in ["3", "[1]", r#"[{"query": 9, "reason": "x"}]"#, r#"[{"query": 0}]"#, "null"] {
        let answer =
            format!(r#"{{"result": [[{{"id": "7", "contents": "x"}}]], "skipped": {skipped}}}"#);
        let server = Faulty::start(vec![Act::Say(answer.leak())]);
        let remote = Remote::new(&config(server.url())).unwrap();
        assert_eq!(ids(remote.search(&["q"], 3)), [["7"]], "{skipped}");
    }
}

#[test]
fn a_dead_server_is_left_alone() {
    let server = Faulty::start(vec![Act::Reset]);
    let mut patient = config(server.url());
    patient.http = HttpConfig { attempts: 1, backoff_seconds: 10.0, ..patient.http };
    let remote = Remote::new(&patient).unwrap();
    for _ in 0..5 {
        assert!(remote.search(&["q"], 3)[0].is_err());
    }
    let started = Instant::now();
    let error = remote.search(&["q"], 3).remove(0).unwrap_err();
    let why = why(&error, &server.url());
    assert!(why.contains("`URL` keeps failing and is left alone for "), "{why}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(server.requests().len(), 5);
}

#[test]
fn a_server_that_recovers_is_found_again() {
    let script = [vec![Act::Reset; 6], vec![Act::Answer]].concat();
    let server = Faulty::start(script);
    let mut config = config(server.url());
    config.http.attempts = 10;
    let remote = Remote::new(&config).unwrap();
    assert_eq!(ids(remote.search(&["q"], 3)), [["q"]]);
    assert_eq!(server.requests().len(), 7);
}

#[test]
fn retries_are_on_a_budget() {
    let server = Faulty::start(vec![Act::Status(500, None)]);
    let mut config = config(server.url());
    config.http.retry_budget = 3;
    let remote = Remote::new(&config).unwrap();
    let asked = || {
        let error = remote.search(&["q"], 3).remove(0).unwrap_err();
        (why(&error, &server.url()), server.requests().len())
    };
    assert!(asked().0.contains("3 attempts failed"));
    assert!(!remote.has_given_up());
    let (why, n_requests) = asked();
    assert!(remote.has_given_up());
    assert!(why.contains("the budget of 3 failures is spent: `URL` answered 500"), "{why}");
    assert_eq!(n_requests, 4);
}

#[test]
fn options_that_make_no_client() {
    let good = || config("http://127.0.0.1:1/retrieve".to_owned());
    let http = |change: &dyn Fn(&mut HttpConfig)| {
        let mut config = good();
        change(&mut config.http);
        config
    };
    for (config, expected) in [
        (
            RemoteConfig { url: "localhost:8000".into(), ..good() },
            "`url` is `localhost:8000`; it must be an address",
        ),
        (RemoteConfig { batch: 0, ..good() }, "`batch` is 0"),
        (http(&|it| it.attempts = 0), "`attempts` is 0"),
        (http(&|it| it.timeout_seconds = -1.0), "`timeout_seconds` is -1"),
        (http(&|it| it.backoff_seconds = f64::NAN), "`backoff_seconds` is NaN"),
        (
            http(&|it| it.token_env = Some("FORAGE_NO_SUCH".into())),
            "`token_env` is `FORAGE_NO_SUCH`",
        ),
    ] {
        let error = Remote::new(&config).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn more_hits_than_asked_for_are_dropped() {
    let server = Faulty::start(vec![Act::Answer]);
    let remote = Remote::new(&config(server.url())).unwrap();
    assert_eq!(ids(remote.search(&["q"], 0)), [[""; 0]]);
    let asked: [serde_json::Value; 0] = [];
    assert_eq!(server.requests(), asked);
}
