//! Demonstrations: the turns of a scripted agent for a question.

use std::fmt::Write;

use forage_trajectory::protocol::{ANSWER, SEARCH, THINK};
use forage_trajectory::{EvidenceStep, Question, Stream};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use crate::comparison::Comparison;
use crate::error::WorldError;
use crate::wandering::{stated_value, wander};
use crate::wording::search_query;
use crate::world::World;

/// Perturbations of demonstrations: mistakes of the scripted agent that reinforcement learning
/// removes. In run files, the key is `habits`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Perturbations {
    /// Probability, after each search but the last one, of answering with the value that was just
    /// found. Default: 0.
    pub stop_early: f64,
    /// Probability, after the last search, of answering with another value of the same passage.
    /// Default: 0.
    pub misread: f64,
    /// Probability, after each search but the last one, of going on from another entity of the same
    /// passage: as many searches, and a wrong end. Default: 0.
    pub wander: f64,
    /// Probability, after each search, of searching for the same once more. Default: 0.
    pub repeat: f64,
    /// Probability that a search names its entity alone, without kind and relation. Default: 0.
    pub vague: f64,
}

/// What the thoughts of the scripted agent say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Thoughts {
    /// What was found, and the next search: `<search>` copies the end of the thought.
    #[default]
    Plan,
    /// What was found. What to search for is decided in the query.
    Findings,
}

impl Perturbations {
    /// Checks that all are probabilities.
    pub fn check(&self) -> Result<(), WorldError> {
        for (key, value) in [
            ("stop_early", self.stop_early),
            ("misread", self.misread),
            ("wander", self.wander),
            ("repeat", self.repeat),
            ("vague", self.vague),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(WorldError::Perturbation { key, value });
            }
        }
        Ok(())
    }
}

/// Turns of the scripted agent for a question about this world: one for each search and one with
/// the answer. The observations come between them.
///
/// Thoughts name facts exactly like searches do, and a value follows directly:
/// `<think> film Veltor director Mirko Tavel. Next: Mirko Tavel birthplace.</think>`. An
/// inline fact of the passage is stated likewise, and not searched for. With [`Thoughts::Findings`]
/// the same thought is `<think> film Veltor director Mirko Tavel. Next.</think>`: it says what the
/// passage states, also where the next search goes on from another entity.
pub fn demonstrate(
    world: &World,
    question: &Question,
    perturbations: &Perturbations,
    thoughts: Thoughts,
    stream: Stream,
) -> Vec<String> {
    let mut rng = stream.rng();
    // Each further perturbation has numbers of its own, so that it changes nothing of the others.
    let [mut wander_rng, mut repeat_rng, mut vague_rng] =
        [1, 2, 3].map(|turn| stream.at_turn(turn).rng());
    let right = &question.evidence.steps;
    let walked = match question.evidence.shape.as_str() {
        "comparison" => right.clone(),
        _ => wander(world, right, perturbations.wander, &mut wander_rng),
    };
    let mut turns = Vec::new();
    let mut thought = " First".to_owned();
    let mut steps = walked.iter().peekable();
    while let Some(step) = steps.next() {
        let query = &step.queries[0];
        let thought_of_query = THINK.wrap(&match thoughts {
            Thoughts::Plan => format!("{thought}: {query}."),
            Thoughts::Findings => format!("{thought}."),
        });
        let searched = match world.entity_of(&step.passage_ids[0]) {
            Some(id) if vague_rng.random_bool(perturbations.vague) => &world.entity(id).name,
            _ => query,
        };
        turns.push(thought_of_query + &SEARCH.wrap(&format!(" {searched}")));
        if repeat_rng.random_bool(perturbations.repeat) {
            turns.extend(turns.last().cloned());
        }

        let told = steps.next_if(|next| is_inline(world, step, next));
        let (probability, misread) = match steps.peek() {
            Some(_) => (perturbations.stop_early, false),
            None => (perturbations.misread, true),
        };
        if rng.random_bool(probability) {
            let answer = if misread {
                misread_value(world, &step.passage_ids[0], &step.answer, &mut rng)
            } else {
                Some(step.answer.clone())
            };
            if let Some(answer) = answer {
                turns.push(conclude(&format!(" {query} {answer}."), &answer));
                return turns;
            }
        }
        let stated = match thoughts {
            Thoughts::Findings if steps.peek().is_some() => stated_value(world, step),
            _ => None,
        };
        thought = format!(" {query} {}.", stated.as_ref().unwrap_or(&step.answer));
        if let Some(told) = told {
            write!(thought, " {} {}.", told.queries[0], told.answer)
                .expect("writing to a string does not fail");
        }
        if steps.peek().is_some() {
            thought.push_str(" Next");
        }
    }
    match walked.last() {
        Some(end) if walked != *right => turns.push(conclude(&thought, &end.answer)),
        _ => turns.extend(conclusion(world, question, thought)),
    }
    turns
}

/// Whether the next step asks for an inline fact of the passage of this step.
fn is_inline(world: &World, step: &EvidenceStep, next: &EvidenceStep) -> bool {
    let Some(id) = world.entity_of(&step.passage_ids[0]) else { return false };
    let entity = world.entity(id);
    let mut inline = entity.facts.iter().filter_map(|fact| Some((fact, world.inline_fact(fact)?)));
    inline.any(|(fact, (linked, stated))| {
        world.text(fact.value) == step.answer
            && search_query(&world.entity(linked).name, stated.relation) == next.queries[0]
    })
}

/// The last turn, where no perturbation ended the demonstration, after a thought about the last
/// value.
fn conclusion(world: &World, question: &Question, mut thought: String) -> Option<String> {
    let answer = question.golden_answers.first()?;
    if question.evidence.shape == "comparison" {
        thought = format!("{thought} {}", weigh(world, question)?);
    }
    Some(conclude(&thought, answer))
}

/// `Compare: 1931 Veltor, 1954 Munkas. Earlier: 1931 Veltor.`
fn weigh(world: &World, question: &Question) -> Option<String> {
    let [one, other] = question.evidence.steps.first_chunk()?;
    let [one_id, other_id] = [one, other].map(|step| world.entity_of(&step.passage_ids[0]));
    let [one_entity, other_entity] = [world.entity(one_id?), world.entity(other_id?)];
    let comparison = Comparison::of(one_entity.kind)?;
    let sides = [
        (one.answer.as_str(), one_entity.name.as_str()),
        (other.answer.as_str(), other_entity.name.as_str()),
    ];
    let [one_number, other_number] =
        [one_entity, other_entity].map(|entity| entity.value(comparison.relation));
    let first_is_greater = one_number?.number() > other_number?.number();
    let first_wins = one_entity.name == question.golden_answers[0];
    let (value, name) = sides[usize::from(!first_wins)];
    let verdict = comparison.verdict(first_is_greater == first_wins);
    Some(format!("{} {verdict} {value} {name}.", Comparison::compare(sides)))
}

/// A value of the same passage that is not the answer.
fn misread_value(
    world: &World,
    passage_id: &str,
    right: &str,
    rng: &mut ChaCha8Rng,
) -> Option<String> {
    let entity = world.entity(world.entity_of(passage_id)?);
    let texts: Vec<_> = entity.facts.iter().map(|fact| world.text(fact.value)).collect();
    let wrong: Vec<_> = texts.iter().filter(|text| *text != right).collect();
    wrong.choose(rng).map(|text| (*text).clone())
}

fn conclude(thought: &str, answer: &str) -> String {
    THINK.wrap(thought) + &ANSWER.wrap(&format!(" {answer}"))
}
