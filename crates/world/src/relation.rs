//! Schema of the world: kinds of entities, the relations between them, and their wordings.
//!
//! A tiny model must learn to read these sentences, so every wording puts the value directly
//! after its cue, and no two relations of one kind of entity share a cue. The first wording ends in
//! the relation's own name, which thoughts use too: from it a model learns to look values up, from
//! the others that there is more than one way to say a thing.

use std::fmt;

use self::Object::{Count, Linked, Thousands, Year};
use self::Pronoun::{It, Its};

/// Kind of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntityKind {
    /// A film.
    Film,
    /// A book.
    Book,
    /// A person.
    Person,
    /// A company.
    Company,
    /// A city.
    City,
    /// A country.
    Country,
}

impl EntityKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Film, Self::Book, Self::Person, Self::Company, Self::City, Self::Country];

    /// Word for the kind.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Film => "film",
            Self::Book => "book",
            Self::Person => "person",
            Self::Company => "company",
            Self::City => "city",
            Self::Country => "country",
        }
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Relation: a function from entities of one kind to values of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Relation {
    Director,
    Star,
    Studio,
    ReleaseYear,
    Author,
    Publisher,
    PublicationYear,
    Birthplace,
    Residence,
    Spouse,
    Employer,
    BirthYear,
    Founder,
    Headquarters,
    Employees,
    Country,
    Mayor,
    Population,
    Capital,
    President,
}

impl Relation {
    /// All relations.
    pub fn all() -> impl Iterator<Item = Self> {
        DESCRIPTIONS.iter().map(|it| it.relation)
    }

    /// Name that thoughts and searches use, one or two words.
    pub fn name(self) -> &'static str {
        self.describe().name
    }

    /// Kind of the entities that have it.
    pub fn subject(self) -> EntityKind {
        self.describe().subject
    }

    /// Cues: the words directly before the value in a passage, one per wording.
    pub fn cues(self) -> [&'static str; 3] {
        self.describe().wordings.map(|wording| wording.cue)
    }

    pub(crate) fn describe(self) -> &'static Description {
        &DESCRIPTIONS[self as usize]
    }
}

/// Range of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Object {
    Linked(EntityKind),
    Year,
    Count,
    Thousands,
}

/// Pronoun for the subject of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pronoun {
    /// It, he, she.
    It,
    /// Its, his, her.
    Its,
}

/// Wording of a fact: pronoun, cue, the value, and the text after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wording {
    pub(crate) pronoun: Pronoun,
    pub(crate) cue: &'static str,
    pub(crate) tail: &'static str,
}

/// Words for a relation.
pub(crate) struct Description {
    relation: Relation,
    pub(crate) name: &'static str,
    pub(crate) subject: EntityKind,
    pub(crate) object: Object,
    pub(crate) wordings: [Wording; 3],
    /// Nouns for "the … of X" in questions.
    pub(crate) nouns: &'static [&'static str],
    /// Whole questions, `{}` where the subject goes.
    pub(crate) asked: &'static [&'static str],
}

impl Description {
    /// Wording that begins with a possessive: `Its director is`.
    pub(crate) fn possessive(&self) -> &Wording {
        let found = self.wordings.iter().find(|it| it.pronoun == Its);
        found.expect("every relation has one")
    }
}

const fn says(pronoun: Pronoun, cue: &'static str) -> Wording {
    Wording { pronoun, cue, tail: "" }
}

const fn people(cue: &'static str) -> Wording {
    Wording { pronoun: It, cue, tail: " people" }
}

/// In the order of [`Relation`].
static DESCRIPTIONS: [Description; 20] = [
    Description {
        relation: Relation::Director,
        name: "director",
        subject: EntityKind::Film,
        object: Linked(EntityKind::Person),
        wordings: [says(It, "has director"), says(Its, "director is"), says(It, "was directed by")],
        nouns: &["director"],
        asked: &["Who directed {}?"],
    },
    Description {
        relation: Relation::Star,
        name: "star",
        subject: EntityKind::Film,
        object: Linked(EntityKind::Person),
        wordings: [says(It, "has star"), says(Its, "star is"), says(It, "stars")],
        nouns: &["star", "lead actor"],
        asked: &["Who stars in {}?"],
    },
    Description {
        relation: Relation::Studio,
        name: "studio",
        subject: EntityKind::Film,
        object: Linked(EntityKind::Company),
        wordings: [says(It, "has studio"), says(Its, "studio is"), says(It, "was produced by")],
        nouns: &["studio", "production company"],
        asked: &["Which company produced {}?"],
    },
    Description {
        relation: Relation::ReleaseYear,
        name: "release year",
        subject: EntityKind::Film,
        object: Year,
        wordings: [
            says(It, "has release year"),
            says(Its, "release year is"),
            says(It, "was released in"),
        ],
        nouns: &["release year", "year of release"],
        asked: &["When was {} released?", "In which year was {} released?"],
    },
    Description {
        relation: Relation::Author,
        name: "author",
        subject: EntityKind::Book,
        object: Linked(EntityKind::Person),
        wordings: [says(It, "has author"), says(Its, "author is"), says(It, "was written by")],
        nouns: &["author", "writer"],
        asked: &["Who wrote {}?"],
    },
    Description {
        relation: Relation::Publisher,
        name: "publisher",
        subject: EntityKind::Book,
        object: Linked(EntityKind::Company),
        wordings: [
            says(It, "has publisher"),
            says(Its, "publisher is"),
            says(It, "was published by"),
        ],
        nouns: &["publisher"],
        asked: &["Which company published {}?"],
    },
    Description {
        relation: Relation::PublicationYear,
        name: "publication year",
        subject: EntityKind::Book,
        object: Year,
        wordings: [
            says(It, "has publication year"),
            says(Its, "publication year is"),
            says(It, "first appeared in"),
        ],
        nouns: &["publication year", "year of publication"],
        asked: &["When was {} published?", "In which year was {} published?"],
    },
    Description {
        relation: Relation::Birthplace,
        name: "birthplace",
        subject: EntityKind::Person,
        object: Linked(EntityKind::City),
        wordings: [says(It, "has birthplace"), says(Its, "birthplace is"), says(It, "was born in")],
        nouns: &["birthplace", "place of birth"],
        asked: &["Where was {} born?", "In which city was {} born?"],
    },
    Description {
        relation: Relation::Residence,
        name: "residence",
        subject: EntityKind::Person,
        object: Linked(EntityKind::City),
        wordings: [says(It, "has residence"), says(Its, "residence is"), says(It, "lives in")],
        nouns: &["residence", "place of residence"],
        asked: &["Where does {} live?", "In which city does {} live?"],
    },
    Description {
        relation: Relation::Spouse,
        name: "spouse",
        subject: EntityKind::Person,
        object: Linked(EntityKind::Person),
        wordings: [says(It, "has spouse"), says(Its, "spouse is"), says(It, "is married to")],
        nouns: &["spouse"],
        asked: &["Who is married to {}?"],
    },
    Description {
        relation: Relation::Employer,
        name: "employer",
        subject: EntityKind::Person,
        object: Linked(EntityKind::Company),
        wordings: [says(It, "has employer"), says(Its, "employer is"), says(It, "works for")],
        nouns: &["employer"],
        asked: &["Which company does {} work for?"],
    },
    Description {
        relation: Relation::BirthYear,
        name: "birth year",
        subject: EntityKind::Person,
        object: Year,
        wordings: [
            says(It, "has birth year"),
            says(Its, "birth year is"),
            says(It, "was born in the year"),
        ],
        nouns: &["birth year", "year of birth"],
        asked: &["When was {} born?", "In which year was {} born?"],
    },
    Description {
        relation: Relation::Founder,
        name: "founder",
        subject: EntityKind::Company,
        object: Linked(EntityKind::Person),
        wordings: [says(It, "has founder"), says(Its, "founder is"), says(It, "was founded by")],
        nouns: &["founder"],
        asked: &["Who founded {}?"],
    },
    Description {
        relation: Relation::Headquarters,
        name: "headquarters",
        subject: EntityKind::Company,
        object: Linked(EntityKind::City),
        wordings: [
            says(It, "has headquarters"),
            says(Its, "headquarters is in"),
            says(It, "is based in"),
        ],
        nouns: &["headquarters", "home city"],
        asked: &["Where is {} based?", "In which city is {} based?"],
    },
    Description {
        relation: Relation::Employees,
        name: "staff",
        subject: EntityKind::Company,
        object: Count,
        wordings: [says(It, "has staff"), says(Its, "staff numbers"), people("employs")],
        nouns: &["number of employees"],
        asked: &["How many employees does {} have?", "How many people work for {}?"],
    },
    Description {
        relation: Relation::Country,
        name: "country",
        subject: EntityKind::City,
        object: Linked(EntityKind::Country),
        wordings: [says(It, "is in country"), says(Its, "country is"), says(It, "is located in")],
        nouns: &["country"],
        asked: &["In which country is {}?"],
    },
    Description {
        relation: Relation::Mayor,
        name: "mayor",
        subject: EntityKind::City,
        object: Linked(EntityKind::Person),
        wordings: [says(It, "has mayor"), says(Its, "mayor is"), says(It, "is governed by")],
        nouns: &["mayor"],
        asked: &["Who governs {}?"],
    },
    Description {
        relation: Relation::Population,
        name: "population",
        subject: EntityKind::City,
        object: Thousands,
        wordings: [says(It, "has population"), says(Its, "population is"), people("is home to")],
        nouns: &["population", "number of inhabitants"],
        asked: &["How many people live in {}?"],
    },
    Description {
        relation: Relation::Capital,
        name: "capital",
        subject: EntityKind::Country,
        object: Linked(EntityKind::City),
        wordings: [says(It, "has capital"), says(Its, "capital is"), says(It, "is ruled from")],
        nouns: &["capital", "capital city"],
        asked: &[],
    },
    Description {
        relation: Relation::President,
        name: "president",
        subject: EntityKind::Country,
        object: Linked(EntityKind::Person),
        wordings: [says(It, "has president"), says(Its, "president is"), says(It, "is led by")],
        nouns: &["president", "head of state"],
        asked: &["Who leads {}?"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_in_the_order_of_the_relations() {
        for relation in Relation::all() {
            assert_eq!(relation.describe().relation, relation);
        }
    }

    #[test]
    fn every_relation_has_a_possessive_wording_without_a_tail() {
        for relation in Relation::all() {
            assert_eq!(relation.describe().possessive().tail, "", "{relation:?}");
        }
    }

    #[test]
    fn no_two_relations_of_a_kind_share_a_cue() {
        for one in Relation::all() {
            for other in Relation::all().filter(|it| it.subject() == one.subject()) {
                let shared = one.cues().iter().any(|cue| other.cues().contains(cue));
                assert_eq!(shared, one == other, "{one:?} {other:?}");
            }
        }
    }
}
