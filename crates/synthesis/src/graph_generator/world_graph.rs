//! Graph of a generated world: its entities and facts.

use forage_world::{FactValue, Split, World, wording};

use super::graph::{Edge, Graph, Node, Target, Words};
use crate::feedback_loop::AnswerType;

/// Graph of the entities of all splits; facts link within a split only.
pub(crate) fn graph(world: &World) -> Graph {
    let mut nodes = Vec::with_capacity(world.passages().len());
    let mut edges = Vec::new();
    for split in Split::ALL {
        for id in world.entities(split, None) {
            let entity = world.entity(id);
            let from = nodes.len();
            nodes.push(Node {
                name: entity.name.clone(),
                mention: wording::mention(entity),
                sought: entity.with_kind(),
                passage: world.passage(id).clone(),
                split: split as usize,
            });
            for fact in &entity.facts {
                let to = match fact.value {
                    FactValue::Entity(id) => Target::Node(id.index()),
                    FactValue::Year(_) => value(world, fact.value, AnswerType::Date),
                    FactValue::Count(_) | FactValue::Thousands(_) => {
                        value(world, fact.value, AnswerType::Number)
                    }
                };
                edges.push(Edge { from, to, words: Words::Relation(fact.relation) });
            }
        }
    }
    Graph::new(nodes, edges)
}

fn value(world: &World, value: FactValue, kind: AnswerType) -> Target {
    Target::Value { texts: world.accepted_answers(value), kind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forage_world::WorldConfig;

    #[test]
    fn nodes_are_in_the_order_of_the_passages() {
        let world = World::generate(&WorldConfig::default(), 1).unwrap();
        let graph = graph(&world);
        for (node, passage) in graph.nodes.iter().zip(world.passages()) {
            assert_eq!(&node.passage, passage);
        }
        for (idx, edge) in graph.edges.iter().enumerate() {
            let text = &graph.nodes[edge.from].passage.text;
            assert!(text.contains(&graph.answers(idx)[0]), "{edge:?}: {text}");
        }
    }
}
