//! Target of `eval` and `chat`: a run's folder with its newest checkpoint, or a run file.
//!
//! [`CheckpointTarget`] finds the model, the questions and the search engine. It generates no
//! world: that of a run is in its folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use burn::tensor::Device;
use forage_model::{Decoder, Tokenizer};
use forage_retriever::{RetrieverConfig, SearchEngine};
use forage_training::checkpoint::newest;
use forage_trajectory::Question;

use crate::exit_code::{Code, Failure};
use crate::gold_passages;
use crate::model;
use crate::prompt;
use crate::questions::read_questions;
use crate::run_file::{RunConfig, RunFile, Source};
use crate::run_paths;
use crate::search_engine::open_engine;

/// Arguments of commands that run the agent with a trained model.
#[derive(Debug, clap::Args)]
// The group of the command that these are flattened into is called `Args` as well.
#[group(id = "played-with")]
pub struct TargetArgs {
    /// Run's folder, or a run file.
    pub target: PathBuf,
    /// Model folder. Default: the run's newest checkpoint, or `model.path` of the run file.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Folder of the model that the adapters of the model belong to. Default: the one that they name.
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// Index to search. Default: the search engine of the run.
    #[arg(long)]
    pub index: Option<PathBuf>,
    /// Change a key of the configuration, for example `--set rollout.top_k=5`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub edits: Vec<String>,
}

/// Target, with its configuration read.
#[derive(Debug)]
pub struct CheckpointTarget {
    /// Configuration.
    pub config: RunConfig,
    /// Run's folder; none where the target is a run file.
    pub run: Option<PathBuf>,
    model: Option<PathBuf>,
    base: Option<PathBuf>,
    index: Option<PathBuf>,
}

impl CheckpointTarget {
    /// Reads the configuration.
    pub fn open(args: &TargetArgs) -> Result<Self> {
        let is_run = args.target.is_dir();
        let config = if is_run {
            run_paths::read(&args.target, &args.edits)?.config
        } else {
            RunFile::read(&args.target, &args.edits)?.config
        };
        let run = is_run.then(|| args.target.clone());
        let newest = run.as_deref().and_then(newest);
        Ok(Self {
            model: args
                .model
                .clone()
                .or(newest)
                .or_else(|| config.model_folder().map(Path::to_owned)),
            base: args.base.clone(),
            index: args.index.clone(),
            config,
            run,
        })
    }

    /// Model folder.
    pub fn model_folder(&self) -> Result<&Path> {
        self.model.as_deref().ok_or_else(|| {
            Failure::new(Code::Usage, "there is no model to load")
                .hint("name one with `--model DIR`")
                .into()
        })
    }

    /// Loads the model.
    pub fn open_model(&self, device: &Device) -> Result<(Decoder, Tokenizer)> {
        let folder = self.model_folder()?;
        let (decoder, tokenizer) = model::open_with_base(folder, self.base.as_deref(), device)?;
        prompt::check(&self.config.rollout, &tokenizer, folder)?;
        Ok((decoder.with_compute_dtype(self.config.model.compute.into()), tokenizer))
    }

    /// Opens the search engine.
    pub fn open_retriever(&self) -> Result<SearchEngine> {
        open_engine(&self.retriever()?, &self.config.device)
    }

    /// Search engine, with the index that the command line names.
    fn retriever(&self) -> Result<RetrieverConfig> {
        let of_world = self.run.as_ref().map(|it| it.join("world/index")).filter(|it| it.exists());
        let section = match &self.config.source {
            Source::Data { retriever, .. } => Some(retriever),
            Source::World(_) => None,
        };
        Ok(match (&self.index, section, of_world) {
            // The ranking of another index is that of the run file.
            (Some(index), Some(section), _) => section.with_index(index),
            (Some(index), None, _) => RetrieverConfig::of_index(index),
            (None, None, Some(index)) => RetrieverConfig::of_index(index),
            (None, Some(section), _) => section.clone(),
            (None, None, None) => {
                return Err(Failure::new(Code::Usage, "there is no index to search")
                    .hint("name one with `--index DIR`, or name a run's folder that has a world")
                    .into());
            }
        })
    }

    /// Reads a question file. Default: the test questions of the target.
    pub fn questions(&self, file: Option<&Path>) -> Result<Vec<Question>> {
        let of_world = self.run.as_ref().map(|it| it.join("world/test.jsonl"));
        let of_data = match &self.config.source {
            Source::Data { data, .. } => Some(data.test.clone()),
            Source::World(_) => None,
        };
        let file = file.map(Path::to_owned).or(of_data).or(of_world);
        let file = file
            .ok_or_else(|| anyhow!("the questions of a world are in the folder of its run"))
            .context(
                Failure::new(Code::Usage, "there are no questions to ask")
                    .hint("name a file with `--questions FILE`, or a run's folder"),
            )?;
        let mut questions = read_questions(&file)?;
        gold_passages::fill(&mut questions, &self.retriever()?)?;
        Ok(questions)
    }
}
