//! LLM-as-a-judge reward: 1 for an answer that a language model judges to be correct, else 0.
//!
//! E-GRPO (arXiv 2510.24694) and SAGE (arXiv 2601.18202) reward answers like this. The judge is any
//! server with the chat completions of the `OpenAI` protocol: vLLM, `SGLang`, llama.cpp, or a
//! hosted service. It is shown the question, the golden answers and the answer, and nothing else of
//! the trajectory.
//!
//! # Options
//!
//! See [`Config`]. The prompt is a file with `{question}`, `{golden_answers}` and `{answer}`.
//! Default: `prompts/judge.txt`. Its hash is part of the key of every cached verdict and is written
//! to the log of the run.
//!
//! # Parts
//!
//! `right`, the verdict, and `em`, the exact match, to compare the judge with.
//!
//! # Failures
//!
//! - A reply without a verdict in its last line fails the trajectory, which is left out and does
//!   not count as incorrect.
//! - A judge that cannot be reached after all retries is a [`RewardError::broken`].
//!
//! # Departures
//!
//! - A missing answer, one with a tag of the agent loop inside, and one with more than `max_words`
//!   words are incorrect without a call of the judge: such answers could be prompt injections.
//! - The same answer is judged once. Verdicts are cached, because a grade must not change when a
//!   run is resumed, which temperature 0 alone does not guarantee.

#![forbid(unsafe_code)]

mod cache;

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use forage_reward_sdk::{http::Server, prelude::*, text};
use serde_json::{Value, json};

use cache::Cache;

/// Default prompt.
const PROMPT: &str = include_str!("../prompts/judge.txt");

/// Configuration of [`LlmJudge`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// URL of the server, including `/v1`.
    pub url: String,
    /// Name of the model.
    pub model: String,
    /// Environment variable with the API key. Default: no key.
    pub key_variable: Option<String>,
    /// File with the prompt. Default: `prompts/judge.txt`.
    pub prompt: Option<PathBuf>,
    /// File for the cache of verdicts. Default: a cache in memory, which is lost at the end of the
    /// run.
    pub cache: Option<PathBuf>,
    /// Maximum number of concurrent requests. Default: 8.
    #[serde(default = "eight")]
    pub concurrency: usize,
    /// Timeout of a request, in seconds. Default: 30.
    #[serde(default = "half_a_minute")]
    pub timeout_s: f64,
    /// Number of retries of a request. Default: 2.
    #[serde(default = "two")]
    pub retries: u32,
    /// Maximum number of tokens of a reply. Default: 200.
    #[serde(default = "two_hundred")]
    pub max_tokens: usize,
    /// Maximum number of words of an answer. Default: 64.
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

/// LLM-as-a-judge reward.
#[derive(Debug)]
pub struct LlmJudge {
    server: Server,
    model: String,
    prompt: String,
    max_tokens: usize,
    max_words: usize,
    cache: Cache,
    /// Number of requests that may be started now.
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
            .filter(|answer| !answer.is_empty() && !text::is_list(answer, golds, self.max_words));
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

    /// Judges all trajectories concurrently, and equal answers once.
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
            let judge = |trajectory| scope.spawn(move || self.score(question, trajectory));
            let judged: Vec<_> = asked.into_iter().map(judge).collect();
            judged
                .into_iter()
                .map(|handle| {
                    handle.join().unwrap_or_else(|_| Err(RewardError::broken("panicked")))
                })
                .collect()
        });
        let grade = |trajectory: &Trajectory| {
            let idx = answers.iter().position(|answer| *answer == trajectory.answer.as_deref());
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
    /// Prompt for an answer. Texts are quoted as JSON, so that none of them can leave its place.
    fn prompt_for(&self, question: &Question, answer: &str) -> String {
        let golds = json!(question.golden_answers).to_string();
        let parts = [
            ("{question}", json!(question.text).to_string()),
            ("{golden_answers}", golds),
            ("{answer}", json!(answer).to_string()),
        ];
        // One pass: placeholders in an answer are not replaced.
        let mut prompt = String::new();
        let mut rest = self.prompt.as_str();
        loop {
            let next = parts.iter().filter_map(|part| Some((rest.find(part.0)?, part))).min();
            let Some((at, (placeholder, text))) = next else { break };
            prompt += &rest[..at];
            prompt += text;
            rest = &rest[at + placeholder.len()..];
        }
        prompt + rest
    }

    /// Calls the judge, and caches the verdict.
    fn judge(&self, key: String, prompt: &str) -> Result<bool, RewardError> {
        let reply = self.ask(prompt)?;
        let last = reply.trim().lines().last().unwrap_or_default();
        let right = verdict(&reply)
            .ok_or_else(|| RewardError::new(format!("the judge gave no verdict: `{last}`")))?;
        self.cache.insert(key, right);
        Ok(right)
    }

    /// Sends a prompt to the judge, and returns its reply.
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

        let content = serde_json::from_str::<Value>(&reply?).ok().and_then(|completion| {
            Some(completion.pointer("/choices/0/message/content")?.as_str()?.to_owned())
        });
        content.ok_or_else(|| RewardError::broken("the judge replied with no chat completion"))
    }
}

/// Verdict in the last line of a reply; `None` if it has none.
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
