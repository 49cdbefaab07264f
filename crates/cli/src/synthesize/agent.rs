//! Local model as the agent: runs of many items are played as one batch.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use forage_rollout::{RolloutConfig, RolloutTask, run_episodes};
use forage_synthesis::feedback_loop::{
    Agent, AgentRun, ExecutedSearch, StepError, Trace, TraceTurn, WithUsage,
};
use forage_trajectory::{
    Origin, Outcome, Policy, Question, Retriever, Sampling, SegmentKind, Stream, Trajectory,
};

/// Request for runs of one question.
struct RunRequest {
    question: String,
    streams: Vec<Stream>,
    reply: Sender<Vec<Result<WithUsage<AgentRun>, StepError>>>,
}

/// Agent handle for the threads of items: it sends requests to the thread of the model.
#[derive(Debug, Clone)]
pub struct ModelAgent {
    requests: Sender<RunRequest>,
}

impl Agent for ModelAgent {
    fn answer(&self, question: &str, stream: Stream) -> Result<WithUsage<AgentRun>, StepError> {
        let mut runs = self.answer_all(question, &[stream]);
        runs.pop().unwrap_or_else(|| Err(StepError::engine("the agent", "it gave no run")))
    }

    fn answer_all(
        &self,
        question: &str,
        streams: &[Stream],
    ) -> Vec<Result<WithUsage<AgentRun>, StepError>> {
        let (reply, runs) = channel();
        let request =
            RunRequest { question: question.to_owned(), streams: streams.to_vec(), reply };
        let gone = || {
            streams.iter().map(|_| Err(StepError::engine("the agent", "it has ended"))).collect()
        };
        match self.requests.send(request) {
            Ok(()) => runs.recv().unwrap_or_else(|_| gone()),
            Err(_) => gone(),
        }
    }
}

/// Calls `work` on another thread, with an agent whose runs are played on this one: the model stays
/// on its thread. Requests that arrive during a batch form the next batch.
///
/// A run depends on question and stream alone, as far as the completions of the policy do not
/// depend on their batch.
pub fn with_model<T: Send>(
    policy: &mut dyn Policy,
    retriever: &dyn Retriever,
    rollout: &RolloutConfig,
    sampling: Sampling,
    work: impl FnOnce(&ModelAgent) -> T + Send,
) -> T {
    let (requests, waiting) = channel();
    thread::scope(|scope| {
        let worker = scope.spawn(move || work(&ModelAgent { requests }));
        serve(policy, retriever, rollout, sampling, &waiting);
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Plays batches of requests until all handles are dropped.
fn serve(
    policy: &mut dyn Policy,
    retriever: &dyn Retriever,
    rollout: &RolloutConfig,
    sampling: Sampling,
    waiting: &Receiver<RunRequest>,
) {
    while let Ok(first) = waiting.recv() {
        let requests: Vec<RunRequest> = std::iter::once(first).chain(waiting.try_iter()).collect();
        let questions: Vec<Question> = requests
            .iter()
            .map(|request| Question { text: request.question.clone(), ..Question::default() })
            .collect();
        let tasks: Vec<RolloutTask<'_>> = requests
            .iter()
            .zip(&questions)
            .flat_map(|(request, question)| {
                let streams = request.streams.iter().enumerate();
                streams.map(move |(member, stream)| RolloutTask {
                    question,
                    member,
                    stream: *stream,
                })
            })
            .collect();
        let played = run_episodes(policy, retriever, rollout, &tasks, sampling);
        let mut trajectories = match played {
            Ok(trajectories) => trajectories.into_iter(),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::new(error));
                for request in requests {
                    let failed = |_| Err(StepError::engine("playing a batch", error.clone()));
                    // A receiver that was dropped needs no reply.
                    let _ = request.reply.send((0..request.streams.len()).map(failed).collect());
                }
                continue;
            }
        };
        for request in requests {
            let runs = trajectories.by_ref().take(request.streams.len()).map(|it| run_of(&it));
            // A receiver that was dropped needs no reply.
            let _ = request.reply.send(runs.collect());
        }
    }
}

/// Run of a trajectory, as text. A trajectory that the infrastructure failed is an error.
pub fn run_of(trajectory: &Trajectory) -> Result<WithUsage<AgentRun>, StepError> {
    if let Outcome::Failed(reason) = &trajectory.outcome {
        return Err(StepError::engine("the search engine", reason.clone()));
    }
    let mut trace = Trace::default();
    let mut turn = TraceTurn::default();
    for (idx, segment) in trajectory.segments.iter().enumerate() {
        match segment.origin {
            Origin::Prompt => trace.prompt.push_str(&segment.text),
            Origin::Policy => {
                turn.text.push_str(&segment.text);
                let search = trajectory.searches.iter().find(|it| it.segment == idx);
                if let Some(search) = search {
                    let (query, hits) = (search.query.clone(), search.hits.clone());
                    turn.searched = Some(ExecutedSearch { query, hits });
                }
            }
            Origin::Environment => {
                if segment.kind == SegmentKind::Warning {
                    turn.text.push_str(&segment.text);
                }
                trace.turns.push(std::mem::take(&mut turn));
            }
        }
    }
    if turn != TraceTurn::default() {
        trace.turns.push(turn);
    }
    let answered = trajectory.outcome == Outcome::Answered;
    let answer = trajectory.final_answer().filter(|_| answered).map(str::to_owned);
    Ok(WithUsage::free(AgentRun { answer, trace }))
}

#[cfg(test)]
mod tests {
    use forage_rollout::scripted::{Bytes, ScriptedPolicy};
    use forage_trajectory::{Hit, Purpose, SearchError};

    use super::*;

    struct Pages;

    impl Retriever for Pages {
        fn search(&self, queries: &[&str], _k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
            let found = |query: &&str| match *query {
                "broken" => {
                    Err(SearchError { query: (*query).to_owned(), source: "no engine".into() })
                }
                id => Ok(vec![Hit { id: id.to_owned(), text: "page".into(), ..Hit::default() }]),
            };
            queries.iter().map(found).collect()
        }
    }

    #[test]
    fn runs_of_many_threads_are_played_together() {
        let script = |context: &str, _: usize, turn: usize| {
            let name = context.split(['?', ' ']).next().unwrap_or_default().to_owned();
            match (turn, name.as_str()) {
                (0, "bad") => "<search> broken </search>".to_owned(),
                (0, "vague") => "<think> hm </think>".to_owned(),
                (0, _) => format!("<think> ? </think><search> {name} </search>"),
                _ => format!("<answer> {name} </answer>"),
            }
        };
        let mut policy = ScriptedPolicy::new(Bytes, script).with_max_context(usize::MAX);
        let rollout =
            RolloutConfig { prompt: "{question} ".to_owned(), ..RolloutConfig::default() };
        let stream = Stream::new(1, Purpose::Verification);
        let request = |agent: &ModelAgent, name: &str| agent.answer_all(name, &[stream, stream]);
        let runs = with_model(&mut policy, &Pages, &rollout, Sampling::Greedy, |agent| {
            thread::scope(|scope| {
                let names = ["a", "bad", "vague", "b"];
                let asked = names.map(|name| scope.spawn(move || request(agent, name)));
                asked.map(|it| it.join().unwrap())
            })
        });
        let [a, bad, vague, b] = runs;
        for (runs, name, n_searches) in [(a, "a", 1), (vague, "vague", 0), (b, "b", 1)] {
            assert_eq!(runs.len(), 2);
            for run in runs {
                let run = run.unwrap().value;
                assert_eq!(run.answer(), Some(name));
                assert_eq!(run.trace.n_searches(), n_searches);
                assert_eq!(run.trace.turns.len(), 2);
                assert!(run.trace.prompt.starts_with(name));
                let ids: Vec<_> =
                    run.trace.searches().flat_map(|it| &it.hits).map(|it| &it.id).collect();
                assert!(ids.iter().all(|it| *it == name));
            }
        }
        for run in bad {
            assert!(matches!(run, Err(StepError::Engine { .. })), "{run:?}");
        }
    }
}
