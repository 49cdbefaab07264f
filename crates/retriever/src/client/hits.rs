//! Hits in the responses of servers.
//!
//! A document has its words in `contents`, or in `title` and `text`, or is nothing but a text. The
//! id of one without an id is a hash of its words, so that the same document has the same id in
//! every response. The score of one without a score is 1 divided by its rank; a score that is there
//! is a number, since another one would be a guess.

use forage_http::{ShapeFault, elements, list, member, number};
use forage_records::describe;
use forage_trajectory::Hit;
use serde_json::Value;

use super::error::ClientError;
use crate::Dialect;
use crate::contents::split_contents;

/// Hits of every query of a request, or what is wrong with the response.
pub(super) fn read(
    answer: &Value,
    dialect: Dialect,
    n_queries: usize,
) -> Result<Vec<Vec<Hit>>, ShapeFault> {
    let found = of_dialect(answer, dialect, n_queries)?;
    refuse_error(answer)?;
    Ok(found)
}

fn of_dialect(
    answer: &Value,
    dialect: Dialect,
    n_queries: usize,
) -> Result<Vec<Vec<Hit>>, ShapeFault> {
    match dialect {
        Dialect::SearchR1 | Dialect::Slime | Dialect::SkyRl => {
            of_member(answer, "result", |it| lists(it, n_queries))
        }
        Dialect::R1Searcher => of_member(answer, "answers", |it| lists(it, n_queries)),
        Dialect::Rllm => of_member(answer, "results", hits).map(|hits| vec![hits]),
        Dialect::ZeroSearch => Ok(vec![hits(answer)?]),
        Dialect::FlashRag => pair(answer, n_queries),
    }
}

/// Refuses an answer that has an error beside its results: what is there then is not what was found.
pub(crate) fn refuse_error(answer: &Value) -> Result<(), ShapeFault> {
    let of = |value: &Value| match value.get("error") {
        None | Some(Value::Null | Value::Bool(false)) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(error) => Some(error.to_string()),
    };
    match of(answer).or_else(|| of(answer.get("status")?)) {
        Some(error) => Err(ShapeFault::new(format!("has an error: {error}"))),
        None => Ok(()),
    }
}

/// Hits of each query, or the reason for which the server did not search for it: our own says so in
/// `skipped`, beside an empty list. What another server has there says nothing here.
pub(super) fn without_skipped(
    answer: &Value,
    found: Vec<Vec<Hit>>,
) -> Vec<Result<Vec<Hit>, ClientError>> {
    let mut found: Vec<_> = found.into_iter().map(Ok).collect();
    let skipped = answer.get("skipped").and_then(Value::as_array);
    for entry in skipped.into_iter().flatten() {
        let place = entry.get("query").and_then(Value::as_u64);
        let reason = entry.get("reason").and_then(Value::as_str);
        if let (Some(place), Some(reason)) = (place, reason)
            && let Some(hits) = found.get_mut(place as usize)
        {
            *hits = Err(ClientError::Skipped { reason: reason.to_owned() });
        }
    }
    found
}

/// Hits of documents and scores in two lists.
fn pair(answer: &Value, n_queries: usize) -> Result<Vec<Vec<Hit>>, ShapeFault> {
    let [documents, scores] = list(answer)? else {
        return Err(ShapeFault::wanted(answer, "a list of two, documents and scores,"));
    };
    let mut found = lists(documents, n_queries).map_err(|fault| fault.at(0))?;
    let of_query = |scores: &Value| elements(scores, score);
    let scores = checked_count(scores, n_queries).and_then(|()| elements(scores, of_query));
    let scores = scores.map_err(|fault| fault.at(1))?;
    for (idx, (hits, scores)) in found.iter_mut().zip(scores).enumerate() {
        if hits.len() != scores.len() {
            let what = format!("has {} scores for {} documents", scores.len(), hits.len());
            return Err(ShapeFault::new(what).at(idx).at(1));
        }
        for (hit, score) in hits.iter_mut().zip(scores) {
            hit.score = score;
        }
    }
    Ok(found)
}

/// Hits of several queries, one list for each.
fn lists(value: &Value, n_queries: usize) -> Result<Vec<Vec<Hit>>, ShapeFault> {
    checked_count(value, n_queries)?;
    elements(value, hits)
}

/// Hits of one query.
fn hits(rows: &Value) -> Result<Vec<Hit>, ShapeFault> {
    let mut rank = 0;
    elements(rows, |row| {
        rank += 1;
        hit(row, rank)
    })
}

/// Checks that a list has an element for each query.
pub(super) fn checked_count(value: &Value, n_queries: usize) -> Result<(), ShapeFault> {
    let n = list(value)?.len();
    if n == n_queries {
        return Ok(());
    }
    let sent = match n_queries {
        1 => "1 query was".to_owned(),
        n => format!("{n} queries were"),
    };
    Err(ShapeFault::new(format!("is a list of {n}, and {sent} sent")))
}

/// Reads the member of an object.
pub(crate) fn of_member<'a, T>(
    value: &'a Value,
    key: &str,
    read: impl FnOnce(&'a Value) -> Result<T, ShapeFault>,
) -> Result<T, ShapeFault> {
    read(member(value, key)?).map_err(|fault| fault.under(key))
}

/// Score. One that is too large for a hit would be infinite, which no file holds.
pub(super) fn score(value: &Value) -> Result<f32, ShapeFault> {
    let score = number(value)? as f32;
    if score.is_finite() {
        return Ok(score);
    }
    Err(ShapeFault::wanted(value, "a number that fits 32 bits"))
}

/// Hit at a rank, from 1.
fn hit(row: &Value, rank: usize) -> Result<Hit, ShapeFault> {
    let wrapped = row.get("document");
    let document = wrapped.unwrap_or(row);
    let scored = row.get("score").or_else(|| document.get("score"));
    let score = scored.map_or(Ok(1.0 / rank as f32), |value| {
        score(value).map_err(|fault| match row.get("score") {
            Some(_) => fault.under("score"),
            None => fault.under("score").under("document"),
        })
    })?;
    let hit = hit_of(document, None, score);
    hit.map_err(|fault| if wrapped.is_some() { fault.under("document") } else { fault })
}

/// Hit of a document. Its id is its member `id`, or else the one given, or else a hash.
pub(super) fn hit_of(
    document: &Value,
    other_id: Option<&Value>,
    score: f32,
) -> Result<Hit, ShapeFault> {
    let (title, text) = words(document)?;
    let of = |key| (key, document.get(key));
    let mut id = None;
    for (key, value) in [of("id"), ("id", other_id), of("docid"), of("url")] {
        if let (Some(value), None) = (value, &id) {
            id = id_of(value, key)?;
        }
    }
    let id = id.unwrap_or_else(|| {
        let hash =
            blake3::Hasher::new().update(title.as_bytes()).update(text.as_bytes()).finalize();
        hash.to_hex()[..16].to_owned()
    });
    Ok(Hit { id, title: title.to_owned(), text: text.to_owned(), score })
}

/// Identifier: a text, or a whole number as it was written. One that went through floating point may
/// be that of another document; what is neither is none.
fn id_of(value: &Value, key: &str) -> Result<Option<String>, ShapeFault> {
    match value {
        Value::String(id) => Ok(Some(id.clone())),
        Value::Number(id) if id.is_f64() => {
            Err(ShapeFault::wanted(value, "a text or a whole number").under(key))
        }
        Value::Number(id) => Ok(Some(id.to_string())),
        _ => Ok(None),
    }
}

/// Title and text of a document.
fn words(document: &Value) -> Result<(&str, &str), ShapeFault> {
    let text_of = |key: &str| document.get(key).and_then(Value::as_str);
    let contents = document.as_str().or_else(|| text_of("contents")).or_else(|| text_of("content"));
    match (contents, text_of("title"), text_of("text")) {
        (_, Some(title), Some(text)) => Ok((title, text)),
        (Some(contents), title, _) => {
            let (first, text) = split_contents(contents);
            Ok((title.unwrap_or(first), text))
        }
        (None, None, Some(text)) => Ok(split_contents(text)),
        (None, _, None) => Err(no_words(document)),
    }
}

/// Fault of a document without words.
fn no_words(document: &Value) -> ShapeFault {
    if !document.is_object() {
        return ShapeFault::wanted(document, "a document");
    }
    let present = ["contents", "content", "text"].iter().find_map(|key| {
        document.get(key).map(|value| ShapeFault::wanted(value, "a text").under(key))
    });
    present.unwrap_or_else(|| {
        let found = describe(document);
        ShapeFault::new(format!("is {found} where a document with `contents` or `text` is wanted"))
    })
}
