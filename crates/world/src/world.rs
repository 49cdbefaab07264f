//! World: a generated encyclopedia of entities, the facts that link them, and a passage about each.

use std::ops::Range;

use forage_trajectory::{Passage, Purpose, Stream};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use crate::config::WorldConfig;
use crate::entity::{Entity, EntityId, Fact, FactValue, Split};
use crate::error::WorldError;
use crate::linker::{LEAST_ENTITIES, Linker, counts};
use crate::names::Names;
use crate::prose::{Statement, write_passage};
use crate::relation::EntityKind;

/// Generated encyclopedia: the entities of all splits, with a passage about each.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    entities: Vec<Entity>,
    passages: Vec<Passage>,
    /// Entities of one split and one kind are neighbors.
    spans: [[Range<usize>; 6]; 3],
}

impl World {
    /// Generates a world. The same configuration and seed give the same world; another seed gives
    /// other names, links and wordings.
    ///
    /// # Errors
    ///
    /// [`WorldError::Share`] and [`WorldError::TooFewEntities`].
    pub fn generate(config: &WorldConfig, seed: u64) -> Result<Self, WorldError> {
        for (key, share) in [("long_names", config.long_names), ("asides", config.inline_facts)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(WorldError::Share { key, share });
            }
        }
        let stream = Stream::new(seed, Purpose::World);
        let mut names = Names::new(config.long_names, stream.rng());
        let mut entities = Vec::new();
        let mut spans: [[Range<usize>; 6]; 3] = Default::default();
        for split in Split::ALL {
            let asked = config.entities.of(split);
            if asked < LEAST_ENTITIES {
                return Err(WorldError::TooFewEntities { split, asked, least: LEAST_ENTITIES });
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
        if config.inline_facts > 0.0 {
            world.draw_inline_facts(config.inline_facts, stream.at_step(3));
        }
        world.passages = (0..world.entities.len())
            .map(|idx| {
                let mut rng = stream.at_step(2).of_member(idx as u64, 0).rng();
                world.describe(EntityId(idx), &mut rng)
            })
            .collect();
        Ok(world)
    }

    /// Corpus: one passage per entity, of all splits.
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

    /// Entity.
    pub fn entity(&self, id: EntityId) -> &Entity {
        &self.entities[id.0]
    }

    /// Passage about an entity.
    pub fn passage(&self, id: EntityId) -> &Passage {
        &self.passages[id.0]
    }

    /// Entity that a passage is about.
    pub fn entity_of(&self, passage_id: &str) -> Option<EntityId> {
        let idx = passage_id.strip_prefix('p')?.parse().ok()?;
        (idx < self.entities.len()).then_some(EntityId(idx))
    }

    /// Inline fact beside a fact: the linked entity, and the fact of it that the passage
    /// states.
    pub fn inline_fact(&self, fact: &Fact) -> Option<(EntityId, Fact)> {
        let (FactValue::Entity(id), Some(relation)) = (fact.value, fact.inline) else {
            return None;
        };
        Some((id, *self.entity(id).fact(relation)?))
    }

    /// Value as passages, thoughts and answers write it.
    pub fn text(&self, value: FactValue) -> String {
        match value {
            FactValue::Entity(id) => self.entity(id).name.clone(),
            FactValue::Year(number) | FactValue::Count(number) => number.to_string(),
            FactValue::Thousands(number) => format!("{number} thousand"),
        }
    }

    /// Answers that count as right for a value, the plainest first.
    pub fn accepted_answers(&self, value: FactValue) -> Vec<String> {
        let mut answers = vec![self.text(value)];
        if let FactValue::Thousands(number) = value {
            answers.push(format!("{number}000"));
            answers.push(format!("{number},000"));
        }
        answers
    }

    /// Random entity of a split, of one kind where it is given.
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

    /// Draws inline facts: of the linked entity, any fact that does not link back.
    fn draw_inline_facts(&mut self, share: f64, stream: Stream) {
        for id in (0..self.entities.len()).map(EntityId) {
            let mut rng = stream.of_member(id.0 as u64, 0).rng();
            for nth in 0..self.entity(id).facts.len() {
                let FactValue::Entity(other) = self.entity(id).facts[nth].value else { continue };
                if !rng.random_bool(share) {
                    continue;
                }
                let facts = self.entity(other).facts.iter();
                let onward: Vec<_> =
                    facts.filter(|fact| fact.value != FactValue::Entity(id)).collect();
                let inline = onward.choose(&mut rng).map(|it| it.relation);
                self.entities[id.0].facts[nth].inline = inline;
            }
        }
    }

    fn describe(&self, id: EntityId, rng: &mut ChaCha8Rng) -> Passage {
        let Entity { kind, name, facts, .. } = self.entity(id);
        let facts: Vec<_> = facts
            .iter()
            .map(|fact| Statement {
                relation: fact.relation,
                value: self.text(fact.value),
                inline: self
                    .inline_fact(fact)
                    .map(|(_, inline)| (inline.relation, self.text(inline.value))),
            })
            .collect();
        Passage {
            id: format!("p{:06}", id.0),
            title: name.clone(),
            text: write_passage(*kind, name, &facts, rng),
        }
    }
}
