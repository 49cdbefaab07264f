//! Agent loop: batched multi-turn generation with searches in between.

use std::collections::{HashMap, HashSet};

use forage_trajectory::protocol::PromptThought;
use forage_trajectory::{
    Completion, FinishReason, Hit, Origin, Outcome, Policy, Question, Request, Retriever, Sampling,
    Search, Segment, SegmentKind, Stream, TokenId, Trajectory, error_chain,
};

use crate::grammar::{self, STOP};
use crate::observation::{INVALID_ACTION, Observation, format_hits};
use crate::{RolloutConfig, RolloutError, tagging};

/// Rollout task: one trajectory to generate.
#[derive(Debug, Clone, Copy)]
pub struct RolloutTask<'a> {
    /// Question that is asked.
    pub question: &'a Question,
    /// Index of the trajectory in its group.
    pub member: usize,
    /// Random stream of the trajectory; each turn has a stream of its own.
    pub stream: Stream,
}

/// Rollout: generates one trajectory for each task, as one batch, and returns them in their order.
///
/// A turn is one call of [`Policy::generate`] with all unfinished trajectories, and at most one
/// call of [`Retriever::search`] with their distinct queries. [`Request::sequence`] is the index of
/// the task; a sequence is released when its trajectory is finished, and also when the call fails.
///
/// There are `max_searches + 1` turns. An invalid action, such as an empty query, takes a turn and
/// is answered by [`INVALID_ACTION`]. In the last turn no search is executed. The outcomes:
///
/// | outcome | condition |
/// |---|---|
/// | [`Outcome::Answered`] | a turn has an answer before any search |
/// | [`Outcome::OutOfTurns`] | the last turn is a search |
/// | [`Outcome::NoAnswer`] | the last turn is neither, and the policy ended it |
/// | [`Outcome::Malformed`] | the last turn is neither, and it stopped or was cut at `max_turn_tokens` |
/// | [`Outcome::OverLength`] | no token is left, or the tags of an observation or a warning do not fit |
/// | [`Outcome::Failed`] | a search of the trajectory failed, with the reason in [`Search::failure`] |
///
/// The texts of the policy segments of a turn, joined, are the text of its tokens.
///
/// # Errors
///
/// Invalid settings, errors of the policy, and a policy or retriever that breaks the contract of
/// its trait. A search that fails is no error: it ends its own trajectory.
pub fn run_episodes(
    policy: &mut dyn Policy,
    retriever: &dyn Retriever,
    cfg: &RolloutConfig,
    tasks: &[RolloutTask<'_>],
    sampling: Sampling,
) -> Result<Vec<Trajectory>, RolloutError> {
    cfg.validate()?;
    if cfg.max_searches > 0 {
        check_observation_room(policy, cfg)?;
    }
    let mut trajectories =
        tasks.iter().map(|task| start(policy, cfg, task)).collect::<Result<Vec<_>, _>>()?;

    let mut live: Vec<usize> = (0..tasks.len()).collect();
    let max_tokens = cfg.max_tokens.min(policy.max_context());
    let mut episodes =
        Episodes { policy, retriever, cfg, tasks, sampling, max_tokens, sent: HashMap::new() };
    for turn in 0..=cfg.max_searches {
        if live.is_empty() {
            break;
        }
        let still_live = match episodes.turn(turn, &mut trajectories, &live) {
            Ok(still_live) => still_live,
            Err(error) => {
                episodes.policy.release(&live);
                return Err(error);
            }
        };
        // Both are in ascending order.
        let over: Vec<usize> =
            live.iter().copied().filter(|idx| still_live.binary_search(idx).is_err()).collect();
        episodes.policy.release(&over);
        live = still_live;
    }
    debug_assert!(live.is_empty(), "the last turn ends every trajectory");
    for trajectory in &trajectories {
        debug_assert_eq!(trajectory.check(), Ok(()));
    }
    Ok(trajectories)
}

/// Action of a turn, as the environment handles it.
enum TurnAction {
    /// The trajectory is finished.
    End(Outcome),
    /// A search, with the index of its segment.
    Search { query: String, segment: usize },
    /// An invalid action, which is answered by a warning.
    FormatWarning,
}

/// The unfinished episodes of a batch, with the engines and settings of the rollout.
struct Episodes<'a> {
    policy: &'a mut dyn Policy,
    retriever: &'a dyn Retriever,
    cfg: &'a RolloutConfig,
    tasks: &'a [RolloutTask<'a>],
    sampling: Sampling,
    /// Maximum length of a trajectory: of the settings or of the policy, whichever is smaller.
    max_tokens: usize,
    /// Context and completion of the last turn, by sequence; kept in debug builds only.
    sent: HashMap<usize, Vec<TokenId>>,
}

impl Episodes<'_> {
    /// Advances all unfinished trajectories by a turn. Returns those that go on, in order.
    fn turn(
        &mut self,
        turn: usize,
        trajectories: &mut [Trajectory],
        live: &[usize],
    ) -> Result<Vec<usize>, RolloutError> {
        let (live, spent): (Vec<usize>, Vec<usize>) =
            live.iter().partition(|idx| self.tokens_left(&trajectories[**idx]) > 0);
        for idx in spent {
            trajectories[idx].outcome = Outcome::OverLength;
        }
        if live.is_empty() {
            return Ok(live);
        }

        let completions = self.generate(turn, trajectories, &live)?;
        let is_last = turn == self.cfg.max_searches;
        let mut actions = Vec::with_capacity(live.len());
        for (&idx, completion) in live.iter().zip(&completions) {
            actions.push(self.record(&mut trajectories[idx], completion, is_last)?);
        }
        let found = self.search(&actions)?;

        let mut still_live = Vec::with_capacity(live.len());
        for (idx, action) in live.into_iter().zip(actions) {
            let trajectory = &mut trajectories[idx];
            let outcome = match action {
                TurnAction::End(outcome) => Some(outcome),
                TurnAction::FormatWarning => self.append_format_warning(trajectory)?,
                TurnAction::Search { query, segment } => {
                    let result = found[&query].clone();
                    self.append_observation(trajectory, query, segment, result)?
                }
            };
            match outcome {
                Some(outcome) => trajectory.outcome = outcome,
                None => still_live.push(idx),
            }
        }
        Ok(still_live)
    }

    /// Number of tokens until the trajectory has its maximum length.
    fn tokens_left(&self, trajectory: &Trajectory) -> usize {
        self.max_tokens.saturating_sub(trajectory.tokens.len())
    }

    /// Generates a turn of all unfinished trajectories.
    fn generate(
        &mut self,
        turn: usize,
        trajectories: &[Trajectory],
        live: &[usize],
    ) -> Result<Vec<Completion>, RolloutError> {
        let requests: Vec<Request<'_>> = live
            .iter()
            .map(|&idx| Request {
                sequence: idx,
                context: &trajectories[idx].tokens,
                max_new_tokens: self.cfg.max_turn_tokens.min(self.tokens_left(&trajectories[idx])),
                stop: &STOP,
                stream: self.tasks[idx].stream.at_turn(turn as u64),
            })
            .collect();
        let completions = self
            .policy
            .generate(&requests, self.sampling)
            .map_err(RolloutError::policy(format!("generate turn {turn}")))?;
        check_completions(&requests, &completions)?;
        if cfg!(debug_assertions) {
            for (request, completion) in requests.iter().zip(&completions) {
                let now = [request.context, &completion.tokens].concat();
                let before = self.sent.insert(request.sequence, now).unwrap_or_default();
                assert!(request.context.starts_with(&before), "a sampled token was changed");
            }
        }
        Ok(completions)
    }

    /// Appends a completion with its segments, and decides on the action.
    fn record(
        &self,
        trajectory: &mut Trajectory,
        completion: &Completion,
        is_last: bool,
    ) -> Result<TurnAction, RolloutError> {
        let first_token = trajectory.tokens.len();
        let first_segment = trajectory.segments.len();
        trajectory.push_sampled(&completion.tokens, &completion.logprobs);

        let decode_error = || RolloutError::policy("decode what it generated");
        let text = self.policy.decode(&completion.tokens).map_err(decode_error())?;
        let turn = match trajectory.segments.last() {
            Some(Segment { origin: Origin::Prompt, text: prompt, .. })
                if PromptThought::of(prompt) == PromptThought::Open =>
            {
                grammar::parse_open_thought(&text)
            }
            _ => grammar::parse(&text),
        };
        let runs = tagging::token_runs(self.policy, &completion.tokens, &text, &turn.blocks)
            .map_err(decode_error())?;
        for (block, run) in turn.blocks.iter().zip(runs) {
            let tokens = first_token + run.start..first_token + run.end;
            let content = &text[block.content.clone()];
            trajectory.tag(block.kind, &text[block.bytes.clone()], tokens, Some(content));
        }
        // Tokens that decode to nothing still need a segment.
        if turn.blocks.is_empty() && !completion.tokens.is_empty() {
            trajectory.tag(SegmentKind::Other, "", first_token..trajectory.tokens.len(), None);
        }

        let action = turn.action.map(|idx| first_segment + idx);
        if let Some(segment) = action {
            let Segment { kind, content, .. } = &trajectory.segments[segment];
            match kind {
                SegmentKind::Answer => return Ok(TurnAction::End(Outcome::Answered)),
                // A server that refuses an empty query would take the trajectory out of the
                // statistics, and the agent would learn that this is a way out.
                _ if content.is_empty() => {}
                _ if is_last => return Ok(TurnAction::End(Outcome::OutOfTurns)),
                _ => return Ok(TurnAction::Search { query: content.clone(), segment }),
            }
        }
        Ok(match completion.finish {
            FinishReason::Length if self.tokens_left(trajectory) == 0 => {
                TurnAction::End(Outcome::OverLength)
            }
            FinishReason::EndOfTurn if is_last => TurnAction::End(Outcome::NoAnswer),
            _ if is_last => TurnAction::End(Outcome::Malformed),
            _ => TurnAction::FormatWarning,
        })
    }

    /// Searches the distinct queries of the actions. The result of each is its hits, or the reason
    /// why it failed.
    fn search(
        &self,
        actions: &[TurnAction],
    ) -> Result<HashMap<String, Result<Vec<Hit>, String>>, RolloutError> {
        let mut queries: Vec<&str> = Vec::new();
        let mut seen = HashSet::new();
        for action in actions {
            if let TurnAction::Search { query, .. } = action
                && seen.insert(query.as_str())
            {
                queries.push(query);
            }
        }
        if queries.is_empty() {
            return Ok(HashMap::new());
        }
        let results = self.retriever.search(&queries, self.cfg.top_k);
        if results.len() != queries.len() {
            let problem = format!("gave {} results for {} queries", results.len(), queries.len());
            return Err(RolloutError::Contract { engine: "retriever", problem });
        }
        let results = results.into_iter().map(|result| result.map_err(|error| error_chain(&error)));
        Ok(queries.into_iter().map(str::to_owned).zip(results).collect())
    }

    /// Appends a search and its observation. Returns the outcome if that ends the trajectory.
    fn append_observation(
        &self,
        trajectory: &mut Trajectory,
        query: String,
        segment: usize,
        result: Result<Vec<Hit>, String>,
    ) -> Result<Option<Outcome>, RolloutError> {
        let (hits, failure) = match result {
            Ok(hits) => (hits, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        trajectory.searches.push(Search { query, hits, segment, failure: failure.clone() });
        if let Some(reason) = failure {
            return Ok(Some(Outcome::Failed(reason)));
        }
        let hits = &trajectory.searches.last().expect("it was just pushed").hits;
        let max_tokens = self.cfg.max_observation_tokens.min(self.tokens_left(trajectory));
        let encode = |text: &str| self.policy.encode(text);
        let shown = format_hits(hits, self.cfg.template, max_tokens, encode)
            .map_err(RolloutError::policy("encode an observation"))?;
        let Some(shown) = shown else { return Ok(Some(Outcome::OverLength)) };
        push_observation(trajectory, &shown);
        Ok(None)
    }

    /// Appends the warning about an invalid action. Returns the outcome if it does not fit.
    fn append_format_warning(
        &self,
        trajectory: &mut Trajectory,
    ) -> Result<Option<Outcome>, RolloutError> {
        let tokens =
            self.policy.encode(INVALID_ACTION).map_err(RolloutError::policy("encode a warning"))?;
        if tokens.len() > self.tokens_left(trajectory) {
            return Ok(Some(Outcome::OverLength));
        }
        trajectory.push_given(Origin::Environment, SegmentKind::Warning, INVALID_ACTION, &tokens);
        Ok(None)
    }
}

/// Starts a trajectory with its prompt.
fn start(
    policy: &dyn Policy,
    cfg: &RolloutConfig,
    task: &RolloutTask<'_>,
) -> Result<Trajectory, RolloutError> {
    let mut trajectory = Trajectory::new(&task.question.id, task.member);
    let prompt = cfg.prompt_for(task.question);
    let (text, tokens) = policy.encode_prompt(&cfg.as_prompt(&prompt)).map_err(
        RolloutError::policy(format!("encode the prompt of question `{}`", task.question.id)),
    )?;
    trajectory.push_given(Origin::Prompt, SegmentKind::Prompt, &text, &tokens);
    Ok(trajectory)
}

/// Rejects a limit on observations under which every search would end its trajectory.
fn check_observation_room(policy: &dyn Policy, cfg: &RolloutConfig) -> Result<(), RolloutError> {
    let shortest = format_hits(&[], cfg.template, usize::MAX, |text| policy.encode(text))
        .map_err(RolloutError::policy("encode an observation"))?
        .map_or(0, |shown| shown.tokens.len());
    let max = cfg.max_observation_tokens;
    if shortest <= max {
        return Ok(());
    }
    let problem = format!("is {max}, but an observation without passages takes {shortest} tokens");
    Err(RolloutError::Config { key: "max_observation_tokens", problem })
}

/// Checks the contract of [`Policy::generate`].
fn check_completions(
    requests: &[Request<'_>],
    completions: &[Completion],
) -> Result<(), RolloutError> {
    let broken = |problem| Err(RolloutError::Contract { engine: "policy", problem });
    let (n_requests, n_completions) = (requests.len(), completions.len());
    if n_requests != n_completions {
        return broken(format!("gave {n_completions} completions for {n_requests} requests"));
    }
    for (request, completion) in requests.iter().zip(completions) {
        let (n_tokens, n_logprobs) = (completion.tokens.len(), completion.logprobs.len());
        if n_tokens != n_logprobs {
            return broken(format!("gave {n_logprobs} log-probabilities for {n_tokens} tokens"));
        }
        if n_tokens > request.max_new_tokens {
            let max = request.max_new_tokens;
            return broken(format!("generated {n_tokens} tokens where {max} were allowed"));
        }
    }
    Ok(())
}

/// Appends an observation as a segment of the environment.
fn push_observation(trajectory: &mut Trajectory, shown: &Observation) {
    let kind = SegmentKind::Information;
    trajectory.push_given(Origin::Environment, kind, &shown.text, &shown.tokens);
    if let Some(segment) = trajectory.segments.last_mut() {
        shown.content().clone_into(&mut segment.content);
    }
}
