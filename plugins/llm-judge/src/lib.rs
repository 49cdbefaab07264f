//! A point for an answer that a language model finds right.
//!
//! As E-GRPO (arXiv 2510.24694) and SAGE (arXiv 2601.18202) reward answers. The judge is any server
//! with the chat completions of the `OpenAI` protocol: vLLM, `SGLang`, llama.cpp, or a service. It
//! is shown question, golden answers and answer, and nothing else of the trajectory.
//!
//! # Options
//!
//! [`Config`] has them. The prompt is a file with `{question}`, `{golden_answers}` and `{answer}`;
//! without one, `prompts/judge.txt` is used. Its hash is part of the key of every cached verdict
//! and stands in the run's log.
//!
//! # Parts
//!
//! `right`, and `em`, exact match, to see how far the judge is from it.
//!
//! # Failures
//!
//! - A judge that replies, but whose last line is no verdict, fails the trajectory: it is excluded,
//!   and not wrong.
//! - A judge that cannot be asked, after all retries, is [`RewardError::broken`].
//!
//! # Departures
//!
//! - No answer, one with a tag of the grammar inside, and one of more than `max_words` are wrong,
//!   and nobody is asked: they are where a policy would talk to the judge.
//! - The same answer is judged once: verdicts are cached, since a grade must not change when a run
//!   is resumed. Temperature 0 alone does not see to that.

#![forbid(unsafe_code)]

mod cache;

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use forage_reward_sdk::{http::Server, prelude::*, text};
use serde_json::{Value, json};

use cache::Cache;

const PROMPT: &str = include_str!("../prompts/judge.txt");

/// Configuration of [`LlmJudge`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The server, up to and with its `/v1`.
    pub url: String,
    /// The model to ask for.
    pub model: String,
    /// The variable of the environment that holds the key, where the server wants one.
    pub key_variable: Option<String>,
    /// A file with the prompt.
    pub prompt: Option<PathBuf>,
    /// A file for verdicts; without it they are forgotten with the run.
    pub cache: Option<PathBuf>,
    /// Questions to the judge at a time.
    #[serde(default = "eight")]
    pub concurrency: usize,
    /// Seconds for one question.
    #[serde(default = "half_a_minute")]
    pub timeout_s: f64,
    /// How often a question is asked again where the server fails.
    #[serde(default = "two")]
    pub retries: u32,
    /// Tokens that the judge may write.
    #[serde(default = "two_hundred")]
    pub max_tokens: usize,
    /// Words of an answer that is no list.
    #[serde(default = "sixty_four")]
    pub max_words: usize,
}

fn eight() -> usize {
    8
}

fn half_a_minute() -> f64 {
    30.0
}

fn two() -> u32 {
    2
}

fn two_hundred() -> usize {
    200
}

fn sixty_four() -> usize {
    64
}

/// A point for an answer that a language model finds right.
#[derive(Debug)]
pub struct LlmJudge {
    server: Server,
    model: String,
    prompt: String,
    max_tokens: usize,
    max_words: usize,
    cache: Cache,
    /// Questions that may be asked now.
    free: Mutex<usize>,
    freed: Condvar,
}

impl Reward for LlmJudge {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        let wrong = |message: String| Err(RewardError::new(message));
        let url = config.url.trim_end_matches('/');
        let mut server = Server::new(url, config.timeout_s, config.retries)?;
        if config.concurrency == 0 {
            return wrong("`concurrency` is 0".to_owned());
        }
        if let Some(variable) = &config.key_variable {
            match std::env::var(variable) {
                Ok(key) => server = server.with_header("Authorization", &format!("Bearer {key}")),
                Err(err) => return wrong(format!("`key_variable` is `{variable}`: {err}")),
            }
        }
        let prompt = match &config.prompt {
            None => PROMPT.to_owned(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|err| RewardError::new(format!("prompt `{}`: {err}", path.display())))?,
        };
        for placeholder in ["{question}", "{golden_answers}", "{answer}"] {
            if !prompt.contains(placeholder) {
                return wrong(format!("the prompt has no `{placeholder}`"));
            }
        }
        let cache = config.cache.as_deref().map_or_else(|| Ok(Cache::in_memory()), Cache::open)?;
        let hash = blake3::hash(prompt.as_bytes()).to_hex();
        forage_reward_sdk::info(&format!("judge `{}`, prompt {}", config.model, &hash[..16]));
        Ok(Self {
            server,
            model: config.model,
            prompt,
            max_tokens: config.max_tokens,
            max_words: config.max_words,
            cache,
            free: Mutex::new(config.concurrency),
            freed: Condvar::new(),
        })
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        let golds = &question.golden_answers;
        if golds.is_empty() {
            return Ok(Grade::NotApplicable);
        }
        let answer = it
            .clean_answer()
            .filter(|it| !it.is_empty() && !text::is_list(it, golds, self.max_words));
        let Some(answer) = answer else {
            return Score::new(0.0).part("right", 0.0).part("em", 0.0).into();
        };
        let prompt = self.prompt_for(question, answer);
        let key = blake3::hash(format!("{}\0{prompt}", self.model).as_bytes()).to_hex().to_string();
        let right = match self.cache.get(&key) {
            Some(right) => right,
            None => self.judge(key, &prompt)?,
        };
        let right = f64::from(u8::from(right));
        let em = text::exact_match(answer, golds);
        Score::new(right).part("right", right).part("em", em).into()
    }

    /// Asks for all trajectories at once, and for equal answers once.
    fn score_group(&self, group: &Group) -> Result<Vec<Grade>, RewardError> {
        let question = &group.question;
        let mut answers: Vec<Option<&str>> = Vec::new();
        let mut asked: Vec<&Trajectory> = Vec::new();
        for it in &group.trajectories {
            if !answers.contains(&it.answer.as_deref()) {
                answers.push(it.answer.as_deref());
                asked.push(it);
            }
        }
        let grades: Vec<Result<Grade, RewardError>> = thread::scope(|scope| {
            let judge = |it| scope.spawn(move || self.score(question, it));
            let judged: Vec<_> = asked.into_iter().map(judge).collect();
            judged
                .into_iter()
                .map(|it| it.join().unwrap_or_else(|_| Err(RewardError::broken("panicked"))))
                .collect()
        });
        let grade = |it: &Trajectory| {
            let idx = answers.iter().position(|answer| *answer == it.answer.as_deref());
            match &grades[idx.expect("every answer was asked for")] {
                Ok(grade) => Ok(grade.clone()),
                Err(err) if err.is_broken() => Err(err.clone()),
                Err(err) => Ok(Grade::Failed(err.to_string())),
            }
        };
        group.trajectories.iter().map(grade).collect()
    }
}

impl LlmJudge {
    /// Texts are quoted as JSON, so that none of them can end where it likes.
    fn prompt_for(&self, question: &Question, answer: &str) -> String {
        let golds = json!(question.golden_answers).to_string();
        let parts = [
            ("{question}", json!(question.text).to_string()),
            ("{golden_answers}", golds),
            ("{answer}", json!(answer).to_string()),
        ];
        // One pass: what stands in an answer is not filled in again.
        let mut prompt = String::new();
        let mut rest = self.prompt.as_str();
        loop {
            let next = parts.iter().filter_map(|it| Some((rest.find(it.0)?, it))).min();
            let Some((at, (placeholder, text))) = next else { break };
            prompt += &rest[..at];
            prompt += text;
            rest = &rest[at + placeholder.len()..];
        }
        prompt + rest
    }

    /// Asks, and keeps the verdict.
    fn judge(&self, key: String, prompt: &str) -> Result<bool, RewardError> {
        let reply = self.ask(prompt)?;
        let last = reply.trim().lines().last().unwrap_or_default();
        let right = verdict(&reply)
            .ok_or_else(|| RewardError::new(format!("the judge gave no verdict: `{last}`")))?;
        self.cache.insert(key, right);
        Ok(right)
    }

    fn ask(&self, prompt: &str) -> Result<String, RewardError> {
        let body = json!({
            "model": self.model,
            "messages": [{ "role": "user", "content": prompt }],
            "temperature": 0,
            "max_tokens": self.max_tokens,
        });
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        drop(free);
        let reply = self.server.post("/chat/completions", &body.to_string());
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();

        let content = serde_json::from_str::<Value>(&reply?)
            .ok()
            .and_then(|it| Some(it.pointer("/choices/0/message/content")?.as_str()?.to_owned()));
        content.ok_or_else(|| RewardError::broken("the judge replied with no chat completion"))
    }
}

/// What the last line says; `None` where it is no verdict.
fn verdict(reply: &str) -> Option<bool> {
    let last = reply.trim().lines().last()?.to_lowercase();
    let plain = last.trim_matches(|c: char| !c.is_alphanumeric());
    match plain.strip_prefix("verdict")?.trim_matches(|c: char| !c.is_alphanumeric()) {
        "right" => Some(true),
        "wrong" => Some(false),
        _ => None,
    }
}

export_reward!(LlmJudge);

#[cfg(test)]
mod tests;
