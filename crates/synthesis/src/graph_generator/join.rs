//! Joins: plans of two chains that are compared, or that lead to the same node.
//!
//! In a generated world the ends are numbers, and are compared. In plain text, where no numbers are
//! known to be comparable, both chains lead to the same thing: it is the only name that two
//! articles share, so that neither alone gives it away.

use std::collections::HashSet;

use forage_world::Comparison;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::english::SENTENCE_STARTERS;
use super::graph::{Graph, Words};
use super::plan::{Avoided, Plan};
use super::walk::{Walk, nodes_of};
use crate::feedback_loop::AnswerType;

/// Fewest facts of a joined question through a node: 2 in plain text. Where numbers are compared,
/// each chain has two, since the answer is the subject of the number and must not be in the
/// question.
pub(super) fn least_facts(graph: &Graph, node: usize) -> usize {
    if is_text(graph, node) { 2 } else { 4 }
}

fn is_text(graph: &Graph, node: usize) -> bool {
    let mut edges = graph.out_of(node).iter();
    edges.all(|edge| matches!(graph.edges[*edge].words, Words::Cue { .. }))
}

/// Plan of two chains with `length` facts together, one of them through a node, that are joined at
/// their ends.
pub(super) fn join(
    graph: &Graph,
    node: usize,
    length: usize,
    rng: &mut ChaCha8Rng,
) -> Option<Plan> {
    if is_text(graph, node) {
        shared(graph, node, length, rng)
    } else {
        comparison(graph, node, length, rng)
    }
}

/// Two chains to the one name that two articles share, the first through the article of a node.
fn shared(graph: &Graph, node: usize, length: usize, rng: &mut ChaCha8Rng) -> Option<Plan> {
    let known: HashSet<&str> = graph.article(node).flat_map(names).collect();
    let mut ends = graph.out_of(node).to_vec();
    ends.shuffle(rng);
    ends.into_iter().find_map(|end| {
        let to = graph.next(end)?;
        let shared: HashSet<&str> = words(&graph.nodes[to].name).collect();
        // An article may be of several passages, none of which shares another name.
        let joins = |other: usize| {
            let mut others = graph.article(other).flat_map(names);
            graph.nodes[other].name != graph.nodes[node].name
                && others.all(|name| shared.contains(name) || !known.contains(name))
        };
        let mut others = graph.into(to).to_vec();
        others.shuffle(rng);
        let other = others.into_iter().find(|edge| joins(graph.edges[*edge].from))?;
        let from = graph.edges[other].from;
        let before = rng.random_range(0..=length.checked_sub(2)?);
        let avoided = Avoided::default();
        let one = Walk::past(graph, &avoided, [to, from]).back(node, before, rng)?;
        let taken: Vec<usize> = nodes_of(graph, &one).into_iter().chain([to, node]).collect();
        let rest = Walk::past(graph, &avoided, taken).back(from, length - 2 - before, rng)?;
        let chains = vec![[one, vec![end]].concat(), [rest, vec![other]].concat()];
        Some(Plan { chains, ..Plan::default() })
    })
}

/// The capitalized words of a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    words(text)
        .filter(|word| word.starts_with(char::is_uppercase) && !SENTENCE_STARTERS.contains(word))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|it: char| !it.is_alphanumeric()).filter(|it| !it.is_empty())
}

/// Two chains, one of them from a node on, that end in numbers of the same relation.
fn comparison(graph: &Graph, node: usize, length: usize, rng: &mut ChaCha8Rng) -> Option<Plan> {
    (0..20).find_map(|_| {
        let one_length = rng.random_range(2..=length.checked_sub(2)?);
        let one = compared(graph, node, one_length, rng)?;
        let Words::Relation(relation) = graph.edges[*one.last()?].words else { return None };
        let alike: Vec<usize> = (0..graph.edges.len())
            .filter(|idx| {
                let edge = &graph.edges[*idx];
                edge.words == Words::Relation(relation)
                    && graph.nodes[edge.from].split == graph.nodes[node].split
            })
            .collect();
        let last = *alike.choose(rng)?;
        let values = [*one.last()?, last].map(|it| graph.number(it));
        let (Some(first), Some(second)) = (values[0], values[1]) else { return None };
        if first.abs_diff(second) < 3 || 10 * first.abs_diff(second) < first.max(second) / 100 {
            return None;
        }
        let from = graph.edges[last].from;
        let taken = nodes_of(graph, &one);
        if taken.contains(&from) {
            return None;
        }
        let length = length - one_length - 1;
        let mut other = Walk::past(graph, &Avoided::default(), taken).back(from, length, rng)?;
        other.push(last);
        let greater = rng.random_bool(0.5);
        Some(Plan { chains: vec![one, other], greater, avoided: Avoided::default() })
    })
}

/// A chain from a node to a number that entities are compared by.
fn compared(graph: &Graph, node: usize, length: usize, rng: &mut ChaCha8Rng) -> Option<Vec<usize>> {
    let answer_type = *[AnswerType::Date, AnswerType::Number].choose(rng)?;
    let avoided = Avoided::default();
    let chain = Walk::past(graph, &avoided, []).onward(node, length, answer_type, rng)?;
    let Words::Relation(relation) = graph.edges[*chain.last()?].words else { return None };
    let comparison = Comparison::of(relation.subject())?;
    (comparison.relation == relation).then_some(chain)
}

#[cfg(test)]
mod tests {
    use forage_trajectory::{Passage, Purpose, Stream};

    use super::*;
    use crate::graph_generator::plain_text;

    /// A corpus of two towns and what names them.
    fn corpus(second: &str) -> Vec<Passage> {
        [
            ("Veltor", "Veltor is a village by the sea."),
            ("Munkas", "Munkas is a village in the hills."),
            (
                "Orlin Bridge",
                "The bridge was built by Ada Moor at the village of Veltor in the end.",
            ),
            ("Tessa Quill", second),
            (
                "Hall of Reeds",
                "The hall was at last given to a painter, Tessa Quill, in her old age.",
            ),
        ]
        .into_iter()
        .map(|(title, text)| Passage {
            id: title.to_owned(),
            title: title.to_owned(),
            text: text.to_owned(),
        })
        .collect()
    }

    fn questions(second: &str, length: usize) -> Vec<(String, String, usize)> {
        let graph = plain_text::graph(&corpus(second)).unwrap();
        let mut made = Vec::new();
        for seed in 0..20 {
            let mut rng = Stream::new(seed, Purpose::Proposals).rng();
            let Some(plan) = join(&graph, 2, length, &mut rng) else { continue };
            let pair = plan.pair(&graph, &mut rng).unwrap();
            assert_eq!(pair.evidence.shape, "intersection");
            made.push((pair.question, pair.golden_answers[0].clone(), pair.evidence.steps.len()));
        }
        made
    }

    #[test]
    fn two_articles_are_joined_by_the_only_name_they_share() {
        let painter = "Tessa Quill was a painter. She was born in the village of Veltor by night.";
        let asked = questions(painter, 2);
        assert_eq!(asked.len(), 20);
        let question = "Which village is named both in the article on “Orlin Bridge” and in the \
                        article on “Tessa Quill”?";
        assert_eq!(asked[0], (question.to_owned(), "Veltor".to_owned(), 2));

        // The painter is named by the hall; nothing names the bridge.
        let longer = questions(painter, 3);
        assert!(!longer.is_empty() && longer.iter().all(|it| it.2 == 3));
        let hidden = "and in the article on the painter that the article on “Hall of Reeds” names";
        assert!(longer[0].0.contains(hidden), "{}", longer[0].0);

        // Where the articles share another name, each could be meant.
        let friend = "Tessa Quill was a painter. She was born in the village of Veltor to Moor.";
        assert_eq!(questions(friend, 2), []);
    }
}
