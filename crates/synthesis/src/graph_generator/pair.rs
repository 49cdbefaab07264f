//! Wording of a plan: the question–answer pair of its facts.

use forage_trajectory::Evidence;
use forage_world::Comparison;
use rand::rngs::ChaCha8Rng;

use super::graph::{Graph, Words};
use super::plan::Plan;
use super::walk::nodes_of;
use crate::feedback_loop::QaPair;

impl Plan {
    /// Question–answer pair of the plan; `None` where the question would contain its answer, or
    /// the name of an entity on the way to it.
    pub(super) fn pair(&self, graph: &Graph, rng: &mut ChaCha8Rng) -> Option<QaPair> {
        let (question, golden_answers) = match self.chains.as_slice() {
            [chain] => {
                let last = *chain.last()?;
                let subject = subject(graph, chain, rng)?;
                (graph.ask(last, &subject, rng), graph.answers(last))
            }
            [one, other] => ask_join(graph, [one, other], self.greater, rng)?,
            _ => return None,
        };
        let asked = question.to_lowercase();
        // `King Porrex` gives `Porrex` away, which the question began with.
        let answer = golden_answers[0].to_lowercase();
        let mut starts = self.chains.iter().filter_map(|it| it.first());
        if starts
            .any(|edge| answer.contains(&graph.nodes[graph.edges[*edge].from].name.to_lowercase()))
        {
            return None;
        }
        let on_the_way = self.chains.iter().flat_map(|chain| chain.iter().skip(1));
        let names = on_the_way.map(|edge| graph.nodes[graph.edges[*edge].from].name.as_str());
        if golden_answers
            .iter()
            .map(String::as_str)
            .chain(names)
            .any(|text| asked.contains(&text.to_lowercase()))
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
        let froms = self.chains.iter().flatten().map(|edge| graph.edges[*edge].from);
        let shape = match self.chains.as_slice() {
            [one, _] => join_shape(graph, one),
            _ => "bridge",
        };
        let evidence = Evidence {
            shape: shape.to_owned(),
            entities,
            steps: steps.collect(),
            passages: froms.map(|node| graph.nodes[node].passage.clone()).collect(),
            ..Evidence::default()
        };
        Some(QaPair { question, golden_answers, evidence })
    }
}

/// Noun phrase for the entity that all but the last fact of a chain lead to.
fn subject(graph: &Graph, chain: &[usize], rng: &mut ChaCha8Rng) -> Option<String> {
    let (first, rest) = (*chain.first()?, &chain[..chain.len() - 1]);
    let start = graph.nodes[graph.edges[first].from].mention.clone();
    Some(rest.iter().fold(start, |subject, edge| graph.phrase(*edge, &subject, rng)))
}

/// Shape of a joined question, by one of its chains.
fn join_shape(graph: &Graph, chain: &[usize]) -> &'static str {
    match chain.last().map(|edge| &graph.edges[*edge].words) {
        Some(Words::Cue { .. }) => "intersection",
        _ => "comparison",
    }
}

/// Text and golden answers of a joined question.
fn ask_join(
    graph: &Graph,
    chains: [&[usize]; 2],
    greater: bool,
    rng: &mut ChaCha8Rng,
) -> Option<(String, Vec<String>)> {
    let [one, other] = chains;
    let ends = [*one.last()?, *other.last()?];
    match &graph.edges[ends[0]].words {
        Words::Cue { kind, .. } => {
            let [one, other] = [subject(graph, one, rng)?, subject(graph, other, rng)?];
            let question = format!(
                "Which {kind} is named both in the article on {one} and in the article on {other}?"
            );
            Some((question, graph.answers(ends[0])))
        }
        Words::Relation(relation) => {
            let comparison = Comparison::of(relation.subject())?;
            let first_wins = (graph.number(ends[0])? > graph.number(ends[1])?) == greater;
            let winner = graph.edges[ends[usize::from(!first_wins)]].from;
            let template = comparison.template(rng);
            let [one, other] = [subject(graph, one, rng)?, subject(graph, other, rng)?];
            let question = comparison.fill(template, greater, [&one, &other]);
            Some((question, vec![graph.nodes[winner].name.clone()]))
        }
    }
}
