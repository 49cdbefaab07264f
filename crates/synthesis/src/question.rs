//! Questions about a world, with the evidence that answers them.

use std::collections::HashSet;
use std::fmt;

use forage_trajectory::{Evidence, EvidenceStep, Purpose, Question, Stream};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use crate::SynthesisError;
use crate::comparison::{COMPARISONS, Comparison};
use crate::relation::Relation;
use crate::wording::{ask, noun_phrase, start, sub_question};
use crate::world::{Entity, EntityId, Fact, Split, Value, World};

/// The reasoning a question takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A chain of facts, each about the value of the one before.
    Bridge {
        /// How many facts.
        hops: usize,
    },
    /// Two facts, and which of them is greater or smaller.
    Comparison,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge { hops } => write!(f, "{hops}-hop"),
            Self::Comparison => f.write_str("comparison"),
        }
    }
}

/// Which shapes a set of questions has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuestionMix {
    /// Question `i` has `hops[i % hops.len()]` hops.
    pub hops: Vec<usize>,
    /// Share of comparisons in all questions; they take the place of chains of two hops.
    pub comparison: f64,
}

impl Default for QuestionMix {
    fn default() -> Self {
        Self { hops: vec![1, 2, 3, 4], comparison: 0.12 }
    }
}

impl QuestionMix {
    /// Checks that the mix does not contradict itself.
    pub fn check(&self) -> Result<(), SynthesisError> {
        if self.hops.is_empty() {
            return Err(SynthesisError::Mix("`hops` is empty"));
        }
        if !self.hops.iter().all(|hops| (1..=4).contains(hops)) {
            return Err(SynthesisError::Mix("`hops` may hold 1 to 4"));
        }
        let two_hops = self.share_of_two_hops();
        if !(0.0..=two_hops).contains(&self.comparison) {
            return Err(SynthesisError::Mix(
                "`comparison` exceeds the share of two hops in `hops`",
            ));
        }
        Ok(())
    }

    /// The shape of a question, spread evenly: a function of its index alone.
    pub fn shape(&self, index: usize) -> Shape {
        let hops = self.hops[index % self.hops.len()];
        if hops == 2 {
            let in_cycle = |upto: usize| self.hops[..upto].iter().filter(|it| **it == 2).count();
            let n_two_hops = index / self.hops.len() * in_cycle(self.hops.len())
                + in_cycle(index % self.hops.len());
            let share = self.comparison / self.share_of_two_hops();
            // The tiny excess keeps a share of exactly 1 from rounding down.
            let n_comparisons = |n: usize| (n as f64).mul_add(share, 1e-9) as usize;
            if n_comparisons(n_two_hops + 1) > n_comparisons(n_two_hops) {
                return Shape::Comparison;
            }
        }
        Shape::Bridge { hops }
    }

    fn share_of_two_hops(&self) -> f64 {
        self.hops.iter().filter(|it| **it == 2).count() as f64 / self.hops.len() as f64
    }
}

/// A random question of a shape about one split. Its id names the split and the stream.
pub fn question(
    world: &World,
    split: Split,
    shape: Shape,
    stream: Stream,
) -> Result<Question, SynthesisError> {
    let mut rng = stream.rng();
    let found = (0..1000).find_map(|_| match shape {
        Shape::Bridge { hops } => bridge(world, split, hops, &mut rng),
        Shape::Comparison => comparison(world, split, &mut rng),
    });
    let question = found.ok_or(SynthesisError::NoQuestion { split, shape })?;
    let id = format!("{split}-{}-{}-{}", stream.step, stream.question, stream.member);
    Ok(Question { id, ..question })
}

/// Distinct questions about one split; the first of many are the same as fewer.
///
/// Chains are distinct too, until a small split runs out of them: then the same facts are asked
/// for in other words.
pub fn questions(
    world: &World,
    split: Split,
    count: usize,
    seed: u64,
    mix: &QuestionMix,
) -> Result<Vec<Question>, SynthesisError> {
    mix.check()?;
    let stream = Stream::new(seed, Purpose::Questions).at_step(split as u64);
    let mut texts = HashSet::new();
    let mut chains = HashSet::new();
    let mut made = Vec::with_capacity(count);
    for index in 0..count {
        let shape = mix.shape(index);
        let mut found = None;
        for attempt in 0..400 {
            let stream = stream.of_member(index as u64, 0).at_turn(attempt);
            let question = question(world, split, shape, stream)?;
            let new_chain = !chains.contains(&facts_of(&question));
            if !texts.contains(&question.text) && (new_chain || attempt >= 100) {
                found = Some(question);
                break;
            }
        }
        let Some(mut question) = found else {
            return Err(SynthesisError::Exhausted { split, shape, made: index, asked: count });
        };
        texts.insert(question.text.clone());
        chains.insert(facts_of(&question));
        question.id = format!("{split}-{index:05}");
        made.push(question);
    }
    Ok(made)
}

/// What tells questions about the same facts from others, whatever their words.
fn facts_of(question: &Question) -> Vec<String> {
    let mut queries: Vec<_> =
        question.evidence.steps.iter().map(|step| step.queries[0].clone()).collect();
    queries.sort_unstable();
    queries
}

/// Walks from a random entity; `None` where the walk gets stuck.
///
/// No relation is used twice and no entity is visited twice. Only the last value may be a number.
fn bridge(world: &World, split: Split, hops: usize, rng: &mut ChaCha8Rng) -> Option<Question> {
    let mut path: Vec<(EntityId, Fact)> = Vec::with_capacity(hops);
    let mut at = world.draw(split, None, rng);
    for hop in 0..hops {
        let fits = |fact: &&Fact| {
            let new = path.iter().all(|(_, used)| used.relation != fact.relation);
            new && match fact.value {
                Value::Entity(next) => next != at && path.iter().all(|(id, _)| *id != next),
                _ => hop + 1 == hops,
            }
        };
        let facts: Vec<_> = world.entity(at).facts.iter().filter(fits).collect();
        let fact = **facts.choose(rng)?;
        path.push((at, fact));
        if let Value::Entity(next) = fact.value {
            at = next;
        }
    }

    let (first, _) = path[0];
    let (_, last) = *path.last()?;
    let mut subject = start(world.entity(first));
    for (_, fact) in &path[..hops - 1] {
        subject = noun_phrase(fact.relation, &subject, rng);
    }
    let mut entities: Vec<_> = path.iter().map(|(id, _)| world.entity(*id).name.clone()).collect();
    if let Value::Entity(id) = last.value {
        entities.push(world.entity(id).name.clone());
    }
    Some(Question {
        id: String::new(),
        text: ask(last.relation, &subject, rng),
        golden_answers: accepted(world, last.value),
        evidence: Evidence {
            shape: "bridge".to_owned(),
            entities,
            steps: path
                .iter()
                .enumerate()
                .map(|(hop, (id, fact))| step(world, *id, *fact, hop == 0))
                .collect(),
            passages: path.iter().map(|(id, _)| world.passage(*id).clone()).collect(),
        },
    })
}

fn comparison(world: &World, split: Split, rng: &mut ChaCha8Rng) -> Option<Question> {
    let comparison = COMPARISONS.choose(rng)?;
    let pair = comparison.draw_pair(world, split, rng)?;
    let greater = rng.random_bool(0.5);
    let [one, other] = pair.map(|(id, _)| world.entity(id));
    let first_wins = (pair[0].1.number() > pair[1].1.number()) == greater;
    let winner = if first_wins { one } else { other };
    Some(Question {
        id: String::new(),
        text: put(comparison, greater, [one, other], rng),
        golden_answers: vec![winner.name.clone()],
        evidence: Evidence {
            shape: "comparison".to_owned(),
            entities: vec![one.name.clone(), other.name.clone()],
            steps: pair
                .map(|(id, value)| {
                    step(
                        world,
                        id,
                        Fact { relation: comparison.relation, value, aside: None },
                        true,
                    )
                })
                .to_vec(),
            passages: pair.map(|(id, _)| world.passage(id).clone()).to_vec(),
        },
    })
}

fn put(
    comparison: &Comparison,
    greater: bool,
    [one, other]: [&Entity; 2],
    rng: &mut ChaCha8Rng,
) -> String {
    let template = comparison.asked.choose(rng).expect("there are two");
    template
        .replace("{word}", comparison.word(greater))
        .replace("{one}", &start(one))
        .replace("{other}", &start(other))
}

/// One fact as a step. An entity of the question is named with its kind, one that was found is
/// not: nothing that a fact leads to has a namesake.
fn step(world: &World, id: EntityId, fact: Fact, of_question: bool) -> EvidenceStep {
    let entity = world.entity(id);
    let (mention, subject) = if of_question {
        (entity.with_kind(), start(entity))
    } else {
        (entity.name.clone(), entity.name.clone())
    };
    EvidenceStep {
        question: sub_question(fact.relation, &subject),
        answer: world.text(fact.value),
        queries: vec![
            search(&mention, fact.relation),
            format!("{} of {mention}", fact.relation.name()),
        ],
        passage_ids: vec![world.passage(id).id.clone()],
    }
}

/// The search for a fact, which is also how thoughts name it: `film Veltor director`.
pub(crate) fn search(mention: &str, relation: Relation) -> String {
    format!("{mention} {}", relation.name())
}

/// The answers that count as right.
pub(crate) fn accepted(world: &World, value: Value) -> Vec<String> {
    let mut answers = vec![world.text(value)];
    if let Value::Thousands(number) = value {
        answers.push(format!("{number}000"));
        answers.push(format!("{number},000"));
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_that_contradict_themselves_are_refused() {
        for (hops, comparison, fine) in [
            (vec![1, 2, 3, 4], 0.25, true),
            (vec![1, 2, 3, 4], 0.26, false),
            (vec![2], 1.0, true),
            (vec![1], 0.0, true),
            (vec![1], 0.1, false),
            (vec![], 0.0, false),
            (vec![5], 0.0, false),
            (vec![2], f64::NAN, false),
        ] {
            let mix = QuestionMix { hops, comparison };
            assert_eq!(mix.check().is_ok(), fine, "{mix:?}");
        }
    }

    #[test]
    fn comparisons_have_their_share_of_every_prefix() {
        for comparison in [0.0, 0.12, 0.2, 0.25] {
            let mix = QuestionMix { comparison, ..QuestionMix::default() };
            let mut n_comparisons = 0;
            for index in 0..1000 {
                match mix.shape(index) {
                    Shape::Bridge { hops } => assert_eq!(hops, 1 + index % 4),
                    Shape::Comparison => {
                        assert_eq!(index % 4, 1);
                        n_comparisons += 1;
                    }
                }
                let due = comparison * (index + 1) as f64;
                assert!((f64::from(n_comparisons) - due).abs() <= 1.5, "{comparison} {index}");
            }
        }
    }
}
