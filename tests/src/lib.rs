//! What the workspace tests share: fixtures, and the ways to drive what they test.

mod binary;
pub mod browser;
mod model;
mod sample;

pub use binary::{Output, Scratch, end_of, forage, signal};
pub use model::{Shape, write_model};
pub use sample::{HOSTILE, sample_run};

/// A run file for the model of [`write_model`], in a world of its own. A run of it takes a second
/// or two and uses every part of training: searches, rewards that differ, steps that move.
pub const RUN_FILE: &str = r#"name = "tiny"
seed = 1

[model]
path = "model"

[world]
entities = { train = 120, dev = 60, test = 60 }
questions = { train = 30, dev = 4, test = 8 }

[rollout]
prompt = "Question: {question}\n"
max_searches = 2
top_k = 1
max_turn_tokens = 12
max_observation_tokens = 48
max_tokens = 320

[reward.format]
plugin = "format"

[optimizer]
lr = 3e-4
warmup_steps = 2

[training]
steps = 8
questions_per_step = 2
group_size = 6
micro_batch_tokens = 512
checkpoint_every = 2
save_trajectories_every = 3

[evaluation]
every = 3
"#;
