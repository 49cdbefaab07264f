//! `forage synthesize`: the roles that a run file names, the feedback loop, and its output.
//!
//! ```text
//! config.toml  journal.jsonl  plugins/  index/
//! train.jsonl  dev.jsonl  test.jsonl  traces.jsonl.zst  report.txt  report.json  report.html
//! ```
//!
//! The journal is the only state of a run. The other files are written from it when all items are
//! done, and again whenever a finished run is resumed.

pub mod agent;
mod check;
mod file;
mod ground;
pub mod judge;
mod parts;
mod raw;
mod section;
mod write;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use forage_retriever::SearchEngine;
use forage_rollout::RolloutConfig;
use forage_synthesis::chat::Budget;
use forage_synthesis::event_log::LogError;
use forage_synthesis::feedback_loop::{
    Agent, Assembly, Documents, DropReason, FeedbackLoop, FeedbackLoopError, ItemEnd, ItemRecord,
    Journal, Judge, QuestionGenerator, StepError, SynthesisReport, assemble, contaminated, split,
};
use forage_synthesis::language_model::{ChatAgent, ChatGuesser};
use forage_trajectory::{Passage, Question, Sampling};
use forage_world::{Split, World};
use serde_json::json;

pub use check::survey;
pub use file::SynthesisFile;
pub use section::{AgentSection, GeneratorSection, JudgeSection, SynthesisConfig};

use forage_training::run_folder::RunFolder;

use crate::exit_code::unwritable;
use crate::exit_code::{Code, Failure};
use crate::interrupt;
use crate::model::{self, device};
use crate::output::{message, print};
use crate::progress::Progress;
use crate::prompt;
use crate::questions::read_questions;
use crate::report;
use agent::with_model;
use ground::SynthesisCorpus;
use parts::SynthesisContext;
use section::AgentModel;

/// Runs the synthesis of a run file, from the end of the journal in its folder.
pub fn synthesize(file: &SynthesisFile, run: &RunFolder) -> Result<SynthesisReport> {
    let config = &file.config;
    let avoid = avoided(config)?;
    let context = SynthesisContext::new(config);
    stop_when_asked(&context.stop);
    let corpus = SynthesisCorpus::open(config)?;
    let engine = corpus.engine(config, &run.path("index"))?;
    let generator = corpus.generator(config)?;
    let documents = corpus.documents(&generator)?;
    let retriever = Arc::<SearchEngine>::clone(&engine);
    let generator = context.generator(generator, retriever, &config.device)?;
    let (judge, judged_by) = context.judge(file, &run.path("plugins"))?;
    let mut identity = file.identity.clone();
    identity["judged_by"] = json!(judged_by);
    identity["prompts"] = json!(context.prompts.hash());
    identity["passages"] = json!(fingerprint(&documents));
    if let GeneratorSection::Model(ours) = &config.generator {
        identity["generator_weights"] = json!(hash_weights(&ours.path));
    }

    let work = Work {
        config,
        run,
        documents: &documents,
        generator: &*generator,
        judge: &*judge,
        budget: &context.budget,
        stop: &context.stop,
        avoid: &avoid,
        world: corpus.world.as_ref(),
    };
    match &config.agent {
        AgentSection::Model { model, rollout } => {
            work.with_local_agent(model, rollout, &engine, identity)
        }
        AgentSection::Chat(chat) => {
            let (model, prompts) = (context.client(&chat.server)?, Arc::clone(&context.prompts));
            let guesser = ChatGuesser::new(chat, Arc::clone(&model), Arc::clone(&prompts));
            let agent = ChatAgent::new(chat, model, engine, prompts);
            let journal = work.journal(&identity)?;
            let records = work.items(&journal, &agent)?;
            let assembly = work.assembly(&journal, &records, &guesser)?;
            work.finish(&journal, &records, assembly)
        }
    }
}

/// Texts of the questions for decontamination.
fn avoided(config: &SynthesisConfig) -> Result<Vec<String>> {
    let mut avoid = Vec::new();
    for path in &config.questions.avoid {
        avoid.extend(read_questions(path)?.into_iter().map(|it| it.text));
    }
    Ok(avoid)
}

/// Sets the stop flag of clients when the process is interrupted: a server may ask for a pause of
/// minutes.
pub fn stop_when_asked(stop: &Arc<AtomicBool>) {
    let stop = Arc::downgrade(stop);
    thread::spawn(move || {
        while let Some(stop) = stop.upgrade() {
            if interrupt::requested() {
                stop.store(true, Ordering::Relaxed);
            }
            drop(stop);
            thread::sleep(Duration::from_millis(100));
        }
    });
}

/// The feedback loop without its agent, and its output.
struct Work<'a> {
    config: &'a SynthesisConfig,
    run: &'a RunFolder,
    documents: &'a Vec<Passage>,
    generator: &'a dyn QuestionGenerator,
    judge: &'a dyn Judge,
    budget: &'a Budget,
    stop: &'a AtomicBool,
    /// Texts of the questions for decontamination.
    avoid: &'a [String],
    world: Option<&'a World>,
}

impl Work<'_> {
    /// Runs the loop with a local model as its agent.
    fn with_local_agent(
        &self,
        section: &AgentModel,
        rollout: &RolloutConfig,
        engine: &SearchEngine,
        mut identity: serde_json::Value,
    ) -> Result<SynthesisReport> {
        let (decoder, tokenizer) = model::open(&section.path, &device(&self.config.device)?)?;
        prompt::check(rollout, &tokenizer, &section.path)?;
        if let Some(hash) = hash_weights(&section.path) {
            identity["weights"] = json!(hash);
        }
        let journal = self.journal(&identity)?;
        let mut policy = forage_model::Generator::new(decoder, tokenizer);
        let sampling = Sampling::Temperature(section.temperature);
        let records = with_model(&mut policy, engine, rollout, sampling, |agent| {
            self.items(&journal, agent)
        })?;
        let closed = RolloutConfig { max_searches: 0, ..rollout.clone() };
        let assembly = with_model(&mut policy, engine, &closed, sampling, |agent| {
            self.assembly(&journal, &records, agent)
        })?;
        self.finish(&journal, &records, assembly)
    }

    fn journal(&self, identity: &serde_json::Value) -> Result<Journal> {
        Journal::open(&self.run.path("journal.jsonl"), identity)
            .map_err(|error| explained(error.into()))
    }

    fn feedback_loop<'a>(&'a self, agent: &'a dyn Agent) -> FeedbackLoop<'a> {
        FeedbackLoop {
            config: &self.config.synthesis,
            seed: self.config.seed,
            documents: self.documents as &dyn Documents,
            generator: self.generator,
            agent,
            judge: self.judge,
            budget: self.budget,
            stop: self.stop,
        }
    }

    /// Runs all items, with a progress bar that shows the share that passed by target steps.
    fn items(&self, journal: &Journal, agent: &dyn Agent) -> Result<Vec<ItemRecord>> {
        let total = self.config.synthesis.items;
        let mut progress = Progress::new("items", 0, total);
        let mut passed: BTreeMap<usize, [usize; 2]> = BTreeMap::new();
        let mut done = 0;
        let records = self.feedback_loop(agent).run(journal, &mut |record| {
            done += 1;
            let [passed_of, of] = passed.entry(record.target_steps).or_default();
            *passed_of += usize::from(record.end == ItemEnd::Passed);
            *of += 1;
            let shares: Vec<String> = passed
                .iter()
                .map(|(steps, [passed, of])| {
                    format!("S{steps} {:.0}%", 100.0 * share(*passed, *of))
                })
                .collect();
            progress.set(done, &format!("passed: {}", shares.join(" ")));
        });
        progress.finish();
        let records = records.map_err(explained)?;
        let n_passed = records.iter().filter(|it| it.end == ItemEnd::Passed).count();
        if let Some(keep) = self.config.synthesis.keep.filter(|keep| *keep > n_passed as u64) {
            message(format_args!(
                "warning: {n_passed} questions passed, and `synthesis.keep` is {keep}: all {total} \
                 items were attempted. Raise `synthesis.items` and go on with `--resume`"
            ));
        }
        Ok(records)
    }

    /// Assembles the questions, without contaminated ones and those that are guessed closed-book.
    fn assembly(
        &self,
        journal: &Journal,
        records: &[ItemRecord],
        closed_book: &dyn Agent,
    ) -> Result<Assembly> {
        let questions = &self.config.questions;
        let mut assembly = assemble(records, &self.config.synthesis);
        let found = contaminated(&assembly.accepted, self.avoid);
        assembly.drop_items(DropReason::Contaminated, &found);
        if questions.guesses > 0 {
            let feedback_loop = self.feedback_loop(closed_book);
            let accepted = &assembly.accepted;
            let found = feedback_loop.guessable(journal, accepted, closed_book, questions.guesses);
            let found = found.map_err(explained)?;
            assembly.drop_items(DropReason::Guessable, &found.right);
            assembly.usage += found.usage;
        }
        Ok(assembly)
    }

    /// Splits the questions and writes all output.
    fn finish(
        &self,
        journal: &Journal,
        records: &[ItemRecord],
        mut assembly: Assembly,
    ) -> Result<SynthesisReport> {
        let shares = self.config.questions.shares.unwrap_or_default();
        let given = |question: &Question| {
            let world = self.world?;
            let passage = question.evidence.passages.first()?;
            Some(world.entity(world.entity_of(&passage.id)?).split)
        };
        let splits = split(&mut assembly, shares, self.config.seed, &given);
        let report = SynthesisReport::of(records, &assembly, &self.config.synthesis);
        write::questions(self.run, &assembly, &splits)?;
        write::traces(self.run, journal, &assembly, &splits)?;
        self.run.write_json("report.json", &report)?;
        let of = |split: Split| splits.iter().filter(|it| **it == split).count();
        let counts = Split::ALL.map(|split| format!("{split} {}", of(split)));
        let text = format!("{}splits: {}\n", report.text(), counts.join(", "));
        self.run.write_whole("report.txt", text.as_bytes())?;
        report::write(self.run.root())?;
        print(&text)?;
        Ok(report)
    }
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Hash of a corpus: Blake3 over ids, titles and texts.
fn fingerprint(passages: &[Passage]) -> String {
    let mut hasher = blake3::Hasher::new();
    for passage in passages {
        for part in [&passage.id, &passage.title, &passage.text] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// Hash of a model in one file; `None` for shards, which are identified by their path.
fn hash_weights(model: &Path) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap(model.join("model.safetensors")).ok()?;
    Some(hasher.finalize().to_hex().to_string())
}

/// The failure of a loop that ended early, with a hint.
fn explained(error: FeedbackLoopError) -> anyhow::Error {
    let failure = match &error {
        FeedbackLoopError::Config(_) => {
            Failure::new(Code::Usage, "the synthesis cannot be run as the run file says")
        }
        FeedbackLoopError::Journal(LogError::OtherRun { .. }) => {
            Failure::new(Code::Usage, "the folder holds another synthesis")
                .hint("choose another folder with `--out`")
        }
        FeedbackLoopError::Journal(LogError::Damaged { .. }) => {
            Failure::new(Code::Input, "the journal cannot be read")
                .hint("remove the line, or choose another folder with `--out`")
        }
        FeedbackLoopError::Journal(LogError::Io { path, .. }) => unwritable(path),
        FeedbackLoopError::Stopped(StepError::BudgetExceeded(_)) => {
            Failure::new(Code::Input, "the budget of the synthesis is spent")
                .hint("what is finished is kept: raise the limit and go on with `--resume`")
        }
        FeedbackLoopError::Stopped(_) | FeedbackLoopError::Interrupted => {
            Failure::new(Code::Input, "the synthesis stopped before its end")
                .hint("what is finished is kept: go on with `--resume` when the cause is mended")
        }
        FeedbackLoopError::Threads { .. } => {
            Failure::new(Code::Usage, "too many items at once").hint("lower `synthesis.in_flight`")
        }
    };
    anyhow::Error::new(error).context(failure)
}
