//! `forage data --queries`: reference queries of the sub-questions, by a chat server and engines.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use forage_retriever::{Dialect, EngineConfig, RemoteConfig, RetrieverConfig};
use forage_synthesis::chat::{Budget, BudgetLimits, ChatClient, ChatConfig, ChatModel};
use forage_synthesis::event_log::LogError;
use forage_synthesis::reference_queries::{
    Found, QueryLog, QueryWriter, ReferenceQueriesConfig, ReferenceQueriesError, StepQueries,
};
use forage_trajectory::{Question, Retriever};
use serde_json::json;

use crate::commands::corpus::audit::at_least_one;
use crate::exit_code::{Code, Failure, unwritable};
use crate::output::message;
use crate::progress::Progress;
use crate::search_engine::open_engine;
use crate::synthesize::stop_when_asked;
use crate::text_file;

/// Reference queries of sub-questions.
#[derive(Debug, clap::Args)]
#[group(id = "reference queries")]
pub struct QueryArgs {
    /// Write this many reference queries for each sub-question, as `StepSearch` trains with;
    /// without `--server`, the sub-question itself is the query
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub queries: Option<u32>,

    /// Chat server that writes the queries: the address of its `OpenAI` protocol, with `/v1`
    #[arg(long, value_name = "URL", requires_all = ["queries", "model"])]
    pub server: Option<String>,

    /// Name of the model on that server
    #[arg(long, value_name = "NAME", requires = "server")]
    pub model: Option<String>,

    /// Environment variable with the API key of that server
    #[arg(long, value_name = "VARIABLE", requires = "server")]
    pub api_key_env: Option<String>,

    /// Sampling temperature of the model
    #[arg(long, value_name = "X", requires = "server", default_value_t = 1.0)]
    pub temperature: f64,

    /// Seed of the sampling
    #[arg(long, value_name = "N", requires = "server", default_value_t = 1)]
    pub seed: u64,

    /// Search engines, of which at least half must find something for a query: folders of indexes,
    /// addresses of `/retrieve` servers, or TOML files with a `[retriever]` section
    #[arg(long, value_name = "ENGINES", value_delimiter = ',', requires = "queries")]
    pub engines: Vec<String>,

    /// Number of passages that an engine is asked for
    #[arg(long, value_name = "K", requires = "engines", default_value_t = 3, value_parser = at_least_one)]
    pub depth: usize,

    /// What an engine must find: any passage, or a gold passage or the answer of the sub-question
    #[arg(long, value_enum, value_name = "WHAT", requires = "engines", default_value_t = Wanted::Any)]
    pub found: Wanted,

    /// Questions at once
    #[arg(long, value_name = "N", requires = "queries", default_value_t = 16)]
    pub in_flight: usize,

    /// Go on from the journal beside `--out`
    #[arg(long, requires = "queries")]
    pub resume: bool,
}

/// What an engine must find for a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Wanted {
    /// Any passage.
    Any,
    /// A gold passage of the sub-question, or a passage with its answer.
    Gold,
}

impl QueryArgs {
    /// Whether queries are to be written.
    pub(super) fn is_given(&self) -> bool {
        self.queries.is_some()
    }

    /// Checks what the command line alone tells.
    pub(super) fn check(&self) -> Result<()> {
        if self.server.is_none() && self.queries.is_some_and(|queries| queries > 1) {
            let message = "several queries for each sub-question need a model that writes them";
            return Err(Failure::new(Code::Usage, message)
                .hint("name one with `--server URL --model NAME`, or ask for `--queries 1`")
                .into());
        }
        Ok(())
    }

    /// Writes the queries of all sub-questions into the questions; returns a summary. The journal
    /// stands beside `out`.
    pub(super) fn write(&self, questions: &mut [Question], out: &Path) -> Result<String> {
        let config = self.config();
        let engines = self.engines.iter().map(|name| open(name)).collect::<Result<Vec<_>>>()?;
        let stop: Arc<AtomicBool> = Arc::default();
        stop_when_asked(&stop);
        let budget = Arc::new(Budget::new(BudgetLimits::default()));
        let client = self.client(&budget, &stop)?;
        let log = self.open_log(out, questions)?;
        if let (Some(model), Some(url)) = (&self.model, &self.server) {
            message(format_args!("asking `{model}` at {url}"));
        }
        let total = questions.len() as u64;
        let mut progress = Progress::new("queries", log.n_done() as u64, total);
        let writer = QueryWriter {
            config: &config,
            model: client.as_ref().map(|client| client as &dyn ChatModel),
            engines: &engines,
            budget: &budget,
            stop: &stop,
        };
        let written = writer.run(questions, log, &mut |n| progress.set(n as u64, "questions"));
        progress.finish();
        let written = written.map_err(explained)?;
        let summary = summary(&written, budget.used().tokens());
        for (question, steps) in questions.iter_mut().zip(written) {
            for (step, queries) in question.evidence.steps.iter_mut().zip(steps) {
                step.queries = queries.kept;
            }
        }
        Ok(summary)
    }

    fn config(&self) -> ReferenceQueriesConfig {
        ReferenceQueriesConfig {
            queries: self.queries.unwrap_or(1) as usize,
            temperature: self.temperature,
            depth: self.depth,
            found: match self.found {
                Wanted::Any => Found::Any,
                Wanted::Gold => Found::Gold,
            },
            in_flight: self.in_flight,
            seed: self.seed,
        }
    }

    fn client(&self, budget: &Arc<Budget>, stop: &Arc<AtomicBool>) -> Result<Option<ChatClient>> {
        let (Some(url), Some(model)) = (&self.server, &self.model) else { return Ok(None) };
        let config = ChatConfig {
            api_key_env: self.api_key_env.clone(),
            concurrency: self.in_flight.max(1),
            // A person waits, and the journal keeps what is done.
            patience_seconds: 60.0,
            ..ChatConfig::new(url, model)
        };
        let client = ChatClient::new(&config, Arc::clone(budget), Arc::clone(stop));
        let client = client.context(Failure::new(Code::Usage, "the chat server cannot be used"))?;
        Ok(Some(client))
    }

    /// Journal beside the output. One that is there is gone on with only when asked.
    fn open_log(&self, out: &Path, questions: &[Question]) -> Result<QueryLog> {
        let mut name = OsString::from(out);
        name.push(".journal.jsonl");
        let path = PathBuf::from(name);
        if path.exists() && !self.resume {
            let message = format!("`{}` is the journal of an earlier run", path.display());
            return Err(Failure::new(Code::Usage, message)
                .hint("go on with `--resume`, or remove it to begin anew")
                .into());
        }
        let run = json!({
            "questions": fingerprint(questions),
            "queries": self.queries,
            "server": self.server,
            "model": self.model,
            "temperature": self.temperature,
            "seed": self.seed,
            "engines": self.engines,
            "depth": self.depth,
            "found": format!("{:?}", self.found),
        });
        QueryLog::open(&path, &run).map_err(|error| explained(error.into()))
    }
}

/// Search engine by the folder of its index, its address, or a file with a `[retriever]` section.
fn open(name: &str) -> Result<Arc<dyn Retriever>> {
    let config = if name.starts_with("http://") || name.starts_with("https://") {
        let remote = RemoteConfig::new(name, Dialect::default());
        RetrieverConfig { engine: EngineConfig::Remote(remote), record: None }
    } else if Path::new(name).extension().is_some_and(|it| it == "toml") {
        section(name)?
    } else {
        RetrieverConfig::of_index(name)
    };
    Ok(Arc::new(open_engine(&config, "cpu")?))
}

/// The `[retriever]` section of a file.
fn section(path: &str) -> Result<RetrieverConfig> {
    #[derive(serde::Deserialize)]
    struct Sections {
        retriever: RetrieverConfig,
    }
    let failure = || {
        Failure::new(Code::Usage, format!("`{path}` has no search engine that can be used"))
            .hint("it is a TOML file with a `[retriever]` section, as in a run file")
    };
    let text = text_file::read(Path::new(path)).with_context(failure)?;
    let sections: Sections = toml::from_str(&text).with_context(failure)?;
    Ok(sections.retriever)
}

/// Hash of what queries depend on.
fn fingerprint(questions: &[Question]) -> String {
    let mut hasher = blake3::Hasher::new();
    for question in questions {
        for text in std::iter::once(&question.id)
            .chain(question.evidence.steps.iter().flat_map(|step| [&step.question, &step.answer]))
        {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// What was written, in a line.
fn summary(written: &[Vec<StepQueries>], tokens: u64) -> String {
    let steps: Vec<&StepQueries> = written.iter().flatten().collect();
    let kept: usize = steps.iter().map(|step| step.kept.len()).sum();
    let dropped: usize = steps.iter().map(|step| step.dropped).sum();
    let empty = steps.iter().filter(|step| step.kept.is_empty()).count();
    let refused = steps.iter().filter(|step| step.refused.is_some()).count();
    let refused =
        if refused > 0 { format!(", {refused} as the model refused") } else { String::new() };
    let tokens = if tokens > 0 { format!("; {tokens} tokens") } else { String::new() };
    format!(
        "{kept} queries for {} sub-questions; {dropped} found nothing, {empty} sub-questions have \
         none{refused}{tokens}",
        steps.len()
    )
}

fn explained(error: ReferenceQueriesError) -> anyhow::Error {
    let failure = match &error {
        ReferenceQueriesError::Log(LogError::OtherRun { .. }) => {
            Failure::new(Code::Usage, "the journal is of other questions or settings")
                .hint("repeat the settings that it was begun with, or remove it")
        }
        ReferenceQueriesError::Log(LogError::Damaged { .. }) => {
            Failure::new(Code::Input, "the journal cannot be read")
                .hint("remove the line, or the journal to begin anew")
        }
        ReferenceQueriesError::Log(LogError::Io { path, .. }) => unwritable(path),
        _ => Failure::new(Code::Input, "the queries were not all written")
            .hint("what is done is kept: go on with `--resume` when the cause is mended"),
    };
    anyhow::Error::new(error).context(failure)
}
