//! Wandering: a chain of facts that leaves the right one at some step, and goes on from another
//! value of the same passage.

use forage_trajectory::EvidenceStep;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use crate::entity::{EntityId, Fact, FactValue};
use crate::relation::Relation;
use crate::wording::search_query;
use crate::world::World;

/// Steps of a chain that, at each step but the last one, is left with this probability: another
/// entity of the passage is taken for the value, one of the same kind where there is one. The chain
/// goes on from there in as many steps, with the relations of the question where the entity has
/// them, else with any of its own.
pub(crate) fn wander(
    world: &World,
    steps: &[EvidenceStep],
    probability: f64,
    rng: &mut ChaCha8Rng,
) -> Vec<EvidenceStep> {
    let mut steps = steps.to_vec();
    for idx in 0..steps.len().saturating_sub(1) {
        if !rng.random_bool(probability) {
            continue;
        }
        let Some(other) = other_value(world, &steps[idx], rng) else { continue };
        let relations: Vec<Option<Relation>> =
            steps[idx + 1..].iter().map(|step| Some(fact_of(world, step)?.1.relation)).collect();
        let Some(end) = follow(world, other, &relations, rng) else { continue };
        steps[idx].answer.clone_from(&world.entity(other).name);
        steps.splice(idx + 1.., end);
    }
    steps
}

/// Another entity than the right one that the passage of a step names.
fn other_value(world: &World, step: &EvidenceStep, rng: &mut ChaCha8Rng) -> Option<EntityId> {
    let (subject, fact) = fact_of(world, step)?;
    let FactValue::Entity(right) = fact.value else { return None };
    let others = world.entity(subject).facts.iter().filter_map(|other| match other.value {
        FactValue::Entity(id) if id != right && id != subject => Some(id),
        _ => None,
    });
    let others: Vec<EntityId> = others.collect();
    let kind = world.entity(right).kind;
    let alike: Vec<EntityId> =
        others.iter().copied().filter(|id| world.entity(*id).kind == kind).collect();
    alike.choose(rng).or_else(|| others.choose(rng)).copied()
}

/// Value that the passage of a step states, whatever the step takes for it.
pub(crate) fn stated_value(world: &World, step: &EvidenceStep) -> Option<String> {
    Some(world.text(fact_of(world, step)?.1.value))
}

/// Subject and fact of a step.
fn fact_of(world: &World, step: &EvidenceStep) -> Option<(EntityId, Fact)> {
    let id = world.entity_of(&step.passage_ids[0])?;
    let entity = world.entity(id);
    let names = [entity.name.clone(), entity.with_kind()];
    let asks = |fact: &&Fact| {
        names.iter().any(|name| search_query(name, fact.relation) == step.queries[0])
    };
    Some((id, *entity.facts.iter().find(asks)?))
}

/// Steps from an entity, along these relations where there are such facts. `None` where there is no
/// way on.
fn follow(
    world: &World,
    from: EntityId,
    relations: &[Option<Relation>],
    rng: &mut ChaCha8Rng,
) -> Option<Vec<EvidenceStep>> {
    let mut at = from;
    let mut steps = Vec::with_capacity(relations.len());
    for (idx, relation) in relations.iter().enumerate() {
        let is_last = idx + 1 == relations.len();
        let leads_on = |fact: &Fact| is_last || matches!(fact.value, FactValue::Entity(_));
        let entity = world.entity(at);
        let wanted = relation.and_then(|relation| entity.fact(relation).copied());
        let fact = wanted.filter(leads_on).or_else(|| {
            let facts: Vec<Fact> = entity.facts.iter().copied().filter(leads_on).collect();
            facts.choose(rng).copied()
        })?;
        steps.push(EvidenceStep {
            answer: world.text(fact.value),
            queries: vec![search_query(&entity.name, fact.relation)],
            passage_ids: vec![world.passage(at).id.clone()],
            ..EvidenceStep::default()
        });
        if let FactValue::Entity(next) = fact.value {
            at = next;
        }
    }
    Some(steps)
}
