//! Wire formats of all dialects: from bytes to a [`SearchRequest`], from hits to bytes.
//!
//! The clients of other projects send the queries of all rollouts at once and read nothing but the
//! lists of the answer. So a query that cannot be searched for, because a model wrote it, has an
//! empty list in its place. Where the answer is an object, its member `skipped` says which, and why;
//! [`Remote`](crate::Remote) makes an error of it.

use std::borrow::Cow;

use forage_trajectory::Hit;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error_response::ErrorResponse;
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

/// Body of a request, with the keys of all dialects. Keys that no dialect has are refused, because
/// they would have no effect.
#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"queries\": [\"…\"], \"topk\": 3}"
)]
struct Body {
    queries: Option<Many>,
    query: Option<OneOrMany>,
    topk: Option<Count>,
    top_k: Option<Count>,
    k: Option<Count>,
    top_n: Option<Count>,
    /// Reranking server of Search-R1: number of hits to rerank, and to return.
    topk_retrieval: Option<Count>,
    topk_rerank: Option<Count>,
    return_scores: Option<Flag>,
    return_score: Option<Flag>,
}

/// Number of hits. A whole number may be written with a point, as Python writes a float.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "a number of hits is a whole number such as 3, without quotes")]
enum Count {
    Whole(u64),
    Float(f64),
}

/// Whether something is wanted.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "`return_scores` and `return_score` are true or false")]
enum Flag {
    Is(bool),
}

/// Several queries.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`queries` is a list of texts")]
enum Many {
    Many(Vec<Query>),
}

/// One query, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`query` is a text or a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<Query>),
}

/// Element of a list of queries. What is no text must not cost the others their hits.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Query {
    Text(String),
    Other(serde_json::Value),
}

/// Parses a request. `dialect` is the one that the client or the server names, if either does.
pub(super) fn parse(
    body: &[u8],
    endpoint: Endpoint,
    dialect: Option<Dialect>,
    limits: &RequestLimits,
) -> Result<SearchRequest, ErrorResponse> {
    let body: Body = from_json(body)?;
    let k = requested_k(&body, limits)?;
    let format = response_format(&body, endpoint, dialect);
    let (queries, single) = match (body.queries, body.query) {
        (Some(_), Some(_)) => {
            return Err(ErrorResponse::unprocessable("the request has both `query` and `queries`"));
        }
        (None, None) => (Vec::new(), false),
        (Some(Many::Many(queries)), None) | (None, Some(OneOrMany::Many(queries))) => {
            (queries, false)
        }
        (None, Some(OneOrMany::One(query))) => (vec![Query::Text(query)], true),
    };
    let is_single_only = matches!(format, ResponseFormat::Results | ResponseFormat::Texts);
    if is_single_only && !single && !queries.is_empty() {
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
    let in_place = |(query, element): (usize, Query)| {
        let (text, reason) = checked(element, limits);
        skipped.extend(reason.map(|(kind, reason)| Skipped { query, kind, reason }));
        text
    };
    let queries = queries.into_iter().enumerate().map(in_place).collect();
    let format = match format {
        ResponseFormat::Pair { scores, .. } => ResponseFormat::Pair { scores, single },
        other => other,
    };
    Ok(SearchRequest { queries, skipped, k, format })
}

/// Text of a query, and the reason for which it is not searched for, if there is one.
fn checked(query: Query, limits: &RequestLimits) -> (String, Option<(SkipKind, String)>) {
    let text = match query {
        Query::Text(text) => text,
        Query::Other(value) => {
            let found = match value {
                serde_json::Value::Null => "null",
                serde_json::Value::Bool(_) => "a truth value",
                serde_json::Value::Number(_) => "a number",
                serde_json::Value::Array(_) => "a list",
                _ => "an object",
            };
            let reason = format!("the query is {found} and not a text");
            return (String::new(), Some((SkipKind::NotText, reason)));
        }
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

/// Parses JSON, with or without a byte-order mark; an error says what is wrong with it. Half of a
/// surrogate pair, which a model may have written, is U+FFFD.
pub(super) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ErrorResponse> {
    let text = std::str::from_utf8(body).map_err(|error| {
        ErrorResponse::bad_request(format!("the body is not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(&without_lone_surrogates(text)).map_err(|error| {
        if error.is_data() {
            ErrorResponse::unprocessable(format!("the request is not what it should be: {error}"))
        } else {
            ErrorResponse::bad_request(format!("the body is not JSON: {error}"))
        }
    })
}

/// JSON with `\ufffd` for each `\ud800` to `\udfff` that is not half of a pair.
fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let escape = |at: usize| {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut whole = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = json[at..].find('\\') {
        at += found;
        let length = match (escape(at), escape(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                whole.push_str(&json[copied..at]);
                whole.push_str("\\ufffd");
                copied = at + 6;
                6
            }
            // A backslash and what it escapes, which may be a backslash, or longer than a byte.
            _ => 1 + json[at + 1..].chars().next().map_or(0, char::len_utf8),
        };
        at += length;
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    whole.push_str(&json[copied..]);
    Cow::Owned(whole)
}

/// Whole number of a key.
fn count(name: &str, value: Option<Count>) -> Result<Option<u64>, ErrorResponse> {
    match value {
        None => Ok(None),
        Some(Count::Whole(whole)) => Ok(Some(whole)),
        Some(Count::Float(float)) if float >= 0.0 && float.fract() == 0.0 && float < 1e15 => {
            Ok(Some(float as u64))
        }
        Some(Count::Float(float)) => Err(ErrorResponse::unprocessable(format!(
            "`{name}` is {float}; it must be a whole number, 1 or more"
        ))),
    }
}

/// Requested number of hits, under any of its names.
fn requested_k(body: &Body, limits: &RequestLimits) -> Result<usize, ErrorResponse> {
    // The reference server has its own number for 0, as for null.
    let named = [
        ("topk", count("topk", body.topk)?.filter(|it| *it != 0)),
        ("top_k", count("top_k", body.top_k)?),
        ("k", count("k", body.k)?),
        ("top_n", count("top_n", body.top_n)?),
        ("topk_rerank", count("topk_rerank", body.topk_rerank)?),
    ];
    let mut requested: Option<(&str, u64)> = None;
    for (name, value) in named.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        match requested {
            Some((first, other)) if other != value => {
                let what = format!("`{first}` is {other} and `{name}` is {value}: which of them?");
                return Err(ErrorResponse::unprocessable(what));
            }
            _ => requested = Some((name, value)),
        }
        if value == 0 {
            return Err(ErrorResponse::unprocessable(format!(
                "`{name}` is 0; it must be 1 or more"
            )));
        }
        if value > limits.k as u64 {
            return Err(ErrorResponse::unprocessable(format!(
                "`{name}` is {value}; this server gives at most {}",
                limits.k
            )));
        }
    }
    if count("topk_retrieval", body.topk_retrieval)? == Some(0) {
        return Err(ErrorResponse::unprocessable("`topk_retrieval` is 0; it must be 1 or more"));
    }
    Ok(requested.map_or(limits.default_k, |it| it.1 as usize))
}

/// Response format that a client expects, by its request where the dialect is not named.
///
/// rLLM and `ZeroSearch` send the same and expect different answers: rLLM is meant.
fn response_format(body: &Body, endpoint: Endpoint, dialect: Option<Dialect>) -> ResponseFormat {
    // The only client that leaves it out expects scores; the reference server fails without them.
    let scores = body.return_scores.or(body.return_score).map(|Flag::Is(wanted)| wanted);
    let single = body.query.is_some();
    match (endpoint, dialect) {
        (Endpoint::Queries, _) | (_, Some(Dialect::R1Searcher)) => ResponseFormat::Answers,
        (Endpoint::Search | Endpoint::BatchSearch, _) | (_, Some(Dialect::FlashRag)) => {
            ResponseFormat::Pair { scores: scores.unwrap_or(false), single }
        }
        (_, Some(Dialect::Rllm)) if single => ResponseFormat::Results,
        (_, Some(Dialect::ZeroSearch)) => ResponseFormat::Texts,
        (_, Some(Dialect::Slime)) => ResponseFormat::Result { scores: scores.unwrap_or(false) },
        (Endpoint::Retrieve, None) if single && (body.top_k.is_some() || body.k.is_some()) => {
            ResponseFormat::Results
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_pair_spoils_no_batch() {
        let cases = [
            (r#"["a", "b\u00e9"]"#, r#"["a", "b\u00e9"]"#),
            (r#"["\ud83d\ude00"]"#, r#"["\ud83d\ude00"]"#),
            (r#"["x\ud800", "\udc00y"]"#, r#"["x\ufffd", "\ufffdy"]"#),
            (r#"["\ud800\ud83d\ude00"]"#, r#"["\ufffd\ud83d\ude00"]"#),
            // The backslash is escaped: no surrogate.
            (r#"["\\ud800"]"#, r#"["\\ud800"]"#),
            (r#"["\ud8"#, r#"["\ud8"#),
            ("[\"\\é\"]", "[\"\\é\"]"),
        ];
        for (json, expected) in cases {
            assert_eq!(without_lone_surrogates(json), expected);
        }
        let limits = RequestLimits::default();
        let body =
            "\u{feff}{\"queries\": [\"\\ud800\", \"\", \"\\u0000\", \"?!\", \"a\"], \"topk\": 2.0}";
        let request = parse(body.as_bytes(), Endpoint::Retrieve, None, &limits).unwrap();
        assert_eq!(request.queries, ["\u{fffd}", "", "\0", "?!", "a"]);
        assert_eq!((request.k, request.skipped.len()), (2, 1));
    }
}
