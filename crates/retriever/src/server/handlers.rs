//! HTTP handlers: from a request to its response.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri, header};
use axum::routing::{get, post};
use tokio::sync::oneshot;

use super::error_response::ErrorResponse;
use super::metrics::Metrics;
use super::queue::{Job, Queue};
use super::request_body::{self, ACCESS_EXAMPLE};
use super::{Endpoint, PageStore, ServerOptions, wire};
use crate::Dialect;

/// Multiple of the limit up to which a body that is too large is read to its end, so that the
/// client has sent everything and reads the response instead of a broken connection.
const DRAIN_FACTOR: usize = 16;

/// State that all handlers share.
pub(super) struct App {
    pub(super) options: ServerOptions,
    pub(super) queue: Arc<Queue>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) pages: Option<PageStore>,
}

type Shared = State<Arc<App>>;

/// Routes of the server.
pub(super) fn router(app: App) -> Router {
    let search = |endpoint: Endpoint| {
        post(move |State(app): Shared, request: Request| async move {
            let response = app.search(endpoint, request);
            app.respond_in_time(endpoint.name(), response).await
        })
    };
    Router::new()
        .route("/retrieve", search(Endpoint::Retrieve))
        .route("/search", search(Endpoint::Search))
        .route("/batch_search", search(Endpoint::BatchSearch))
        .route("/queries", search(Endpoint::Queries))
        .route(
            "/access",
            post(|State(app): Shared, request: Request| async move {
                app.respond_in_time("/access", app.access(request)).await
            }),
        )
        .route("/health", get(|State(app): Shared| async move { json(app.health()) }))
        .route(
            "/metrics",
            get(|State(app): Shared, headers: HeaderMap| async move {
                match app.admit(&headers) {
                    Ok(()) => text(app.metrics.text(app.queue.len())),
                    Err(error) => error.into_response(),
                }
            }),
        )
        .method_not_allowed_fallback(async || {
            let what = "searches are posted; only `/health` and `/metrics` are got";
            ErrorResponse::new(StatusCode::METHOD_NOT_ALLOWED, what).into_response()
        })
        .fallback(async |uri: Uri| {
            let what = format!(
                "there is no `{}`; there are `/retrieve`, `/search`, `/batch_search`, `/queries`, \
                 `/access`, `/health` and `/metrics`",
                uri.path()
            );
            ErrorResponse::new(StatusCode::NOT_FOUND, what).into_response()
        })
        .with_state(Arc::new(app))
}

impl App {
    /// Response of a handler, or 504 after the deadline; it is counted.
    async fn respond_in_time(
        &self,
        path: &'static str,
        answer: impl Future<Output = Result<Vec<u8>, ErrorResponse>>,
    ) -> Response<Body> {
        let started = Instant::now();
        let deadline = self.options.deadline;
        let answer = tokio::time::timeout(deadline, answer).await.unwrap_or_else(|_| {
            let what = format!("there was no answer within {} s", deadline.as_secs_f64());
            Err(ErrorResponse::new(StatusCode::GATEWAY_TIMEOUT, what))
        });
        let response = answer.map_or_else(ErrorResponse::into_response, json);
        self.metrics.request(path, response.status().as_u16(), started.elapsed());
        response
    }

    /// Searches for the queries of a request.
    async fn search(&self, endpoint: Endpoint, request: Request) -> Result<Vec<u8>, ErrorResponse> {
        let deadline = Instant::now() + self.options.deadline;
        let (parts, body) = request.into_parts();
        self.admit(&parts.headers)?;
        let dialect = dialect_of(&parts.uri)?.or(self.options.dialect);
        let body = read(body, self.options.limits.body_bytes).await?;
        let request = wire::parse(&body, endpoint, dialect, &self.options.limits)?;
        drop(body);
        self.metrics.skipped(&request.skipped);
        let queries = request.searched();
        if queries.is_empty() {
            return Ok(request.answer(&request.in_place(Vec::new()), &self.options.method));
        }
        let (answer, found) = oneshot::channel();
        let job = Job { queries, k: request.k, deadline, answer };
        self.queue.push(job).map_err(|_| {
            let what = "too many queries are waiting; ask again in a second";
            ErrorResponse::busy(what, Duration::from_secs(1))
        })?;
        let failed = |why: String| ErrorResponse::new(StatusCode::INTERNAL_SERVER_ERROR, why);
        let found = found.await.map_err(|_| failed("the server is stopping".to_owned()))?;
        let found = request.in_place(found.map_err(failed)?);
        Ok(request.answer(&found, &self.options.method))
    }

    /// Whole pages by address.
    async fn access(&self, request: Request) -> Result<Vec<u8>, ErrorResponse> {
        let (parts, body) = request.into_parts();
        self.admit(&parts.headers)?;
        let body = read(body, self.options.limits.body_bytes).await?;
        let urls = request_body::urls(&body).map_err(|error| error.with_example(ACCESS_EXAMPLE))?;
        let Some(pages) = &self.pages else {
            let what = "this server has no pages; `forage serve --pages FILE` gives it some";
            return Err(ErrorResponse::new(StatusCode::NOT_FOUND, what));
        };
        if urls.len() > self.options.limits.queries {
            let most = self.options.limits.queries;
            let what = format!("the request has {} urls; this server takes {most}", urls.len());
            return Err(ErrorResponse::unprocessable(what));
        }
        // What is no text is the address of no page.
        let page =
            |url: &serde_json::Value| match url.as_str().map_or(Ok(None), |it| pages.page(it)) {
                Ok(Some(contents)) => Ok(serde_json::json!({ "contents": contents })),
                Ok(None) => Ok(serde_json::Value::Null),
                Err(error) => {
                    let what = format!("the pages cannot be read: {error}");
                    Err(ErrorResponse::new(StatusCode::INTERNAL_SERVER_ERROR, what))
                }
            };
        let result = urls.iter().map(page).collect::<Result<Vec<_>, ErrorResponse>>()?;
        Ok(serde_json::json!({ "result": result }).to_string().into_bytes())
    }

    /// Body of `/health`.
    fn health(&self) -> Vec<u8> {
        let mut health = serde_json::Map::new();
        health.insert("status".to_owned(), "healthy".into());
        health.insert("retrieval_method".to_owned(), self.options.method.clone().into());
        health.extend(self.options.facts.clone());
        serde_json::Value::Object(health).to_string().into_bytes()
    }

    /// Authorization: checks the token of a request.
    fn admit(&self, headers: &HeaderMap) -> Result<(), ErrorResponse> {
        let Some(token) = &self.options.token else { return Ok(()) };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|it| it.strip_prefix("Bearer ")).unwrap_or_default();
        // Hashes are compared, which takes the same time whatever they share.
        if blake3::hash(given.trim().as_bytes()) == blake3::hash(token.as_bytes()) {
            return Ok(());
        }
        let what = "this server wants `Authorization: Bearer` and its token";
        Err(ErrorResponse::new(StatusCode::UNAUTHORIZED, what))
    }
}

/// Dialect that the address names, for clients whose address can be chosen.
fn dialect_of(uri: &Uri) -> Result<Option<Dialect>, ErrorResponse> {
    let mut pairs = uri.query().unwrap_or_default().split('&').filter(|it| !it.is_empty());
    match pairs.next().map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        None => Ok(None),
        Some(("dialect", name)) if pairs.next().is_none() => name
            .parse()
            .map(Some)
            .map_err(|error: crate::UnknownDialect| ErrorResponse::bad_request(error.to_string())),
        Some(_) => {
            let what = "the address may have `?dialect=` after its path and nothing else";
            Err(ErrorResponse::bad_request(what))
        }
    }
}

/// Reads a body of at most `limit` bytes.
async fn read(mut body: Body, limit: usize) -> Result<Vec<u8>, ErrorResponse> {
    let mut bytes = Vec::new();
    let mut n = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| {
            ErrorResponse::bad_request(format!("the request broke off: {error}"))
        })?;
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        n += data.len();
        if n <= limit {
            bytes.extend_from_slice(&data);
        } else if n > limit.saturating_mul(DRAIN_FACTOR) {
            break;
        }
    }
    if n > limit {
        let what = format!("the body has more than {limit} bytes, the most this server takes");
        return Err(ErrorResponse::new(StatusCode::PAYLOAD_TOO_LARGE, what));
    }
    Ok(bytes)
}

fn json(body: Vec<u8>) -> Response<Body> {
    respond("application/json", body)
}

fn text(body: String) -> Response<Body> {
    respond("text/plain; version=0.0.4; charset=utf-8", body.into_bytes())
}

fn respond(kind: &'static str, body: Vec<u8>) -> Response<Body> {
    let response = Response::builder().header(header::CONTENT_TYPE, kind);
    response.body(Body::from(body)).expect("the header is valid")
}
