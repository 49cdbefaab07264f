//! Texts of gold passages that questions name by their ids alone, out of the index of the run.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use forage_retriever::{RetrieverConfig, SearchOptions};
use forage_reward_sdk::text::normalize_answer;
use forage_trajectory::{Passage, Question};

use crate::exit_code::{Code, Failure};
use crate::output::message_once;
use crate::search_engine::open_index;

/// Share of the questions whose answer is to stand in their gold passages, so that the index is
/// taken for that of their corpus.
const LEAST_SHARE: f64 = 0.2;

/// Fills in title and text of gold passages that have neither, where a run searches an index. What
/// the index does not have is told; a server is not asked.
///
/// Fails where the index is one of another corpus, whose ids mean other passages: where nearly no
/// question has an answer in what was filled in.
pub fn fill<'a>(
    questions: impl IntoIterator<Item = &'a mut Question>,
    retriever: &RetrieverConfig,
) -> Result<()> {
    let Some(folder) = retriever.index() else { return Ok(()) };
    let (mut questions, others): (Vec<&mut Question>, Vec<&mut Question>) =
        questions.into_iter().partition(|question| question.evidence.passages.iter().any(is_bare));
    warn_of_other_ids(&others, folder)?;
    if questions.is_empty() {
        return Ok(());
    }
    let mut bare: Vec<&mut Passage> = questions
        .iter_mut()
        .flat_map(|question| &mut question.evidence.passages)
        .filter(|passage| is_bare(passage))
        .collect();
    let ids: BTreeSet<String> = bare.iter().map(|passage| passage.id.clone()).collect();
    let index = open_index(folder, &SearchOptions::default())?;
    let found = index.passages_by_id(ids.iter().map(String::as_str));
    let found = found.with_context(|| unreadable(folder))?;
    for passage in &mut bare {
        if let Some(found) = found.get(passage.id.as_str()) {
            found.clone_into(passage);
        }
    }
    check_answers(&questions, folder)?;
    let mut missing = ids.iter().filter(|id| !found.contains_key(id.as_str()));
    if let Some(first) = missing.next() {
        message_once(format_args!(
            "warning: {} of {} gold passages are not in the index `{}`, the first of them \
             `{first}`: `forage corpus audit` says more",
            1 + missing.count(),
            ids.len(),
            folder.display(),
        ));
    }
    Ok(())
}

/// Warns where the gold passages with a text have no ids of the index: they are found by title and
/// text alone, if the index has them at all.
fn warn_of_other_ids(questions: &[&mut Question], folder: &Path) -> Result<()> {
    let golds = questions.iter().flat_map(|question| &question.evidence.passages);
    let ids: BTreeSet<&str> = golds.map(|passage| passage.id.as_str()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let index = open_index(folder, &SearchOptions::default())?;
    let found = index.passages_by_id(ids.iter().copied()).with_context(|| unreadable(folder))?;
    let n_missing = ids.iter().filter(|id| !found.contains_key(**id)).count();
    if n_missing > 0 {
        message_once(format_args!(
            "warning: the ids of {n_missing} of {} gold passages are not in the index `{}`: \
             `retrieval-recall` and `rollout/gold_retrieved` count such a passage where the index has \
             its title and text under another id; `forage corpus audit` says whether it has",
            ids.len(),
            folder.display(),
        ));
    }
    Ok(())
}

/// Failure of an index whose passages cannot be read.
fn unreadable(folder: &Path) -> Failure {
    let message = format!("the gold passages cannot be read from `{}`", folder.display());
    Failure::new(Code::Input, message).hint("build the index again with `forage index`")
}

/// Checks that answers stand in the gold passages, for questions that have some with a text.
fn check_answers(questions: &[&mut Question], folder: &Path) -> Result<()> {
    let found: Vec<bool> = questions.iter().filter_map(|question| has_answer(question)).collect();
    let (n_found, n_questions) = (found.iter().filter(|found| **found).count(), found.len());
    if n_questions == 0 || n_found as f64 >= LEAST_SHARE * n_questions as f64 {
        return Ok(());
    }
    let message = format!(
        "the gold passages are those of another corpus: for {n_found} of {n_questions} questions \
         only, an answer stands in the passages with their ids in `{}`",
        folder.display()
    );
    Err(Failure::new(Code::Input, message)
        .hint("name the index of the corpus that the ids of the question file belong to")
        .into())
}

/// Whether a golden answer stands in a gold passage; `None` where nothing can be looked for.
fn has_answer(question: &Question) -> Option<bool> {
    let answers: Vec<String> = question
        .golden_answers
        .iter()
        .map(|answer| normalize_answer(answer))
        .filter(|answer| !matches!(answer.as_str(), "" | "yes" | "no"))
        .collect();
    let passages = question.evidence.passages.iter().filter(|passage| !passage.text.is_empty());
    let texts: Vec<String> = passages
        .map(|passage| normalize_answer(&format!("{} {}", passage.title, passage.text)))
        .collect();
    let is_in_one = |answer: &String| texts.iter().any(|text| text.contains(answer.as_str()));
    (!answers.is_empty() && !texts.is_empty()).then(|| answers.iter().any(is_in_one))
}

fn is_bare(passage: &Passage) -> bool {
    passage.title.is_empty() && passage.text.is_empty()
}

#[cfg(test)]
mod tests {
    use forage_retriever::{Corpus, IndexOptions, build_index};
    use forage_trajectory::Evidence;

    use super::*;

    fn passage(id: &str, title: &str, text: &str) -> Passage {
        Passage { id: id.into(), title: title.into(), text: text.into() }
    }

    #[test]
    fn passages_that_are_ids_alone_get_their_texts() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("index");
        let corpus = vec![passage("1", "Halvik", "A port."), passage("2", "Osk", "A river.")];
        build_index(Corpus::memory(corpus), &index, &IndexOptions::default(), &|_| {}).unwrap();
        let golds = vec![
            passage("2", "", ""),
            passage("9", "", ""),
            passage("1", "Ulm", "Another page of that id."),
        ];
        let evidence = Evidence { passages: golds.clone(), ..Evidence::default() };
        let golden_answers = vec!["River!".to_owned()];
        let mut questions = [Question { evidence, golden_answers, ..Question::default() }];
        let mut others = questions.clone();
        others[0].golden_answers = vec!["Alien".to_owned()];
        fill(&mut questions, &RetrieverConfig::of_index(&index)).unwrap();
        let expected = [passage("2", "Osk", "A river."), golds[1].clone(), golds[2].clone()];
        assert_eq!(questions[0].evidence.passages, expected);

        let error = fill(&mut others, &RetrieverConfig::of_index(&index)).unwrap_err();
        assert!(error.to_string().contains("for 0 of 1 questions only"), "{error}");
    }
}
