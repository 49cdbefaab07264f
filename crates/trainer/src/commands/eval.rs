//! `forage eval`: exact match and F1 of a model, or of the scripted baseline.

use std::path::PathBuf;

use anyhow::Result;
use forage_rollout::RolloutConfig;
use forage_rollout::scripted::{Bytes, ScriptedPolicy, baseline};
use forage_trajectory::{Policy, Question, Sampling};

use crate::evaluate::{play_all, summarize};
use crate::failure::{Code, Failure};
use crate::model::{device_of, generator};
use crate::output::print;
use crate::progress::Progress;
use crate::run_folder::unwritable;
use crate::target::{self, Target};
use crate::{record::GroupRecord, table};

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Who {
    /// The model.
    Model,
    /// No model: the question is the query, the title of the best passage the answer.
    Scripted,
}

/// Evaluate a model on held-out questions.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to play with.
    #[command(flatten)]
    pub target: target::Args,
    /// Question file; the target's test questions where it is not given.
    #[arg(long)]
    pub questions: Option<PathBuf>,
    /// Ask the first N questions only.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Who answers.
    #[arg(long, value_enum, default_value_t = Who::Model)]
    pub policy: Who,
    /// Sample at this temperature instead of decoding greedily.
    #[arg(long)]
    pub temperature: Option<f32>,
    /// Write the evaluation as JSON and its trajectories beside it, into this folder.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let target = Target::open(&args.target)?;
    let sampling = sampling(args.temperature)?;
    let mut questions = target.questions(args.questions.as_deref())?;
    questions.truncate(args.limit.unwrap_or(usize::MAX));
    let retriever = target.open_retriever()?;
    let mut policy = policy(args, &target, &questions)?;
    let mut progress = Progress::new("evaluating", 0, questions.len() as u64);
    let seed = target.config.seed;
    let rollout = rollout(args.policy, &target.config.rollout);
    let played =
        play_all(&mut *policy, &retriever, &rollout, &questions, sampling, seed, |done| {
            progress.set(done as u64, "");
        })?;
    progress.finish();
    let name = args.questions.as_ref().map_or("test".into(), |it| it.display().to_string());
    let evaluation = summarize(0, sampling, &name, &questions, &played, seed);
    print(&table::of_one(&evaluation))?;
    if let Some(out) = &args.out {
        let split = if sampling == Sampling::Greedy { "greedy" } else { "sampled" };
        let records: Vec<GroupRecord> = questions
            .iter()
            .zip(played)
            .map(|(question, it)| it.record(0, split, question))
            .collect();
        let write = || -> Result<()> {
            std::fs::create_dir_all(out)?;
            std::fs::write(out.join("evaluation.json"), serde_json::to_vec_pretty(&evaluation)?)?;
            let mut lines = Vec::new();
            for record in &records {
                serde_json::to_writer(&mut lines, record)?;
                lines.push(b'\n');
            }
            std::fs::write(
                out.join("trajectories.jsonl.zst"),
                zstd::encode_all(lines.as_slice(), 3)?,
            )?;
            Ok(())
        };
        write().map_err(|err| err.context(unwritable(out)))?;
    }
    Ok(())
}

/// Greedy decoding, or the temperature that was asked for.
pub(crate) fn sampling(temperature: Option<f32>) -> Result<Sampling> {
    match temperature {
        None => Ok(Sampling::Greedy),
        Some(it) if it.is_finite() && it > 0.0 => Ok(Sampling::Temperature(it)),
        Some(it) => Err(Failure::new(Code::Usage, format!("the temperature {it} is not positive"))
            .hint("leave `--temperature` out for greedy decoding")
            .into()),
    }
}

/// How an episode is played. The limits of a run file count a model's tokens, and the scripted
/// policy writes bytes: it plays without, and without the chat template of a model.
fn rollout(who: Who, config: &RolloutConfig) -> RolloutConfig {
    match who {
        Who::Model => config.clone(),
        Who::Scripted => RolloutConfig {
            chat: false,
            system: None,
            max_turn_tokens: usize::MAX,
            max_observation_tokens: usize::MAX,
            max_tokens: usize::MAX,
            ..config.clone()
        },
    }
}

fn policy(args: &Args, target: &Target, questions: &[Question]) -> Result<Box<dyn Policy>> {
    if args.policy == Who::Model {
        let (decoder, tokenizer) = target.open_model(&device_of(&target.config)?)?;
        return Ok(Box::new(generator(&target.config.model, decoder, tokenizer)));
    }
    let texts: Vec<String> = questions.iter().map(|it| it.text.clone()).collect();
    // `play_all` plays in batches whose tasks count from 0; the question stands in the context.
    let prompts: Vec<String> =
        questions.iter().map(|it| target.config.rollout.prompt_for(it)).collect();
    let script = move |context: &str, _: usize, turn: usize| {
        let idx = prompts.iter().position(|it| context.starts_with(it.as_str())).unwrap_or(0);
        baseline(&[texts[idx].as_str()])(context, 0, turn)
    };
    Ok(Box::new(ScriptedPolicy::new(Bytes, script).with_max_context(usize::MAX)))
}
