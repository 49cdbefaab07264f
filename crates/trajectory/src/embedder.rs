//! A model that turns text into vectors, as dense search sees it.

use crate::BoxError;

/// What a text is to be embedded as. Many models want another prefix for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextRole {
    /// What is searched for.
    Query,
    /// What is found.
    Passage,
}

/// Turns texts into vectors whose dot product says how well they fit. Shared by many threads.
pub trait Embedder: Send + Sync {
    /// Model and settings. Vectors of two names are never compared.
    fn name(&self) -> &str;

    /// Length of every vector.
    fn dimension(&self) -> usize;

    /// One vector a text, in their order, each of [`Embedder::dimension`] finite numbers.
    ///
    /// The same text and role give the same vector, whatever else is in the batch, as far as the
    /// model can promise it.
    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, BoxError>;
}
