//! Small decoder configuration to begin with; tests change what they are about.

use forage_model::{ModelConfig, ModelFamily, Rope};
use serde_json::Map;

/// Four query heads over two key heads, six wide, with every bias that the family has.
pub(crate) fn config(model_type: ModelFamily) -> ModelConfig {
    ModelConfig {
        model_type,
        vocab_size: 50,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: Some(6),
        max_position_embeddings: 512,
        rms_norm_eps: 1e-6,
        rope: Rope::plain(100.0),
        attention_bias: true,
        mlp_bias: true,
        tie_word_embeddings: true,
        initializer_range: 0.3,
        other: Map::new(),
    }
}
