//! Commands of the program, one file each: its arguments, and `run`.
//!
//! The doc comments of the arguments are the text of `--help`.

pub mod chat;
pub mod check;
pub mod corpus;
pub mod data;
pub mod eval;
pub mod eval_retrieval;
pub mod export;
pub mod index;
pub mod quickstart;
pub mod report;
pub mod reward;
pub mod search;
pub mod serve;
pub mod sft;
pub mod synthesize;
pub mod train;
pub mod world;
