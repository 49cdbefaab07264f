//! Plugins do not depend on `forage-trajectory`, so the SDK has the tag protocol once more: the
//! two agree.

use forage_reward_sdk::grammar::{has_tags, is_block};
use forage_reward_sdk::{Hit, Kind, Origin, Segment, Trajectory};
use forage_trajectory::protocol::{
    ANSWER, INFORMATION, SEARCH, TAGS, THINK, TagPair, format_document, strip_tags,
};
use proptest::prelude::*;

fn policy_segment(kind: Kind, text: &str) -> Segment<'_> {
    Segment { origin: Origin::Policy, kind, text: text.into(), ..Segment::default() }
}

#[test]
fn blocks_have_the_tags_of_the_protocol() {
    for (kind, tags) in [(Kind::Think, THINK), (Kind::Search, SEARCH), (Kind::Answer, ANSWER)] {
        assert!(is_block(&policy_segment(kind, &tags.wrap(" x "))), "{kind:?}");
        for tag in TAGS {
            assert!(!is_block(&policy_segment(kind, &tags.wrap(tag))), "{kind:?}, {tag}");
        }
    }
}

#[test]
fn trajectories_of_the_sdk_look_like_those_of_the_agent_loop() {
    let hit = |title: &str| Hit {
        title: title.to_owned().into(),
        text: "A film.".into(),
        ..Hit::default()
    };
    let it = Trajectory::default().think("hm").search("q", [hit("A"), hit("B")]).answer("x");
    let page = [format_document(1, "A", "A film."), format_document(2, "B", "A film.")].join("\n");
    let expected: [(TagPair, &str); 4] =
        [(THINK, "hm"), (SEARCH, "q"), (INFORMATION, &page), (ANSWER, "x")];
    for (segment, (tags, content)) in it.segments.iter().zip(expected) {
        assert_eq!(segment.text, tags.wrap(&format!(" {content} ")));
    }
    assert_eq!(it.segments.len(), expected.len());
}

proptest! {
    #[test]
    fn a_text_has_tags_where_there_are_some_to_strip(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::sample::select(TAGS.to_vec()).prop_map(str::to_owned),
                prop::sample::select(vec!["<", "</", ">", "think", "<think", "é", "search>"])
                    .prop_map(str::to_owned),
            ],
            0..8,
        ),
    ) {
        let text = pieces.concat();
        prop_assert_eq!(has_tags(&text), TAGS.iter().any(|tag| text.contains(tag)));
        prop_assert_eq!(has_tags(&text), strip_tags(&text) != text);
        prop_assert!(!has_tags(&strip_tags(&text)));
    }
}
