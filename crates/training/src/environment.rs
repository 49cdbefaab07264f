//! Environment of a run: the questions of each split and the search engine.

use std::fmt;

use forage_trajectory::{Question, Retriever};

/// Environment of a run. The caller opens its files.
pub struct Environment {
    /// Training questions.
    pub train: Vec<Question>,
    /// Development questions, for evaluation while training.
    pub dev: Vec<Question>,
    /// Test questions, for the evaluations before and after training.
    pub test: Vec<Question>,
    /// Search engine.
    pub retriever: Box<dyn Retriever>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = [&self.train, &self.dev, &self.test].map(Vec::len);
        f.debug_struct("Environment").field("questions", &lengths).finish_non_exhaustive()
    }
}
