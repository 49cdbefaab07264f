//! Question generator that is a chat model.

use std::path::PathBuf;
use std::sync::Arc;

use forage_trajectory::{Retriever, Stream};
use serde::{Deserialize, Serialize};

use super::pair::{self, Seen};
use super::transcript::{STOP, observation, parse_reply, transcript};
use super::{Prompts, seed, step_error, turn, unfilled};
use crate::chat::{ChatConfig, ChatModel, ChatReply, ChatRequest, Usage};
use crate::config_error::ConfigError;
use crate::feedback_loop::{
    ExecutedSearch, Feedback, Item, Proposal, QaPair, QuestionGenerator, Revision, StepError,
    Trace, TraceTurn, WithUsage,
};

/// Configuration of a generator behind a server. The defaults are those of SAGE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatGeneratorConfig {
    /// Server and the model.
    pub server: ChatConfig,
    /// Sampling temperature. Default: 1.
    #[serde(default = "default_temperature")]
    pub temperature: f64,
    /// Most searches before a pair has to be written. Default: 20.
    #[serde(default = "default_searches")]
    pub searches: usize,
    /// Number of hits that a search shows. Default: 3.
    #[serde(default = "default_hits")]
    pub hits: usize,
}

/// Configuration of a generator in this process. The defaults are those of SAGE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelGeneratorConfig {
    /// Folder of the model.
    pub path: PathBuf,
    /// Sampling temperature. Default: 1.
    #[serde(default = "default_temperature")]
    pub temperature: f64,
    /// Most searches before a pair has to be written. Default: 20.
    #[serde(default = "default_searches")]
    pub searches: usize,
    /// Number of hits that a search shows. Default: 3.
    #[serde(default = "default_hits")]
    pub hits: usize,
    /// Most tokens of a reply. Default: 1024.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: usize,
    /// Nucleus sampling (top-p), in (0, 1]. Default: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Largest batch of prompts. Default: 16.
    #[serde(default = "default_batch")]
    pub batch: usize,
}

/// Options of the research before a pair is written, for every kind of model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResearchOptions {
    /// Sampling temperature.
    pub temperature: f64,
    /// Most searches before a pair has to be written.
    pub searches: usize,
    /// Number of hits that a search shows.
    pub hits: usize,
}

impl ChatGeneratorConfig {
    /// Its options of the research.
    pub fn research(&self) -> ResearchOptions {
        let Self { temperature, searches, hits, .. } = *self;
        ResearchOptions { temperature, searches, hits }
    }
}

impl ModelGeneratorConfig {
    /// Its options of the research.
    pub fn research(&self) -> ResearchOptions {
        let Self { temperature, searches, hits, .. } = *self;
        ResearchOptions { temperature, searches, hits }
    }

    /// Checks that every value can be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, problem: String| Err(ConfigError { key, problem });
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            let problem = format!("is {}, not a temperature", self.temperature);
            return wrong("generator.model.temperature", problem);
        }
        if let Some(top_p) = self.top_p
            && !(top_p > 0.0 && top_p <= 1.0)
        {
            return wrong("generator.model.top_p", format!("is {top_p}, not a share above 0"));
        }
        for (key, value) in
            [("generator.model.max_tokens", self.max_tokens), ("generator.model.batch", self.batch)]
        {
            if value == 0 {
                return wrong(key, "is 0".to_owned());
            }
        }
        Ok(())
    }
}

pub(super) const fn default_temperature() -> f64 {
    1.0
}

const fn default_searches() -> usize {
    20
}

pub(super) const fn default_hits() -> usize {
    3
}

const fn default_max_tokens() -> usize {
    1024
}

const fn default_batch() -> usize {
    16
}

/// Question generator that is a chat model: it searches the corpus before it writes a pair
/// (`ReAct`, arXiv 2210.03629), and revises pairs by feedback.
///
/// A proposal ends with the first reply that has a question and an answer. When the searches are
/// used up, or a reply has neither search nor pair, the reply is begun with a fixed sentence and
/// the model is called once more. A revision is a single call without searches: a search in its
/// reply is not executed.
///
/// Departures from the released code: documents lose the tags of prompts before they are shown, and
/// a revision without any run that has an answer says so in its prompt.
pub struct ChatGenerator<M> {
    model: M,
    retriever: Arc<dyn Retriever>,
    prompts: Arc<Prompts>,
    research: ResearchOptions,
}

impl<M: ChatModel> ChatGenerator<M> {
    /// Generator that calls `model`: a client, or a policy in this process.
    pub fn new(
        research: ResearchOptions,
        model: M,
        retriever: Arc<dyn Retriever>,
        prompts: Arc<Prompts>,
    ) -> Self {
        Self { model, retriever, prompts, research }
    }

    fn call(
        &self,
        prompt: &str,
        stop: &[&str],
        seed: u64,
        usage: &mut Usage,
    ) -> Result<ChatReply, StepError> {
        let request = ChatRequest { prompt, temperature: self.research.temperature, stop, seed };
        let reply = self.model.reply(&request, usage);
        reply.map_err(|error| step_error("generator", error, *usage))
    }
}

impl<M: ChatModel> QuestionGenerator for ChatGenerator<M> {
    fn propose(&self, item: &Item, stream: Stream) -> Result<WithUsage<Proposal>, StepError> {
        let mut usage = Usage::default();
        let prompt = self.prompts.generate(item, self.research.searches).map_err(unfilled)?;
        let mut trace = Trace { prompt, turns: Vec::new() };
        let mut context = transcript(&trace);
        for n in 0..self.research.searches {
            let reply = self.call(&context, &STOP, seed(stream, n), &mut usage)?;
            let parsed = parse_reply(&reply.text, reply.cut_off);
            if let Ok(pair) = read(&parsed.text, item, &trace) {
                trace.turns.push(TraceTurn { text: parsed.text, searched: None });
                return Ok(made(pair, trace, usage));
            }
            let turn = turn(parsed.text, parsed.query, &*self.retriever, self.research.hits)?;
            context += &turn.text;
            context += &observation(&turn);
            let goes_on = turn.searched.is_some();
            trace.turns.push(turn);
            if !goes_on {
                break;
            }
        }
        let forced = self.prompts.forced().map_err(unfilled)?;
        context += &forced;
        let reply = self.call(&context, &STOP, seed(stream, self.research.searches), &mut usage)?;
        let text = format!("{forced}{}", reply.text);
        let pair = read(&text, item, &trace).map_err(|what| unread(what, &reply, usage))?;
        trace.turns.push(TraceTurn { text, searched: None });
        Ok(made(pair, trace, usage))
    }

    fn revise(&self, revision: &Revision<'_>) -> Result<WithUsage<Proposal>, StepError> {
        let mut usage = Usage::default();
        let Revision { item, previous, feedback, stream, .. } = *revision;
        let generator = transcript(&previous.trace);
        let agent = |trace: Option<&Trace>| trace.map_or_else(String::new, transcript);
        let (prompt, shown) = match *feedback {
            Feedback::TooEasy(run) => {
                let agent = agent(Some(&run.trace));
                let pair = &previous.pair;
                (self.prompts.too_easy(item, pair, &generator, run, &agent), Some(&run.trace))
            }
            Feedback::Wrong(run) => {
                let shown = run.map(|it| &it.trace);
                let pair = &previous.pair;
                (self.prompts.wrong(item, pair, &generator, run, &agent(shown)), shown)
            }
        };
        let prompt = prompt.map_err(unfilled)?;
        let reply = self.call(&prompt, &[], seed(stream, 0), &mut usage)?;

        // All searches of this item; earlier traces are plain text by now.
        let mut found: Vec<ExecutedSearch> =
            serde_json::from_value(previous.notes.clone()).unwrap_or_default();
        let now = previous.trace.searches().chain(shown.into_iter().flat_map(Trace::searches));
        for searched in now {
            if !found.contains(searched) {
                found.push(searched.clone());
            }
        }
        let seen = Seen { passages: vec![&item.document], searches: found.iter().collect() };
        let pair = pair::read(&reply.text, &seen).map_err(|what| unread(what, &reply, usage))?;
        let trace = Trace { prompt, turns: vec![TraceTurn { text: reply.text, searched: None }] };
        let mut made = made(pair, trace, usage);
        made.value.notes = serde_json::json!(found);
        Ok(made)
    }
}

fn made(pair: QaPair, trace: Trace, usage: Usage) -> WithUsage<Proposal> {
    WithUsage { value: Proposal { pair, trace, ..Proposal::default() }, usage }
}

fn read(text: &str, item: &Item, trace: &Trace) -> Result<QaPair, &'static str> {
    let seen = Seen { passages: vec![&item.document], searches: trace.searches().collect() };
    pair::read(text, &seen)
}

/// The error of a last reply without a usable pair.
fn unread(what: &str, reply: &ChatReply, usage: Usage) -> StepError {
    let cut_off = if reply.cut_off { ", cut off at `max_tokens`" } else { "" };
    StepError::Item { reason: format!("generator: {what}{cut_off}"), usage }
}
