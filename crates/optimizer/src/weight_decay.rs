//! Weight decay: the weights it applies to.

use serde::{Deserialize, Serialize};

/// Kind of a weight, by which [`DecayRule`] decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightKind {
    /// A weight matrix.
    Matrix,
    /// The token embedding, or an output head of its own.
    Embedding,
    /// A bias.
    Bias,
    /// The scale of a normalization layer.
    Norm,
}

/// Weights that weight decay applies to: `optimizer.decay` of a run file. Default: `matrices`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecayRule {
    /// Matrices only: a norm's scale belongs near 1, and an embedding's row that no batch
    /// mentions would shrink for nothing.
    #[default]
    Matrices,
    /// All weights, as `PyTorch`'s `AdamW(model.parameters())`, which verl uses.
    All,
}

impl DecayRule {
    /// Whether weight decay applies to a weight of this kind.
    pub fn applies(self, kind: WeightKind) -> bool {
        self == Self::All || kind == WeightKind::Matrix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_embeddings_and_biases_do_not_decay_by_default() {
        let kinds = [WeightKind::Matrix, WeightKind::Embedding, WeightKind::Bias, WeightKind::Norm];
        let decayed = |rule: DecayRule| kinds.map(|it| rule.applies(it));
        assert_eq!(decayed(DecayRule::default()), [true, false, false, false]);
        assert_eq!(decayed(DecayRule::All), [true; 4]);
    }
}
