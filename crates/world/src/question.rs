//! Multi-hop and comparison questions about a world, with the evidence that answers them.

use std::collections::HashSet;

use forage_trajectory::{Evidence, EvidenceStep, Purpose, Question, Stream};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use crate::comparison::COMPARISONS;
use crate::entity::{EntityId, Fact, FactValue, Split};
use crate::error::WorldError;
use crate::mix::QuestionMix;
use crate::shape::QuestionShape;
use crate::wording::{mention, noun_phrase, relation_question, search_query, sub_question};
use crate::world::World;

/// Draws a question of a shape about one split. Its id names the split and the stream.
///
/// # Errors
///
/// [`WorldError::NoQuestion`] where none is found in many attempts.
pub fn question(
    world: &World,
    split: Split,
    shape: QuestionShape,
    stream: Stream,
) -> Result<Question, WorldError> {
    let mut rng = stream.rng();
    let found = (0..1000).find_map(|_| match shape {
        QuestionShape::Bridge { hops } => bridge(world, split, hops, &mut rng),
        QuestionShape::Comparison => comparison(world, split, &mut rng),
    });
    let question = found.ok_or(WorldError::NoQuestion { split, shape })?;
    let id = format!("{split}-{}-{}-{}", stream.step, stream.question, stream.member);
    Ok(Question { id, ..question })
}

/// Draws distinct questions about one split. Fewer questions are the first of many.
///
/// Their chains of facts are distinct too, until a small split runs out of them: then the same
/// facts are asked for in another wording.
///
/// # Errors
///
/// [`WorldError::Mix`], [`WorldError::NoQuestion`] and [`WorldError::Exhausted`].
pub fn questions(
    world: &World,
    split: Split,
    count: usize,
    seed: u64,
    mix: &QuestionMix,
) -> Result<Vec<Question>, WorldError> {
    mix.check()?;
    let stream = Stream::new(seed, Purpose::Questions).at_step(split as u64);
    let mut texts = HashSet::new();
    let mut chains = HashSet::new();
    let mut made = Vec::with_capacity(count);
    for index in 0..count {
        let shape = mix.shape(index);
        let mut found = None;
        for attempt in 0..400 {
            let stream = stream.of_member(index as u64, 0).at_turn(attempt);
            let question = question(world, split, shape, stream)?;
            let new_chain = !chains.contains(&facts_of(&question));
            if !texts.contains(&question.text) && (new_chain || attempt >= 100) {
                found = Some(question);
                break;
            }
        }
        let Some(mut question) = found else {
            return Err(WorldError::Exhausted { split, shape, made: index, asked: count });
        };
        texts.insert(question.text.clone());
        chains.insert(facts_of(&question));
        question.id = format!("{split}-{index:05}");
        made.push(question);
    }
    Ok(made)
}

/// Identity of a question's facts, which does not depend on its wording.
fn facts_of(question: &Question) -> Vec<String> {
    let mut queries: Vec<_> =
        question.evidence.steps.iter().map(|step| step.queries[0].clone()).collect();
    queries.sort_unstable();
    queries
}

/// Multi-hop question: a random walk from a random entity; `None` where the walk gets stuck.
///
/// No relation is used twice and no entity is visited twice. Only the last value may be a number.
fn bridge(world: &World, split: Split, hops: usize, rng: &mut ChaCha8Rng) -> Option<Question> {
    let mut path: Vec<(EntityId, Fact)> = Vec::with_capacity(hops);
    let mut at = world.draw(split, None, rng);
    for hop in 0..hops {
        let fits = |fact: &&Fact| {
            let new = path.iter().all(|(_, used)| used.relation != fact.relation);
            new && match fact.value {
                FactValue::Entity(next) => next != at && path.iter().all(|(id, _)| *id != next),
                _ => hop + 1 == hops,
            }
        };
        let facts: Vec<_> = world.entity(at).facts.iter().filter(fits).collect();
        let fact = **facts.choose(rng)?;
        path.push((at, fact));
        if let FactValue::Entity(next) = fact.value {
            at = next;
        }
    }

    let (first, _) = path[0];
    let (_, last) = *path.last()?;
    let mut subject = mention(world.entity(first));
    for (_, fact) in &path[..hops - 1] {
        subject = noun_phrase(fact.relation, &subject, rng);
    }
    let mut entities: Vec<_> = path.iter().map(|(id, _)| world.entity(*id).name.clone()).collect();
    if let FactValue::Entity(id) = last.value {
        entities.push(world.entity(id).name.clone());
    }
    Some(Question {
        id: String::new(),
        text: relation_question(last.relation, &subject, rng),
        golden_answers: world.accepted_answers(last.value),
        evidence: Evidence {
            shape: "bridge".to_owned(),
            entities,
            steps: path
                .iter()
                .enumerate()
                .map(|(hop, (id, fact))| step(world, *id, *fact, hop == 0))
                .collect(),
            passages: path.iter().map(|(id, _)| world.passage(*id).clone()).collect(),
            ..Evidence::default()
        },
    })
}

fn comparison(world: &World, split: Split, rng: &mut ChaCha8Rng) -> Option<Question> {
    let comparison = COMPARISONS.choose(rng)?;
    let pair = comparison.draw_pair(world, split, rng)?;
    let greater = rng.random_bool(0.5);
    let [one, other] = pair.map(|(id, _)| world.entity(id));
    let first_wins = (pair[0].1.number() > pair[1].1.number()) == greater;
    let winner = if first_wins { one } else { other };
    let mentions = [one, other].map(mention);
    let template = comparison.template(rng);
    Some(Question {
        id: String::new(),
        text: comparison.fill(template, greater, mentions.each_ref().map(String::as_str)),
        golden_answers: vec![winner.name.clone()],
        evidence: Evidence {
            shape: "comparison".to_owned(),
            entities: vec![one.name.clone(), other.name.clone()],
            steps: pair
                .map(|(id, value)| {
                    step(
                        world,
                        id,
                        Fact { relation: comparison.relation, value, inline: None },
                        true,
                    )
                })
                .to_vec(),
            passages: pair.map(|(id, _)| world.passage(id).clone()).to_vec(),
            ..Evidence::default()
        },
    })
}

/// One fact as a step of the evidence. An entity of the question is named with its kind, one that
/// was found is not: nothing that a fact leads to has a namesake.
fn step(world: &World, id: EntityId, fact: Fact, of_question: bool) -> EvidenceStep {
    let entity = world.entity(id);
    let (name, subject) = if of_question {
        (entity.with_kind(), mention(entity))
    } else {
        (entity.name.clone(), entity.name.clone())
    };
    EvidenceStep {
        question: sub_question(fact.relation, &subject),
        answer: world.text(fact.value),
        queries: vec![
            search_query(&name, fact.relation),
            format!("{} of {name}", fact.relation.name()),
        ],
        passage_ids: vec![world.passage(id).id.clone()],
    }
}
