//! A generator without a language model: it walks from fact to fact, and puts the walk into words.
//!
//! [`Walker::of_world`] knows the facts of a generated world; [`Walker::of_passages`] finds out
//! what the passages of any corpus mention. A question asks for the end of a chain of facts, and all
//! names on the way are obfuscated: they appear only as what the fact before leads to. They become
//! the entities of the evidence (E-GRPO), and the facts its steps. Two chains may be joined: by a
//! comparison in a generated world, by what both lead to in plain text.
//!
//! How it answers to feedback:
//!
//! - *Too easy*: facts that one search found together, and facts that the run did without, are
//!   gone around; where there are none, the chain is made longer at its beginning, which hides the
//!   name that the question began with. Of several such ways, one is taken on which few passages
//!   already tell the fact after their own.
//! - *Wrong*: what the run searched for by its name and found is kept, and the way goes on from
//!   there past the fact that it did not read, and past a name that it searched for in vain. Where
//!   nothing can be kept, another way goes through the document, or through another passage that the
//!   run searched for and found.
//! - Where nothing is left that has not failed, it begins again.
//!
//! Departure from SAGE: the paper's generator may use only what it has seen in its traces. The
//! walker knows its whole graph, and does not search in either round.

mod graph;
mod join;
mod plan;
mod react;
mod text;
mod world;

use std::collections::HashMap;
use std::fmt::Write;

use forage_trajectory::{Passage, Stream};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use self::graph::Graph;
use self::plan::{Avoided, Plan, through};
use super::{
    Feedback, Generator, Item, Made, Pair, Proposal, Revision, Run, SageError, StepError, Trace,
    Turn,
};
use crate::sage::AnswerType;
use crate::world::World;

/// How a walker walks: the `[generator.walker]` section of a run file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalkerConfig {
    /// Share of questions with an entity as their answer that join two chains: in a generated world
    /// by comparing what they end in, of four steps or more; in plain text by the one name that two
    /// articles share.
    pub joins: f64,
    /// Most facts of a question, however easy it proves.
    pub most_facts: usize,
}

impl Default for WalkerConfig {
    fn default() -> Self {
        Self { joins: 0.0, most_facts: 12 }
    }
}

impl WalkerConfig {
    /// Checks that every value can be used.
    pub fn check(&self) -> Result<(), SageError> {
        if !(0.0..=1.0).contains(&self.joins) {
            let problem = format!("is {}, not a probability", self.joins);
            return Err(SageError::Config { key: "generator.walker.joins", problem });
        }
        if self.most_facts == 0 {
            let problem = "is 0".to_owned();
            return Err(SageError::Config { key: "generator.walker.most_facts", problem });
        }
        Ok(())
    }
}

/// The generator.
#[derive(Debug)]
pub struct Walker {
    graph: Graph,
    /// Node of each passage id.
    nodes: HashMap<String, usize>,
    config: WalkerConfig,
}

/// Why there is no question.
const NO_CHAIN: &str = "no chain of facts";

impl Walker {
    /// A walker in a generated world.
    pub fn of_world(world: &World, config: WalkerConfig) -> Self {
        Self::new(world::graph(world), config)
    }

    /// A walker over any passages.
    pub fn of_passages(passages: &[Passage], config: WalkerConfig) -> Result<Self, SageError> {
        Ok(Self::new(text::graph(passages)?, config))
    }

    fn new(graph: Graph, config: WalkerConfig) -> Self {
        let by_id = graph.nodes.iter().enumerate().map(|(idx, it)| (it.passage.id.clone(), idx));
        Self { nodes: by_id.collect(), graph, config }
    }

    /// The passages that a chain can go through: those that have facts.
    pub fn passages(&self) -> Vec<Passage> {
        let nodes = self.graph.nodes.iter().enumerate();
        nodes
            .filter(|(idx, _)| !self.graph.out_of(*idx).is_empty())
            .map(|(_, it)| it.passage.clone())
            .collect()
    }

    /// How many facts there are.
    pub fn n_facts(&self) -> usize {
        self.graph.edges.len()
    }

    /// A fresh plan of so many facts, through a node.
    fn fresh(
        &self,
        item: &Item,
        node: usize,
        length: usize,
        avoided: &Avoided,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, Pair)> {
        if item.answer_type == AnswerType::Entity
            && length >= join::least_facts(&self.graph, node)
            && rng.random_bool(self.config.joins)
            && let Some(plan) = join::join(&self.graph, node, length, rng)
            && let Some(pair) = plan.pair(&self.graph, rng)
        {
            return Some((plan, pair));
        }
        (0..10).find_map(|_| {
            let chain = through(&self.graph, node, length, item.answer_type, avoided, rng)?;
            self.put(chain, avoided, rng)
        })
    }

    /// Another plan through the document or, where there is none, through what a run searched for
    /// and found. Where all of that failed before, it is tried again.
    fn another(
        &self,
        item: &Item,
        length: usize,
        avoided: &Avoided,
        run: Option<&Run>,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, Pair)> {
        let document = *self.nodes.get(&item.document.id)?;
        let found = run.map(|it| self.found_by_name(it)).unwrap_or_default();
        [document]
            .into_iter()
            .chain(found)
            .filter(|it| !avoided.nodes.contains(it))
            .find_map(|node| self.fresh(item, node, length, avoided, rng))
            .or_else(|| self.fresh(item, document, item.target_steps, &Avoided::default(), rng))
    }

    fn put(
        &self,
        chain: Vec<usize>,
        avoided: &Avoided,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, Pair)> {
        let plan = Plan { avoided: avoided.clone(), ..Plan::chain(chain) };
        let pair = plan.pair(&self.graph, rng)?;
        Some((plan, pair))
    }
}

impl Generator for Walker {
    fn propose(&self, item: &Item, stream: Stream) -> Result<Made<Proposal>, StepError> {
        let rng = &mut stream.rng();
        let node = self.nodes.get(&item.document.id);
        let (plan, pair) = node
            .and_then(|node| self.fresh(item, *node, item.target_steps, &Avoided::default(), rng))
            .ok_or_else(|| StepError::item(NO_CHAIN))?;
        let prompt = format!(
            "A question that takes {} searches, whose answer is of the type `{}`, around “{}”:\n{}",
            item.target_steps, item.answer_type, item.document.title, item.document.text
        );
        Ok(Made::free(proposal(prompt, "A walk.", &plan, pair)?))
    }

    fn revise(&self, revision: &Revision<'_>) -> Result<Made<Proposal>, StepError> {
        let Revision { item, previous, feedback, stream, .. } = *revision;
        let plan: Plan = serde_json::from_value(previous.notes.clone())
            .map_err(|source| StepError::engine("reading the walker's notes", source))?;
        let mut facts = plan.chains.iter().chain([&plan.avoided.facts]).flatten();
        let unknown_node = plan.avoided.nodes.iter().any(|it| *it >= self.graph.nodes.len());
        if unknown_node || facts.any(|it| *it >= self.n_facts()) {
            return Err(StepError::engine("reading the walker's notes", "the corpus is another"));
        }
        let rng = &mut stream.rng();
        let (said, run, changed) = match feedback {
            Feedback::TooEasy(run) => {
                let searches = run.trace.n_searches();
                let said = format!("It took {searches} searches, not {}:", item.target_steps);
                (said, Some(*run), self.harder(item, &plan, run, rng))
            }
            Feedback::Wrong(run) => {
                let said = "No run came to the answer:".to_owned();
                (said, *run, self.righter(item, &plan, *run, rng))
            }
        };
        let (plan, pair, how) = changed.ok_or_else(|| StepError::item(NO_CHAIN))?;
        let shown = run.map(|it| it.trace.text()).unwrap_or_default();
        let prompt = format!(
            "{}\n\n{said}\n{shown}\n\nA better question that takes {} searches:",
            previous.trace.text(),
            item.target_steps
        );
        Ok(Made::free(proposal(prompt, how, &plan, pair)?))
    }
}

/// A pair with the plan behind it.
fn proposal(prompt: String, how: &str, plan: &Plan, pair: Pair) -> Result<Proposal, StepError> {
    let mut text = how.to_owned();
    for step in &pair.evidence.steps {
        write!(text, "\n{} {}.", step.question, step.answer)
            .expect("writing to a string does not fail");
    }
    write!(text, "\n{} {}", pair.question, pair.golden_answers[0])
        .expect("writing to a string does not fail");
    let notes = serde_json::to_value(plan)
        .map_err(|source| StepError::engine("writing the walker's notes", source))?;
    Ok(Proposal {
        pair,
        trace: Trace { prompt, turns: vec![Turn { text, searched: None }] },
        notes,
    })
}

#[cfg(test)]
mod tests;
