//! What a run does when its search engine is away, its rewards fail, or no reward applies.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use forage_model::{Decoder, Tokenizer};
use forage_training::TrainingError;
use forage_training::checkpoint::TrainState;
use forage_training::config::{AlarmSection, FreshModel, TrainConfig};
use forage_training::environment::Environment;
use forage_training::error::ConfigurationError;
use forage_training::observer::Observer;
use forage_training::run::RunContext;
use forage_training::run_folder::{Opening, RunFolder};
use forage_training::train::train;
use forage_trajectory::protocol::TAGS;
use forage_trajectory::{
    BoxError, Grade, Grader, Group, Hit, Question, Retriever, Score, SearchError,
};
use serde_json::Value;

/// Search engine of one page, which may be away.
#[derive(Clone, Default)]
struct OnePage {
    is_away: Arc<AtomicBool>,
}

impl Retriever for OnePage {
    fn search(&self, queries: &[&str], _k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        let one = |query: &&str| {
            if self.is_away.load(Ordering::Relaxed) {
                let (query, source) = ((*query).to_owned(), "connection refused".into());
                return Err(SearchError { query, source });
            }
            Ok(vec![Hit { title: "Alien".into(), text: "A film.".into(), ..Hit::default() }])
        };
        queries.iter().map(one).collect()
    }
}

/// Grader by a function of the index of the trajectory.
struct GradeBy(fn(usize) -> Grade);

impl Grader for GradeBy {
    fn grade(&self, group: &Group, _step: u64) -> Result<Vec<Grade>, BoxError> {
        Ok((0..group.trajectories.len()).map(self.0).collect())
    }

    fn names(&self) -> Vec<String> {
        vec!["steps".to_owned()]
    }
}

fn score(reward: f64) -> Grade {
    let parts = [("steps".to_owned(), reward)].into();
    Grade::Scored(Score { reward, parts, ..Score::default() })
}

/// Observer that keeps warnings.
#[derive(Default)]
struct Warnings(RefCell<Vec<String>>);

impl Observer for Warnings {
    fn warning(&self, message: &str) {
        self.0.borrow_mut().push(message.to_owned());
    }
}

/// Fresh model, which writes at random.
fn model(tokenizer: &Tokenizer) -> Decoder {
    let fresh: FreshModel = toml::from_str(
        "vocab_size = 280\nhidden_size = 16\nintermediate_size = 24\nlayers = 1\nheads = 2\n\
         kv_heads = 1\nmax_positions = 256\nrope_theta = 1e4",
    )
    .unwrap();
    let shape = FreshModel { vocab_size: tokenizer.vocab_size(), ..fresh }.config();
    Decoder::init(&shape, 1, &burn::tensor::Device::flex())
}

fn config(steps: u64) -> TrainConfig {
    let rollout = "prompt = 'Question: {question}'\nmax_searches = 1\ntop_k = 1\n\
                   max_turn_tokens = 8\nmax_observation_tokens = 40\nmax_tokens = 200";
    let training = format!(
        "steps = {steps}\nquestions_per_step = 1\ngroup_size = 2\nmicro_batch_tokens = 512\n\
         checkpoint_every = 1\nsave_trajectories_every = 9"
    );
    TrainConfig {
        seed: 1,
        rollout: toml::from_str(rollout).unwrap(),
        training: toml::from_str(&training).unwrap(),
        algorithm: toml::from_str("advantage.name = 'grpo'\nloss.name = 'ppo'").unwrap(),
        critic: None,
        optimizer: toml::from_str("lr = 1e-3").unwrap(),
        evaluation: toml::from_str("every = 9").unwrap(),
        alarms: AlarmSection::default(),
        cache_tokens: None,
    }
}

/// Runs or resumes a training in a folder. Returns its end and its warnings.
fn run(
    folder: &Path,
    steps: u64,
    retriever: &OnePage,
    grade: fn(usize) -> Grade,
) -> (Result<(), TrainingError>, Vec<String>) {
    let texts = ["Question: who directed Alien?".to_owned()];
    let tokenizer = Tokenizer::train(&texts, 280, &TAGS).unwrap();
    let question = Question {
        id: "1".into(),
        text: "who directed Alien?".into(),
        golden_answers: vec!["Ridley Scott".into()],
        ..Question::default()
    };
    let [train_split, dev, test] = [(); 3].map(|()| vec![question.clone()]);
    let retriever = Box::new(retriever.clone());
    let environment = Environment { train: train_split, dev, test, retriever };
    let run = RunFolder::open(folder, "", Opening::Resume).unwrap();
    let (config, warnings) = (config(steps), Warnings::default());
    let context = RunContext {
        config: &config,
        run: &run,
        environment: &environment,
        grader: &GradeBy(grade),
        tokenizer: &tokenizer,
        observer: &warnings,
    };
    let end = train(&context, TrainState::new(model(&tokenizer)));
    (end.map(|_| ()), warnings.0.into_inner())
}

fn rows(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn steps_in_which_no_reward_applies_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (end, warnings) = run(folder.path(), 5, &OnePage::default(), |_| Grade::NotApplicable);
    let Err(TrainingError::Configuration(ConfigurationError::NothingApplies { rewards, n_steps })) =
        end
    else {
        panic!("{end:?}");
    };
    assert_eq!((rewards.as_slice(), n_steps), (["steps".to_owned()].as_slice(), 3));
    let warned = [1, 2, 3]
        .map(|step| format!("step {step} trained no token: no reward applies to its questions"));
    assert_eq!(warnings, warned);
    let rows = rows(folder.path());
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[1]["reward/not_applicable"], 2);
    assert_eq!(rows[1]["reward_not_applicable/steps"], 2.0);
    assert_eq!(rows[1]["policy/trained_tokens"], 0);

    // The row of such steps is counted on from the checkpoint of step 2.
    let (end, _) = run(folder.path(), 5, &OnePage::default(), |_| Grade::NotApplicable);
    let end = end.unwrap_err().to_string();
    assert_eq!(end, "the reward `steps` applied to no question of 3 steps in a row");
    // And ends where the rewards apply again.
    run(folder.path(), 5, &OnePage::default(), |idx| score(idx as f64)).0.unwrap();
}

#[test]
fn rewards_that_fail_end_the_run_and_equal_ones_are_a_warning() {
    let failing = |_| Grade::Failed("the judge is away".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let (end, warnings) = run(folder.path(), 5, &OnePage::default(), failing);
    let end = end.unwrap_err();
    assert!(matches!(end, TrainingError::NothingScored { n_steps: 3, .. }), "{end:?}");
    assert!(warnings[0].ends_with("the first: the judge is away"), "{warnings:?}");

    let folder = tempfile::tempdir().unwrap();
    let (end, warnings) = run(folder.path(), 4, &OnePage::default(), |_| score(1.0));
    end.unwrap();
    let warned = [1, 2, 3, 4]
        .map(|step| format!("step {step} trained no token: the rewards of every group are equal"));
    assert_eq!(warnings, warned);
    let text = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert!(!text.contains("not_applicable"), "{text}");
    // Ten of them from the first one on, those before the resumption included, are an error.
    let (end, _) = run(folder.path(), 12, &OnePage::default(), |_| score(1.0));
    let end = end.unwrap_err().to_string();
    let expected = "the first 10 steps trained no token: in every group the rewards are equal";
    assert_eq!(end, expected);

    let folder = tempfile::tempdir().unwrap();
    let (end, warnings) = run(folder.path(), 4, &OnePage::default(), |idx| score(idx as f64));
    end.unwrap();
    assert_eq!(warnings, Vec::<String>::new());
}
