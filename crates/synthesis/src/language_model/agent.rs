//! Search agent that is a chat model: the solver of SAGE.

use std::sync::Arc;

use forage_trajectory::{Retriever, Stream};
use serde::{Deserialize, Serialize};

use super::generator::{default_hits, default_temperature};
use super::transcript::{STOP, last_between, observation, parse_reply, transcript};
use super::{Prompts, seed, step_error, turn, unfilled};
use crate::chat::{ChatConfig, ChatError, ChatModel, ChatRequest, Usage};
use crate::feedback_loop::{Agent, AgentRun, StepError, Trace, TraceTurn, WithUsage};

/// Configuration of a [`ChatAgent`]. The defaults are those of SAGE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatAgentConfig {
    /// Server and the model.
    pub server: ChatConfig,
    /// Sampling temperature. Default: 1.
    #[serde(default = "default_temperature")]
    pub temperature: f64,
    /// Most replies of a run, the one with the answer included. Default: 10.
    #[serde(default = "default_turns")]
    pub turns: usize,
    /// Number of hits that a search shows. Default: 3.
    #[serde(default = "default_hits")]
    pub hits: usize,
}

const fn default_turns() -> usize {
    10
}

/// Search agent that is a chat model.
///
/// It is given the text of the question and nothing else. A run ends with the first reply that has
/// an answer, or without one after [`ChatAgentConfig::turns`] replies. A reply with neither search
/// nor answer gets an observation that says so, and counts as a reply but not as a search. A run
/// beyond the context of the model ends without an answer, which counts as wrong.
pub struct ChatAgent<M> {
    model: M,
    retriever: Arc<dyn Retriever>,
    prompts: Arc<Prompts>,
    temperature: f64,
    turns: usize,
    hits: usize,
}

impl<M: ChatModel> ChatAgent<M> {
    /// Agent that calls `model`, usually a client of `config.server`.
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
    fn answer(&self, question: &str, stream: Stream) -> Result<WithUsage<AgentRun>, StepError> {
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
            let parsed = parse_reply(&reply.text, reply.cut_off);
            answer = last_between(&parsed.text, "answer").map(str::to_owned);
            if answer.is_some() {
                trace.turns.push(TraceTurn { text: parsed.text, searched: None });
                break;
            }
            // No reply would read the hits of a search in the last one.
            let query = parsed.query.filter(|_| n + 1 < self.turns);
            let turn = turn(parsed.text, query, &*self.retriever, self.hits)?;
            context += &turn.text;
            context += &observation(&turn);
            trace.turns.push(turn);
        }
        Ok(WithUsage { value: AgentRun { answer, trace }, usage })
    }
}

/// Closed-book agent that is a chat model: it answers without searching.
pub struct ChatGuesser<M> {
    model: M,
    prompts: Arc<Prompts>,
    temperature: f64,
}

impl<M: ChatModel> ChatGuesser<M> {
    /// Closed-book agent that calls `model` at the temperature of the agent.
    pub fn new(config: &ChatAgentConfig, model: M, prompts: Arc<Prompts>) -> Self {
        Self { model, prompts, temperature: config.temperature }
    }
}

impl<M: ChatModel> Agent for ChatGuesser<M> {
    fn answer(&self, question: &str, stream: Stream) -> Result<WithUsage<AgentRun>, StepError> {
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
        let trace = Trace { prompt, turns: vec![TraceTurn { text, searched: None }] };
        Ok(WithUsage { value: AgentRun { answer, trace }, usage })
    }
}
