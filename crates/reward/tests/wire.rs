//! What is told to a plugin arrives, whatever it is.

use forage_reward::to_wire;
use forage_reward::wire::{self, Grade, Score};
use forage_trajectory::{
    Evidence, EvidenceStep, Group, Hit, Origin, Outcome, Passage, Question, Search, SegmentKind,
    Trajectory,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

fn words() -> impl Strategy<Value = Vec<String>> {
    vec(any::<String>(), 0..3)
}

fn passage() -> impl Strategy<Value = Passage> {
    any::<(String, String, String)>().prop_map(|(id, title, text)| Passage { id, title, text })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let step = (any::<String>(), any::<String>(), words(), words()).prop_map(
        |(question, answer, queries, passage_ids)| EvidenceStep {
            question,
            answer,
            queries,
            passage_ids,
        },
    );
    let aliases = btree_map(any::<String>(), words(), 0..3);
    (any::<String>(), words(), vec(step, 0..3), vec(passage(), 0..3), aliases).prop_map(
        |(shape, entities, steps, passages, aliases)| Evidence {
            shape,
            entities,
            steps,
            passages,
            aliases,
        },
    )
}

fn search() -> impl Strategy<Value = Search> {
    let hit = (passage(), any::<f32>()).prop_map(|(it, score)| Hit {
        id: it.id,
        title: it.title,
        text: it.text,
        score,
    });
    (any::<String>(), vec(hit, 0..3), 0..9_usize, option::of(any::<String>()))
        .prop_map(|(query, hits, segment, failure)| Search { query, hits, segment, failure })
}

fn trajectory() -> impl Strategy<Value = Trajectory> {
    let given = prop::sample::select(vec![
        (Origin::Prompt, SegmentKind::Prompt),
        (Origin::Environment, SegmentKind::Information),
        (Origin::Environment, SegmentKind::Warning),
        (Origin::Environment, SegmentKind::Answer),
    ]);
    let sampled = prop::sample::select(vec![
        SegmentKind::Think,
        SegmentKind::Search,
        SegmentKind::Answer,
        SegmentKind::Other,
    ]);
    let segment = (given, sampled, any::<bool>(), any::<String>(), vec(any::<u32>(), 0..4));
    let outcome = prop_oneof![
        Just(Outcome::Answered),
        Just(Outcome::NoAnswer),
        Just(Outcome::Malformed),
        Just(Outcome::OverLength),
        Just(Outcome::OutOfTurns),
        any::<String>().prop_map(Outcome::Failed),
    ];
    (vec(segment, 0..6), vec(search(), 0..3), outcome, 0..16_usize).prop_map(
        |(segments, searches, outcome, member)| {
            let mut it = Trajectory::new("q", member);
            for ((origin, given), sampled, by_policy, text, tokens) in segments {
                if by_policy {
                    let at = it.tokens.len();
                    it.push_sampled(&tokens, &vec![-1.0; tokens.len()]);
                    it.tag(sampled, &text, at..it.tokens.len(), None);
                } else {
                    it.push_given(origin, given, &text, &tokens);
                }
            }
            Trajectory { searches, outcome, ..it }
        },
    )
}

fn group() -> impl Strategy<Value = Group> {
    let question = (any::<String>(), any::<String>(), words(), evidence()).prop_map(
        |(id, text, golden_answers, evidence)| Question {
            id,
            text,
            golden_answers,
            evidence,
            ..Question::default()
        },
    );
    (question, vec(trajectory(), 0..4))
        .prop_map(|(question, trajectories)| Group { question, trajectories })
}

fn grade() -> impl Strategy<Value = Grade> {
    let finite = any::<f64>().prop_filter("finite", |it| it.is_finite());
    let score =
        (finite.clone(), btree_map(any::<String>(), finite.clone(), 0..3), vec(finite, 0..4))
            .prop_map(|(reward, parts, steps)| Grade::Scored(Score { reward, parts, steps }));
    prop_oneof![score, Just(Grade::NotApplicable), any::<String>().prop_map(Grade::Failed)]
}

proptest! {
    #[test]
    fn a_group_arrives(group in group()) {
        let told = to_wire(&group);
        let request = told.to_bytes();
        let arrived = wire::Group::from_bytes(&request).unwrap();
        // By its text, since a score of a hit may be NaN.
        prop_assert_eq!(format!("{arrived:?}"), format!("{told:?}"));

        let played: Vec<&Trajectory> = group.trajectories.iter().filter(|it| !it.failed()).collect();
        prop_assert_eq!(arrived.trajectories.len(), played.len());
        prop_assert_eq!(&arrived.question.golden_answers, &group.question.golden_answers);
        prop_assert_eq!(format!("{:?}", arrived.question.evidence), format!("{:?}", group.question.evidence));
        for (there, here) in arrived.trajectories.iter().zip(played) {
            prop_assert_eq!(there.answer.as_deref(), here.final_answer());
            prop_assert_eq!(there.member, here.member);
            prop_assert_eq!(there.segments.len(), here.segments.len());
            prop_assert_eq!(format!("{:?}", there.searches), format!("{:?}", here.searches));
            prop_assert_eq!(format!("{:?}", there.outcome), format!("{:?}", here.outcome));
            for (there, here) in there.segments.iter().zip(&here.segments) {
                prop_assert_eq!(format!("{:?}", there.kind), format!("{:?}", here.kind));
                prop_assert_eq!(format!("{:?}", there.origin), format!("{:?}", here.origin));
                prop_assert_eq!(&there.tokens, &here.tokens);
                prop_assert_eq!(&there.text, &here.text);
                prop_assert_eq!(&there.content, &here.content);
            }
        }
    }

    #[test]
    fn grades_arrive(grades in vec(grade(), 0..5)) {
        let arrived = wire::grades_from_bytes(&wire::grades_to_bytes(&grades)).unwrap();
        prop_assert_eq!(&arrived, &grades);
        let json = serde_json::to_string(&grades).unwrap();
        prop_assert_eq!(serde_json::from_str::<Vec<Grade>>(&json).unwrap(), grades);
    }
}

#[test]
fn news_does_not_break_an_old_plugin() {
    // What a newer host may send: more fields, more names; and less than it sends today.
    let newer = serde_json::json!({
        "question": { "id": "q", "difficulty": 3 },
        "trajectories": [{
            "segments": [{ "origin": "oracle", "kind": "plan", "text": "x" }],
            "outcome": "gave-up",
            "cost": 0.5,
        }],
    });
    let bytes = rmp_serde::to_vec_named(&newer).unwrap();
    let group = wire::Group::from_bytes(&bytes).unwrap();
    let trajectory = &group.trajectories[0];
    assert_eq!(group.question.id, "q");
    assert_eq!(trajectory.outcome, wire::Outcome::Unknown);
    assert_eq!(trajectory.segments[0].kind, wire::Kind::Unknown);
    assert_eq!(trajectory.segments[0].origin, wire::Origin::Unknown);
    assert_eq!(trajectory.answer, None);
}
