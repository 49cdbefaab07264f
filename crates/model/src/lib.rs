//! Decoder language models in burn: load, generate, train and save.
mod checkpoint;
mod config;
mod decoder;
mod generate;
mod init;
pub mod parallel;
mod tokenizer;

pub use checkpoint::{
    CheckpointError, CheckpointErrorKind, load, load_config, numbers, read_tensors, save,
    write_tensors,
};
pub use config::{ConfigError, Family, ModelConfig, ParameterSpec, Role, RopeParameters};
pub use decoder::{Cache, Decoder};
pub use generate::{GenerateError, Generator};
pub use tokenizer::{SPECIAL_TOKENS, Tokenizer, TokenizerError};
