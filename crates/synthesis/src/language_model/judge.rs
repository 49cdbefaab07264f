//! Judge that is a chat model.

use std::sync::{Arc, LazyLock};

use forage_trajectory::Stream;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Prompts, seed, step_error, unfilled};
use crate::chat::{ChatConfig, ChatModel, ChatRequest, Usage};
use crate::feedback_loop::{Judge, Judgement, QaPair, StepError, WithUsage};

/// Configuration of a [`ChatJudge`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatJudgeConfig {
    /// Server and the model. The temperature is 0.
    pub server: ChatConfig,
}

/// Judge that is a chat model: it compares an answer with the golden answers.
///
/// It writes `correct: yes` or `correct: no`. A reply with neither is not a yes, and can be told
/// from a no by [`parse_verdict`]. Departure from the released code, which takes the first verdict
/// of a reply: the last one counts, since an answer that is quoted before it may have one too.
pub struct ChatJudge<M> {
    model: M,
    prompts: Arc<Prompts>,
}

impl<M: ChatModel> ChatJudge<M> {
    /// Judge that calls `model`.
    pub fn new(model: M, prompts: Arc<Prompts>) -> Self {
        Self { model, prompts }
    }
}

impl<M: ChatModel> Judge for ChatJudge<M> {
    fn judge(
        &self,
        pair: &QaPair,
        answer: &str,
        stream: Stream,
    ) -> Result<WithUsage<Judgement>, StepError> {
        let mut usage = Usage::default();
        let prompt = self.prompts.judge(pair, answer).map_err(unfilled)?;
        let request =
            ChatRequest { prompt: &prompt, temperature: 0.0, stop: &[], seed: seed(stream, 0) };
        let reply = self.model.reply(&request, &mut usage);
        let reply = reply.map_err(|error| step_error("judge", error, usage))?;
        let right = parse_verdict(&reply.text) == Some(true);
        let judgement = Judgement { right, reply: reply.text };
        Ok(WithUsage { value: judgement, usage })
    }
}

/// Verdict of a judge's reply, the last one; `None` where it has none.
pub fn parse_verdict(reply: &str) -> Option<bool> {
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
            assert_eq!(parse_verdict(reply), expected, "{reply}");
        }
    }
}
