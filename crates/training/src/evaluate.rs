//! Evaluation on held-out questions: exact match and F1, by hops, with bootstrap intervals.
//!
//! A question whose search failed has no result: it is counted apart and is in no mean. Where no
//! search succeeds, or the budget of failures is spent, the evaluation is an error.
//!
//! Neither has a question whose prompt leaves no token for the policy, which was never asked: verl
//! filters such prompts out by default (`filter_overlong_prompts`).

use std::collections::BTreeMap;

use forage_reward_sdk::text::{exact_match, token_f1};
use forage_rollout::{RolloutConfig, RolloutTask, run_episodes};
use forage_trajectory::statistics::mean;
use forage_trajectory::{
    Group, Outcome, Policy, Purpose, Question, Retriever, Sampling, Stream, Trajectory,
};
use rand::RngExt;

use crate::environment::Environment;
use crate::error::{ConfigurationError, Diverged, TrainingError};
use crate::observer::Observer;
use crate::record::{Evaluation, EvaluationRow, GradeRecord, GroupRecord, Interval};
use crate::run_folder::RunFolder;

/// Batch size of evaluations, in trajectories.
const BATCH: usize = 128;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2_000;

/// Failed questions that a warning names.
const NAMED: usize = 5;

/// Trajectory of an evaluated question, with its scores.
#[derive(Debug, Clone)]
pub struct EvaluatedTrajectory {
    /// Trajectory.
    pub trajectory: Trajectory,
    /// Exact match: 1 where the answer equals a golden one after normalization, or else 0.
    pub em: f64,
    /// Token F1 with the nearest golden answer.
    pub f1: f64,
}

/// Decoding of an evaluation of the test questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoding {
    /// Greedy decoding.
    Greedy,
    /// Sampling at temperature 1.
    Sampled,
}

/// Evaluator of a run on its held-out questions.
#[derive(Clone, Copy)]
pub struct Evaluator<'a> {
    /// Seed of the sampling and of the bootstrap.
    pub seed: u64,
    /// Agent loop.
    pub rollout: &'a RolloutConfig,
    /// Questions and search engine.
    pub environment: &'a Environment,
    /// Folder that evaluations are written into.
    pub run: &'a RunFolder,
    /// Observer of the run.
    pub observer: &'a dyn Observer,
}

impl Decoding {
    fn sampling(self) -> Sampling {
        match self {
            Self::Greedy => Sampling::Greedy,
            Self::Sampled => Sampling::Temperature(1.0),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::Sampled => "sampled",
        }
    }
}

impl Evaluator<'_> {
    /// Evaluates the test questions and writes table and trajectories. An evaluation that a
    /// stopped run has written already is read back.
    pub fn test(
        &self,
        policy: &mut dyn Policy,
        step: u64,
        decoding: Decoding,
    ) -> Result<Evaluation, TrainingError> {
        let file = self.run.path(&format!("evaluations/step-{step:06}-{}.json", decoding.name()));
        if let Ok(json) = std::fs::read(&file) {
            return serde_json::from_slice(&json).map_err(TrainingError::damaged(&file));
        }
        let questions = &self.environment.test;
        let (name, sampling) = (decoding.name(), decoding.sampling());
        self.observer.started("evaluating", 0, questions.len() as u64);
        let tick = |done| self.observer.advanced(done as u64, name);
        let answered = self.answer(policy, questions, sampling, tick)?;
        self.observer.finished();
        self.warn(questions, &answered);
        let evaluation = summarize(step, sampling, "test", questions, &answered, self.seed);
        let records = questions.iter().zip(answered);
        let groups: Vec<GroupRecord> =
            records.map(|(question, answered)| answered.record(step, name, question)).collect();
        self.run.write_evaluation(name, &evaluation, &groups)?;
        Ok(evaluation)
    }

    /// Evaluates the dev questions with greedy decoding.
    pub fn dev(&self, policy: &mut dyn Policy, step: u64) -> Result<Evaluation, TrainingError> {
        let questions = &self.environment.dev;
        let answered = self.answer(policy, questions, Sampling::Greedy, |_| {})?;
        self.warn(questions, &answered);
        Ok(summarize(step, Sampling::Greedy, "dev", questions, &answered, self.seed))
    }

    fn answer(
        &self,
        policy: &mut dyn Policy,
        questions: &[Question],
        sampling: Sampling,
        tick: impl FnMut(usize),
    ) -> Result<Vec<EvaluatedTrajectory>, TrainingError> {
        let retriever = &*self.environment.retriever;
        answer_questions(policy, retriever, self.rollout, questions, sampling, self.seed, tick)
    }

    /// Warns of the questions that failed.
    fn warn(&self, questions: &[Question], answered: &[EvaluatedTrajectory]) {
        if let Some(failures) = describe_failures(questions, answered) {
            self.observer.warning(&failures);
        }
    }
}

impl EvaluatedTrajectory {
    /// Reason why the question has no result, where a search failed.
    pub fn failure(&self) -> Option<&str> {
        match &self.trajectory.outcome {
            Outcome::Failed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether the prompt left no token for the policy, which has not been asked.
    pub fn is_prompt_too_long(&self) -> bool {
        let trajectory = &self.trajectory;
        trajectory.outcome == Outcome::OverLength && trajectory.n_policy_tokens() == 0
    }

    /// Reason why the question has no result; `None` where it has one.
    fn no_result(&self) -> Option<String> {
        let too_long = || {
            let n_tokens = self.trajectory.tokens.len();
            format!("its prompt takes {n_tokens} tokens, which leave none for the policy")
        };
        self.failure().map(str::to_owned).or_else(|| self.is_prompt_too_long().then(too_long))
    }

    /// Record for the report, with exact match as the reward; without a reward where the question
    /// has no result.
    pub fn record(self, step: u64, split: &str, question: &Question) -> GroupRecord {
        let grade = match self.no_result() {
            Some(reason) => GradeRecord { failure: Some(reason), ..GradeRecord::default() },
            None => GradeRecord {
                reward: Some(self.em),
                parts: [("em".to_owned(), self.em), ("f1".to_owned(), self.f1)].into(),
                ..GradeRecord::default()
            },
        };
        GroupRecord {
            step,
            split: split.to_owned(),
            group: Group { question: question.clone(), trajectories: vec![self.trajectory] },
            grades: vec![grade],
        }
    }
}

/// Samples one trajectory for every question and scores it. The result does not depend on how
/// questions are batched. `tick` is called with the number of questions that are done.
///
/// # Errors
///
/// [`ConfigurationError::NoPromptFits`] where no question could be asked,
/// [`TrainingError::NoEvaluation`] where no search succeeded, or every question failed, and
/// [`TrainingError::EvaluationStopped`] where the search engine has given up; a search that fails
/// beside others is in [`EvaluatedTrajectory::failure`]. [`Diverged::Evaluation`] where the model
/// has logits that are not finite.
pub fn answer_questions(
    policy: &mut dyn Policy,
    retriever: &dyn Retriever,
    rollout: &RolloutConfig,
    questions: &[Question],
    sampling: Sampling,
    seed: u64,
    mut tick: impl FnMut(usize),
) -> Result<Vec<EvaluatedTrajectory>, TrainingError> {
    let stream = Stream::new(seed, Purpose::Evaluation);
    let task = |(idx, question)| RolloutTask {
        question,
        member: 0,
        stream: stream.of_member(idx as u64, 0),
    };
    let tasks: Vec<RolloutTask<'_>> = questions.iter().enumerate().map(task).collect();
    let mut answered = Vec::with_capacity(tasks.len());
    for batch in tasks.chunks(BATCH) {
        let trajectories = run_episodes(policy, retriever, rollout, batch, sampling)?;
        for (task, trajectory) in batch.iter().zip(trajectories) {
            if trajectory.logprobs.iter().any(|logprob| !logprob.is_finite()) {
                return Err(Diverged::Evaluation { question: task.question.id.clone() }.into());
            }
            let golden = &task.question.golden_answers;
            let answer = trajectory.final_answer().unwrap_or_default();
            let em = exact_match(answer, golden);
            let f1 = token_f1(answer, golden);
            answered.push(EvaluatedTrajectory { trajectory, em, f1 });
        }
        check_searches(retriever, &answered)?;
        tick(answered.len());
    }
    if !answered.is_empty() && answered.iter().all(EvaluatedTrajectory::is_prompt_too_long) {
        return Err(ConfigurationError::NoPromptFits { n_questions: answered.len() }.into());
    }
    Ok(answered)
}

/// Refuses an evaluation in which the search engine is away, or in which every question failed.
fn check_searches(
    retriever: &dyn Retriever,
    answered: &[EvaluatedTrajectory],
) -> Result<(), TrainingError> {
    let n_questions = answered.iter().filter(|one| !one.is_prompt_too_long()).count();
    let n_failed = answered.iter().filter(|one| one.failure().is_some()).count();
    let Some(failure) = answered.iter().find_map(EvaluatedTrajectory::failure) else {
        return Ok(());
    };
    if retriever.has_given_up() {
        return Err(TrainingError::EvaluationStopped { n_failed, n_questions });
    }
    let mut searches = answered.iter().flat_map(|one| &one.trajectory.searches);
    if n_failed < n_questions && searches.any(|search| search.failure.is_none()) {
        return Ok(());
    }
    let source = failure.to_owned().into();
    Err(TrainingError::NoEvaluation { n_failed, n_questions, source })
}

/// Sentence about the questions that failed, which names the first of them; `None` where none did.
pub fn describe_failures(
    questions: &[Question],
    answered: &[EvaluatedTrajectory],
) -> Option<String> {
    let pairs = questions.iter().zip(answered);
    let failed: Vec<(&str, &str)> =
        pairs.filter_map(|(question, one)| Some((question.id.as_str(), one.failure()?))).collect();
    let (_, reason) = failed.first()?;
    let names: Vec<String> = failed.iter().take(NAMED).map(|(id, _)| format!("`{id}`")).collect();
    let more = if failed.len() > NAMED { ", …" } else { "" };
    Some(format!(
        "{} of {} questions failed and are in no mean: {}{more}; the first: {reason}",
        failed.len(),
        answered.len(),
        names.join(", "),
    ))
}

/// Table of an evaluation: all questions, then by hops.
pub fn summarize(
    step: u64,
    sampling: Sampling,
    name: &str,
    questions: &[Question],
    answered: &[EvaluatedTrajectory],
    seed: u64,
) -> Evaluation {
    let mut by_hops: BTreeMap<Option<usize>, Vec<&EvaluatedTrajectory>> = BTreeMap::new();
    for (question, answered) in questions.iter().zip(answered) {
        by_hops.entry(question.hops()).or_default().push(answered);
    }
    let mut rows = vec![row("all".to_owned(), &answered.iter().collect::<Vec<_>>(), seed)];
    let of_hops = by_hops.into_iter().map(|(hops, answered)| {
        let name = hops.map_or_else(|| "?".to_owned(), |hops| hops.to_string());
        row(name, &answered, seed)
    });
    rows.extend(of_hops.filter(|row| row.n > 0));
    Evaluation { step, sampling: sampling_name(sampling), questions: name.to_owned(), rows }
}

/// Name of a sampling: `greedy`, or the temperature.
pub fn sampling_name(sampling: Sampling) -> String {
    match sampling {
        Sampling::Greedy => "greedy".to_owned(),
        Sampling::Temperature(temperature) | Sampling::Truncated { temperature, .. } => {
            format!("temperature {temperature}")
        }
    }
}

fn row(name: String, played: &[&EvaluatedTrajectory], seed: u64) -> EvaluationRow {
    let answered: Vec<&&EvaluatedTrajectory> =
        played.iter().filter(|one| one.no_result().is_none()).collect();
    let numbers = |of: fn(&EvaluatedTrajectory) -> f64| -> Vec<f64> {
        answered.iter().map(|one| of(one)).collect()
    };
    let is_answered =
        |one: &EvaluatedTrajectory| f64::from(u8::from(one.trajectory.final_answer().is_some()));
    EvaluationRow {
        name,
        n: answered.len(),
        failed: played.iter().filter(|one| one.failure().is_some()).count(),
        prompt_too_long: played.iter().filter(|one| one.is_prompt_too_long()).count(),
        em: interval(&numbers(|one| one.em), seed),
        f1: interval(&numbers(|one| one.f1), seed),
        searches: mean(&numbers(|one| one.trajectory.searches.len() as f64)),
        answered: mean(&numbers(is_answered)),
    }
}

/// Mean with the 95 % percentile interval of a bootstrap over questions.
pub fn interval(values: &[f64], seed: u64) -> Interval {
    let n = values.len();
    if n == 0 {
        return Interval::default();
    }
    let mut rng = Stream::new(seed, Purpose::Bootstrap).rng();
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..n).map(|_| values[rng.random_range(0..n)]).sum::<f64>() / n as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    Interval {
        mean: mean(values),
        low: means[RESAMPLES / 40],
        high: means[RESAMPLES - 1 - RESAMPLES / 40],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use forage_rollout::scripted::{Bytes, ScriptedPolicy};
    use forage_trajectory::{
        BoxError, Completion, EvidenceStep, Hit, Prompt, Request, SearchError, TokenId,
    };

    use super::*;

    /// Search engine that fails for these queries, and has given up or not.
    struct Failing {
        queries: &'static [&'static str],
        has_given_up: bool,
        asked: Mutex<usize>,
    }

    impl Retriever for Failing {
        fn search(&self, queries: &[&str], _k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
            *self.asked.lock().unwrap() += queries.len();
            let one = |query: &&str| {
                if !self.queries.contains(query) {
                    return Ok(Vec::new());
                }
                Err(SearchError { query: (*query).to_owned(), source: "away".into() })
            };
            queries.iter().map(one).collect()
        }

        fn has_given_up(&self) -> bool {
            self.has_given_up
        }
    }

    /// Questions by their text, which is also the golden answer, with one hop and two in turn.
    fn questions(texts: &[&str]) -> Vec<Question> {
        let question = |(idx, text): (usize, &&str)| {
            let mut question = Question {
                id: format!("q/{idx}"),
                text: (*text).to_owned(),
                golden_answers: vec![(*text).to_owned()],
                ..Question::default()
            };
            question.evidence.steps = vec![EvidenceStep::default(); idx % 2 + 1];
            question
        };
        texts.iter().enumerate().map(question).collect()
    }

    /// Searches for the question and answers with it; what begins with `known` is not searched for.
    fn play(
        retriever: &dyn Retriever,
        questions: &[Question],
    ) -> Result<Vec<EvaluatedTrajectory>, TrainingError> {
        let script = |context: &str, _: usize, turn: usize| {
            let text = context.split('?').next().unwrap_or_default();
            match turn {
                0 if !text.starts_with("known") => format!("<search> {text} </search>"),
                _ => format!("<answer> {text} </answer>"),
            }
        };
        let mut policy = ScriptedPolicy::new(Bytes, script);
        let rollout = RolloutConfig { prompt: "{question}".to_owned(), ..RolloutConfig::default() };
        answer_questions(&mut policy, retriever, &rollout, questions, Sampling::Greedy, 1, |_| {})
    }

    #[test]
    fn failed_questions_are_counted_and_in_no_mean() {
        let retriever =
            Failing { queries: &["b", "d"], has_given_up: false, asked: Mutex::default() };
        let questions = questions(&["a", "b", "c", "d", "e"]);
        let played = play(&retriever, &questions).unwrap();
        let found = summarize(0, Sampling::Greedy, "test", &questions, &played, 1);
        let all = &found.rows[0];
        assert_eq!((all.n, all.failed), (3, 2));
        assert_eq!((all.em.mean, all.answered, all.searches), (1.0, 1.0, 1.0));
        // Every question of two hops failed.
        let names: Vec<&str> = found.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["all", "1"]);
        assert_eq!((found.rows[1].n, found.rows[1].failed), (3, 0));
        assert_eq!(
            describe_failures(&questions, &played).unwrap(),
            "2 of 5 questions failed and are in no mean: `q/1`, `q/3`; the first: search for `b` \
             failed: away"
        );
        let record = played[1].clone().record(0, "greedy", &questions[1]);
        assert_eq!((record.grades[0].reward, record.grades[0].parts.len()), (None, 0));
        assert!(record.grades[0].failure.as_ref().unwrap().ends_with("away"));
        // Written and read back.
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Evaluation>(&json).unwrap(), found);
        assert!(!serde_json::to_string(&found.rows[1]).unwrap().contains("failed"));
    }

    #[test]
    fn questions_that_cannot_be_asked_are_counted_and_in_no_mean() {
        let none = Failing { queries: &[], has_given_up: false, asked: Mutex::default() };
        let long = format!("known {}", "x".repeat(60));
        let rollout = RolloutConfig {
            prompt: "{question}".to_owned(),
            max_tokens: 60,
            max_searches: 0,
            ..RolloutConfig::default()
        };
        let play = |questions: &[Question]| {
            let mut policy = ScriptedPolicy::new(Bytes, |context: &str, _: usize, _: usize| {
                format!("<answer> {} </answer>", context.split('?').next().unwrap_or_default())
            });
            answer_questions(&mut policy, &none, &rollout, questions, Sampling::Greedy, 1, |_| {})
        };
        let asked = questions(&["known", &long, "known too"]);
        let played = play(&asked).unwrap();
        let found = summarize(0, Sampling::Greedy, "test", &asked, &played, 1);
        let all = &found.rows[0];
        assert_eq!((all.n, all.failed, all.prompt_too_long), (2, 0, 1));
        assert_eq!((all.em.mean, all.answered), (1.0, 1.0));
        assert_eq!(found.rows.len(), 2, "the only question of two hops was not asked");
        let record = played[1].clone().record(0, "greedy", &asked[1]);
        assert_eq!(record.grades[0].reward, None);
        let reason = record.grades[0].failure.as_ref().unwrap();
        assert!(reason.ends_with("tokens, which leave none for the policy"), "{reason}");
        let error = play(&asked[1..2]).unwrap_err().to_string();
        assert!(error.starts_with("the prompts of all 1 questions"), "{error}");
    }

    #[test]
    fn an_evaluation_without_a_search_engine_is_an_error() {
        let all: &[&str] = &["a", "b", "c"];
        for (failing, has_given_up, asked, n_failed) in [
            (all, false, &["a", "b"][..], 2),
            // Those who did not search would be the mean of another set of questions.
            (all, false, &["known", "b"], 1),
            (&all[..1], true, &["a", "b"], 1),
        ] {
            let retriever = Failing { queries: failing, has_given_up, asked: Mutex::default() };
            match play(&retriever, &questions(asked)).unwrap_err() {
                TrainingError::NoEvaluation { n_failed: n, n_questions, source } => {
                    assert_eq!((n, n_questions, has_given_up), (n_failed, asked.len(), false));
                    assert!(source.to_string().ends_with("away"), "{source}");
                }
                TrainingError::EvaluationStopped { n_failed: n, n_questions } => {
                    assert_eq!((n, n_questions, has_given_up), (n_failed, asked.len(), true));
                }
                other => panic!("{other:?}"),
            }
        }
        let none = Failing { queries: &[], has_given_up: false, asked: Mutex::default() };
        play(&none, &questions(&["known", "known too"])).unwrap();
        assert_eq!(*none.asked.lock().unwrap(), 0);
    }

    #[test]
    fn the_first_batch_without_an_answer_is_the_last() {
        let texts: Vec<String> = (0..=BATCH).map(|idx| format!("a{idx}")).collect();
        let queries: Vec<&'static str> =
            texts.iter().map(|text| &*Box::leak(text.clone().into_boxed_str())).collect();
        let queries: &'static [&'static str] = Vec::leak(queries);
        let retriever = Failing { queries, has_given_up: false, asked: Mutex::default() };
        play(&retriever, &questions(queries)).unwrap_err();
        assert_eq!(*retriever.asked.lock().unwrap(), BATCH);
    }

    /// Policy whose tokens have no probability.
    struct Broken;

    impl Policy for Broken {
        fn encode_prompt(&self, _: &Prompt<'_>) -> Result<(String, Vec<TokenId>), BoxError> {
            Ok(("x".to_owned(), vec![120]))
        }

        fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
            Ok(text.bytes().map(TokenId::from).collect())
        }

        fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
            Ok("x".repeat(tokens.len()))
        }

        fn max_context(&self) -> usize {
            100
        }

        fn generate(
            &mut self,
            requests: &[Request<'_>],
            _: Sampling,
        ) -> Result<Vec<Completion>, BoxError> {
            let finish = forage_trajectory::FinishReason::EndOfTurn;
            let one = Completion { tokens: vec![120], logprobs: vec![f32::NAN], finish };
            Ok(vec![one; requests.len()])
        }

        fn release(&mut self, _: &[usize]) {}
    }

    #[test]
    fn a_model_without_finite_logits_is_not_evaluated() {
        let none = Failing { queries: &[], has_given_up: false, asked: Mutex::default() };
        let rollout = RolloutConfig { max_searches: 0, ..RolloutConfig::default() };
        let questions = questions(&["a"]);
        let end =
            answer_questions(&mut Broken, &none, &rollout, &questions, Sampling::Greedy, 1, |_| {});
        let end = end.unwrap_err().to_string();
        assert!(end.contains("`q/0` has logits that are not finite"), "{end}");
    }

    #[test]
    fn intervals_are_those_of_a_binomial_share() {
        let values: Vec<f64> = (0..400).map(|it| f64::from(u8::from(it % 4 == 0))).collect();
        let found = interval(&values, 1);
        assert!((found.mean - 0.25).abs() < 1e-12);
        // 1.96 standard errors of a share of 0.25 over 400 questions are 0.0424.
        assert!((found.high - found.mean - 0.0424).abs() < 0.006, "{found:?}");
        assert!((found.mean - found.low - 0.0424).abs() < 0.006, "{found:?}");
        assert_eq!(interval(&[], 1), Interval::default());
    }
}
