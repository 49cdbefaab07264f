//! Process reward: a program in any language scores groups, one line of JSON each.
//!
//! The lines follow the JSON protocol of [`forage_reward_sdk::json`]. The program is started when
//! it is first needed and then reads one group after the other. With `workers` above 1, several
//! instances of it run in parallel.
//!
//! # Options
//!
//! `command`, `workers`, `timeout_s`: see [`Config`].
//!
//! # Failures
//!
//! A program that cannot be started, exits, exceeds its timeout, or writes an invalid reply is a
//! [`RewardError::broken`]: the run ends, unless the run file tolerates it. A program that cannot
//! score a single trajectory replies `{"failed": "reason"}` for it, and only that trajectory is
//! left out.

#![forbid(unsafe_code)]

mod worker;

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use forage_reward_sdk::{json, prelude::*};

use worker::Worker;

/// Configuration of [`Process`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Program and its arguments.
    pub command: Vec<String>,
    /// Number of instances that run in parallel. Default: 1.
    #[serde(default = "one")]
    pub workers: usize,
    /// Timeout for scoring one group, in seconds. Default: 30.
    #[serde(default = "half_a_minute")]
    pub timeout_s: f64,
}

fn one() -> usize {
    1
}

fn half_a_minute() -> f64 {
    30.0
}

/// Process reward.
#[derive(Debug)]
pub struct Process {
    command: Vec<String>,
    timeout: Duration,
    /// Idle workers; `None` stands for one that has not been started yet.
    idle: Mutex<Vec<Option<Worker>>>,
    returned: Condvar,
}

impl Reward for Process {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        let Config { command, workers, timeout_s } = config;
        let Some(program) = command.first() else {
            return Err(RewardError::new("`command` is empty: it names a program"));
        };
        worker::find(program).map_err(|what| {
            RewardError::new(format!("`command`: the program `{program}` {what}"))
        })?;
        if workers == 0 {
            return Err(RewardError::new("`workers` is 0"));
        }
        let timeout = Duration::try_from_secs_f64(timeout_s)
            .ok()
            .filter(|it| !it.is_zero())
            .ok_or_else(|| RewardError::new("`timeout_s` must be a time above 0"))?;
        let idle = Mutex::new((0..workers).map(|_| None).collect());
        Ok(Self { command, timeout, idle, returned: Condvar::new() })
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        let alone =
            Group { question: question.clone(), trajectories: vec![it.clone()], step: None };
        let mut grades = self.score_group(&alone)?;
        grades.pop().ok_or_else(|| RewardError::broken("no grade for a group of one"))
    }

    fn score_group(&self, group: &Group) -> Result<Vec<Grade>, RewardError> {
        let idle = self.borrow();
        let (worker, grades) = match self.ask(idle, group) {
            Ok((worker, grades)) => (Some(worker), Ok(grades)),
            // It is not used again: its next line could be the reply to this request.
            Err(err) => (None, Err(err)),
        };
        self.give_back(worker);
        grades
    }
}

impl Process {
    fn ask(
        &self,
        idle: Option<Worker>,
        group: &Group,
    ) -> Result<(Worker, Vec<Grade>), RewardError> {
        let broken = |what: String| {
            RewardError::broken(format!("the program `{}` {what}", self.command.join(" ")))
        };
        let mut worker = match idle {
            Some(worker) => worker,
            None => Worker::start(&self.command).map_err(broken)?,
        };
        let reply = worker.ask(&json::request(group), self.timeout).map_err(broken)?;
        let grades =
            json::reply_to(group, &reply).map_err(|err| broken(format!("wrote: {err}")))?;
        Ok((worker, grades))
    }

    fn borrow(&self) -> Option<Worker> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(worker) = idle.pop() {
                return worker;
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, worker: Option<Worker>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        self.returned.notify_one();
    }
}

export_reward!(Process);

#[cfg(test)]
mod tests;
