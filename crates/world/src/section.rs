//! Configuration of a world and of the questions of a run: the `[world]` section of its run file.

use forage_trajectory::Question;
use serde::{Deserialize, Serialize};

use crate::config::{EntityCounts, WorldConfig, is_zero};
use crate::entity::Split;
use crate::error::WorldError;
use crate::mix::QuestionMix;
use crate::question::questions;
use crate::world::World;

/// The `[world]` section of a training run: a world, and the questions about it.
///
/// In TOML its keys are those of [`WorldConfig`], `questions` and `mix`, side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "FlatSection", into = "FlatSection")]
pub struct WorldSection {
    /// Size and difficulty of the world.
    pub world: WorldConfig,
    /// Number of questions of each split.
    pub questions: QuestionCounts,
    /// Mix of question shapes. Default: 1 to 4 hops, 12 % comparisons.
    pub mix: QuestionMix,
}

/// Number of questions of each split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuestionCounts {
    /// Questions to train on.
    pub train: usize,
    /// Validation questions, for evaluations during training.
    pub dev: usize,
    /// Test questions, for the evaluations before and after training.
    pub test: usize,
}

impl QuestionCounts {
    /// Count of one split.
    pub const fn of(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train,
            Split::Dev => self.dev,
            Split::Test => self.test,
        }
    }
}

impl WorldSection {
    /// Checks the mix, and that every split has questions.
    pub fn check(&self) -> Result<(), WorldError> {
        self.mix.check()?;
        match Split::ALL.into_iter().find(|split| self.questions.of(*split) == 0) {
            Some(split) => Err(WorldError::ZeroQuestions { split }),
            None => Ok(()),
        }
    }

    /// Generates the world. The same section and seed give the same world.
    pub fn generate(&self, seed: u64) -> Result<World, WorldError> {
        World::generate(&self.world, seed)
    }

    /// Questions of every split about a world of this section.
    pub fn questions(
        &self,
        world: &World,
        seed: u64,
    ) -> Result<[(Split, Vec<Question>); 3], WorldError> {
        let [train, dev, test] = Split::ALL
            .map(|split| questions(world, split, self.questions.of(split), seed, &self.mix));
        Ok([(Split::Train, train?), (Split::Dev, dev?), (Split::Test, test?)])
    }
}

/// The section as it stands in TOML. serde's `flatten` would lose the line of an unknown key.
#[derive(Serialize, Deserialize)]
#[serde(rename = "WorldSection", deny_unknown_fields)]
struct FlatSection {
    entities: EntityCounts,
    questions: QuestionCounts,
    #[serde(default)]
    mix: QuestionMix,
    #[serde(default, skip_serializing_if = "is_zero")]
    long_names: f64,
    #[serde(default, rename = "asides", skip_serializing_if = "is_zero")]
    inline_facts: f64,
}

impl From<FlatSection> for WorldSection {
    fn from(flat: FlatSection) -> Self {
        let FlatSection { entities, questions, mix, long_names, inline_facts } = flat;
        Self { world: WorldConfig { entities, long_names, inline_facts }, questions, mix }
    }
}

impl From<WorldSection> for FlatSection {
    fn from(section: WorldSection) -> Self {
        let WorldSection { world, questions, mix } = section;
        let WorldConfig { entities, long_names, inline_facts } = world;
        Self { entities, questions, mix, long_names, inline_facts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section of which one line is replaced.
    fn section(from: &str, to: &str) -> Result<WorldSection, toml::de::Error> {
        let text = "entities = { train = 50 }\nquestions = { train = 8, dev = 4, test = 4 }\n\
                    mix = { hops = [1], comparison = 0.0 }\nlong_names = 0.5\nasides = 1.0\n";
        assert!(text.contains(from), "{from}");
        toml::from_str(&text.replace(from, to))
    }

    #[test]
    fn keys_of_world_and_questions_stand_side_by_side() {
        let read = section("", "").unwrap();
        assert_eq!(read.world.entities, EntityCounts { train: 50, ..EntityCounts::default() });
        assert_eq!((read.world.long_names, read.world.inline_facts), (0.5, 1.0));
        assert_eq!((read.questions.of(Split::Train), read.mix.hops.as_slice()), (8, &[1][..]));
        assert_eq!(toml::from_str::<WorldSection>(&toml::to_string(&read).unwrap()).unwrap(), read);
        assert_eq!(
            section("mix = { hops = [1], comparison = 0.0 }\n", "").unwrap().mix,
            QuestionMix::default()
        );
        for (from, to, expected) in [
            ("entities = { train = 50 }", "", "missing field `entities`"),
            ("questions = { train = 8, dev = 4, test = 4 }", "", "missing field `questions`"),
            ("long_names", "longnames", "unknown field `longnames`"),
            ("asides = 1.0", "seed = 1", "unknown field `seed`"),
        ] {
            let error = section(from, to).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
            assert!(error.span().is_some(), "an error names its line: {error}");
        }
    }

    #[test]
    fn a_corpus_alone_takes_no_questions() {
        let read: WorldConfig = toml::from_str("entities = { train = 50 }\nasides = 1").unwrap();
        assert_eq!((read.long_names, read.inline_facts), (0.0, 1.0));
        assert_eq!(
            serde_json::to_string(&read).unwrap(),
            r#"{"entities":{"train":50,"dev":400,"test":400},"long_names":0.0,"asides":1.0}"#
        );
        for text in ["long_names = 0.5", "entities = {}\nmix = {}", "entities = {}\nseed = 1"] {
            assert!(toml::from_str::<WorldConfig>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_split_without_questions_is_refused() {
        let read = section("dev = 4", "dev = 0").unwrap();
        assert_eq!(read.check().unwrap_err().to_string(), "`world.questions.dev` is 0");
    }
}
