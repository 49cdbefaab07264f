//! Passages of many rows as a corpus: each once.

use std::collections::HashMap;

use forage_trajectory::Passage;

use crate::reader::hash;

/// Passages that a corpus has, by hashes of their ids and contents.
#[derive(Debug, Default)]
pub struct Corpus {
    contents: HashMap<u64, u64>,
}

/// What a passage is to a corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addition {
    /// It was not there.
    New,
    /// It was there already, with the same title and text.
    Repeated,
    /// Its id was there with another title or text: one of the two would be lost.
    Conflict,
}

impl Corpus {
    /// Adds a passage.
    pub fn add(&mut self, passage: &Passage) -> Addition {
        let content = hash(&(&passage.title, &passage.text));
        match self.contents.insert(hash(&passage.id), content) {
            None => Addition::New,
            Some(before) if before == content => Addition::Repeated,
            Some(before) => {
                self.contents.insert(hash(&passage.id), before);
                Addition::Conflict
            }
        }
    }

    /// Number of passages.
    pub fn n_passages(&self) -> usize {
        self.contents.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_passage_once() {
        let passage =
            |id: &str, text: &str| Passage { id: id.into(), title: "T".into(), text: text.into() };
        let mut corpus = Corpus::default();
        let table = [
            (passage("1", "a"), Addition::New),
            (passage("1", "a"), Addition::Repeated),
            (passage("1", "b"), Addition::Conflict),
            (passage("1", "a"), Addition::Repeated),
            (passage("2", "a"), Addition::New),
        ];
        for (passage, expected) in table {
            assert_eq!(corpus.add(&passage), expected, "{passage:?}");
        }
        assert_eq!(corpus.n_passages(), 2);
    }
}
