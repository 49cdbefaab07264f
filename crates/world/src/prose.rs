//! Text of a passage: an introduction, the facts in some order, and sometimes a sentence without
//! a fact.

use std::fmt::Write;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::names::is_feminine;
use crate::relation::{EntityKind, Pronoun, Relation};

/// Adjectives that fit each kind; a person has an occupation instead. All take the article "a".
const fn traits(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Film => &["silent film", "short film", "color film", "popular film", "film"],
        EntityKind::Book => &["short book", "rare book", "famous book", "long book", "book"],
        EntityKind::Person => {
            &["painter", "teacher", "doctor", "pilot", "musician", "chemist", "lawyer", "poet"]
        }
        EntityKind::Company => &["small company", "family company", "large company", "company"],
        EntityKind::City => &["quiet city", "busy city", "coastal city", "northern city", "city"],
        EntityKind::Country => &["small country", "large country", "mountain country", "country"],
    }
}

/// Sentences without facts.
const fn fillers(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Film => &["Few copies remain.", "Critics liked it.", "The music is simple."],
        EntityKind::Book => &["Few copies remain.", "Readers liked it.", "The print is small."],
        EntityKind::Person => {
            &["Little else is known.", "Friends remember long walks.", "The letters are lost."]
        }
        EntityKind::Company => &["Old records are lost.", "Business is good.", "The gate is red."],
        EntityKind::City => &["Tourists like it.", "The streets are old.", "Winters are cold."],
        EntityKind::Country => &["Tourists like it.", "The hills are green.", "Summers are dry."],
    }
}

fn pronoun(kind: EntityKind, name: &str, pronoun: Pronoun) -> &'static str {
    match (kind, pronoun) {
        (EntityKind::Person, Pronoun::It) if is_feminine(name) => "She",
        (EntityKind::Person, Pronoun::It) => "He",
        (EntityKind::Person, Pronoun::Its) if is_feminine(name) => "Her",
        (EntityKind::Person, Pronoun::Its) => "His",
        (_, Pronoun::It) => "It",
        (_, Pronoun::Its) => "Its",
    }
}

/// Fact as a passage states it.
pub(crate) struct Statement {
    /// Relation.
    pub(crate) relation: Relation,
    /// Text of the value.
    pub(crate) value: String,
    /// Inline fact beside it: its relation, and the text of its value.
    pub(crate) inline: Option<(Relation, String)>,
}

/// Writes a passage about an entity.
///
/// Names stand only at the beginning and after spaces, so that a byte-level tokenizer spells a
/// name in one way wherever a space or a title precedes the text.
pub(crate) fn write_passage(
    kind: EntityKind,
    name: &str,
    facts: &[Statement],
    rng: &mut ChaCha8Rng,
) -> String {
    let what = *traits(kind).choose(rng).expect("every kind has traits");
    let mut text = format!("{name} is a {what}.");

    let mut sentences: Vec<String> = facts
        .iter()
        .map(|Statement { relation, value, inline }| {
            let [plain, others @ ..] = &relation.describe().wordings;
            let other = others.choose(rng).expect("there are three");
            let wording = if rng.random_bool(0.5) { plain } else { other };
            let subject = pronoun(kind, name, wording.pronoun);
            let mut sentence = format!("{subject} {} {value}{}", wording.cue, wording.tail);
            if let Some((relation, value)) = inline {
                write!(sentence, ", whose {} {value}", relation.describe().possessive().cue)
                    .expect("writing to a string does not fail");
            }
            sentence
        })
        .collect();
    sentences.shuffle(rng);

    let filler_at = rng.random_bool(0.3).then(|| rng.random_range(0..=sentences.len()));
    let filler = fillers(kind).choose(rng).expect("every kind has fillers");
    let mut joined = false;
    for (idx, sentence) in sentences.iter().enumerate() {
        if filler_at == Some(idx) && !joined {
            text.extend([" ", filler]);
        }
        if joined {
            text.push_str(", and ");
            text.push_str(&sentence[..1].to_ascii_lowercase());
            text.push_str(&sentence[1..]);
        } else {
            text.extend([" ", sentence]);
        }
        joined = !joined && idx + 1 < sentences.len() && rng.random_bool(0.25);
        if !joined {
            text.push('.');
        }
    }
    if filler_at == Some(sentences.len()) {
        text.extend([" ", filler]);
    }
    text
}
