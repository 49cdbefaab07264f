//! `forage chat`: asks the agent questions and prints the transcripts.

use std::io::{BufRead, IsTerminal};

use anyhow::Result;
use forage_rollout::{RolloutTask, run_episodes};
use forage_training::record::{GradeRecord, GroupRecord};
use forage_training::rollout_step::generator;
use forage_trajectory::{Group, Purpose, Question, Stream};

use crate::checkpoint_target::{CheckpointTarget, TargetArgs};
use crate::commands::eval::sampling;
use crate::exit_code::{Code, Failure};
use crate::model::device_of;
use crate::output::{print_line, prompt};
use crate::transcript;

/// Ask the agent questions, one on each line of standard input.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, configuration and search engine.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Sample at this temperature instead of decoding greedily.
    #[arg(long)]
    pub temperature: Option<f32>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let target = CheckpointTarget::open(&args.target)?;
    let (decoder, tokenizer) = target.open_model(&device_of(&target.config)?)?;
    let retriever = target.open_retriever()?;
    let mut generator = generator(decoder, tokenizer, target.config.model.cache_tokens);
    let sampling = sampling(args.temperature)?;
    let terminal = std::io::stdin().is_terminal();
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (mut n_asked, mut n_failed) = (0, 0);
    loop {
        if terminal {
            prompt("question> ");
        }
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let question = Question {
            id: n_asked.to_string(),
            text: line.trim().to_owned(),
            ..Question::default()
        };
        let stream = Stream::new(target.config.seed, Purpose::Chat).of_member(n_asked, 0);
        let task = RolloutTask { question: &question, member: 0, stream };
        let trajectories =
            run_episodes(&mut generator, &retriever, &target.config.rollout, &[task], sampling)?;
        n_asked += 1;
        n_failed += trajectories.iter().filter(|one| one.failed()).count() as u64;
        let record = GroupRecord {
            step: 0,
            split: "chat".to_owned(),
            group: Group { question, trajectories },
            grades: vec![GradeRecord::default()],
        };
        if !print_line(transcript::render(&record, 0, color, 100))? {
            break;
        }
    }
    // A transcript tells of each; a program that asks reads the exit code.
    if n_asked > 0 && n_failed == n_asked {
        return Err(Failure::new(Code::Input, "no question was answered: every search failed")
            .hint("ask again when the search engine answers")
            .into());
    }
    Ok(())
}
