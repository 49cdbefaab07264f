//! Knowledge graph over passages: nodes, and the facts between them.

use std::collections::HashMap;

use forage_trajectory::{EvidenceStep, Passage};
use forage_world::{Relation, wording};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::feedback_loop::AnswerType;

/// Node: the subject of a passage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Mention at the beginning of a question: `the film Veltor`.
    pub(crate) mention: String,
    /// Beginning of a search query for it: `film Veltor`.
    pub(crate) sought: String,
    /// Passage.
    pub(crate) passage: Passage,
    /// Split that it belongs to; a question is about one split. 0 in plain text.
    pub(crate) split: usize,
}

/// Value of a fact.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// Another node, by its index.
    Node(usize),
    /// A value without a passage: the accepted texts, the plainest first, and their type.
    Value { texts: Vec<String>, kind: AnswerType },
}

/// Wording of a fact.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Words {
    /// A relation of the generated world.
    Relation(Relation),
    /// A mention in plain text, with the words before it.
    Cue {
        /// Kind of the mentioned thing: `German media group`.
        kind: String,
        /// The words before it.
        cue: String,
    },
}

/// Edge: a fact.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: Target,
    pub(crate) words: Words,
}

/// Nodes and facts, with the facts from and to every node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
    /// Nodes by their names: the passages of an article share theirs.
    by_name: HashMap<String, Vec<usize>>,
    out_of: Vec<Vec<usize>>,
    into: Vec<Vec<usize>>,
}

impl Graph {
    pub(crate) fn new(nodes: Vec<Node>, edges: Vec<Edge>) -> Self {
        let mut out_of = vec![Vec::new(); nodes.len()];
        let mut into = vec![Vec::new(); nodes.len()];
        for (idx, edge) in edges.iter().enumerate() {
            out_of[edge.from].push(idx);
            if let Target::Node(to) = edge.to {
                into[to].push(idx);
            }
        }
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (idx, node) in nodes.iter().enumerate() {
            by_name.entry(node.name.clone()).or_default().push(idx);
        }
        Self { nodes, edges, by_name, out_of, into }
    }

    /// Texts of all passages that have the name of a node's.
    pub(crate) fn article(&self, node: usize) -> impl Iterator<Item = &str> {
        let passages = self.by_name.get(&self.nodes[node].name).into_iter().flatten();
        passages.map(|idx| self.nodes[*idx].passage.text.as_str())
    }

    /// Facts from a node.
    pub(crate) fn out_of(&self, node: usize) -> &[usize] {
        &self.out_of[node]
    }

    /// Facts that lead to a node.
    pub(crate) fn into(&self, node: usize) -> &[usize] {
        &self.into[node]
    }

    /// Node that a fact leads to.
    pub(crate) fn next(&self, edge: usize) -> Option<usize> {
        match self.edges[edge].to {
            Target::Node(node) => Some(node),
            Target::Value { .. } => None,
        }
    }

    /// Type of the answer that a fact gives.
    pub(crate) fn answer_type(&self, edge: usize) -> AnswerType {
        match &self.edges[edge].to {
            Target::Node(_) => AnswerType::Entity,
            Target::Value { kind, .. } => *kind,
        }
    }

    /// Texts that count as right for a fact.
    pub(crate) fn answers(&self, edge: usize) -> Vec<String> {
        match &self.edges[edge].to {
            Target::Node(node) => {
                let name = &self.nodes[*node].name;
                let mut texts = vec![name.clone()];
                texts.extend(without_parenthesis(name).map(str::to_owned));
                texts
            }
            Target::Value { texts, .. } => texts.clone(),
        }
    }

    /// Number that a fact leads to, where it leads to one.
    pub(crate) fn number(&self, edge: usize) -> Option<u64> {
        match &self.edges[edge].to {
            Target::Value { texts, .. } => {
                texts[0].chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
            }
            Target::Node(_) => None,
        }
    }

    /// Noun phrase for the value of a fact: `the director of the film Veltor`.
    pub(crate) fn phrase(&self, edge: usize, subject: &str, rng: &mut ChaCha8Rng) -> String {
        match &self.edges[edge].words {
            Words::Relation(relation) => wording::noun_phrase(*relation, subject, rng),
            Words::Cue { kind, cue } => {
                format!("the {kind} that the article on {subject} names after “{cue}”")
            }
        }
    }

    /// Question for the value of a fact.
    pub(crate) fn ask(&self, edge: usize, subject: &str, rng: &mut ChaCha8Rng) -> String {
        match &self.edges[edge].words {
            Words::Relation(relation) => wording::relation_question(*relation, subject, rng),
            Words::Cue { kind, cue } => {
                if rng.random_bool(0.5) {
                    format!("Which {kind} does the article on {subject} name after “{cue}”?")
                } else {
                    format!("In the article on {subject}, which {kind} follows “{cue}”?")
                }
            }
        }
    }

    /// Fact as a step of the evidence.
    pub(crate) fn step(&self, edge: usize, is_first: bool) -> EvidenceStep {
        let node = &self.nodes[self.edges[edge].from];
        // An entity of the question is named with its kind, one that was found is not.
        let (sought, mention) =
            if is_first { (&node.sought, &node.mention) } else { (&node.name, &node.name) };
        let (question, queries) = match &self.edges[edge].words {
            Words::Relation(relation) => (
                wording::sub_question(*relation, mention),
                vec![
                    wording::search_query(sought, *relation),
                    format!("{} of {sought}", relation.name()),
                ],
            ),
            Words::Cue { kind, cue } => (
                format!("Which {kind} does the article on {mention} name after “{cue}”?"),
                vec![sought.clone(), format!("{sought} {cue}")],
            ),
        };
        EvidenceStep {
            question,
            answer: self.answers(edge).swap_remove(0),
            queries,
            passage_ids: vec![node.passage.id.clone()],
        }
    }
}

/// Title without its parenthesis: `Viva` of `Viva (UK and Ireland)`.
pub(crate) fn without_parenthesis(title: &str) -> Option<&str> {
    let (name, rest) = title.split_once(" (")?;
    (rest.ends_with(')') && !name.is_empty()).then_some(name)
}
