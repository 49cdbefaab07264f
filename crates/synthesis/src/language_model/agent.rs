//! An agent that is a language model: the solver of SAGE.

use std::sync::Arc;

use forage_trajectory::{Retriever, Stream};
use serde::{Deserialize, Serialize};

use super::generator::{default_hits, default_temperature};
use super::transcript::{STOP, last_between, said, said_to, transcript};
use super::{Prompts, seed, step_error, turn, unfilled};
use crate::chat::{ChatConfig, ChatError, ChatModel, ChatRequest};
use crate::sage::{Agent, Made, Run, StepError, Trace, Turn, Usage};

/// How the agent plays. What is not said is as in SAGE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatAgentConfig {
    /// The model.
    pub server: ChatConfig,
    /// Its temperature.
    #[serde(default = "default_temperature")]
    pub temperature: f64,
    /// Replies of a run at most, the one with the answer included.
    #[serde(default = "default_turns")]
    pub turns: usize,
    /// Documents that a search shows.
    #[serde(default = "default_hits")]
    pub hits: usize,
}

const fn default_turns() -> usize {
    10
}

/// A language model that answers questions by searching.
///
/// It is given the text of the question and nothing else, and has a prompt of its own. A run ends
/// with the first reply that holds an answer, or without one after so many replies. A reply with
/// neither search nor answer is told so and counts as a reply; it is no search. A run that grows
/// beyond what the model reads ends without an answer: that is the run's own doing.
pub struct ChatAgent<M> {
    model: M,
    retriever: Arc<dyn Retriever>,
    prompts: Arc<Prompts>,
    temperature: f64,
    turns: usize,
    hits: usize,
}

impl<M: ChatModel> ChatAgent<M> {
    /// An agent that asks `model`, which is usually a client of `config.server`.
    pub fn new(
        config: &ChatAgentConfig,
        model: M,
        retriever: Arc<dyn Retriever>,
        prompts: Arc<Prompts>,
    ) -> Self {
        let ChatAgentConfig { temperature, turns, hits, .. } = *config;
        Self { model, retriever, prompts, temperature, turns, hits }
    }
}

impl<M: ChatModel> Agent for ChatAgent<M> {
    fn answer(&self, question: &str, stream: Stream) -> Result<Made<Run>, StepError> {
        let mut usage = Usage::default();
        let prompt = self.prompts.answer(question).map_err(unfilled)?;
        let mut trace = Trace { prompt, turns: Vec::new() };
        let mut context = transcript(&trace);
        let mut answer = None;
        for n in 0..self.turns {
            let request = ChatRequest {
                prompt: &context,
                temperature: self.temperature,
                stop: &STOP,
                seed: seed(stream, n),
            };
            let reply = match self.model.reply(&request, &mut usage) {
                Err(ChatError::TooLong { .. }) if n > 0 => break,
                reply => reply.map_err(|error| step_error("agent", error, usage))?,
            };
            let said = said(&reply.text, reply.cut_off);
            answer = last_between(&said.text, "answer").map(str::to_owned);
            if answer.is_some() {
                trace.turns.push(Turn { text: said.text, searched: None });
                break;
            }
            // What the last reply searches for, nobody would read.
            let query = said.query.filter(|_| n + 1 < self.turns);
            let turn = turn(said.text, query, &*self.retriever, self.hits)?;
            context += &turn.text;
            context += &said_to(&turn);
            trace.turns.push(turn);
        }
        Ok(Made { it: Run { answer, trace }, usage })
    }
}

/// A language model that answers from what it knows: for the closed-book run that finds questions
/// which can be guessed.
pub struct ChatGuesser<M> {
    model: M,
    prompts: Arc<Prompts>,
    temperature: f64,
}

impl<M: ChatModel> ChatGuesser<M> {
    /// One that asks the model of the agent, at its temperature.
    pub fn new(config: &ChatAgentConfig, model: M, prompts: Arc<Prompts>) -> Self {
        Self { model, prompts, temperature: config.temperature }
    }
}

impl<M: ChatModel> Agent for ChatGuesser<M> {
    fn answer(&self, question: &str, stream: Stream) -> Result<Made<Run>, StepError> {
        let mut usage = Usage::default();
        let prompt = self.prompts.guess(question).map_err(unfilled)?;
        let request = ChatRequest {
            prompt: &prompt,
            temperature: self.temperature,
            stop: &[],
            seed: seed(stream, 0),
        };
        let reply = self.model.reply(&request, &mut usage);
        let text = reply.map_err(|error| step_error("guesser", error, usage))?.text;
        let answer = last_between(&text, "answer").map(str::to_owned);
        let trace = Trace { prompt, turns: vec![Turn { text, searched: None }] };
        Ok(Made { it: Run { answer, trace }, usage })
    }
}
