//! The program `forage`, as a library for its tests and examples.
//!
//! A command is a file of [`commands`]. It reads a [`RunFile`](run_file::RunFile), opens what the
//! file names ([`environment`], [`model`], [`plugins`]), hands it to the engine in
//! `forage_training`, and prints the results ([`output`], [`table`], [`transcript`], [`report`]).
//! Results go to standard output; progress and messages go to standard error.
//!
//! Every expected failure is a [`Failure`](exit_code::Failure) with a hint and one of the exit
//! codes of [`exit_code::Code`]. This is the only crate that reads a user's files, prints, or
//! exits.
//!
//! It knows no algorithm: losses and updates, the agent loop, ranking and the combination of
//! rewards are in the crates below.

// The command line and the run file.
pub mod commands;
mod effective_configuration;
pub mod run_file;
mod run_paths;

// What a run file names, opened.
pub mod checkpoint_target;
pub mod environment;
pub mod gold_passages;
pub mod inputs;
pub mod model;
pub mod plugins;
pub mod prompt;
pub mod questions;
pub mod search_engine;
pub mod text_file;

// Synthesis of questions.
pub mod synthesize;

// Tools of reward authors.
pub mod plugin_check;
pub mod reward_diff;
pub mod trajectory_files;

// Results, messages and signals.
pub mod exit_code;
pub mod interrupt;
mod manifest;
pub mod output;
pub mod progress;
pub mod report;
pub mod table;
pub mod transcript;
