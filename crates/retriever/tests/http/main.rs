//! Server and clients, over real sockets.

mod client;
mod dense;
mod engine;
mod engines;
mod faulty;
mod recorded;
mod refused;
mod server;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use forage_retriever::{PageStore, Server, ServerOptions};
use forage_trajectory::{BoxError, Hit, Retriever, SearchError};
use serde_json::Value;

/// Finds two passages about everything. Some queries make it slow, fail or panic.
struct Canned;

impl Retriever for Canned {
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        assert!(!queries.contains(&"panic"), "as asked");
        let find = |&query: &&str| {
            if query == "fail" {
                let source = BoxError::from("the disk is gone");
                return Err(SearchError { query: query.to_owned(), source });
            }
            if let Some(milliseconds) = query.strip_prefix("slow ") {
                std::thread::sleep(Duration::from_millis(milliseconds.parse().unwrap()));
            }
            let hit = |idx| Hit {
                id: format!("{query}/{idx}"),
                title: "Title".to_owned(),
                text: format!("about {query}\nand {idx}"),
                score: 2.5 / (idx + 1) as f32,
            };
            Ok((0..k.min(2)).map(hit).collect())
        };
        queries.iter().map(find).collect()
    }
}

fn start(options: ServerOptions) -> Server {
    start_with(Canned, None, options)
}

fn start_with(
    retriever: impl Retriever + 'static,
    pages: Option<PageStore>,
    options: ServerOptions,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let retriever: Arc<dyn Retriever> = Arc::new(retriever);
    Server::start(listener, &retriever, pages, options).unwrap()
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: u16,
    retry_after: Option<String>,
    body: Value,
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    config.timeout_global(Some(Duration::from_mins(1))).build().new_agent()
}

fn post(address: SocketAddr, path: &str, body: &[u8]) -> Reply {
    post_with(&agent(), address, path, body, None)
}

fn post_with(
    agent: &ureq::Agent,
    address: SocketAddr,
    path: &str,
    body: &[u8],
    token: Option<&str>,
) -> Reply {
    let mut request = agent.post(format!("http://{address}{path}"));
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let mut response = request.send(body).unwrap();
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.map(|it| it.to_str().unwrap().to_owned());
    let text = response.body_mut().with_config().limit(1 << 30).read_to_string().unwrap();
    let body = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    Reply { status: response.status().as_u16(), retry_after, body }
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut response = agent().get(format!("http://{address}{path}")).call().unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}
