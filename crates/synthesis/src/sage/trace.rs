//! What an agent or a generator did, as text: turns, and the searches between them.

use forage_trajectory::Hit;
use forage_trajectory::protocol::{INFORMATION, format_document};
use serde::{Deserialize, Serialize};

/// A search that was executed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Searched {
    /// The query.
    pub query: String,
    /// What it found, best first.
    pub hits: Vec<Hit>,
}

/// What was written before the environment spoke again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// As it was written, tags included.
    pub text: String,
    /// The search that the turn ended with, where it was executed: a malformed search is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched: Option<Searched>,
}

/// A prompt, and what was made of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// What was asked. The prompt of a revision holds the traces before it.
    pub prompt: String,
    /// What was written, in order.
    pub turns: Vec<Turn>,
}

impl Trace {
    /// How many queries were executed: turns that only think, malformed searches and the turn with
    /// the answer do not count.
    pub fn n_searches(&self) -> usize {
        self.turns.iter().filter(|turn| turn.searched.is_some()).count()
    }

    /// The whole of it as one text, with what each search found.
    pub fn text(&self) -> String {
        let mut text = self.prompt.clone();
        for turn in &self.turns {
            text.extend(["\n", &turn.text]);
            if let Some(searched) = &turn.searched {
                let documents: String = (1..)
                    .zip(&searched.hits)
                    .map(|(rank, hit)| format_document(rank, &hit.title, &hit.text) + "\n")
                    .collect();
                text.extend(["\n", &INFORMATION.wrap(&documents)]);
            }
        }
        text
    }

    /// The executed searches, in order.
    pub fn searches(&self) -> impl Iterator<Item = &Searched> {
        self.turns.iter().filter_map(|turn| turn.searched.as_ref())
    }
}

/// One attempt at a question.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The answer, where one was given.
    pub answer: Option<String>,
    /// How it was found.
    pub trace: Trace,
}

impl Run {
    /// The answer, where there is one that is not empty.
    pub fn answer(&self) -> Option<&str> {
        self.answer.as_deref().map(str::trim).filter(|it| !it.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executed_queries_count() {
        let turn = |text: &str, query: Option<&str>| Turn {
            text: text.into(),
            searched: query.map(|it| Searched { query: it.into(), hits: Vec::new() }),
        };
        let trace = Trace {
            prompt: String::new(),
            turns: vec![
                turn("<think> first </think>", None),
                turn("<search> a </search>", Some("a")),
                turn("<search> </search>", None),
                turn("<search> b", None),
                turn("<search> b </search>", Some("b")),
                turn("<answer> c </answer>", None),
            ],
        };
        assert_eq!(trace.n_searches(), 2);
        assert_eq!(trace.searches().map(|it| it.query.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_blank_answer_is_none() {
        for (answer, expected) in [(None, None), (Some("  "), None), (Some(" x "), Some("x"))] {
            let run = Run { answer: answer.map(str::to_owned), trace: Trace::default() };
            assert_eq!(run.answer(), expected);
        }
    }
}
