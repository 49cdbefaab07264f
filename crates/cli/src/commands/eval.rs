//! `forage eval`: exact match and F1 of a model, or of the scripted baseline.

use std::path::{Path, PathBuf};

use anyhow::Result;
use forage_rollout::RolloutConfig;
use forage_rollout::scripted::{Bytes, ScriptedPolicy, baseline};
use forage_training::evaluate::{
    EvaluatedTrajectory, answer_questions, describe_failures, summarize,
};
use forage_training::record::{Evaluation, GroupRecord};
use forage_training::rollout_step::generator;
use forage_training::run_folder::jsonl;
use forage_trajectory::{Policy, Question, Sampling};

use crate::checkpoint_target::{CheckpointTarget, TargetArgs};
use crate::exit_code::unwritable;
use crate::exit_code::{Code, Failure};
use crate::model::device_of;
use crate::output::{message, print};
use crate::progress::Progress;
use crate::prompt::{PromptBudget, QuestionUse};
use crate::table;

/// Policy of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EvalPolicy {
    /// The model of the target.
    Model,
    /// Scripted baseline without a model: searches for the question, and answers with the title of
    /// the first passage.
    Scripted,
}

/// Evaluate a model on held-out questions.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Model, configuration and search engine.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Question file. Default: the test questions of the target.
    #[arg(long)]
    pub questions: Option<PathBuf>,
    /// Evaluate on the first N questions only.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Policy that answers.
    #[arg(long, value_enum, default_value_t = EvalPolicy::Model)]
    pub policy: EvalPolicy,
    /// Sample at this temperature instead of decoding greedily.
    #[arg(long)]
    pub temperature: Option<f32>,
    /// Folder for the evaluation, as JSON, and its trajectories.
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let target = CheckpointTarget::open(&args.target)?;
    let sampling = sampling(args.temperature)?;
    let mut questions = target.questions(args.questions.as_deref())?;
    questions.truncate(args.limit.unwrap_or(usize::MAX));
    let retriever = target.open_retriever()?;
    let mut policy = policy(args, &target, &questions)?;
    let mut progress = Progress::new("evaluating", 0, questions.len() as u64);
    let seed = target.config.seed;
    let rollout = rollout(args.policy, &target.config.rollout);
    let played =
        answer_questions(&mut *policy, &retriever, &rollout, &questions, sampling, seed, |done| {
            progress.set(done as u64, "");
        })?;
    progress.finish();
    let name = name_of(args);
    if let Some(failures) = describe_failures(&questions, &played) {
        message(format_args!("warning: {failures}"));
    }
    let evaluation = summarize(0, sampling, &name, &questions, &played, seed);
    print(&table::of_one(&evaluation))?;
    let Some(out) = &args.out else { return Ok(()) };
    let split = if sampling == Sampling::Greedy { "greedy" } else { "sampled" };
    let record = |(question, answered): (&Question, EvaluatedTrajectory)| {
        answered.record(0, split, question)
    };
    let records: Vec<GroupRecord> = questions.iter().zip(played).map(record).collect();
    write(out, &evaluation, &records).map_err(|error| error.context(unwritable(out)))
}

/// Name of the questions: that of their file.
fn name_of(args: &Args) -> String {
    args.questions.as_ref().map_or("test".into(), |path| path.display().to_string())
}

/// Writes an evaluation and its trajectories into a folder.
fn write(out: &Path, evaluation: &Evaluation, records: &[GroupRecord]) -> Result<()> {
    let trajectories = zstd::encode_all(jsonl(records)?.as_slice(), 3)?;
    forage_fs::write_file(&out.join("trajectories.jsonl.zst"), &trajectories)?;
    let evaluation = serde_json::to_vec_pretty(evaluation)?;
    forage_fs::write_file(&out.join("evaluation.json"), &evaluation)?;
    Ok(())
}

/// Sampling at a temperature, or greedy decoding without one.
pub(crate) fn sampling(temperature: Option<f32>) -> Result<Sampling> {
    match temperature {
        None => Ok(Sampling::Greedy),
        Some(it) if it.is_finite() && it > 0.0 => Ok(Sampling::Temperature(it)),
        Some(it) => Err(Failure::new(Code::Usage, format!("the temperature {it} is not positive"))
            .hint("leave `--temperature` out for greedy decoding")
            .into()),
    }
}

/// Agent loop of an evaluation. The limits of a run file are in tokens of a model, and those of the
/// scripted policy are bytes: it has no limits, and no chat template.
fn rollout(which: EvalPolicy, config: &RolloutConfig) -> RolloutConfig {
    match which {
        EvalPolicy::Model => config.clone(),
        EvalPolicy::Scripted => RolloutConfig {
            chat: false,
            system: None,
            max_turn_tokens: usize::MAX,
            max_observation_tokens: usize::MAX,
            max_tokens: usize::MAX,
            ..config.clone()
        },
    }
}

fn policy(
    args: &Args,
    target: &CheckpointTarget,
    questions: &[Question],
) -> Result<Box<dyn Policy>> {
    if args.policy == EvalPolicy::Model {
        let (decoder, tokenizer) = target.open_model(&device_of(&target.config)?)?;
        let budget = PromptBudget {
            rollout: &target.config.rollout,
            tokenizer: &tokenizer,
            folder: target.model_folder()?,
            max_positions: decoder.config().max_position_embeddings,
        };
        budget.check(&name_of(args), questions, QuestionUse::Evaluation)?;
        return Ok(Box::new(generator(decoder, tokenizer, target.config.model.cache_tokens)));
    }
    let texts: Vec<String> = questions.iter().map(|question| question.text.clone()).collect();
    // The tasks of each batch are counted from 0, so the question is found by its prompt.
    let prompts: Vec<String> =
        questions.iter().map(|question| target.config.rollout.prompt_for(question)).collect();
    let script = move |context: &str, _: usize, turn: usize| {
        let idx =
            prompts.iter().position(|prompt| context.starts_with(prompt.as_str())).unwrap_or(0);
        baseline(&[texts[idx].as_str()])(context, 0, turn)
    };
    Ok(Box::new(ScriptedPolicy::new(Bytes, script).with_max_context(usize::MAX)))
}
