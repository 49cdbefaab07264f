//! The generator over worlds and passages: lengths, evidence, and plans after feedback.

use std::collections::BTreeSet;

use forage_trajectory::{Hit, Purpose};
use forage_world::WorldConfig;

use super::*;
use crate::feedback_loop::ExecutedSearch;

fn world() -> World {
    World::generate(&WorldConfig::default(), 1).unwrap()
}

fn item(world: &World, nth: usize, target_steps: usize, answer_type: AnswerType) -> Item {
    let document = world.passages()[nth * 37 % world.passages().len()].clone();
    Item { index: nth as u64, target_steps, answer_type, document }
}

fn stream(nth: usize) -> Stream {
    Stream::new(1, Purpose::Proposals).of_member(nth as u64, 0)
}

/// A run that finds the passages of the given hops, one search each list, which names the first.
fn run(pair: &QaPair, searches: &[&[usize]]) -> AgentRun {
    let hit = |hop: &usize| Hit {
        id: pair.evidence.steps[*hop].passage_ids[0].clone(),
        ..Hit::default()
    };
    let query = |hops: &[usize]| match hops.first() {
        Some(hop) => pair.evidence.steps[*hop].queries[0].clone(),
        None => "nothing".to_owned(),
    };
    let turn = |hops: &&[usize]| TraceTurn {
        text: String::new(),
        searched: Some(ExecutedSearch { query: query(hops), hits: hops.iter().map(hit).collect() }),
    };
    let trace = Trace { prompt: "tried".to_owned(), turns: searches.iter().map(turn).collect() };
    AgentRun { answer: Some("x".to_owned()), trace }
}

fn chain_of(proposal: &Proposal) -> Vec<usize> {
    let plan: Plan = serde_json::from_value(proposal.notes.clone()).unwrap();
    plan.chains.concat()
}

#[test]
fn proposals_are_as_long_as_wanted_and_go_through_their_document() {
    let world = world();
    let generator = GraphGenerator::of_world(
        &world,
        GraphGeneratorConfig { joins: 0.3, ..GraphGeneratorConfig::default() },
    );
    let mut shapes = BTreeSet::new();
    let mut n_lost = 0;
    for nth in 0..300 {
        let types = [AnswerType::Number, AnswerType::Date, AnswerType::Entity];
        let item = item(&world, nth, 1 + nth % 6, types[nth % 3]);
        let made = match generator.propose(&item, stream(nth)) {
            Ok(made) => made.value,
            Err(StepError::Item { .. }) => {
                n_lost += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let QaPair { question, golden_answers, evidence } = &made.pair;
        assert_eq!(evidence.steps.len(), item.target_steps, "{question}");
        shapes.insert(evidence.shape.clone());
        let mut touched: Vec<&str> =
            evidence.steps.iter().flat_map(|it| &it.passage_ids).map(String::as_str).collect();
        let answer = evidence.entities.last().unwrap();
        touched.extend(
            world.passages().iter().filter(|it| it.title == *answer).map(|it| it.id.as_str()),
        );
        assert!(touched.contains(&item.document.id.as_str()), "{question}");
        // Only where chains begin is a name given away.
        for entity in &evidence.entities[1..] {
            let named = evidence.steps.iter().any(|it| {
                it.question.contains(entity.as_str()) && question.contains(entity.as_str())
            });
            assert!(!named || evidence.shape == "comparison", "{question}: {entity}");
        }
        for step in &evidence.steps {
            let passage = evidence.passages.iter().find(|it| it.id == step.passage_ids[0]).unwrap();
            assert!(passage.text.contains(&step.answer), "{step:?}: {}", passage.text);
        }
        assert!(!question.contains(&golden_answers[0]), "{question}");
        assert!(question.ends_with(['?', '.']), "{question}");
        let split = |id: &str| world.entity(world.entity_of(id).unwrap()).split;
        let splits: BTreeSet<_> =
            evidence.passages.iter().map(|it| split(&it.id) as usize).collect();
        assert_eq!(splits.len(), 1);
    }
    assert_eq!(shapes, BTreeSet::from(["bridge".to_owned(), "comparison".to_owned()]));
    // Nothing leads to a film or a book, and few facts are numbers.
    assert!(n_lost < 60, "{n_lost}");
}

/// Proposes and revises once, for many items; returns the pairs before and after.
fn revised(
    target_steps: usize,
    searches: impl Fn(&QaPair) -> Vec<Vec<usize>>,
    wrong: bool,
) -> Vec<(Proposal, Proposal)> {
    let tried = |pair: &QaPair, _: &Item| {
        let found = searches(pair);
        run(pair, &found.iter().map(Vec::as_slice).collect::<Vec<_>>())
    };
    let all = revised_after(target_steps, tried, wrong);
    all.into_iter().map(|(_, previous, next)| (previous, next)).collect()
}

/// The same after any run, with the items.
fn revised_after(
    target_steps: usize,
    tried: impl Fn(&QaPair, &Item) -> AgentRun,
    wrong: bool,
) -> Vec<(Item, Proposal, Proposal)> {
    let world = world();
    let generator = GraphGenerator::of_world(
        &world,
        GraphGeneratorConfig { joins: 0.0, ..GraphGeneratorConfig::default() },
    );
    let mut pairs = Vec::new();
    for nth in 0..60 {
        let item = item(&world, nth, target_steps, AnswerType::Entity);
        let Ok(WithUsage { value: previous, .. }) = generator.propose(&item, stream(nth)) else {
            continue;
        };
        let run = tried(&previous.pair, &item);
        let feedback = if wrong { Feedback::Wrong(Some(&run)) } else { Feedback::TooEasy(&run) };
        let stream = stream(nth).at_step(1);
        let revision =
            Revision { item: &item, round: 1, previous: &previous, feedback: &feedback, stream };
        let next = generator.revise(&revision).unwrap().value;
        let again = generator.revise(&revision).unwrap().value;
        assert_eq!(next, again, "a revision is a function of its stream");
        assert!(next.trace.prompt.contains(&previous.trace.prompt), "traces accumulate");
        assert!(next.trace.prompt.contains("tried"), "the run is shown");
        assert!(next.trace.prompt.contains(&format!("{target_steps} searches")));
        assert_eq!(next.trace.n_searches(), 0, "nothing is searched");
        pairs.push((item, previous, next));
    }
    assert!(pairs.len() > 40, "{}", pairs.len());
    pairs
}

#[test]
fn what_was_too_short_is_made_longer_at_its_beginning() {
    // Each fact took a search, but the last two runs were lucky: nothing to go around.
    let searches = |pair: &QaPair| (0..pair.evidence.steps.len()).map(|it| vec![it]).collect();
    let (mut n_kept, pairs) = (0, revised(3, searches, false));
    for (previous, next) in &pairs {
        let (before, after) = (chain_of(previous), chain_of(next));
        assert!(after.len() > before.len());
        n_kept += usize::from(after.last() == before.last());
    }
    // Nothing may lead to what the last fact is about.
    assert!(10 * n_kept >= 9 * pairs.len(), "the answer stays: {n_kept} of {}", pairs.len());
}

#[test]
fn facts_that_one_search_found_together_are_gone_around() {
    let searches = |_: &QaPair| vec![vec![0, 1], vec![2]];
    let (mut n_around, pairs) = (0, revised(3, searches, false));
    for (previous, next) in &pairs {
        let (before, after) = (chain_of(previous), chain_of(next));
        assert!(after.len() >= 3);
        n_around += usize::from(!after.contains(&before[1]));
    }
    assert!(10 * n_around >= 9 * pairs.len(), "{n_around} of {}", pairs.len());
}

#[test]
fn ways_around_are_those_whose_passages_tell_least() {
    let world =
        World::generate(&WorldConfig { inline_facts: 1.0, ..WorldConfig::default() }, 1).unwrap();
    let generator = GraphGenerator::of_world(&world, GraphGeneratorConfig::default());
    let (mut before, mut after, mut n_facts) = (0, 0, 0);
    for nth in 0..100 {
        let item = item(&world, nth, 4, AnswerType::Entity);
        let Ok(WithUsage { value: previous, .. }) = generator.propose(&item, stream(nth)) else {
            continue;
        };
        let short = run(&previous.pair, &[&[0], &[1], &[3]]);
        let feedback = Feedback::TooEasy(&short);
        let stream = stream(nth).at_step(1);
        let revision =
            Revision { item: &item, round: 1, previous: &previous, feedback: &feedback, stream };
        let next = generator.revise(&revision).unwrap().value;
        before += generator.n_inline_facts(&chain_of(&previous));
        after += generator.n_inline_facts(&chain_of(&next));
        n_facts += chain_of(&previous).len() - 1;
    }
    // A passage tells one of the three or four facts of what it links to.
    assert!(before * 5 > n_facts && 2 * after < before, "{before} and {after} of {n_facts}");
}

#[test]
fn what_was_found_is_kept_and_another_way_taken() {
    // The passage of the third fact was never found: the second was misread.
    let searches = |_: &QaPair| vec![vec![0], vec![1]];
    let mut n_kept = 0;
    for (previous, next) in revised(4, searches, true) {
        let (before, after) = (chain_of(&previous), chain_of(&next));
        assert!(!after.contains(&before[1]));
        assert_eq!(after.len(), 4);
        n_kept += usize::from(after[0] == before[0]);
    }
    assert!(n_kept > 30, "{n_kept}");
}

#[test]
fn a_name_that_was_searched_for_in_vain_is_gone_around() {
    // The run read the first fact, and did not find what it leads to.
    let searches = |_: &QaPair| vec![vec![0], vec![]];
    let mut n_kept = 0;
    for (previous, next) in revised(3, searches, true) {
        let missed = &previous.pair.evidence.entities[1];
        assert!(!next.pair.evidence.entities.contains(missed), "{missed}");
        assert_eq!(chain_of(&next).len(), 3);
        n_kept += usize::from(next.pair.evidence.entities[0] == previous.pair.evidence.entities[0]);
    }
    assert!(n_kept > 40, "{n_kept}");
}

#[test]
fn where_the_first_name_is_not_found_another_passage_is_begun_with() {
    let world = world();
    let found = world.passages()[11].clone();
    let searched = |query: &str, hit: Option<&Passage>| {
        let hits = hit.map(|it| Hit { id: it.id.clone(), ..Hit::default() });
        let (query, hits) = (query.to_owned(), hits.into_iter().collect());
        TraceTurn { text: String::new(), searched: Some(ExecutedSearch { query, hits }) }
    };
    let tried = |pair: &QaPair, _: &Item| {
        let turns = vec![
            searched(&pair.evidence.steps[0].queries[0], None),
            searched(&format!("the film {}", found.title), Some(&found)),
        ];
        let trace = Trace { prompt: "tried".to_owned(), turns };
        AgentRun { answer: Some("x".to_owned()), trace }
    };
    let (mut n_document, mut n_found) = (0, 0);
    for (item, previous, next) in revised_after(3, tried, true) {
        let entities = &next.pair.evidence.entities;
        assert!(!entities.contains(&previous.pair.evidence.entities[0]));
        n_document += usize::from(entities.contains(&item.document.title));
        n_found += usize::from(entities.contains(&found.title));
        let through = entities.contains(&item.document.title) || entities.contains(&found.title);
        assert!(through, "{entities:?}");
    }
    assert!(n_document > 10 && n_found > 5, "{n_document} {n_found}");
}

#[test]
fn what_has_all_failed_is_begun_again() {
    let world = world();
    let generator = GraphGenerator::of_world(&world, GraphGeneratorConfig::default());
    let item = item(&world, 0, 2, AnswerType::Entity);
    let mut previous = generator.propose(&item, stream(0)).unwrap().value;
    let mut plan: Plan = serde_json::from_value(previous.notes.clone()).unwrap();
    plan.avoided.facts = (0..generator.n_facts()).collect();
    previous.notes = serde_json::to_value(plan).unwrap();
    for feedback in [Feedback::Wrong(None), Feedback::TooEasy(&run(&previous.pair, &[&[0, 1]]))] {
        let stream = stream(0).at_step(1);
        let revision =
            Revision { item: &item, round: 1, previous: &previous, feedback: &feedback, stream };
        let next = generator.revise(&revision).unwrap().value;
        assert_eq!(chain_of(&next).len(), 2);
        assert!(next.pair.evidence.entities.contains(&item.document.title));
    }
}

#[test]
fn notes_of_another_corpus_are_refused() {
    let world = world();
    let generator = GraphGenerator::of_world(&world, GraphGeneratorConfig::default());
    let item = item(&world, 0, 2, AnswerType::Entity);
    let plan = Plan::chain(vec![usize::MAX]);
    let previous = Proposal { notes: serde_json::to_value(plan).unwrap(), ..Proposal::default() };
    let feedback = Feedback::Wrong(None);
    let stream = stream(0);
    let revision =
        Revision { item: &item, round: 1, previous: &previous, feedback: &feedback, stream };
    assert!(matches!(generator.revise(&revision), Err(StepError::Engine { .. })));
}
