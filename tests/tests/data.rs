//! `forage data` and `forage corpus audit`, as a person uses them: rows of published data sets, their
//! corpus, reference queries, and what an index has of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use forage_tests::Scratch;
use serde_json::{Value, json};

/// Rows of a data set in the shape in which it is published.
fn rows(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/rows").join(name)
}

/// Folder with questions and corpus of some rows.
fn read_rows(names: &[&str]) -> Scratch {
    let scratch = Scratch::new();
    let mut arguments = vec!["data".to_owned()];
    arguments.extend(names.iter().map(|name| rows(name).display().to_string()));
    let written = ["--out", "q.jsonl", "--corpus", "corpus.jsonl"].map(str::to_owned);
    arguments.extend(written);
    scratch.forage(arguments).done();
    scratch
}

#[test]
fn rows_become_lines_that_are_read_back() {
    let scratch = read_rows(&["musique.parquet", "hotpotqa.jsonl", "nq.parquet"]);
    let lines = scratch.rows("q.jsonl");
    let ids: Vec<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids[0], "musique/2hop__11_12");
    let musique = &lines[0];
    assert_eq!(musique["golden_answers"], json!(["Osk", "River Osk"]));
    assert_eq!(musique["evidence"]["steps"][1]["question"], "Which river does Velmora lie on?");
    assert_eq!(musique["evidence"]["entities"], json!(["Velmora"]));

    // Lines of the program are rows of their own, and give the same lines.
    scratch.forage(["data", "q.jsonl", "--out", "again.jsonl"]).done();
    assert_eq!(scratch.read("again.jsonl"), scratch.read("q.jsonl"));

    // Gold passages are passages of the corpus.
    let corpus = scratch.rows("corpus.jsonl");
    let golds = lines.iter().flat_map(|line| line["evidence"]["passages"].as_array().unwrap());
    let mut n_golds = 0;
    for gold in golds {
        assert!(corpus.contains(gold), "{gold}");
        n_golds += 1;
    }
    assert!(n_golds >= 4, "{n_golds} gold passages");
}

#[test]
fn bad_rows_are_named_or_skipped_and_counted() {
    let scratch = Scratch::new();
    let good = r#"{"id": "1", "question": "who?", "answer": "x"}"#;
    scratch.write("q.jsonl", format!("{good}\n{{\"id\": \"2\", \"answer\": \"x\"}}\nnot json\n"));
    let ended = scratch.forage(["data", "q.jsonl", "--out", "out.jsonl"]).ended(3);
    assert!(ended.stderr.contains("q.jsonl:2"), "{}", ended.stderr);
    assert!(!scratch.path("out.jsonl").exists());
    let done = scratch.forage(["data", "q.jsonl", "--out", "out.jsonl", "--skip-bad"]).done();
    assert!(done.stdout.contains("2 rows that were skipped"), "{}", done.stdout);
    assert!(done.stderr.contains("warning: skipped q.jsonl:2"), "{}", done.stderr);
    assert_eq!(scratch.rows("out.jsonl").len(), 1);

    scratch.write("bad.jsonl", "not json\n");
    scratch.forage(["data", "bad.jsonl", "--out", "none.jsonl", "--skip-bad"]).ended(3);
    assert!(!scratch.path("none.jsonl").exists());
}

#[test]
fn no_output_replaces_an_input() {
    let scratch = read_rows(&["musique.jsonl"]);
    scratch.forage(["index", "--corpus", "corpus.jsonl", "--out", "index"]).done();
    let before = (scratch.read("q.jsonl"), scratch.read("corpus.jsonl"));
    scratch.write("qrels", "1 0 a 1\n");
    for arguments in [
        "data q.jsonl --out ./q.jsonl",
        "data q.jsonl --out out.jsonl --corpus q.jsonl",
        "data q.jsonl --out out.jsonl --corpus out.jsonl",
        "corpus audit --questions q.jsonl --index index --add q.jsonl",
        "eval-retrieval --index index --questions q.jsonl --save-run q.jsonl",
        "eval-retrieval --index index --qrels qrels --topics q.jsonl --save-run qrels",
    ] {
        let ended = scratch.forage(arguments.split(' ')).ended(2);
        assert!(ended.stderr.contains("would replace"), "{arguments}: {}", ended.stderr);
    }
    assert_eq!((scratch.read("q.jsonl"), scratch.read("corpus.jsonl")), before);
    assert_eq!(scratch.read("qrels"), "1 0 a 1\n");
    assert!(!scratch.path("out.jsonl").exists());

    // Questions are no corpus, and nothing is asked for with 0 passages.
    let ended = scratch.forage(["index", "--corpus", "q.jsonl", "--out", "i"]).ended(3);
    assert!(ended.stderr.contains("is a file of questions, not a corpus"), "{}", ended.stderr);
    let audit = "corpus audit --questions q.jsonl --index index -k 0";
    scratch.forage(audit.split(' ')).ended(2);
}

#[test]
fn reference_queries_of_a_row_are_kept() {
    let scratch = read_rows(&["stepsearch.jsonl"]);
    let done = scratch.forage("data q.jsonl --out out.jsonl --queries 1".split(' ')).done();
    assert!(done.stdout.contains("4 queries for 2 sub-questions"), "{}", done.stdout);
    assert_eq!(scratch.read("out.jsonl"), scratch.read("q.jsonl"));
}

#[test]
fn an_audit_finds_what_is_missing_and_adds_it() {
    let scratch = read_rows(&["musique.jsonl"]);
    let corpus = scratch.read("corpus.jsonl");
    let (kept, lost): (Vec<&str>, Vec<&str>) =
        corpus.lines().partition(|line| !line.contains("4,100 people"));
    assert_eq!((kept.len(), lost.len()), (2, 1));
    scratch.write("kept.jsonl", kept.join("\n"));
    scratch.forage(["index", "--corpus", "kept.jsonl", "--out", "index"]).done();
    let audit = ["corpus", "audit", "--questions", "q.jsonl", "--index", "index", "--json"];
    let add = ["--add", "missing.jsonl"];
    let found = scratch.forage([&audit[..], &add].concat()).done();
    let found: Value = serde_json::from_str(&found.stdout).unwrap();
    let musique = &found["sources"]["musique"];
    assert_eq!(musique["passages"], json!({"mean": 0.0, "of": 1}));
    assert_eq!(musique["answers"], json!({"mean": 0.0, "of": 1}));
    // One of two gold passages is there, and found; one of two sub-questions finds its passage.
    assert_eq!(musique["recall"]["mean"], 0.5);
    assert_eq!(musique["step_recall"], json!({"mean": 0.5, "of": 2}));
    assert_eq!(scratch.read("missing.jsonl").trim(), lost[0]);

    let corpora = ["--corpus", "kept.jsonl", "missing.jsonl"];
    scratch.forage([&["index"], &corpora[..], &["--out", "index"]].concat()).done();
    let found = scratch.forage(audit).done();
    let found: Value = serde_json::from_str(&found.stdout).unwrap();
    let musique = &found["sources"]["musique"];
    for share in ["passages", "titles", "answers", "step_recall"] {
        assert_eq!(musique[share]["mean"], 1.0, "{share}");
    }
    // The page with the answer has no word of the question, so that one search does not find it.
    assert_eq!(musique["recall"]["mean"], 0.5);
    assert_eq!(found["missing_passages"], 0);
    let table = scratch.forage(&audit[..6]).done().stdout;
    assert!(table.contains("musique                1     1.000   1.000   1.000"), "{table}");
}

#[test]
fn sub_questions_are_queries_without_a_server() {
    let scratch = read_rows(&["musique.jsonl"]);
    scratch.forage(["index", "--corpus", "corpus.jsonl", "--out", "index"]).done();
    let data = ["data", "q.jsonl", "--out", "out.jsonl", "--queries"];
    let ended = scratch.forage([&data[..], &["2"]].concat()).ended(2);
    assert!(ended.stderr.contains("`--server URL --model NAME`"), "{}", ended.stderr);
    let engines = ["1", "--engines", "index", "--found", "gold"];
    let done = scratch.forage([&data[..], &engines].concat()).done();
    assert!(done.stdout.contains("2 queries for 2 sub-questions; 0 found"), "{}", done.stdout);
    let steps = &scratch.rows("out.jsonl")[0]["evidence"]["steps"];
    assert_eq!(steps[0]["queries"], json!(["Tarnmoor >> seat"]));
    assert_eq!(steps[1]["queries"], json!(["Which river does Velmora lie on?"]));
    let again = scratch.forage([&data[..], &engines].concat()).ended(2);
    assert!(again.stderr.contains("go on with `--resume`"), "{}", again.stderr);
}

#[test]
fn a_model_writes_queries_and_a_run_goes_on() {
    let scratch = read_rows(&["musique.jsonl", "2wikimultihopqa.jsonl"]);
    // The server answers two requests, and refuses the next.
    let port = chat_server(2);
    let url = format!("http://127.0.0.1:{port}/v1");
    let data = ["data", "q.jsonl", "--out", "out.jsonl", "--queries", "2", "--in-flight", "1"];
    let asked = ["--server", &url, "--model", "m"];
    let ended = scratch.forage([&data[..], &asked].concat()).ended(3);
    assert!(ended.stderr.contains("go on with `--resume`"), "{}", ended.stderr);
    assert!(!scratch.path("out.jsonl").exists());
    let journal = scratch.read("out.jsonl.journal.jsonl");
    assert_eq!(journal.lines().count(), 2, "{journal}");

    let other = [&data[..], &["--server", &url, "--model", "other", "--resume"]].concat();
    let ended = scratch.forage(other).ended(2);
    assert!(ended.stderr.contains("`model` is \"other\" and was \"m\""), "{}", ended.stderr);

    // The journal holds the first question, so two more requests are enough. The address is another
    // one now, which is a setting like any other.
    let text = journal.replace(&url, &format!("http://127.0.0.1:{}/v1", chat_server(2)));
    let url = serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap();
    let url = url["run"]["server"].as_str().unwrap().to_owned();
    scratch.write("out.jsonl.journal.jsonl", text);
    let asked = ["--server", &url, "--model", "m", "--resume"];
    let done = scratch.forage([&data[..], &asked].concat()).done();
    assert!(done.stdout.contains("8 queries for 4 sub-questions"), "{}", done.stdout);
    for line in scratch.rows("out.jsonl") {
        for step in line["evidence"]["steps"].as_array().unwrap() {
            assert_eq!(step["queries"], json!(["first query", "second query"]));
        }
    }
}

/// Chat server that gives the same two queries to as many requests as it is told, and refuses the
/// key after that. It ends with the test.
fn chat_server(n_replies: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (nth, stream) in listener.incoming().enumerate() {
            // A client that is gone needs no answer.
            let _ = answer(stream.unwrap(), nth < n_replies);
        }
    });
    port
}

fn answer(mut stream: TcpStream, replies: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    let message = json!({ "role": "assistant", "content": "1. first query\n2. second query" });
    let (status, text) = if replies {
        let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
        (
            "200 OK",
            json!({ "choices": [choice], "usage": { "prompt_tokens": 9, "completion_tokens": 5 } }),
        )
    } else {
        ("401 Unauthorized", json!({ "error": { "message": "the key is used up" } }))
    };
    let text = text.to_string();
    let length = text.len();
    let head = "Content-Type: application/json\r\nConnection: close";
    write!(stream, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{text}")
}
