//! Exercises of single reading skills: looking a value up, recalling it, and comparing two
//! values.
//!
//! In a demonstration the looked-up values are a small part of the tokens. These texts are
//! written like demonstrations, but consist of little else.

use std::fmt::Write;
use std::ops::RangeInclusive;

use forage_trajectory::Stream;
use forage_trajectory::protocol::{THINK, format_document, format_observation};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::comparison::{COMPARISONS, Comparison};
use crate::entity::{EntityId, FactValue, Split};
use crate::relation::EntityKind;
use crate::wording::search_query;
use crate::world::World;

/// Exercise: consecutive texts, each with its loss mask. Texts begin with a space or a tag, so
/// that encoding them one by one is encoding them as a whole.
pub type Exercise = Vec<(String, bool)>;

/// Number of pairs in a comparison exercise.
const PAIRS: usize = 4;

/// Numbers of names in a recall exercise. Copying is learned from short lists, where the right
/// place is one among few, long before it is learned from long ones; then it carries over.
const RECALLED: RangeInclusive<usize> = 2..=6;

/// Reading exercise: one or two passages in an observation, then all their facts as thoughts state
/// them. Only the values are in the loss.
pub fn reading_exercise(world: &World, split: Split, stream: Stream) -> Exercise {
    let mut rng = stream.rng();
    let first = world.draw(split, None, &mut rng);
    let mut shown = vec![first];
    if rng.random_bool(0.5) {
        shown.push(second_passage(world, split, first, &mut rng));
    }
    shown.shuffle(&mut rng);

    let document = |(rank, id): (usize, &EntityId)| {
        let passage = world.passage(*id);
        format_document(rank, &passage.title, &passage.text) + "\n"
    };
    let documents: String = (1..).zip(&shown).map(document).collect();
    let mut given = format_observation(&documents) + THINK.open;

    let mut facts: Vec<_> = shown
        .iter()
        .flat_map(|&id| world.entity(id).facts.iter().map(move |fact| (id, *fact)))
        .flat_map(|(id, fact)| [Some((id, fact)), world.inline_fact(&fact)])
        .flatten()
        .collect();
    facts.shuffle(&mut rng);

    let mut exercise = Vec::with_capacity(2 * facts.len() + 1);
    for (id, fact) in facts {
        let entity = world.entity(id);
        // Only titles have namesakes; whatever else is found on the way is named without its kind.
        let titled = matches!(entity.kind, EntityKind::Film | EntityKind::Book);
        let mention =
            if titled || rng.random_bool(0.5) { entity.with_kind() } else { entity.name.clone() };
        write!(given, " {}", search_query(&mention, fact.relation))
            .expect("writing to a string does not fail");
        exercise.push((std::mem::take(&mut given), false));
        exercise.push((format!(" {}.", world.text(fact.value)), true));
    }
    exercise.push((THINK.close.to_owned(), false));
    exercise
}

/// Recall exercise: numbered names, then the same numbers in another order, each with its name
/// again. Only the repeated names are in the loss: recalling the text behind a token is half of
/// reading.
pub fn recall_exercise(world: &World, split: Split, stream: Stream) -> Exercise {
    let mut rng = stream.rng();
    let mut numbers: Vec<usize> = (10..100).collect();
    numbers.shuffle(&mut rng);
    numbers.truncate(rng.random_range(RECALLED));
    let mut pairs: Vec<_> = numbers
        .into_iter()
        .map(|number| (number, &world.entity(world.draw(split, None, &mut rng)).name))
        .collect();
    let list: Vec<_> = pairs.iter().map(|(number, name)| format!(" {number} {name}.")).collect();
    let mut given = THINK.open.to_owned() + &list.concat();
    pairs.shuffle(&mut rng);
    let mut exercise = Vec::with_capacity(2 * pairs.len() + 1);
    for (number, name) in pairs {
        write!(given, " {number}").expect("writing to a string does not fail");
        exercise.push((std::mem::take(&mut given), false));
        exercise.push((format!(" {name}."), true));
    }
    exercise.push((THINK.close.to_owned(), false));
    exercise
}

/// A passage to confuse the first one with: of the same kind, of a linked entity, or any.
fn second_passage(world: &World, split: Split, first: EntityId, rng: &mut ChaCha8Rng) -> EntityId {
    let entity = world.entity(first);
    loop {
        let second = match rng.random_range(0..3) {
            0 => world.draw(split, Some(entity.kind), rng),
            1 => match entity.facts.choose(rng).map(|fact| fact.value) {
                Some(FactValue::Entity(linked)) => linked,
                _ => continue,
            },
            _ => world.draw(split, None, rng),
        };
        if second != first {
            return second;
        }
    }
}

/// Comparison exercise: pairs of facts as thoughts state them, then the smaller and the greater of
/// each. Only the verdicts are in the loss.
pub fn comparison_exercise(world: &World, split: Split, stream: Stream) -> Exercise {
    let mut rng = stream.rng();
    let mut exercise = Vec::new();
    let mut given = THINK.open.to_owned();
    for _ in 0..PAIRS {
        let comparison = COMPARISONS.choose(&mut rng).expect("there are comparisons");
        let Some(pair) = comparison.draw_pair(world, split, &mut rng) else { continue };
        let entities = pair.map(|(id, _)| world.entity(id));
        let values = pair.map(|(_, value)| world.text(value));
        for (entity, value) in entities.iter().zip(&values) {
            let query = search_query(&entity.with_kind(), comparison.relation);
            write!(given, " {query} {value}.").expect("writing to a string does not fail");
        }
        let sides = [0, 1].map(|side: usize| (values[side].as_str(), entities[side].name.as_str()));
        given.push(' ');
        given.push_str(&Comparison::compare(sides));

        let first_is_greater = pair[0].1.number() > pair[1].1.number();
        let mut directions = [false, true];
        directions.shuffle(&mut rng);
        for greater in directions {
            let (value, name) = sides[usize::from(greater != first_is_greater)];
            given.push(' ');
            given.push_str(&comparison.verdict(greater));
            exercise.push((std::mem::take(&mut given), false));
            exercise.push((format!(" {value} {name}."), true));
        }
    }
    given.push_str(THINK.close);
    exercise.push((given, false));
    exercise
}
