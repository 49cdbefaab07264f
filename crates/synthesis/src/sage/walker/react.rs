//! How a walker answers to feedback.

use rand::rngs::ChaCha8Rng;

use super::Walker;
use super::graph::without_parenthesis;
use super::plan::{Avoided, Plan, Walk, nodes_of};
use crate::sage::{Item, Pair, Run};

impl Walker {
    /// A plan after a run that was too short.
    pub(super) fn harder(
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
                avoided.facts.push(chain[hop]);
                let length = chain.len().max(item.target_steps);
                let around = self.least_told(|| {
                    let chain = self.around(chain, hop, length, item, &avoided, rng)?;
                    self.put(chain, &avoided, rng)
                });
                if let Some((plan, pair)) = around {
                    return Some((plan, pair, "Goes around a fact that was not searched for."));
                }
            }
            let length = (chain.len() + missing).min(most);
            let longer = self.least_told(|| {
                if length == chain.len() {
                    return None;
                }
                let chain = self.before(chain, 0, length, &avoided, rng)?;
                self.put(chain, &avoided, rng)
            });
            if let Some((plan, pair)) = longer {
                return Some((plan, pair, "Hides the name it began with behind further facts."));
            }
        }
        let length = (plan.n_facts() + missing).min(most);
        let (plan, pair) = self.another(item, length, &avoided, Some(run), rng)?;
        Some((plan, pair, "Takes a longer way from the document."))
    }

    /// Of several plans the one with the fewest facts that a passage tells before they are searched
    /// for.
    fn least_told(&self, mut plan: impl FnMut() -> Option<(Plan, Pair)>) -> Option<(Plan, Pair)> {
        let plans = (0..10).filter_map(|_| plan());
        plans.min_by_key(|(plan, _)| plan.chains.iter().map(|it| self.n_told(it)).sum::<usize>())
    }

    /// How many facts of a chain stand in the passage of the fact before.
    pub(super) fn n_told(&self, chain: &[usize]) -> usize {
        let told = chain.windows(2).filter(|facts| {
            let passage = &self.graph.nodes[self.graph.edges[facts[0]].from].passage;
            self.graph.answers(facts[1]).iter().any(|it| passage.text.contains(it.as_str()))
        });
        told.count()
    }

    /// A plan after no run was right.
    pub(super) fn righter(
        &self,
        item: &Item,
        plan: &Plan,
        run: Option<&Run>,
        rng: &mut ChaCha8Rng,
    ) -> Option<(Plan, Pair, &'static str)> {
        let mut avoided = plan.avoided.clone();
        if let ([chain], Some(run)) = (plan.chains.as_slice(), run) {
            let n_reached = self.blame(chain, run, &mut avoided);
            // As many facts as can be are kept.
            let other = (0..n_reached).rev().find_map(|n_kept| {
                let node = self.graph.edges[chain[n_kept]].from;
                (0..10).find_map(|_| {
                    self.onward_from(node, &chain[..n_kept], item.target_steps, item, &avoided, rng)
                        .and_then(|chain| self.put(chain, &avoided, rng))
                })
            });
            if let Some((plan, pair)) = other {
                return Some((plan, pair, "Keeps what was found, and goes on another way."));
            }
        }
        let (plan, pair) = self.another(item, item.target_steps, &avoided, run, rng)?;
        Some((plan, pair, "Takes another way."))
    }

    /// How many passages of a chain a run reached: it searched for them by their names and found
    /// them. What kept it from the next one is avoided from now on: the fact that leads there, and
    /// the name itself where the run went on searching and did not find it. Where the run reached
    /// all of them, that is the last fact, and the answer.
    fn blame(&self, chain: &[usize], run: &Run, avoided: &mut Avoided) -> usize {
        let reached: Vec<usize> =
            chain.iter().map_while(|it| self.reached(self.graph.edges[*it].from, run)).collect();
        let n_reached = reached.len();
        avoided.facts.push(chain[n_reached.saturating_sub(1)]);
        let searched = reached.last().map_or(0, |last| last + 1);
        let missed = match chain.get(n_reached) {
            Some(next) => {
                let went_on = searched < run.trace.n_searches();
                went_on.then(|| self.graph.edges[*next].from)
            }
            None => chain.last().and_then(|it| self.graph.next(*it)),
        };
        avoided.nodes.extend(missed);
        n_reached
    }

    /// The first search of a run that named a node and found its passage.
    fn reached(&self, node: usize, run: &Run) -> Option<usize> {
        let node = &self.graph.nodes[node];
        let name = without_parenthesis(&node.name).unwrap_or(&node.name).to_lowercase();
        run.trace.searches().position(|search| {
            search.hits.iter().any(|hit| hit.id == node.passage.id)
                && search.query.to_lowercase().contains(&name)
        })
    }

    /// The nodes that a run searched for by their names and found, in its order.
    pub(super) fn found_by_name(&self, run: &Run) -> Vec<usize> {
        let hits = run.trace.searches().flat_map(|it| &it.hits);
        let nodes = hits.filter_map(|hit| self.nodes.get(&hit.id).copied());
        nodes.filter(|node| self.reached(*node, run).is_some()).collect()
    }

    /// A chain of this length that begins with facts that are kept and goes on from a node.
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
        let taken = kept.iter().map(|it| self.graph.edges[*it].from);
        let end =
            Walk::past(&self.graph, avoided, taken).onward(node, length, item.answer_type, rng)?;
        Some([kept, &end].concat())
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
        avoided: &Avoided,
        rng: &mut ChaCha8Rng,
    ) -> Option<Vec<usize>> {
        if let Some(chain) = self.before(chain, hop + 1, length, avoided, rng) {
            return Some(chain);
        }
        let node = self.graph.edges[chain[hop]].from;
        self.onward_from(node, &chain[..hop], length, item, avoided, rng)
    }

    /// A chain of this length to the same answer: other facts before those from some hop on, of
    /// which as many are kept as can be.
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
