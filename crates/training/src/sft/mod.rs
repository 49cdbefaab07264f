//! Supervised warm start: imitation of scripted demonstrations until the model can search.

mod demonstrations;

use std::time::Instant;

use burn::tensor::Device;
use forage_model::{Decoder, NumberType, Tokenizer};
use forage_trajectory::protocol::TAGS;
use forage_trajectory::{BoxError, Passage, Purpose, Retriever, Stream};
use forage_world::{World, WorldError, WorldSection};
use rand::Rng;

use crate::checkpoint::{TrainState, save_model};
use crate::config::{FreshModel, SftConfig, SftPhase, SftSection};
use crate::environment::Environment;
use crate::error::{ConfigurationError, Diverged, TrainingError};
use crate::evaluate::Evaluator;
use crate::gradient::{Objective, compute_gradient};
use crate::metrics::{EvaluationMetrics, SftMetrics, StepTimings};
use crate::observer::Observer;
use crate::optimizer_step::OptimizerStep;
use crate::record::Evaluation;
use crate::rollout_step::generator;
use crate::run_folder::RunFolder;
use crate::sample::Sample;
use demonstrations::DemonstrationSampler;
pub use demonstrations::tokenizer_texts;

/// Constructor of a search engine over the passages of a generated world.
pub type BuildRetriever<'a> = &'a dyn Fn(Vec<Passage>) -> Result<Box<dyn Retriever>, BoxError>;

/// Context of a warm start.
#[derive(Clone, Copy)]
pub struct SftContext<'a> {
    /// Configuration.
    pub config: &'a SftConfig,
    /// Folder that the run writes into.
    pub run: &'a RunFolder,
    /// Questions and search engine of the evaluations.
    pub environment: &'a Environment,
    /// Generated worlds of the demonstrations, and the mix of their questions.
    pub world: &'a WorldSection,
    /// Search engine of the demonstrations.
    pub build_retriever: BuildRetriever<'a>,
    /// Tokenizer of the model.
    pub tokenizer: &'a Tokenizer,
    /// Observer of the run.
    pub observer: &'a dyn Observer,
}

/// Runs the warm start, from the newest checkpoint of the run's folder where it has one, and writes
/// the model into `<run>/model`.
///
/// # Errors
///
/// [`TrainingError`]. After [`TrainingError::Stopped`] a checkpoint of the last step is in the
/// run's folder.
pub fn sft(context: &SftContext<'_>, start: Decoder) -> Result<(), TrainingError> {
    let SftContext { config, run, tokenizer, observer, .. } = *context;
    let section = &config.sft;
    let mut state = match TrainState::load_newest(run, &start)? {
        Some(state) => state,
        None => TrainState::new(start),
    };
    run.forget_after("metrics.jsonl", state.step)?;
    run.forget_after("timings.jsonl", state.step)?;
    let n_steps = section.n_steps();
    let mut world = DemonstrationWorld::of_step(context, state.step)?;
    observer.started("warm start", state.step, n_steps);
    while state.step < n_steps {
        let began = Instant::now();
        if state.step.is_multiple_of(section.world_every) {
            world = DemonstrationWorld::of_step(context, state.step)?;
        }
        sft_step(context, &mut state, &world, n_steps, began)?;
        let stop = observer.should_stop();
        if state.step.is_multiple_of(section.checkpoint_every) || state.step == n_steps || stop {
            state.save(run, tokenizer)?;
        }
        if stop && state.step < n_steps {
            return Err(TrainingError::Stopped { run: run.root().to_owned() });
        }
    }
    observer.finished();
    let folder = run.path("model");
    forage_fs::write_folder(&folder, |part| save_model(&state.decoder, tokenizer, part))
        .map_err(TrainingError::write(&folder))?;
    observer.note(&format!("the model is in {}", folder.display()));
    Ok(())
}

/// One step: demonstrations, gradient, optimizer step, metrics.
fn sft_step(
    context: &SftContext<'_>,
    state: &mut TrainState,
    world: &DemonstrationWorld,
    n_steps: u64,
    began: Instant,
) -> Result<(), TrainingError> {
    let SftContext { config, run, .. } = *context;
    let (phase, within) = phase_at(&config.sft, state.step);
    let samples = world.sampler(context).batch(state.step, phase)?;
    let n_trained = samples.iter().map(|sample| sample.targets.len()).sum();
    let n_tokens: usize = samples.iter().map(|sample| sample.tokens.len()).sum();
    let samples: Vec<&Sample> = samples.iter().collect();
    let objective = Objective::CrossEntropy { n_tokens: n_trained };
    let gradient =
        compute_gradient(&state.decoder, &samples, objective, config.sft.micro_batches());
    let share = phase.lr_from + (phase.lr_to - phase.lr_from) * within;
    let lr = config.optimizer.lr_at(state.step, n_steps) * share;
    let loss = gradient.sums.mean(gradient.sums.loss);
    let specs = state.decoder.trainable_parameters();
    let update = OptimizerStep { config: &config.optimizer, lr, specs: &specs };
    let weights = state.decoder.trainable();
    let (weights, grad_norm) = update
        .apply(&mut state.adamw, weights, gradient.sums.total, gradient.gradients)
        .map_err(|non_finite| Diverged::Update { step: state.step + 1, non_finite })?;
    state.decoder = state.decoder.with_trainable(weights);
    state.step += 1;
    let is_evaluated = state.step.is_multiple_of(config.evaluation.every) || state.step == n_steps;
    let evaluation = if is_evaluated { Some(evaluate_dev(context, state)?) } else { None };
    let evaluation = evaluation.as_ref().map(EvaluationMetrics::of);
    let step = state.step;
    run.append("metrics.jsonl", &SftMetrics { step, loss, grad_norm, lr, n_tokens, evaluation })?;
    let seconds = began.elapsed().as_secs_f64();
    let timings = StepTimings { step, step_seconds: seconds, ..StepTimings::default() };
    run.append("timings.jsonl", &timings)?;
    let speed = n_tokens as f64 / seconds;
    context.observer.advanced(step, &format!("loss {loss:.3}  {speed:.0} tokens/s"));
    Ok(())
}

/// Evaluates the dev questions and reports to the observer.
fn evaluate_dev(context: &SftContext<'_>, state: &TrainState) -> Result<Evaluation, TrainingError> {
    let SftContext { config, run, environment, tokenizer, observer, .. } = *context;
    let evaluator =
        Evaluator { seed: config.seed, rollout: &config.rollout, environment, run, observer };
    let mut generator = generator(state.decoder.clone(), tokenizer.clone(), config.cache_tokens);
    let evaluation = evaluator.dev(&mut generator, state.step)?;
    let rows = evaluation.rows.iter().map(|row| format!("{} {:.3}", row.name, row.em.mean));
    let rows = rows.collect::<Vec<_>>().join(", ");
    observer.note(&format!("step {}: greedy exact match by hops: {rows}", state.step));
    Ok(evaluation)
}

/// Generated world of some demonstrations, with its search engine.
struct DemonstrationWorld {
    world: World,
    retriever: Box<dyn Retriever>,
}

impl DemonstrationWorld {
    /// World of a step. It is not the world of the dev questions, whose seed is the run's.
    fn of_step(context: &SftContext<'_>, step: u64) -> Result<Self, TrainingError> {
        let SftContext { config, world, build_retriever, .. } = *context;
        let stream =
            Stream::new(config.seed, Purpose::World).at_step(1 + step / config.sft.world_every);
        let seed = stream.rng().next_u64();
        let world = world.generate(seed)?;
        let passages = world.passages().to_vec();
        let retriever = build_retriever(passages).map_err(TrainingError::Index)?;
        Ok(Self { world, retriever })
    }

    fn sampler<'a>(&'a self, context: &SftContext<'a>) -> DemonstrationSampler<'a> {
        DemonstrationSampler {
            world: &self.world,
            mix: &context.world.mix,
            retriever: &*self.retriever,
            rollout: &context.config.rollout,
            thoughts: context.config.sft.thoughts(),
            tokenizer: context.tokenizer,
            seed: context.config.seed,
        }
    }
}

/// Fresh model with a tokenizer that is trained on the texts of a world; see [`tokenizer_texts`].
///
/// # Errors
///
/// [`ConfigurationError::FreshModel`] where the shape is wrong.
pub fn fresh_model(
    fresh: &FreshModel,
    texts: &[String],
    compute: NumberType,
    seed: u64,
    device: &Device,
) -> Result<(Decoder, Tokenizer), TrainingError> {
    let tokenizer = Tokenizer::train(texts, fresh.vocab_size, &TAGS)
        .map_err(|error| TrainingError::Model(error.into()))?;
    let mut shape = fresh.config();
    shape.check().map_err(|error| ConfigurationError::FreshModel(error.into()))?;
    // A small world may have fewer pairs to merge than were asked for.
    shape.vocab_size = tokenizer.vocab_size();
    let decoder = Decoder::init(&shape, seed, device);
    Ok((decoder.with_compute_dtype(compute.into()), tokenizer))
}

/// Phase of a step and how far into it the step is, from 0 to 1.
fn phase_at(section: &SftSection, step: u64) -> (&SftPhase, f64) {
    let mut first = 0;
    for phase in &section.phases {
        if step < first + phase.steps {
            return (phase, (step - first) as f64 / phase.steps as f64);
        }
        first += phase.steps;
    }
    let last = section.phases.last().expect("a run without phases has no step");
    (last, 1.0)
}

impl From<WorldError> for TrainingError {
    fn from(error: WorldError) -> Self {
        ConfigurationError::World(error).into()
    }
}
