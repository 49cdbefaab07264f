//! SDK for reward plugins: a reward is a plain Rust type, built as a shared library.
//!
//! The central item is the trait [`Reward`]. A plugin is a crate of type `cdylib` with one type
//! that implements it and one line, [`export_reward!`]. The host, the
//! program `forage`, loads the library by name and calls it with the trajectories of one question.
//! A plugin does not depend on token ids, tensors or the host.
//!
//! ```
//! #![forbid(unsafe_code)]
//!
//! use forage_reward_sdk::{prelude::*, text};
//!
//! /// Read from `[reward.NAME.config]` of the run file.
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// Cost of a search.
//!     toll: f64,
//! }
//!
//! /// Exact match of the answer, minus a cost for every search.
//! struct Frugal(Config);
//!
//! impl Reward for Frugal {
//!     type Config = Config;
//!
//!     fn new(config: Config) -> Result<Self, RewardError> {
//!         Ok(Self(config))
//!     }
//!
//!     fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
//!         let answer = it.answer.as_deref().unwrap_or_default();
//!         let em = text::exact_match(answer, &question.golden_answers);
//!         let toll = self.0.toll * it.searches.len() as f64;
//!         Score::new(em - toll).part("em", em).part("toll", toll).into()
//!     }
//! }
//!
//! export_reward!(Frugal);
//!
//! # fn main() {
//! let reward = Frugal(Config { toll: 0.25 });
//! let question = Question::new("who directed Alien?", ["Ridley Scott"]);
//! let trajectory = Trajectory::default().search("Alien", []).answer("ridley scott");
//! let grade = reward.score(&question, &trajectory).unwrap();
//! assert_eq!(grade.reward(), Some(0.75));
//! # }
//! ```
//!
//! # Grades
//!
//! A [`Grade`] is one of three:
//!
//! - [`Grade::Scored`]: a finite number with named parts and, if the reward has them, a step reward
//!   for each executed search.
//! - [`Grade::NotApplicable`]: the reward does not apply to this question.
//! - [`Grade::Failed`]: the score could not be computed. The trajectory is left out of the
//!   statistics of its group and out of the loss, and counted.
//!
//! An `Err` of [`Reward::score`] fails its trajectory, an `Err` of [`Reward::score_group`] the
//! whole group. A panic or a [`RewardError::broken`] ends the run with an error that names the
//! plugin, unless the run file tolerates it.
//!
//! # Applicability
//!
//! [`Reward::applicability`] says what a question lacks for a reward, before anything was played:
//! the host asks it of all questions of a run, and refuses a run in which a reward applies to none.
//!
//! # Versions
//!
//! - The **ABI version** ([`forage_reward_abi`]) is that of the exported layout: 1.0. Its history
//!   is on the front page of that crate.
//! - The **wire version** ([`WIRE_VERSION`]) is that of the data. A new field or name is no new
//!   version: readers ignore what they do not know, and absent fields have defaults.
//!   - **1** The first. Added since: [`Group::step`], with SDK 0.2.0; [`Evidence::aliases`] and the
//!     request for the [`Applicability`] to questions, with SDK 0.4.0.
//! - The **crate version** is that of the Rust API. It is shown in messages and never compared: a
//!   host loads plugins of other crate versions with the same ABI and wire version.
//!   - **0.1.0** The first.
//!   - **0.2.0** [`Group`] has one more field, so literals of it end in `..Group::default()`. New:
//!     [`grammar`], [`Trajectory::clean_answer`], [`text::word_f1`], [`text::is_list`],
//!     [`RewardError::broken`], [`json`], [`info`], and `http` with the feature of that name. A
//!     panic in [`Reward::score`] names the trajectory.
//!   - **0.3.0** The texts of a [`Group`] are [`Text`]s instead of `String`s and borrow from the
//!     request, which saves a copy. `&Question` and `&Trajectory` are written as before, and
//!     `&[String]` is `&[Text]`. In literals, `.into()` converts a `&str` or a `String`. New:
//!     `into_owned`, for a plugin that keeps data of a request.
//!   - **0.4.0** Answers are compared as the page of [`text`] says: characters that look the same
//!     are the same, and no golden answer equals an answer of nothing. [`text::squad`] has the rule
//!     of the official scripts. [`text::n_words`] counts words that stand without spaces.
//!     [`grammar::is_block`] accepts a thought that the prompt opened. [`Evidence`] has one more
//!     field, so literals of it end in `..Evidence::default()`. New: [`Reward::applicability`],
//!     [`grammar::is_valid`], [`text::fold`], [`text::comparable`], [`text::mark_numbers`], and
//!     `judge` with the feature of that name.
//!
//! # Where the `unsafe` is
//!
//! All of it is in one private module of this crate. A plugin compiles under
//! `#![forbid(unsafe_code)]`: the exported static needs an attribute that this lint counts as
//! unsafe, but rustc does not report it inside the macro of another crate.

mod build;
mod export;
pub mod grammar;
#[cfg(feature = "http")]
pub mod http;
pub mod json;
#[cfg(feature = "judge")]
pub mod judge;
pub mod text;
pub mod wire;

#[doc(hidden)]
pub use export::__private;
pub use wire::{
    Applicability, Evidence, EvidenceStep, Extent, Grade, Group, Hit, Kind, NoConfig, Origin,
    Outcome, Passage, Question, Score, Search, Segment, Text, Trajectory, WIRE_VERSION,
};

/// Prelude: everything that a simple plugin imports.
pub mod prelude {
    pub use serde::Deserialize;

    pub use crate::wire::{
        Applicability, Evidence, EvidenceStep, Extent, Grade, Group, Hit, Kind, NoConfig, Origin,
        Outcome, Passage, Question, Score, Search, Segment, Text, Trajectory,
    };
    pub use crate::{Reward, RewardError, export_reward};
}

/// Reward function: turns a finished trajectory into a grade.
///
/// There is one instance for a run, which is called from many threads at once. The same trajectory
/// must get the same grade every time, so that a resumed run repeats the numbers of one that was
/// never interrupted.
pub trait Reward: Send + Sync + Sized + 'static {
    /// Configuration of the reward, read from its `config` table in the run file. Derive it with
    /// `#[serde(deny_unknown_fields)]`, so that a typo is an error.
    type Config: serde::de::DeserializeOwned;

    /// Creates the reward.
    ///
    /// # Errors
    ///
    /// An invalid configuration. The message is shown to the user.
    fn new(config: Self::Config) -> Result<Self, RewardError>;

    /// Scores one trajectory.
    ///
    /// # Errors
    ///
    /// A score that cannot be computed: see [`RewardError`].
    fn score(&self, question: &Question, trajectory: &Trajectory) -> Result<Grade, RewardError>;

    /// Scores a group, all trajectories of one question: one grade for each, in their order.
    ///
    /// Override it if a score depends on the other trajectories of the group. Default: each
    /// trajectory by [`Reward::score`].
    ///
    /// # Errors
    ///
    /// Scores that cannot be computed: see [`RewardError`].
    fn score_group(&self, group: &Group) -> Result<Vec<Grade>, RewardError> {
        let grade = |trajectory: &Trajectory| {
            let score = || self.score(&group.question, trajectory);
            match __private::of_member(trajectory.member, score) {
                Err(err) if !err.is_broken => Ok(Grade::Failed(err.message)),
                scored => scored,
            }
        };
        group.trajectories.iter().map(grade).collect()
    }

    /// Applicability to a question: what it lacks for this reward, if anything.
    ///
    /// It is asked of every question before a run, so it calls no server. Where it is
    /// [`Extent::None`], each trajectory of the question is graded [`Grade::NotApplicable`]. Default:
    /// unknown.
    fn applicability(&self, question: &Question) -> Applicability {
        let _ = question;
        Applicability::default()
    }
}

/// Logs a warning in the host. It does nothing without a host, as in tests.
///
/// A plugin has its own copy of every static, so `tracing` has no subscriber in a plugin and its
/// messages are lost.
pub fn warn(message: &str) {
    __private::log(2, message);
}

/// Logs an informational message in the host: see [`warn`].
pub fn info(message: &str) {
    __private::log(3, message);
}

/// Error of a reward: it could not be created or could not score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewardError {
    message: String,
    is_broken: bool,
}

impl RewardError {
    /// Recoverable error, with a message for the user of the host. The trajectory or the group is
    /// left out of the loss and counted, and the run goes on.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_broken: false }
    }

    /// Permanent error, such as a program that has exited. The run ends with this message, unless
    /// the run file tolerates it.
    pub fn broken(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_broken: true }
    }

    /// Whether the error is permanent: see [`RewardError::broken`].
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }
}

impl std::fmt::Display for RewardError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RewardError {}
