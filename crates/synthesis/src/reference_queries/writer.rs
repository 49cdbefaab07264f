//! Writer of reference queries: asks the chat model, and filters by the search engines.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use forage_trajectory::{EvidenceStep, Hit, Purpose, Question, Retriever, SearchError, Stream};
use minijinja::{Environment, UndefinedBehavior, context};
use rand::Rng;

use super::log::{QueryEvent, QueryLog, StepQueries};
use super::parse::queries;
use crate::chat::{Budget, ChatError, ChatModel, ChatReply, ChatRequest, Concern, Usage};
use crate::event_log::LogError;

/// Template of the prompt.
const PROMPT: &str = include_str!("../../prompts/reference_queries.jinja");

/// Configuration of a [`QueryWriter`].
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceQueriesConfig {
    /// Number of queries for each sub-question, N. Without a chat model, 1.
    pub queries: usize,
    /// Sampling temperature of the chat model.
    pub temperature: f64,
    /// Number of hits of a search.
    pub depth: usize,
    /// What an engine must find.
    pub found: Found,
    /// Number of questions at once.
    pub in_flight: usize,
    /// Seed of the sampling.
    pub seed: u64,
}

/// What an engine must find for a query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Found {
    /// A hit.
    #[default]
    Any,
    /// A hit that is a gold passage of the sub-question, or has its answer in its title or text.
    Gold,
}

/// Reference queries that could not be written for all questions.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceQueriesError {
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The chat model, or its server, failed for good.
    #[error("question `{id}`: the chat model failed")]
    Chat {
        /// Question.
        id: String,
        /// Cause.
        source: ChatError,
    },
    /// A search engine failed.
    #[error("question `{id}`: a search failed")]
    Search {
        /// Question.
        id: String,
        /// Cause.
        source: SearchError,
    },
    /// The prompt cannot be filled in.
    #[error("the prompt `reference_queries` cannot be filled in")]
    Prompt(#[from] minijinja::Error),
    /// The stop flag was set.
    #[error("stopped before all questions had their queries")]
    Interrupted,
}

/// Writer of reference queries.
pub struct QueryWriter<'a> {
    /// Configuration.
    pub config: &'a ReferenceQueriesConfig,
    /// Chat model; without one, the sub-question is the only query.
    pub model: Option<&'a dyn ChatModel>,
    /// Search engines, M; without any, every query is kept.
    pub engines: &'a [Arc<dyn Retriever>],
    /// Budget of the chat model, to which the usage in the log is added.
    pub budget: &'a Budget,
    /// Stop flag: ends the run after the questions that are under way.
    pub stop: &'a AtomicBool,
}

impl QueryWriter<'_> {
    /// Writes the queries of every question that the log does not hold, and returns those of all
    /// questions, by question and sub-question. `each` is called with the number of questions that
    /// are done.
    ///
    /// # Errors
    ///
    /// The first failure that is not of one request alone. What is done is in the log, and the same
    /// call goes on from there.
    pub fn run(
        &self,
        questions: &[Question],
        log: QueryLog,
        each: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Vec<StepQueries>>, ReferenceQueriesError> {
        let QueryLog { log, mut done, used } = log;
        self.budget.add(used);
        done.retain(|&index, _| index < questions.len() as u64);
        each(done.len());
        let open: Vec<usize> =
            (0..questions.len()).filter(|&index| !done.contains_key(&(index as u64))).collect();
        let next = AtomicU64::new(0);
        let done = Mutex::new((done, each));
        let failed: Mutex<Option<ReferenceQueriesError>> = Mutex::new(None);
        let work = || {
            while !self.stop.load(Ordering::Relaxed) {
                let nth = next.fetch_add(1, Ordering::Relaxed) as usize;
                let Some(&index) = open.get(nth) else { break };
                let written = self.question(index as u64, &questions[index]).and_then(|written| {
                    let (steps, usage) = written;
                    let event =
                        QueryEvent::Written { index: index as u64, steps: steps.clone(), usage };
                    log.append(&event)?;
                    Ok(steps)
                });
                match written {
                    Ok(steps) => {
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        done.0.insert(index as u64, steps);
                        let n_done = done.0.len();
                        (done.1)(n_done);
                    }
                    Err(error) => {
                        // In this order: what others report after the flag is not the cause.
                        let mut first = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        first.get_or_insert(error);
                        self.stop.store(true, Ordering::Relaxed);
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.config.in_flight.clamp(1, open.len().max(1)) {
                scope.spawn(work);
            }
        });
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let (done, _) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        all_of(done, questions.len())
    }

    /// Queries of the sub-questions of a question.
    fn question(
        &self,
        index: u64,
        question: &Question,
    ) -> Result<(Vec<StepQueries>, Usage), ReferenceQueriesError> {
        let mut usage = Usage::default();
        let mut all = Vec::with_capacity(question.evidence.steps.len());
        let stream =
            Stream { question: index, ..Stream::new(self.config.seed, Purpose::ReferenceQueries) };
        for (step_idx, step) in question.evidence.steps.iter().enumerate() {
            let seed = stream.at_turn(step_idx as u64).rng().next_u64();
            let written = self.write(&question.id, step, seed, &mut usage)?;
            all.push(match written {
                Ok(written) => {
                    let n_written = written.len();
                    let kept = self.keep(&question.id, step, written)?;
                    StepQueries { dropped: n_written - kept.len(), kept, refused: None }
                }
                Err(reason) => StepQueries { refused: Some(reason), ..StepQueries::default() },
            });
        }
        Ok((all, usage))
    }

    /// Queries as the model writes them; those that a sub-question has are kept. The inner error is
    /// that of one sub-question alone.
    fn write(
        &self,
        id: &str,
        step: &EvidenceStep,
        seed: u64,
        usage: &mut Usage,
    ) -> Result<Result<Vec<String>, String>, ReferenceQueriesError> {
        if !step.queries.is_empty() {
            return Ok(Ok(step.queries.clone()));
        }
        if step.question.trim().is_empty() {
            return Ok(Err("the sub-question has no text".to_owned()));
        }
        let Some(model) = self.model else {
            return Ok(Ok(vec![step.question.trim().to_owned()]));
        };
        let prompt = prompt(step, self.config.queries)?;
        let temperature = self.config.temperature;
        let request = ChatRequest { prompt: &prompt, temperature, stop: &[], seed };
        match model.reply(&request, usage) {
            Ok(reply) => {
                let text = whole_lines(&reply);
                match queries(text, &step.answer, self.config.queries) {
                    none if none.is_empty() => {
                        Ok(Err(format!("the model wrote no query: `{}`", beginning(&reply.text))))
                    }
                    written => Ok(Ok(written)),
                }
            }
            Err(error) if error.concern() == Concern::Request => Ok(Err(error.to_string())),
            Err(source) => Err(ReferenceQueriesError::Chat { id: id.to_owned(), source }),
        }
    }

    /// Those queries for which at least half of the engines find something.
    fn keep(
        &self,
        id: &str,
        step: &EvidenceStep,
        written: Vec<String>,
    ) -> Result<Vec<String>, ReferenceQueriesError> {
        let mut votes = vec![0; written.len()];
        let texts: Vec<&str> = written.iter().map(String::as_str).collect();
        for engine in self.engines {
            for (votes, found) in votes.iter_mut().zip(engine.search(&texts, self.config.depth)) {
                let hits = found.map_err(|source| ReferenceQueriesError::Search {
                    id: id.to_owned(),
                    source,
                })?;
                *votes += usize::from(self.config.found.is_in(&hits, step));
            }
        }
        let needed = self.engines.len().div_ceil(2);
        let kept = written.into_iter().zip(votes).filter(|&(_, votes)| votes >= needed);
        Ok(kept.map(|(query, _)| query).collect())
    }
}

impl Found {
    /// Whether hits have what is wanted for a sub-question.
    fn is_in(self, hits: &[Hit], step: &EvidenceStep) -> bool {
        let answer = step.answer.trim().to_lowercase();
        let has_answer = |text: &str| !answer.is_empty() && text.to_lowercase().contains(&answer);
        match self {
            Self::Any => !hits.is_empty(),
            Self::Gold => hits.iter().any(|hit| {
                step.passage_ids.contains(&hit.id)
                    || has_answer(&hit.title)
                    || has_answer(&hit.text)
            }),
        }
    }
}

/// Reply without the line that the limit on tokens cut off.
fn whole_lines(reply: &ChatReply) -> &str {
    let whole = reply.text.rsplit_once('\n').filter(|_| reply.cut_off);
    whole.map_or(reply.text.as_str(), |(whole, _)| whole)
}

/// Beginning of a text, for a message.
fn beginning(text: &str) -> String {
    text.trim().chars().take(60).collect()
}

/// The queries of all questions in their order.
fn all_of(
    done: BTreeMap<u64, Vec<StepQueries>>,
    n_questions: usize,
) -> Result<Vec<Vec<StepQueries>>, ReferenceQueriesError> {
    if done.len() < n_questions {
        return Err(ReferenceQueriesError::Interrupted);
    }
    Ok(done.into_values().collect())
}

/// Prompt for a sub-question.
fn prompt(step: &EvidenceStep, n: usize) -> Result<String, minijinja::Error> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    let values = context! {
        sub_question => step.question.trim(),
        answer => step.answer.trim(),
        n,
    };
    templates.render_str(PROMPT, values)
}

#[cfg(test)]
mod tests;
