//! Scripted policies, for tests, demonstrations and as a baseline.
//!
//! A [`ScriptedPolicy`] writes what a function returns, through any tokenizer. [`baseline`] is the
//! script that a trained agent should be better than.

use std::collections::HashMap;

use forage_trajectory::protocol::{ANSWER, SEARCH, THINK};
use forage_trajectory::{
    BoxError, Completion, FinishReason, Policy, Prompt, Request, Sampling, TokenId,
};

use crate::observation::top_title;

/// Codec: text to tokens and back.
pub trait Codec {
    /// Tokens of a text.
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError>;

    /// Text and tokens of a prompt. Default: plain text only; a chat is an error, because there is
    /// no chat template.
    fn encode_prompt(&self, prompt: &Prompt<'_>) -> Result<(String, Vec<TokenId>), BoxError> {
        match prompt {
            Prompt::Plain(text) => Ok(((*text).to_owned(), self.encode(text)?)),
            Prompt::Chat { .. } => Err("there is no chat template".into()),
        }
    }

    /// Text of some tokens.
    fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError>;
}

impl<C: Codec + ?Sized> Codec for &C {
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        (**self).encode(text)
    }

    fn encode_prompt(&self, prompt: &Prompt<'_>) -> Result<(String, Vec<TokenId>), BoxError> {
        (**self).encode_prompt(prompt)
    }

    fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
        (**self).decode(tokens)
    }
}

/// Codec without a vocabulary: one token for each byte.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bytes;

impl Codec for Bytes {
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        Ok(text.bytes().map(TokenId::from).collect())
    }

    fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
        let bytes = tokens.iter().map(|&id| u8::try_from(id)).collect::<Result<Vec<u8>, _>>()?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Scripted policy: its turns are a function of the context so far, the sequence, and the turn of
/// that sequence, from 0.
///
/// All log-probabilities are 0. The turn is what the function returns, cut at `max_new_tokens` and
/// not at a stop string.
#[derive(Debug)]
pub struct ScriptedPolicy<C, F> {
    codec: C,
    write: F,
    max_context: usize,
    turns: HashMap<usize, usize>,
}

impl<C, F> ScriptedPolicy<C, F>
where
    C: Codec,
    F: FnMut(&str, usize, usize) -> String,
{
    /// Scripted policy without a limit on the context.
    pub fn new(codec: C, write: F) -> Self {
        Self { codec, write, max_context: usize::MAX, turns: HashMap::new() }
    }

    /// The same policy with a context of at most `max_context` tokens.
    #[must_use]
    pub fn with_max_context(self, max_context: usize) -> Self {
        Self { max_context, ..self }
    }
}

impl<C, F> Policy for ScriptedPolicy<C, F>
where
    C: Codec,
    F: FnMut(&str, usize, usize) -> String,
{
    fn encode_prompt(&self, prompt: &Prompt<'_>) -> Result<(String, Vec<TokenId>), BoxError> {
        self.codec.encode_prompt(prompt)
    }

    fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        self.codec.encode(text)
    }

    fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
        self.codec.decode(tokens)
    }

    fn max_context(&self) -> usize {
        self.max_context
    }

    fn generate(
        &mut self,
        requests: &[Request<'_>],
        _sampling: Sampling,
    ) -> Result<Vec<Completion>, BoxError> {
        let mut completions = Vec::with_capacity(requests.len());
        for request in requests {
            let turn = self.turns.entry(request.sequence).or_default();
            let context = self.codec.decode(request.context)?;
            let text = (self.write)(&context, request.sequence, *turn);
            *turn += 1;
            let mut tokens = self.codec.encode(&text)?;
            let finish = if tokens.len() > request.max_new_tokens {
                tokens.truncate(request.max_new_tokens);
                FinishReason::Length
            } else if request.stop.iter().any(|stop| text.ends_with(stop)) {
                FinishReason::Stop
            } else {
                FinishReason::EndOfTurn
            };
            completions.push(Completion { logprobs: vec![0.0; tokens.len()], tokens, finish });
        }
        Ok(completions)
    }

    fn release(&mut self, sequences: &[usize]) {
        for sequence in sequences {
            self.turns.remove(sequence);
        }
    }
}

/// Baseline script: searches for the question itself and answers with the title of the first
/// passage.
///
/// `questions` are the texts of the questions, by sequence: the order of the tasks given to
/// [`run_episodes`](crate::run_episodes).
pub fn baseline(questions: &[&str]) -> impl FnMut(&str, usize, usize) -> String {
    move |context, sequence, turn| {
        if turn == 0 {
            let question = questions.get(sequence).copied().unwrap_or_default();
            return THINK.wrap(" I look for the question itself. ")
                + &SEARCH.wrap(&format!(" {question} "));
        }
        let title = top_title(context).unwrap_or("unknown");
        ANSWER.wrap(&format!(" {} ", title.trim_matches(['"', '\\'])))
    }
}

#[cfg(test)]
mod tests {
    use forage_trajectory::{Purpose, Stream};

    use super::*;
    use crate::grammar::STOP;

    #[test]
    fn finishes_for_the_reason_a_model_would() {
        let mut policy = ScriptedPolicy::new(Bytes, |context: &str, _, turn| match turn {
            0 => format!("{context}</answer>"),
            _ => format!("{context}</answer>."),
        });
        let context = Bytes.encode("é").unwrap();
        let mut generate = |max_new_tokens| {
            let stream = Stream::new(0, Purpose::Evaluation);
            let request =
                Request { sequence: 3, context: &context, max_new_tokens, stop: &STOP, stream };
            let completion = policy.generate(&[request], Sampling::Greedy).unwrap().remove(0);
            assert_eq!(completion.logprobs.len(), completion.tokens.len());
            (policy.decode(&completion.tokens).unwrap(), completion.finish)
        };
        assert_eq!(generate(11), ("é</answer>".to_owned(), FinishReason::Stop));
        assert_eq!(generate(12), ("é</answer>.".to_owned(), FinishReason::EndOfTurn));
        assert_eq!(generate(1), ("\u{FFFD}".to_owned(), FinishReason::Length));
    }

    #[test]
    fn no_byte_is_above_255() {
        assert!(Bytes.decode(&[65, 256]).is_err());
    }
}
