//! Parser of turns: from the text of a turn to its blocks and its action.
//!
//! The central type is [`ParsedTurn`]. [`parse`] is a function of the text of one turn and knows
//! neither tokens nor the environment. The tags are those of [`forage_trajectory::protocol`].

use std::ops::Range;

use forage_trajectory::SegmentKind;
use forage_trajectory::protocol::{ANSWER, SEARCH, TAGS, THINK, TagPair};

/// Stop strings of a turn: generation ends with the token that completes one of them.
pub const STOP: [&str; 2] = [SEARCH.close, ANSWER.close];

/// Block of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Kind of the block: `Think`, `Search`, `Answer` or `Other`.
    pub kind: SegmentKind,
    /// Range of its bytes in the turn, including tags and the white space before the next block.
    pub bytes: Range<usize>,
    /// Range of the bytes between its tags; equal to `bytes` for [`SegmentKind::Other`].
    pub content: Range<usize>,
}

/// Parsed turn: its blocks, and the one that is its action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedTurn {
    /// Blocks, which tile the text.
    pub blocks: Vec<Block>,
    /// Index of the action, the search or answer that the environment acts on. `None` for an
    /// invalid turn.
    pub action: Option<usize>,
}

/// Parses the text of a turn.
///
/// The action is the first `<search>…</search>` or `<answer>…</answer>`, as the regular expression
/// `<(search|answer)>(.*?)</\1>` of Search-R1 finds it, also inside an unclosed `<think>`. Before
/// the action there are `Think` blocks, and [`SegmentKind::Other`] between them; everything after
/// it is `Other`.
///
/// A `Think` block has no tag inside: `<think> a <think> b </think>` is an `Other` block and a
/// `Think` block of `b`. `<information>` that the model writes is `Other`.
///
/// White space between two blocks belongs to the first of them; at the beginning of a turn, to the
/// first block. So a turn without an `Other` block has only white space between its blocks, which
/// is what a format reward asks for.
///
/// ```
/// use forage_rollout::grammar::parse;
/// use forage_trajectory::SegmentKind;
///
/// let text = "<think> hm </think>\n<search> Alien </search>";
/// let turn = parse(text);
/// let kinds: Vec<SegmentKind> = turn.blocks.iter().map(|block| block.kind).collect();
/// assert_eq!(kinds, [SegmentKind::Think, SegmentKind::Search]);
/// assert_eq!(&text[turn.blocks[1].content.clone()], " Alien ");
/// assert_eq!(turn.action, Some(1));
/// ```
pub fn parse(text: &str) -> ParsedTurn {
    parse_after(text, None)
}

/// [`parse`] of a turn whose thought the prompt has opened: what is written up to the first
/// `</think>`, before any other tag, is a `Think` block, although its opening tag stands in the
/// prompt.
///
/// ```
/// use forage_rollout::grammar::parse_open_thought;
/// use forage_trajectory::SegmentKind;
///
/// let turn = parse_open_thought("hm </think>\n<search> Alien </search>");
/// let kinds: Vec<SegmentKind> = turn.blocks.iter().map(|block| block.kind).collect();
/// assert_eq!(kinds, [SegmentKind::Think, SegmentKind::Search]);
/// ```
pub fn parse_open_thought(text: &str) -> ParsedTurn {
    parse_after(text, Some(0..0))
}

/// Parses a turn after this opening tag of a thought.
fn parse_after(text: &str, open: Option<Range<usize>>) -> ParsedTurn {
    let action = [(SegmentKind::Search, SEARCH), (SegmentKind::Answer, ANSWER)]
        .into_iter()
        .filter_map(|(kind, tags)| first_pair(text, kind, tags))
        .min_by_key(|block| block.bytes.start);
    let n_before = action.as_ref().map_or(text.len(), |block| block.bytes.start);

    let mut found = thoughts(&text[..n_before], open);
    let acts = action.is_some();
    found.extend(action);

    let mut blocks: Vec<Block> = Vec::new();
    let mut at = 0;
    let mut action = None;
    for (idx, mut block) in found.iter().cloned().enumerate() {
        if close_gap(text, &mut blocks, at..block.bytes.start) {
            block.bytes.start = 0;
        }
        at = block.bytes.end;
        if acts && idx + 1 == found.len() {
            action = Some(blocks.len());
        }
        blocks.push(block);
    }
    if close_gap(text, &mut blocks, at..text.len()) {
        blocks.push(other(0..text.len()));
    }
    ParsedTurn { blocks, action }
}

/// Adds the text between two blocks to the block before it, or as an `Other` block. Returns true if
/// it has to join the block that follows.
fn close_gap(text: &str, blocks: &mut Vec<Block>, gap: Range<usize>) -> bool {
    if gap.is_empty() {
        return false;
    }
    if !text[gap.clone()].trim().is_empty() {
        blocks.push(other(gap));
        return false;
    }
    match blocks.last_mut() {
        Some(before) => before.bytes.end = gap.end,
        None => return true,
    }
    false
}

/// An `Other` block.
fn other(bytes: Range<usize>) -> Block {
    Block { kind: SegmentKind::Other, content: bytes.clone(), bytes }
}

/// The first block between these tags.
fn first_pair(text: &str, kind: SegmentKind, tags: TagPair) -> Option<Block> {
    let start = text.find(tags.open)?;
    let inner = start + tags.open.len();
    let inner_end = inner + text[inner..].find(tags.close)?;
    Some(Block { kind, bytes: start..inner_end + tags.close.len(), content: inner..inner_end })
}

/// `Think` blocks: every `<think>` that is followed by `</think>` before any other tag. `open` is
/// an opening tag before the text.
fn thoughts(text: &str, mut open: Option<Range<usize>>) -> Vec<Block> {
    let mut thoughts = Vec::new();
    for (at, _) in text.match_indices('<') {
        let Some(tag) = TAGS.iter().find(|tag| text[at..].starts_with(**tag)) else { continue };
        let bytes = at..at + tag.len();
        match open.take() {
            _ if *tag == THINK.open => open = Some(bytes),
            Some(open) if *tag == THINK.close => thoughts.push(Block {
                kind: SegmentKind::Think,
                bytes: open.start..bytes.end,
                content: open.end..bytes.start,
            }),
            _ => {}
        }
    }
    thoughts
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use forage_trajectory::protocol::strip_tags;
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &Expect) {
        check_turn(text, &parse(text), expected);
    }

    fn check_turn(text: &str, turn: &ParsedTurn, expected: &Expect) {
        let lines: Vec<String> = turn
            .blocks
            .iter()
            .enumerate()
            .map(|(idx, block)| {
                let action = if turn.action == Some(idx) { " !" } else { "" };
                let (all, content) = (&text[block.bytes.clone()], &text[block.content.clone()]);
                if block.kind == SegmentKind::Other {
                    format!("{:?} {all:?}{action}", block.kind)
                } else {
                    format!("{:?} {all:?} {content:?}{action}", block.kind)
                }
            })
            .collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn turns() {
        check("", &expect![[""]]);
        check(" \n", &expect![[r#"Other " \n""#]]);
        check("hello", &expect![[r#"Other "hello""#]]);
        check(
            "a<search>q</search>b<answer>x</answer>",
            &expect![[r#"
                Other "a"
                Search "<search>q</search>" "q" !
                Other "b<answer>x</answer>""#]],
        );
        check(
            "<answer>x</answer>zzz",
            &expect![[r#"
                Answer "<answer>x</answer>" "x" !
                Other "zzz""#]],
        );
        check(
            "\n<think> a </think> <think>b</think>\n\n<answer> x </answer>\n",
            &expect![[r#"
                Think "\n<think> a </think> " " a "
                Think "<think>b</think>\n\n" "b"
                Answer "<answer> x </answer>\n" " x " !"#]],
        );
    }

    #[test]
    fn incomplete_and_crossed_tags() {
        check(
            "<think> a <search> q </search>",
            &expect![[r#"
                Other "<think> a "
                Search "<search> q </search>" " q " !"#]],
        );
        check("<search> q </answer>", &expect![[r#"Other "<search> q </answer>""#]]);
        check(
            "<search> q <answer> x </answer>",
            &expect![[r#"
                Other "<search> q "
                Answer "<answer> x </answer>" " x " !"#]],
        );
        check(
            "</think><search>a<search>b</search>",
            &expect![[r#"
                Other "</think>"
                Search "<search>a<search>b</search>" "a<search>b" !"#]],
        );
        check("<SEARCH> q </SEARCH>", &expect![[r#"Other "<SEARCH> q </SEARCH>""#]]);
    }

    #[test]
    fn a_thought_that_the_prompt_opened() {
        let check = |text: &str, expected: &Expect| {
            check_turn(text, &parse_open_thought(text), expected);
        };
        check(
            "hm </think>\n<answer> x </answer>",
            &expect![[r#"
                Think "hm </think>\n" "hm "
                Answer "<answer> x </answer>" " x " !"#]],
        );
        check("</think>", &expect![[r#"Think "</think>" """#]]);
        check("hm", &expect![[r#"Other "hm""#]]);
        check(
            "<think> hm </think>so</think><search>q</search>",
            &expect![[r#"
                Think "<think> hm </think>" " hm "
                Other "so</think>"
                Search "<search>q</search>" "q" !"#]],
        );
        check(
            "hm <answer> x </answer></think>",
            &expect![[r#"
                Other "hm "
                Answer "<answer> x </answer>" " x " !
                Other "</think>""#]],
        );
        check(
            "hm <information> y </information></think>",
            &expect![[r#"Other "hm <information> y </information></think>""#]],
        );
    }

    #[test]
    fn a_thought_holds_no_tag() {
        check(
            "<think> a <think> b </think>",
            &expect![[r#"
                Other "<think> a "
                Think "<think> b </think>" " b ""#]],
        );
        check(
            "<information> made up </information><think>1 < 2</think>",
            &expect![[r#"
                Other "<information> made up </information>"
                Think "<think>1 < 2</think>" "1 < 2""#]],
        );
        check(
            "<think> a <information> made up </information> </think>",
            &expect![[r#"Other "<think> a <information> made up </information> </think>""#]],
        );
    }

    /// Texts that are likely to hold tags, whole and in pieces.
    fn taggy() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => prop::sample::select(TAGS.to_vec()).prop_map(str::to_owned),
            1 => prop::sample::select(TAGS.to_vec()).prop_map(str::to_uppercase),
            2 => prop::sample::select(vec!["<", ">", "</", "sea", "rch>", "<thi", "nk>", " ", "\n"])
                .prop_map(str::to_owned),
            2 => "[aé漢🦀 <>/]{0,3}",
        ];
        prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn blocks_tile_the_text(text in taggy(), in_thought in any::<bool>()) {
            let turn = if in_thought { parse_open_thought(&text) } else { parse(&text) };
            let mut at = 0;
            for block in &turn.blocks {
                prop_assert_eq!(block.bytes.start, at);
                prop_assert!(block.bytes.end > at);
                prop_assert!(block.bytes.start <= block.content.start);
                prop_assert!(block.content.end <= block.bytes.end);
                at = block.bytes.end;
            }
            prop_assert_eq!(at, text.len());
            if let Some(action) = turn.action {
                prop_assert!(matches!(turn.blocks[action].kind, SegmentKind::Search | SegmentKind::Answer));
            }
        }

        #[test]
        fn no_tag_is_left(text in taggy()) {
            let kept = strip_tags(&text).to_lowercase();
            prop_assert!(TAGS.iter().all(|tag| !kept.contains(tag)), "{kept}");
        }

        #[test]
        fn a_text_without_tags_is_left_alone(text in "[a-z<>/ é]{0,30}") {
            prop_assume!(TAGS.iter().all(|tag| !text.contains(tag)));
            prop_assert_eq!(strip_tags(&text), text);
        }
    }
}
