//! Texts of gold passages that questions name by their ids alone, out of the index of the run.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use forage_retriever::{RetrieverConfig, SearchOptions};
use forage_trajectory::{Passage, Question};

use crate::exit_code::{Code, Failure};
use crate::output::message;
use crate::search_engine::open_index;

/// Fills in title and text of gold passages that have neither, where a run searches an index. What
/// the index does not have is told; a server is not asked.
pub fn fill<'a>(
    questions: impl IntoIterator<Item = &'a mut Question>,
    retriever: &RetrieverConfig,
) -> Result<()> {
    let Some(folder) = retriever.index() else { return Ok(()) };
    let passages = questions.into_iter().flat_map(|question| &mut question.evidence.passages);
    let mut bare: Vec<&mut Passage> = passages.filter(|passage| is_bare(passage)).collect();
    if bare.is_empty() {
        return Ok(());
    }
    let ids: BTreeSet<String> = bare.iter().map(|passage| passage.id.clone()).collect();
    let index = open_index(folder, &SearchOptions::default())?;
    let found = index.passages_by_id(ids.iter().map(String::as_str)).with_context(|| {
        let message = format!("the gold passages cannot be read from `{}`", folder.display());
        Failure::new(Code::Input, message).hint("build the index again with `forage index`")
    })?;
    for passage in &mut bare {
        if let Some(found) = found.get(passage.id.as_str()) {
            found.clone_into(passage);
        }
    }
    let mut missing = ids.iter().filter(|id| !found.contains_key(id.as_str()));
    if let Some(first) = missing.next() {
        message(format_args!(
            "warning: {} of {} gold passages are not in the index `{}`, the first of them \
             `{first}`: `forage corpus audit` says more",
            1 + missing.count(),
            ids.len(),
            folder.display(),
        ));
    }
    Ok(())
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
        let mut questions = [Question { evidence, ..Question::default() }];
        fill(&mut questions, &RetrieverConfig::of_index(&index)).unwrap();
        let expected = [passage("2", "Osk", "A river."), golds[1].clone(), golds[2].clone()];
        assert_eq!(questions[0].evidence.passages, expected);
    }
}
