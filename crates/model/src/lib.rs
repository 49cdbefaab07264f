//! Decoder language models in burn: load, generate, train and save; and encoders that embed texts.
//!
//! [`load`] reads a folder in the layout of Hugging Face, of a [`Family`] that is known, and gives
//! a [`Decoder`]; [`Tokenizer`] reads the rest of the folder. Together they make a [`Generator`],
//! which is a policy of the agent loop. [`save_folder`] writes what other programs load.
//!
//! [`TextEncoder`] is an embedder for dense search: a folder of the BERT family, such as e5 or
//! `MiniLM`.
//!
//! Everything a folder can get wrong is an error that names the key, tensor or file.
//!
//! ```
//! use burn::tensor::Device;
//! use forage_model::{Decoder, Family, ModelConfig, Rope, SaveOptions, Tokenizer, load, save_folder};
//!
//! let tokenizer = Tokenizer::train(&["to be or not to be".to_owned()], 280)?;
//! let config = ModelConfig {
//!     model_type: Family::Llama,
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
//! Tokenizer::load(&folder)?.check_fits(loaded.config())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod checkpoint;
mod config;
mod decoder;
mod device;
mod encoder;
mod extend;
mod families;
mod forward;
mod generate;
mod host;
mod init;
mod layer;
mod lora;
pub mod parallel;
mod peft;
mod rope;
mod rotary;
mod save;
mod scores;
mod shards;
mod tensors;
mod tokenizer;
mod training;
mod value_head;
mod vectors;

pub use cache::Cache;
pub use checkpoint::{
    CheckpointError, CheckpointErrorKind, load, load_config, numbers, weight_files,
};
pub use config::{ConfigError, ModelConfig, ParameterSpec, Role};
pub use decoder::Decoder;
pub use device::{DeviceError, can_compute, device, devices, is_host};
pub use encoder::{EncoderOptions, TextEncoder};
pub use families::Family;
pub use generate::{GenerateError, Generator};
pub use lora::LoraConfig;
pub use peft::{base_of_adapter, is_adapter, save_adapter};
pub use rope::{Rope, RopeScaling, Yarn};
pub use save::{NumberType, SaveOptions, save, save_folder};
pub use scores::Scores;
pub use tensors::{read_tensors, write_tensors};
pub use tokenizer::{
    ChatError, ChatTemplate, Conversation, Detokenizer, SPECIAL_TOKENS, StopStrings, Tokenizer,
    TokenizerError,
};
pub use training::{Packed, Pass, PassOptions};
pub use value_head::Critic;
