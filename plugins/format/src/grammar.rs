//! Strict grammar of a trajectory: `think (search information think)* answer`.

use forage_reward_sdk::grammar::is_block;
use forage_reward_sdk::prelude::*;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// `P` prompt, `T` think, `S` search, `I` information, `A` answer, `W` warning, `_` blank,
    /// `x` text outside tags, `i` information that the policy made up, `a` an answer that the
    /// environment wrote, `t` a thought without its end, `n` a search within a thought.
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
        for valid in ["PTA", "TA", "PTSITA", "PTSITSITSITA", "P_T_S_I_T_A_"] {
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
