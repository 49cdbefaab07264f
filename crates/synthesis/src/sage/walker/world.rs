//! The graph of a generated world: its entities and facts, as they are.

use super::graph::{Edge, Graph, Node, Target, Words};
use crate::question::accepted;
use crate::sage::AnswerType;
use crate::wording::start;
use crate::world::{Split, Value, World};

/// All entities of all splits; facts link within a split only.
pub(crate) fn graph(world: &World) -> Graph {
    let mut nodes = Vec::with_capacity(world.passages().len());
    let mut edges = Vec::new();
    for split in Split::ALL {
        for id in world.entities(split, None) {
            let entity = world.entity(id);
            let from = nodes.len();
            nodes.push(Node {
                name: entity.name.clone(),
                mention: start(entity),
                sought: entity.with_kind(),
                passage: world.passage(id).clone(),
                part: split as usize,
            });
            for fact in &entity.facts {
                let to = match fact.value {
                    Value::Entity(id) => Target::Node(id.index()),
                    Value::Year(_) => value(world, fact.value, AnswerType::Date),
                    Value::Count(_) | Value::Thousands(_) => {
                        value(world, fact.value, AnswerType::Number)
                    }
                };
                edges.push(Edge { from, to, words: Words::Relation(fact.relation) });
            }
        }
    }
    Graph::new(nodes, edges)
}

fn value(world: &World, value: Value, kind: AnswerType) -> Target {
    Target::Value { texts: accepted(world, value), kind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::WorldConfig;

    #[test]
    fn nodes_are_in_the_order_of_the_passages() {
        let world = World::generate(&WorldConfig::default()).unwrap();
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
