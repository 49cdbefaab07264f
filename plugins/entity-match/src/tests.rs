//! The test vectors of E-GRPO, and what must not count.

use super::*;

const ENTITIES: [&str; 2] = ["Leonardo", "Titanic"];

fn question<'a>(entities: &[&'a str]) -> Question<'a> {
    let mut question = Question::new("?", ["Cameron"]);
    question.evidence.entities = entities.iter().map(|&it| it.into()).collect();
    question
}

fn plugin(config: Config) -> EntityMatch {
    EntityMatch::new(config).unwrap()
}

/// Thoughts, each followed by a search, then the answer.
fn played(thoughts: &[&str], answer: Option<&str>) -> Trajectory<'static> {
    let it = thoughts.iter().fold(Trajectory::default(), |it, thought| {
        it.think(thought).search("Leonardo in Titanic", [])
    });
    match answer {
        Some(answer) => it.answer(answer),
        None => it,
    }
}

fn rewards(plugin: &EntityMatch, question: Question, played: Vec<Trajectory>) -> Vec<f64> {
    let group = Group { question, trajectories: played, step: None };
    plugin.score_group(&group).unwrap().iter().map(|it| it.reward().unwrap()).collect()
}

#[test]
fn gamma_reads_thoughts_only() {
    let page = Hit { text: "Leonardo in Titanic".into(), ..Hit::default() };
    let observed = Trajectory::default().think("hm").search("Leonardo", [page]).answer("Titanic");
    let forged = Trajectory::default()
        .segment(Origin::Policy, Kind::Other, "<information> Leonardo Titanic </information>")
        .segment(
            Origin::Policy,
            Kind::Think,
            "<think> Leonardo <answer> Titanic </answer> </think>",
        )
        .segment(Origin::Policy, Kind::Think, "<think> Leonardo Titanic")
        .segment(Origin::Environment, Kind::Think, "<think> Leonardo Titanic </think>");
    for (it, expected) in [
        (played(&["Leonardo was in Titanic"], None), 1.0),
        (played(&["Leonardo", "x", "Titanic"], None), 1.0),
        (played(&["Leonardo"], None), 0.5),
        (played(&["Leonardo, Leonardo"], None), 0.5),
        (played(&["leonardo"], None), 0.0),
        (played(&["Leo", "nardo Tit", "anic"], None), 0.0),
        (observed, 0.0),
        (forged, 0.0),
    ] {
        let Grade::Scored(score) =
            plugin(Config::default()).score(&question(&ENTITIES), &it).unwrap()
        else {
            panic!("{it:?}")
        };
        assert!((score.parts["gamma"] - expected).abs() < 1e-9, "{it:?}: {score:?}");
    }
}

#[test]
fn the_groups_of_the_paper() {
    let both = "Leonardo Titanic";
    let four = ["Leonardo", "Titanic", "Rose", "Jack"];
    let over_length = Trajectory { outcome: Outcome::OverLength, ..played(&[both], None) };
    let (right, wrong) = (Some("Cameron"), Some("Lynch"));
    for (entities, group, expected) in [
        // Figure 2.
        (
            ENTITIES.as_slice(),
            vec![played(&[both], right), played(&["hm"], wrong), played(&["Titanic"], wrong)],
            vec![1.0, 0.0, 0.15],
        ),
        (
            &ENTITIES,
            vec![
                played(&[both], right),
                played(&["Leonardo"], wrong),
                played(&["hm"], wrong),
                over_length,
            ],
            vec![1.0, 0.15, 0.0, 0.0],
        ),
        // All wrong.
        (
            &four,
            vec![
                played(&["Rose and Jack"], wrong),
                played(&["Jack"], wrong),
                played(&[], wrong),
                played(&["hm"], wrong),
            ],
            vec![0.3, 0.15, 0.0, 0.0],
        ),
        (&four, vec![played(&["hm"], wrong), played(&["hm"], wrong)], vec![0.0, 0.0]),
        (&[], vec![played(&[both], right), played(&[both], wrong)], vec![1.0, 0.0]),
    ] {
        let found = rewards(&plugin(Config::default()), question(entities), group.clone());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
        // An entity that nobody names changes nothing.
        let more: Vec<&str> = entities.iter().copied().chain(["Nobody"]).collect();
        if !entities.is_empty() {
            let noisy = rewards(&plugin(Config::default()), question(&more), group.clone());
            assert!(noisy.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-9), "{noisy:?}");
        }
        // Without α it is exact match.
        let plain = plugin(Config { alpha: Some(0.0), ..Config::default() });
        let plain = rewards(&plain, question(entities), group);
        let grpo: Vec<u64> = expected.iter().map(|it| f64::floor(*it).to_bits()).collect();
        assert_eq!(plain.iter().map(|it| it.to_bits()).collect::<Vec<_>>(), grpo);
    }
}

#[test]
fn other_ways_to_be_named_and_to_be_right() {
    let aliases = BTreeMap::from([("Leonardo".to_owned(), vec!["DiCaprio".to_owned()])]);
    let renamed = plugin(Config { aliases, ..Config::default() });
    let words = plugin(Config { matching: Matching::Words, ..Config::default() });
    let inside = plugin(Config { correct: Correct::SubEm, ..Config::default() });
    let list = "Entity ".repeat(3000) + "Cameron";
    for (plugin, thought, answer, expected) in [
        (&renamed, "DiCaprio", "Lynch", 0.3),
        (&words, "the TITANIC!", "Lynch", 0.3),
        (&words, "a gigantitanic film", "Lynch", 0.0),
        (&inside, "hm", "it was Cameron", 1.0),
        (&inside, "hm", &list, 0.0),
        (&inside, "hm", "<answer> Cameron", 0.0),
    ] {
        let found = rewards(plugin, question(&ENTITIES), vec![played(&[thought], Some(answer))]);
        assert!((found[0] - expected).abs() < 1e-9, "{thought}, {answer:.20}: {found:?}");
    }
    let unjudged = inside.score(&Question::default(), &played(&["hm"], Some("x"))).unwrap();
    assert_eq!(unjudged, Grade::NotApplicable);
}

#[test]
fn alpha_follows_its_schedule() {
    let points = vec![(10, 0.3), (20, 0.1)];
    let scheduled = plugin(Config { alpha_schedule: Some(points), ..Config::default() });
    for (step, expected) in [(None, 0.3), (Some(10), 0.3), (Some(15), 0.2), (Some(99), 0.1)] {
        let trajectories = vec![played(&["Titanic"], Some("Lynch"))];
        let group = Group { question: question(&ENTITIES), trajectories, step };
        let found = scheduled.score_group(&group).unwrap()[0].reward().unwrap();
        assert!((found - expected).abs() < 1e-9, "{step:?}: {found}");
    }
    for (alpha, alpha_schedule, message) in [
        (Some(0.3), Some(vec![]), "give one of `alpha` and `alpha_schedule`"),
        (Some(1.5), None, "an α of 1.5 is not between 0 and 1"),
        (None, Some(vec![]), "`alpha_schedule` wants points of ascending steps"),
        (None, Some(vec![(5, 0.1), (5, 0.2)]), "`alpha_schedule` wants points of ascending steps"),
    ] {
        let wrong = Config { alpha, alpha_schedule, ..Config::default() };
        assert_eq!(EntityMatch::new(wrong).unwrap_err().to_string(), message);
    }
}
