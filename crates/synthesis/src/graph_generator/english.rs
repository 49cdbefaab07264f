//! English word lists of the graph over plain text, from the files in `data/english`.
//!
//! A file has one word per line, or one row of words that mean the same; lines that begin with `#`
//! are comments.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Set of words.
pub(super) type WordList = LazyLock<HashSet<&'static str>>;

/// Words that mean the same, a row each, in the order of the file.
pub(super) type WordRows = LazyLock<Vec<Vec<&'static str>>>;

/// Capitalized words that begin sentences, and are no names.
pub(super) static SENTENCE_STARTERS: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/sentence_starters.txt")));

/// Words after which a sentence says nothing more of what a thing is.
pub(super) static KIND_ENDS: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/kind_ends.txt")));

/// Words of a clause: what is read up to one of them is cut too short to name a kind.
pub(super) static CLAUSE_VERBS: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/clause_verbs.txt")));

/// Nouns that say nothing without what they are of.
pub(super) static VAGUE_NOUNS: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/vague_nouns.txt")));

/// Nouns that say nothing alone.
pub(super) static VAGUE_NOUNS_ALONE: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/vague_nouns_alone.txt")));

/// Adjectives whose noun comes after a comma.
pub(super) static ADJECTIVES: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/adjectives.txt")));

/// Ends of adjectives of origin.
pub(super) static ADJECTIVE_SUFFIXES: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/adjective_suffixes.txt")));

/// Nouns that end in `ing`.
pub(super) static NOUNS_IN_ING: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/nouns_in_ing.txt")));

/// Nouns that end in `est`, and are no superlatives.
pub(super) static NOUNS_IN_EST: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/nouns_in_est.txt")));

/// Words that put a thing before others.
pub(super) static RANKS: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/ranks.txt")));

/// Months, as dates name them.
pub(super) static MONTHS: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/months.txt")));

/// Words that do not make a count of the year before them.
pub(super) static FUNCTION_WORDS: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/function_words.txt")));

/// Words before a year that is a date, and no count of things.
pub(super) static WORDS_BEFORE_YEARS: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/words_before_years.txt")));

/// Kinds of works, a row per kind.
pub(super) static KINDS_OF_WORKS: WordRows =
    LazyLock::new(|| rows(include_str!("../../data/english/kinds_of_works.txt")));

/// Kinds of places, a row per kind.
pub(super) static KINDS_OF_PLACES: WordRows =
    LazyLock::new(|| rows(include_str!("../../data/english/kinds_of_places.txt")));

/// Other kinds of things, a row per kind.
pub(super) static OTHER_KINDS: WordRows =
    LazyLock::new(|| rows(include_str!("../../data/english/other_kinds.txt")));

/// Kinds of places that are named by `of`: `the town of Leer`.
pub(super) static KINDS_NAMED_BY_OF: WordList =
    LazyLock::new(|| words(include_str!("../../data/english/kinds_named_by_of.txt")));

fn words(file: &'static str) -> HashSet<&'static str> {
    rows(file).concat().into_iter().collect()
}

fn rows(file: &'static str) -> Vec<Vec<&'static str>> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_empty_and_no_word_stands_twice() {
        let lists: [(&WordList, usize); 14] = [
            (&SENTENCE_STARTERS, 34),
            (&KIND_ENDS, 49),
            (&CLAUSE_VERBS, 7),
            (&VAGUE_NOUNS, 25),
            (&VAGUE_NOUNS_ALONE, 6),
            (&ADJECTIVES, 20),
            (&ADJECTIVE_SUFFIXES, 5),
            (&NOUNS_IN_ING, 12),
            (&NOUNS_IN_EST, 4),
            (&RANKS, 16),
            (&MONTHS, 12),
            (&FUNCTION_WORDS, 16),
            (&WORDS_BEFORE_YEARS, 8),
            (&KINDS_NAMED_BY_OF, 8),
        ];
        for (list, n_words) in lists {
            assert_eq!(list.len(), n_words, "{list:?}");
        }
        let kinds = [&KINDS_OF_WORKS, &KINDS_OF_PLACES, &OTHER_KINDS].map(|rows| rows.concat());
        let words: HashSet<_> = kinds.iter().flatten().collect();
        assert_eq!(words.len(), kinds.concat().len(), "a word names one kind");
    }
}
