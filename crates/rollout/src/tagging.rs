//! Token ranges of the blocks of a turn.

use std::ops::Range;

use forage_trajectory::{BoxError, Policy, TokenId};

use crate::grammar::Block;

/// Token range of each block. The ranges tile `tokens`, whatever the tokenizer does.
///
/// `text` is the text of `tokens`. A token belongs to the block that its first byte is in: a token
/// with the end of one block and the beginning of the next belongs to the first, a character of
/// several tokens stays together, and a block that lies within a token of an earlier block has no
/// tokens at all. A token without text belongs to the block that follows.
pub(crate) fn token_runs(
    policy: &dyn Policy,
    tokens: &[TokenId],
    text: &str,
    blocks: &[Block],
) -> Result<Vec<Range<usize>>, BoxError> {
    let mut starts = Vec::with_capacity(blocks.len());
    let mut at = 0;
    for block in blocks {
        at = first_token(policy, tokens, text, block.bytes.start, at)?;
        starts.push(at);
    }
    let ends = starts.iter().skip(1).copied().chain([tokens.len()]);
    Ok(starts.iter().zip(ends).map(|(&start, end)| start..end).collect())
}

/// Index of the first token at or after `from` before which the tokens spell `offset` bytes of the
/// text, by binary search.
///
/// The search stays within `from..=tokens.len()`, so that the ranges tile even for a tokenizer
/// with prefixes that do not decode to prefixes.
fn first_token(
    policy: &dyn Policy,
    tokens: &[TokenId],
    text: &str,
    offset: usize,
    from: usize,
) -> Result<usize, BoxError> {
    if offset == 0 {
        return Ok(from);
    }
    let (mut low, mut high) = (from, tokens.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if shared_bytes(&policy.decode(&tokens[..middle])?, text) >= offset {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// Length in bytes of the common prefix of two texts.
///
/// A comparison with the whole text, instead of the length of the prefix, leaves out the U+FFFD
/// that replaces a character whose last bytes are in the next token, and counts a U+FFFD that was
/// sampled.
fn shared_bytes(prefix: &str, text: &str) -> usize {
    prefix.bytes().zip(text.bytes()).take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::grammar::parse;
    use crate::scripted::{Codec, ScriptedPolicy};

    /// Token `n` is the `n`-th of these pieces.
    struct Pieces(Vec<Vec<u8>>);

    impl Codec for Pieces {
        fn encode(&self, _text: &str) -> Result<Vec<TokenId>, BoxError> {
            Ok((0..self.0.len() as TokenId).collect())
        }

        fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
            let bytes: Vec<u8> =
                tokens.iter().flat_map(|&id| self.0[id as usize].clone()).collect();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
    }

    fn check(pieces: &[&[u8]], expected: &Expect) {
        let codec = Pieces(pieces.iter().map(|piece| piece.to_vec()).collect());
        let tokens = codec.encode("").unwrap();
        let text = codec.decode(&tokens).unwrap();
        let policy = ScriptedPolicy::new(codec, |_: &str, _, _| String::new());
        let blocks = parse(&text).blocks;
        let runs = token_runs(&policy, &tokens, &text, &blocks).unwrap();
        let lines: Vec<String> = blocks
            .iter()
            .zip(runs)
            .map(|(block, run)| {
                format!("{:?} {run:?} {:?}", block.kind, &text[block.bytes.clone()])
            })
            .collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn tokens_go_to_the_block_they_begin_in() {
        check(
            &[b"<think>", b"a", b"</think>", b"<search>", b"b", b"</search>"],
            &expect![[r#"
                Think 0..3 "<think>a</think>"
                Search 3..6 "<search>b</search>""#]],
        );
        check(
            &[b"<think>a</thi", b"nk><se", b"arch>b</search>"],
            &expect![[r#"
                Think 0..2 "<think>a</think>"
                Search 2..3 "<search>b</search>""#]],
        );
        check(
            &[b"<think>a</think><search>b</search>."],
            &expect![[r#"
                Think 0..1 "<think>a</think>"
                Search 1..1 "<search>b</search>"
                Other 1..1 ".""#]],
        );
    }

    #[test]
    fn split_characters_and_sampled_replacement_characters() {
        // `é` after the thought in two tokens, the first of which also closes the tag.
        check(
            &[b"<think>", b"\xc3", b"\xa9", b"</think>\xc3", b"\xa9", b"<answer>", b"</answer>"],
            &expect![[r#"
                Think 0..4 "<think>é</think>"
                Other 4..5 "é"
                Answer 5..7 "<answer></answer>""#]],
        );
        check(
            &[b"<think></think>", b"\xff", b"<answer>", b"\xf0\x9f", b"\xa6\x80", b"</answer>"],
            &expect![[r#"
                Think 0..1 "<think></think>"
                Other 1..2 "�"
                Answer 2..6 "<answer>🦀</answer>""#]],
        );
    }

    #[test]
    fn tokens_without_text_are_not_lost() {
        check(
            &[b"", b"<think></think>", b"", b"<answer></answer>", b""],
            &expect![[r#"
                Think 0..2 "<think></think>"
                Answer 2..5 "<answer></answer>""#]],
        );
    }
}
