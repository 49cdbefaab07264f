//! Engines and pages of a scripted server on this machine.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

/// Answers by path, and remembers what was asked.
struct Site {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

type PageStore = HashMap<&'static str, String>;

impl Site {
    /// A page is a head and a body, `{address}` stands for the server.
    fn start(pages: &[(&'static str, &str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pages: PageStore = pages
            .iter()
            .map(|(path, head, body)| {
                let [head, body] =
                    [head, body].map(|it| it.replace("{address}", &address.to_string()));
                let length = body.len();
                let head = head.replace('\n', "\r\n");
                let text = format!(
                    "HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                (*path, text)
            })
            .collect();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&seen);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that disconnects early is no failure.
                let _ = answer(&stream.unwrap(), &pages, &log);
            }
        });
        Self { address, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(stream: &TcpStream, pages: &PageStore, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
        let line = head[start..].trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    head.push_str(&String::from_utf8_lossy(&body));
    let path = head.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
    seen.lock().unwrap().push(head);
    let nothing = "HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let text = pages.get(path.as_str()).map_or(nothing, String::as_str);
    (&mut &*stream).write_all(text.as_bytes())
}

fn config(engine: WebEngine, site: &Site) -> WebConfig {
    let http = HttpConfig { attempts: 1, ..HttpConfig::default() };
    WebConfig {
        engine,
        url: Some(site.url("/search")),
        blocked: Vec::new(),
        page_bytes: None,
        connections: 2,
        // A variable that is always set serves as the key.
        http: HttpConfig { token_env: Some("PATH".to_owned()), ..http },
    }
}

fn permitting_all(config: &WebConfig) -> Web {
    Web::with_address_filter(config, |_| true).unwrap()
}

fn shown(hits: &[Hit]) -> Vec<(&str, &str, &str)> {
    hits.iter().map(|it| (it.id.as_str(), it.title.as_str(), it.text.as_str())).collect()
}

const JSON: &str = "200 OK\nContent-Type: application/json";
const HTML: &str = "200 OK\nContent-Type: text/html";

#[test]
fn serper_gives_snippets() {
    let found = r#"{"organic": [
        {"title": "A", "link": "https://a.org/1", "snippet": "x &amp; y", "position": 1},
        {"title": "B", "link": "https://www.b.org/", "position": 2},
        {"title": "A", "link": "https://a.org/1", "snippet": "again"},
        {"title": "C", "link": "ftp://c.org/", "snippet": "z"},
        {"title": "D", "link": "https://d.org/", "snippet": "w"}
    ]}"#;
    let site = Site::start(&[("/search", JSON, found)]);
    let config =
        WebConfig { blocked: vec!["b.org".to_owned()], ..config(WebEngine::Serper, &site) };
    let web = Web::new(&config).unwrap();
    let hits = web.search(&["who \n is it", ""], 3);
    let first = hits[0].as_ref().unwrap();
    assert_eq!(shown(first), [("https://a.org/1", "A", "x & y"), ("https://d.org/", "D", "w")]);
    assert_eq!((first[0].score, first[1].score), (1.0, 0.5));
    assert!(hits[1].as_ref().unwrap().is_empty());
    let seen = site.seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].starts_with("POST /search "), "{}", seen[0]);
    let key = std::env::var("PATH").unwrap();
    assert!(seen[0].to_lowercase().contains(&format!("x-api-key: {}", key.to_lowercase())));
    assert!(seen[0].ends_with(r#"{"q":"who is it","num":10}"#), "{}", seen[0]);
    assert_eq!(web.page_counts(), PageCounts::default());
}

#[test]
fn brave_and_searxng_are_asked_by_address() {
    let found = r#"{"type": "search", "web": {"results": [
        {"title": "A", "url": "https://a.org/", "description": "x <strong>y</strong>"}
    ]}}"#;
    let site = Site::start(&[("/search", JSON, found)]);
    let hits = permitting_all(&config(WebEngine::Brave, &site)).search(&["a b&c"], 30);
    assert_eq!(shown(hits[0].as_ref().unwrap()), [("https://a.org/", "A", "x y")]);
    let seen = site.seen().remove(0);
    assert!(seen.starts_with("GET /search?q=a+b%26c&count=20 "), "{seen}");
    assert!(seen.to_lowercase().contains("x-subscription-token: "));

    let nothing = Site::start(&[("/search", JSON, r#"{"type": "search"}"#)]);
    let hits = permitting_all(&config(WebEngine::Brave, &nothing)).search(&["x"], 3);
    assert!(hits[0].as_ref().unwrap().is_empty());

    let found = r#"{"results": [{"title": "A", "url": "https://a.org/", "content": "x"}],
                    "unresponsive_engines": [["google", "timeout"]]}"#;
    let site = Site::start(&[("/search", JSON, found)]);
    let keyless = |site: &Site| WebConfig {
        http: HttpConfig { attempts: 1, ..HttpConfig::default() },
        ..config(WebEngine::Searxng, site)
    };
    let hits = permitting_all(&keyless(&site)).search(&["x"], 3);
    assert_eq!(hits[0].as_ref().unwrap().len(), 1);
    assert!(site.seen()[0].starts_with("GET /search?q=x&format=json "));
    let silent = r#"{"results": [], "unresponsive_engines": [["google", "too many requests"]]}"#;
    let site = Site::start(&[("/search", JSON, silent)]);
    let hits = permitting_all(&keyless(&site)).search(&["x"], 3);
    let error = hits[0].as_ref().unwrap_err().source.to_string();
    assert!(error.contains("no engine behind it answered: [[\"google\""), "{error}");
}

#[test]
fn what_is_no_answer_is_an_error() {
    for (head, body, expected) in [
        (JSON, r#"{"message": "no credits"}"#, "it has no `organic`, but the key `message`"),
        (
            JSON,
            r#"{"organic": [{"title": "x"}]}"#,
            "`organic[0]` has no `link`, but the key `title`",
        ),
        ("403 No\nContent-Type: text/plain", "bad key {key}", "answered 403: bad key ***"),
        ("500 No\nContent-Type: text/plain", "", "1 attempts failed"),
        (JSON, "{\"orga", "1 attempts failed"),
    ] {
        let body = body.replace("{key}", &std::env::var("PATH").unwrap());
        let site = Site::start(&[("/search", head, &body)]);
        let web = permitting_all(&config(WebEngine::Serper, &site));
        let error = web.search(&["x"], 3).remove(0).unwrap_err().source.to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(web.counts().failed, 1);
    }
}

#[test]
fn pages_are_read() {
    let results = r#"{"organic": [
        {"title": "A", "link": "http://{address}/page", "snippet": "a"},
        {"title": "", "link": "http://{address}/moved", "snippet": "b"},
        {"title": "C", "link": "http://{address}/pdf", "snippet": "c"},
        {"title": "D", "link": "http://{address}/missing", "snippet": "d"},
        {"title": "E", "link": "http://{address}/to-blocked", "snippet": "e"},
        {"title": "F", "link": "http://{address}/around", "snippet": "f"},
        {"title": "G", "link": "http://{address}/text", "snippet": "g"}
    ]}"#;
    let filler = "Nothing of note happened in that year, or in the next. ".repeat(20);
    let page = format!("<p>{filler}</p><p>Alien was directed by Ridley Scott.</p><p>{filler}</p>");
    let site = Site::start(&[
        ("/search", JSON, results),
        ("/page", HTML, &page),
        ("/moved", "302 Found\nLocation: /there", ""),
        ("/there", "200 OK\nContent-Type: text/html; charset=utf-8", "<title>T</title>Director é"),
        ("/pdf", "200 OK\nContent-Type: application/pdf", "%PDF"),
        ("/to-blocked", "301 Moved\nLocation: http://www.blocked.org/", ""),
        ("/around", "302 Found\nLocation: /around", ""),
        ("/text", "200 OK\nContent-Type: text/plain", "1 < 2 <b>"),
    ]);
    let config = WebConfig {
        page_bytes: Some(120),
        blocked: vec!["blocked.org".to_owned()],
        ..config(WebEngine::Serper, &site)
    };
    let web = permitting_all(&config);
    let hits = web.search(&["Who directed Alien?"], 10).remove(0).unwrap();
    let texts: Vec<&str> = hits.iter().map(|it| it.text.as_str()).collect();
    assert!(texts[0].contains("directed by Ridley Scott") && texts[0].len() < 160, "{}", texts[0]);
    assert_eq!(texts[1..], ["Director é", "c", "d", "e", "f", "1 < 2 <b>"]);
    assert_eq!((hits[0].title.as_str(), hits[1].title.as_str()), ("A", "T"));
    assert_eq!(web.page_counts(), PageCounts { read: 3, left: 4 });
}

#[test]
fn the_machine_itself_is_not_read() {
    let secret = "<p>secret</p>";
    let inner = Site::start(&[("/secret", HTML, secret)]);
    let port = inner.address.port();
    let links: Vec<String> = [
        format!("http://127.0.0.1:{port}/secret"),
        format!("http://localhost:{port}/secret"),
        format!("http://localhost.:{port}/secret"),
        format!("http://127.1:{port}/secret"),
        format!("http://2130706433:{port}/secret"),
        format!("http://0x7f000001:{port}/secret"),
        format!("http://0:{port}/secret"),
        format!("http://[::ffff:127.0.0.1]:{port}/secret"),
        format!("http://[::1]:{port}/secret"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
    ]
    .into();
    let organic: Vec<Value> =
        links.iter().map(|it| json!({ "link": it, "snippet": "s" })).collect();
    let results = json!({ "organic": organic }).to_string();
    let site = Site::start(&[("/search", JSON, &results)]);
    let config = WebConfig { page_bytes: Some(100), ..config(WebEngine::Serper, &site) };
    let web = Web::new(&config).unwrap();
    let hits = web.search(&["secret"], 20).remove(0).unwrap();
    assert!(hits.len() >= 5 && hits.iter().all(|it| it.text == "s"), "{:?}", shown(&hits));
    assert_eq!(web.page_counts(), PageCounts { read: 0, left: hits.len() as u64 });
    assert!(inner.seen().is_empty());

    // Also not after a redirection from where it is permitted to read.
    let to = format!("302 Found\nLocation: {}", inner.url("/secret"));
    let results = r#"{"organic": [{"link": "http://{address}/to", "snippet": "s"}]}"#;
    let site = Site::start(&[("/search", JSON, results), ("/to", &to, "")]);
    let config = WebConfig { url: Some(site.url("/search")), ..config };
    let web = Web::with_address_filter(&config, only_the_first).unwrap();
    let hits = web.search(&["secret"], 3).remove(0).unwrap();
    assert_eq!(hits[0].text, "s");
    assert_eq!(site.seen().len(), 2);
    assert!(inner.seen().is_empty());
}

/// Permits the first address that is asked for.
fn only_the_first(_: IpAddr) -> bool {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    ASKED.fetch_add(1, Ordering::Relaxed) == 0
}

#[test]
fn wrong_options_are_named() {
    let site = Site::start(&[]);
    let good = config(WebEngine::Serper, &site);
    let no_key =
        HttpConfig { token_env: Some("FORAGE_NO_SUCH_KEY".to_owned()), ..HttpConfig::default() };
    for (config, expected) in [
        (WebConfig { url: Some("search".to_owned()), ..good.clone() }, "`url`"),
        (WebConfig { engine: WebEngine::Searxng, url: None, ..good.clone() }, "`url`"),
        (WebConfig { blocked: vec!["https://x.org/".to_owned()], ..good.clone() }, "`blocked`"),
        (WebConfig { page_bytes: Some(0), ..good.clone() }, "`page_bytes`"),
        (WebConfig { connections: 0, ..good.clone() }, "`connections`"),
        (WebConfig { http: no_key, ..good }, "`FORAGE_NO_SUCH_KEY`"),
    ] {
        let error = Web::new(&config).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn long_queries_are_cut_between_words() {
    assert_eq!(truncated("  a \n b "), "a b");
    assert_eq!(truncated(&"word ".repeat(80)).split(' ').count(), 50);
    let long = truncated(&format!("{} {}", "é".repeat(300), "x".repeat(200)));
    assert_eq!(long.chars().count(), 300);
    assert_eq!(truncated(&"é".repeat(900)).chars().count(), 400);
}
