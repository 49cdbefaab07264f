//! Questions, with their golden answers and the evidence that rewards may use.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Question with its golden answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Question {
    /// Identifier, unique within its file.
    pub id: String,
    /// Text of the question, the only field that the agent is shown.
    #[serde(alias = "question")]
    pub text: String,
    /// Golden answers: each of them counts as correct.
    pub golden_answers: Vec<String>,
    /// Evidence for the answer. Default: empty.
    pub evidence: Evidence,
    /// Data set that the question is from, as the row names it. Default: empty, for an unknown one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
}

impl Question {
    /// Number of hops (reasoning steps) in the evidence; `None` for a question without evidence.
    pub fn hops(&self) -> Option<usize> {
        (!self.evidence.steps.is_empty()).then_some(self.evidence.steps.len())
    }
}

/// Evidence for an answer, as the author of the question annotated it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// Type of reasoning: `bridge`, `comparison`, …. Empty if unknown.
    pub shape: String,
    /// Entities on the reasoning path (E-GRPO, arXiv 2510.24694).
    pub entities: Vec<String>,
    /// Sub-questions, in order (StepSearch, arXiv 2505.15107).
    pub steps: Vec<EvidenceStep>,
    /// Gold passages: those that state the facts.
    pub passages: Vec<Passage>,
    /// Other names of entities, by the name in `entities`. Default: none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, Vec<String>>,
}

/// Sub-question with its answer and reference searches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EvidenceStep {
    /// Text of the sub-question.
    pub question: String,
    /// Answer to the sub-question.
    pub answer: String,
    /// Reference queries. Each of them finds a passage that states the answer.
    pub queries: Vec<String>,
    /// Identifiers of the passages that state the answer.
    pub passage_ids: Vec<String>,
}

/// Passage of a corpus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Identifier, unique within its corpus.
    pub id: String,
    /// Title of the document that the passage is from.
    pub title: String,
    /// Text, without the title.
    pub text: String,
}
