//! Embedding servers: clients of `/v1/embeddings`, which vLLM, TEI, llama.cpp, Ollama and `OpenAI`
//! have.

use forage_http::{ShapeFault, elements, list, number};
use forage_trajectory::{BoxError, Embedder, TextRole};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::{Transport, of_member};
use crate::{ClientError, HttpConfig};

/// Embedding server: address and model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingsConfig {
    /// Whole address, for example `http://127.0.0.1:8080/v1/embeddings`.
    pub url: String,
    /// Name of the model on the server.
    pub model: String,
    /// Prefix of a query: `query: ` for e5. Default: none.
    #[serde(default)]
    pub query_prefix: String,
    /// Prefix of a passage: `passage: ` for e5. Default: none.
    #[serde(default)]
    pub passage_prefix: String,
    /// Most texts in a request. Default: 64.
    #[serde(default = "default_batch")]
    pub batch: usize,
    /// Timeout, retries and token. Default: those of [`HttpConfig`].
    #[serde(default)]
    pub http: HttpConfig,
}

const fn default_batch() -> usize {
    64
}

/// Embedder behind a server. Vectors are scaled to length 1, so that dot products are cosines.
pub struct Embeddings {
    config: EmbeddingsConfig,
    transport: Transport,
    name: String,
    dimension: usize,
}

impl Embeddings {
    /// Connects to a server: embeds one text, whose vector gives the dimension.
    pub fn connect(config: &EmbeddingsConfig) -> Result<Self, ClientError> {
        if config.batch == 0 {
            let (name, value, range) = ("batch", "0".to_owned(), "1 or more");
            return Err(ClientError::Option { name, value, range });
        }
        let EmbeddingsConfig { model, query_prefix, passage_prefix, .. } = config;
        let name = format!("{model}, prefixes {query_prefix:?} and {passage_prefix:?}");
        let transport = Transport::new(&config.http)?;
        let mut embeddings = Self { config: config.clone(), transport, name, dimension: 0 };
        embeddings.dimension = embeddings.request(&["length"], TextRole::Query)?[0].len();
        Ok(embeddings)
    }

    fn request(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, ClientError> {
        let EmbeddingsConfig { url, model, .. } = &self.config;
        let prefix = match role {
            TextRole::Query => &self.config.query_prefix,
            TextRole::Passage => &self.config.passage_prefix,
        };
        let input: Vec<String> = texts.iter().map(|it| format!("{prefix}{it}")).collect();
        let body = json!({ "model": model, "input": input, "encoding_format": "float" });
        let body = body.to_string();
        let read = |answer: &Value| {
            of_member(answer, "data", |data| vectors(data, texts.len(), self.dimension))
        };
        self.transport.post(url, "application/json", body.as_bytes(), &read)
    }
}

impl Embedder for Embeddings {
    fn name(&self) -> &str {
        &self.name
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, BoxError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for texts in texts.chunks(self.config.batch) {
            vectors.extend(self.request(texts, role)?);
        }
        Ok(vectors)
    }
}

/// Vectors of a response, in the order of the texts. `dimension` is 0 where it is not known yet.
fn vectors(data: &Value, n_texts: usize, dimension: usize) -> Result<Vec<Vec<f32>>, ShapeFault> {
    let rows = list(data)?;
    if rows.len() != n_texts {
        let what = format!("has {} vectors, and {n_texts} texts were sent", rows.len());
        return Err(ShapeFault::new(what));
    }
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; n_texts];
    for (row_idx, row) in rows.iter().enumerate() {
        let (idx, vector) = vector(row, row_idx, dimension).map_err(|fault| fault.at(row_idx))?;
        let Some(place) = vectors.get_mut(idx).filter(|place| place.is_none()) else {
            let what = format!("is {idx}, which is of no text or was there before");
            return Err(ShapeFault::new(what).under("index").at(row_idx));
        };
        *place = Some(vector);
    }
    // As many as texts, and no two in one place.
    Ok(vectors.into_iter().flatten().collect())
}

/// Ordinal of a text and its vector; servers that leave the ordinal out answer in order.
fn vector(row: &Value, row_idx: usize, dimension: usize) -> Result<(usize, Vec<f32>), ShapeFault> {
    let idx = match row.get("index") {
        None | Some(Value::Null) => row_idx,
        Some(index) => index
            .as_u64()
            .map(|it| it as usize)
            .ok_or_else(|| ShapeFault::wanted(index, "the ordinal of a text").under("index"))?,
    };
    of_member(row, "embedding", |embedding| {
        let numbers = elements(embedding, |value| Ok(number(value)? as f32))?;
        let n = numbers.len();
        if dimension != 0 && n != dimension {
            let what = format!("has {n} numbers, and the vectors before it have {dimension}");
            return Err(ShapeFault::new(what));
        }
        let unit = unit(numbers).ok_or_else(|| {
            let what = format!(
                "is a list of {n} numbers that is no direction: its length is 0 or infinite"
            );
            ShapeFault::new(what)
        });
        unit.map(|vector| (idx, vector))
    })
}

/// Unit vector in the same direction; none for zeros and what is not finite.
fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|&number| f64::from(number).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return None;
    }
    for number in &mut vector {
        *number = (f64::from(*number) / length) as f32;
    }
    Some(vector)
}
