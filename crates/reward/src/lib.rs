//! Host of reward plugins: loads them, calls them, and combines their scores.
//!
//! The central type is [`Rewards`]: all rewards of a run file, combined as its [`Combination`]
//! says. [`Rewards::score_at`] turns the trajectories of one question into grades. A [`Plugin`] is
//! one loaded shared library with its configuration.
//!
//! The way of a plugin into a run: [`find_plugin`] says where its library is, [`copy_plugin`] puts a copy
//! into the run's folder and says its hash, [`Plugin::load`] opens the copy. So a rebuild does not
//! change a run that is under way, and a run can say later what scored it.
//!
//! This is the host's side of the boundary. What a plugin may count on stands in
//! [`forage_reward_abi`], what it is told in [`wire`]. This crate knows no reward itself.
//!
//! # Trust
//!
//! To open a library is to run its code, with all rights of the process: a plugin is no sandbox.
//! [`Plugin::load`] is a safe function all the same, as `std::process::Command` is: it takes a
//! program that the user chose to run. What the host can check, it checks: versions before the
//! first call, and counts and numbers of every answer.

mod combination;
mod convert;
mod error;
mod forward_compat;
mod gate;
mod library;
mod plugin;
mod rewards;
mod section;
mod workers;

pub use combination::{Combination, CombinationRule};
pub use convert::to_wire;
pub use error::{PluginError, PluginErrorKind};
#[doc(no_inline)]
pub use forage_reward_sdk::wire;
pub use gate::RewardGate;
pub use library::{PluginCopy, copy_plugin, find_plugin};
pub use plugin::Plugin;
pub use rewards::Rewards;
pub use section::{RewardSection, check_rewards};
