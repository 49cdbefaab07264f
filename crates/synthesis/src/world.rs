//! The world: entities, the facts that link them, and a passage about each.

use std::fmt;
use std::ops::Range;

use forage_trajectory::{Passage, Purpose, Stream};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};

use crate::names::{Names, SECTORS};
use crate::prose::{Said, write_passage};
use crate::relation::{EntityKind, Relation};
use crate::{EntityKind as Kind, SynthesisError};

/// The `[world]` section of a run file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldConfig {
    /// Another seed is another world: other names, links and wordings.
    pub seed: u64,
    /// How many entities each split has.
    pub entities: Entities,
    /// Share of invented names with three syllables instead of two. An agent that was trained in
    /// worlds without them spells few of them right.
    pub long_names: f64,
    /// Share of the links beside which a passage also tells one fact of what they lead to: who
    /// reads that needs no search for it.
    pub asides: f64,
}

/// How many entities each split has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entities {
    /// Entities to train on.
    pub train: usize,
    /// Entities to choose settings with.
    pub dev: usize,
    /// Entities to report on.
    pub test: usize,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self { seed: 1, entities: Entities::default(), long_names: 0.0, asides: 0.0 }
    }
}

impl Default for Entities {
    fn default() -> Self {
        Self { train: 1600, dev: 400, test: 400 }
    }
}

impl Entities {
    fn of(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train,
            Split::Dev => self.dev,
            Split::Test => self.test,
        }
    }
}

/// A part of the world. Facts link only within a split, and no two splits share a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// To train on.
    Train,
    /// To choose settings with.
    Dev,
    /// To report on.
    Test,
}

impl Split {
    /// All splits.
    pub const ALL: [Self; 3] = [Self::Train, Self::Dev, Self::Test];
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        })
    }
}

/// Index of an entity, and of its passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityId(usize);

impl EntityId {
    /// Its place among all entities, and that of its passage among all passages.
    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

/// Something that facts are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// What it is.
    pub kind: EntityKind,
    /// Unique within its kind; a book may be named like a film.
    pub name: String,
    /// Where it belongs.
    pub split: Split,
    /// What is known of it, no relation twice.
    pub facts: Vec<Fact>,
}

/// One fact of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// What is said.
    pub relation: Relation,
    /// The value.
    pub value: Value,
    /// What the passage tells of the value beside it: the relation of one of the value's own facts.
    pub aside: Option<Relation>,
}

/// What a relation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Another entity of the same split.
    Entity(EntityId),
    /// A year, 1900 to 1999.
    Year(u32),
    /// A number of two digits.
    Count(u32),
    /// A number of two digits, in thousands, written `43 thousand`: of all forms the one with the
    /// fewest tokens that a tokenizer always splits alike.
    Thousands(u32),
}

impl Entity {
    /// The name with the word for its kind: `film Veltor`. A person is named without: people are
    /// recognized by their given names.
    pub fn with_kind(&self) -> String {
        match self.kind {
            EntityKind::Person => self.name.clone(),
            kind => format!("{kind} {}", self.name),
        }
    }

    /// The value of a relation, where it is known.
    pub fn value(&self, relation: Relation) -> Option<Value> {
        self.fact(relation).map(|fact| fact.value)
    }

    /// The fact of a relation, where it is known.
    pub fn fact(&self, relation: Relation) -> Option<&Fact> {
        self.facts.iter().find(|fact| fact.relation == relation)
    }
}

impl Value {
    /// The number, where it is one.
    pub const fn number(self) -> Option<u32> {
        match self {
            Self::Entity(_) => None,
            Self::Year(number) | Self::Count(number) | Self::Thousands(number) => Some(number),
        }
    }
}

/// All entities of all splits, with a passage about each.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    entities: Vec<Entity>,
    passages: Vec<Passage>,
    /// Entities of one split and one kind are neighbors.
    spans: [[Range<usize>; 6]; 3],
}

/// The least number of entities that can be linked: see [`counts`].
const LEAST_ENTITIES: usize = 24;

impl World {
    /// Invents a world. The same configuration gives the same world.
    pub fn generate(config: &WorldConfig) -> Result<Self, SynthesisError> {
        for (key, share) in [("long_names", config.long_names), ("asides", config.asides)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(SynthesisError::Share { key, share });
            }
        }
        let stream = Stream::new(config.seed, Purpose::World);
        let mut names = Names::new(config.long_names, stream.rng());
        let mut entities = Vec::new();
        let mut spans: [[Range<usize>; 6]; 3] = Default::default();
        for split in Split::ALL {
            let asked = config.entities.of(split);
            if asked < LEAST_ENTITIES {
                return Err(SynthesisError::TooFewEntities { split, asked, least: LEAST_ENTITIES });
            }
            names.begin_split();
            for (kind, count) in EntityKind::ALL.into_iter().zip(counts(asked)) {
                let start = entities.len();
                entities.extend((0..count).map(|index| Entity {
                    kind,
                    name: names.name(kind, index),
                    split,
                    facts: Vec::new(),
                }));
                spans[split as usize][kind as usize] = start..entities.len();
            }
        }
        for split in Split::ALL {
            let rng = stream.at_step(1).of_member(split as u64, 0).rng();
            Linker { entities: &mut entities, spans: &spans[split as usize], rng }.link();
        }
        let mut world = Self { entities, passages: Vec::new(), spans };
        if config.asides > 0.0 {
            world.tell_asides(config.asides, stream.at_step(3));
        }
        world.passages = (0..world.entities.len())
            .map(|idx| {
                let mut rng = stream.at_step(2).of_member(idx as u64, 0).rng();
                world.describe(EntityId(idx), &mut rng)
            })
            .collect();
        Ok(world)
    }

    /// The corpus: one passage an entity, of all splits.
    pub fn passages(&self) -> &[Passage] {
        &self.passages
    }

    /// Ids of all entities of a split, or of those of one kind.
    pub fn entities(
        &self,
        split: Split,
        kind: Option<EntityKind>,
    ) -> impl Iterator<Item = EntityId> {
        self.span(split, kind).map(EntityId)
    }

    /// An entity.
    pub fn entity(&self, id: EntityId) -> &Entity {
        &self.entities[id.0]
    }

    /// The passage about an entity.
    pub fn passage(&self, id: EntityId) -> &Passage {
        &self.passages[id.0]
    }

    /// The entity that a passage is about.
    pub fn entity_of(&self, passage_id: &str) -> Option<EntityId> {
        let idx = passage_id.strip_prefix('p')?.parse().ok()?;
        (idx < self.entities.len()).then_some(EntityId(idx))
    }

    /// What the passage of an entity tells beside one of its facts: the entity that the fact leads
    /// to, and a fact of that.
    pub fn aside(&self, fact: &Fact) -> Option<(EntityId, Fact)> {
        let (Value::Entity(id), Some(relation)) = (fact.value, fact.aside) else { return None };
        Some((id, *self.entity(id).fact(relation)?))
    }

    /// A value as passages, thoughts and answers write it.
    pub fn text(&self, value: Value) -> String {
        match value {
            Value::Entity(id) => self.entity(id).name.clone(),
            Value::Year(number) | Value::Count(number) => number.to_string(),
            Value::Thousands(number) => format!("{number} thousand"),
        }
    }

    /// A random entity of a split, of one kind where it is given.
    pub(crate) fn draw(
        &self,
        split: Split,
        kind: Option<EntityKind>,
        rng: &mut ChaCha8Rng,
    ) -> EntityId {
        EntityId(rng.random_range(self.span(split, kind)))
    }

    fn span(&self, split: Split, kind: Option<EntityKind>) -> Range<usize> {
        let spans = &self.spans[split as usize];
        match kind {
            Some(kind) => spans[kind as usize].clone(),
            None => spans[0].start..spans[5].end,
        }
    }

    /// Chooses what passages tell beside their facts: of what a fact leads to anything that does not
    /// lead back.
    fn tell_asides(&mut self, share: f64, stream: Stream) {
        for id in (0..self.entities.len()).map(EntityId) {
            let mut rng = stream.of_member(id.0 as u64, 0).rng();
            for nth in 0..self.entity(id).facts.len() {
                let Value::Entity(other) = self.entity(id).facts[nth].value else { continue };
                if !rng.random_bool(share) {
                    continue;
                }
                let facts = self.entity(other).facts.iter();
                let onward: Vec<_> = facts.filter(|it| it.value != Value::Entity(id)).collect();
                let aside = onward.choose(&mut rng).map(|it| it.relation);
                self.entities[id.0].facts[nth].aside = aside;
            }
        }
    }

    fn describe(&self, id: EntityId, rng: &mut ChaCha8Rng) -> Passage {
        let Entity { kind, name, facts, .. } = self.entity(id);
        let facts: Vec<_> = facts
            .iter()
            .map(|fact| Said {
                relation: fact.relation,
                value: self.text(fact.value),
                aside: self.aside(fact).map(|(_, it)| (it.relation, self.text(it.value))),
            })
            .collect();
        Passage {
            id: format!("p{:06}", id.0),
            title: name.clone(),
            text: write_passage(*kind, name, &facts, rng),
        }
    }
}

/// How many entities of each kind a split of `total` entities has, in the order of
/// [`EntityKind::ALL`].
///
/// There are at least three companies (one a sector), four cities for two countries, and more
/// people than cities: every city and country has its own mayor and president.
fn counts(total: usize) -> [usize; 6] {
    let [film, book, company] = [16, 14, 15].map(|percent| (total * percent / 100).max(3));
    let city = (total * 13 / 100).max(4);
    let country = (total * 6 / 100).max(2);
    [film, book, total - film - book - company - city - country, company, city, country]
}

/// Draws the facts of a split.
struct Linker<'a> {
    entities: &'a mut [Entity],
    spans: &'a [Range<usize>; 6],
    rng: ChaCha8Rng,
}

impl Linker<'_> {
    fn link(mut self) {
        for film in self.span(Kind::Film) {
            let director = self.draw(Kind::Person);
            self.say(film, Relation::Director, director);
            let star = loop {
                let star = self.draw(Kind::Person);
                if star != director {
                    break star;
                }
            };
            self.say(film, Relation::Star, star);
            let studio = self.draw_company(0);
            self.say(film, Relation::Studio, studio);
            let year = self.draw_year();
            self.say(film, Relation::ReleaseYear, year);
        }
        for book in self.span(Kind::Book) {
            let author = self.draw(Kind::Person);
            self.say(book, Relation::Author, author);
            let publisher = self.draw_company(1);
            self.say(book, Relation::Publisher, publisher);
            let year = self.draw_year();
            self.say(book, Relation::PublicationYear, year);
        }
        self.link_people();
        for company in self.span(Kind::Company) {
            let founder = self.draw(Kind::Person);
            self.say(company, Relation::Founder, founder);
            let headquarters = self.draw(Kind::City);
            self.say(company, Relation::Headquarters, headquarters);
            let employees = Value::Count(self.rng.random_range(10..100));
            self.say(company, Relation::Employees, employees);
        }
        self.link_places();
    }

    fn link_people(&mut self) {
        let mut people: Vec<usize> = self.span(Kind::Person).collect();
        people.shuffle(&mut self.rng);
        for &[one, other] in people.as_chunks().0 {
            self.say(one, Relation::Spouse, Value::Entity(EntityId(other)));
            self.say(other, Relation::Spouse, Value::Entity(EntityId(one)));
        }
        for person in self.span(Kind::Person) {
            let birthplace = self.draw(Kind::City);
            self.say(person, Relation::Birthplace, birthplace);
            let year = self.draw_year();
            self.say(person, Relation::BirthYear, year);
            // Five facts make a long passage, so most people lack one of these.
            let known = self.rng.random_range(0..5);
            if known != 0 && known != 1 {
                let employer = self.draw(Kind::Company);
                self.say(person, Relation::Employer, employer);
            }
            if known != 2 && known != 3 {
                let residence = loop {
                    let residence = self.draw(Kind::City);
                    if residence != birthplace {
                        break residence;
                    }
                };
                self.say(person, Relation::Residence, residence);
            }
        }
    }

    /// A capital lies in its own country; the other cities lie anywhere.
    fn link_places(&mut self) {
        let mut people: Vec<usize> = self.span(Kind::Person).collect();
        people.shuffle(&mut self.rng);
        let mut cities: Vec<usize> = self.span(Kind::City).collect();
        cities.shuffle(&mut self.rng);
        let countries = self.span(Kind::Country);
        for (&city, &mayor) in cities.iter().zip(&people) {
            self.say(city, Relation::Mayor, Value::Entity(EntityId(mayor)));
            let population = Value::Thousands(self.rng.random_range(10..100));
            self.say(city, Relation::Population, population);
        }
        let presidents = people.iter().rev();
        for ((country, &capital), &president) in countries.clone().zip(&cities).zip(presidents) {
            self.say(country, Relation::Capital, Value::Entity(EntityId(capital)));
            self.say(country, Relation::President, Value::Entity(EntityId(president)));
            self.say(capital, Relation::Country, Value::Entity(EntityId(country)));
        }
        for &city in &cities[countries.len()..] {
            let country = self.draw(Kind::Country);
            self.say(city, Relation::Country, country);
        }
    }

    fn say(&mut self, entity: usize, relation: Relation, value: Value) {
        self.entities[entity].facts.push(Fact { relation, value, aside: None });
    }

    fn span(&self, kind: Kind) -> Range<usize> {
        self.spans[kind as usize].clone()
    }

    fn draw(&mut self, kind: Kind) -> Value {
        let span = self.span(kind);
        Value::Entity(EntityId(self.rng.random_range(span)))
    }

    /// A company of a sector; names deal the sectors in turn.
    fn draw_company(&mut self, sector: usize) -> Value {
        let span = self.span(Kind::Company);
        let in_sector = (span.len() - sector).div_ceil(SECTORS);
        let nth = self.rng.random_range(0..in_sector);
        Value::Entity(EntityId(span.start + sector + nth * SECTORS))
    }

    fn draw_year(&mut self) -> Value {
        Value::Year(self.rng.random_range(1900..2000))
    }
}
