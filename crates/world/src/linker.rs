//! Knowledge graph of a split: how many entities of each kind it has, and their facts.

use std::ops::Range;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use crate::entity::{Entity, EntityId, Fact, FactValue};
use crate::names::SECTORS;
use crate::relation::{EntityKind, Relation};

/// Least number of entities that can be linked: see [`counts`].
pub(crate) const LEAST_ENTITIES: usize = 24;

/// Number of entities of each kind that a split of `total` entities has, in the order of
/// [`EntityKind::ALL`].
///
/// There are at least three companies (one a sector), four cities for two countries, and more
/// people than cities: every city and country has its own mayor and president.
pub(crate) fn counts(total: usize) -> [usize; 6] {
    let [film, book, company] = [16, 14, 15].map(|percent| (total * percent / 100).max(3));
    let city = (total * 13 / 100).max(4);
    let country = (total * 6 / 100).max(2);
    [film, book, total - film - book - company - city - country, company, city, country]
}

/// Draws the facts of a split at random.
pub(crate) struct Linker<'a> {
    pub(crate) entities: &'a mut [Entity],
    pub(crate) spans: &'a [Range<usize>; 6],
    pub(crate) rng: ChaCha8Rng,
}

impl Linker<'_> {
    pub(crate) fn link(mut self) {
        for film in self.span(EntityKind::Film) {
            let director = self.draw(EntityKind::Person);
            self.add_fact(film, Relation::Director, director);
            let star = loop {
                let star = self.draw(EntityKind::Person);
                if star != director {
                    break star;
                }
            };
            self.add_fact(film, Relation::Star, star);
            let studio = self.draw_company(0);
            self.add_fact(film, Relation::Studio, studio);
            let year = self.draw_year();
            self.add_fact(film, Relation::ReleaseYear, year);
        }
        for book in self.span(EntityKind::Book) {
            let author = self.draw(EntityKind::Person);
            self.add_fact(book, Relation::Author, author);
            let publisher = self.draw_company(1);
            self.add_fact(book, Relation::Publisher, publisher);
            let year = self.draw_year();
            self.add_fact(book, Relation::PublicationYear, year);
        }
        self.link_people();
        for company in self.span(EntityKind::Company) {
            let founder = self.draw(EntityKind::Person);
            self.add_fact(company, Relation::Founder, founder);
            let headquarters = self.draw(EntityKind::City);
            self.add_fact(company, Relation::Headquarters, headquarters);
            let employees = FactValue::Count(self.rng.random_range(10..100));
            self.add_fact(company, Relation::Employees, employees);
        }
        self.link_places();
    }

    fn link_people(&mut self) {
        let mut people: Vec<usize> = self.span(EntityKind::Person).collect();
        people.shuffle(&mut self.rng);
        for &[one, other] in people.as_chunks().0 {
            self.add_fact(one, Relation::Spouse, FactValue::Entity(EntityId(other)));
            self.add_fact(other, Relation::Spouse, FactValue::Entity(EntityId(one)));
        }
        for person in self.span(EntityKind::Person) {
            let birthplace = self.draw(EntityKind::City);
            self.add_fact(person, Relation::Birthplace, birthplace);
            let year = self.draw_year();
            self.add_fact(person, Relation::BirthYear, year);
            // Five facts make a long passage, so most people lack one of these.
            let known = self.rng.random_range(0..5);
            if known != 0 && known != 1 {
                let employer = self.draw(EntityKind::Company);
                self.add_fact(person, Relation::Employer, employer);
            }
            if known != 2 && known != 3 {
                let residence = loop {
                    let residence = self.draw(EntityKind::City);
                    if residence != birthplace {
                        break residence;
                    }
                };
                self.add_fact(person, Relation::Residence, residence);
            }
        }
    }

    /// A capital lies in its own country; the other cities lie anywhere.
    fn link_places(&mut self) {
        let mut people: Vec<usize> = self.span(EntityKind::Person).collect();
        people.shuffle(&mut self.rng);
        let mut cities: Vec<usize> = self.span(EntityKind::City).collect();
        cities.shuffle(&mut self.rng);
        let countries = self.span(EntityKind::Country);
        for (&city, &mayor) in cities.iter().zip(&people) {
            self.add_fact(city, Relation::Mayor, FactValue::Entity(EntityId(mayor)));
            let population = FactValue::Thousands(self.rng.random_range(10..100));
            self.add_fact(city, Relation::Population, population);
        }
        let presidents = people.iter().rev();
        for ((country, &capital), &president) in countries.clone().zip(&cities).zip(presidents) {
            self.add_fact(country, Relation::Capital, FactValue::Entity(EntityId(capital)));
            self.add_fact(country, Relation::President, FactValue::Entity(EntityId(president)));
            self.add_fact(capital, Relation::Country, FactValue::Entity(EntityId(country)));
        }
        for &city in &cities[countries.len()..] {
            let country = self.draw(EntityKind::Country);
            self.add_fact(city, Relation::Country, country);
        }
    }

    fn add_fact(&mut self, entity: usize, relation: Relation, value: FactValue) {
        self.entities[entity].facts.push(Fact { relation, value, inline: None });
    }

    fn span(&self, kind: EntityKind) -> Range<usize> {
        self.spans[kind as usize].clone()
    }

    fn draw(&mut self, kind: EntityKind) -> FactValue {
        let span = self.span(kind);
        FactValue::Entity(EntityId(self.rng.random_range(span)))
    }

    /// A company of a sector; names deal the sectors in turn.
    fn draw_company(&mut self, sector: usize) -> FactValue {
        let span = self.span(EntityKind::Company);
        let in_sector = (span.len() - sector).div_ceil(SECTORS);
        let nth = self.rng.random_range(0..in_sector);
        FactValue::Entity(EntityId(span.start + sector + nth * SECTORS))
    }

    fn draw_year(&mut self) -> FactValue {
        FactValue::Year(self.rng.random_range(1900..2000))
    }
}
