//! Text encoders: embeddings of texts, for dense retrieval.
//!
//! [`TextEncoder`] reads a Hugging Face folder of type `bert`, such as e5 or `MiniLM`, with the
//! files of sentence-transformers where it has them. The parts know little of each other: `bert`
//! turns tokens into hidden states, `wordpiece` texts into tokens, and `sentence_transformers` has
//! pooling and prompts.

mod bert;
mod config;
mod sentence_transformers;
mod wordpiece;

use std::path::Path;

use burn::tensor::Device;
use forage_trajectory::{BoxError, Embedder, TextRole, TokenId};

use crate::device::is_cpu;
use crate::error::CheckpointError;
use crate::keys::ConfigError;
use crate::ops::numbers;
use crate::parallel;
use crate::tokenizer::{TokenizerError, check_rows};
use bert::Bert;
use config::BertConfig;
use sentence_transformers::{Pooling, SentenceTransformersConfig};
use wordpiece::WordPieceTokenizer;

/// Batch size of a core in tokens, at most, where no text is longer.
const CHUNK: usize = 1024;

/// Batch size of a core in tokens, at least.
const SMALLEST_CHUNK: usize = 64;

/// Batch size of another device in tokens.
const DEVICE_CHUNK: usize = 16 * 1024;

/// Number of special tokens around a text: `[CLS]` and `[SEP]`.
const ENDS: usize = 2;

/// Options of a text encoder, in the place of those of its folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncoderOptions {
    /// Prompt before a query, such as `query: ` for e5. Default: that of the folder.
    pub query_prefix: Option<String>,
    /// Prompt before a passage, such as `passage: ` for e5. Default: that of the folder.
    pub passage_prefix: Option<String>,
    /// Tokens of a text, at most, the two at its ends included. Default: that of the folder, or
    /// else the positions of the model.
    pub max_tokens: Option<usize>,
}

/// Text encoder: embeds texts by pooling hidden states (mean or first), scaled to length 1.
///
/// On the CPU the vector of a text is the same, bit for bit, in every batch.
#[derive(Debug)]
pub struct TextEncoder {
    bert: Bert,
    tokenizer: WordPieceTokenizer,
    config: SentenceTransformersConfig,
    name: String,
}

impl TextEncoder {
    /// Loads a folder: `config.json` of type `bert`, safetensors, and `tokenizer.json` or
    /// `vocab.txt`; with `modules.json`, the pooling's `config.json`, `sentence_bert_config.json`
    /// and `config_sentence_transformers.json` where they are.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] names the file, and the key, tensor or module that is wrong or not
    /// supported.
    pub fn load(
        folder: &Path,
        device: &Device,
        options: &EncoderOptions,
    ) -> Result<Self, CheckpointError> {
        let mut config = SentenceTransformersConfig::read(folder)?;
        let model = config.model.clone();
        let fail = |err: TokenizerError| CheckpointError::new(&model, err.into());
        let mut hasher = blake3::Hasher::new();
        let bert = Bert::load(&model, device, &mut |bytes| {
            hasher.update(bytes);
        })?;
        let (mut tokenizer, limit) = WordPieceTokenizer::load(&model).map_err(fail)?;
        check_rows(&model, tokenizer.n_tokens(), bert.config.vocab_size).map_err(fail)?;
        let max_tokens = max_tokens(&bert.config, config.max_tokens.or(limit), options.max_tokens)
            .map_err(|err| CheckpointError::new(&model, err.into()))?;
        let json = tokenizer.truncate_to(max_tokens).and_then(|()| tokenizer.json());
        hasher.update(json.map_err(|err| fail(TokenizerError::new(&model, err)))?.as_bytes());
        hasher.update(format!("{:?} {:?}", bert.config, config.lower_case).as_bytes());
        for (prompt, given) in
            config.prompts.iter_mut().zip([&options.query_prefix, &options.passage_prefix])
        {
            if let Some(given) = given {
                prompt.clone_from(given);
            }
        }
        let SentenceTransformersConfig { pooling, unit, prompts: [query, passage], .. } = &config;
        // An index records the name: debug formats that stand in it must stay.
        let weights = &hasher.finalize().to_hex()[..16];
        let name = format!(
            "bert {weights}, {pooling:?} of {max_tokens} tokens{}, prefixes {query:?} and {passage:?}",
            if *unit { "" } else { ", not scaled" },
        );
        Ok(Self { bert, tokenizer, config, name })
    }

    /// Tokens of a text after its prompt.
    fn tokens(&self, prefix: &str, text: &str) -> Result<Vec<TokenId>, BoxError> {
        let text = format!("{prefix}{text}");
        let text = if self.config.lower_case { text.to_lowercase() } else { text };
        let tokens = self.tokenizer.encode(&text)?;
        if tokens.is_empty() {
            Err("a text without tokens has no vector".into())
        } else {
            Ok(tokens)
        }
    }

    /// Embeddings of the sequences of a batch.
    fn vectors(&self, sequences: &[&[TokenId]]) -> Vec<Vec<f32>> {
        let hidden = numbers(&self.bert.forward(sequences));
        let width = self.dimension();
        let mut rest = hidden.as_slice();
        sequences
            .iter()
            .map(|sequence| {
                let (rows, others) = rest.split_at(sequence.len() * width);
                rest = others;
                match self.config.pooling {
                    Pooling::Mean => self.pooled(rows),
                    Pooling::First => self.pooled(&rows[..width]),
                }
            })
            .collect()
    }

    /// Mean of rows `[T, D]`, scaled to length 1 where the folder asks for that.
    fn pooled(&self, rows: &[f32]) -> Vec<f32> {
        let width = self.dimension();
        let mut sums = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            for (sum, it) in sums.iter_mut().zip(row) {
                *sum += f64::from(*it);
            }
        }
        let length = sums.iter().map(|it| it * it).sum::<f64>().sqrt();
        let scale = if self.config.unit { length } else { (rows.len() / width) as f64 };
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

    /// Embeds texts, truncated to the length of the model as other programs do.
    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, BoxError> {
        let [query, passage] = &self.config.prompts;
        let prefix = match role {
            TextRole::Query => query,
            TextRole::Passage => passage,
        };
        let tokens: Vec<Vec<TokenId>> =
            texts.iter().map(|text| self.tokens(prefix, text)).collect::<Result<_, _>>()?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&idx| tokens[idx].len());
        let sorted: Vec<&[TokenId]> = order.iter().map(|&idx| tokens[idx].as_slice()).collect();
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

/// Batches of sequences. No number depends on how they are cut.
fn chunks<'a, 'b>(sequences: &'a [&'b [TokenId]], device: &Device) -> Vec<&'a [&'b [TokenId]]> {
    let total: usize = sequences.iter().map(|it| it.len()).sum();
    let most = if is_cpu(device) {
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

/// Tokens of a text, at most: those asked for, or else the limit of the folder.
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
