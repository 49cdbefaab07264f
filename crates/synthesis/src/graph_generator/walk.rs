//! Random walks over the graph: chains of facts from a node, to a node, and through a node.

use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use super::graph::Graph;
use super::plan::Avoided;
use crate::feedback_loop::AnswerType;

/// Most facts that are tried in one walk.
const MAX_ATTEMPTS: usize = 2_000;

/// Random walk that avoids some facts and nodes.
pub(super) struct Walk<'a> {
    graph: &'a Graph,
    avoided: &'a [usize],
    /// Nodes that the walk must not visit.
    taken: Vec<usize>,
}

impl<'a> Walk<'a> {
    /// Walk that avoids what failed before, and these nodes.
    pub(super) fn past(
        graph: &'a Graph,
        avoided: &'a Avoided,
        taken: impl IntoIterator<Item = usize>,
    ) -> Self {
        let taken = avoided.nodes.iter().copied().chain(taken).collect();
        Self { graph, avoided: &avoided.facts, taken }
    }

    /// Chain of `length` facts from a node, whose last gives an answer of this type.
    pub(super) fn onward(
        &mut self,
        node: usize,
        length: usize,
        answer_type: AnswerType,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<usize>> {
        self.chain(node, length, Direction::Onward(answer_type), rng)
    }

    /// Chain of `length` facts that leads to a node.
    pub(super) fn back(
        &mut self,
        node: usize,
        length: usize,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<usize>> {
        let mut chain = self.chain(node, length, Direction::Back, rng)?;
        chain.reverse();
        Some(chain)
    }

    /// Chain of `length` facts in the order of the walk.
    fn chain(
        &mut self,
        node: usize,
        length: usize,
        direction: Direction,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<usize>> {
        let mut chain = Vec::with_capacity(length);
        let mut attempts = MAX_ATTEMPTS;
        self.search(node, length, direction, &mut chain, &mut attempts, rng).then_some(chain)
    }

    /// Depth-first search in random order: adds `length` facts to the chain, if it finds them.
    fn search(
        &mut self,
        node: usize,
        length: usize,
        direction: Direction,
        chain: &mut Vec<usize>,
        attempts: &mut usize,
        rng: &mut ChaCha8Rng,
    ) -> bool {
        if length == 0 {
            return true;
        }
        self.taken.push(node);
        let mut edges = direction.edges(self.graph, node).to_vec();
        edges.shuffle(rng);
        for edge in edges {
            if *attempts == 0 {
                break;
            }
            *attempts -= 1;
            let next = direction.next(self.graph, edge);
            let fits = match direction {
                Direction::Onward(answer_type) if length == 1 => {
                    self.graph.answer_type(edge) == answer_type
                }
                _ => next.is_some(),
            };
            let free = next.is_none_or(|node| !self.taken.contains(&node));
            if !fits || !free || self.avoided.contains(&edge) {
                continue;
            }
            chain.push(edge);
            if self.search(next.unwrap_or(node), length - 1, direction, chain, attempts, rng) {
                return true;
            }
            chain.pop();
        }
        self.taken.pop();
        false
    }
}

/// Direction of a walk.
#[derive(Clone, Copy)]
enum Direction {
    /// From a node to what its facts lead to; the last fact gives an answer of this type.
    Onward(AnswerType),
    /// From a node to where the facts that lead to it begin.
    Back,
}

impl Direction {
    /// Facts at a node that the walk may take.
    fn edges(self, graph: &Graph, node: usize) -> &[usize] {
        match self {
            Self::Onward(_) => graph.out_of(node),
            Self::Back => graph.into(node),
        }
    }

    /// Node at the other end of a fact.
    fn next(self, graph: &Graph, edge: usize) -> Option<usize> {
        match self {
            Self::Onward(_) => graph.next(edge),
            Self::Back => Some(graph.edges[edge].from),
        }
    }
}

/// All nodes that a chain touches.
pub(super) fn nodes_of(graph: &Graph, chain: &[usize]) -> Vec<usize> {
    let from = chain.iter().map(|edge| graph.edges[*edge].from);
    let last = chain.last().and_then(|it| graph.next(*it));
    from.chain(last).collect()
}

/// Chain of `length` facts through a node, whose last gives an answer of this type.
pub(super) fn through(
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
    // Numbers of facts before the node; with entities, it may be the answer itself.
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
