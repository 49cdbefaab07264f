//! A generator that is a language model.

use std::path::PathBuf;
use std::sync::Arc;

use forage_trajectory::{Retriever, Stream};
use serde::{Deserialize, Serialize};

use super::pair::{self, Seen};
use super::transcript::{STOP, said, said_to, transcript};
use super::{Prompts, seed, step_error, turn, unfilled};
use crate::chat::{ChatConfig, ChatModel, ChatReply, ChatRequest};
use crate::sage::{
    Feedback, Generator, Item, Made, Pair, Proposal, Revision, SageError, Searched, StepError,
    Trace, Turn, Usage,
};

/// A generator behind a server. What is not said is as in SAGE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatGeneratorConfig {
    /// The model.
    pub server: ChatConfig,
    /// Its temperature.
    #[serde(default = "default_temperature")]
    pub temperature: f64,
    /// Searches before a pair has to be written.
    #[serde(default = "default_searches")]
    pub searches: usize,
    /// Documents that a search shows.
    #[serde(default = "default_hits")]
    pub hits: usize,
}

/// A generator in this process. What is not said is as in SAGE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelGeneratorConfig {
    /// The folder of the model.
    pub path: PathBuf,
    /// Its temperature.
    #[serde(default = "default_temperature")]
    pub temperature: f64,
    /// Searches before a pair has to be written.
    #[serde(default = "default_searches")]
    pub searches: usize,
    /// Documents that a search shows.
    #[serde(default = "default_hits")]
    pub hits: usize,
    /// Tokens of a reply at most.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: usize,
    /// Only the most likely tokens that have this share together are drawn; in (0, 1].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Most prompts that are answered together.
    #[serde(default = "default_batch")]
    pub batch: usize,
}

/// How a generator looks around before it writes, wherever its model runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Research {
    /// Temperature of the model.
    pub temperature: f64,
    /// Searches before a pair has to be written.
    pub searches: usize,
    /// Documents that a search shows.
    pub hits: usize,
}

impl ChatGeneratorConfig {
    /// How it looks around.
    pub fn research(&self) -> Research {
        let Self { temperature, searches, hits, .. } = *self;
        Research { temperature, searches, hits }
    }
}

impl ModelGeneratorConfig {
    /// How it looks around.
    pub fn research(&self) -> Research {
        let Self { temperature, searches, hits, .. } = *self;
        Research { temperature, searches, hits }
    }

    /// Checks that every value can be used.
    pub fn check(&self) -> Result<(), SageError> {
        let wrong = |key, problem: String| Err(SageError::Config { key, problem });
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

/// A language model that searches the corpus and writes a pair (`ReAct`), and changes pairs by what
/// happened to them.
///
/// A proposal ends with the first reply that holds a question and an answer. When the searches are
/// used up, or a reply holds neither search nor pair, one sentence is put into the model's mouth,
/// and it is called once more. A revision is a single call, which no search can follow: a reply that
/// asks for one nevertheless is read as any other.
///
/// Departures from the released code: documents lose the tags of prompts before they are shown, and
/// the revision after a pair that nobody answered is told so, where there is no attempt with an
/// answer to show.
pub struct ChatGenerator<M> {
    model: M,
    retriever: Arc<dyn Retriever>,
    prompts: Arc<Prompts>,
    research: Research,
}

impl<M: ChatModel> ChatGenerator<M> {
    /// A generator that asks `model`: a client, or a policy in this process.
    pub fn new(
        research: Research,
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

impl<M: ChatModel> Generator for ChatGenerator<M> {
    fn propose(&self, item: &Item, stream: Stream) -> Result<Made<Proposal>, StepError> {
        let mut usage = Usage::default();
        let prompt = self.prompts.generate(item, self.research.searches).map_err(unfilled)?;
        let mut trace = Trace { prompt, turns: Vec::new() };
        let mut context = transcript(&trace);
        for n in 0..self.research.searches {
            let reply = self.call(&context, &STOP, seed(stream, n), &mut usage)?;
            let said = said(&reply.text, reply.cut_off);
            if let Ok(pair) = read(&said.text, item, &trace) {
                trace.turns.push(Turn { text: said.text, searched: None });
                return Ok(made(pair, trace, usage));
            }
            let turn = turn(said.text, said.query, &*self.retriever, self.research.hits)?;
            context += &turn.text;
            context += &said_to(&turn);
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
        trace.turns.push(Turn { text, searched: None });
        Ok(made(pair, trace, usage))
    }

    fn revise(&self, revision: &Revision<'_>) -> Result<Made<Proposal>, StepError> {
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

        // All that was ever found for this item; earlier traces are nothing but text by now.
        let mut found: Vec<Searched> =
            serde_json::from_value(previous.notes.clone()).unwrap_or_default();
        let now = previous.trace.searches().chain(shown.into_iter().flat_map(Trace::searches));
        for searched in now {
            if !found.contains(searched) {
                found.push(searched.clone());
            }
        }
        let seen = Seen { passages: vec![&item.document], searches: found.iter().collect() };
        let pair = pair::read(&reply.text, &seen).map_err(|what| unread(what, &reply, usage))?;
        let trace = Trace { prompt, turns: vec![Turn { text: reply.text, searched: None }] };
        let mut made = made(pair, trace, usage);
        made.it.notes = serde_json::json!(found);
        Ok(made)
    }
}

fn made(pair: Pair, trace: Trace, usage: Usage) -> Made<Proposal> {
    Made { it: Proposal { pair, trace, ..Proposal::default() }, usage }
}

fn read(text: &str, item: &Item, trace: &Trace) -> Result<Pair, &'static str> {
    let seen = Seen { passages: vec![&item.document], searches: trace.searches().collect() };
    pair::read(text, &seen)
}

/// A last reply without a pair that can be used.
fn unread(what: &str, reply: &ChatReply, usage: Usage) -> StepError {
    let cut_off = if reply.cut_off { ", cut off at `max_tokens`" } else { "" };
    StepError::Item { reason: format!("generator: {what}{cut_off}"), usage }
}
