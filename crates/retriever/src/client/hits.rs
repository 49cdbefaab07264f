//! Hits in the responses of servers.
//!
//! A document has its words in `contents`, or in `title` and `text`, or is nothing but a text. The
//! id of one without an id is a hash of its words, so that the same document has the same id in
//! every response. The score of one without a score is 1 divided by its rank.

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
) -> Result<Vec<Vec<Hit>>, String> {
    let lists = match dialect {
        Dialect::SearchR1 | Dialect::Slime | Dialect::SkyRl => lists(answer, "result")?,
        Dialect::Rllm => vec![list(member(answer, "results")?)?],
        Dialect::ZeroSearch => vec![list(answer)?],
        Dialect::R1Searcher => lists(answer, "answers")?,
        Dialect::FlashRag => return pair(answer, n_queries),
    };
    check_count(lists.len(), n_queries)?;
    lists.into_iter().map(hits).collect()
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
fn pair(answer: &Value, n_queries: usize) -> Result<Vec<Vec<Hit>>, String> {
    let [documents, scores] = list(answer)? else {
        return Err("there are not two lists, of documents and of scores".to_owned());
    };
    let (documents, scores) = (list(documents)?, list(scores)?);
    check_count(documents.len(), n_queries)?;
    check_count(scores.len(), n_queries)?;
    let of_query = |(documents, scores): (&Value, &Value)| {
        let (mut hits, scores) = (hits(list(documents)?)?, list(scores)?);
        if hits.len() != scores.len() {
            return Err(format!("{} documents have {} scores", hits.len(), scores.len()));
        }
        for (hit, score) in hits.iter_mut().zip(scores) {
            hit.score = number(score)?;
        }
        Ok(hits)
    };
    documents.iter().zip(scores).map(of_query).collect()
}

/// Checks that there are as many answers as queries.
pub(super) fn check_count(n_answers: usize, n_queries: usize) -> Result<(), String> {
    if n_answers == n_queries {
        return Ok(());
    }
    Err(format!("{n_queries} queries have {n_answers} answers"))
}

/// Member of a JSON object.
pub(crate) fn member<'a>(value: &'a Value, key: &str) -> Result<&'a Value, String> {
    value.get(key).ok_or_else(|| {
        // Some servers answer 200 with an error in it.
        let error = value.get("error").or_else(|| value.get("detail"));
        let error = error.map_or(String::new(), |it| format!(", but an error: {it}"));
        format!("there is no `{key}`{error}")
    })
}

/// Elements of a JSON array.
pub(crate) fn list(value: &Value) -> Result<&[Value], String> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| "there is no list".to_owned())
}

fn lists<'a>(answer: &'a Value, key: &str) -> Result<Vec<&'a [Value]>, String> {
    list(member(answer, key)?)?.iter().map(list).collect()
}

/// Score. One that is too large for a hit would be infinite, which no file holds.
fn number(value: &Value) -> Result<f32, String> {
    let score = value.as_f64().map(|score| score as f32).filter(|score| score.is_finite());
    score.ok_or_else(|| format!("the score {value} is no number"))
}

fn hits(rows: &[Value]) -> Result<Vec<Hit>, String> {
    rows.iter().enumerate().map(|(idx, row)| hit(row, idx + 1)).collect()
}

/// Hit at a rank, from 1.
pub(super) fn hit(row: &Value, rank: usize) -> Result<Hit, String> {
    let document = row.get("document").unwrap_or(row);
    let text_of = |key: &str| document.get(key).and_then(Value::as_str);
    let contents = document.as_str().or_else(|| text_of("contents")).or_else(|| text_of("content"));
    let (title, text) = match (contents, text_of("title"), text_of("text")) {
        (_, Some(title), Some(text)) => (title, text),
        (Some(contents), title, _) => {
            let (first, text) = split_contents(contents);
            (title.unwrap_or(first), text)
        }
        (None, title, Some(text)) => match title {
            Some(title) => (title, text),
            None => split_contents(text),
        },
        _ => return Err("a document has no `contents` and no `text`".to_owned()),
    };
    let id = ["id", "docid", "url"].iter().find_map(|key| match document.get(key)? {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    });
    let id = id.unwrap_or_else(|| {
        let hash =
            blake3::Hasher::new().update(title.as_bytes()).update(text.as_bytes()).finalize();
        hash.to_hex()[..16].to_owned()
    });
    let score = match row.get("score").or_else(|| document.get("score")) {
        None | Some(Value::Null) => 1.0 / rank as f32,
        Some(score) => number(score)?,
    };
    Ok(Hit { id, title: title.to_owned(), text: text.to_owned(), score })
}
