//! Which facts a question goes through, and how it is put.

use forage_trajectory::Evidence;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::graph::Graph;
use super::join;
use crate::sage::{AnswerType, Pair};

/// Facts that are tried before a walk is given up.
const PATIENCE: usize = 2_000;

/// The facts of a question, by their indices in the graph.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// A chain of facts, each about what the one before leads to; or two that are joined by what they
    /// lead to.
    pub(crate) chains: Vec<Vec<usize>>,
    /// Of two chains, whether the greater one is asked for.
    #[serde(default)]
    pub(crate) greater: bool,
    /// What failed before.
    #[serde(default)]
    pub(crate) avoided: Avoided,
}

/// What a chain is not to go through again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Avoided {
    /// Facts that were not needed, or not read.
    pub(crate) facts: Vec<usize>,
    /// Nodes that were not found by their names.
    pub(crate) nodes: Vec<usize>,
}

/// What walks may not go through.
pub(crate) struct Walk<'a> {
    graph: &'a Graph,
    avoided: &'a [usize],
    /// Nodes that are taken.
    taken: Vec<usize>,
}

impl<'a> Walk<'a> {
    /// A walk past what is avoided and these nodes.
    pub(crate) fn past(
        graph: &'a Graph,
        avoided: &'a Avoided,
        taken: impl IntoIterator<Item = usize>,
    ) -> Self {
        let taken = avoided.nodes.iter().copied().chain(taken).collect();
        Self { graph, avoided: &avoided.facts, taken }
    }

    /// A chain of facts from a node, whose last leads to an answer of this type.
    pub(crate) fn onward(
        &mut self,
        node: usize,
        length: usize,
        answer_type: AnswerType,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<usize>> {
        let mut chain = Vec::with_capacity(length);
        let mut patience = PATIENCE;
        self.go_on(node, length, answer_type, &mut chain, &mut patience, rng).then_some(chain)
    }

    fn go_on(
        &mut self,
        node: usize,
        length: usize,
        answer_type: AnswerType,
        chain: &mut Vec<usize>,
        patience: &mut usize,
        rng: &mut ChaCha8Rng,
    ) -> bool {
        if length == 0 {
            return true;
        }
        self.taken.push(node);
        let mut edges = self.graph.out_of(node).to_vec();
        edges.shuffle(rng);
        for edge in edges {
            if *patience == 0 {
                break;
            }
            *patience -= 1;
            let next = self.graph.next(edge);
            let fits = if length == 1 {
                self.graph.answer_type(edge) == answer_type
            } else {
                next.is_some()
            };
            let free = next.is_none_or(|it| !self.taken.contains(&it));
            if !fits || !free || self.avoided.contains(&edge) {
                continue;
            }
            chain.push(edge);
            if self.go_on(next.unwrap_or(node), length - 1, answer_type, chain, patience, rng) {
                return true;
            }
            chain.pop();
        }
        self.taken.pop();
        false
    }

    /// A chain of facts that leads to a node.
    pub(crate) fn back(
        &mut self,
        node: usize,
        length: usize,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<usize>> {
        let mut chain = Vec::with_capacity(length);
        let mut patience = PATIENCE;
        let found = self.go_back(node, length, &mut chain, &mut patience, rng);
        chain.reverse();
        found.then_some(chain)
    }

    fn go_back(
        &mut self,
        node: usize,
        length: usize,
        chain: &mut Vec<usize>,
        patience: &mut usize,
        rng: &mut ChaCha8Rng,
    ) -> bool {
        if length == 0 {
            return true;
        }
        self.taken.push(node);
        let mut edges = self.graph.into(node).to_vec();
        edges.shuffle(rng);
        for edge in edges {
            if *patience == 0 {
                break;
            }
            *patience -= 1;
            let from = self.graph.edges[edge].from;
            if self.taken.contains(&from) || self.avoided.contains(&edge) {
                continue;
            }
            chain.push(edge);
            if self.go_back(from, length - 1, chain, patience, rng) {
                return true;
            }
            chain.pop();
        }
        self.taken.pop();
        false
    }
}

/// All nodes that a chain touches.
pub(crate) fn nodes_of(graph: &Graph, chain: &[usize]) -> Vec<usize> {
    let from = chain.iter().map(|it| graph.edges[*it].from);
    let last = chain.last().and_then(|it| graph.next(*it));
    from.chain(last).collect()
}

/// A chain of so many facts that goes through a node, to an answer of this type.
pub(crate) fn through(
    graph: &Graph,
    node: usize,
    length: usize,
    answer_type: AnswerType,
    avoided: &Avoided,
    rng: &mut ChaCha8Rng,
) -> Option<Vec<usize>> {
    if avoided.nodes.contains(&node) {
        return None;
    }
    // How many facts come before the node; with entities, it may be the answer itself.
    let mut splits: Vec<usize> = (0..length).collect();
    splits.shuffle(rng);
    splits.into_iter().find_map(|before| {
        let after =
            Walk::past(graph, avoided, []).onward(node, length - before, answer_type, rng)?;
        let taken = nodes_of(graph, &after);
        let mut chain = Walk::past(graph, avoided, taken).back(node, before, rng)?;
        chain.extend(after);
        Some(chain)
    })
}

impl Plan {
    /// A single chain.
    pub(crate) fn chain(chain: Vec<usize>) -> Self {
        Self { chains: vec![chain], ..Self::default() }
    }

    /// How many facts it takes.
    pub(crate) fn n_facts(&self) -> usize {
        self.chains.iter().map(Vec::len).sum()
    }

    /// Puts the question; `None` where it would give its answer away, or a name on the way to it.
    pub(crate) fn pair(&self, graph: &Graph, rng: &mut ChaCha8Rng) -> Option<Pair> {
        let (question, golden_answers) = match self.chains.as_slice() {
            [chain] => {
                let last = *chain.last()?;
                let subject = subject(graph, chain, rng)?;
                (graph.ask(last, &subject, rng), graph.answers(last))
            }
            [one, other] => join::ask(graph, [one, other], self.greater, rng)?,
            _ => return None,
        };
        let asked = question.to_lowercase();
        // `King Porrex` gives `Porrex` away, which the question began with.
        let answer = golden_answers[0].to_lowercase();
        let mut starts = self.chains.iter().filter_map(|it| it.first());
        if starts.any(|it| answer.contains(&graph.nodes[graph.edges[*it].from].name.to_lowercase()))
        {
            return None;
        }
        let on_the_way = self.chains.iter().flat_map(|it| it.iter().skip(1));
        let names = on_the_way.map(|it| graph.nodes[graph.edges[*it].from].name.as_str());
        if golden_answers
            .iter()
            .map(String::as_str)
            .chain(names)
            .any(|it| asked.contains(&it.to_lowercase()))
        {
            return None;
        }
        let mut entities: Vec<String> = Vec::new();
        for node in self.chains.iter().flat_map(|chain| nodes_of(graph, chain)) {
            let name = &graph.nodes[node].name;
            if !entities.contains(name) {
                entities.push(name.clone());
            }
        }
        let steps = self.chains.iter().flat_map(|chain| {
            chain.iter().enumerate().map(|(hop, edge)| graph.step(*edge, hop == 0))
        });
        let froms = self.chains.iter().flatten().map(|it| graph.edges[*it].from);
        let shape = match self.chains.as_slice() {
            [one, _] => join::shape(graph, one),
            _ => "bridge",
        };
        let evidence = Evidence {
            shape: shape.to_owned(),
            entities,
            steps: steps.collect(),
            passages: froms.map(|it| graph.nodes[it].passage.clone()).collect(),
        };
        Some(Pair { question, golden_answers, evidence })
    }
}

/// What all but the last fact of a chain lead to, in words.
pub(super) fn subject(graph: &Graph, chain: &[usize], rng: &mut ChaCha8Rng) -> Option<String> {
    let (first, rest) = (*chain.first()?, &chain[..chain.len() - 1]);
    let start = graph.nodes[graph.edges[first].from].mention.clone();
    Some(rest.iter().fold(start, |subject, edge| graph.phrase(*edge, &subject, rng)))
}
