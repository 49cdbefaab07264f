//! What the binary does when a search server is away, prompts do not fit, a run goes on for longer,
//! or nobody reads its messages.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::thread;

use forage_tests::{RUN_FILE, Scratch, end_of};
use serde_json::{Value, json};

/// Questions of which the server refuses those with an odd number.
const QUESTIONS: [&str; 4] = ["town 1?", "town 2?", "town 3?", "town 4?"];

/// Search server on a port of its own, which refuses a request with such a query. It ends with the
/// test.
fn serve(refuses: fn(&str) -> bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    answer_all(listener, refuses);
    port
}

fn answer_all(listener: TcpListener, refuses: fn(&str) -> bool) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that is gone needs no answer.
            let _ = answer(stream.unwrap(), refuses);
        }
    });
}

fn answer(mut stream: TcpStream, refuses: fn(&str) -> bool) -> std::io::Result<()> {
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
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body)?;
    let queries: Vec<&str> =
        body["queries"].as_array().unwrap().iter().map(|query| query.as_str().unwrap()).collect();
    let page = json!({ "document": { "id": "1", "contents": "\"Halvik\"\nA port." }, "score": 1 });
    let (status, text) = if queries.iter().any(|query| refuses(query)) {
        ("400 Bad Request", json!({ "error": "no" }))
    } else {
        ("200 OK", json!({ "result": vec![vec![page]; queries.len()] }))
    };
    let text = text.to_string();
    let length = text.len();
    let head = "Content-Type: application/json\r\nConnection: close";
    write!(stream, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{text}")
}

/// Folder with a run file over question files and a search server on a port.
fn over_server(port: u16) -> Scratch {
    let scratch = Scratch::ready();
    let row = |(idx, text): (usize, &&str)| json!({ "id": format!("a b/{idx}"), "question": text, "golden_answers": ["Halvik"] });
    let rows: Vec<String> =
        QUESTIONS.iter().enumerate().map(|it| format!("{}\n", row(it))).collect();
    scratch.write("q.jsonl", rows.concat());
    let world = RUN_FILE.find("[world]").unwrap()..RUN_FILE.find("[rollout]").unwrap();
    let mut text = RUN_FILE.to_owned();
    text.replace_range(
        world,
        &format!(
            "[data]\ntrain = 'q.jsonl'\ndev = 'q.jsonl'\ntest = 'q.jsonl'\n\n[retriever]\n\
             remote = {{ url = 'http://127.0.0.1:{port}/retrieve', batch = 1, http = {{ \
             timeout_seconds = 5, attempts = 1, backoff_seconds = 0.01 }} }}\n\n"
        ),
    );
    scratch.write("run.toml", text);
    scratch
}

/// Port that nobody listens at.
fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// First grades of the trajectories of an evaluation.
fn grades(scratch: &Scratch, path: &str) -> Vec<Value> {
    let lines = zstd::decode_all(fs::read(scratch.path(path)).unwrap().as_slice()).unwrap();
    let records = serde_json::Deserializer::from_slice(&lines).into_iter::<Value>();
    records.map(|record| record.unwrap()["grades"][0].clone()).collect()
}

#[test]
fn an_evaluation_without_a_server_is_no_evaluation() {
    let port = nobody();
    let scratch = over_server(port);
    let ended = scratch.forage("eval run.toml --policy scripted --out e".split(' ')).ended(3);
    for part in ["4 of 4 questions of an evaluation failed", "hint: try again when the search"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert_eq!(ended.stdout, "");
    assert!(!scratch.path("e").exists());
    // Where the server is asked again, whoever waits is told of it.
    let again = "eval run.toml --policy scripted --out e --set retriever.remote.http.attempts=3";
    let ended = scratch.forage(again.split(' ')).ended(3);
    let (server, often) = (
        format!("no answer from `http://127.0.0.1:{port}/retrieve`: "),
        "; it is asked again 2 times, after 0.0 s at first",
    );
    let warnings: Vec<&str> = ended.stderr.lines().filter(|it| it.contains("WARN")).collect();
    assert!(
        matches!(warnings[..], [it] if it.contains(&server) && it.contains(often)),
        "{}",
        ended.stderr
    );
}

#[test]
fn questions_whose_search_fails_are_in_no_mean() {
    let refuses = |query: &str| query.contains(['1', '3']);
    let scratch = over_server(serve(refuses));
    let ended = scratch.forage("eval run.toml --policy scripted --out e".split(' ')).done();
    for part in ["4 questions of test, greedy (2 failed and are in no mean)", "1.000 [1.000"] {
        assert!(ended.stdout.contains(part), "{}", ended.stdout);
    }
    let warning = "warning: 2 of 4 questions failed and are in no mean: `a b/0`, `a b/2`";
    assert!(ended.stderr.contains(warning), "{}", ended.stderr);
    let row =
        &serde_json::from_str::<Value>(&scratch.read("e/evaluation.json")).unwrap()["rows"][0];
    assert_eq!(
        (&row["n"], &row["failed"], &row["em"]["mean"]),
        (&json!(2), &json!(2), &json!(1.0))
    );
    let grades = grades(&scratch, "e/trajectories.jsonl.zst");
    let rewards: Vec<&Value> = grades.iter().map(|grade| &grade["reward"]).collect();
    assert_eq!(rewards, [&Value::Null, &json!(1.0), &Value::Null, &json!(1.0)]);

    // What was written is read back, without what failed.
    let replay = ["reward", "replay", "exact-match", "e/trajectories.jsonl.zst"];
    let replayed = scratch.forage(replay).done().stdout;
    assert!(replayed.contains("scored           2"), "{replayed}");
}

#[test]
fn a_run_that_begins_before_its_server_goes_on_with_it() {
    let port = nobody();
    let scratch = over_server(port);
    // The trained agent of the repository searches for what it is asked.
    let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/tiny-agent");
    let text = "What is the birthplace of Mirko Tavel?";
    let row = json!({ "id": "1", "question": text, "golden_answers": ["Halvik"] });
    scratch.write("q.jsonl", format!("{row}\n"));
    let edits = [
        format!("model.path={}", agent.display()),
        "training.steps=1".to_owned(),
        "rollout.max_turn_tokens=48".to_owned(),
    ];
    let start = "train run.toml --out run".split(' ').map(str::to_owned);
    let command: Vec<String> =
        start.chain(edits.into_iter().flat_map(|edit| ["--set".to_owned(), edit])).collect();
    let ended = scratch.forage(&command).ended(3);
    assert!(ended.stderr.contains("questions of an evaluation failed"), "{}", ended.stderr);
    for written in ["run/evaluations", "run/metrics.jsonl"] {
        assert!(!scratch.path(written).exists(), "{written}");
    }

    answer_all(TcpListener::bind(("127.0.0.1", port)).unwrap(), |_| false);
    scratch.forage(command.iter().map(String::as_str).chain(["--resume"])).done();
    let row = &scratch.rows("run/metrics.jsonl")[0];
    assert!(row["eval/greedy/searches"].as_f64().unwrap() > 0.0, "{row}");
    assert!(scratch.path("run/evaluations/step-000000-greedy.json").exists());
}

#[test]
fn prompts_without_room_are_told_before_anything_is_asked() {
    let scratch = over_server(nobody());
    for command in ["check run.toml", "eval run.toml", "train run.toml --out run"] {
        let edits = ["--set", "rollout.max_tokens=8"];
        let ended = scratch.forage(command.split(' ').chain(edits)).ended(2);
        for part in ["the prompt of question `a b/0` takes ", " of 8 tokens; 4 of 4 questions "] {
            assert!(ended.stderr.contains(part), "{command}: {}", ended.stderr);
        }
        assert!(ended.stderr.contains("hint: raise `rollout.max_tokens`"), "{}", ended.stderr);
    }
    assert!(!scratch.path("run").exists());
    // One of five.
    let long = json!({ "id": "long", "question": "x".repeat(9_000), "golden_answers": ["y"] });
    scratch.write("q.jsonl", format!("{}{long}\n", scratch.read("q.jsonl")));
    let ended = scratch.forage(["check", "run.toml"]).done();
    for part in [
        "warning: train: the prompt of question `long` takes ",
        "of 320 tokens; 1 of 5 questions cannot be answered: they are left out of the training",
        "questions cannot be answered: they are counted as `prompt_too_long` and are in no mean",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert!(ended.stdout.contains(" of 4 training questions"), "{}", ended.stdout);
}

#[test]
fn questions_that_cannot_be_asked_are_in_no_mean_and_not_trained() {
    let scratch = Scratch::ready();
    scratch
        .write("corpus.jsonl", "{\"id\": \"1\", \"title\": \"Veltor\", \"text\": \"A film.\"}\n");
    scratch.forage(["index", "--corpus", "corpus.jsonl", "--out", "index"]).done();
    let question = |id: &str, text: &str| {
        format!("{}\n", json!({ "id": id, "question": text, "golden_answers": ["y"] }))
    };
    scratch.write("q.jsonl", question("short", "who?") + &question("long", &"x".repeat(9_000)));
    let (begin, end) = (RUN_FILE.find("[world]").unwrap(), RUN_FILE.find("[rollout]").unwrap());
    let data = "[data]\ntrain = 'q.jsonl'\ndev = 'q.jsonl'\ntest = 'q.jsonl'\n\n\
                [retriever]\nindex = 'index'\n\n";
    let text = format!("{}{data}{}", &RUN_FILE[..begin], &RUN_FILE[end..]);
    scratch.write("run.toml", text.replace("steps = 8", "steps = 2"));
    let trained = scratch.forage(["train", "run.toml", "--out", "run"]).done();
    assert!(trained.stdout.contains("a prompt that is too long and in no mean: 1"), "{trained:?}");
    let rows = scratch.rows("run/metrics.jsonl");
    assert_eq!(rows[0]["eval/greedy/prompt_too_long"], 1.0, "{}", rows[0]);
    for row in &rows[1..] {
        // Two questions a step of one that can be asked.
        assert!(row["rollout/policy_tokens"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["outcome/over_length"], 0.0, "{row}");
    }
    let evaluated = scratch.forage(["eval", "run", "--out", "e"]).done();
    let told = "2 questions of test, greedy (1 have a prompt that is too long and are in no mean)";
    assert!(evaluated.stdout.contains(told), "{}", evaluated.stdout);
    let row =
        &serde_json::from_str::<Value>(&scratch.read("e/evaluation.json")).unwrap()["rows"][0];
    assert_eq!((&row["n"], &row["prompt_too_long"]), (&json!(1), &json!(1)));
}

#[test]
fn a_run_goes_on_for_more_steps() {
    let scratch = Scratch::ready();
    let run = ["train", "run.toml", "--out", "run"];
    let few = [&run[..], &["--set", "training.steps=2"]].concat();
    scratch.forage(few).done();
    // Comments and defaults are no difference, and there is nothing left to do.
    let text = RUN_FILE.replace("steps = 8", "temperature = 1.0 # the default\nsteps = 2");
    scratch.write("same.toml", text);
    scratch.forage(["train", "same.toml", "--out", "run", "--resume"]).done();
    let defaults = "combination.rule = 'sum'\nalarms.unsearched = 0.5\n";
    let text = scratch.read("same.toml").replace("lr = 3e-4", "lr = 3e-4\nclip_low = 0.2");
    scratch.write("defaults.toml", format!("{defaults}{text}"));
    let resumed = ["train", "defaults.toml", "--out", "run", "--resume"];
    scratch.forage(resumed).done();
    let told = scratch.forage([&resumed[..], &["--set", "seed=2"]].concat()).ended(2).stderr;
    assert!(told.contains("another configuration: `seed` is 2 and was 1\n"), "{told}");

    let more = [&run[..], &["--resume", "--set", "training.steps=4"]].concat();
    let told = scratch.forage(&more).done().stderr;
    assert!(told.contains("`training.steps` was 2 and is 4: the schedule"), "{told}");
    let steps: Vec<Value> =
        scratch.rows("run/metrics.jsonl").iter().map(|row| row["step"].clone()).collect();
    assert_eq!(steps, [0, 1, 2, 3, 4]);
    scratch.forage(&more).done();

    // What a checkpoint was removed with goes: the evaluation of step 4 is made again.
    let evaluation = "run/evaluations/step-000004-greedy.json";
    std::fs::remove_dir_all(scratch.path("run/checkpoints/step-000004")).unwrap();
    let written = scratch.read(evaluation);
    scratch.write(evaluation, "{}");
    scratch.forage(&more).done();
    assert_eq!(scratch.read(evaluation), written);

    // A row that is gone is told.
    let rows = scratch.read("run/metrics.jsonl");
    let without: String = rows.lines().filter(|row| !row.contains("\"step\":2,")).collect();
    for damaged in [without.replace("}{", "}\n{") + "\n", rows[..rows.len() - 20].to_owned()] {
        scratch.write("run/metrics.jsonl", damaged);
        let told = scratch.forage(&more).ended(3).stderr;
        assert!(told.contains("metrics.jsonl"), "{told}");
        assert!(told.contains("is not in its place"), "{told}");
    }
    scratch.write("run/metrics.jsonl", rows);

    // Neither does a run go on with another index or model.
    let manifest = scratch.read("run/manifest.json");
    for (key, what) in
        [("fingerprint", "passages of the index"), ("weights", "weights of the model")]
    {
        let (before, after) = manifest.split_once(&format!("\"{key}\": \"")).unwrap();
        scratch.write("run/manifest.json", format!("{before}\"{key}\": \"x{after}"));
        let told = scratch.forage(&more).ended(2).stderr;
        assert!(
            told.contains(what) && told.contains("not what the run was started with"),
            "{told}"
        );
    }
    scratch.write("run/manifest.json", manifest);

    // Neither is the default that only one of them has.
    scratch.write("run.toml", RUN_FILE.replace("steps = 8", "temperature = 1.0\nsteps = 8"));
    let fewer = [&run[..], &["--resume", "--set", "training.steps=3", "--set", "seed=2"]].concat();
    let told = scratch.forage(fewer).ended(2).stderr;
    for part in [
        "another configuration: `seed` is 2 and was 1; `training.steps` is 3 and was 4",
        "model.path=run/checkpoints/step-000004",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn messages_that_nobody_reads_end_no_command() {
    let scratch = Scratch::ready();
    for (command, code) in
        [("train run.toml --out run --set training.steps=1", 0), ("train nowhere.toml", 3)]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = scratch.command(command.split(' '));
        let child = command.stdout(Stdio::piped()).stderr(writer).spawn().unwrap();
        assert_eq!(end_of(child).status.code(), Some(code));
    }
}
