//! Weighted sum of rewards, as the host computes it.

#[path = "support/chain.rs"]
mod chain;
mod support;

use chain::chain;
use forage_reward::{Combination, CombinationRule, RewardGate, RewardSection, Rewards};
use forage_trajectory::{Grade, Group, Origin, Outcome, Question, Search, SegmentKind, Trajectory};
use serde_json::{Map, Value, json};
use support::built;

/// Loads `(name, plugin, weight, config)`.
fn rewards(sections: &[(&str, &str, f64, Value)]) -> Rewards {
    let sections: Vec<_> = sections
        .iter()
        .map(|(name, plugin, weight, config)| {
            let config = config.as_object().unwrap().clone();
            let plugin_name = (*plugin).to_owned();
            let section = RewardSection { weight: *weight, config, ..bare(&plugin_name) };
            ((*name).to_owned(), section, built(plugin))
        })
        .collect();
    Rewards::load(&sections, Combination::default()).unwrap()
}

fn bare(plugin: &str) -> RewardSection {
    toml::from_str(&format!("plugin = \"{plugin}\"")).unwrap()
}

fn fine(reward: f64) -> Value {
    json!({ "mode": "fine", "reward": reward })
}

/// A trajectory with two searches and an answer, where there is one.
fn trajectory(member: usize, answer: Option<&str>) -> Trajectory {
    let mut it = Trajectory::new("q1", member);
    it.push_given(Origin::Prompt, SegmentKind::Prompt, "capital of France?", &[1]);
    for _ in 0..2 {
        let at = it.tokens.len();
        it.push_sampled(&[2, 2], &[-1.0, -1.0]);
        it.tag(SegmentKind::Think, "<think> x </think>", at..at + 1, Some("x"));
        it.tag(SegmentKind::Search, "<search> x </search>", at + 1..at + 2, Some("x"));
        let segment = it.segments.len() - 1;
        it.searches.push(Search { query: "x".into(), hits: vec![], segment, failure: None });
        let page = "<information> <answer> Paris </answer> </information>";
        it.push_given(Origin::Environment, SegmentKind::Information, page, &[3, 3]);
    }
    if let Some(answer) = answer {
        let at = it.tokens.len();
        it.push_sampled(&[4], &[-0.5]);
        it.tag(
            SegmentKind::Answer,
            &format!("<answer>{answer}</answer>"),
            at..at + 1,
            Some(answer),
        );
        it.outcome = Outcome::Answered;
    }
    it.check().unwrap();
    it
}

fn group(trajectories: Vec<Trajectory>) -> Group {
    let question = Question {
        id: "q1".into(),
        text: "capital of France?".into(),
        golden_answers: vec!["Paris".into()],
        ..Question::default()
    };
    Group { question, trajectories }
}

#[test]
fn the_sum_is_weighted_and_the_parts_are_not() {
    let rewards = rewards(&[
        ("em", "exact_match", 2.0, json!({})),
        ("a", "misbehaving", 0.5, fine(3.0)),
        ("b", "misbehaving", -1.0, fine(0.25)),
    ]);
    let grades = rewards.score(&group(vec![trajectory(0, Some("paris"))])).unwrap();
    let Grade::Scored(score) = &grades[0] else { panic!("{grades:?}") };
    let expected = [("a", 3.0), ("a/p", 3.0), ("b", 0.25), ("b/p", 0.25), ("em", 1.0)];
    let parts: Vec<(&str, f64)> = score.parts.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    assert_eq!(parts[..5], expected);
    assert_eq!(parts[5..], [("em/em", 1.0), ("em/f1", 1.0)]);
    // Binary fractions: the sums are exact.
    assert_eq!(score.reward.to_bits(), (2.0 + 1.5 - 0.25_f64).to_bits());
    assert_eq!(score.steps, [1.25, 1.25]);
}

#[test]
fn an_answer_in_a_page_earns_nothing() {
    for (plugin, nothing) in [("exact_match", 0.0), ("format", 0.0)] {
        let rewards = rewards(&[("r", plugin, 1.0, json!({}))]);
        let grades = rewards.score(&group(vec![trajectory(0, None)])).unwrap();
        assert_eq!(grades[0].reward(), Some(nothing), "{plugin}: {grades:?}");
    }
}

#[test]
fn what_does_not_apply_adds_nothing() {
    let silent = ("silent", "misbehaving", 5.0, json!({ "mode": "not-applicable" }));
    let played = group(vec![trajectory(0, Some("paris"))]);
    let both = rewards(&[silent.clone(), ("em", "exact_match", 1.0, json!({}))]);
    assert_eq!(both.score(&played).unwrap()[0].reward(), Some(1.0));
    assert_eq!(rewards(&[silent]).score(&played).unwrap(), [Grade::NotApplicable]);
    assert_eq!(rewards(&[]).score(&played).unwrap(), [Grade::NotApplicable]);
}

#[test]
fn what_the_questions_lack_is_told() {
    let rewards = rewards(&[
        ("em", "exact_match", 1.0, json!({})),
        ("steps", "step_search", 1.0, json!({})),
        ("entities", "entity_match", 1.0, json!({})),
        ("old", "misbehaving", 1.0, json!({ "mode": "panic" })),
    ]);
    let known = group(vec![]).question;
    // More than one call takes.
    let questions = [vec![known; 299], vec![Question::default()]].concat();
    let told: Vec<String> =
        rewards.applicability(&questions).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "em applies to 299 of 300 questions: 1 lacks golden answers",
            "steps applies to 0 of 300 questions: 299 lack gold passages with text, \
             1 lacks golden answers",
            "entities applies to 299 of 300 questions: 1 lacks golden answers, \
             299 lack entities and can earn only a part of it",
            "old does not say to which questions it applies",
        ]
    );
    assert!(rewards.applicability(&[]).unwrap().iter().all(|it| !it.applies_to_none()));
}

#[test]
fn a_failure_fails_the_sum_whatever_the_order() {
    let failing = ("judge", "misbehaving", 1.0, json!({ "mode": "error" }));
    let exact = ("em", "exact_match", 1.0, json!({}));
    let played = group(vec![trajectory(0, Some("paris")), trajectory(1, Some("paris"))]);
    for sections in [[failing.clone(), exact.clone()], [exact, failing]] {
        let grades = rewards(&sections).score(&played).unwrap();
        assert_eq!(grades[0].reward(), Some(1.0));
        assert_eq!(grades[1], Grade::Failed("reward `judge`: the judge is away".to_owned()));
    }
}

#[test]
fn plugins_do_not_see_what_the_infrastructure_failed() {
    let mut failed = trajectory(0, Some("paris"));
    failed.outcome = Outcome::Failed("the search server is gone".to_owned());
    // Fails every trajectory but member 0, which it is not shown.
    let rewards = rewards(&[("judge", "misbehaving", 1.0, json!({ "mode": "error" }))]);
    let grades = rewards.score(&group(vec![failed.clone(), trajectory(1, None)])).unwrap();
    assert_eq!(grades[0], Grade::Failed("the search server is gone".to_owned()));
    assert_eq!(grades[1], Grade::Failed("reward `judge`: the judge is away".to_owned()));
    let alone = rewards.score(&group(vec![failed])).unwrap();
    assert_eq!(alone, [Grade::Failed("the search server is gone".to_owned())]);
}

#[test]
fn a_sum_that_overflows_is_a_failure() {
    let huge = |name| (name, "misbehaving", 1e300, fine(1e18));
    let grades = rewards(&[huge("a"), huge("b")]).score(&group(vec![trajectory(0, None)])).unwrap();
    let expected = "the weighted sum of the rewards is not finite, or beyond 1e18";
    assert_eq!(grades, [Grade::Failed(expected.to_owned())]);
}

#[test]
fn errors_name_reward_question_and_member() {
    let rewards = rewards(&[("mine", "misbehaving", 1.0, json!({ "mode": "panic" }))]);
    let err = rewards.score(&group(vec![trajectory(3, None)])).unwrap_err();
    assert_eq!((err.reward(), err.question(), err.member()), (Some("mine"), Some("q1"), None));
    assert!(chain(&err).starts_with("reward `mine`, plugin `$OUT"), "{}", chain(&err));
    assert_eq!(rewards.plugins().map(|(name, _)| name).collect::<Vec<_>>(), ["mine"]);
}

#[test]
fn sections() {
    let section = bare("exact-match");
    assert_eq!(section.config, Map::default());
    assert_eq!((section.tolerate, section.deadline_s.to_bits()), (0, 60.0_f64.to_bits()));
    let text = "plugin = \"format\"\nweight = 0.5\n\n[config]\nmode = \"validity\"\nvalue = 2.0\n";
    let section: RewardSection = toml::from_str(text).unwrap();
    assert_eq!(section.config["value"], 2.0);
    assert_eq!(toml::to_string(&section).unwrap(), text);
    let text = "plugin = \"x\"\nweight = 1.0\nschedule = [[0, 0.0], [9, 1.0]]\n\
                deadline_s = 2.5\ntolerate = 3\nfailed_limit = 9\n\n[gate]\nreward = \"format\"\nleast = 0.5\n\n[config]\n";
    let section: RewardSection = toml::from_str(text).unwrap();
    assert_eq!(
        toml::from_str::<RewardSection>(&toml::to_string(&section).unwrap()).unwrap(),
        section
    );
    assert_eq!(section.gate, Some(RewardGate { reward: "format".to_owned(), min: 0.5 }));
    let renamed: RewardSection = toml::from_str(&text.replace("least", "min")).unwrap();
    assert_eq!(renamed, section, "`least` is the older name of `min`");
    let typo = toml::from_str::<RewardSection>("plugin = \"format\"\nwieght = 0.5\n").unwrap_err();
    assert!(typo.to_string().contains("unknown field `wieght`"), "{typo}");

    let infinite = RewardSection { weight: f64::INFINITY, ..bare("exact-match") };
    let sections = [("em".to_owned(), infinite, built("exact_match"))];
    let err = Rewards::load(&sections, Combination::default()).unwrap_err();
    assert_eq!(err.kind().to_string(), "`weight` is inf, which is not finite");
}

#[test]
fn weights_and_combinations_reach_the_grades() {
    let em = RewardSection { schedule: vec![(0, 1.0), (10, 0.0)], ..bare("exact_match") };
    let sections = [("em".to_owned(), em, built("exact_match"))];
    let rewards = Rewards::load(&sections, Combination::default()).unwrap();
    let played = group(vec![trajectory(0, Some("Paris")), trajectory(1, None)]);
    for (step, expected) in [(0, 1.0), (5, 0.5), (50, 0.0)] {
        let grades = rewards.score_at(&played, step).unwrap();
        assert_eq!(grades[0].reward(), Some(expected), "{step}");
    }
    assert_eq!(rewards.score(&played).unwrap()[0].reward(), Some(1.0));

    let order = vec!["em".to_owned()];
    let combination = Combination { rule: CombinationRule::Lexicographic, order };
    let sections = [("em".to_owned(), bare("exact_match"), built("exact_match"))];
    let grades = Rewards::load(&sections, combination).unwrap().score(&played).unwrap();
    assert_eq!([grades[0].reward(), grades[1].reward()], [Some(1.0), Some(0.0)]);
}

#[test]
fn misbehaviour_is_tolerated_up_to_a_limit() {
    for (mode, message) in [
        ("panic", "panicked: no such key: Panic, for member 0"),
        ("nan", "broke the plugin contract: a reward of NaN, for member 0"),
        ("long", "broke the plugin contract: 3 grades for 2 trajectories"),
        ("garbage", "answered with something else than grades"),
        ("loop", "gave no answer within 3 s"),
    ] {
        let config = json!({ "mode": mode }).as_object().unwrap().clone();
        let section = RewardSection { tolerate: 3, deadline_s: 3.0, config, ..bare("misbehaving") };
        let sections = [
            ("bad".to_owned(), section, built("misbehaving")),
            ("em".to_owned(), bare("exact_match"), built("exact_match")),
        ];
        let rewards = Rewards::load(&sections, Combination::default()).unwrap();
        let played = group(vec![trajectory(0, Some("Paris")), trajectory(1, None)]);
        let failed = Grade::Failed(format!("reward `bad`: {message}"));
        assert_eq!(rewards.score(&played).unwrap(), [failed.clone(), failed], "{mode}");
        let err = rewards.score(&played).unwrap_err();
        assert_eq!((err.reward(), err.question()), (Some("bad"), Some("q1")), "{mode}");
        assert_eq!(err.kind().to_string(), message);
    }
}

#[test]
fn what_a_plugin_cannot_score_has_a_limit() {
    // Fails every trajectory but member 0.
    let config = json!({ "mode": "error" }).as_object().unwrap().clone();
    let load = |failed_limit| {
        let section = RewardSection { failed_limit, config: config.clone(), ..bare("misbehaving") };
        let sections = [("judge".to_owned(), section, built("misbehaving"))];
        Rewards::load(&sections, Combination::default()).unwrap()
    };
    let played = group((0..3).map(|member| trajectory(member, None)).collect());
    let unlimited = load(None);
    for _ in 0..5 {
        let grades = unlimited.score(&played).unwrap();
        assert_eq!(grades.iter().filter(|it| it.reward().is_none()).count(), 2);
    }
    let limited = load(Some(4));
    for _ in 0..2 {
        assert!(limited.score(&played).is_ok());
    }
    // What leaves nothing out is not counted.
    assert!(limited.score(&group(vec![trajectory(0, None)])).is_ok());
    let err = limited.score(&played).unwrap_err();
    assert_eq!((err.reward(), err.question(), err.member()), (Some("judge"), Some("q1"), Some(1)));
    assert_eq!(
        chain(&err),
        "reward `judge`, plugin `$OUT/libmisbehaving.so`, question `q1`, member 1\n\
         caused by: could not score 6 trajectories, and `failed_limit` is 4: the judge is away\n\
         hint: see to what it depends on, such as a server; `failed_limit` allows for more"
    );
    assert!(load(Some(0)).score(&played).is_err());
}
