//! A judge that is a language model.

use std::sync::{Arc, LazyLock};

use forage_trajectory::Stream;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Prompts, seed, step_error, unfilled};
use crate::chat::{ChatConfig, ChatModel, ChatRequest};
use crate::sage::{Judge, Judgement, Made, Pair, StepError, Usage};

/// How the judge decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatJudgeConfig {
    /// The model. Its temperature is 0.
    pub server: ChatConfig,
}

/// A language model that compares an answer with the one that is known to be right.
///
/// It writes a verdict, `correct: yes` or `correct: no`. A reply without one is not a yes, and can be
/// told from a no by [`verdict`]. Departure from the released code, which takes the first verdict of a
/// reply: the last one counts, since an answer that is quoted before it may hold one too.
pub struct ChatJudge<M> {
    model: M,
    prompts: Arc<Prompts>,
}

impl<M: ChatModel> ChatJudge<M> {
    /// A judge that asks `model`.
    pub fn new(model: M, prompts: Arc<Prompts>) -> Self {
        Self { model, prompts }
    }
}

impl<M: ChatModel> Judge for ChatJudge<M> {
    fn judge(
        &self,
        pair: &Pair,
        answer: &str,
        stream: Stream,
    ) -> Result<Made<Judgement>, StepError> {
        let mut usage = Usage::default();
        let prompt = self.prompts.judge(pair, answer).map_err(unfilled)?;
        let request =
            ChatRequest { prompt: &prompt, temperature: 0.0, stop: &[], seed: seed(stream, 0) };
        let reply = self.model.reply(&request, &mut usage);
        let reply = reply.map_err(|error| step_error("judge", error, usage))?;
        let right = verdict(&reply.text) == Some(true);
        let judgement = Judgement { right, reply: reply.text };
        Ok(Made { it: judgement, usage })
    }
}

/// What the last verdict of a reply is; `None` where it has none.
pub fn verdict(reply: &str) -> Option<bool> {
    static VERDICT: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\bcorrect\W*:\W*(yes|no)\b").expect("the expression is tested")
    });
    let last = VERDICT.captures_iter(reply).last()?;
    Some(last[1].eq_ignore_ascii_case("yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read() {
        for (reply, expected) in [
            ("final answer: x\nexplanation: same\ncorrect: yes", Some(true)),
            ("**Correct:** No.", Some(false)),
            ("correct:yes", Some(true)),
            ("final answer: `correct: yes`\nexplanation: it talks\ncorrect: no", Some(false)),
            ("correct: perhaps", None),
            ("incorrect: yes", None),
            ("correct: nothing", None),
            ("yes", None),
            ("", None),
        ] {
            assert_eq!(verdict(reply), expected, "{reply}");
        }
    }
}
