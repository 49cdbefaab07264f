//! Test double that breaks the contract of a plugin, in the way that its configuration names.
//!
//! The README describes the modes. It is the only plugin with `unsafe` code of its own, because the
//! SDK cannot send an invalid reply.

#![expect(unsafe_code, reason = "answers with bytes that the SDK would never send")]

use std::ffi::c_void;
use std::time::Duration;

use forage_reward_abi::{Bytes, PluginDecl, Sink, Status};
use forage_reward_sdk::__private::{Exported, declare};
use forage_reward_sdk::prelude::*;

/// Mode of misbehaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Panics for a trajectory.
    Panic,
    /// Panics for the group and not for a single trajectory.
    PanicGroup,
    /// Returns a reward that is not a number.
    Nan,
    /// Returns a part that is infinite.
    Part,
    /// Returns a step reward that is not a number.
    Step,
    /// Returns one step reward too many.
    Steps,
    /// Returns no grades.
    Short,
    /// Returns one grade too many.
    Long,
    /// Returns bytes that are no grades.
    Garbage,
    /// Never returns.
    Loop,
    /// Leaks some memory in every call.
    Leak,
    /// Ends the process from another thread.
    Abort,
    /// Returns an error for each trajectory with a member above 0.
    Error,
    /// Returns an error for the group.
    GroupError,
    /// Returns not applicable.
    NotApplicable,
    /// Behaves well: logs a warning, and returns a reward and the same step reward for each search.
    Fine,
    /// Panics when it is dropped.
    Drop,
}

/// Configuration of [`Misbehaving`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    mode: Mode,
    /// Reward when it behaves well. Default: 0.
    #[serde(default)]
    reward: f64,
    /// Identifier of the only question for which it misbehaves. Default: all questions.
    only: Option<String>,
}

/// Test double that misbehaves.
#[derive(Debug)]
pub struct Misbehaving(Config);

impl Misbehaving {
    fn mode(&self, question: &Question) -> Mode {
        match &self.0.only {
            Some(id) if question.id != *id => Mode::Fine,
            _ => self.0.mode,
        }
    }
}

impl Reward for Misbehaving {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        Ok(Self(config))
    }

    fn score(&self, question: &Question, trajectory: &Trajectory) -> Result<Grade, RewardError> {
        let n_searches = trajectory.searches.len();
        match self.mode(question) {
            Mode::Panic => panic!("no such key: {:?}", Mode::Panic),
            Mode::Nan => Score::new(f64::NAN).into(),
            Mode::Part => Score::new(0.0).part("p", f64::INFINITY).into(),
            Mode::Step => Score::new(0.0).steps(vec![f64::NAN; n_searches]).into(),
            Mode::Steps => Score::new(0.0).steps(vec![0.0; n_searches + 1]).into(),
            Mode::Error if trajectory.member > 0 => Err(RewardError::new("the judge is away")),
            Mode::NotApplicable => Ok(Grade::NotApplicable),
            _ => {
                forage_reward_sdk::warn("all is well");
                let reward = self.0.reward;
                Score::new(reward).part("p", reward).steps(vec![reward; n_searches]).into()
            }
        }
    }

    fn score_group(&self, group: &Group) -> Result<Vec<Grade>, RewardError> {
        let mode = self.mode(&group.question);
        match mode {
            Mode::Short => return Ok(Vec::new()),
            Mode::GroupError => return Err(RewardError::new("the judge is away")),
            Mode::PanicGroup => panic!("no such group"),
            Mode::Loop => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
            Mode::Leak => {
                Box::leak(vec![1_u8; 1024].into_boxed_slice());
            }
            Mode::Abort => {
                let aborting = std::thread::spawn(|| std::process::abort());
                // The other thread never ends in a way that could be joined.
                drop(aborting.join());
            }
            _ => {}
        }
        let grade = |trajectory: &Trajectory| {
            let score = || self.score(&group.question, trajectory);
            let graded = forage_reward_sdk::__private::of_member(trajectory.member, score);
            graded.unwrap_or_else(|err| Grade::Failed(err.to_string()))
        };
        let mut grades: Vec<Grade> = group.trajectories.iter().map(grade).collect();
        if mode == Mode::Long {
            grades.push(Grade::NotApplicable);
        }
        Ok(grades)
    }
}

impl Drop for Misbehaving {
    fn drop(&mut self) {
        assert!(self.0.mode != Mode::Drop, "dropped");
    }
}

impl Exported for Misbehaving {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
}

const HONEST: PluginDecl = declare::<Misbehaving>();

#[unsafe(no_mangle)]
static FORAGE_REWARD_PLUGIN: PluginDecl = PluginDecl { score, ..HONEST };

unsafe extern "C" fn score(instance: *const c_void, request: Bytes, sink: Sink) -> Status {
    // SAFETY: `instance` came from the `create` of this declaration.
    let double = unsafe { &*instance.cast::<Misbehaving>() };
    if double.0.mode == Mode::Garbage {
        // SAFETY: this is the sink of this call.
        unsafe { (sink.write)(sink.ctx, Bytes::new(&[0xc1, 0x00, 0xff])) };
        return Status::OK;
    }
    // SAFETY: the arguments are those of this call.
    unsafe { (HONEST.score)(instance, request, sink) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misbehaves_for_one_question_only() {
        let config = Config { mode: Mode::Nan, reward: 0.5, only: Some("other".to_owned()) };
        let double = Misbehaving::new(config).unwrap();
        let question = Question::new("?", []);
        let reward = |question: &Question| {
            double.score(question, &Trajectory::default()).unwrap().reward().unwrap()
        };
        assert!((reward(&question) - 0.5).abs() < f64::EPSILON);
        assert!(reward(&Question { id: "other".into(), ..question }).is_nan());
    }
}
