//! The test vectors of E-GRPO, and what must not count.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

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
fn strict_pays_nothing_for_an_unclean_format() {
    let clean = |answer: &str| {
        let it = Trajectory::default().think("Titanic").search("x", []);
        it.think("Leonardo").answer(answer)
    };
    let unclean =
        |answer: &str| Trajectory::default().think("Titanic").search("x", []).answer(answer);
    let group = vec![clean("Cameron"), clean("Lynch"), unclean("Cameron"), unclean("Lynch")];
    for (strict, expected) in [(false, [1.0, 0.3, 1.0, 0.15]), (true, [1.0, 0.3, 0.0, 0.0])] {
        let plugin = plugin(Config { strict, ..Config::default() });
        let found = rewards(&plugin, question(&ENTITIES), group.clone());
        let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close, "{strict}: {found:?}");
    }
    // A thought that the prompt opened is part of the format.
    let opened = Trajectory::default()
        .segment(Origin::Prompt, Kind::Prompt, "who?\n<think>\n")
        .segment(Origin::Policy, Kind::Think, "Titanic </think>")
        .answer("Lynch");
    let plugin = plugin(Config { strict: true, ..Config::default() });
    let found = rewards(&plugin, question(&["Titanic", "x"]), vec![opened]);
    assert!((found[0] - 0.3).abs() < 1e-9, "{found:?}");
}

#[test]
fn entities_of_the_question_and_the_answer_may_be_skipped() {
    let mut question = question(&["Titanic", "Leonardo", "Cameron", "Rose"]);
    question.text = "Who made the Titanic film?".into();
    question.evidence.aliases.insert("Rose".into(), vec!["Kate".into()]);
    let gamma = |skip: &[Skip], thought: &str| {
        let plugin = plugin(Config { skip: skip.to_vec(), ..Config::default() });
        let grade = plugin.score(&question, &played(&[thought], Some("Lynch"))).unwrap();
        let Grade::Scored(score) = grade else { panic!("{grade:?}") };
        score.parts["gamma"]
    };
    for (skip, thought, expected) in [
        ([].as_slice(), "Titanic Cameron", 0.5),
        (&[Skip::Question], "Titanic Cameron", 1.0 / 3.0),
        (&[Skip::Answer], "Titanic Cameron", 1.0 / 3.0),
        (&[Skip::Question, Skip::Answer], "Titanic Cameron", 0.0),
        (&[Skip::Question, Skip::Answer], "Kate and Leonardo", 1.0),
    ] {
        let found = gamma(skip, thought);
        assert!((found - expected).abs() < 1e-9, "{skip:?} {thought}: {found}");
    }
}

#[test]
fn entities_may_be_searched_in_the_whole_trajectory() {
    let page = Hit { text: "Leonardo in Titanic".into(), ..Hit::default() };
    let prompted = Trajectory::default().segment(Origin::Prompt, Kind::Prompt, "Leonardo Titanic");
    for (it, thoughts, trajectory) in [
        (Trajectory::default().think("hm").search("x", [page]).answer("y"), 0.0, 1.0),
        (Trajectory::default().think("Titanic").search("Leonardo", []).answer("y"), 0.5, 1.0),
        (prompted.think("hm").answer("y"), 0.0, 0.0),
        (played(&["Titanic", "Leonardo\u{200b}"], Some("y")), 1.0, 1.0),
    ] {
        for (r#where, expected) in [(Where::Thoughts, thoughts), (Where::Trajectory, trajectory)] {
            let plugin = plugin(Config { r#where, ..Config::default() });
            let Grade::Scored(score) = plugin.score(&question(&ENTITIES), &it).unwrap() else {
                panic!("{it:?}")
            };
            let found = score.parts["gamma"];
            // A query in `played` has both names.
            assert!((found - expected).abs() < 1e-9, "{where:?} {it:?}");
        }
    }
}

#[test]
fn what_a_question_lacks_is_told() {
    let skip = vec![Skip::Question, Skip::Answer];
    let skipping = plugin(Config { skip, ..Config::default() });
    let plain = plugin(Config::default());
    let grpo = plugin(Config { alpha: Some(0.0), ..Config::default() });
    for (plugin, asked, expected) in [
        (&plain, question(&ENTITIES), Applicability::whole()),
        (&plain, question(&[]), Applicability::part("entities")),
        (&plain, question(&[" "]), Applicability::part("entities")),
        (&plain, Question::default(), Applicability::none("golden answers")),
        (&grpo, question(&[]), Applicability::whole()),
        (&skipping, question(&["Cameron", "Titanic"]), Applicability::whole()),
        (&skipping, question(&["Cameron"]), Applicability::part("entities that are not skipped")),
    ] {
        assert_eq!(plugin.applicability(&asked), expected);
    }
}

/// A judge that finds `James C.` right, gives no verdict on `Odd`, and finds anything else wrong.
fn judge() -> judge::Config {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    // Ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1).unwrap();
            let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let body = String::from_utf8(body).unwrap();
            let verdict = match () {
                () if body.contains("James C.") => "verdict: right",
                () if body.contains("Odd") => "hm",
                () => "verdict: wrong",
            };
            let reply = format!(r#"{{"choices": [{{"message": {{"content": "{verdict}"}}}}]}}"#);
            let n = reply.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\nConnection: close");
            write!(reader.get_mut(), "{head}\r\n\r\n{reply}").unwrap();
        }
    });
    serde_json::from_value(serde_json::json!({ "url": url, "model": "m", "retries": 0 })).unwrap()
}

#[test]
fn a_judge_may_say_what_is_right() {
    let config = || Config { correct: Correct::Judge, judge: Some(judge()), ..Config::default() };
    let group = Group {
        question: question(&ENTITIES),
        trajectories: vec![
            played(&["hm"], Some("James C.")),
            played(&["Titanic"], Some("Lynch")),
            played(&["Titanic"], Some("Odd")),
            played(&["Titanic"], None),
            played(&["Leonardo"], Some("Lynch")),
        ],
        step: None,
    };
    let grades = plugin(config()).score_group(&group).unwrap();
    let found: Vec<Option<f64>> = grades.iter().map(Grade::reward).collect();
    assert_eq!(found, [Some(1.0), Some(0.3), None, Some(0.0), Some(0.3)]);
    assert_eq!(grades[2], Grade::Failed("the judge gave no verdict: `hm`".to_owned()));

    let message = "`judge` and `correct = \"judge\"` need each other";
    for wrong in [
        Config { correct: Correct::Judge, ..Config::default() },
        Config { judge: Some(judge()), ..Config::default() },
    ] {
        assert_eq!(EntityMatch::new(wrong).unwrap_err().to_string(), message);
    }
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
