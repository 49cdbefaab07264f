//! What a request asks for, and what the answer looks like: bytes to [`Asked`], hits to bytes.

use forage_trajectory::Hit;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use super::{Limits, Path};
use crate::Dialect;
use crate::contents::contents;

/// A request that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) queries: Vec<String>,
    pub(super) k: usize,
    shape: Shape,
}

/// How hits are put into an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
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

/// Every key of every dialect. What no dialect has is refused, so that nobody wonders why it has
/// no effect.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    queries: Option<Vec<String>>,
    query: Option<OneOrMany>,
    topk: Option<u64>,
    top_k: Option<u64>,
    k: Option<u64>,
    top_n: Option<u64>,
    /// Of Search-R1's reranking server: how many to rank again, and how many to return.
    topk_retrieval: Option<u64>,
    topk_rerank: Option<u64>,
    return_scores: Option<bool>,
    return_score: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`query` is a text or a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Reads a request. `dialect` is the one that the caller or the server names, if either does.
pub(super) fn parse(
    body: &[u8],
    path: Path,
    dialect: Option<Dialect>,
    limits: &Limits,
) -> Result<Asked, Refusal> {
    let body: Body = from_json(body)?;
    let k = wanted(&body, limits)?;
    let shape = shape(&body, path, dialect);
    let (queries, single) = match (body.queries, body.query) {
        (Some(_), Some(_)) => {
            return Err(Refusal::unprocessable("the request has both `query` and `queries`"));
        }
        (None, None) => {
            return Err(Refusal::unprocessable("the request has neither `query` nor `queries`"));
        }
        (Some(queries), None) | (None, Some(OneOrMany::Many(queries))) => (queries, false),
        (None, Some(OneOrMany::One(query))) => (vec![query], true),
    };
    if matches!(shape, Shape::Results | Shape::Texts) && !single {
        let what = "this dialect asks one `query` at a time and not several `queries`";
        return Err(Refusal::unprocessable(what));
    }
    if queries.len() > limits.queries {
        return Err(Refusal::unprocessable(format!(
            "the request has {} queries; this server takes at most {}",
            queries.len(),
            limits.queries
        )));
    }
    for (idx, query) in queries.iter().enumerate() {
        if query.trim().is_empty() {
            return Err(Refusal::unprocessable(format!("query {} is empty", idx + 1)));
        }
        if query.len() > limits.query_bytes {
            return Err(Refusal::unprocessable(format!(
                "query {} has {} bytes; this server takes at most {}",
                idx + 1,
                query.len(),
                limits.query_bytes
            )));
        }
    }
    let shape = match shape {
        Shape::Pair { scores, .. } => Shape::Pair { scores, single },
        other => other,
    };
    Ok(Asked { queries, k, shape })
}

/// Reads JSON, and says what is wrong with it.
pub(super) fn from_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| {
        Refusal::bad_request(format!("the body is not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            Refusal::unprocessable(format!("the request is not what it should be: {error}"))
        } else {
            Refusal::bad_request(format!("the body is not JSON: {error}"))
        }
    })
}

/// How many hits a query wants, by whichever name.
fn wanted(body: &Body, limits: &Limits) -> Result<usize, Refusal> {
    let named = [
        ("topk", body.topk),
        ("top_k", body.top_k),
        ("k", body.k),
        ("top_n", body.top_n),
        ("topk_rerank", body.topk_rerank),
    ];
    let mut wanted: Option<(&str, u64)> = None;
    for (name, value) in named.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        match wanted {
            Some((first, other)) if other != value => {
                let what = format!("`{first}` is {other} and `{name}` is {value}: which of them?");
                return Err(Refusal::unprocessable(what));
            }
            _ => wanted = Some((name, value)),
        }
        if value == 0 {
            return Err(Refusal::unprocessable(format!("`{name}` is 0; it must be 1 or more")));
        }
        if value > limits.k as u64 {
            return Err(Refusal::unprocessable(format!(
                "`{name}` is {value}; this server gives at most {}",
                limits.k
            )));
        }
    }
    if body.topk_retrieval == Some(0) {
        return Err(Refusal::unprocessable("`topk_retrieval` is 0; it must be 1 or more"));
    }
    Ok(wanted.map_or(limits.default_k, |it| it.1 as usize))
}

/// Which answer a caller expects, by what it sends, where nobody names the dialect.
///
/// rLLM and `ZeroSearch` send the same and expect different answers: rLLM is meant.
fn shape(body: &Body, path: Path, dialect: Option<Dialect>) -> Shape {
    // The only client that leaves it out expects scores; the reference server fails without them.
    let scores = body.return_scores.or(body.return_score);
    let single = body.query.is_some();
    match (path, dialect) {
        (Path::Queries, _) | (_, Some(Dialect::R1Searcher)) => Shape::Answers,
        (Path::Search | Path::BatchSearch, _) | (_, Some(Dialect::FlashRag)) => {
            Shape::Pair { scores: scores.unwrap_or(false), single }
        }
        (_, Some(Dialect::Rllm)) if single => Shape::Results,
        (_, Some(Dialect::ZeroSearch)) => Shape::Texts,
        (_, Some(Dialect::Slime)) => Shape::Result { scores: scores.unwrap_or(false) },
        (Path::Retrieve, None) if single && (body.top_k.is_some() || body.k.is_some()) => {
            Shape::Results
        }
        (Path::Retrieve, _) => Shape::Result { scores: scores.unwrap_or(true) },
    }
}

/// A passage as the corpora of Search-R1 have it, and its parts beside it.
#[derive(Serialize)]
struct Document<'a> {
    id: &'a str,
    contents: &'a str,
    title: &'a str,
    text: &'a str,
    /// `ASearcher` wants the address of a passage, to ask `/access` for the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
}

#[derive(Serialize)]
struct Scored<'a> {
    document: Document<'a>,
    score: f32,
}

#[derive(Serialize)]
struct Rllm<'a> {
    id: &'a str,
    content: &'a str,
    score: f32,
    /// Later versions of rLLM read this.
    document: Document<'a>,
}

/// A passage with its contents, for as long as an answer is written.
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

impl Asked {
    /// The answer in the shape that the caller expects. `method` is what the server calls its way
    /// to search.
    pub(super) fn answer(&self, found: &[Vec<Hit>], method: &str) -> Vec<u8> {
        let rows: Vec<Vec<Row<'_>>> =
            found.iter().map(|hits| hits.iter().map(Row::new).collect()).collect();
        match self.shape {
            Shape::Result { scores: true } => {
                bytes(&ResultAnswer { result: each(&rows, Row::scored) })
            }
            Shape::Result { scores: false } => {
                bytes(&ResultAnswer { result: each(&rows, Row::document) })
            }
            Shape::Results => {
                let results = each(&rows, Row::rllm).pop().unwrap_or_default();
                let num_results = results.len();
                bytes(&RllmAnswer { query: &self.queries[0], method, results, num_results })
            }
            Shape::Texts => {
                bytes(&each(&rows, |it| Text { text: &it.contents }).pop().unwrap_or_default())
            }
            Shape::Pair { scores: with_scores, single } => {
                let mut documents = each(&rows, Row::document);
                let mut scores = each(&rows, |it| it.hit.score);
                match (single.then(|| documents.pop()).flatten(), with_scores) {
                    (Some(documents), true) => {
                        bytes(&(documents, scores.pop().unwrap_or_default()))
                    }
                    (Some(documents), false) => bytes(&documents),
                    (None, true) => bytes(&(documents, scores)),
                    (None, false) => bytes(&documents),
                }
            }
            Shape::Answers => {
                let answers = each(&rows, |it| it.contents.as_str());
                bytes(&Answers { queries: &self.queries, answers })
            }
        }
    }
}

#[derive(Serialize)]
struct ResultAnswer<T> {
    result: Vec<Vec<T>>,
}

#[derive(Serialize)]
struct RllmAnswer<'a> {
    query: &'a str,
    method: &'a str,
    results: Vec<Rllm<'a>>,
    num_results: usize,
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct Answers<'a> {
    queries: &'a [String],
    answers: Vec<Vec<&'a str>>,
}

fn each<'a, T>(rows: &'a [Vec<Row<'a>>], of: impl Fn(&'a Row<'a>) -> T) -> Vec<Vec<T>> {
    rows.iter().map(|rows| rows.iter().map(&of).collect()).collect()
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers are JSON")
}
