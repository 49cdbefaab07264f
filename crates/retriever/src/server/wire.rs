//! Wire formats of all dialects: from bytes to a [`SearchRequest`], from hits to bytes.
//!
//! The clients of other projects send the queries of all rollouts at once and read nothing but the
//! lists of the answer. So a query that cannot be searched for, because a model wrote it, has an
//! empty list in its place. Where the answer is an object, its member `skipped` says which, and why;
//! [`Remote`](crate::Remote) makes an error of it.

use forage_trajectory::Hit;
use serde::Serialize;
use serde_json::Value;

use super::error_response::ErrorResponse;
use super::request_body::{self, Body};
use super::{Endpoint, RequestLimits};
use crate::Dialect;
use crate::contents::contents;

/// Parsed request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SearchRequest {
    /// Queries in order. Those of [`skipped`](Self::skipped) are not searched for: an empty list
    /// stands in the place of their hits.
    pub(super) queries: Vec<String>,
    /// Queries that are not searched for, in order.
    pub(super) skipped: Vec<Skipped>,
    pub(super) k: usize,
    format: ResponseFormat,
}

/// Query that is not searched for, so that the others of its request have their hits.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Skipped {
    /// Place among the queries, from 0.
    pub(super) query: usize,
    #[serde(skip)]
    pub(super) kind: SkipKind,
    /// Reason, in words.
    reason: String,
}

/// Kind of reason for which a query is not searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SkipKind {
    Empty,
    TooLong,
    NotText,
}

/// Response format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResponseFormat {
    /// `{"result": [[…]]}`, with `document` and `score` around each row or not.
    Result { scores: bool },
    /// rLLM: one query, a flat list.
    Results,
    /// `ZeroSearch`: one query, texts.
    Texts,
    /// `FlashRAG`: documents, or documents and scores; for one query or for several.
    Pair { scores: bool, single: bool },
    /// R1-Searcher: texts by query.
    Answers,
}

/// Parses a request. `dialect` is the one that the client or the server names, if either does.
pub(super) fn parse(
    body: &[u8],
    endpoint: Endpoint,
    dialect: Option<Dialect>,
    limits: &RequestLimits,
) -> Result<SearchRequest, ErrorResponse> {
    let example = request_body::example(endpoint, dialect);
    let body = Body::parse(body, limits).map_err(|error| error.with_example(example))?;
    request(body, endpoint, dialect, limits).map_err(|error| error.with_example(example))
}

/// Request of a body.
fn request(
    body: Body,
    endpoint: Endpoint,
    dialect: Option<Dialect>,
    limits: &RequestLimits,
) -> Result<SearchRequest, ErrorResponse> {
    let format = response_format(&body, endpoint, dialect);
    let Body { queries, is_single, k, .. } = body;
    let is_single_only = matches!(format, ResponseFormat::Results | ResponseFormat::Texts);
    if is_single_only && !is_single && !queries.is_empty() {
        let what = "this dialect asks one `query` at a time and not several `queries`";
        return Err(ErrorResponse::unprocessable(what));
    }
    if queries.len() > limits.queries {
        return Err(ErrorResponse::unprocessable(format!(
            "the request has {} queries; this server takes at most {}",
            queries.len(),
            limits.queries
        )));
    }
    let mut skipped = Vec::new();
    let in_place = |(query, element): (usize, Value)| {
        let (text, reason) = checked(element, limits);
        skipped.extend(reason.map(|(kind, reason)| Skipped { query, kind, reason }));
        text
    };
    let queries = queries.into_iter().enumerate().map(in_place).collect();
    let format = match format {
        ResponseFormat::Pair { scores, .. } => ResponseFormat::Pair { scores, single: is_single },
        other => other,
    };
    Ok(SearchRequest { queries, skipped, k: k.unwrap_or(limits.default_k), format })
}

/// Text of a query, and the reason for which it is not searched for, if there is one. What is no
/// text must not cost the others their hits.
fn checked(query: Value, limits: &RequestLimits) -> (String, Option<(SkipKind, String)>) {
    let Value::String(text) = query else {
        let found = match query {
            Value::Null => "null",
            Value::Bool(_) => "a truth value",
            Value::Number(_) => "a number",
            Value::Array(_) => "a list",
            _ => "an object",
        };
        let reason = format!("the query is {found} and not a text");
        return (String::new(), Some((SkipKind::NotText, reason)));
    };
    let (n_bytes, most) = (text.len(), limits.query_bytes);
    let reason = if text.trim().is_empty() {
        Some((SkipKind::Empty, "the query is empty".to_owned()))
    } else if n_bytes > most {
        let reason = format!("the query has {n_bytes} bytes; this server takes at most {most}");
        Some((SkipKind::TooLong, reason))
    } else {
        None
    };
    (text, reason)
}

/// Response format that a client expects, by its request where the dialect is not named.
///
/// rLLM and `ZeroSearch` send the same and expect different answers: rLLM is meant.
fn response_format(body: &Body, endpoint: Endpoint, dialect: Option<Dialect>) -> ResponseFormat {
    // The only client that leaves it out expects scores; the reference server fails without them.
    let (scores, single) = (body.scores, body.is_single);
    match (endpoint, dialect) {
        (Endpoint::Queries, _) | (_, Some(Dialect::R1Searcher)) => ResponseFormat::Answers,
        (Endpoint::Search | Endpoint::BatchSearch, _) | (_, Some(Dialect::FlashRag)) => {
            ResponseFormat::Pair { scores: scores.unwrap_or(false), single }
        }
        (_, Some(Dialect::Rllm)) if single => ResponseFormat::Results,
        (_, Some(Dialect::ZeroSearch)) => ResponseFormat::Texts,
        (_, Some(Dialect::Slime)) => ResponseFormat::Result { scores: scores.unwrap_or(false) },
        (Endpoint::Retrieve, None) if single && body.names_k_as_rllm => ResponseFormat::Results,
        (Endpoint::Retrieve, _) => ResponseFormat::Result { scores: scores.unwrap_or(true) },
    }
}

/// Passage as in the corpora of Search-R1, with title and text beside `contents`.
#[derive(Serialize)]
struct Document<'a> {
    id: &'a str,
    contents: &'a str,
    title: &'a str,
    text: &'a str,
    /// Address of the passage, with which `ASearcher` asks `/access` for the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
}

/// Passage with its score.
#[derive(Serialize)]
struct Scored<'a> {
    document: Document<'a>,
    score: f32,
}

/// Passage in the format of rLLM.
#[derive(Serialize)]
struct Rllm<'a> {
    id: &'a str,
    content: &'a str,
    score: f32,
    /// Passage for later versions of rLLM.
    document: Document<'a>,
}

/// Hit with its `contents`, from which all formats are written.
struct Row<'a> {
    hit: &'a Hit,
    contents: String,
}

impl<'a> Row<'a> {
    fn new(hit: &'a Hit) -> Self {
        Self { hit, contents: contents(&hit.title, &hit.text) }
    }

    fn document(&self) -> Document<'_> {
        let Hit { id, title, text, .. } = self.hit;
        let is_address = id.starts_with("http://") || id.starts_with("https://");
        let url = is_address.then_some(id.as_str());
        Document { id, contents: &self.contents, title, text, url }
    }

    fn scored(&self) -> Scored<'_> {
        Scored { document: self.document(), score: self.hit.score }
    }

    fn rllm(&self) -> Rllm<'_> {
        let Hit { id, score, .. } = self.hit;
        Rllm { id, content: &self.contents, score: *score, document: self.document() }
    }
}

impl SearchRequest {
    /// Queries that are searched for, in order.
    pub(super) fn searched(&self) -> Vec<String> {
        let mut skipped = self.skipped.iter().map(|it| it.query).peekable();
        let is_searched = |&(idx, _): &(usize, &String)| skipped.next_if_eq(&idx).is_none();
        self.queries
            .iter()
            .enumerate()
            .filter(is_searched)
            .map(|(_, query)| query.clone())
            .collect()
    }

    /// Hits of all queries, out of those of the searched ones.
    pub(super) fn in_place(&self, found: Vec<Vec<Hit>>) -> Vec<Vec<Hit>> {
        let mut skipped = self.skipped.iter().map(|it| it.query).peekable();
        let mut found = found.into_iter();
        let hits = |idx: usize| match skipped.next_if_eq(&idx) {
            Some(_) => Vec::new(),
            None => found.next().unwrap_or_default(),
        };
        (0..self.queries.len()).map(hits).collect()
    }

    /// Body of the response in the format that the client expects. `method` is the name of the
    /// retrieval method.
    pub(super) fn answer(&self, found: &[Vec<Hit>], method: &str) -> Vec<u8> {
        let rows: Vec<Vec<Row<'_>>> =
            found.iter().map(|hits| hits.iter().map(Row::new).collect()).collect();
        match self.format {
            ResponseFormat::Result { scores: true } => {
                let (result, skipped) = (each(&rows, Row::scored), &self.skipped[..]);
                bytes(&ResultAnswer { result, skipped })
            }
            ResponseFormat::Result { scores: false } => {
                let (result, skipped) = (each(&rows, Row::document), &self.skipped[..]);
                bytes(&ResultAnswer { result, skipped })
            }
            ResponseFormat::Results => {
                let results = each(&rows, Row::rllm).pop().unwrap_or_default();
                let num_results = results.len();
                let query = self.queries.first().map_or("", String::as_str);
                let skipped = &self.skipped[..];
                bytes(&RllmAnswer { query, method, results, num_results, skipped })
            }
            ResponseFormat::Texts => {
                bytes(&each(&rows, |row| Text { text: &row.contents }).pop().unwrap_or_default())
            }
            ResponseFormat::Pair { scores: with_scores, single } => {
                let mut documents = each(&rows, Row::document);
                let mut scores = each(&rows, |row| row.hit.score);
                match (single.then(|| documents.pop()).flatten(), with_scores) {
                    (Some(documents), true) => {
                        bytes(&(documents, scores.pop().unwrap_or_default()))
                    }
                    (Some(documents), false) => bytes(&documents),
                    (None, true) => bytes(&(documents, scores)),
                    (None, false) => bytes(&documents),
                }
            }
            ResponseFormat::Answers => {
                let answers = each(&rows, |row| row.contents.as_str());
                bytes(&TextsByQuery { queries: &self.queries, answers, skipped: &self.skipped })
            }
        }
    }
}

#[derive(Serialize)]
struct ResultAnswer<'a, T> {
    result: Vec<Vec<T>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skipped: &'a [Skipped],
}

#[derive(Serialize)]
struct RllmAnswer<'a> {
    query: &'a str,
    method: &'a str,
    results: Vec<Rllm<'a>>,
    num_results: usize,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skipped: &'a [Skipped],
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct TextsByQuery<'a> {
    queries: &'a [String],
    answers: Vec<Vec<&'a str>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skipped: &'a [Skipped],
}

fn each<'a, T>(rows: &'a [Vec<Row<'a>>], of: impl Fn(&'a Row<'a>) -> T) -> Vec<Vec<T>> {
    rows.iter().map(|rows| rows.iter().map(&of).collect()).collect()
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers are JSON")
}
