//! What crosses the boundary: a [`Group`] there, one [`Grade`] a trajectory back.
//!
//! Named `MessagePack`, which describes itself: readers ignore fields they do not know, absent ones
//! have defaults, and a name that is new to an `enum` is its `Unknown`. So fields and names can be
//! added without a new [`WIRE_VERSION`].
//!
//! These types mirror those of the trainer and are not the same types, so that the trainer may
//! change without a plugin noticing. They are read with serde alone: JSON of them is for dumps
//! and golden files.
//!
//! Every text of a group is a [`Text`], which borrows where it can: a request of the trainer borrows
//! what was played, and what a plugin reads borrows the request. Grades own theirs.

mod owned;
mod text;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use self::text::Text;
use crate::RewardError;

/// Bumped when a field changes meaning or is taken away; see the crate's front page.
pub const WIRE_VERSION: u32 = 1;

/// All trajectories of one question.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Group<'a> {
    /// The question.
    pub question: Question<'a>,
    /// Its trajectories, in sampling order. Those that the infrastructure failed are left out.
    pub trajectories: Vec<Trajectory<'a>>,
    /// Training steps that were taken before it was played, for rewards that change in the course
    /// of a run. Absent outside of training.
    pub step: Option<u64>,
}

/// One question with the answers that count as right.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Question<'a> {
    /// Unique within its data set.
    pub id: Text<'a>,
    /// The text the agent saw.
    pub text: Text<'a>,
    /// Answers that count as right; the agent never saw them.
    pub golden_answers: Vec<Text<'a>>,
    /// What it takes to answer; the agent never saw it. Empty for most data sets.
    pub evidence: Evidence<'a>,
}

/// What it takes to answer a question, as its maker knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Evidence<'a> {
    /// What shape the reasoning has: `bridge`, `comparison`, …; empty where unknown.
    pub shape: Text<'a>,
    /// Entities on the way to the answer.
    pub entities: Vec<Text<'a>>,
    /// Sub-questions in order.
    pub steps: Vec<EvidenceStep<'a>>,
    /// The passages that hold the facts.
    pub passages: Vec<Passage<'a>>,
}

/// One sub-question with the searches that answer it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct EvidenceStep<'a> {
    /// The sub-question.
    pub question: Text<'a>,
    /// Its answer.
    pub answer: Text<'a>,
    /// Reference queries, each of which finds the passage.
    pub queries: Vec<Text<'a>>,
    /// Ids of the passages that hold the answer.
    pub passage_ids: Vec<Text<'a>>,
}

/// A passage of the corpus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Passage<'a> {
    /// Unique within its corpus.
    pub id: Text<'a>,
    /// Title of the page it is from.
    pub title: Text<'a>,
    /// The text, without the title.
    pub text: Text<'a>,
}

/// One finished episode of the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Trajectory<'a> {
    /// Index among the trajectories that were sampled for the question.
    pub member: usize,
    /// Who wrote what, in order. Tiles the tokens from 0 on without gap or overlap.
    pub segments: Vec<Segment<'a>>,
    /// The searches that were executed, in order.
    pub searches: Vec<Search<'a>>,
    /// The last answer that the agent itself wrote. Text of a retrieved page is never one.
    pub answer: Option<Text<'a>>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where the outcome is [`Outcome::Failed`].
    pub failure: Option<Text<'a>>,
}

/// A run of tokens by one writer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Segment<'a> {
    /// Who wrote it.
    pub origin: Origin,
    /// What it is.
    pub kind: Kind,
    /// Its text, tags included.
    pub text: Text<'a>,
    /// The text between its tags, trimmed; the whole text, trimmed, where it has no tags.
    pub content: Text<'a>,
    /// The tokens it covers.
    pub tokens: Range<usize>,
}

/// Who wrote a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Origin {
    /// The user: the question in its template.
    Prompt,
    /// The agent.
    Policy,
    /// The environment: search results and warnings.
    Environment,
    /// A writer that came with a newer trainer.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What a segment is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// The question in its template.
    Prompt,
    /// Reasoning, in its tags.
    Think,
    /// A search, in its tags.
    Search,
    /// Search results, in their tags.
    Information,
    /// The answer, in its tags.
    Answer,
    /// A sentence of the environment about an invalid action or a spent budget.
    Warning,
    /// Text of the agent outside all tags.
    Other,
    /// A kind that came with a newer trainer.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A search that was executed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Search<'a> {
    /// The query.
    pub query: Text<'a>,
    /// What it found, best first.
    pub hits: Vec<Hit<'a>>,
    /// Index of the search segment in [`Trajectory::segments`].
    pub segment: usize,
    /// Why there are no hits, where the search failed for reasons of infrastructure.
    pub failure: Option<Text<'a>>,
}

/// A passage that a search found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Hit<'a> {
    /// Id of the passage in its corpus.
    pub id: Text<'a>,
    /// Title of the page it is from.
    pub title: Text<'a>,
    /// The text, without the title.
    pub text: Text<'a>,
    /// Higher is better; comparable within one search only.
    pub score: f32,
}

/// How a trajectory ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// With an answer.
    Answered,
    /// The agent ended its turn without an answer.
    NoAnswer,
    /// The last action was neither a search nor an answer.
    Malformed,
    /// The token budget was spent.
    OverLength,
    /// The turn budget was spent.
    OutOfTurns,
    /// The infrastructure failed, not the agent. Plugins are not asked about such trajectories.
    Failed,
    /// An end that came with a newer trainer.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What a reward says of a trajectory. A failure never becomes a 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// The trajectory has a score.
    Scored(Score),
    /// The reward has nothing to say of this question: it has no golden answers, say.
    NotApplicable,
    /// The score could not be computed, and why. The trajectory is excluded and counted.
    Failed(String),
}

/// A finite reward with its parts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Score {
    /// The number the optimizer sees, before the weight of the run file. Always finite.
    pub reward: f64,
    /// Named parts, for people: logged as `reward/<name>/<part>`.
    pub parts: BTreeMap<String, f64>,
    /// A value for each executed search, in order; empty where the reward has none.
    pub steps: Vec<f64>,
}

impl Score {
    /// A score without parts.
    pub fn new(reward: f64) -> Self {
        Self { reward, ..Self::default() }
    }

    /// Adds a named part.
    #[must_use]
    pub fn part(mut self, name: &str, value: f64) -> Self {
        self.parts.insert(name.to_owned(), value);
        self
    }

    /// Sets the values of the executed searches, one each, in order.
    #[must_use]
    pub fn steps(mut self, values: impl IntoIterator<Item = f64>) -> Self {
        self.steps = values.into_iter().collect();
        self
    }
}

impl From<Score> for Grade {
    fn from(score: Score) -> Self {
        Self::Scored(score)
    }
}

/// So that `Score::new(1.0).into()` is all that a simple reward returns.
impl From<Score> for Result<Grade, RewardError> {
    fn from(score: Score) -> Self {
        Ok(Grade::Scored(score))
    }
}

impl Grade {
    /// The reward, where there is one.
    pub fn reward(&self) -> Option<f64> {
        match self {
            Self::Scored(score) => Some(score.reward),
            Self::NotApplicable | Self::Failed(_) => None,
        }
    }
}

impl<'a> Group<'a> {
    /// The bytes that a plugin is sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A buffer that grows as it is filled takes as long again.
        let mut bytes = Vec::with_capacity(self.size_hint());
        rmp_serde::encode::write_named(&mut bytes, self)
            .expect("plain data serializes into memory");
        bytes
    }

    /// Reads what [`Group::to_bytes`] wrote, and borrows its texts.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(bytes)
    }
}

impl Group<'_> {
    /// About how many bytes it is on the wire, rather too many than too few. Only what groups have
    /// much of counts: names of fields and what else a segment, say, takes is a round number.
    fn size_hint(&self) -> usize {
        let page = |texts: [&Text<'_>; 3]| 40 + texts.map(|it| it.len()).iter().sum::<usize>();
        let segment = |it: &Segment<'_>| 100 + it.text.len() + it.content.len();
        let search = |it: &Search<'_>| {
            let hits = it.hits.iter().map(|it| page([&it.id, &it.title, &it.text]));
            60 + it.query.len() + hits.sum::<usize>()
        };
        let trajectory = |it: &Trajectory<'_>| {
            let segments: usize = it.segments.iter().map(segment).sum();
            200 + segments + it.searches.iter().map(search).sum::<usize>()
        };
        let gold = self.question.evidence.passages.iter();
        let gold: usize = gold.map(|it| page([&it.id, &it.title, &it.text])).sum();
        2000 + gold + self.trajectories.iter().map(trajectory).sum::<usize>()
    }
}

/// The bytes that a plugin answers with.
pub fn grades_to_bytes(grades: &[Grade]) -> Vec<u8> {
    rmp_serde::to_vec_named(grades).expect("plain data serializes into memory")
}

/// Reads what [`grades_to_bytes`] wrote.
pub fn grades_from_bytes(bytes: &[u8]) -> Result<Vec<Grade>, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

/// How an answer breaks the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// [`Trajectory::member`], where one trajectory is to blame.
    pub member: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.member {
            Some(member) => write!(f, "{}, for member {member}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Breach {}

/// Checks an answer: one grade a trajectory, only finite numbers, and a step value for each
/// executed search or for none. Both sides of the boundary call it.
pub fn check(group: &Group, grades: &[Grade]) -> Result<(), Breach> {
    let n_trajectories = group.trajectories.len();
    if grades.len() != n_trajectories {
        let message = format!("{} grades for {n_trajectories} trajectories", grades.len());
        return Err(Breach { member: None, message });
    }
    for (trajectory, grade) in group.trajectories.iter().zip(grades) {
        let Grade::Scored(score) = grade else { continue };
        if let Some(message) = fault(score, trajectory.searches.len()) {
            return Err(Breach { member: Some(trajectory.member), message });
        }
    }
    Ok(())
}

fn fault(score: &Score, n_searches: usize) -> Option<String> {
    if !score.reward.is_finite() {
        return Some(format!("a reward of {}", score.reward));
    }
    if let Some((name, value)) = score.parts.iter().find(|(_, value)| !value.is_finite()) {
        return Some(format!("part `{name}` is {value}"));
    }
    if let Some((idx, value)) = score.steps.iter().enumerate().find(|(_, it)| !it.is_finite()) {
        return Some(format!("the value of step {idx} is {value}"));
    }
    let n_steps = score.steps.len();
    (n_steps != 0 && n_steps != n_searches)
        .then(|| format!("{n_steps} step values for {n_searches} searches"))
}

/// The configuration of a reward that has none.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}
