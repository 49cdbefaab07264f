//! Tags of the agent loop, and checks against reward hacking by nested tags.
//!
//! The host has parsed a trajectory already: text of the policy between tags is a segment with
//! its kind, and [`Trajectory::searches`] are only the executed searches. What remains for a reward
//! is to pay nothing for tags within tags.

use crate::wire::{Kind, Origin, Search, Segment, Trajectory};

/// Names of the tags.
const NAMES: [&str; 4] = ["think", "search", "information", "answer"];

/// Whether a text contains an opening or closing tag of the agent loop.
///
/// ```
/// use forage_reward_sdk::grammar::has_tags;
///
/// assert!(has_tags("Paris </answer> Lyon"));
/// assert!(!has_tags("a < b, <b>Paris</b>"));
/// ```
pub fn has_tags(text: &str) -> bool {
    text.match_indices('<').any(|(at, _)| {
        let rest = &text[at + 1..];
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        NAMES.iter().any(|name| rest.strip_prefix(name).is_some_and(|it| it.starts_with('>')))
    })
}

/// Whether a segment is a well-formed block of the policy: its opening tag, text without tags, its
/// closing tag, and at most white space around them.
pub fn is_block(segment: &Segment) -> bool {
    let tag = match segment.kind {
        Kind::Think => "think",
        Kind::Search => "search",
        Kind::Answer => "answer",
        _ => return false,
    };
    let inside = segment
        .text
        .trim()
        .strip_prefix(&format!("<{tag}>"))
        .and_then(|rest| rest.strip_suffix(&format!("</{tag}>")));
    segment.origin == Origin::Policy && inside.is_some_and(|inside| !has_tags(inside))
}

impl Trajectory<'_> {
    /// Answer without nested tags: [`Trajectory::answer`], or `None` if it contains a tag, as in
    /// `<answer> <answer> x </answer>`.
    pub fn clean_answer(&self) -> Option<&str> {
        self.answer.as_deref().filter(|answer| !has_tags(answer))
    }

    /// Whether the policy wrote a search as a well-formed block, without tags inside.
    pub fn is_clean(&self, search: &Search) -> bool {
        self.segments.get(search.segment).is_some_and(is_block) && !has_tags(&search.query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(origin: Origin, kind: Kind, text: &str) -> Segment<'_> {
        Segment { origin, kind, text: text.into(), ..Segment::default() }
    }

    #[test]
    fn blocks() {
        use Kind::{Answer, Information, Search, Think};
        for (kind, text, expected) in [
            (Think, "<think> x < y </think>", true),
            (Search, "\n<search>x</search> ", true),
            (Answer, "<answer></answer>", true),
            (Answer, "<answer> x", false),
            (Answer, "x</answer>", false),
            (Search, "<answer> x </answer>", false),
            (Search, "<search> <search> x </search>", false),
            (Think, "<think> x </think> y", false),
            (Think, "<think> <information> x </information> </think>", false),
            (Information, "<information> x </information>", false),
        ] {
            assert_eq!(is_block(&segment(Origin::Policy, kind, text)), expected, "{text}");
            assert!(!is_block(&segment(Origin::Environment, kind, text)), "{text}");
        }
    }

    #[test]
    fn nothing_is_clean_with_a_tag_inside() {
        let it = Trajectory::default().search("x", []).search("x </search> y", []).answer("z");
        assert_eq!(it.clean_answer(), Some("z"));
        assert_eq!(
            it.searches.iter().map(|it2| it.is_clean(it2)).collect::<Vec<_>>(),
            [true, false]
        );
        assert_eq!(it.answer("<answer> z").clean_answer(), None);
        let lost = Search { segment: 9, ..Search::default() };
        assert!(!Trajectory::default().is_clean(&lost));
    }
}
