//! What holds for every world, question, demonstration and exercise.

use std::collections::{HashMap, HashSet};

use forage_trajectory::{Purpose, Question, Stream};
use forage_world::{
    EntityCounts, EntityKind, FactValue, Perturbations, QuestionMix, QuestionShape, Relation,
    Split, Thoughts, World, WorldConfig, WorldError, comparison_exercise, demonstrate, question,
    questions, reading_exercise, recall_exercise,
};

fn world() -> World {
    World::generate(&WorldConfig::default(), 1).expect("the default world is large enough")
}

fn asked(world: &World, split: Split) -> Vec<Question> {
    questions(world, split, 400, 5, &QuestionMix::default()).expect("there are enough questions")
}

fn stream(n: u64) -> Stream {
    Stream::new(9, Purpose::Demonstrations).of_member(n, 0)
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let everything = |seed| {
        let entities = EntityCounts { train: 120, dev: 60, test: 60 };
        let world =
            World::generate(&WorldConfig { entities, ..WorldConfig::default() }, seed).unwrap();
        let asked = questions(&world, Split::Train, 40, seed, &QuestionMix::default()).unwrap();
        let perturbations =
            Perturbations { stop_early: 0.3, misread: 0.3, ..Perturbations::default() };
        let written: Vec<_> = asked
            .iter()
            .map(|it| demonstrate(&world, it, &perturbations, Thoughts::Plan, stream(seed)))
            .collect();
        let drills = [reading_exercise, comparison_exercise]
            .map(|exercise| exercise(&world, Split::Train, stream(seed)));
        serde_json::to_string(&(world.passages(), asked, written, drills)).unwrap()
    };
    assert_eq!(everything(1), everything(1));
    assert_ne!(everything(1), everything(2));
}

#[test]
fn splits_share_no_name_and_no_link() {
    let world = world();
    let mut owners = HashMap::new();
    for split in Split::ALL {
        for id in world.entities(split, None) {
            let entity = world.entity(id);
            let surname = entity.name.rsplit(' ').next().unwrap();
            let owned = if entity.kind == EntityKind::Person { surname } else { &entity.name };
            assert_eq!(*owners.entry(owned).or_insert(split), split, "{}", entity.name);
            for fact in &entity.facts {
                if let FactValue::Entity(linked) = fact.value {
                    assert_eq!(world.entity(linked).split, split);
                }
            }
        }
    }
    assert_eq!(world.passages().len(), 2400);
}

#[test]
fn names_are_unique_within_a_kind_and_some_are_shared_across() {
    let world = world();
    let ids = || Split::ALL.into_iter().flat_map(|split| world.entities(split, None));
    let named: HashSet<_> =
        ids().map(|id| (world.entity(id).kind, world.entity(id).name.as_str())).collect();
    assert_eq!(named.len(), world.passages().len());
    let titles: HashSet<_> = named.iter().map(|(_, name)| *name).collect();
    assert!(named.len() - titles.len() > 20, "some books are named like films");
    let people = named.iter().filter(|(kind, _)| *kind == EntityKind::Person);
    let surnames: HashSet<_> = people.clone().map(|(_, name)| name.rsplit(' ').next()).collect();
    assert!(surnames.len() * 10 < people.count() * 9, "some people share a surname");
}

#[test]
fn every_value_follows_one_of_its_cues() {
    let world = world();
    for id in Split::ALL.into_iter().flat_map(|split| world.entities(split, None)) {
        let text = &world.passage(id).text;
        let facts = &world.entity(id).facts;
        assert!(facts.len() >= 2, "{text}");
        let relations: HashSet<_> = facts.iter().map(|fact| fact.relation).collect();
        assert_eq!(relations.len(), facts.len());
        for fact in facts {
            let value = world.text(fact.value);
            let stated = |cue: &str| {
                let begins = text.find(&format!(" {cue} {value}"))?;
                text[begins + cue.len() + value.len() + 2..].chars().next()
            };
            let after: Vec<_> = fact.relation.cues().into_iter().filter_map(stated).collect();
            assert!(matches!(after[..], [' ' | ',' | '.']), "{:?} in {text}", fact.relation);
        }
    }
}

#[test]
fn names_in_passages_follow_a_space() {
    let world = world();
    for passage in world.passages() {
        let text = format!(" {}", passage.text);
        for (at, letter) in text.char_indices().filter(|(_, letter)| letter.is_ascii_uppercase()) {
            assert_eq!(&text[at - 1..at], " ", "`{letter}` at {at} in {text}");
        }
    }
}

#[test]
fn passages_are_short() {
    let world = world();
    let words: Vec<_> =
        world.passages().iter().map(|it| it.text.split_whitespace().count()).collect();
    let mean = words.iter().sum::<usize>() as f64 / words.len() as f64;
    assert!((20.0..28.0).contains(&mean), "{mean}");
    assert!(*words.iter().max().unwrap() <= 42);
    assert!(*words.iter().min().unwrap() >= 10);
}

#[test]
fn questions_are_distinct_and_balanced() {
    let world = world();
    for split in Split::ALL {
        let asked = asked(&world, split);
        let texts: HashSet<_> = asked.iter().map(|it| &it.text).collect();
        assert_eq!(texts.len(), asked.len());
        for (index, question) in asked.iter().enumerate() {
            assert_eq!(question.hops(), Some(1 + index % 4));
        }
        let n_comparisons = asked.iter().filter(|it| it.evidence.shape == "comparison").count();
        assert_eq!(n_comparisons, 48);
        let shorter = questions(&world, split, 50, 5, &QuestionMix::default()).unwrap();
        assert_eq!(shorter, asked[..50]);
        for hops in 1..=4 {
            let of_hops: Vec<_> = asked.iter().filter(|it| it.hops() == Some(hops)).collect();
            let ends_in = |unit: fn(&str) -> bool| {
                of_hops.iter().filter(|it| unit(&it.golden_answers[0])).count() * 50 > of_hops.len()
            };
            assert!(ends_in(|answer| answer.len() == 4 && answer.parse::<u32>().is_ok()));
            assert!(ends_in(|answer| answer.ends_with(" thousand") || answer.len() == 2));
            assert!(ends_in(|answer| answer.parse::<u32>().is_err()));
        }
    }
}

#[test]
fn evidence_chains_from_the_question_to_the_answer() {
    let world = world();
    for question in asked(&world, Split::Test) {
        let evidence = &question.evidence;
        let text = &question.text;
        let steps = &evidence.steps;
        assert_eq!(evidence.passages.len(), steps.len());
        for (step, passage) in steps.iter().zip(&evidence.passages) {
            assert_eq!(step.passage_ids, [passage.id.as_str()]);
            assert!(passage.text.contains(&step.answer), "{text}");
            assert_eq!(world.passage(world.entity_of(&passage.id).unwrap()), passage);
        }
        assert!(text.contains(&evidence.entities[0]), "{text}");
        let distinct: HashSet<_> = evidence.entities.iter().collect();
        assert_eq!(distinct.len(), evidence.entities.len(), "{text}");
        if evidence.shape == "comparison" {
            continue;
        }
        let relations: HashSet<_> = steps
            .iter()
            .map(|step| {
                let mut relations = Relation::all().map(Relation::name);
                relations.find(|name| step.queries[0].ends_with(&format!(" {name}"))).unwrap()
            })
            .collect();
        assert_eq!(relations.len(), steps.len(), "{text}");
        for (hop, entity) in evidence.entities.iter().enumerate() {
            if let Some(step) = steps.get(hop) {
                assert!(step.queries[0].contains(entity.as_str()), "{text}");
                assert!(step.question.contains(entity.as_str()), "{text}");
            }
            if hop > 0 {
                assert_eq!(&steps[hop - 1].answer, entity);
                assert!(!text.contains(&format!(" {entity}?")), "{text}");
            }
        }
        assert_eq!(question.golden_answers[0], steps.last().unwrap().answer);
    }
}

#[test]
fn comparisons_are_won_by_the_right_side() {
    let world = world();
    let mut words = HashMap::new();
    for n in 0..400 {
        let stream = Stream::new(2, Purpose::Questions).of_member(n, 0);
        let question = question(&world, Split::Train, QuestionShape::Comparison, stream).unwrap();
        let ids = question.evidence.steps.iter().map(|it| world.entity_of(&it.passage_ids[0]));
        let numbers: Vec<_> = question
            .evidence
            .steps
            .iter()
            .map(|step| step.answer.trim_end_matches(" thousand").parse::<u32>().unwrap())
            .collect();
        let greater = ["later", "more", "larger"];
        let smaller = ["earlier", "fewer", "smaller"];
        let is_asked = |word: &&&str| question.text.contains(&format!(" {word}"));
        let direction = greater.iter().chain(&smaller).find(is_asked).unwrap();
        let second_wins = greater.contains(direction) != (numbers[0] > numbers[1]);
        let winner = ids.flatten().nth(usize::from(second_wins)).unwrap();
        assert_eq!(question.golden_answers, [world.entity(winner).name.as_str()]);
        *words.entry(*direction).or_insert(0) += 1;
    }
    assert_eq!(words.len(), 6);
    assert!(words.values().all(|&count| count > 20), "{words:?}");
}

/// The text between tags, without the space after the opening one.
fn between<'a>(turn: &'a str, tag: &str) -> &'a str {
    let (_, after) = turn.split_once(&format!("<{tag}> ")).unwrap();
    after.split_once(&format!("</{tag}>")).unwrap().0
}

#[test]
fn demonstrations_search_the_reference_queries_and_answer() {
    let world = world();
    for question in asked(&world, Split::Dev) {
        let turns =
            demonstrate(&world, &question, &Perturbations::default(), Thoughts::Plan, stream(0));
        let steps = &question.evidence.steps;
        assert_eq!(turns.len(), steps.len() + 1);
        for (hop, (turn, step)) in turns.iter().zip(steps).enumerate() {
            assert_eq!(between(turn, "search"), step.queries[0]);
            let thought = between(turn, "think");
            assert!(thought.ends_with(&format!(": {}.", step.queries[0])), "{thought}");
            if hop > 0 {
                let known =
                    format!("{} {}. Next: ", steps[hop - 1].queries[0], steps[hop - 1].answer);
                assert!(thought.starts_with(&known), "{thought}");
            }
        }
        let last = turns.last().unwrap();
        let thought = between(last, "think");
        let step = steps.last().unwrap();
        assert!(thought.starts_with(&format!("{} {}.", step.queries[0], step.answer)));
        assert_eq!(between(last, "answer"), question.golden_answers[0]);
        if question.evidence.shape == "comparison" {
            assert!(thought.ends_with(&format!(" {}.", question.golden_answers[0])), "{thought}");
        }
    }
}

#[test]
fn passages_tell_their_share_of_inline_facts_and_all_else_stays() {
    let plain = world();
    for share in [0.0, 0.3, 1.0] {
        let world =
            World::generate(&WorldConfig { inline_facts: share, ..WorldConfig::default() }, 1);
        let world = world.unwrap();
        let (mut links, mut inline) = (0, 0);
        for id in Split::ALL.into_iter().flat_map(|split| world.entities(split, None)) {
            let text = &world.passage(id).text;
            let mut without = text.clone();
            for (fact, same) in world.entity(id).facts.iter().zip(&plain.entity(id).facts) {
                assert_eq!((fact.relation, fact.value), (same.relation, same.value));
                links += usize::from(matches!(fact.value, FactValue::Entity(_)));
                let Some((found, told)) = world.inline_fact(fact) else { continue };
                inline += 1;
                assert!(world.entity(found).facts.contains(&told));
                assert_ne!(told.value, FactValue::Entity(id), "{text}");
                let cue = told.relation.cues()[1];
                let said = format!(", whose {cue} {}", world.text(told.value));
                assert!(text.contains(&format!("{}{said}", world.text(fact.value))), "{text}");
                without = without.replace(&said, "");
            }
            assert_eq!(without, plain.passage(id).text);
        }
        assert!((f64::from(inline) / links as f64 - share).abs() < 0.02, "{inline} of {links}");
    }
}

#[test]
fn what_was_told_by_the_way_is_not_searched_for() {
    let world =
        World::generate(&WorldConfig { inline_facts: 1.0, ..WorldConfig::default() }, 1).unwrap();
    let (mut told, mut follows) = (0, 0);
    for question in asked(&world, Split::Dev) {
        let turns =
            demonstrate(&world, &question, &Perturbations::default(), Thoughts::Plan, stream(0));
        let searched: Vec<_> =
            turns[..turns.len() - 1].iter().map(|turn| between(turn, "search")).collect();
        let mut known = String::new();
        let mut was_told = true;
        for step in &question.evidence.steps {
            let stated = format!("{} {}.", step.queries[0], step.answer);
            assert!(turns[1..].iter().any(|turn| turn.contains(&stated)), "{turns:?}");
            if searched.contains(&step.queries[0].as_str()) {
                known.clone_from(&step.passage_ids[0]);
                was_told = false;
                continue;
            }
            // Beside a fact of the passage that was read last, one fact for each.
            assert!(!was_told, "{turns:?}");
            was_told = true;
            told += 1;
            let passage = world.entity_of(&known).map(|id| &world.passage(id).text).unwrap();
            assert!(passage.contains(&step.answer), "{passage}");
        }
        follows += question.evidence.steps.len() - 1;
        let answer = between(turns.last().unwrap(), "answer");
        assert_eq!(answer, question.golden_answers[0]);
    }
    let share = f64::from(told) / follows as f64;
    assert!((0.1..0.4).contains(&share), "{told} of {follows}");
}

#[test]
fn stopping_early_answers_the_first_value() {
    let world = world();
    let perturbations = Perturbations { stop_early: 1.0, ..Perturbations::default() };
    for question in asked(&world, Split::Dev) {
        let turns = demonstrate(&world, &question, &perturbations, Thoughts::Plan, stream(0));
        assert_eq!(turns.len(), 2);
        let first = &question.evidence.steps[0];
        let answer = &first.answer;
        let end =
            format!("<think> {} {answer}.</think><answer> {answer}</answer>", first.queries[0]);
        assert_eq!(turns[1], end);
        assert_eq!(question.golden_answers[0] == *answer, question.hops() == Some(1));
    }
}

#[test]
fn misreading_answers_another_value_of_the_passage() {
    let world = world();
    let perturbations = Perturbations { misread: 1.0, ..Perturbations::default() };
    for question in asked(&world, Split::Dev) {
        let turns = demonstrate(&world, &question, &perturbations, Thoughts::Plan, stream(0));
        assert_eq!(turns.len(), question.evidence.steps.len() + 1);
        let answer = between(turns.last().unwrap(), "answer");
        assert!(!question.golden_answers.iter().any(|golden| golden == answer));
        assert!(question.evidence.passages.last().unwrap().text.contains(answer));
    }
}

#[test]
fn wandering_makes_as_many_searches_and_ends_elsewhere() {
    let world = world();
    let perturbations = Perturbations { wander: 1.0, ..Perturbations::default() };
    let (mut n_chains, mut n_left, mut n_wrong) = (0, 0, 0);
    for question in asked(&world, Split::Dev) {
        let turns = demonstrate(&world, &question, &perturbations, Thoughts::Plan, stream(0));
        let right =
            demonstrate(&world, &question, &Perturbations::default(), Thoughts::Plan, stream(0));
        let steps = &question.evidence.steps;
        assert_eq!(turns.len(), right.len());
        assert_eq!(turns[0], right[0]);
        if question.evidence.shape == "comparison" || steps.len() < 2 {
            assert_eq!(turns, right);
            continue;
        }
        n_chains += 1;
        let Some(at) = turns.iter().zip(&right).position(|(one, other)| one != other) else {
            continue;
        };
        n_left += 1;
        // Another value of the passage, said to be the one that was asked for.
        let step = &steps[at - 1];
        let thought = between(&turns[at], "think");
        let value = thought
            .strip_prefix(&format!("{} ", step.queries[0]))
            .and_then(|rest| rest.split_once(". Next:"))
            .unwrap()
            .0;
        let passage = question.evidence.passages.iter().find(|it| it.id == step.passage_ids[0]);
        assert!(passage.unwrap().text.contains(value), "{thought}");
        assert_ne!(value, step.answer);
        // What it says from there on is so, of the entity that it searches for.
        for pair in turns[at..].windows(2) {
            let query = between(&pair[0], "search");
            let stated = between(&pair[1], "think");
            let value = stated.strip_prefix(&format!("{query} ")).unwrap();
            let value = value.split_once(". Next:").map_or(value.trim_end_matches('.'), |it| it.0);
            let is_fact = world
                .passages()
                .iter()
                .any(|passage| query.starts_with(&passage.title) && passage.text.contains(value));
            assert!(is_fact, "{query}: {value}");
        }
        let answer = between(turns.last().unwrap(), "answer");
        assert!(!answer.is_empty());
        n_wrong += usize::from(!question.golden_answers.iter().any(|golden| golden == answer));
    }
    assert_eq!(n_left, n_chains);
    assert!(n_wrong * 10 > n_left * 9, "{n_wrong} of {n_left}");
}

#[test]
fn repeating_and_vagueness_change_searches_alone() {
    let world = world();
    let repeat = Perturbations { repeat: 1.0, ..Perturbations::default() };
    let vague = Perturbations { vague: 1.0, ..Perturbations::default() };
    for question in asked(&world, Split::Dev) {
        let right =
            demonstrate(&world, &question, &Perturbations::default(), Thoughts::Plan, stream(0));
        let twice = demonstrate(&world, &question, &repeat, Thoughts::Plan, stream(0));
        let (end, searches) = right.split_last().unwrap();
        let expected: Vec<_> = searches.iter().flat_map(|turn| [turn, turn]).chain([end]).collect();
        assert_eq!(twice.iter().collect::<Vec<_>>(), expected);
        let turns = demonstrate(&world, &question, &vague, Thoughts::Plan, stream(0));
        assert_eq!(turns.last(), right.last());
        for ((turn, right), step) in turns.iter().zip(&right).zip(&question.evidence.steps) {
            assert_eq!(between(turn, "think"), between(right, "think"));
            let entity = world.entity(world.entity_of(&step.passage_ids[0]).unwrap());
            assert_eq!(between(turn, "search"), entity.name);
        }
    }
}

#[test]
fn thoughts_of_findings_say_what_stands_there_and_not_what_is_next() {
    let world = world();
    let wander = Perturbations { wander: 1.0, ..Perturbations::default() };
    let mut n_apart = 0;
    for question in asked(&world, Split::Dev) {
        let [planned, found] = [Thoughts::Plan, Thoughts::Findings]
            .map(|it| demonstrate(&world, &question, &Perturbations::default(), it, stream(0)));
        assert_eq!(planned.last(), found.last());
        for (turn, planned) in found.iter().zip(&planned).take(found.len() - 1) {
            let query = between(planned, "search");
            assert_eq!(between(turn, "search"), query);
            let (before, _) = between(planned, "think").rsplit_once(':').unwrap();
            assert_eq!(between(turn, "think"), format!("{before}."));
        }
        // A search that leaves the chain comes after a thought that does not.
        let left = demonstrate(&world, &question, &wander, Thoughts::Findings, stream(0));
        if question.evidence.shape != "comparison" && question.evidence.steps.len() > 1 {
            assert_eq!(between(&left[1], "think"), between(&found[1], "think"));
            n_apart += usize::from(between(&left[1], "search") != between(&found[1], "search"));
        }
    }
    assert!(n_apart > 0);
}

#[test]
fn perturbations_draw_numbers_of_their_own() {
    let world = world();
    let early = Perturbations { stop_early: 0.5, ..Perturbations::default() };
    let vague = Perturbations { vague: 0.5, ..early.clone() };
    for question in asked(&world, Split::Dev) {
        let [one, other] = [&early, &vague]
            .map(|it| demonstrate(&world, &question, it, Thoughts::Plan, stream(0)).len());
        assert_eq!(one, other);
    }
}

#[test]
fn a_recall_exercise_repeats_what_stood_behind_each_number() {
    let world = world();
    for n in 0..20 {
        let exercise = recall_exercise(&world, Split::Train, stream(n));
        let (given, _) = &exercise[0];
        for pair in exercise[..exercise.len() - 1].chunks(2) {
            let (asked, recalled) = (&pair[0].0, &pair[1].0);
            let number = asked.rsplit(' ').next().unwrap();
            assert!(!pair[0].1 && pair[1].1);
            let listed = format!(" {number}{recalled}");
            assert!(given.contains(&listed), "{listed} in {given}");
        }
        assert!((2..=6).contains(&(exercise.len() / 2)), "{given}");
    }
}

#[test]
fn a_reading_exercise_asks_for_every_fact_of_its_passages() {
    let world = world();
    for n in 0..100 {
        let exercise = reading_exercise(&world, Split::Train, stream(n));
        let (given, _) = &exercise[0];
        let (shown, _) = given.split_once("</information>\n\n<think> ").unwrap();
        let titles: Vec<_> = shown.lines().filter(|line| line.contains("(Title: ")).collect();
        assert!((1..=2).contains(&titles.len()), "{shown}");
        let n_facts: usize = world
            .passages()
            .iter()
            .filter(|passage| shown.contains(&format!(") {}\n", passage.text)))
            .map(|passage| world.entity(world.entity_of(&passage.id).unwrap()).facts.len())
            .sum();
        let values: Vec<_> =
            exercise.iter().filter(|(_, in_loss)| *in_loss).map(|(text, _)| text).collect();
        assert_eq!(values.len(), n_facts);
        for value in values {
            assert!(value.starts_with(' ') && value.ends_with('.'));
            assert!(shown.contains(value.trim_end_matches('.')), "{value} in {shown}");
        }
        assert!(exercise.iter().all(|(text, _)| text.starts_with([' ', '<', '\n'])));
    }
}

#[test]
fn a_comparison_exercise_copies_the_winner() {
    let world = world();
    for n in 0..100 {
        let exercise = comparison_exercise(&world, Split::Train, stream(n));
        let verdicts: Vec<_> = exercise.iter().filter(|(_, in_loss)| *in_loss).collect();
        assert_eq!(verdicts.len(), 8);
        let before = |verdict: &str| {
            let at = exercise.iter().position(|(text, _)| text == verdict).unwrap();
            exercise[..at].iter().map(|(text, _)| text.as_str()).collect::<String>()
        };
        for (verdict, _) in verdicts {
            let seen = before(verdict);
            let pairs = &seen[seen.rfind("Compare:").unwrap()..];
            assert!(pairs.contains(verdict.trim_end_matches('.')), "{verdict} after {pairs}");
            let number =
                |text: &str| text.trim().split(' ').next().unwrap().parse::<u32>().unwrap();
            let pair = pairs["Compare:".len()..].split_once('.').unwrap().0;
            let values = pair.split(", ").map(number);
            let greater = ["Later:", "More:", "Larger:"].iter().any(|word| seen.ends_with(word));
            let winner = if greater { values.max() } else { values.min() };
            assert_eq!(Some(number(verdict)), winner);
        }
    }
}

#[test]
fn a_small_world_asks_in_other_words_and_then_gives_up() {
    let entities = EntityCounts { train: 24, dev: 24, test: 24 };
    let world = World::generate(&WorldConfig { entities, ..WorldConfig::default() }, 4).unwrap();
    let mix = QuestionMix { hops: vec![1], comparison: 0.0 };
    let n_facts: usize =
        world.entities(Split::Dev, None).map(|id| world.entity(id).facts.len()).sum();
    let more = questions(&world, Split::Dev, n_facts + 20, 1, &mix).unwrap();
    assert_eq!(more.iter().map(|it| &it.text).collect::<HashSet<_>>().len(), n_facts + 20);
    let error = questions(&world, Split::Dev, 10_000, 1, &mix).unwrap_err();
    assert!(matches!(error, WorldError::Exhausted { .. }), "{error}");
    for seed in 0..50 {
        let entities = EntityCounts { train: 24, dev: 25, test: 37 };
        let world =
            World::generate(&WorldConfig { entities, ..WorldConfig::default() }, seed).unwrap();
        for split in Split::ALL {
            questions(&world, split, 8, seed, &QuestionMix::default()).unwrap();
        }
    }
}

#[test]
fn impossible_settings_are_refused() {
    let entities = EntityCounts { dev: 23, ..EntityCounts::default() };
    let error =
        World::generate(&WorldConfig { entities, ..WorldConfig::default() }, 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "split `dev` has 23 entities, fewer than the 24 it takes to link them"
    );
    let error = World::generate(&WorldConfig { long_names: 1.5, ..WorldConfig::default() }, 1);
    assert_eq!(error.unwrap_err().to_string(), "`long_names` is 1.5, not a share");
    let error =
        World::generate(&WorldConfig { inline_facts: f64::NAN, ..WorldConfig::default() }, 1);
    assert_eq!(error.unwrap_err().to_string(), "`asides` is NaN, not a share");
    assert!(
        Perturbations { stop_early: 0.5, misread: 1.1, ..Perturbations::default() }
            .check()
            .is_err()
    );
    assert!(
        Perturbations { stop_early: f64::NAN, misread: 0.0, ..Perturbations::default() }
            .check()
            .is_err()
    );
    assert!(Perturbations { stop_early: 1.0, ..Perturbations::default() }.check().is_ok());
    assert!(serde_json::from_str::<WorldConfig>(r#"{"entities": {"train": 50}}"#).is_ok());
    assert!(serde_json::from_str::<WorldConfig>(r#"{"entities": {"trian": 50}}"#).is_err());
}
