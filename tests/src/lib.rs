//! What the workspace tests share: fixtures, and the ways to drive what they test.

pub mod browser;
mod sample;

pub use sample::{HOSTILE, sample_run};
