//! Demonstrations of the warm start: scripted episodes over a real search engine, and exercises.

use forage_model::{END_OF_TEXT, Tokenizer};
use forage_rollout::scripted::{Codec, ScriptedPolicy};
use forage_rollout::{RolloutConfig, RolloutTask, run_episodes};
use forage_trajectory::protocol::{DOCUMENT_PREFIX, SEARCH, TAGS, format_document};
use forage_trajectory::{
    BoxError, Outcome, Prompt, Purpose, Question, Retriever, Sampling, Stream, TokenId,
};
use forage_world::{
    Exercise, Perturbations, QuestionMix, Split, Thoughts, World, comparison_exercise, demonstrate,
    question, reading_exercise, recall_exercise, syllables,
};
use rand::RngExt;
use rand::seq::IndexedRandom;
use regex::Regex;

use crate::config::SftPhase;
use crate::error::TrainingError;
use crate::sample::Sample;
use crate::self_distillation::attempts_block;

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
    /// What thoughts say.
    pub(super) thoughts: Thoughts,
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
                self.thoughts,
                stream.of_member(idx as u64, 0),
            ));
            asked.push(it);
        }
        let mut blocks = Vec::with_capacity(phase.hindsight);
        for idx in 0..phase.hindsight {
            let shape = self.mix.shape(step as usize * phase.hindsight + idx);
            let it = question(self.world, Split::Train, shape, questions.of_member(idx as u64, 1))?;
            let shown = self.hindsight(&it, phase, stream, idx as u64)?;
            turns.push(shown.turns);
            blocks.push(shown.block);
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
        for (sample, block) in samples[phase.demonstrations..].iter_mut().zip(&blocks) {
            // The prompt is what comes before the first token of the policy.
            let prompt = sample.targets.first().map_or(sample.tokens.len(), |at| *at);
            sample.tokens.splice(prompt..prompt, block.iter().copied());
            sample.targets.iter_mut().for_each(|at| *at += block.len());
        }
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

    /// Demonstration with the hindsight block before it: one to five attempts, each drawn from the
    /// demonstration itself, labelled CORRECT, and up to three with other queries, labelled
    /// INCORRECT. All are as likely, so that the labels alone tell which queries follow.
    fn hindsight(
        &self,
        question: &Question,
        phase: &SftPhase,
        stream: Stream,
        idx: u64,
    ) -> Result<Hindsight, TrainingError> {
        let attempt = |member: u64| {
            let stream = stream.of_member(idx, member);
            demonstrate(self.world, question, &phase.habits, self.thoughts, stream)
        };
        let mut rng = stream.of_member(idx, HINDSIGHT).rng();
        let turns = attempt(HINDSIGHT + 1);
        let n_others = rng.random_range(1..=MOST_OTHERS);
        let others: Vec<Vec<String>> =
            (0..n_others).map(|number| attempt(HINDSIGHT + 2 + number)).collect();
        let mut told = vec![(Some(true), queries(&turns))];
        let differing = others.iter().map(|other| (Some(false), queries(other)));
        told.extend(differing.filter(|(_, queries)| *queries != told[0].1).collect::<Vec<_>>());
        let quoted: Vec<(Option<bool>, Vec<&str>)> = (0..rng.random_range(1..=MOST_ATTEMPTS))
            .map(|_| told.choose(&mut rng).expect("there is one").clone())
            .collect();
        let block = attempts_block(&quoted);
        let block = self.tokenizer.encode(&block).map_err(TrainingError::Model)?;
        Ok(Hindsight { block, turns })
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

/// Demonstration with a hindsight block.
struct Hindsight {
    /// Tokens of the block.
    block: Vec<TokenId>,
    /// Turns that follow.
    turns: Vec<String>,
}

/// Most attempts in a hindsight block.
const MOST_ATTEMPTS: usize = 5;
/// Most attempts with other queries than the demonstration that the block is drawn from.
const MOST_OTHERS: u64 = 3;
/// Member of the streams of hindsight blocks; the numbers before it are those of demonstrations,
/// exercises and texts of the tokenizer.
const HINDSIGHT: u64 = 3;

/// Queries of some turns.
fn queries(turns: &[String]) -> Vec<&str> {
    let after = turns.iter().filter_map(|turn| turn.split_once(SEARCH.open));
    let inside = after.filter_map(|(_, after)| after.split_once(SEARCH.close));
    inside.map(|(query, _)| query.trim()).collect()
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
        let turns =
            demonstrate(world, &question, &Perturbations::default(), Thoughts::Plan, stream);
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

#[cfg(test)]
mod tests {
    use forage_trajectory::{Hit, SearchError};
    use forage_world::WorldConfig;

    use super::*;

    /// Search engine that finds the passage whose title is in the query.
    struct Titles<'a>(&'a World);

    impl Retriever for Titles<'_> {
        fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
            let of = |query: &&str| {
                let passages = self.0.passages().iter();
                let found = passages.filter(|it| query.contains(&it.title)).take(k);
                let hit = |it: &forage_trajectory::Passage| Hit {
                    id: it.id.clone(),
                    title: it.title.clone(),
                    text: it.text.clone(),
                    score: 1.0,
                };
                Ok(found.map(hit).collect())
            };
            queries.iter().map(of).collect()
        }
    }

    fn phase(demonstrations: usize, hindsight: usize) -> SftPhase {
        let text = format!(
            "steps = 1\nlr_from = 1.0\nlr_to = 1.0\ndemonstrations = {demonstrations}\n\
             hindsight = {hindsight}\nreading = 0\ncomparison = 0\nhabits = {{ wander = 0.6 }}"
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn hindsight_tells_by_its_labels_alone_which_queries_follow() {
        let world = World::generate(&WorldConfig::default(), 1).unwrap();
        let tokenizer =
            Tokenizer::train(&[world.passages()[0].text.repeat(4)], 300, &TAGS).unwrap();
        let rollout: RolloutConfig =
            toml::from_str("prompt = \"Question: {question}\\n\"\nmax_searches = 4\ntop_k = 1")
                .unwrap();
        let sampler = DemonstrationSampler {
            world: &world,
            mix: &QuestionMix { hops: vec![3], comparison: 0.0 },
            retriever: &Titles(&world),
            rollout: &rollout,
            thoughts: Thoughts::Findings,
            tokenizer: &tokenizer,
            seed: 1,
        };
        let alone = sampler.batch(0, &phase(2, 0)).unwrap();
        let all = sampler.batch(0, &phase(2, 60)).unwrap();
        let decoded = |tokens: &[TokenId]| tokenizer.decode(tokens).unwrap();
        for (sample, alone) in all.iter().zip(&alone) {
            assert_eq!(sample.tokens, alone.tokens, "the others are as they were");
        }
        let (mut n_first, mut n_correct, mut n_incorrect) = (0, 0, 0);
        for sample in &all[2..] {
            let text = decoded(&sample.tokens);
            let (prompt, after) = text.split_once("Attempts at this question:\n").unwrap();
            assert!(prompt.starts_with("Question: ") && prompt.ends_with('\n'), "{prompt}");
            let (block, trajectory) = after.split_at(after.find("<think>").unwrap());
            // The block is read and not learned.
            assert!(decoded(&sample.tokens[..sample.targets[0]]).ends_with(block));
            let asked: Vec<&str> = trajectory
                .split("<search>")
                .skip(1)
                .map(|it| it.split_once("</search>").unwrap().0.trim())
                .collect();
            let asked = asked.join("; ");
            for (idx, line) in block.lines().enumerate() {
                let (label, quoted) =
                    line.strip_prefix(&format!("{}. ", idx + 1)).unwrap().split_once(". ").unwrap();
                assert_eq!(label == "CORRECT", quoted == asked, "{line}: {asked}");
                n_first += usize::from(idx == 0 && label == "CORRECT");
                n_correct += usize::from(label == "CORRECT");
                n_incorrect += usize::from(label == "INCORRECT");
            }
        }
        assert!(n_correct > 40 && n_incorrect > 40, "{n_correct} {n_incorrect}");
        assert!((10..45).contains(&n_first), "{n_first} of 60 begin with what follows");
    }
}
