//! End-of-turn tokens of the published model families, in one list.
//!
//! A generator stops at them, and readers of decoded text remove them from its end.

/// End-of-turn tokens, as text. A model has those that are among the added tokens of its
/// tokenizer.
///
/// The tokens of beginning roles (`<|user|>`, `<|observation|>`) are those that GLM and Phi end a
/// turn of the assistant with. `<|end|>` ends a turn in Phi, and only a part of one where there is
/// `<|return|>` ([`END_OF_MESSAGE`]).
pub const END_OF_TURN: [&str; 41] = [
    // ChatML: Qwen, Yi, InternLM, SmolLM, LFM, Kimi; and the end of a text of Qwen, GPT-2, Falcon.
    "<|im_end|>",
    "<|endoftext|>",
    // Llama 2 and Mistral.
    "</s>",
    // Llama 3, where `<|eom_id|>` waits for a tool, and Llama 4.
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|eot|>",
    "<|eom|>",
    // Gemma up to 3, and 4, where `<|tool_response>` waits for a tool.
    "<end_of_turn>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    // DeepSeek and its coders.
    "<｜end▁of▁sentence｜>",
    "<|EOT|>",
    // Phi 3 and 4-mini.
    "<|end|>",
    // GLM.
    "<|user|>",
    "<|observation|>",
    // gpt-oss (harmony).
    "<|return|>",
    "<|call|>",
    // Cohere.
    "<|END_OF_TURN_TOKEN|>",
    "<EOS_TOKEN>",
    // Kimi K2.
    "[EOS]",
    "[EOT]",
    // EXAONE, HyperCLOVA X.
    "[|endofturn|]",
    "<|endofturn|>",
    "<|stop|>",
    // OpenChat and Starling.
    "<|end_of_turn|>",
    // ERNIE, Seed, dots, MiniMax, Hunyuan, Grok 2, Solar, Apertus, Ling, Nemotron.
    "<|end_of_sentence|>",
    "<seed:eos>",
    "<|endofresponse|>",
    "[e~[",
    "<|eos|>",
    "<|separator|>",
    "<|flush|>",
    "<|calls|>",
    "<|assistant_end|>",
    "<|role_end|>",
    "<SPECIAL_12>",
    // InternLM 1, CodeLlama, SmolDocling.
    "<eoa>",
    "<EOT>",
    "<end_of_utterance>",
];

/// Token that ends a message, and where a vocabulary has the token after it, not the turn.
pub const END_OF_MESSAGE: (&str, &str) = ("<|end|>", "<|return|>");

/// Text without the end-of-turn tokens and the white space that it ends with.
///
/// ```
/// use forage_trajectory::without_end_of_turn;
///
/// let text = "<answer> Lisbon </answer><|eot_id|>\n<|end_of_text|>";
/// assert_eq!(without_end_of_turn(text), "<answer> Lisbon </answer>");
/// assert_eq!(without_end_of_turn("a <|eot_id|> b"), "a <|eot_id|> b");
/// ```
pub fn without_end_of_turn(text: &str) -> &str {
    let mut rest = text.trim_end();
    while let Some(shorter) = END_OF_TURN.iter().find_map(|end| rest.strip_suffix(end)) {
        rest = shorter.trim_end();
    }
    rest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_text_ends_before_its_end_of_turn() {
        for end in END_OF_TURN {
            assert_eq!(
                without_end_of_turn(&format!("<answer> x </answer> {end}\n{end}")),
                "<answer> x </answer>"
            );
            assert_eq!(without_end_of_turn(&format!("{end} x")), format!("{end} x"));
            assert_eq!(without_end_of_turn(end), "");
        }
        for whole in ["", "a", "<answer> x </answer>", "</search>", "</think>", "a <b>", "a </i>"] {
            assert_eq!(without_end_of_turn(whole), whole);
        }
    }

    #[test]
    fn no_end_of_turn_is_listed_twice_or_is_a_tag() {
        let all: BTreeSet<&str> = END_OF_TURN.into_iter().collect();
        assert_eq!(all.len(), END_OF_TURN.len());
        assert!(crate::protocol::TAGS.iter().all(|tag| !all.contains(tag)));
    }
}
