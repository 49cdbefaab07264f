//! A server of the `OpenAI` protocol that says what it is told to, and misbehaves on request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// What is done with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// A completion with this text.
    Say(String),
    /// The same after a while.
    Slow(Duration, String),
    /// A completion with this choice.
    Choice(Value),
    /// This, with status 200.
    Raw(String),
    /// A status with `Retry-After` and a body.
    Status(u16, Option<&'static str>, &'static str),
    /// Nothing for a long time.
    Hang,
    /// The connection is closed without a word.
    Reset,
    /// Half of what the header promises.
    HalfBody,
}

pub(crate) fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

/// What came with a request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn prompt(&self) -> &str {
        self.body["messages"][0]["content"].as_str().unwrap()
    }
}

/// A server that acts by a function of the request and of how many there were before it.
pub(crate) struct Scripted {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    most_at_once: Arc<AtomicUsize>,
}

type Script = dyn Fn(&Asked, usize) -> Act + Send + Sync;

impl Scripted {
    pub(crate) fn start(script: impl Fn(&Asked, usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (at_once, most_at_once) = (Arc::<AtomicUsize>::default(), Arc::default());
        let script: Arc<Script> = Arc::new(script);
        let (seen, most) = (Arc::clone(&asked), Arc::clone(&most_at_once));
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                let (at_once, most) = (Arc::clone(&at_once), Arc::<AtomicUsize>::clone(&most));
                thread::spawn(move || {
                    let n = at_once.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(n, Ordering::SeqCst);
                    // A client that disconnects early is no failure.
                    let _ = serve(&stream.unwrap(), &*script, &seen, &at_once);
                });
            }
        });
        Self { url, asked, most_at_once }
    }

    /// Acts in turn; after the last, it is repeated.
    pub(crate) fn acts(acts: Vec<Act>) -> Self {
        Self::start(move |_, n| acts[n.min(acts.len() - 1)].clone())
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The most requests that were answered at the same time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }
}

/// Every completion says that it took this much.
pub(crate) const PROMPT_TOKENS: u64 = 30;
pub(crate) const COMPLETION_TOKENS: u64 = 20;

fn completion(choices: &Value) -> String {
    let usage = json!({
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": COMPLETION_TOKENS,
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    });
    json!({ "id": "x", "object": "chat.completion", "choices": choices, "usage": usage })
        .to_string()
}

/// A completion with a text.
fn spoken(text: &str) -> String {
    let message = json!({ "role": "assistant", "content": text });
    completion(&json!([{ "index": 0, "message": message, "finish_reason": "stop" }]))
}

/// Reads one request and acts on it. The connection is then closed.
fn serve(
    stream: &TcpStream,
    script: &Script,
    seen: &Mutex<Vec<Asked>>,
    at_once: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            at_once.fetch_sub(1, Ordering::SeqCst);
            return Ok(());
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1).unwrap();
    let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
    reader.read_exact(&mut body)?;
    let asked = Asked { head, body: serde_json::from_slice(&body).unwrap() };
    let n = {
        let mut seen = seen.lock().unwrap();
        seen.push(asked.clone());
        seen.len() - 1
    };
    let act = script(&asked, n);
    let respond = |status: u16, header: &str, body: &str, promised: usize| {
        // Before the reply: with it, the client may ask again.
        at_once.fetch_sub(1, Ordering::SeqCst);
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {promised}\r\nConnection: close\r\n{header}\r\n"
        );
        (&mut &*stream).write_all((head + body).as_bytes())
    };
    let whole = |body: &str| respond(200, "", body, body.len());
    match act {
        Act::Say(text) => whole(&spoken(&text)),
        Act::Slow(pause, text) => {
            thread::sleep(pause);
            whole(&spoken(&text))
        }
        Act::Choice(choice) => whole(&completion(&json!([choice]))),
        Act::Raw(body) => whole(&body),
        Act::Status(status, retry_after, body) => {
            let header = retry_after.map_or(String::new(), |it| format!("Retry-After: {it}\r\n"));
            respond(status, &header, body, body.len())
        }
        Act::Hang => {
            thread::sleep(Duration::from_secs(30));
            Ok(())
        }
        Act::Reset => {
            at_once.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
        Act::HalfBody => {
            let body = spoken("half");
            respond(200, "", &body[..body.len() / 2], body.len())
        }
    }
}
