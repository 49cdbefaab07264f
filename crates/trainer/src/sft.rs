//! The supervised warm start: imitate scripted demonstrations until the model can search.

use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::Device;
use forage_model::{Decoder, Tokenizer};
use forage_retriever::{Analyzer, Bm25, SearchOptions};
use forage_synthesis::World;
use forage_trajectory::{Purpose, Stream};
use rand::Rng;
use serde_json::{Map, json};

use crate::checkpoint::{TrainState, save_model};
use crate::config::{RunConfig, SftPhase, SftSection, WorldSection};
use crate::demonstrate::{School, tokenizer_texts};
use crate::evaluate::Evaluator;
use crate::failure::{Code, Failure};
use crate::interrupt;
use crate::learner::{Objective, Sample, learn};
use crate::model::{TAGS, generator, open_trainable};
use crate::playground::{Playground, generate};
use crate::progress::Progress;
use crate::run_folder::{RunFolder, unwritable};
use crate::update::Step;

/// Runs the warm start and writes the model into `<run>/model`.
pub fn sft(config: &RunConfig, run: &RunFolder, device: &Device) -> Result<()> {
    let section = config.sft.as_ref().expect("a checked command has its section");
    let playground = Playground::open(config, run)?;
    let (fresh, tokenizer) = start(config, &playground, device)?;
    let mut state = match TrainState::load_newest(run, &fresh)? {
        Some(state) => state,
        None => TrainState::new(fresh),
    };
    run.forget_after("metrics.jsonl", state.step)?;
    run.forget_after("timings.jsonl", state.step)?;
    let evaluator = Evaluator { config, playground: &playground, run };
    let n_steps: u64 = section.phases.iter().map(|it| it.steps).sum();
    let mut place = Place::of_step(config, section, state.step)?;
    let mut progress = Progress::new("warm start", state.step, n_steps);
    while state.step < n_steps {
        let start = Instant::now();
        let (phase, within) = phase_at(section, state.step);
        if state.step.is_multiple_of(section.world_every) {
            place = Place::of_step(config, section, state.step)?;
        }
        let samples = place.school(config, &tokenizer).lessons(state.step, phase)?;
        let n_tokens = samples.iter().map(|it| it.targets.len()).sum();
        let n_read: usize = samples.iter().map(|it| it.tokens.len()).sum();
        let samples: Vec<&Sample> = samples.iter().collect();
        let objective = Objective::Imitate { n_tokens };
        let learned = learn(&state.decoder, &samples, objective, section.micro_batches());
        let share = phase.lr_from + (phase.lr_to - phase.lr_from) * within;
        let lr = config.optimizer.lr_at(state.step, n_steps) * share;
        let loss = learned.sums.mean(learned.sums.loss);
        let specs = state.decoder.trainable_parameters();
        let update = Step { config: &config.optimizer, lr, specs: &specs };
        let weights = state.decoder.trainable();
        let taken = update.take(&mut state.adamw, weights, learned.sums.total, learned.gradients);
        let (weights, norm) = taken.map_err(|why| why.failure(state.step + 1))?;
        state.decoder = state.decoder.with_trainable(weights);
        state.step += 1;
        let mut row = Map::new();
        row.insert("step".into(), json!(state.step));
        row.insert("loss/imitation".into(), json!(loss));
        row.insert("loss/grad_norm".into(), json!(norm));
        row.insert("sft/lr".into(), json!(lr));
        row.insert("sft/tokens".into(), json!(n_read));
        if state.step.is_multiple_of(config.evaluation.every) || state.step == n_steps {
            let mut generator = generator(&config.model, state.decoder.clone(), tokenizer.clone());
            let table = evaluator.dev(&mut generator, state.step, &mut row)?;
            let hops = table.rows.iter().map(|it| format!("{} {:.3}", it.name, it.em.mean));
            let hops = hops.collect::<Vec<_>>().join(", ");
            progress.say(&format!("step {}: greedy exact match by hops: {hops}", state.step));
        }
        run.append("metrics.jsonl", &row)?;
        let seconds = start.elapsed().as_secs_f64();
        let timing = json!({"step": state.step, "seconds/step": seconds});
        run.append("timings.jsonl", timing.as_object().expect("an object"))?;
        progress
            .set(state.step, &format!("loss {loss:.3}  {:.0} tokens/s", n_read as f64 / seconds));
        let stop = interrupt::asked();
        if state.step.is_multiple_of(section.checkpoint_every) || state.step == n_steps || stop {
            state.save(run, &tokenizer)?;
        }
        if stop && state.step < n_steps {
            return Err(interrupt::stopped(run.root()).into());
        }
    }
    progress.finish();
    let folder = run.path("model");
    std::fs::create_dir_all(&folder).with_context(|| unwritable(&folder))?;
    save_model(&state.decoder, &tokenizer, &folder)?;
    eprintln!("the model is in {}", folder.display());
    Ok(())
}

/// A world to learn in, with its search engine.
struct Place {
    world: World,
    retriever: Bm25,
}

impl Place {
    /// The world of a step. It is not the world of the dev questions, whose seed is the run's.
    fn of_step(config: &RunConfig, section: &SftSection, step: u64) -> Result<Self> {
        let stream =
            Stream::new(config.seed, Purpose::World).at_step(1 + step / section.world_every);
        let world = generate(world_section(config), stream.rng().next_u64())?;
        let passages = world.passages().to_vec();
        let retriever = Bm25::in_memory(passages, Analyzer::default(), &SearchOptions::default())?;
        Ok(Self { world, retriever })
    }

    fn school<'a>(&'a self, config: &'a RunConfig, tokenizer: &'a Tokenizer) -> School<'a> {
        School {
            world: &self.world,
            mix: &world_section(config).mix,
            retriever: &self.retriever,
            rollout: &config.rollout,
            tokenizer,
            seed: config.seed,
        }
    }
}

fn world_section(config: &RunConfig) -> &WorldSection {
    config.world.as_ref().expect("checked: `sft` has a world")
}

/// The model and tokenizer of the run file: loaded, or fresh.
fn start(
    config: &RunConfig,
    playground: &Playground,
    device: &Device,
) -> Result<(Decoder, Tokenizer)> {
    if let Some(path) = &config.model.path {
        return open_trainable(&config.model, path, config.seed, device);
    }
    let fresh = config.model.fresh.as_ref().expect("checked: one of the two");
    let world = playground.world.as_ref().expect("checked: `sft` has a world");
    let mix = &world_section(config).mix;
    let texts = tokenizer_texts(world, mix, &config.rollout, config.seed)?;
    let tokenizer = Tokenizer::train(&texts, fresh.vocab_size, &TAGS)?;
    let mut shape = fresh.config();
    shape.check().context(Failure::new(Code::Usage, "`model.fresh` is no model"))?;
    // A small world may have fewer pairs to merge than were asked for.
    shape.vocab_size = tokenizer.vocab_size();
    let decoder = Decoder::init(&shape, config.seed, device);
    Ok((decoder.with_compute_dtype(config.model.compute.into()), tokenizer))
}

/// The phase of a step and how far into it the step is, from 0 to 1.
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
