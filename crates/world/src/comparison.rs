//! Comparisons: which of two entities has the greater number of something.

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use crate::entity::{EntityId, FactValue, Split};
use crate::relation::{EntityKind, Relation};
use crate::world::World;

/// Comparison of two entities of a kind by a number: its relation and its words.
pub struct Comparison {
    /// Kind of the entities; every kind has at most one comparison.
    pub kind: EntityKind,
    /// Relation whose values are compared.
    pub relation: Relation,
    /// Words for the smaller and for the greater value.
    words: [&'static str; 2],
    /// Templates of questions, with `{word}`, `{one}` and `{other}`.
    templates: [&'static str; 2],
}

pub(crate) static COMPARISONS: [Comparison; 5] = [
    Comparison {
        kind: EntityKind::Film,
        relation: Relation::ReleaseYear,
        words: ["earlier", "later"],
        templates: [
            "Which film was released {word}, {one} or {other}?",
            "Of {one} and {other}, which was released {word}?",
        ],
    },
    Comparison {
        kind: EntityKind::Book,
        relation: Relation::PublicationYear,
        words: ["earlier", "later"],
        templates: [
            "Which book was published {word}, {one} or {other}?",
            "Of {one} and {other}, which was published {word}?",
        ],
    },
    Comparison {
        kind: EntityKind::Person,
        relation: Relation::BirthYear,
        words: ["earlier", "later"],
        templates: [
            "Who was born {word}, {one} or {other}?",
            "Of {one} and {other}, who was born {word}?",
        ],
    },
    Comparison {
        kind: EntityKind::Company,
        relation: Relation::Employees,
        words: ["fewer", "more"],
        templates: [
            "Which company has {word} employees, {one} or {other}?",
            "Of {one} and {other}, which has {word} employees?",
        ],
    },
    Comparison {
        kind: EntityKind::City,
        relation: Relation::Population,
        words: ["smaller", "larger"],
        templates: [
            "Which city has the {word} population, {one} or {other}?",
            "Of {one} and {other}, which has the {word} population?",
        ],
    },
];

impl Comparison {
    /// Comparison of a kind of entities.
    pub fn of(kind: EntityKind) -> Option<&'static Self> {
        COMPARISONS.iter().find(|it| it.kind == kind)
    }

    /// Random template of a question, for [`Self::fill`].
    pub fn template(&self, rng: &mut ChaCha8Rng) -> &'static str {
        self.templates.choose(rng).expect("there are two")
    }

    /// Question of a template: which of two mentioned entities has the greater, or the smaller,
    /// value.
    pub fn fill(&self, template: &str, greater: bool, [one, other]: [&str; 2]) -> String {
        template
            .replace("{word}", self.word(greater))
            .replace("{one}", one)
            .replace("{other}", other)
    }

    fn word(&self, greater: bool) -> &'static str {
        self.words[usize::from(greater)]
    }

    /// Draws two entities whose values differ clearly; `None` where none are found in many
    /// attempts.
    pub(crate) fn draw_pair(
        &self,
        world: &World,
        split: Split,
        rng: &mut ChaCha8Rng,
    ) -> Option<[(EntityId, FactValue); 2]> {
        (0..100).find_map(|_| {
            let [one, other] = [0; 2].map(|_| {
                let id = world.draw(split, Some(self.kind), rng);
                world.entity(id).value(self.relation).map(|value| (id, value))
            });
            let (one, other) = (one?, other?);
            differ_clearly(one.1, other.1).then_some([one, other])
        })
    }

    /// Thought of an agent that knows both values: `Compare: 1931 Veltor, 1954 Munkas.`
    ///
    /// A value stands before its name, so that the name of the winner can be copied from behind
    /// its value: the skill that looking up needs too.
    pub(crate) fn compare(sides: [(&str, &str); 2]) -> String {
        let [one, other] = sides.map(|(value, name)| format!("{value} {name}"));
        format!("Compare: {one}, {other}.")
    }

    /// Beginning of the verdict: `Earlier:`.
    pub(crate) fn verdict(&self, greater: bool) -> String {
        let word = self.word(greater);
        format!("{}{}:", word[..1].to_ascii_uppercase(), &word[1..])
    }
}

/// Years differ by three or more, numbers by a tenth of the larger or more.
fn differ_clearly(one: FactValue, other: FactValue) -> bool {
    match (one, other) {
        (FactValue::Year(one), FactValue::Year(other)) => one.abs_diff(other) >= 3,
        (FactValue::Count(one), FactValue::Count(other))
        | (FactValue::Thousands(one), FactValue::Thousands(other)) => {
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
            (FactValue::Year(1950), FactValue::Year(1953), true),
            (FactValue::Year(1953), FactValue::Year(1951), false),
            (FactValue::Count(90), FactValue::Count(100), true),
            (FactValue::Count(91), FactValue::Count(100), false),
            (FactValue::Thousands(10), FactValue::Thousands(11), false),
            (FactValue::Thousands(10), FactValue::Thousands(12), true),
            (FactValue::Thousands(10), FactValue::Count(90), false),
        ] {
            assert_eq!(differ_clearly(one, other), clear, "{one:?} {other:?}");
        }
    }
}
