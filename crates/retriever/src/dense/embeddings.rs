//! Embedding servers: clients of `/v1/embeddings`, which vLLM, TEI, llama.cpp, Ollama and `OpenAI`
//! have.

use forage_trajectory::{BoxError, Embedder, TextRole};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::Transport;
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

/// Response of the server.
#[derive(Deserialize)]
struct Answer {
    data: Vec<Datum>,
}

/// Vector of one text.
#[derive(Deserialize)]
struct Datum {
    /// Ordinal of the text; servers that leave it out answer in order.
    index: Option<usize>,
    embedding: Vec<f32>,
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
        let read = |answer: Value| {
            let answer: Answer = serde_json::from_value(answer).map_err(|it| it.to_string())?;
            vectors(answer.data, texts.len())
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

/// Vectors of a response, in the order of the texts.
fn vectors(mut data: Vec<Datum>, n_texts: usize) -> Result<Vec<Vec<f32>>, String> {
    data.sort_by_key(|it| it.index);
    let is_at = |(idx, datum): (usize, &Datum)| datum.index.is_none_or(|it| it == idx);
    let in_order = data.iter().enumerate().all(is_at);
    if data.len() != n_texts || !in_order {
        return Err(format!("{n_texts} texts have {} vectors, or some of them twice", data.len()));
    }
    data.into_iter()
        .map(|datum| unit(datum.embedding).ok_or_else(|| "a vector has no length".to_owned()))
        .collect()
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
