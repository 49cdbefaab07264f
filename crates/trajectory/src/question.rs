//! What is asked, and everything a reward may need to judge the answer.

use serde::{Deserialize, Serialize};

/// One question with the answers that count as right.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Question {
    /// Unique within its file.
    pub id: String,
    /// The text the agent sees.
    #[serde(alias = "question")]
    pub text: String,
    /// Answers that count as right; never shown to the agent.
    pub golden_answers: Vec<String>,
    /// What it takes to answer; never shown to the agent.
    pub evidence: Evidence,
}

impl Question {
    /// How many reasoning steps the evidence lists; `None` where there is no evidence.
    pub fn hops(&self) -> Option<usize> {
        (!self.evidence.steps.is_empty()).then_some(self.evidence.steps.len())
    }
}

/// What it takes to answer a question, as its maker knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// What shape the reasoning has: `bridge`, `comparison`, …; empty where unknown.
    pub shape: String,
    /// Entities on the way to the answer (E-GRPO, arXiv 2510.24694).
    pub entities: Vec<String>,
    /// Sub-questions in order (StepSearch, arXiv 2505.15107).
    pub steps: Vec<EvidenceStep>,
    /// The passages that hold the facts.
    pub passages: Vec<Passage>,
}

/// One sub-question with the searches that answer it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvidenceStep {
    /// The sub-question.
    pub question: String,
    /// Its answer.
    pub answer: String,
    /// Reference queries, each of which finds the passage.
    pub queries: Vec<String>,
    /// Ids of the passages that hold the answer.
    pub passage_ids: Vec<String>,
}

/// A passage of the corpus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Unique within its corpus.
    pub id: String,
    /// Title of the page it is from.
    pub title: String,
    /// The text, without the title.
    pub text: String,
}
