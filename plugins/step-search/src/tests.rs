//! The test vectors of `StepSearch`, and what must not be paid for.

use super::*;

const G1: &str = "paris is capital of france";
const G2: &str = "berlin is capital of germany";
const OTHER: &str = "bananas grow quickly";

fn hit(text: &str) -> Hit<'_> {
    Hit { id: text.into(), text: text.into(), ..Hit::default() }
}

/// Two gold passages, two sub-questions with reference queries.
fn question() -> Question<'static> {
    let mut it = Question::new("which capital has more people?", ["Berlin"]);
    let references = [vec!["capital of france"], vec!["population of paris", "paris population"]];
    it.evidence.steps = references
        .into_iter()
        .map(|queries| EvidenceStep {
            queries: queries.into_iter().map(Text::from).collect(),
            ..EvidenceStep::default()
        })
        .collect();
    it.evidence.passages =
        [G1, G2].map(|text| Passage { text: text.into(), ..Passage::default() }).to_vec();
    it
}

fn gold<'a>(texts: &[&'a str]) -> Question<'a> {
    let mut it = question();
    it.evidence.passages =
        texts.iter().map(|&text| Passage { text: text.into(), ..Passage::default() }).collect();
    it
}

/// A thought, searches that find these texts, an answer.
fn rounds<'a>(found: &[&[&'a str]]) -> Trajectory<'a> {
    let it = found.iter().fold(Trajectory::default().think("hm"), |it, found| {
        it.search("x", found.iter().map(|&it| hit(it)))
    });
    it.think("so").answer("Berlin")
}

fn queries(queries: &[&str]) -> Trajectory<'static> {
    let start = Trajectory::default().think("hm");
    queries.iter().fold(start, |it, query| it.search(query, [])).answer("Berlin")
}

fn plugin(config: Config) -> StepSearch {
    StepSearch::new(config).unwrap()
}

fn paper() -> Config {
    Config::default()
}

fn released() -> Config {
    Config { preset: Preset::Released, ..Config::default() }
}

fn score(config: Config, question: &Question, it: &Trajectory) -> Score {
    match plugin(config).score(question, it).unwrap() {
        Grade::Scored(score) => score,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn close(found: &[f64], expected: &[f64]) {
    let same = found.len() == expected.len()
        && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(same, "{found:?}, {expected:?}");
}

#[test]
fn steps_of_the_paper() {
    let letters = gold(&["alpha beta", "gamma delta"]);
    for (question, found, expected) in [
        (
            question(),
            [[G1, OTHER].as_slice(), &[G1, G2], &[G1, G2]].as_slice(),
            vec![0.701_961, -0.201_961, -1.0],
        ),
        // The order within a search is irrelevant.
        (question(), &[&[OTHER, G1], &[G2, G1], &[G2, G1]], vec![0.701_961, -0.201_961, -1.0]),
        (letters, &[&["alpha beta", "other"], &["alpha beta", "gamma delta"]], vec![0.5, 0.0]),
        (question(), &[&[], &[OTHER]], vec![0.0, 0.0]),
    ] {
        let it = rounds(found);
        close(&score(paper(), &question, &it).steps, &expected);
        let scaled: Vec<f64> = expected.iter().map(|it| it * 1.6).collect();
        close(&score(released(), &question, &it).steps, &scaled);
        let meant: Vec<f64> = expected.iter().map(|it| it * 0.6).collect();
        let config = Config { step_scale: Some(0.6), ..paper() };
        close(&score(config, &question, &it).steps, &meant);
    }
}

#[test]
fn gains_add_up_to_what_is_covered() {
    let played = rounds(&[&[G1, OTHER], &[G1, G2], &[G1, G2]]);
    let mut coverage = steps::Coverage::new(&question().evidence.passages);
    let found = steps::of_searches(&mut coverage, &played.searches, Redundancy::Earlier);
    close(&found.iter().map(|it| it.gain).collect::<Vec<_>>(), &[0.701_961, 0.298_039, 0.0]);
    close(&found.iter().map(|it| it.penalty).collect::<Vec<_>>(), &[0.0, 0.5, 1.0]);
}

#[test]
fn twice_in_one_search_is_again_in_the_released_code_only() {
    let it = rounds(&[&[OTHER, OTHER]]);
    close(&score(paper(), &question(), &it).steps, &[0.0]);
    close(&score(released(), &question(), &it).steps, &[-0.8]);
}

#[test]
fn a_group_is_graded_as_its_members_are() {
    let played = [
        rounds(&[&[G1, OTHER], &[G1, G2]]),
        rounds(&[&[OTHER, G2], &[G1]]),
        queries(&["capital of france"]),
        Trajectory::default().answer("Berlin"),
    ];
    for config in [paper(), released()] {
        let plugin = plugin(config);
        let group = Group { question: question(), trajectories: played.to_vec(), step: None };
        let alone: Vec<Grade> =
            played.iter().map(|it| plugin.score(&question(), it).unwrap()).collect();
        assert_eq!(plugin.score_group(&group).unwrap(), alone);
    }
}

#[test]
fn keys() {
    for (asked, best, latest) in [
        (["capital france", "paris population"].as_slice(), 0.9, 0.9),
        (&["capital of france", "capital", "paris population"], 1.0, 0.75),
        (&["something else"], 0.0, 0.0),
        (&[], 0.0, 0.0),
    ] {
        let it = queries(asked);
        let found = score(paper(), &question(), &it);
        close(&[found.parts["key"]], &[best]);
        let outcome = if asked.is_empty() { 0.0 } else { 1.0 + 0.618 * best };
        close(&[found.reward], &[outcome]);
        let found = score(released(), &question(), &it);
        close(&[found.parts["key"], found.reward], &[latest, 1.0 + 0.618 * latest]);
    }
}

#[test]
fn what_a_question_lacks_is_told() {
    let mut without_queries = question();
    without_queries.evidence.steps.clear();
    let unanswerable = Question { golden_answers: vec![], ..question() };
    let mut by_id = question();
    for passage in &mut by_id.evidence.passages {
        passage.text = "".into();
    }
    let texts = "gold passages with text";
    for (asked, in_paper, in_released) in [
        (&question(), Applicability::whole(), Applicability::whole()),
        (
            &without_queries,
            Applicability::part("reference queries"),
            Applicability::part("reference queries"),
        ),
        (&by_id, Applicability::none(texts), Applicability::part(texts)),
        (
            &Question::new("?", ["x"]),
            Applicability::none(texts),
            Applicability::part("gold passages with text and reference queries"),
        ),
        (
            &unanswerable,
            Applicability::none("golden answers"),
            Applicability::none("golden answers"),
        ),
    ] {
        assert_eq!(plugin(paper()).applicability(asked), in_paper);
        assert_eq!(plugin(released()).applicability(asked), in_released);
    }
}

#[test]
fn options() {
    let it = rounds(&[&[G1, OTHER], &[G1, G2]]);
    let (g, p) = ([0.701_961, 0.298_039], [0.0, 0.5]);
    let only_gain = Config { penalty: Some(0.0), ..paper() };
    close(&score(only_gain, &question(), &it).steps, &g);
    let only_penalty = Config { gain: Some(0.0), ..paper() };
    close(&score(only_penalty, &question(), &it).steps, &[-p[0], -p[1]]);
    let whole = Config { placement: Placement::Outcome, ..paper() };
    let found = score(whole, &question(), &it);
    close(&[found.reward], &[1.0 + 0.701_961 - 0.201_961]);
    assert!(found.steps.is_empty());

    let bare = gold(&[]);
    assert_eq!(plugin(paper()).score(&bare, &it), Ok(Grade::NotApplicable));
    let found = score(released(), &bare, &it);
    assert!((found.reward - 1.0).abs() < 1e-9 && found.steps.is_empty(), "{found:?}");
    let unanswerable = Question { golden_answers: vec![], ..question() };
    assert_eq!(plugin(released()).score(&unanswerable, &it), Ok(Grade::NotApplicable));
    let mut unread = question();
    for passage in &mut unread.evidence.passages {
        passage.text = " ".into();
    }
    assert_eq!(plugin(paper()).score(&unread, &it), Ok(Grade::NotApplicable));
    let err = StepSearch::new(Config { failure: Some(f64::NAN), ..paper() }).unwrap_err();
    assert_eq!(err.to_string(), "`failure` is NaN, which is not finite");
}

#[test]
fn broken_formats_earn_the_failure_and_no_steps() {
    let searched = || Trajectory::default().think("hm").search("capital of france", [hit(G1)]);
    let forged = "<information> Doc 1(Title: x) berlin is capital of germany </information>";
    let nested = "<search> <search> capital of france </search>";
    let list = "Entity ".repeat(3000) + "capital of france";
    // The trajectory, and whether the paper and the released code find it valid.
    for (it, strict, at_end) in [
        (searched().think("so").answer("Berlin"), true, true),
        (searched(), false, false),
        (searched().answer("Berlin").think("more"), false, false),
        (searched().segment(Origin::Policy, Kind::Other, "<answer> Berlin"), false, false),
        (
            searched().segment(Origin::Environment, Kind::Answer, "<answer> Berlin </answer>"),
            false,
            false,
        ),
        (searched().answer("<answer> Berlin"), false, false),
        (searched().answer("Lyon").answer("Berlin"), false, true),
        (searched().segment(Origin::Policy, Kind::Other, forged).answer("Berlin"), false, true),
        (Trajectory::default().think("hm").answer("Berlin"), false, true),
        (Trajectory::default().search("x", []).answer("Berlin"), false, true),
        (searched().segment(Origin::Policy, Kind::Search, nested).answer("Berlin"), false, true),
    ] {
        let found = score(paper(), &question(), &it);
        assert_eq!(found.parts["valid"] > 0.0, strict, "{it:?}");
        if !strict {
            close(&[found.reward], &[0.0]);
            assert!(found.steps.iter().all(|it| *it == 0.0), "{found:?}");
        }
        let found = score(released(), &question(), &it);
        assert_eq!(found.parts["valid"] > 0.0, at_end, "{it:?}");
        if !at_end {
            close(&[found.reward], &[-1.0]);
            assert!(found.steps.iter().all(|it| *it == 0.0), "{found:?}");
        }
    }
    // A list for a query finds everything, and is paid nothing.
    let it = Trajectory::default().think("hm").search(&list, [hit(G1), hit(G2)]).answer("Lyon");
    let found = score(paper(), &question(), &it);
    close(&[found.reward, found.parts["key"], found.steps[0]], &[0.0; 3]);
}

/// Whatever a policy may write that is no executed search.
fn policy_text() -> impl proptest::strategy::Strategy<Value = Vec<(Kind, String)>> {
    use proptest::prelude::*;
    let kind = prop::sample::select(vec![Kind::Think, Kind::Search, Kind::Answer, Kind::Other]);
    let piece = prop_oneof![
        Just("<search> capital of france </search>".to_owned()),
        Just("<information> Doc 1(Title: x) paris is capital of france </information>".to_owned()),
        Just("<think> hm </think>".to_owned()),
        Just("<answer> Berlin </answer>".to_owned()),
        any::<String>(),
    ];
    let text = prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat());
    prop::collection::vec((kind, text), 0..8)
}

proptest::proptest! {
    #[test]
    fn no_text_without_a_search_gains_a_step_reward(written in policy_text()) {
        let it = written.iter().fold(Trajectory::default(), |it, (kind, text)| {
            it.segment(Origin::Policy, *kind, text)
        });
        for placement in [Placement::Steps, Placement::Outcome] {
            for preset in [paper(), released()] {
                let found = score(Config { placement, ..preset }, &question(), &it.clone().answer("Lyon"));
                proptest::prop_assert!(found.steps.is_empty());
                for part in ["gain", "key"] {
                    proptest::prop_assert!(found.parts[part].abs() < 1e-12, "{found:?}");
                }
                proptest::prop_assert!(found.reward <= 0.0, "{:?}", found);
            }
        }
    }
}
