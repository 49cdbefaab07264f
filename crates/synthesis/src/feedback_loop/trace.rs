//! Traces of agents and generators as text: turns, and the searches between them.

use forage_trajectory::Hit;
use forage_trajectory::protocol::{INFORMATION, format_document};
use serde::{Deserialize, Serialize};

/// Executed search.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecutedSearch {
    /// Query.
    pub query: String,
    /// Its hits, best first.
    pub hits: Vec<Hit>,
}

/// Turn of a trace: text of the model up to the next observation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceTurn {
    /// Text, tags included.
    pub text: String,
    /// Executed search that ends the turn. A malformed search is not executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched: Option<ExecutedSearch>,
}

/// Trace: a prompt, and the turns after it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Prompt. That of a revision contains the traces before it.
    pub prompt: String,
    /// Turns, in order.
    pub turns: Vec<TraceTurn>,
}

impl Trace {
    /// Number of executed searches: turns that only think, malformed searches and the turn with the
    /// answer do not count.
    pub fn n_searches(&self) -> usize {
        self.turns.iter().filter(|turn| turn.searched.is_some()).count()
    }

    /// Trace as one text, with the hits of each search.
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

    /// Executed searches, in order.
    pub fn searches(&self) -> impl Iterator<Item = &ExecutedSearch> {
        self.turns.iter().filter_map(|turn| turn.searched.as_ref())
    }
}

/// Run of the agent on a question.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentRun {
    /// Answer, where the run has one.
    pub answer: Option<String>,
    /// Its trace.
    pub trace: Trace,
}

impl AgentRun {
    /// Answer without surrounding white space; `None` where it is empty or missing.
    pub fn answer(&self) -> Option<&str> {
        self.answer.as_deref().map(str::trim).filter(|it| !it.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executed_queries_count() {
        let turn = |text: &str, query: Option<&str>| TraceTurn {
            text: text.into(),
            searched: query.map(|it| ExecutedSearch { query: it.into(), hits: Vec::new() }),
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
            let run = AgentRun { answer: answer.map(str::to_owned), trace: Trace::default() };
            assert_eq!(run.answer(), expected);
        }
    }
}
