//! How questions are put.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use crate::relation::{EntityKind, Object, Relation};
use crate::world::Entity;

/// The entity a question begins with: `the film Veltor`.
pub(crate) fn start(entity: &Entity) -> String {
    match entity.kind {
        EntityKind::Person => entity.name.clone(),
        kind => format!("the {kind} {}", entity.name),
    }
}

/// `the director of the film Veltor`.
pub(crate) fn noun_phrase(relation: Relation, subject: &str, rng: &mut ChaCha8Rng) -> String {
    let noun = relation.describe().nouns.choose(rng).expect("every relation has a noun");
    format!("the {noun} of {subject}")
}

/// A question for a relation of a subject.
pub(crate) fn ask(relation: Relation, subject: &str, rng: &mut ChaCha8Rng) -> String {
    let description = relation.describe();
    if let Some(asked) = description.asked.choose(rng)
        && rng.random_bool(0.5)
    {
        return asked.replace("{}", subject);
    }
    let phrase = noun_phrase(relation, subject, rng);
    let frames: &[&str] = match description.object {
        Object::Linked(EntityKind::Person) => {
            &["Who is {}?", "Name {}.", "What is the name of {}?"]
        }
        Object::Linked(EntityKind::Company) => &["Which company is {}?", "What is {}?", "Name {}."],
        Object::Linked(EntityKind::City) => &["Which city is {}?", "What is {}?", "Name {}."],
        Object::Linked(_) => &["Which country is {}?", "What is {}?", "Name {}."],
        Object::Year | Object::Count | Object::Thousands => &["What is {}?", "Tell me {}."],
    };
    frames.choose(rng).expect("there are frames").replace("{}", &phrase)
}

/// The plain question for one fact.
pub(crate) fn sub_question(relation: Relation, subject: &str) -> String {
    let description = relation.describe();
    let word = match description.object {
        Object::Linked(EntityKind::Person) => "Who",
        _ => "What",
    };
    format!("{word} is the {} of {subject}?", description.nouns[0])
}
