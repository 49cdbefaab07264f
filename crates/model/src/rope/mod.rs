//! Rotary position embeddings (`RoPE`, arXiv 2104.09864): `config` holds their frequencies as
//! `config.json` spells them, `apply` rotates queries and keys.

mod apply;
mod config;

pub(crate) use apply::RotaryEmbedding;
pub use config::{Rope, RopeScaling, YarnScaling};
