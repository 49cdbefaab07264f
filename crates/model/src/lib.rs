//! Decoder language models in burn: load, generate, train and save; and encoders that embed texts.
//!
//! [`load`] reads a checkpoint folder in the layout of Hugging Face, of one of a few model families
//! ([`ModelFamily`]), into a [`Decoder`], the central type; [`Tokenizer`] reads the rest of the
//! folder. Together they make a [`Generator`], which is a
//! [`Policy`](forage_trajectory::Policy) of the agent loop. [`Decoder::training_pass`] gives
//! log-probabilities to make a loss of, and takes its gradient back. [`save_folder`] writes what
//! other programs load.
//!
//! [`TextEncoder`] is an embedder for dense retrieval: a folder of the BERT family, such as e5 or
//! `MiniLM`.
//!
//! Everything a folder can get wrong is an error that names the key, tensor or file. The crate
//! knows nothing of search, rewards or losses; the tags of an agent's protocol are an argument of
//! the tokenizer.
//!
//! ```
//! use burn::tensor::Device;
//! use forage_model::{Decoder, ModelConfig, ModelFamily, Rope, SaveOptions, Tokenizer, load, save_folder};
//!
//! let tags = ["<answer>", "</answer>"];
//! let tokenizer = Tokenizer::train(&["to be or not to be".to_owned()], 280, &tags)?;
//! let config = ModelConfig {
//!     model_type: ModelFamily::Llama,
//!     vocab_size: tokenizer.vocab_size(),
//!     hidden_size: 16,
//!     intermediate_size: 32,
//!     num_hidden_layers: 1,
//!     num_attention_heads: 2,
//!     num_key_value_heads: 1,
//!     head_dim: None,
//!     max_position_embeddings: 64,
//!     rms_norm_eps: 1e-6,
//!     rope: Rope::plain(10_000.0),
//!     attention_bias: false,
//!     mlp_bias: false,
//!     tie_word_embeddings: true,
//!     initializer_range: 0.02,
//!     other: serde_json::Map::new(),
//! };
//! let decoder = Decoder::init(&config, 7, &Device::flex());
//! let parent = tempfile::tempdir()?;
//! let folder = parent.path().join("model");
//! save_folder(&decoder, &tokenizer, &folder, SaveOptions::default())?;
//! let loaded = load(&folder, &Device::flex())?;
//! Tokenizer::load(&folder, &tags)?.check_fits(loaded.config())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Architecture.
mod config;
mod decoder;
mod families;
mod forward;
mod init;
mod keys;
mod layer;
mod lora;
mod ops;
mod rope;
mod value_head;

// Training.
mod logprobs;
mod training;

// Generation.
mod cpu;
mod decode;
mod device;
mod generate;
mod kv_cache;
pub mod parallel;
mod simd;

// Files.
mod adapter_base;
mod checkpoint;
mod error;
mod json_file;
mod mismatch;
mod other_weights;
mod peft;
mod save;
mod shards;
mod tensor_names;
mod tensors;
mod text_file;
mod tokenizer;

// Embeddings.
mod encoder;

pub use adapter_base::{base_folder, base_of_adapter, is_adapter};
pub use checkpoint::{load, load_adapted, load_config, weight_files};
pub use config::{ModelConfig, ParameterRole, ParameterSpec};
pub use decoder::Decoder;
pub use device::{DeviceError, can_compute, device, devices, is_cpu};
pub use encoder::{EncoderOptions, TextEncoder};
pub use error::{CheckpointError, CheckpointErrorKind};
pub use families::ModelFamily;
pub use generate::{GenerateError, Generator};
pub use keys::ConfigError;
pub use kv_cache::BatchKvCache;
pub use logprobs::TokenLogprobs;
pub use lora::LoraConfig;
pub use mismatch::MismatchCause;
pub use ops::numbers;
pub use other_weights::OtherWeights;
pub use peft::save_adapter;
pub use rope::{Rope, RopeScaling, YarnScaling};
pub use save::{NumberType, SaveOptions, save, save_folder};
pub use tensors::{read_tensors, write_tensors};
pub use text_file::{JsonError, LfsPointer, TextError};
pub use tokenizer::{
    ChatError, ChatTemplate, Conversation, Detokenizer, END_OF_TEXT, StopStrings, Tokenizer,
    TokenizerError,
};
pub use training::{PackedSequences, TrainingPass, TrainingPassOptions};
pub use value_head::Critic;
