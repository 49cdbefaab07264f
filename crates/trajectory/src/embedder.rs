//! Embedding model, as dense search sees it: text in, vectors out.

use crate::BoxError;

/// Role of a text in dense search. Many embedding models have a prefix of their own for each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextRole {
    /// The text of a query.
    Query,
    /// The text of a passage.
    Passage,
}

/// Embedding model: texts to vectors, with the dot product as similarity.
///
/// One embedder is shared by many threads.
pub trait Embedder: Send + Sync {
    /// Identifier of the model and its settings. Vectors of two embedders with different names are
    /// never compared.
    fn name(&self) -> &str;

    /// Dimension of the vectors.
    fn dimension(&self) -> usize;

    /// Embeddings of some texts: one vector for each, in their order, each of
    /// [`Embedder::dimension`] finite numbers.
    ///
    /// The same text and role give the same vector, whatever else is in the batch, as far as the
    /// model can promise it.
    ///
    /// # Errors
    ///
    /// Those of the model or of the server behind it.
    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, BoxError>;
}
