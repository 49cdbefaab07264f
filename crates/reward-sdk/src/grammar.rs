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
///
/// The opening tag of a thought may be missing: some chat templates write it at the end of the
/// prompt. Only then does the host make a thought of a text without it.
pub fn is_block(segment: &Segment) -> bool {
    let tag = match segment.kind {
        Kind::Think => "think",
        Kind::Search => "search",
        Kind::Answer => "answer",
        _ => return false,
    };
    let text = segment.text.trim();
    let opened = match text.strip_prefix(&format!("<{tag}>")) {
        None if segment.kind == Kind::Think => Some(text),
        opened => opened,
    };
    let inside = opened.and_then(|rest| rest.strip_suffix(&format!("</{tag}>")));
    segment.origin == Origin::Policy && inside.is_some_and(|inside| !has_tags(inside))
}

/// State of the grammar: the block that has to come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Think,
    Action,
    Information,
    Nothing,
}

/// Whether the segments after the prompt follow the grammar.
///
/// Each block of the policy must have its own tags around it and no tag inside. Between the blocks
/// there may be white space only. A warning of the environment follows an invalid action, so a
/// trajectory with one is not valid.
pub fn is_valid(segments: &[Segment]) -> bool {
    let mut expected = Expected::Think;
    for segment in segments.iter().filter(|it| it.origin != Origin::Prompt) {
        let blank = segment.text.trim().is_empty();
        expected = match (expected, segment.origin, segment.kind) {
            (same, _, Kind::Other) if blank => same,
            (Expected::Think, Origin::Policy, Kind::Think) if is_block(segment) => Expected::Action,
            (Expected::Action, Origin::Policy, Kind::Search) if is_block(segment) => {
                Expected::Information
            }
            (Expected::Information, Origin::Environment, Kind::Information) => Expected::Think,
            (Expected::Action, Origin::Policy, Kind::Answer) if is_block(segment) => {
                Expected::Nothing
            }
            _ => return false,
        };
    }
    expected == Expected::Nothing
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
            (Think, "x < y </think>", true),
            (Think, "x <think> y </think>", false),
            (Think, "x", false),
            (Search, "\n<search>x</search> ", true),
            (Search, "x</search>", false),
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

    /// `P` prompt, `T` think, `S` search, `I` information, `A` answer, `W` warning, `_` blank,
    /// `x` text outside tags, `i` information that the policy made up, `a` an answer that the
    /// environment wrote, `o` a thought that the prompt opened,
    /// `t` a thought without its end, `n` a search within a thought.
    fn segments(letters: &str) -> Vec<Segment<'static>> {
        let segment = |letter| {
            let (origin, kind, text) = match letter {
                'P' => (Origin::Prompt, Kind::Prompt, "Question: <answer> Beijing </answer>"),
                'T' => (Origin::Policy, Kind::Think, "<think> x < y </think>"),
                'S' => (Origin::Policy, Kind::Search, "\n<search> x </search>"),
                'I' => (Origin::Environment, Kind::Information, "<information>cut sho"),
                'A' => (Origin::Policy, Kind::Answer, "<answer> x </answer>\n"),
                'W' => (Origin::Environment, Kind::Warning, "That was invalid."),
                '_' => (Origin::Policy, Kind::Other, " \n"),
                'x' => (Origin::Policy, Kind::Other, "well,"),
                'i' => (Origin::Policy, Kind::Information, "<information> x </information>"),
                'a' => (Origin::Environment, Kind::Answer, "<answer> x </answer>"),
                'o' => (Origin::Policy, Kind::Think, "x < y </think>"),
                't' => (Origin::Policy, Kind::Think, "<think> x"),
                'n' => (Origin::Policy, Kind::Think, "<think> <search> x </search> </think>"),
                _ => unreachable!("a letter of the legend"),
            };
            Segment { origin, kind, text: text.into(), ..Segment::default() }
        };
        letters.chars().map(segment).collect()
    }

    #[test]
    fn grammar() {
        for valid in ["PTA", "TA", "PTSITA", "PTSITSITSITA", "P_T_S_I_T_A_", "PoSITA"] {
            assert!(is_valid(&segments(valid)), "{valid}");
        }
        for invalid in [
            "", "P", "PA", "PT", "PTS", "PTSI", "PTSIT", "PSITA", "PTSIA", "PTTA", "PTSTA",
            "PTITA", "PTSSITA", "PTSIITA", "PTAA", "PTAT", "PTAx", "PxTA", "PTxA", "PTSITxA",
            "PTWTA", "PTSITW", "PxWTA", "PTSiTA", "PTa", "PTSITa", "PtA", "PnA", "PTAS",
        ] {
            assert!(!is_valid(&segments(invalid)), "{invalid}");
        }
    }
}
