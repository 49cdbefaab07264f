//! The loop with scripted parts: algorithms.md 6.3, leaks, resuming after kills, and what feedback
//! is worth.

mod feedback;
mod kills;
mod rules;
mod script;
