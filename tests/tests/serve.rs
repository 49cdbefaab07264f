//! `forage serve`, and a run that searches through it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use forage_tests::{Output, RUN_FILE, Scratch, end_of, signal};
use serde_json::{Value, json};

const CORPUS: &str = "{\"id\": \"1\", \"contents\": \"\\\"Alien\\\"\\nA film by Ridley Scott.\"}\n\
                      {\"id\": \"2\", \"title\": \"Aliens\", \"text\": \"A film by James Cameron.\"}\n";

fn indexed() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("corpus.jsonl", CORPUS);
    scratch.forage(["index", "--corpus", "corpus.jsonl", "--out", "index"]).done();
    scratch
}

/// A server at work.
struct Served {
    child: Child,
    address: String,
    said: BufReader<std::process::ChildStderr>,
}

impl Served {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self { child, address: String::new(), said };
        let mut line = String::new();
        server.said.read_line(&mut line).unwrap();
        let (_, address) = line.trim().split_once(" at http://").unwrap_or_else(|| {
            let mut rest = String::new();
            server.said.read_to_string(&mut rest).unwrap();
            panic!("{line}{rest}")
        });
        server.address = address.strip_suffix("/retrieve").unwrap().to_owned();
        server
    }

    /// Posts JSON by hand, as no client would have to.
    fn post(&self, header: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "POST /retrieve HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{header}\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    fn stop(mut self, name: &str) -> Output {
        signal(&self.child, name);
        let mut stderr = String::new();
        self.said.read_to_string(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        Output { status, stdout: String::new(), stderr }
    }
}

impl Drop for Served {
    /// A test that fails leaves no server behind.
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn searches_are_answered_until_a_signal_comes() {
    let scratch = indexed();
    for name in ["TERM", "INT"] {
        let server = Served::start(
            scratch.command(["serve", "--index", "index", "--port", "0", "--topk", "1"]),
        );
        let (status, answer) = server.post(
            "",
            &json!({ "queries": ["What did James Cameron direct?"], "return_scores": true }),
        );
        assert_eq!(status, 200, "{answer}");
        let [hit] = answer["result"][0].as_array().unwrap().as_slice() else { panic!("{answer}") };
        assert_eq!(hit["document"]["contents"], "\"Aliens\"\nA film by James Cameron.");
        let (status, answer) = server.post("", &json!({ "queries": [""] }));
        assert_eq!((status, &answer["result"]), (200, &json!([[]])), "{answer}");
        assert_eq!(server.post("", &json!({ "queries": 7 })).0, 422);
        assert_eq!(server.stop(name).done().stderr.lines().count(), 1);
    }
}

#[test]
fn who_may_search() {
    let scratch = indexed();
    let serve = ["serve", "--index", "index", "--port", "0", "--host", "0.0.0.0"];
    let refused = scratch.forage(serve).ended(2).stderr;
    assert!(refused.contains("everybody who can reach 0.0.0.0 could search"), "{refused}");
    assert!(refused.contains("hint: set a `--token`, or say `--insecure`"), "{refused}");

    let mut command = scratch.command([&serve[..], &["--token-env", "TOKEN"]].concat());
    command.env("TOKEN", "s3cret");
    let mut server = Served::start(command);
    server.address = server.address.replace("0.0.0.0", "127.0.0.1");
    let asked = json!({ "queries": ["film"] });
    assert_eq!(server.post("", &asked).0, 401);
    assert_eq!(server.post("Authorization: Bearer s3cret\r\n", &asked).0, 200);
    server.stop("TERM").done();

    let mut server = Served::start(scratch.command([&serve[..], &["--insecure"]].concat()));
    server.address = server.address.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(server.post("", &asked).0, 200);

    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    let taken = ["serve", "--index", "index", "--port", &port];
    let taken =
        scratch.forage([&taken[..], &["--host", "0.0.0.0", "--insecure"]].concat()).ended(3);
    assert!(taken.stderr.contains("cannot listen at 0.0.0.0:"), "{}", taken.stderr);
    server.stop("TERM").done();

    for (arguments, code, expected) in [
        ("--index nowhere", 3, "there is no folder `nowhere`"),
        ("--index index --topk 0", 2, "`--topk` cannot be used"),
        ("--index index --max-queries 0", 2, "`--max-queries` cannot be used"),
        ("--index index --queue 1", 2, "`--queue` cannot be used"),
        ("--index index --pages nowhere", 3, "cannot read the pages `nowhere`"),
        ("--index index --token-env NO_SUCH", 2, "there is no token in `NO_SUCH`"),
        ("--index index --rank dense", 2, "this ranking wants vectors"),
        ("--index index --dialect klingon", 2, "no dialect is called `klingon`"),
    ] {
        let arguments = ["serve", "--port", "0"].into_iter().chain(arguments.split(' '));
        let output = scratch.forage(arguments).ended(code);
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
}

/// A run whose searches are made by a server.
fn run_with_a_server(scratch: &Scratch, address: &str) {
    let world = RUN_FILE.find("[world]").unwrap()..RUN_FILE.find("[rollout]").unwrap();
    let mut text = RUN_FILE.to_owned();
    text.replace_range(
        world,
        &format!(
            "[data]\ntrain = 'world/train.jsonl'\ndev = 'world/dev.jsonl'\ntest = 'world/test.jsonl'\n\n\
             [retriever.remote]\nurl = 'http://{address}/retrieve'\n\
             http = {{ attempts = 2, backoff_seconds = 0.05, retry_budget = 4 }}\n\n"
        ),
    );
    scratch.write("run.toml", text);
}

#[test]
fn a_run_whose_server_dies_stops_and_goes_on() {
    let scratch = Scratch::ready();
    scratch.forage(["world", "run.toml", "--out", "world"]).done();
    let serve = |port: &str| {
        Served::start(scratch.command(["serve", "--index", "world/index", "--port", port]))
    };
    let server = serve("0");
    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    run_with_a_server(&scratch, &server.address);
    let checked = scratch.forage(["check", "run.toml"]).done().stdout;
    assert!(checked.contains(&format!("corpus: what `http://{}/", server.address)), "{checked}");

    let train = |more: &[&str]| {
        let arguments =
            ["train", "run.toml", "--out", "run", "--set", "training.checkpoint_every=1"];
        let steps = ["--set", "training.steps=100000"];
        scratch.command([&arguments[..], &steps, more].concat()).spawn().unwrap()
    };
    let checkpoints = || {
        let entries = std::fs::read_dir(scratch.path("run/checkpoints"));
        entries.map_or(0, |it| it.filter(|it| it.as_ref().unwrap().path().is_dir()).count())
    };
    let run = train(&[]);
    while checkpoints() == 0 {
        thread::sleep(Duration::from_millis(20));
    }
    server.stop("KILL");
    let stopped = end_of(run).ended(3).stderr;
    assert!(
        stopped.contains("the search server stopped answering in step ")
            || stopped.contains("every trajectory of step "),
        "{stopped}"
    );
    assert!(checkpoints() > 0);

    let steps = scratch.rows("run/metrics.jsonl").len();
    let server = serve(&port);
    let run = train(&["--resume"]);
    while scratch.rows("run/metrics.jsonl").len() < steps + 2 {
        thread::sleep(Duration::from_millis(20));
    }
    signal(&run, "INT");
    end_of(run).interrupted();
    server.stop("TERM").done();
}
