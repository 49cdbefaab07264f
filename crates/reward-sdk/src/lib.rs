//! Write a reward as a plain Rust type; ship it as a shared library.
//!
//! A reward plugin is a crate of type `cdylib` with one type that implements [`Reward`] and one
//! line, [`export_reward!`]. The trainer loads it by name and calls it with the trajectories of one
//! question; it never sees a token id, a tensor or the trainer.
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
//!     /// Paid for each search that was not needed.
//!     toll: f64,
//! }
//!
//! /// A point for the right answer, less a toll for every search.
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
//! # What an answer can be
//!
//! A [`Grade`] has three values. [`Grade::Scored`] is a finite number with named parts, and a value
//! for each executed search where the reward has them. [`Grade::NotApplicable`] says that the
//! reward has no opinion of this question. [`Grade::Failed`] says that it could not be computed:
//! the trajectory is excluded from statistics and loss, and counted. An `Err` of
//! [`Reward::score`] is the same for its trajectory, an `Err` of [`Reward::score_group`] for the
//! whole group. A panic, or a [`RewardError::broken`], ends the run with an error that names the
//! plugin, unless the run file tolerates it.
//!
//! # Three versions
//!
//! - The **ABI** ([`forage_reward_abi`]) is the layout of what is exported, at 1.0. Its history is
//!   on the front page of that crate.
//! - The **wire** ([`WIRE_VERSION`]) is what the data means. Adding a field or a name is no new
//!   version: readers ignore what they do not know, and what is absent has a default.
//!   - **1** The first. Added since: [`Group::step`], with SDK 0.2.0.
//! - The **crate** version says which Rust API an author meets; it is shown in messages and never
//!   compared. A new one with the same ABI and wire loads old plugins.
//!   - **0.1.0** The first.
//!   - **0.2.0** [`Group`] has a field more, so literals of it end in `..Group::default()`. New:
//!     [`grammar`], [`Trajectory::clean_answer`], [`text::word_f1`], [`text::is_list`],
//!     [`RewardError::broken`], [`json`], [`info`], and `http` with the feature of that name. A
//!     panic in [`Reward::score`] names the trajectory.
//!   - **0.3.0** The texts of a [`Group`] are [`Text`]s where they were `String`s, and borrow from
//!     the request: a group costs less to read than to copy. `&Question` and `&Trajectory` are
//!     written as before, and `&[String]` is `&[Text]`. In literals, `.into()` makes one of a `&str`
//!     or a `String`. New: `into_owned`, for a plugin that keeps what it was told.
//!
//! # Where the `unsafe` is
//!
//! All of it is in one private module here. A plugin compiles under `#![forbid(unsafe_code)]`:
//! the exported static needs an attribute that this lint counts as unsafe, but rustc does not
//! report it inside the macro of another crate, whose author answers for it.

mod build;
mod export;
pub mod grammar;
#[cfg(feature = "http")]
pub mod http;
pub mod json;
pub mod text;
pub mod wire;

#[doc(hidden)]
pub use export::__private;
pub use wire::{
    Evidence, EvidenceStep, Grade, Group, Hit, Kind, NoConfig, Origin, Outcome, Passage, Question,
    Score, Search, Segment, Text, Trajectory, WIRE_VERSION,
};

/// Everything a plugin needs.
pub mod prelude {
    pub use serde::Deserialize;

    pub use crate::wire::{
        Evidence, EvidenceStep, Grade, Group, Hit, Kind, NoConfig, Origin, Outcome, Passage,
        Question, Score, Search, Segment, Text, Trajectory,
    };
    pub use crate::{Reward, RewardError, export_reward};
}

/// A rule that turns a finished trajectory into a number.
///
/// One instance is made for a run, and called from many threads at once. The same trajectory must
/// get the same grade every time, or a resumed run is another run.
pub trait Reward: Send + Sync + Sized + 'static {
    /// Read from the `config` table of the reward in the run file. Derive it with
    /// `#[serde(deny_unknown_fields)]`, so that a typo is an error.
    type Config: serde::de::DeserializeOwned;

    /// Builds the reward. An error is shown to the person who starts the run.
    fn new(config: Self::Config) -> Result<Self, RewardError>;

    /// Scores one trajectory.
    fn score(&self, question: &Question, trajectory: &Trajectory) -> Result<Grade, RewardError>;

    /// Scores all trajectories of one question, one grade each in their order. Override it when a
    /// score depends on the siblings.
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
}

/// Writes a warning to the trainer's log. Does nothing where there is no trainer, as in tests.
///
/// A plugin has its own copy of every static, so `tracing` in a plugin speaks to nobody: this is
/// the way through.
pub fn warn(message: &str) {
    __private::log(2, message);
}

/// Writes a note to the trainer's log, as [`warn`] writes a warning.
pub fn info(message: &str) {
    __private::log(3, message);
}

/// Why a reward could not be built or could not score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewardError {
    message: String,
    is_broken: bool,
}

impl RewardError {
    /// An error with a message for the person who runs the trainer. The trajectory, or the group,
    /// is excluded and counted; the run goes on.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_broken: false }
    }

    /// Something that will not mend itself, such as a program that is gone: the run ends with this
    /// message, unless the run file tolerates it.
    pub fn broken(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_broken: true }
    }

    /// Whether it was made by [`RewardError::broken`].
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
