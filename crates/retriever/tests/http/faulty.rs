//! A server that misbehaves, one request after the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// What is done with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// One hit a query, named after it.
    Answer,
    /// The same after a while.
    Slow(Duration),
    /// Nothing for a long time.
    Hang,
    /// The connection is closed without a word.
    Reset,
    /// A status, perhaps with `Retry-After`.
    Status(u16, Option<&'static str>),
    /// Half of the JSON, as if it were all.
    HalfJson,
    /// Half of what the header promises.
    HalfBody,
    /// This, as it is.
    Say(&'static str),
    /// 422 for every request that has the query `bad`.
    RefuseBad,
}

/// A server that follows a script; after its end it repeats the last act.
pub(crate) struct Faulty {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl Faulty {
    pub(crate) fn start(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Value>>>::default();
        let seen = Arc::clone(&requests);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, seen) = (script.clone(), Arc::clone(&seen));
                // A caller who goes away early is none of its business.
                thread::spawn(move || read(&stream.unwrap(), &script, &seen));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/retrieve", self.address)
    }

    /// The bodies of all requests so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }
}

/// Reads one request and acts on it. The connection is then closed.
fn read(stream: &TcpStream, script: &[Act], seen: &Mutex<Vec<Value>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    // A body of several lines is kept as a list of them.
    let text = String::from_utf8(body).unwrap();
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| {
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
    });
    let act = {
        let mut seen = seen.lock().unwrap();
        seen.push(body.clone());
        script[(seen.len() - 1).min(script.len() - 1)].clone()
    };
    let respond = |status: u16, header: &str, body: &str, promised: usize| {
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {promised}\r\nConnection: close\r\n{header}\r\n"
        );
        // The client may have gone.
        let _ = (&mut &*stream).write_all((head + body).as_bytes());
    };
    let answer = answer(&body);
    match act {
        Act::Answer => respond(200, "", &answer, answer.len()),
        Act::Slow(pause) => {
            thread::sleep(pause);
            respond(200, "", &answer, answer.len());
        }
        Act::Hang => thread::sleep(Duration::from_secs(30)),
        Act::Reset => {}
        Act::Status(status, retry_after) => {
            let header = retry_after.map_or(String::new(), |it| format!("Retry-After: {it}\r\n"));
            respond(status, &header, "{\"error\": \"no\"}", 15);
        }
        Act::HalfJson => {
            let half = &answer[..answer.len() / 2];
            respond(200, "", half, half.len());
        }
        Act::HalfBody => respond(200, "", &answer[..answer.len() / 2], answer.len()),
        Act::Say(body) => respond(200, "", body, body.len()),
        Act::RefuseBad => {
            let queries = body["queries"].as_array().unwrap();
            if queries.iter().any(|it| it == "bad") {
                respond(422, "", "{\"error\": \"a bad query\"}", 24);
            } else {
                respond(200, "", &answer, answer.len());
            }
        }
    }
    Some(())
}

/// One hit a query.
fn answer(body: &Value) -> String {
    let hit =
        |query: &Value| json!([{ "document": { "id": query, "contents": "x" }, "score": 1.5 }]);
    let queries = body["queries"].as_array().cloned().unwrap_or_default();
    json!({ "result": queries.iter().map(hit).collect::<Vec<_>>() }).to_string()
}
