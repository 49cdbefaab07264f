//! Host of reward plugins: loads them, calls them, and combines their scores.
//!
//! The central type is [`Rewards`]: all rewards of a run file, combined as its [`Combination`]
//! says. [`Rewards::score_at`] turns the trajectories of one question into grades. A [`Plugin`] is
//! one loaded shared library with its configuration.
//!
//! How a plugin gets into a run: [`find_plugin`] finds its library, [`copy_plugin`] copies it into
//! the folder of the run and returns its hash, and [`Plugin::load`] opens the copy. So a rebuild
//! does not change a run that has started, and the run records which libraries scored it.
//!
//! This is the side of the host. The binary contract is in [`forage_reward_abi`], the data that
//! plugins are sent in [`wire`]. This crate contains no reward and knows none.
//!
//! # Trust
//!
//! Opening a library runs its code with all rights of the process: there is no sandbox.
//! [`Plugin::load`] is a safe function nevertheless, like `std::process::Command`: it takes a
//! program that the user chose to run. The host checks what it can: versions before the first call,
//! and the number and values of the grades of every reply.

mod applicability;
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

pub use applicability::RewardApplicability;
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
