//! Which of two entities has more of something: the words and the rule.

use rand::rngs::ChaCha8Rng;

use crate::relation::{EntityKind, Relation};
use crate::world::{EntityId, Split, Value, World};

/// What two entities of a kind are compared by; one a kind.
pub(crate) struct Comparison {
    pub(crate) kind: EntityKind,
    pub(crate) relation: Relation,
    /// The words for the smaller and for the greater value.
    words: [&'static str; 2],
    /// Questions: `{word}`, `{one}`, `{other}`.
    pub(crate) asked: [&'static str; 2],
}

pub(crate) static COMPARISONS: [Comparison; 5] = [
    Comparison {
        kind: EntityKind::Film,
        relation: Relation::ReleaseYear,
        words: ["earlier", "later"],
        asked: [
            "Which film was released {word}, {one} or {other}?",
            "Of {one} and {other}, which was released {word}?",
        ],
    },
    Comparison {
        kind: EntityKind::Book,
        relation: Relation::PublicationYear,
        words: ["earlier", "later"],
        asked: [
            "Which book was published {word}, {one} or {other}?",
            "Of {one} and {other}, which was published {word}?",
        ],
    },
    Comparison {
        kind: EntityKind::Person,
        relation: Relation::BirthYear,
        words: ["earlier", "later"],
        asked: [
            "Who was born {word}, {one} or {other}?",
            "Of {one} and {other}, who was born {word}?",
        ],
    },
    Comparison {
        kind: EntityKind::Company,
        relation: Relation::Employees,
        words: ["fewer", "more"],
        asked: [
            "Which company has {word} employees, {one} or {other}?",
            "Of {one} and {other}, which has {word} employees?",
        ],
    },
    Comparison {
        kind: EntityKind::City,
        relation: Relation::Population,
        words: ["smaller", "larger"],
        asked: [
            "Which city has the {word} population, {one} or {other}?",
            "Of {one} and {other}, which has the {word} population?",
        ],
    },
];

impl Comparison {
    /// What entities of a kind are compared by.
    pub(crate) fn of(kind: EntityKind) -> Option<&'static Self> {
        COMPARISONS.iter().find(|it| it.kind == kind)
    }

    pub(crate) fn word(&self, greater: bool) -> &'static str {
        self.words[usize::from(greater)]
    }

    /// Two entities that differ clearly, where some are found.
    pub(crate) fn draw_pair(
        &self,
        world: &World,
        split: Split,
        rng: &mut ChaCha8Rng,
    ) -> Option<[(EntityId, Value); 2]> {
        (0..100).find_map(|_| {
            let [one, other] = [0; 2].map(|_| {
                let id = world.draw(split, Some(self.kind), rng);
                world.entity(id).value(self.relation).map(|value| (id, value))
            });
            let (one, other) = (one?, other?);
            differ_clearly(one.1, other.1).then_some([one, other])
        })
    }

    /// What an agent thinks once it knows both values: `Compare: 1931 Veltor, 1954 Munkas.`
    ///
    /// A value stands before its name, so that the name of the winner can be copied from behind
    /// its value: the skill that looking up needs too.
    pub(crate) fn compare(sides: [(&str, &str); 2]) -> String {
        let [one, other] = sides.map(|(value, name)| format!("{value} {name}"));
        format!("Compare: {one}, {other}.")
    }

    /// How the verdict begins: `Earlier:`.
    pub(crate) fn verdict(&self, greater: bool) -> String {
        let word = self.word(greater);
        format!("{}{}:", word[..1].to_ascii_uppercase(), &word[1..])
    }
}

/// Years differ by three or more, numbers by a tenth of the larger or more.
fn differ_clearly(one: Value, other: Value) -> bool {
    match (one, other) {
        (Value::Year(one), Value::Year(other)) => one.abs_diff(other) >= 3,
        (Value::Count(one), Value::Count(other))
        | (Value::Thousands(one), Value::Thousands(other)) => {
            one != other && 10 * one.abs_diff(other) >= one.max(other)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_values_are_not_compared() {
        for (one, other, clear) in [
            (Value::Year(1950), Value::Year(1953), true),
            (Value::Year(1953), Value::Year(1951), false),
            (Value::Count(90), Value::Count(100), true),
            (Value::Count(91), Value::Count(100), false),
            (Value::Thousands(10), Value::Thousands(11), false),
            (Value::Thousands(10), Value::Thousands(12), true),
            (Value::Thousands(10), Value::Count(90), false),
        ] {
            assert_eq!(differ_clearly(one, other), clear, "{one:?} {other:?}");
        }
    }
}
