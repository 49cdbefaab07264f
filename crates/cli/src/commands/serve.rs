//! `forage serve`: a search server over HTTP, in the protocols of other projects.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use forage_retriever::{Dialect, PageStore, RequestLimits, Server, ServerError, ServerOptions};
use serde_json::{Map, Value};

use super::search::EngineArgs;
use crate::exit_code::{Code, Failure};

/// Serve searches over HTTP, in the protocols of other projects
///
/// `POST /retrieve` speaks Search-R1 (verl, `ASearcher`, ROLL), slime, `SkyRL`, rLLM and
/// `ZeroSearch`; `/search` and `/batch_search` speak `FlashRAG` and `ReCall`, and `/queries`
/// R1-Searcher. `POST /access` returns
/// whole pages, `GET /health` and `GET /metrics` the state of the server. After Ctrl-C or SIGTERM,
/// it answers the requests in progress and exits.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the index
    #[arg(long, value_name = "DIR")]
    pub index: PathBuf,

    /// Ranking
    #[command(flatten)]
    pub engine: EngineArgs,

    /// Address to listen at; one that other machines can reach needs `--token` or `--insecure`
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub host: IpAddr,

    /// Port to listen at; 0 for a free one
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub port: u16,

    /// Token that clients must send as `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "TOKEN", conflicts_with = "insecure")]
    pub token: Option<String>,

    /// Environment variable with the token, which keeps it out of the list of processes
    #[arg(long, value_name = "VARIABLE", conflicts_with_all = ["token", "insecure"])]
    pub token_env: Option<String>,

    /// Serve without a token at an address that other machines can reach
    #[arg(long)]
    pub insecure: bool,

    /// Protocol of clients whose requests do not show it: `zerosearch`
    #[arg(long, value_name = "NAME")]
    pub dialect: Option<Dialect>,

    /// Number of passages for requests that do not give one
    #[arg(long, value_name = "N", default_value_t = RequestLimits::default().default_k)]
    pub topk: usize,

    /// Maximum number of passages for a query
    #[arg(long, value_name = "N", default_value_t = RequestLimits::default().k)]
    pub max_topk: usize,

    /// Maximum number of queries in a request
    #[arg(long, value_name = "N", default_value_t = RequestLimits::default().queries)]
    pub max_queries: usize,

    /// Maximum size of a request in bytes
    #[arg(long, value_name = "N", default_value_t = RequestLimits::default().body_bytes)]
    pub max_body: usize,

    /// Maximum number of queued queries; further ones are answered with 503
    #[arg(long, value_name = "N", default_value_t = ServerOptions::default().queue)]
    pub queue: usize,

    /// Maximum number of queries in a batch
    #[arg(long, value_name = "N", default_value_t = ServerOptions::default().batch)]
    pub batch: usize,

    /// Time in milliseconds that a batch waits for more queries; useful if queries are embedded
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub window: u64,

    /// Maximum time of a request in seconds
    #[arg(long, value_name = "N", default_value_t = ServerOptions::default().deadline.as_secs())]
    pub deadline: u64,

    /// Pages for `/access`: JSON lines with `url` and `contents`
    #[arg(long, value_name = "FILE")]
    pub pages: Option<PathBuf>,
}

/// Runs the command, until a signal.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let token = token(args)?;
    if !args.host.is_loopback() && token.is_none() && !args.insecure {
        let message = format!("everybody who can reach {} could search", args.host);
        return Err(Failure::new(Code::Usage, message)
            .hint("set a `--token`, or say `--insecure` if that is what you want")
            .into());
    }
    let engine = args.engine.open(&args.index)?;
    let pages = args.pages.as_deref().map(PageStore::open).transpose().with_context(|| {
        Failure::new(Code::Input, "the pages cannot be used")
            .hint("a line is {\"url\": …, \"contents\": …}")
    })?;
    let address = SocketAddr::new(args.host, args.port);
    let listener = TcpListener::bind(address).with_context(|| {
        Failure::new(Code::Input, format!("cannot listen at {address}"))
            .hint("choose another `--port`, or 0 for a free one")
    })?;
    let manifest = engine.bm25.manifest();
    let (passages, analyzer) = (manifest.passages, manifest.analyzer.clone());
    let options = ServerOptions {
        dialect: args.dialect,
        token,
        limits: RequestLimits {
            default_k: args.topk,
            k: args.max_topk,
            queries: args.max_queries,
            body_bytes: args.max_body,
            ..RequestLimits::default()
        },
        queue: args.queue,
        batch: args.batch,
        window: Duration::from_millis(args.window),
        deadline: Duration::from_secs(args.deadline),
        method: engine.method.to_owned(),
        facts: facts(passages, &analyzer, &manifest.fingerprint),
        ..ServerOptions::default()
    };
    let server = Server::start(listener, &engine.retriever, pages, options).map_err(explained)?;
    let (stop, stopped) = mpsc::channel();
    ctrlc::set_handler(move || {
        // The receiver is gone: this is the second signal.
        if stop.send(()).is_err() {
            process::exit(Code::Interrupted as i32);
        }
    })
    .context("cannot listen for signals")?;
    eprintln!(
        "serving {passages} passages by {} at http://{}/retrieve",
        engine.method,
        server.address()
    );
    // The sender lives in the handler, as long as the process.
    let _ = stopped.recv();
    drop(stopped);
    eprintln!("stopping after the requests that are being answered; Ctrl-C stops at once");
    server.stop();
    Ok(())
}

fn token(args: &Args) -> anyhow::Result<Option<String>> {
    let Some(variable) = &args.token_env else { return Ok(args.token.clone()) };
    let token = std::env::var(variable).ok().filter(|token| !token.trim().is_empty());
    let token = token.ok_or_else(|| {
        Failure::new(Code::Usage, format!("there is no token in `{variable}`"))
            .hint("set the environment variable that `--token-env` names")
    })?;
    Ok(Some(token.trim().to_owned()))
}

/// Facts for `/health`.
fn facts(passages: u64, analyzer: &str, fingerprint: &str) -> Map<String, Value> {
    [
        ("corpus_size", Value::from(passages)),
        ("analyzer", analyzer.into()),
        ("fingerprint", fingerprint.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}

/// Names options as the command line does.
fn explained(error: ServerError) -> anyhow::Error {
    let ServerError::Option { name, .. } = &error else {
        return anyhow::Error::from(error)
            .context(Failure::new(Code::Input, "the server cannot be started"));
    };
    let option = match *name {
        "limits.default_k" => "topk",
        "limits.k" => "max-topk",
        "limits.queries" => "max-queries",
        "limits.body_bytes" => "max-body",
        other => other,
    };
    let failure = Failure::new(Code::Usage, format!("`--{option}` cannot be used"));
    anyhow::Error::from(error).context(failure)
}
