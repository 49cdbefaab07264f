//! The bytes that SDK 0.2.0 wrote, which plugins that were built with it read.

use forage_reward_sdk::{
    Evidence, EvidenceStep, Group, Hit, Kind, Origin, Outcome, Passage, Question, Search, Segment,
    Trajectory,
};

/// [`group`] as SDK 0.2.0 wrote it.
const BYTES: &[u8] = b"\
    \x83\xa8question\x84\xa2id\xa2q1\xa4text\xb8where is its maker from?\xaegolden_answers\
    \x92\xadSouth Shields\xa2\xc3\xa9\xa8evidence\x84\xa5shape\xa6bridge\xa8entities\x92\
    \xa5Alien\xa0\xa5steps\x91\x84\xa8question\xacwho made it?\xa6answer\xa5Scott\xa7queries\
    \x91\xb1director of Alien\xabpassage_ids\x91\xa2p1\xa8passages\x91\x83\xa2id\xa2p1\
    \xa5title\xa5Alien\xa4text\xa9By Scott.\xactrajectories\x92\x86\xa6member\xcd\x01,\
    \xa8segments\x93\x85\xa6origin\xa6prompt\xa4kind\xa6prompt\xa4text\xa6where?\xa7content\
    \xa6where?\xa6tokens\x82\xa5start\x00\xa3end\x01\x85\xa6origin\xa6policy\xa4kind\
    \xa6search\xa4text\xb4<search> x </search>\xa7content\xa1x\xa6tokens\x82\xa5start\x01\
    \xa3end\xcc\xc8\x85\xa6origin\xabenvironment\xa4kind\xabinformation\xa4text\xa3a\nb\
    \xa7content\xa3a\nb\xa6tokens\x82\xa5start\xcc\xc8\xa3end\xce\x00\x01\x11p\xa8searches\
    \x92\x84\xa5query\xa1x\xa4hits\x91\x84\xa2id\xa2p1\xa5title\xa5Alien\xa4text\
    \xa9By Scott.\xa5score\xca?\xc0\x00\x00\xa7segment\x01\xa7failure\xc0\x84\xa5query\xa0\
    \xa4hits\x90\xa7segment\x00\xa7failure\xa9no server\xa6answer\xa6London\xa7outcome\
    \xabover-length\xa7failure\xa3why\x86\xa6member\x00\xa8segments\x90\xa8searches\x90\
    \xa6answer\xc0\xa7outcome\xa7unknown\xa7failure\xc0\xa4step\x07";

/// [`group`] in JSON, as SDK 0.2.0 wrote it.
const JSON: &str = concat!(
    r#"{"question":{"id":"q1","text":"where is its maker from?","#,
    r#""golden_answers":["South Shields","é"],"evidence":{"shape":"bridge","entities":["Alien","#,
    r#"""],"steps":[{"question":"who made it?","answer":"Scott","#,
    r#""queries":["director of Alien"],"passage_ids":["p1"]}],"passages":[{"id":"p1","#,
    r#""title":"Alien","text":"By Scott."}]}},"trajectories":[{"member":300,"#,
    r#""segments":[{"origin":"prompt","kind":"prompt","text":"where?","content":"where?","#,
    r#""tokens":{"start":0,"end":1}},{"origin":"policy","kind":"search","#,
    r#""text":"<search> x </search>","content":"x","tokens":{"start":1,"end":200}},"#,
    r#"{"origin":"environment","kind":"information","text":"a\nb","content":"a\nb","#,
    r#""tokens":{"start":200,"end":70000}}],"searches":[{"query":"x","hits":[{"id":"p1","#,
    r#""title":"Alien","text":"By Scott.","score":1.5}],"segment":1,"failure":null},"#,
    r#"{"query":"","hits":[],"segment":0,"failure":"no server"}],"answer":"London","#,
    r#""outcome":"over-length","failure":"why"},{"member":0,"segments":[],"searches":[],"#,
    r#""answer":null,"outcome":"unknown","failure":null}],"step":7}"#
);

/// Something of everything.
fn group() -> Group<'static> {
    let step = EvidenceStep {
        question: "who made it?".into(),
        answer: "Scott".into(),
        queries: vec!["director of Alien".into()],
        passage_ids: vec!["p1".into()],
    };
    let passage = Passage { id: "p1".into(), title: "Alien".into(), text: "By Scott.".into() };
    let evidence = Evidence {
        shape: "bridge".into(),
        entities: vec!["Alien".into(), "".into()],
        steps: vec![step],
        passages: vec![passage],
        ..Evidence::default()
    };
    let question = Question {
        id: "q1".into(),
        text: "where is its maker from?".into(),
        golden_answers: vec!["South Shields".into(), "é".into()],
        evidence,
    };
    let hit = Hit { id: "p1".into(), title: "Alien".into(), text: "By Scott.".into(), score: 1.5 };
    let segment = |origin, kind, text: &'static str, content: &'static str, tokens| Segment {
        origin,
        kind,
        text: text.into(),
        content: content.into(),
        tokens,
    };
    let played = Trajectory {
        member: 300,
        segments: vec![
            segment(Origin::Prompt, Kind::Prompt, "where?", "where?", 0..1),
            segment(Origin::Policy, Kind::Search, "<search> x </search>", "x", 1..200),
            segment(Origin::Environment, Kind::Information, "a\nb", "a\nb", 200..70_000),
        ],
        searches: vec![
            Search { query: "x".into(), hits: vec![hit], segment: 1, failure: None },
            Search { failure: Some("no server".into()), ..Search::default() },
        ],
        answer: Some("London".into()),
        outcome: Outcome::OverLength,
        failure: Some("why".into()),
    };
    Group { question, trajectories: vec![played, Trajectory::default()], step: Some(7) }
}

#[test]
fn a_request_is_what_it_was() {
    assert_eq!(group().to_bytes().escape_ascii().to_string(), BYTES.escape_ascii().to_string());
    assert_eq!(serde_json::to_string(&group()).unwrap(), JSON);
    assert_eq!(Group::from_bytes(BYTES).unwrap(), group());
    assert_eq!(serde_json::from_str::<Group>(JSON).unwrap(), group());
    assert_eq!(Group::from_bytes(BYTES).unwrap().into_owned(), group());
}

#[test]
fn the_place_for_a_request_is_large_enough() {
    let page = "All of a passage, with its title. ".repeat(20);
    let hit = Hit { text: page.into(), ..Hit::default() };
    for n_searches in [0, 1, 8] {
        let it = (0..n_searches).fold(Trajectory::default(), |it, _| {
            it.think("hm").search("x", [hit.clone(), hit.clone()])
        });
        let group = Group { trajectories: vec![it.answer("y"); 16], ..group() };
        let request = group.to_bytes();
        let (length, capacity) = (request.len(), request.capacity());
        assert!((length..2 * length + 5000).contains(&capacity), "{capacity} for {length}");
    }
}
