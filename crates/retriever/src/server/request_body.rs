//! Bodies of requests: the keys of all dialects, out of JSON, with faults in words of the protocol.
//!
//! Keys that no dialect has are refused, because they would have no effect.

use forage_http::Document;
use forage_records::describe;
use serde_json::{Map, Value};

use super::error_response::ErrorResponse;
use super::{Endpoint, RequestLimits};
use crate::Dialect;

/// Keys of a request, in any dialect.
const KEYS: [&str; 10] = [
    "queries",
    "query",
    "topk",
    "top_k",
    "k",
    "top_n",
    "topk_retrieval",
    "topk_rerank",
    "return_scores",
    "return_score",
];
/// Keys with the number of hits that are returned.
const K_KEYS: [&str; 5] = ["topk", "top_k", "k", "top_n", "topk_rerank"];

/// Body of a search.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// Elements of `queries` or `query`, whatever they are.
    pub(super) queries: Vec<Value>,
    /// Whether `query` is one text.
    pub(super) is_single: bool,
    /// Number of hits, under any of its names.
    pub(super) k: Option<usize>,
    /// Whether the number of hits is called as rLLM calls it: `top_k`, or later `k`.
    pub(super) names_k_as_rllm: bool,
    /// Whether scores are wanted.
    pub(super) scores: Option<bool>,
}

impl Body {
    /// Parses a body.
    pub(super) fn parse(bytes: &[u8], limits: &RequestLimits) -> Result<Self, ErrorResponse> {
        let mut fields = object(bytes, &KEYS)?;
        let k = requested_k(&fields, limits)?;
        let scores = match (truth(&fields, "return_scores")?, truth(&fields, "return_score")?) {
            (Some(first), Some(second)) if first != second => {
                let what = format!(
                    "`return_scores` is {first} and `return_score` is {second}: which of them?"
                );
                return Err(ErrorResponse::unprocessable(what));
            }
            (first, second) => first.or(second),
        };
        let names_k_as_rllm = given(&fields, "top_k").or_else(|| given(&fields, "k")).is_some();
        let (query, queries) = (fields.remove("query"), fields.remove("queries"));
        let given = |value: Option<Value>| value.filter(|value| !value.is_null());
        let (queries, is_single) = match (given(query), given(queries)) {
            (Some(_), Some(_)) => {
                let what = "the request has both `query` and `queries`";
                return Err(ErrorResponse::unprocessable(what));
            }
            (None, None) => (Vec::new(), false),
            (Some(query @ Value::String(_)), None) => (vec![query], true),
            (Some(Value::Array(queries)), None) | (None, Some(Value::Array(queries))) => {
                (queries, false)
            }
            (Some(other), None) => {
                return Err(wanted("query", &other, "a text or a list of texts"));
            }
            (None, Some(other)) => return Err(wanted("queries", &other, "a list of texts")),
        };
        Ok(Self { queries, is_single, k, names_k_as_rllm, scores })
    }
}

/// Example of a request, in the dialect that an address or the server names.
pub(super) fn example(endpoint: Endpoint, dialect: Option<Dialect>) -> &'static str {
    match (endpoint, dialect) {
        (Endpoint::Search, _) => {
            r#"{"query": "who wrote Hamlet?", "top_n": 3, "return_score": true}"#
        }
        (Endpoint::BatchSearch, _) | (_, Some(Dialect::FlashRag)) => {
            r#"{"query": ["who wrote Hamlet?"], "top_n": 3, "return_score": true}"#
        }
        (Endpoint::Queries, _) | (_, Some(Dialect::R1Searcher)) => {
            r#"{"queries": ["who wrote Hamlet?"], "k": 3}"#
        }
        (_, Some(Dialect::Rllm | Dialect::ZeroSearch)) => {
            r#"{"query": "who wrote Hamlet?", "top_k": 3}"#
        }
        (_, Some(Dialect::SkyRl)) => {
            r#"{"query": "who wrote Hamlet?", "topk": 3, "return_scores": true}"#
        }
        (Endpoint::Retrieve, _) => {
            r#"{"queries": ["who wrote Hamlet?"], "topk": 3, "return_scores": true}"#
        }
    }
}

/// Example of a request for pages.
pub(super) const ACCESS_EXAMPLE: &str = r#"{"urls": ["https://example.org/page"]}"#;

/// Addresses of a request for pages: a list, whatever its elements are.
pub(super) fn urls(bytes: &[u8]) -> Result<Vec<Value>, ErrorResponse> {
    match object(bytes, &["urls"])?.remove("urls") {
        Some(Value::Array(urls)) => Ok(urls),
        Some(other) => Err(wanted("urls", &other, "a list of texts")),
        None => Err(ErrorResponse::unprocessable("the request has no `urls`")),
    }
}

/// The object of a body, whose keys are all known.
fn object(bytes: &[u8], keys: &[&str]) -> Result<Map<String, Value>, ErrorResponse> {
    let document = Document::parse_strict(bytes).map_err(|what| {
        ErrorResponse::bad_request(format!("the body is not JSON of a request: {what}"))
    })?;
    if let Some(written) = document.first_not_finite() {
        let what = format!("the body has `{written}`, which JSON does not have");
        return Err(ErrorResponse::bad_request(what));
    }
    let fields = match document.value {
        Value::Object(fields) => fields,
        other => {
            let what = format!("the body is {}, and a request is an object", describe(&other));
            return Err(ErrorResponse::unprocessable(what));
        }
    };
    match fields.keys().find(|key| !keys.contains(&key.as_str())) {
        None => Ok(fields),
        Some(unknown) => {
            let unknown: String = unknown.chars().take(40).collect();
            let known: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
            let what =
                format!("`{unknown}` is no key of a request; there are {}", known.join(", "));
            Err(ErrorResponse::unprocessable(what))
        }
    }
}

/// Value of a key; null is as good as none.
fn given<'a>(fields: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    fields.get(key).filter(|value| !value.is_null())
}

fn truth(fields: &Map<String, Value>, key: &str) -> Result<Option<bool>, ErrorResponse> {
    match given(fields, key) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(other) => Err(wanted(key, other, "true or false")),
    }
}

/// Requested number of hits, under any of its names.
fn requested_k(
    fields: &Map<String, Value>,
    limits: &RequestLimits,
) -> Result<Option<usize>, ErrorResponse> {
    let mut requested: Option<(&str, usize)> = None;
    for key in K_KEYS {
        let Some(value) = given(fields, key) else { continue };
        // The reference server has its own number for a `topk` of 0, as for null.
        if key == "topk" && whole(value) == Some(0) {
            continue;
        }
        let n = count(key, value, limits)?;
        match requested {
            Some((first, other)) if other != n => {
                let what = format!("`{first}` is {other} and `{key}` is {n}: which of them?");
                return Err(ErrorResponse::unprocessable(what));
            }
            _ => requested = Some((key, n)),
        }
    }
    if let Some(value) = given(fields, "topk_retrieval")
        && whole(value).is_none_or(|n| n == 0)
    {
        return Err(wanted("topk_retrieval", value, "a whole number from 1 on"));
    }
    Ok(requested.map(|(_, n)| n))
}

/// Whole number, which may be written with a point, as Python writes a float.
fn whole(value: &Value) -> Option<u64> {
    let float = || value.as_f64().filter(|it| *it >= 0.0 && it.fract() == 0.0 && *it < 1e15);
    value.as_u64().or_else(|| float().map(|it| it as u64))
}

/// Number of hits that this server gives.
fn count(key: &str, value: &Value, limits: &RequestLimits) -> Result<usize, ErrorResponse> {
    let n = whole(value).filter(|n| (1..=limits.k as u64).contains(n));
    let range = || format!("a whole number from 1 to {}, the most of this server,", limits.k);
    n.map(|n| n as usize).ok_or_else(|| wanted(key, value, &range()))
}

/// Error for a value that is something else than is wanted.
fn wanted(key: &str, found: &Value, wanted: &str) -> ErrorResponse {
    let found = describe(found);
    ErrorResponse::unprocessable(format!("`{key}` is {found} where {wanted} is wanted"))
}
