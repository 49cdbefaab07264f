//! Wire types: the request of a plugin is a [`Group`], the reply one [`Grade`] for each trajectory.
//!
//! They are sent as `MessagePack` with field names. Readers ignore unknown fields, absent fields
//! have defaults, and an unknown name of an `enum` is read as its `Unknown`. So fields and names
//! can be added without a new [`WIRE_VERSION`].
//!
//! These types mirror those of the host but are types of their own, so that the host can
//! change without breaking plugins. They are plain serde types: in JSON they are used for dumps,
//! golden files and the [`json`](crate::json) protocol.
//!
//! Every text of a group is a [`Text`], which borrows if possible: a request borrows from the
//! trajectories of the host, and what a plugin reads borrows from the request. Grades own their
//! texts.

mod owned;
mod text;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use self::text::Text;
use crate::RewardError;

/// Wire version: bumped when a field changes its meaning or is removed. See the front page of the
/// crate.
pub const WIRE_VERSION: u32 = 1;

/// Group: all trajectories of one question.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Group<'a> {
    /// Question of all trajectories.
    pub question: Question<'a>,
    /// Trajectories, in sampling order. Those with the outcome [`Outcome::Failed`] are left out.
    pub trajectories: Vec<Trajectory<'a>>,
    /// Training step: the number of steps before this group was sampled, for rewards that change
    /// during a run. `None` outside of training.
    pub step: Option<u64>,
}

/// Question with its golden answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Question<'a> {
    /// Identifier, unique within its data set.
    pub id: Text<'a>,
    /// Text of the question, as the agent was shown it.
    pub text: Text<'a>,
    /// Golden answers: each of them counts as correct. The agent was not shown them.
    pub golden_answers: Vec<Text<'a>>,
    /// Evidence for the answer, which the agent was not shown. Empty for most data sets.
    pub evidence: Evidence<'a>,
}

/// Evidence for an answer, as the author of the question annotated it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Evidence<'a> {
    /// Type of reasoning: `bridge`, `comparison`, …. Empty if unknown.
    pub shape: Text<'a>,
    /// Entities on the reasoning path.
    pub entities: Vec<Text<'a>>,
    /// Sub-questions, in order.
    pub steps: Vec<EvidenceStep<'a>>,
    /// Gold passages: those that state the facts.
    pub passages: Vec<Passage<'a>>,
    /// Other names of entities, by the name in [`Evidence::entities`]. Empty for most data sets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<Text<'a>, Vec<Text<'a>>>,
}

/// Sub-question with its answer and reference searches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct EvidenceStep<'a> {
    /// Text of the sub-question.
    pub question: Text<'a>,
    /// Answer to the sub-question.
    pub answer: Text<'a>,
    /// Reference queries. Each of them finds a passage that states the answer.
    pub queries: Vec<Text<'a>>,
    /// Identifiers of the passages that state the answer.
    pub passage_ids: Vec<Text<'a>>,
}

/// Passage of a corpus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Passage<'a> {
    /// Identifier, unique within its corpus.
    pub id: Text<'a>,
    /// Title of the document that the passage is from.
    pub title: Text<'a>,
    /// Text, without the title.
    pub text: Text<'a>,
}

/// Trajectory: one finished episode of the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Trajectory<'a> {
    /// Index among the trajectories that were sampled for the question.
    pub member: usize,
    /// Segments, in order. They tile the tokens from 0 on without gap or overlap.
    pub segments: Vec<Segment<'a>>,
    /// Executed searches, in order.
    pub searches: Vec<Search<'a>>,
    /// Final answer: the last one that the agent wrote. It is never text of a retrieved page.
    pub answer: Option<Text<'a>>,
    /// Outcome of the episode.
    pub outcome: Outcome,
    /// Reason for the outcome [`Outcome::Failed`].
    pub failure: Option<Text<'a>>,
}

/// Segment: consecutive tokens of one origin and kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Segment<'a> {
    /// Origin of the tokens.
    pub origin: Origin,
    /// Kind of the segment.
    pub kind: Kind,
    /// Text, including tags.
    pub text: Text<'a>,
    /// Text between the tags, trimmed. For kinds without tags, the whole text, trimmed.
    pub content: Text<'a>,
    /// Range of its tokens.
    pub tokens: Range<usize>,
}

/// Origin of a segment: the prompt, the policy or the environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Origin {
    /// The prompt: the question in its template.
    Prompt,
    /// The policy, that is the agent.
    Policy,
    /// The environment: search results and warnings.
    Environment,
    /// Origin that a newer host added.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Kind of a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// The question in its template, without tags.
    Prompt,
    /// Reasoning, between `<think>` tags.
    Think,
    /// Search query, between `<search>` tags.
    Search,
    /// Search results, between `<information>` tags.
    Information,
    /// Final answer, between `<answer>` tags.
    Answer,
    /// Warning of the environment about an invalid action or an exhausted budget, without tags.
    Warning,
    /// Text of the policy outside all tags.
    Other,
    /// Kind that a newer host added.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Executed search.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Search<'a> {
    /// Query.
    pub query: Text<'a>,
    /// Hits, best first.
    pub hits: Vec<Hit<'a>>,
    /// Index of the search segment in [`Trajectory::segments`].
    pub segment: usize,
    /// Error message of a search that failed for reasons of infrastructure, else `None`.
    pub failure: Option<Text<'a>>,
}

/// Search hit: a passage with its score.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Hit<'a> {
    /// Identifier of the passage in its corpus.
    pub id: Text<'a>,
    /// Title of the document that the passage is from.
    pub title: Text<'a>,
    /// Text, without the title.
    pub text: Text<'a>,
    /// Relevance score: higher is better. Scores of two searches cannot be compared.
    pub score: f32,
}

impl Hit<'_> {
    /// Whether the hit has the title and the text of a passage, but for blanks: an index may give it
    /// another identifier. False for a passage without a text.
    pub fn has_content_of(&self, passage: &Passage<'_>) -> bool {
        let same = |one: &Text<'_>, other: &Text<'_>| {
            one.as_str().split_whitespace().eq(other.as_str().split_whitespace())
        };
        !passage.text.as_str().trim().is_empty()
            && same(&passage.title, &self.title)
            && same(&passage.text, &self.text)
    }
}

/// Outcome: how a trajectory ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// The policy answered.
    Answered,
    /// The policy ended its last turn without an answer.
    NoAnswer,
    /// The last turn was neither a search nor an answer.
    Malformed,
    /// The token budget was exhausted.
    OverLength,
    /// The turn budget was exhausted.
    OutOfTurns,
    /// The infrastructure failed. Plugins are not sent such trajectories.
    Failed,
    /// Outcome that a newer host added.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Result of scoring a trajectory. A failure is a variant of its own and never becomes a 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// The trajectory was scored.
    Scored(Score),
    /// The reward does not apply to the question, for example because it has no golden answers.
    NotApplicable,
    /// The score could not be computed, with the reason. The trajectory is left out of the loss and
    /// counted.
    Failed(String),
}

/// Score of a trajectory: its reward, with named parts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Score {
    /// Reward, before the weight of the run file. Always finite.
    pub reward: f64,
    /// Named parts, which are logged as `reward/<name>/<part>` and not trained on.
    pub parts: BTreeMap<String, f64>,
    /// Step rewards: one value for each executed search, in order. Empty if there are none.
    pub steps: Vec<f64>,
}

impl Score {
    /// Score without parts.
    pub fn new(reward: f64) -> Self {
        Self { reward, ..Self::default() }
    }

    /// Adds a named part.
    #[must_use]
    pub fn part(mut self, name: &str, value: f64) -> Self {
        self.parts.insert(name.to_owned(), value);
        self
    }

    /// Sets the step rewards: one value for each executed search, in order.
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

/// Makes `Score::new(1.0).into()` a complete return value of a reward.
impl From<Score> for Result<Grade, RewardError> {
    fn from(score: Score) -> Self {
        Ok(Grade::Scored(score))
    }
}

impl Grade {
    /// Reward of a scored trajectory; `None` for the other variants.
    pub fn reward(&self) -> Option<f64> {
        match self {
            Self::Scored(score) => Some(score.reward),
            Self::NotApplicable | Self::Failed(_) => None,
        }
    }
}

/// Applicability of a reward to a question, which does not depend on a trajectory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Applicability {
    /// How far the reward applies.
    pub extent: Extent,
    /// What the question lacks, as the object of "it lacks …": `gold passages with text`. Empty
    /// where nothing is lacking or known.
    pub lacks: String,
}

/// How far a reward applies to a question.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Extent {
    /// Every part of it can be earned.
    Whole,
    /// It is scored, but a part of it can never be earned.
    Part,
    /// It does not apply: each trajectory is graded [`Grade::NotApplicable`].
    None,
    /// The reward does not say.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Applicability {
    /// The reward applies, and every part of it can be earned.
    pub fn whole() -> Self {
        Self { extent: Extent::Whole, lacks: String::new() }
    }

    /// The reward is scored, but a part of it can never be earned: the question lacks this.
    pub fn part(lacks: impl Into<String>) -> Self {
        Self { extent: Extent::Part, lacks: lacks.into() }
    }

    /// The reward does not apply: the question lacks this.
    pub fn none(lacks: impl Into<String>) -> Self {
        Self { extent: Extent::None, lacks: lacks.into() }
    }

    /// Applicability of a reward that compares answers.
    pub fn by_golden_answers(question: &Question) -> Self {
        if question.golden_answers.is_empty() {
            Self::none("golden answers")
        } else {
            Self::whole()
        }
    }
}

impl<'a> Group<'a> {
    /// Serialized request.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A buffer that grows as it is filled takes as long again.
        let mut bytes = Vec::with_capacity(self.size_hint());
        rmp_serde::encode::write_named(&mut bytes, self)
            .expect("plain data serializes into memory");
        bytes
    }

    /// Deserializes a request. Texts borrow from the bytes.
    ///
    /// # Errors
    ///
    /// Bytes that are no request.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, rmp_serde::decode::Error> {
        rmp_serde::from_slice(bytes)
    }
}

impl Group<'_> {
    /// Estimated size of the request in bytes, rather too large than too small. Texts count with
    /// their length; field names and everything else are round numbers for each segment, search and
    /// hit.
    fn size_hint(&self) -> usize {
        let page = |texts: [&Text<'_>; 3]| 40 + texts.map(|it| it.len()).iter().sum::<usize>();
        let of_segment = |segment: &Segment<'_>| 100 + segment.text.len() + segment.content.len();
        let of_search = |search: &Search<'_>| {
            let hits = search.hits.iter().map(|hit| page([&hit.id, &hit.title, &hit.text]));
            60 + search.query.len() + hits.sum::<usize>()
        };
        let of_trajectory = |trajectory: &Trajectory<'_>| {
            let segments: usize = trajectory.segments.iter().map(of_segment).sum();
            200 + segments + trajectory.searches.iter().map(of_search).sum::<usize>()
        };
        let gold = self.question.evidence.passages.iter();
        let gold: usize =
            gold.map(|passage| page([&passage.id, &passage.title, &passage.text])).sum();
        2000 + gold + self.trajectories.iter().map(of_trajectory).sum::<usize>()
    }
}

/// Serialized reply.
pub fn grades_to_bytes(grades: &[Grade]) -> Vec<u8> {
    rmp_serde::to_vec_named(grades).expect("plain data serializes into memory")
}

/// Deserializes a reply.
///
/// # Errors
///
/// Bytes that are no reply.
pub fn grades_from_bytes(bytes: &[u8]) -> Result<Vec<Grade>, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

/// Serialized request for the applicability to questions.
pub fn questions_to_bytes(questions: &[Question]) -> Vec<u8> {
    rmp_serde::to_vec_named(questions).expect("plain data serializes into memory")
}

/// Deserializes a request for the applicability to questions.
///
/// # Errors
///
/// Bytes that are no such request.
pub fn questions_from_bytes(bytes: &[u8]) -> Result<Vec<Question<'_>>, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

/// Serialized reply: the applicability to each question.
pub fn applicability_to_bytes(applicability: &[Applicability]) -> Vec<u8> {
    rmp_serde::to_vec_named(applicability).expect("plain data serializes into memory")
}

/// Deserializes the applicability to each question.
///
/// # Errors
///
/// Bytes that are no such reply.
pub fn applicability_from_bytes(
    bytes: &[u8],
) -> Result<Vec<Applicability>, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

/// Breach of the contract by a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// [`Trajectory::member`], if the breach concerns a single trajectory.
    pub member: Option<usize>,
    /// Description of the breach.
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

/// Checks a reply: one grade for each trajectory, only finite numbers, and a step reward for each
/// executed search or for none. Both sides of the boundary call it.
///
/// # Errors
///
/// The first breach.
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

/// Largest magnitude of a reward, a part or a value of a step: the square of a larger one, and with
/// it a standard deviation, does not fit into an `f32`.
pub const MOST_REWARD: f64 = 1e18;

fn fault(score: &Score, n_searches: usize) -> Option<String> {
    let is_wrong = |value: f64| value.is_nan() || value.abs() > MOST_REWARD;
    if is_wrong(score.reward) {
        return Some(format!("a reward of {:e}", score.reward));
    }
    if let Some((name, value)) = score.parts.iter().find(|(_, value)| is_wrong(**value)) {
        return Some(format!("part `{name}` is {value:e}"));
    }
    if let Some((idx, value)) = score.steps.iter().enumerate().find(|(_, it)| is_wrong(**it)) {
        return Some(format!("the value of step {idx} is {value:e}"));
    }
    let n_steps = score.steps.len();
    (n_steps != 0 && n_steps != n_searches)
        .then(|| format!("{n_steps} step values for {n_searches} searches"))
}

/// Empty configuration, for a reward without options.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}
