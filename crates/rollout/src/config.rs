//! Configuration of the agent loop: the `[rollout]` section of a run file.

use forage_trajectory::{Prompt, Question};
use serde::{Deserialize, Serialize};

use crate::{ObservationTemplate, RolloutError};

/// Placeholder for the question in [`RolloutConfig::prompt`].
const PLACEHOLDER: &str = "{question}";

/// Marks that end a sentence: Latin, Greek, Armenian, Arabic, Ethiopic, Devanagari and wide ones.
const MARKS: &[char] = &[
    '?', '!', '.', ':', '…', '‽', '\u{37e}', '\u{55e}', '\u{589}', '\u{61f}', '\u{6d4}', '\u{964}',
    '\u{1362}', '\u{1367}', '\u{3002}', '\u{fe56}', '\u{ff01}', '\u{ff0e}', '\u{ff1a}', '\u{ff1f}',
    '\u{ff61}',
];

/// Quotes and brackets that may close after such a mark.
const CLOSING: &[char] =
    &['"', '\'', ')', ']', '}', '»', '\u{2019}', '\u{201d}', '\u{203a}', '」', '』', '）', '】'];

/// Default prompt: the instruction of Search-R1 in our words.
const PROMPT: &str = "Answer the question below. Whenever you learn something new, first reason \
    about it between <think> and </think>. If a fact is missing, write a query between <search> \
    and </search>: the best passages come back between <information> and </information>, and you \
    may search several times. As soon as you know enough, give the bare answer, without an \
    explanation, between <answer> and </answer>, for example <answer> Lisbon </answer>.\n\
    Question: {question}\n";

/// Settings of the agent loop. The defaults are those of Search-R1 (arXiv 2503.09516).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutConfig {
    /// Prompt template, with `{question}` in the place of the question. Control tokens in it are
    /// ordinary text: those of the model come from its chat template, see `chat`. Default: the
    /// instruction of Search-R1 in our words.
    pub prompt: String,
    /// Chat template: whether the prompt is a user message in the chat template of the model, and
    /// the trajectory the turn of the assistant. Default: false, plain text.
    #[serde(skip_serializing_if = "is_default")]
    pub chat: bool,
    /// System message, with `chat` only. Default: that of the chat template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Maximum number of searches. One more turn follows, in which the agent can only answer; with
    /// 0 there is no search engine. Default: 4.
    pub max_searches: usize,
    /// Number of passages that each search returns. Default: 3.
    pub top_k: usize,
    /// Layout of observations. Default: `plain`.
    #[serde(skip_serializing_if = "is_default")]
    pub template: ObservationTemplate,
    /// Maximum number of tokens sampled in a turn. Default: 500.
    pub max_turn_tokens: usize,
    /// Maximum length of an observation in tokens, including its tags; longer passages are cut.
    /// Default: 500.
    pub max_observation_tokens: usize,
    /// Maximum length of a trajectory in tokens, including prompt and observations. The context
    /// length of the policy is a limit too. Default: 4096.
    pub max_tokens: usize,
}

impl Default for RolloutConfig {
    fn default() -> Self {
        Self {
            prompt: PROMPT.to_owned(),
            chat: false,
            system: None,
            max_searches: 4,
            top_k: 3,
            template: ObservationTemplate::default(),
            max_turn_tokens: 500,
            max_observation_tokens: 500,
            max_tokens: 4096,
        }
    }
}

impl RolloutConfig {
    /// Checks the settings, as far as that takes no tokenizer.
    ///
    /// # Errors
    ///
    /// The first key with an invalid value.
    pub fn validate(&self) -> Result<(), RolloutError> {
        if !self.prompt.contains(PLACEHOLDER) {
            let problem = format!("does not contain `{PLACEHOLDER}`");
            return Err(RolloutError::Config { key: "prompt", problem });
        }
        if self.system.is_some() && !self.chat {
            let problem = "is used with `rollout.chat = true` only".to_owned();
            return Err(RolloutError::Config { key: "system", problem });
        }
        for (key, value) in [
            ("top_k", self.top_k),
            ("max_turn_tokens", self.max_turn_tokens),
            ("max_observation_tokens", self.max_observation_tokens),
            ("max_tokens", self.max_tokens),
        ] {
            if value == 0 {
                return Err(RolloutError::Config { key, problem: "is 0".to_owned() });
            }
        }
        Ok(())
    }

    /// Prompt with this text, which is that of [`RolloutConfig::prompt_for`]: plain or as a chat.
    pub fn as_prompt<'a>(&'a self, text: &'a str) -> Prompt<'a> {
        if self.chat {
            Prompt::Chat { system: self.system.as_deref(), user: text }
        } else {
            Prompt::Plain(text)
        }
    }

    /// Prompt text for a question. A question mark is added as in Search-R1, unless the question
    /// ends with a mark of its own, in any script.
    ///
    /// A prompt other than the default one gets it after a full stop too: agents were trained with
    /// such prompts.
    pub fn prompt_for(&self, question: &Question) -> String {
        let text = question.text.trim();
        let is_stop = text.ends_with('.') && self.prompt != PROMPT;
        let mark = if ends_a_sentence(text) && !is_stop { "" } else { "?" };
        self.prompt.replace(PLACEHOLDER, &format!("{text}{mark}"))
    }
}

/// Whether a text ends with a mark that ends a sentence, before closing quotes and brackets.
fn ends_a_sentence(text: &str) -> bool {
    text.trim_end_matches(CLOSING).ends_with(MARKS)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error, MapDeserializer};

    use super::*;

    fn read(key: &str, value: usize) -> Result<RolloutConfig, Error> {
        RolloutConfig::deserialize(MapDeserializer::new([(key, value)].into_iter()))
    }

    #[test]
    fn defaults_are_valid() {
        let cfg = RolloutConfig::default();
        cfg.validate().unwrap();
        assert!(cfg.prompt.ends_with("Question: {question}\n"));
        assert_eq!(read("top_k", 3).unwrap(), cfg);
    }

    #[test]
    fn wrong_values_name_their_key() {
        for key in ["top_k", "max_turn_tokens", "max_observation_tokens", "max_tokens"] {
            let error = read(key, 0).unwrap().validate().unwrap_err();
            assert_eq!(error.to_string(), format!("`rollout.{key}` is 0"));
        }
        read("max_searches", 0).unwrap().validate().unwrap();
        let cfg = RolloutConfig { prompt: "Question: ".into(), ..RolloutConfig::default() };
        let error = cfg.validate().unwrap_err();
        assert_eq!(error.to_string(), "`rollout.prompt` does not contain `{question}`");
    }

    #[test]
    fn the_system_speaks_in_a_chat_only() {
        let said = RolloutConfig { system: Some("Be brief.".into()), ..RolloutConfig::default() };
        let error = said.validate().unwrap_err();
        assert_eq!(error.to_string(), "`rollout.system` is used with `rollout.chat = true` only");
        assert_eq!(RolloutConfig::default().as_prompt("who?"), Prompt::Plain("who?"));
        let chat = RolloutConfig { chat: true, ..said };
        chat.validate().unwrap();
        assert_eq!(
            chat.as_prompt("who?"),
            Prompt::Chat { system: Some("Be brief."), user: "who?" }
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = read("max_turns", 4).unwrap_err().to_string();
        assert!(error.contains("unknown field `max_turns`"), "{error}");
    }

    #[test]
    fn a_question_gets_its_mark_once() {
        let cfg = RolloutConfig { prompt: "Q: {question}\n".into(), ..RolloutConfig::default() };
        for (text, prompt) in [
            ("who directed Alien", "Q: who directed Alien?\n"),
            (" who directed Alien? ", "Q: who directed Alien?\n"),
            ("what is {question}?", "Q: what is {question}?\n"),
            ("Name the director of Alien.", "Q: Name the director of Alien.?\n"),
            ("He asked \"who?\"", "Q: He asked \"who?\"\n"),
            ("who made \"Alien\"", "Q: who made \"Alien\"?\n"),
            ("谁导演了异形？", "Q: 谁导演了异形？\n"),
            ("谁导演了异形", "Q: 谁导演了异形?\n"),
            ("من أخرج الفيلم؟", "Q: من أخرج الفيلم؟\n"),
            ("Ποιος το έκανε\u{37e}", "Q: Ποιος το έκανε\u{37e}\n"),
            ("", "Q: ?\n"),
        ] {
            let question = Question { text: text.into(), ..Question::default() };
            assert_eq!(cfg.prompt_for(&question), prompt);
        }
    }

    #[test]
    fn the_default_prompt_adds_no_mark_after_a_full_stop() {
        for (text, end) in [
            ("Name the director of Alien.", "Question: Name the director of Alien.\n"),
            ("who directed Alien", "Question: who directed Alien?\n"),
        ] {
            let question = Question { text: text.into(), ..Question::default() };
            let prompt = RolloutConfig::default().prompt_for(&question);
            assert!(prompt.ends_with(end), "{prompt}");
        }
    }
}
