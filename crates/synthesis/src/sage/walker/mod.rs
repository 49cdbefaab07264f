//! A generator without a language model: it walks from fact to fact, and puts the walk into words.
//!
//! [`Walker::of_world`] knows the facts of a generated world; [`Walker::of_passages`] finds out
//! what the passages of any corpus mention. A question asks for the end of a chain of facts, and all
//! names on the way are obfuscated: they appear only as what the fact before leads to. They become
//! the entities of the evidence (E-GRPO), and the facts its steps. In a generated world, two chains
//! may be joined by a comparison.
//!
//! How it answers to feedback:
//!
//! - *Too easy*: facts that one search found together, and facts that the run did without, are
//!   gone around; where there are none, the chain is made longer at its beginning, which hides the
//!   name that the question began with.
//! - *Wrong*: what the run found is kept, and from the first fact that it did not find, another way
//!   is taken.
//!
//! Departure from SAGE: the paper's generator may use only what it has seen in its traces. The
//! walker knows its whole graph, and does not search in either round.

mod graph;
mod plan;
mod text;
mod world;

use std::collections::HashMap;
use std::fmt::Write;

use forage_trajectory::{Passage, Stream};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use self::graph::Graph;
use self::plan::{Plan, Walk, join, nodes_of, through};
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
    /// Share of questions with an entity as their answer, and four steps or more, that compare the
    /// ends of two chains. Only a generated world has numbers to compare.
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

    /// A fresh plan for an item, of this many facts.
    fn fresh(
        &self,
        item: &Item,
        length: usize,
        avoided: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, Pair)> {
        let node = *self.nodes.get(&item.document.id)?;
        if item.answer_type == AnswerType::Entity
            && length >= 4
            && rng.random_bool(self.config.joins)
            && let Some(plan) = join(&self.graph, node, length, rng)
            && let Some(pair) = plan.pair(&self.graph, rng)
        {
            return Some((plan, pair));
        }
        (0..10).find_map(|_| {
            let chain = through(&self.graph, node, length, item.answer_type, avoided, rng)?;
            let plan = Plan { avoided: avoided.to_vec(), ..Plan::chain(chain) };
            let pair = plan.pair(&self.graph, rng)?;
            Some((plan, pair))
        })
    }

    /// A plan after a run that was too short.
    fn harder(
        &self,
        item: &Item,
        plan: &Plan,
        run: &Run,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, Pair, &'static str)> {
        let missing = item.target_steps.saturating_sub(run.trace.n_searches()).max(1);
        let most = self.config.most_facts.max(item.target_steps);
        let mut avoided = plan.avoided.clone();
        if let [chain] = plan.chains.as_slice() {
            if let Some(hop) = self.shortcut(chain, run) {
                avoided.push(chain[hop]);
                let length = chain.len().max(item.target_steps);
                let around = (0..10).find_map(|_| {
                    let chain = self.around(chain, hop, length, item, &avoided, rng)?;
                    self.put(chain, &avoided, rng)
                });
                if let Some((plan, pair)) = around {
                    return Some((plan, pair, "Goes around a fact that was not searched for."));
                }
            }
            let length = (chain.len() + missing).min(most);
            let longer = (0..10).filter(|_| length > chain.len()).find_map(|_| {
                let chain = self.before(chain, 0, length, &avoided, rng)?;
                self.put(chain, &avoided, rng)
            });
            if let Some((plan, pair)) = longer {
                return Some((plan, pair, "Hides the name it began with behind further facts."));
            }
        }
        let length = (plan.n_facts() + missing).min(most);
        let (plan, pair) = self.fresh(item, length, &avoided, rng)?;
        Some((plan, pair, "Takes a longer way from the document."))
    }

    /// A plan after no run was right.
    fn righter(
        &self,
        item: &Item,
        plan: &Plan,
        run: Option<&Run>,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, Pair, &'static str)> {
        let mut avoided = plan.avoided.clone();
        if let ([chain], Some(run)) = (plan.chains.as_slice(), run) {
            let found = self.found(chain, run);
            let lost = found.iter().position(Option::is_none).unwrap_or(chain.len());
            // The fact before the first passage that was not found was misread; where all were
            // found, the last one was.
            let failed = lost.saturating_sub(1).min(chain.len() - 1);
            avoided.push(chain[failed]);
            if failed > 0 {
                let other = (0..10).find_map(|_| {
                    let kept = chain[..failed].to_vec();
                    let node = self.graph.next(*kept.last()?)?;
                    let taken = kept.iter().map(|it| self.graph.edges[*it].from).collect();
                    let mut walk = Walk { graph: &self.graph, avoided: &avoided, taken };
                    let length = item.target_steps.checked_sub(kept.len()).filter(|it| *it > 0)?;
                    let rest = walk.onward(node, length, item.answer_type, rng)?;
                    self.put([kept, rest].concat(), &avoided, rng)
                });
                if let Some((plan, pair)) = other {
                    return Some((plan, pair, "Keeps what was found, and goes on another way."));
                }
            }
        }
        let (plan, pair) = self.fresh(item, item.target_steps, &avoided, rng)?;
        Some((plan, pair, "Takes another way from the document."))
    }

    fn put(
        &self,
        chain: Vec<usize>,
        avoided: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, Pair)> {
        let plan = Plan { avoided: avoided.to_vec(), ..Plan::chain(chain) };
        let pair = plan.pair(&self.graph, rng)?;
        Some((plan, pair))
    }

    /// For each fact, the first search that found its passage.
    fn found(&self, chain: &[usize], run: &Run) -> Vec<Option<usize>> {
        let searches: Vec<_> = run.trace.searches().collect();
        let of = |edge: &usize| {
            let id = &self.graph.nodes[self.graph.edges[*edge].from].passage.id;
            searches.iter().position(|search| search.hits.iter().any(|hit| hit.id == *id))
        };
        chain.iter().map(of).collect()
    }

    /// The first fact that came with the search for one before it, or that the run did without.
    fn shortcut(&self, chain: &[usize], run: &Run) -> Option<usize> {
        let found = self.found(chain, run);
        (1..chain.len()).find(|&hop| found[hop].is_none() || found[..hop].contains(&found[hop]))
    }

    /// A chain of this length to the same answer, or one of its type, without the fact at `hop`.
    fn around(
        &self,
        chain: &[usize],
        hop: usize,
        length: usize,
        item: &Item,
        avoided: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<usize>> {
        if let Some(chain) = self.before(chain, hop + 1, length, avoided, rng) {
            return Some(chain);
        }
        let kept = &chain[..hop];
        let node = self.graph.next(*kept.last()?)?;
        let taken = kept.iter().map(|it| self.graph.edges[*it].from).collect();
        let mut walk = Walk { graph: &self.graph, avoided, taken };
        let end = walk.onward(node, length - kept.len(), item.answer_type, rng)?;
        Some([kept, &end].concat())
    }

    /// A chain of this length to the same answer: other facts before those from some hop on, of
    /// which as many are kept as can be.
    fn before(
        &self,
        chain: &[usize],
        from: usize,
        length: usize,
        avoided: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<usize>> {
        (from..chain.len()).find_map(|cut| {
            let kept = &chain[cut..];
            let node = self.graph.edges[*kept.first()?].from;
            let taken = nodes_of(&self.graph, kept).into_iter().filter(|it| *it != node).collect();
            let mut walk = Walk { graph: &self.graph, avoided, taken };
            let front = walk.back(node, length.checked_sub(kept.len())?, rng)?;
            Some([&front, kept].concat())
        })
    }
}

impl Generator for Walker {
    fn propose(&self, item: &Item, stream: Stream) -> Result<Made<Proposal>, StepError> {
        let rng = &mut stream.rng();
        let (plan, pair) = self
            .fresh(item, item.target_steps, &[], rng)
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
        if plan.chains.iter().chain([&plan.avoided]).flatten().any(|it| *it >= self.n_facts()) {
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
