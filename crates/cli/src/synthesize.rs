//! Making questions: the parts that a run file names, the loop, and what is written.
//!
//! ```text
//! config.toml  journal.jsonl  plugins/  index/
//! train.jsonl  dev.jsonl  test.jsonl  traces.jsonl.zst  report.txt  report.json  report.html
//! ```
//!
//! The journal is all that a run knows; the other files are written from it when all items are
//! done, and again whenever a finished run is resumed.

pub mod agent;
mod check;
mod ground;
pub mod judge;
mod parts;
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
use forage_synthesis::language_model::{ChatAgent, ChatGuesser};
use forage_synthesis::sage::{
    Agent, Assembly, Documents, Dropped, End, Generator, ItemRecord, Journal, Judge, Ledger,
    Report, Sage, SageError, StepError, assemble, contaminated, split,
};
use forage_synthesis::{Split, World};
use forage_trajectory::{Passage, Question, Sampling};
use serde_json::json;

pub use check::survey;
pub use section::{SynthesisConfig, SynthesisFile};

use crate::exit_code::unwritable;
use crate::exit_code::{Code, Failure};
use crate::interrupt;
use crate::model::{self, device};
use crate::output::print;
use crate::progress::Progress;
use crate::prompt;
use crate::questions::read_questions;
use crate::report;
use agent::with_model;
use forage_training::run_folder::RunFolder;
use ground::Ground;
use parts::Common;

/// Makes the questions of a run file, from where the journal of its folder ends.
pub fn synthesize(file: &SynthesisFile, run: &RunFolder) -> Result<Report> {
    let config = &file.config;
    let avoid = avoided(config)?;
    let common = Common::new(config);
    stop_when_asked(&common.stop);
    let ground = Ground::open(config)?;
    let engine = ground.engine(config, &run.path("index"))?;
    let walker = config.generator.walker.as_ref().map(|it| ground.walker(it)).transpose()?;
    let documents = ground.documents(walker.as_ref())?;
    let retriever = Arc::<SearchEngine>::clone(&engine);
    let generator = common.generator(config, walker, retriever)?;
    let (judge, judged_by) = common.judge(file, &run.path("plugins"))?;
    let mut identity = config.identity()?;
    identity["judged_by"] = json!(judged_by);
    identity["prompts"] = json!(common.prompts.hash());
    identity["passages"] = json!(fingerprint(&documents));
    if let Some(ours) = &config.generator.model {
        identity["generator_weights"] = json!(hash_weights(&ours.path));
    }

    let work = Work {
        config,
        run,
        documents: &documents,
        generator: &*generator,
        judge: &*judge,
        ledger: &common.ledger,
        stop: &common.stop,
        avoid: &avoid,
        world: ground.world.as_ref(),
    };
    match (&config.agent.model, &config.agent.chat) {
        (Some(section), _) => {
            let rollout = config.rollout.clone().unwrap_or_default();
            let (decoder, tokenizer) = model::open(&section.path, &device(&config.device)?)?;
            prompt::check(&rollout, &tokenizer, &section.path)?;
            if let Some(hash) = hash_weights(&section.path) {
                identity["weights"] = json!(hash);
            }
            let journal = work.journal(&identity)?;
            let mut policy = forage_model::Generator::new(decoder, tokenizer);
            let sampling = Sampling::Temperature(section.temperature);
            let records = with_model(&mut policy, &*engine, &rollout, sampling, |agent| {
                work.items(&journal, agent)
            })?;
            let closed = RolloutConfig { max_searches: 0, ..rollout };
            let assembly = with_model(&mut policy, &*engine, &closed, sampling, |agent| {
                work.assembly(&journal, &records, agent)
            })?;
            work.finish(&journal, &records, assembly)
        }
        (None, Some(chat)) => {
            let (model, prompts) = (common.client(&chat.server)?, Arc::clone(&common.prompts));
            let guesser = ChatGuesser::new(chat, Arc::clone(&model), Arc::clone(&prompts));
            let agent = ChatAgent::new(chat, model, engine, prompts);
            let journal = work.journal(&identity)?;
            let records = work.items(&journal, &agent)?;
            let assembly = work.assembly(&journal, &records, &guesser)?;
            work.finish(&journal, &records, assembly)
        }
        (None, None) => unreachable!("a checked run file has an agent"),
    }
}

/// The questions that must not be made.
fn avoided(config: &SynthesisConfig) -> Result<Vec<String>> {
    let mut avoid = Vec::new();
    for path in &config.questions.avoid {
        avoid.extend(read_questions(path)?.into_iter().map(|it| it.text));
    }
    Ok(avoid)
}

/// Ends the waiting of clients too when a person asks to stop: a server may want a pause of minutes.
fn stop_when_asked(stop: &Arc<AtomicBool>) {
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

/// What the loop needs but for its agent.
struct Work<'a> {
    config: &'a SynthesisConfig,
    run: &'a RunFolder,
    documents: &'a Vec<Passage>,
    generator: &'a dyn Generator,
    judge: &'a dyn Judge,
    ledger: &'a Ledger,
    stop: &'a AtomicBool,
    /// Questions that must not be made.
    avoid: &'a [String],
    world: Option<&'a World>,
}

impl Work<'_> {
    fn journal(&self, identity: &serde_json::Value) -> Result<Journal> {
        Journal::open(&self.run.path("journal.jsonl"), identity).map_err(explained)
    }

    fn sage<'a>(&'a self, agent: &'a dyn Agent) -> Sage<'a> {
        Sage {
            config: &self.config.synthesis,
            seed: self.config.seed,
            documents: self.documents as &dyn Documents,
            generator: self.generator,
            agent,
            judge: self.judge,
            ledger: self.ledger,
            stop: self.stop,
        }
    }

    /// All items, with a bar that says how many passed by their steps.
    fn items(&self, journal: &Journal, agent: &dyn Agent) -> Result<Vec<ItemRecord>> {
        let total = self.config.synthesis.items;
        let mut progress = Progress::new("items", 0, total);
        let mut passed: BTreeMap<usize, [usize; 2]> = BTreeMap::new();
        let mut done = 0;
        let records = self.sage(agent).run(journal, &mut |record| {
            done += 1;
            let [passed_of, of] = passed.entry(record.target_steps).or_default();
            *passed_of += usize::from(record.end == End::Passed);
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
        records.map_err(explained)
    }

    /// What is left of the items once everything that must not be a question is dropped.
    fn assembly(
        &self,
        journal: &Journal,
        records: &[ItemRecord],
        closed_book: &dyn Agent,
    ) -> Result<Assembly> {
        let questions = &self.config.questions;
        let mut assembly = assemble(records, &self.config.synthesis);
        let found = contaminated(&assembly.accepted, self.avoid);
        assembly.drop_items(Dropped::Contaminated, &found);
        if questions.guesses > 0 {
            let sage = self.sage(closed_book);
            let accepted = &assembly.accepted;
            let found = sage.guessable(journal, accepted, closed_book, questions.guesses);
            let found = found.map_err(explained)?;
            assembly.drop_items(Dropped::Guessable, &found.right);
            assembly.usage += found.usage;
        }
        Ok(assembly)
    }

    /// Deals the questions to the splits and writes everything.
    fn finish(
        &self,
        journal: &Journal,
        records: &[ItemRecord],
        mut assembly: Assembly,
    ) -> Result<Report> {
        let shares = self.config.questions.shares.unwrap_or_default();
        let given = |question: &Question| {
            let world = self.world?;
            let passage = question.evidence.passages.first()?;
            Some(world.entity(world.entity_of(&passage.id)?).split)
        };
        let splits = split(&mut assembly, shares, self.config.seed, &given);
        let report = Report::of(records, &assembly, &self.config.synthesis);
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

/// Blake3 over ids, titles and texts.
fn fingerprint(passages: &[Passage]) -> String {
    let mut hasher = blake3::Hasher::new();
    for passage in passages {
        for part in [&passage.id, &passage.title, &passage.text] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// Of a model in one file; one in shards is known by its path.
fn hash_weights(model: &Path) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap(model.join("model.safetensors")).ok()?;
    Some(hasher.finalize().to_hex().to_string())
}

/// What ended the loop, with what a person can do about it.
fn explained(error: SageError) -> anyhow::Error {
    let failure = match &error {
        SageError::Config { .. } => {
            Failure::new(Code::Usage, "the synthesis cannot be run as the run file says")
        }
        SageError::OtherRun { .. } => {
            Failure::new(Code::Usage, "the folder holds another synthesis")
                .hint("choose another folder with `--out`")
        }
        SageError::Damaged { .. } => Failure::new(Code::Input, "the journal cannot be read")
            .hint("remove the line, or choose another folder with `--out`"),
        SageError::Journal { path, .. } => unwritable(path),
        SageError::Stopped(StepError::Spent(_)) => {
            Failure::new(Code::Input, "the budget of the synthesis is spent")
                .hint("what is finished is kept: raise the limit and go on with `--resume`")
        }
        SageError::Stopped(_) | SageError::Interrupted => {
            Failure::new(Code::Input, "the synthesis stopped before its end")
                .hint("what is finished is kept: go on with `--resume` when the cause is mended")
        }
        SageError::Threads { .. } => {
            Failure::new(Code::Usage, "too many items at once").hint("lower `synthesis.in_flight`")
        }
        SageError::Linker(_) => Failure::new(Code::Input, "the corpus cannot be walked over"),
    };
    anyhow::Error::new(error).context(failure)
}
