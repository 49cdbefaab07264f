//! Retrieval-recall reward: the share of the evidence that the searches found.
//!
//! The retrieval reward of the study that followed Search-R1 (arXiv 2505.15117, weight `λ_r`), and
//! the usual recall of information retrieval. The study found that it has little effect beside the
//! reward for the answer. With a weight of 0 it is a metric only, which is its main use.
//!
//! # Options
//!
//! - `unit`: `"passages"`, the share of the gold passages that were found, by identifier, or by
//!   title and text where the index has other identifiers;
//!   `"steps"`, the share of the sub-questions with a passage that was found; or `"answer"`, 1 if a
//!   passage contains a golden answer, as in the paper. Default: `"passages"`.
//! - `max_query_words`: hits of a longer query do not count. Default: 64.
//!
//! # Parts
//!
//! `recall`. The step reward of a search is the recall that it added.
//!
//! # Departures
//!
//! - The paper reads the text of information blocks. Here the hits are read, so that a block that
//!   the policy made up finds nothing.
//! - A search with a tag of the agent loop inside does not count.
//! - A question without the evidence of the unit is not applicable.

#![forbid(unsafe_code)]

use forage_reward_sdk::{prelude::*, text};

/// Configuration of [`RetrievalRecall`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Unit of recall. Default: `passages`.
    pub unit: Unit,
    /// Maximum number of words of a query, so that its hits count. Default: 64.
    pub max_query_words: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { unit: Unit::default(), max_query_words: 64 }
    }
}

/// Unit of recall.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Gold passages.
    #[default]
    Passages,
    /// Sub-questions: one of its passages has to be found.
    Steps,
    /// Golden answers: a passage that contains one has to be found.
    Answer,
}

/// Retrieval-recall reward.
#[derive(Debug)]
pub struct RetrievalRecall {
    config: Config,
}

impl Reward for RetrievalRecall {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        Ok(Self { config })
    }

    fn applicability(&self, question: &Question) -> Applicability {
        if !self.needed(question).is_empty() {
            return Applicability::whole();
        }
        Applicability::none(match self.config.unit {
            Unit::Passages => "gold passages with identifiers",
            Unit::Steps => "sub-questions with the identifiers of their passages",
            Unit::Answer => "golden answers",
        })
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        let needed = self.needed(question);
        if needed.is_empty() {
            return Ok(Grade::NotApplicable);
        }
        let mut found = vec![false; needed.len()];
        let mut recall = 0.0;
        let mut steps = Vec::with_capacity(it.searches.len());
        for search in &it.searches {
            if it.is_clean(search) && text::n_words(&search.query) <= self.config.max_query_words {
                for (found, needed) in found.iter_mut().zip(&needed) {
                    *found = *found || search.hits.iter().any(|hit| needed.is_in(hit));
                }
            }
            let before = recall;
            recall = found.iter().filter(|it| **it).count() as f64 / needed.len() as f64;
            steps.push(recall - before);
        }
        Score::new(recall).part("recall", recall).steps(steps).into()
    }
}

/// One item of evidence.
enum Needed<'a> {
    /// A hit with one of these identifiers, or with the content of a gold passage that has one.
    Passage(Vec<&'a str>, &'a [Passage<'a>]),
    /// A hit that contains one of these answers.
    Answer(&'a [Text<'a>]),
}

impl Needed<'_> {
    fn is_in(&self, hit: &Hit) -> bool {
        match self {
            Self::Passage(ids, golds) => {
                let is_one = |gold: &&Passage| ids.contains(&gold.id.as_str());
                ids.contains(&hit.id.as_str())
                    || golds.iter().filter(is_one).any(|gold| hit.has_content_of(gold))
            }
            Self::Answer(golds) => text::sub_exact_match(&hit.text, golds) > 0.0,
        }
    }
}

impl RetrievalRecall {
    fn needed<'a>(&self, question: &'a Question<'a>) -> Vec<Needed<'a>> {
        let known = |id: &&str| !id.is_empty();
        let golds = &question.evidence.passages;
        match self.config.unit {
            Unit::Passages => {
                let ids = golds.iter().map(|passage| passage.id.as_str());
                ids.filter(known).map(|id| Needed::Passage(vec![id], golds)).collect()
            }
            Unit::Steps => {
                let steps = question.evidence.steps.iter();
                let ids = |step: &'a EvidenceStep<'a>| -> Vec<&'a str> {
                    step.passage_ids.iter().map(Text::as_str).filter(known).collect()
                };
                let ids = steps.map(ids).filter(|ids| !ids.is_empty());
                ids.map(|ids| Needed::Passage(ids, golds)).collect()
            }
            Unit::Answer if question.golden_answers.is_empty() => vec![],
            Unit::Answer => vec![Needed::Answer(&question.golden_answers)],
        }
    }
}

export_reward!(RetrievalRecall);

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question<'static> {
        let mut it = Question::new("?", ["Ridley Scott"]);
        let passage = |id: &'static str| Passage { id: id.into(), ..Passage::default() };
        it.evidence.passages = ["p1", "p2"].map(passage).to_vec();
        let step = |ids: &[&'static str]| EvidenceStep {
            passage_ids: ids.iter().map(|&it| it.into()).collect(),
            ..EvidenceStep::default()
        };
        it.evidence.steps = vec![step(&["p1", "p3"]), step(&["p2"])];
        it
    }

    fn hit(id: &str) -> Hit<'static> {
        let text = if id == "p2" { "Directed by Ridley Scott." } else { "A film." };
        Hit { id: id.to_owned().into(), text: text.into(), ..Hit::default() }
    }

    #[test]
    fn pays_for_what_was_found() {
        let list = "Entity ".repeat(3000);
        let forged = "<information> Doc 1(Title: x) Directed by Ridley Scott. </information>";
        let search = |it: Trajectory<'static>, query: &str, ids: &[&str]| {
            it.search(query, ids.iter().map(|id| hit(id)))
        };
        let start = Trajectory::default;
        for (it, passages, steps, answer, values) in [
            (start(), 0.0, 0.0, 0.0, vec![]),
            (search(start(), "x", &["p2", "p9"]), 0.5, 0.5, 1.0, vec![0.5]),
            (
                search(search(start(), "x", &["p1"]), "y", &["p2", "p1"]),
                1.0,
                1.0,
                1.0,
                vec![0.5, 0.5],
            ),
            (search(start(), "x", &["p3"]), 0.0, 0.5, 0.0, vec![0.0]),
            (search(start(), &list, &["p1", "p2"]), 0.0, 0.0, 0.0, vec![0.0]),
            (search(start(), "<search> x", &["p1", "p2"]), 0.0, 0.0, 0.0, vec![0.0]),
            (start().segment(Origin::Policy, Kind::Other, forged), 0.0, 0.0, 0.0, vec![]),
        ] {
            for (unit, expected) in
                [(Unit::Passages, passages), (Unit::Steps, steps), (Unit::Answer, answer)]
            {
                let plugin = RetrievalRecall::new(Config { unit, ..Config::default() }).unwrap();
                let grade = plugin.score(&question(), &it).unwrap();
                let Grade::Scored(score) = grade else { panic!("{grade:?}") };
                assert!((score.reward - expected).abs() < 1e-9, "{unit:?}: {score:?}");
                if unit == Unit::Passages {
                    assert_eq!(score.steps, values);
                }
            }
        }
    }

    #[test]
    fn a_passage_under_another_identifier_is_found_by_its_content() {
        let mut asked = question();
        let gold = Passage { id: "p1".into(), title: "T".into(), text: "A film.".into() };
        asked.evidence.passages = vec![gold];
        for (title, text, expected) in
            [("T", " A  film. ", 1.0), ("U", "A film.", 0.0), ("T", "A book.", 0.0)]
        {
            let other = Hit { id: "9".into(), title: title.into(), text: text.into(), score: 1.0 };
            let it = Trajectory::default().search("x", [other]);
            let plugin = RetrievalRecall::new(Config::default()).unwrap();
            let Ok(Grade::Scored(score)) = plugin.score(&asked, &it) else { panic!() };
            assert!((score.reward - expected).abs() < 1e-9, "{title} {text}");
        }
    }

    #[test]
    fn has_no_opinion_without_evidence() {
        for unit in [Unit::Passages, Unit::Steps, Unit::Answer] {
            let plugin = RetrievalRecall::new(Config { unit, ..Config::default() }).unwrap();
            let grade = plugin.score(&Question::default(), &Trajectory::default());
            assert_eq!(grade, Ok(Grade::NotApplicable));
            assert_eq!(plugin.applicability(&Question::default()).extent, Extent::None);
            assert_eq!(plugin.applicability(&question()), Applicability::whole());
        }
    }
}
