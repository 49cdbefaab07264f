//! Demonstrations of the warm start: scripted episodes over a real search engine, and exercises.

use forage_model::{END_OF_TEXT, Tokenizer};
use forage_rollout::scripted::{Codec, ScriptedPolicy};
use forage_rollout::{RolloutConfig, RolloutTask, run_episodes};
use forage_trajectory::protocol::{DOCUMENT_PREFIX, TAGS, format_document};
use forage_trajectory::{BoxError, Outcome, Prompt, Purpose, Retriever, Sampling, Stream, TokenId};
use forage_world::{
    Exercise, Perturbations, QuestionMix, Split, World, comparison_exercise, demonstrate, question,
    reading_exercise, recall_exercise, syllables,
};
use regex::Regex;

use crate::config::SftPhase;
use crate::error::TrainingError;
use crate::sample::Sample;

/// Codec of the scripted policy over the tokenizer of the model.
pub(super) struct TokenizerCodec<'a>(pub &'a Tokenizer);

impl Codec for TokenizerCodec<'_> {
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        self.0.encode(text)
    }

    fn encode_prompt(&self, prompt: &Prompt<'_>) -> Result<(String, Vec<TokenId>), BoxError> {
        Ok(self.0.encode_prompt(prompt)?)
    }

    fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
        self.0.decode(tokens)
    }
}

/// Generator of an exercise from a world.
type Drill = fn(&World, Split, Stream) -> Exercise;

/// Sampler of demonstrations and exercises.
#[derive(Clone, Copy)]
pub(super) struct DemonstrationSampler<'a> {
    /// World; only its training split is used.
    pub(super) world: &'a World,
    /// Hops and comparisons.
    pub(super) mix: &'a QuestionMix,
    /// Search engine over its passages.
    pub(super) retriever: &'a dyn Retriever,
    /// Agent loop.
    pub(super) rollout: &'a RolloutConfig,
    /// Tokenizer of the model.
    pub(super) tokenizer: &'a Tokenizer,
    /// Seed of the run.
    pub(super) seed: u64,
}

impl DemonstrationSampler<'_> {
    /// Sequences of one step: demonstrations first, then exercises.
    pub(super) fn batch(&self, step: u64, phase: &SftPhase) -> Result<Vec<Sample>, TrainingError> {
        let stream = Stream::new(self.seed, Purpose::Demonstrations).at_step(step);
        let questions = Stream::new(self.seed, Purpose::Questions).at_step(step);
        let mut asked = Vec::with_capacity(phase.demonstrations);
        let mut turns = Vec::with_capacity(phase.demonstrations);
        for idx in 0..phase.demonstrations {
            // Shapes go round over the steps, so that a step of a few questions sees them all in
            // time.
            let shape = self.mix.shape(step as usize * phase.demonstrations + idx);
            let it = question(self.world, Split::Train, shape, questions.of_member(idx as u64, 0))?;
            turns.push(demonstrate(
                self.world,
                &it,
                &phase.habits,
                stream.of_member(idx as u64, 0),
            ));
            asked.push(it);
        }
        let tasks: Vec<RolloutTask<'_>> =
            asked.iter().map(|question| RolloutTask { question, member: 0, stream }).collect();
        let mut policy =
            ScriptedPolicy::new(TokenizerCodec(self.tokenizer), |_: &str, task, turn| {
                turns[task].get(turn).cloned().unwrap_or_default()
            });
        let played =
            run_episodes(&mut policy, self.retriever, self.rollout, &tasks, Sampling::Greedy)?;
        // A demonstration that a failed search ends would teach to stop there.
        if let Some(Outcome::Failed(reason)) = played
            .iter()
            .map(|one| &one.outcome)
            .find(|outcome| matches!(outcome, Outcome::Failed(_)))
        {
            let source = reason.clone().into();
            return Err(TrainingError::Demonstration { step: step + 1, source });
        }
        let mut samples: Vec<Sample> =
            played.iter().map(|it| Sample::of_trajectory(it, 1.0)).collect();
        let exercises = [
            (phase.reading, reading_exercise as Drill),
            (phase.comparison, comparison_exercise),
            (phase.recall, recall_exercise),
        ];
        let drills = exercises.iter().flat_map(|(count, make)| std::iter::repeat_n(make, *count));
        for (idx, make) in drills.enumerate() {
            let exercise = make(self.world, Split::Train, stream.of_member(idx as u64, 1));
            samples.push(self.exercise(&exercise)?);
        }
        Ok(samples)
    }

    fn exercise(&self, spans: &Exercise) -> Result<Sample, TrainingError> {
        let prompt = self.tokenizer.encode_prompt(&Prompt::Plain(""));
        let (_, tokens) = prompt.map_err(|error| TrainingError::Model(error.into()))?;
        let mut sample = Sample { tokens, ..Sample::default() };
        for (text, in_loss) in spans {
            let tokens = self.tokenizer.encode(text).map_err(TrainingError::Model)?;
            let start = sample.tokens.len();
            sample.tokens.extend(tokens);
            if *in_loss {
                sample.targets.extend(start..sample.tokens.len());
            }
        }
        Ok(sample)
    }
}

/// Texts to train a tokenizer on: passages as the agent sees them, questions, and demonstrations
/// without their tags, which are tokens already. Bars between the syllables of invented words keep
/// the tokenizer from joining them: unseen names are split in the same way.
pub fn tokenizer_texts(
    world: &World,
    mix: &QuestionMix,
    rollout: &RolloutConfig,
    seed: u64,
) -> Result<Vec<String>, TrainingError> {
    let mut texts = Vec::new();
    let stream = Stream::new(seed, Purpose::Demonstrations);
    for (idx, passage) in world.passages().iter().enumerate() {
        let document = format_document(1, &passage.title, &passage.text);
        texts.push(format!("\n\n{document}\n{DOCUMENT_PREFIX}2("));
        let stream = stream.of_member(idx as u64, 2);
        let question = question(world, Split::Train, mix.shape(idx), stream)?;
        texts.push(rollout.prompt_for(&question));
        let turns = demonstrate(world, &question, &Perturbations::default(), stream);
        let untagged = |turn: &String| {
            let special = [END_OF_TEXT].into_iter().chain(TAGS);
            special.fold(turn.clone(), |text, tag| text.replace(tag, ""))
        };
        texts.extend(turns.iter().map(untagged));
    }
    let invented = Regex::new(r"\p{Lu}\p{Ll}+").expect("the expression is valid");
    let apart = |word: &regex::Captures<'_>| {
        syllables(&word[0]).map_or_else(|| word[0].to_owned(), |parts| parts.join("|"))
    };
    Ok(texts.iter().map(|text| invented.replace_all(text, apart).into_owned()).collect())
}
