//! Revision of a plan by feedback.

use rand::rngs::ChaCha8Rng;

use super::GraphGenerator;
use super::graph::without_parenthesis;
use super::plan::{Avoided, Plan};
use super::walk::{Walk, nodes_of};
use crate::feedback_loop::{AgentRun, Item, QaPair};

impl GraphGenerator {
    /// Makes a question harder: a plan after a run with too few searches.
    pub(super) fn make_harder(
        &self,
        item: &Item,
        plan: &Plan,
        run: &AgentRun,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, QaPair, &'static str)> {
        let missing = item.target_steps.saturating_sub(run.trace.n_searches()).max(1);
        let most = self.config.max_facts.max(item.target_steps);
        let mut avoided = plan.avoided.clone();
        if let [chain] = plan.chains.as_slice() {
            if let Some(hop) = self.shortcut(chain, run) {
                avoided.facts.push(chain[hop]);
                let length = chain.len().max(item.target_steps);
                let around = self.fewest_inline_facts(|| {
                    let chain = self.around(chain, hop, length, item, &avoided, rng)?;
                    self.plan_of(chain, &avoided, rng)
                });
                if let Some((plan, pair)) = around {
                    return Some((plan, pair, "Goes around a fact that was not searched for."));
                }
            }
            let length = (chain.len() + missing).min(most);
            let longer = self.fewest_inline_facts(|| {
                if length == chain.len() {
                    return None;
                }
                let chain = self.before(chain, 0, length, &avoided, rng)?;
                self.plan_of(chain, &avoided, rng)
            });
            if let Some((plan, pair)) = longer {
                return Some((plan, pair, "Hides the name it began with behind further facts."));
            }
        }
        let length = (plan.n_facts() + missing).min(most);
        let (plan, pair) = self.another(item, length, &avoided, Some(run), rng)?;
        Some((plan, pair, "Takes a longer way from the document."))
    }

    /// Of several plans, the one with the fewest facts that stand in the passage before their own.
    fn fewest_inline_facts(
        &self,
        mut plan: impl FnMut() -> Option<(Plan, QaPair)>,
    ) -> Option<(Plan, QaPair)> {
        let plans = (0..10).filter_map(|_| plan());
        plans.min_by_key(|(plan, _)| {
            plan.chains.iter().map(|it| self.n_inline_facts(it)).sum::<usize>()
        })
    }

    /// Number of facts of a chain that stand in the passage of the fact before.
    pub(super) fn n_inline_facts(&self, chain: &[usize]) -> usize {
        let told = chain.windows(2).filter(|facts| {
            let passage = &self.graph.nodes[self.graph.edges[facts[0]].from].passage;
            self.graph.answers(facts[1]).iter().any(|answer| passage.text.contains(answer.as_str()))
        });
        told.count()
    }

    /// Makes a question answerable: a plan after no run was right.
    pub(super) fn make_answerable(
        &self,
        item: &Item,
        plan: &Plan,
        run: Option<&AgentRun>,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, QaPair, &'static str)> {
        let mut avoided = plan.avoided.clone();
        if let ([chain], Some(run)) = (plan.chains.as_slice(), run) {
            let n_reached = self.blame(chain, run, &mut avoided);
            // As many facts as can be are kept.
            let other = (0..n_reached).rev().find_map(|n_kept| {
                let node = self.graph.edges[chain[n_kept]].from;
                (0..10).find_map(|_| {
                    self.onward_from(node, &chain[..n_kept], item.target_steps, item, &avoided, rng)
                        .and_then(|chain| self.plan_of(chain, &avoided, rng))
                })
            });
            if let Some((plan, pair)) = other {
                return Some((plan, pair, "Keeps what was found, and goes on another way."));
            }
        }
        let (plan, pair) = self.another(item, item.target_steps, &avoided, run, rng)?;
        Some((plan, pair, "Takes another way."))
    }

    /// Number of passages of a chain that a run reached: it searched for them by their names and
    /// found them. Avoids what kept the run from the next one: the fact that leads there, and its
    /// node where the run went on searching and did not find it. Where the run reached all
    /// passages, that is the last fact, and the node of the answer.
    fn blame(&self, chain: &[usize], run: &AgentRun, avoided: &mut Avoided) -> usize {
        let reached: Vec<usize> = chain
            .iter()
            .map_while(|edge| self.reached(self.graph.edges[*edge].from, run))
            .collect();
        let n_reached = reached.len();
        avoided.facts.push(chain[n_reached.saturating_sub(1)]);
        let searched = reached.last().map_or(0, |last| last + 1);
        let missed = match chain.get(n_reached) {
            Some(next) => {
                let went_on = searched < run.trace.n_searches();
                went_on.then(|| self.graph.edges[*next].from)
            }
            None => chain.last().and_then(|edge| self.graph.next(*edge)),
        };
        avoided.nodes.extend(missed);
        n_reached
    }

    /// The first search of a run that named a node and found its passage.
    fn reached(&self, node: usize, run: &AgentRun) -> Option<usize> {
        let node = &self.graph.nodes[node];
        let name = without_parenthesis(&node.name).unwrap_or(&node.name).to_lowercase();
        run.trace.searches().position(|search| {
            search.hits.iter().any(|hit| hit.id == node.passage.id)
                && search.query.to_lowercase().contains(&name)
        })
    }

    /// Nodes that a run searched for by their names and found, in the order of its hits.
    pub(super) fn found_by_name(&self, run: &AgentRun) -> Vec<usize> {
        let hits = run.trace.searches().flat_map(|it| &it.hits);
        let nodes = hits.filter_map(|hit| self.nodes.get(&hit.id).copied());
        nodes.filter(|node| self.reached(*node, run).is_some()).collect()
    }

    /// A chain of `length` facts that begins with the kept ones and goes on from a node.
    fn onward_from(
        &self,
        node: usize,
        kept: &[usize],
        length: usize,
        item: &Item,
        avoided: &Avoided,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<usize>> {
        let length = length.checked_sub(kept.len()).filter(|it| *it > 0)?;
        let taken = kept.iter().map(|edge| self.graph.edges[*edge].from);
        let end =
            Walk::past(&self.graph, avoided, taken).onward(node, length, item.answer_type, rng)?;
        Some([kept, &end].concat())
    }

    /// For each fact, the index of the first search that found its passage.
    fn found(&self, chain: &[usize], run: &AgentRun) -> Vec<Option<usize>> {
        let searches: Vec<_> = run.trace.searches().collect();
        let of = |edge: &usize| {
            let id = &self.graph.nodes[self.graph.edges[*edge].from].passage.id;
            searches.iter().position(|search| search.hits.iter().any(|hit| hit.id == *id))
        };
        chain.iter().map(of).collect()
    }

    /// Index of the first fact that an earlier search found too, or that the run did not find.
    fn shortcut(&self, chain: &[usize], run: &AgentRun) -> Option<usize> {
        let found = self.found(chain, run);
        (1..chain.len()).find(|&hop| found[hop].is_none() || found[..hop].contains(&found[hop]))
    }

    /// A chain of `length` facts to the same answer, or one of its type, without the fact at `hop`.
    fn around(
        &self,
        chain: &[usize],
        hop: usize,
        length: usize,
        item: &Item,
        avoided: &Avoided,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<usize>> {
        if let Some(chain) = self.before(chain, hop + 1, length, avoided, rng) {
            return Some(chain);
        }
        let node = self.graph.edges[chain[hop]].from;
        self.onward_from(node, &chain[..hop], length, item, avoided, rng)
    }

    /// A chain of `length` facts to the same answer: facts from hop `from` on are kept, as many as
    /// possible, and others come before them.
    fn before(
        &self,
        chain: &[usize],
        from: usize,
        length: usize,
        avoided: &Avoided,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<usize>> {
        (from..chain.len()).find_map(|cut| {
            let kept = &chain[cut..];
            let node = self.graph.edges[*kept.first()?].from;
            let taken = nodes_of(&self.graph, kept).into_iter().filter(|it| *it != node);
            let length = length.checked_sub(kept.len())?;
            let front = Walk::past(&self.graph, avoided, taken).back(node, length, rng)?;
            Some([&front, kept].concat())
        })
    }
}
