//! Question generator without a language model: random walks over a knowledge graph.
//!
//! [`GraphGenerator::of_world`] has the facts of a generated world; [`GraphGenerator::of_passages`]
//! links what the passages of any corpus mention. A question asks for the end of a chain of facts,
//! and obfuscates all names on the way: each is described by the fact before. The names become the
//! entities of the evidence (E-GRPO, arXiv 2510.24694), and the facts its steps. Two chains may be
//! joined: by a comparison in a generated world, by the node that both lead to in plain text.
//!
//! Feedback changes the plan of a question:
//!
//! - *Too easy*: facts that one search found together, and facts that the run did not find, are
//!   avoided; where there are none, the chain is made longer at its beginning, which hides the name
//!   that the question began with. Of several such plans, the one is taken with the fewest facts
//!   that stand in the passage before their own.
//! - *Wrong*: facts that the run searched for by name and found are kept, and the chain goes on
//!   from there past the fact that the run did not read, and past a name that it searched for in
//!   vain. Where nothing can be kept, another chain goes through the document, or through another
//!   passage that the run searched for and found.
//! - Where every chain has failed, the generator starts again.
//!
//! Departure from SAGE: the paper's generator may use only what it has seen in its traces. This one
//! has its whole graph, and does not search in any round.

mod graph;
mod plan;
mod walk;

mod join;
mod pair;
mod revise;

mod english;
mod plain_text;
mod world_graph;

mod error;

use std::collections::HashMap;
use std::fmt::Write;

use forage_trajectory::{Passage, Stream};
use forage_world::World;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use self::graph::Graph;
use self::plan::{Avoided, Plan};
use self::walk::through;
use crate::config_error::ConfigError;
use crate::feedback_loop::{
    AgentRun, AnswerType, Feedback, Item, Proposal, QaPair, QuestionGenerator, Revision, StepError,
    Trace, TraceTurn, WithUsage,
};

pub use error::TitleLinkError;

/// Configuration of the graph generator: the `[generator.walker]` section of a run file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphGeneratorConfig {
    /// Share of joins among the questions for entities, from 0 to 1: in a generated world,
    /// comparisons of four facts or more; in plain text, questions for the one name that two
    /// articles share. Default: 0.
    pub joins: f64,
    /// Most facts of a question. In run files, the key is `most_facts`. Default: 12.
    #[serde(rename = "most_facts")]
    pub max_facts: usize,
}

impl Default for GraphGeneratorConfig {
    fn default() -> Self {
        Self { joins: 0.0, max_facts: 12 }
    }
}

impl GraphGeneratorConfig {
    /// Checks that every value can be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(0.0..=1.0).contains(&self.joins) {
            let problem = format!("is {}, not a probability", self.joins);
            return Err(ConfigError { key: "generator.walker.joins", problem });
        }
        if self.max_facts == 0 {
            let problem = "is 0".to_owned();
            return Err(ConfigError { key: "generator.walker.most_facts", problem });
        }
        Ok(())
    }
}

/// Question generator by random walks over a knowledge graph.
#[derive(Debug)]
pub struct GraphGenerator {
    graph: Graph,
    /// Node of each passage, by the id of the passage.
    nodes: HashMap<String, usize>,
    config: GraphGeneratorConfig,
    /// Whether it is told how many searches a question should take.
    is_told: bool,
}

/// Reason of an item without a question.
const NO_CHAIN: &str = "no chain of facts";

impl GraphGenerator {
    /// Generator over the facts of a generated world.
    pub fn of_world(world: &World, config: GraphGeneratorConfig) -> Self {
        Self::new(world_graph::graph(world), config)
    }

    /// Generator over any passages, whose titles are linked.
    ///
    /// # Errors
    ///
    /// More titles than a matcher can hold.
    pub fn of_passages(
        passages: &[Passage],
        config: GraphGeneratorConfig,
    ) -> Result<Self, TitleLinkError> {
        Ok(Self::new(plain_text::graph(passages)?, config))
    }

    fn new(graph: Graph, config: GraphGeneratorConfig) -> Self {
        let by_id =
            graph.nodes.iter().enumerate().map(|(idx, node)| (node.passage.id.clone(), idx));
        Self { nodes: by_id.collect(), graph, config, is_told: true }
    }

    /// The same generator, not told how many searches a question should take (an ablation of SAGE).
    /// It aims at one to [`GraphGeneratorConfig::max_facts`] facts, drawn uniformly; at one search
    /// more than a run that found the question too easy; and at as many facts as before where a
    /// question was wrong.
    #[must_use]
    pub fn without_target(mut self) -> Self {
        self.is_told = false;
        self
    }

    /// The item with the number of searches that the generator aims at.
    fn aimed(&self, item: &Item, untold: impl FnOnce() -> usize) -> Item {
        let target_steps = if self.is_told { item.target_steps } else { untold() };
        Item { target_steps, ..item.clone() }
    }

    /// Passages that a chain can go through: those with facts.
    pub fn passages(&self) -> Vec<Passage> {
        let nodes = self.graph.nodes.iter().enumerate();
        nodes
            .filter(|(idx, _)| !self.graph.out_of(*idx).is_empty())
            .map(|(_, node)| node.passage.clone())
            .collect()
    }

    /// Number of facts.
    pub fn n_facts(&self) -> usize {
        self.graph.edges.len()
    }

    /// A new plan of `length` facts through a node.
    fn fresh(
        &self,
        item: &Item,
        node: usize,
        length: usize,
        avoided: &Avoided,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, QaPair)> {
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
            self.plan_of(chain, avoided, rng)
        })
    }

    /// Another plan through the document or, where there is none, through a passage that a run
    /// searched for and found. Where all of that failed before, a plan without regard to failures.
    fn another(
        &self,
        item: &Item,
        length: usize,
        avoided: &Avoided,
        run: Option<&AgentRun>,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, QaPair)> {
        let document = *self.nodes.get(&item.document.id)?;
        let found = run.map(|it| self.found_by_name(it)).unwrap_or_default();
        [document]
            .into_iter()
            .chain(found)
            .filter(|node| !avoided.nodes.contains(node))
            .find_map(|node| self.fresh(item, node, length, avoided, rng))
            .or_else(|| self.fresh(item, document, item.target_steps, &Avoided::default(), rng))
    }

    /// The plan of a chain, with its pair.
    fn plan_of(
        &self,
        chain: Vec<usize>,
        avoided: &Avoided,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, QaPair)> {
        let plan = Plan { avoided: avoided.clone(), ..Plan::chain(chain) };
        let pair = plan.pair(&self.graph, rng)?;
        Some((plan, pair))
    }
}

impl QuestionGenerator for GraphGenerator {
    fn propose(&self, item: &Item, stream: Stream) -> Result<WithUsage<Proposal>, StepError> {
        let rng = &mut stream.rng();
        let item = &self.aimed(item, || rng.random_range(1..=self.config.max_facts));
        let node = self.nodes.get(&item.document.id);
        let (plan, pair) = node
            .and_then(|node| self.fresh(item, *node, item.target_steps, &Avoided::default(), rng))
            .ok_or_else(|| StepError::item(NO_CHAIN))?;
        let prompt = format!(
            "A question that takes {} searches, whose answer is of the type `{}`, around “{}”:\n{}",
            item.target_steps, item.answer_type, item.document.title, item.document.text
        );
        Ok(WithUsage::free(proposal(prompt, "A walk.", &plan, pair)?))
    }

    fn revise(&self, revision: &Revision<'_>) -> Result<WithUsage<Proposal>, StepError> {
        let Revision { item, previous, feedback, stream, .. } = *revision;
        let plan: Plan = serde_json::from_value(previous.notes.clone())
            .map_err(|source| StepError::engine("reading the walker's notes", source))?;
        let mut facts = plan.chains.iter().chain([&plan.avoided.facts]).flatten();
        let unknown_node = plan.avoided.nodes.iter().any(|node| *node >= self.graph.nodes.len());
        if unknown_node || facts.any(|it| *it >= self.n_facts()) {
            return Err(StepError::engine("reading the walker's notes", "the corpus is another"));
        }
        let item = &self.aimed(item, || match feedback {
            Feedback::TooEasy(run) => run.trace.n_searches() + 1,
            Feedback::Wrong(_) => plan.n_facts(),
        });
        let rng = &mut stream.rng();
        let (said, run, changed) = match feedback {
            Feedback::TooEasy(run) => {
                let searches = run.trace.n_searches();
                let said = format!("It took {searches} searches, not {}:", item.target_steps);
                (said, Some(*run), self.make_harder(item, &plan, run, rng))
            }
            Feedback::Wrong(run) => {
                let said = "No run came to the answer:".to_owned();
                (said, *run, self.make_answerable(item, &plan, *run, rng))
            }
        };
        let (plan, pair, how) = changed.ok_or_else(|| StepError::item(NO_CHAIN))?;
        let shown = run.map(|run| run.trace.text()).unwrap_or_default();
        let prompt = format!(
            "{}\n\n{said}\n{shown}\n\nA better question that takes {} searches:",
            previous.trace.text(),
            item.target_steps
        );
        Ok(WithUsage::free(proposal(prompt, how, &plan, pair)?))
    }
}

/// The proposal of a pair and its plan.
fn proposal(prompt: String, how: &str, plan: &Plan, pair: QaPair) -> Result<Proposal, StepError> {
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
        trace: Trace { prompt, turns: vec![TraceTurn { text, searched: None }] },
        notes,
    })
}

#[cfg(test)]
mod tests;
