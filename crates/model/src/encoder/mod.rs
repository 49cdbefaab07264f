//! Encoders: texts to vectors, for dense search.
//!
//! [`TextEncoder`] reads a Hugging Face folder of type `bert`, such as e5 or `MiniLM`, with the files
//! of sentence-transformers where it has them. The parts know little of each other: `bert` turns
//! tokens into hidden states, `words` texts into tokens, and `recipe` says what becomes of the
//! hidden states.

mod bert;
mod config;
mod recipe;
mod words;

use std::path::Path;

use burn::tensor::Device;
use forage_trajectory::{BoxError, Embedder, TextRole, TokenId};

use crate::checkpoint::{CheckpointError, numbers};
use crate::config::ConfigError;
use crate::device::is_host;
use crate::parallel;
use crate::tokenizer::{TokenizerError, check_rows};
use bert::Bert;
use config::BertConfig;
use recipe::{Pooling, Recipe};
use words::Words;

/// Tokens that a core computes at once, at most, where no text is longer.
const CHUNK: usize = 1024;

/// Tokens that are worth a core of their own.
const SMALLEST_CHUNK: usize = 64;

/// Tokens that another device computes at once.
const DEVICE_CHUNK: usize = 16 * 1024;

/// Tokens around a text.
const ENDS: usize = 2;

/// How texts are embedded, where it is not as the folder says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncoderOptions {
    /// What is put before a query; `query: ` for e5.
    pub query_prefix: Option<String>,
    /// What is put before a passage; `passage: ` for e5.
    pub passage_prefix: Option<String>,
    /// Most tokens of a text, the two at its ends included.
    pub max_tokens: Option<usize>,
}

/// Turns texts into vectors: mean or first hidden state, scaled to length 1.
///
/// On the CPU the vector of a text is the same, bit for bit, in every batch.
#[derive(Debug)]
pub struct TextEncoder {
    bert: Bert,
    words: Words,
    recipe: Recipe,
    name: String,
}

impl TextEncoder {
    /// Reads a folder: `config.json` of type `bert`, safetensors, and `tokenizer.json` or
    /// `vocab.txt`; with `modules.json`, the pooling's `config.json`, `sentence_bert_config.json`
    /// and `config_sentence_transformers.json` where they are.
    ///
    /// The error names the file, and the key, tensor or module that is wrong or not supported.
    pub fn load(
        folder: &Path,
        device: &Device,
        options: &EncoderOptions,
    ) -> Result<Self, CheckpointError> {
        let mut recipe = Recipe::read(folder)?;
        let model = recipe.model.clone();
        let fail = |err: TokenizerError| CheckpointError::new(&model, err.into());
        let mut hasher = blake3::Hasher::new();
        let bert = Bert::load(&model, device, &mut |bytes| {
            hasher.update(bytes);
        })?;
        let (mut words, limit) = Words::load(&model).map_err(fail)?;
        check_rows(&model, words.n_tokens(), bert.config.vocab_size).map_err(fail)?;
        let max_tokens = max_tokens(&bert.config, recipe.max_tokens.or(limit), options.max_tokens)
            .map_err(|err| CheckpointError::new(&model, err.into()))?;
        let json = words.cut_to(max_tokens).and_then(|()| words.json());
        hasher.update(json.map_err(|err| fail(TokenizerError::new(&model, err)))?.as_bytes());
        hasher.update(format!("{:?} {:?}", bert.config, recipe.lower_case).as_bytes());
        for (prompt, given) in
            recipe.prompts.iter_mut().zip([&options.query_prefix, &options.passage_prefix])
        {
            if let Some(given) = given {
                prompt.clone_from(given);
            }
        }
        let Recipe { pooling, unit, prompts: [query, passage], .. } = &recipe;
        let weights = &hasher.finalize().to_hex()[..16];
        let name = format!(
            "bert {weights}, {pooling:?} of {max_tokens} tokens{}, prefixes {query:?} and {passage:?}",
            if *unit { "" } else { ", not scaled" },
        );
        Ok(Self { bert, words, recipe, name })
    }

    fn tokens(&self, prefix: &str, text: &str) -> Result<Vec<TokenId>, BoxError> {
        let text = format!("{prefix}{text}");
        let text = if self.recipe.lower_case { text.to_lowercase() } else { text };
        let tokens = self.words.encode(&text)?;
        if tokens.is_empty() {
            Err("a text without tokens has no vector".into())
        } else {
            Ok(tokens)
        }
    }

    /// The vectors of texts that are computed at once.
    fn vectors(&self, sequences: &[&[TokenId]]) -> Vec<Vec<f32>> {
        let hidden = numbers(&self.bert.forward(sequences));
        let width = self.dimension();
        let mut rest = hidden.as_slice();
        sequences
            .iter()
            .map(|sequence| {
                let (rows, others) = rest.split_at(sequence.len() * width);
                rest = others;
                match self.recipe.pooling {
                    Pooling::Mean => self.pooled(rows),
                    Pooling::First => self.pooled(&rows[..width]),
                }
            })
            .collect()
    }

    /// The mean of rows, scaled to length 1 where the model wants that.
    fn pooled(&self, rows: &[f32]) -> Vec<f32> {
        let width = self.dimension();
        let mut sums = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            for (sum, it) in sums.iter_mut().zip(row) {
                *sum += f64::from(*it);
            }
        }
        let length = sums.iter().map(|it| it * it).sum::<f64>().sqrt();
        let scale = if self.recipe.unit { length } else { (rows.len() / width) as f64 };
        sums.into_iter().map(|it| (it / scale) as f32).collect()
    }
}

impl Embedder for TextEncoder {
    fn name(&self) -> &str {
        &self.name
    }

    fn dimension(&self) -> usize {
        self.bert.config.hidden_size
    }

    /// What of a text is beyond the model's length is left out, as other programs do.
    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, BoxError> {
        let [query, passage] = &self.recipe.prompts;
        let prefix = match role {
            TextRole::Query => query,
            TextRole::Passage => passage,
        };
        let tokens: Vec<Vec<TokenId>> =
            texts.iter().map(|text| self.tokens(prefix, text)).collect::<Result<_, _>>()?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&it| tokens[it].len());
        let sorted: Vec<&[TokenId]> = order.iter().map(|&it| tokens[it].as_slice()).collect();
        let device = self.bert.device();
        let found = parallel::map_on(device, chunks(&sorted, device), |it| self.vectors(it));
        let mut vectors = vec![Vec::new(); texts.len()];
        for (idx, vector) in order.into_iter().zip(found.into_iter().flatten()) {
            if !vector.iter().all(|it| it.is_finite()) {
                let start: String = texts[idx].chars().take(40).collect();
                return Err(format!("the vector of `{start}` is not finite").into());
            }
            vectors[idx] = vector;
        }
        Ok(vectors)
    }
}

/// Cuts sequences into what is computed at once. No number depends on the cut.
fn chunks<'a, 'b>(sequences: &'a [&'b [TokenId]], device: &Device) -> Vec<&'a [&'b [TokenId]]> {
    let total: usize = sequences.iter().map(|it| it.len()).sum();
    let most = if is_host(device) {
        total.div_ceil(parallel::n_cores()).clamp(SMALLEST_CHUNK, CHUNK)
    } else {
        DEVICE_CHUNK
    };
    let mut chunks = Vec::new();
    let (mut start, mut n_tokens) = (0, 0);
    for (idx, sequence) in sequences.iter().enumerate() {
        if idx > start && n_tokens + sequence.len() > most {
            chunks.push(&sequences[start..idx]);
            (start, n_tokens) = (idx, 0);
        }
        n_tokens += sequence.len();
    }
    if start < sequences.len() {
        chunks.push(&sequences[start..]);
    }
    chunks
}

/// Most tokens of a text: what is asked for, or else what the folder says.
fn max_tokens(
    config: &BertConfig,
    of_folder: Option<usize>,
    asked: Option<usize>,
) -> Result<usize, ConfigError> {
    let positions = config.max_position_embeddings;
    if let Some(asked) = asked.filter(|it| *it > positions) {
        let problem = format!("`max_tokens` {asked} exceeds the model's {positions} positions");
        return Err(ConfigError(problem));
    }
    let n_tokens = asked.or(of_folder).unwrap_or(positions).min(positions);
    if n_tokens <= ENDS {
        let problem = format!("{n_tokens} tokens leave no room for a text between its two ends");
        return Err(ConfigError(problem));
    }
    Ok(n_tokens)
}
