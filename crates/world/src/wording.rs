//! Wording of questions and searches.

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use crate::entity::Entity;
use crate::relation::{EntityKind, Object, Relation};

/// Mention of the entity that a question begins with: `the film Veltor`.
pub fn mention(entity: &Entity) -> String {
    match entity.kind {
        EntityKind::Person => entity.name.clone(),
        kind => format!("the {kind} {}", entity.name),
    }
}

/// Noun phrase for a relation of a subject: `the director of the film Veltor`.
pub fn noun_phrase(relation: Relation, subject: &str, rng: &mut ChaCha8Rng) -> String {
    let noun = relation.describe().nouns.choose(rng).expect("every relation has a noun");
    format!("the {noun} of {subject}")
}

/// Question for a relation of a subject, in one of several wordings.
pub fn relation_question(relation: Relation, subject: &str, rng: &mut ChaCha8Rng) -> String {
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

/// Plain question for one fact, as a step of the evidence.
pub fn sub_question(relation: Relation, subject: &str) -> String {
    let description = relation.describe();
    let word = match description.object {
        Object::Linked(EntityKind::Person) => "Who",
        _ => "What",
    };
    format!("{word} is the {} of {subject}?", description.nouns[0])
}

/// Search query for a fact, which is also how thoughts name it: `film Veltor director`.
pub fn search_query(mention: &str, relation: Relation) -> String {
    format!("{mention} {}", relation.name())
}
