//! Entity linking: titles in a text that mean the article of this title, and no namesake.
//!
//! A mention is no link where what stands around it says that it means something else, or does not
//! say enough:
//!
//! - the word beside it names another kind of thing than the first sentence of the article does
//!   (`the town of Florida`, `the Knott family`);
//! - other titles are the same name with a kind (`Veltor (film)`, `Mississippi River`), and no kind
//!   is named beside it;
//! - the article is on a work, and the last work that the sentence mentions is of another kind, or
//!   there is none: films, novels and songs share their titles more than other things;
//! - it stands after `the` or `a`, and its own article never calls it so (`east of the
//!   Mississippi`);
//! - it is part of a longer name or a quotation (`University of Mississippi`);
//! - a number beside it, or the place after a comma, is not in the article (`2013 NBA draft`,
//!   `Lisbon, Ohio`).
//!
//! Kinds are those of `data/english`; what has another kind than these is told apart by the other
//! rules only. Of people of one name nothing is known.

use std::collections::HashMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use forage_trajectory::Passage;

use super::sentence::{is_part_of_quote, sentence_start, starts_sentence};
use crate::graph_generator::english::{
    KINDS_NAMED_BY_OF, KINDS_OF_PLACES, KINDS_OF_WORKS, OTHER_KINDS,
};
use crate::graph_generator::error::TitleLinkError;
use crate::graph_generator::graph::without_parenthesis;

/// Fewest letters of a title that is linked.
const LEAST_LETTERS: usize = 4;

/// Index of the kind that a word names, in the singular or the plural: works come first, then
/// places, then others.
fn kind_of(word: &str) -> Option<usize> {
    let word = word.to_lowercase();
    let kinds = || KINDS_OF_WORKS.iter().chain(&*KINDS_OF_PLACES).chain(&*OTHER_KINDS);
    let row = |word: &str| kinds().position(|words| words.contains(&word));
    let singular = |from: &str, to: &str| Some(format!("{}{to}", word.strip_suffix(from)?));
    row(&word).or_else(|| row(&singular("ies", "y")?)).or_else(|| row(&singular("s", "")?))
}

fn is_work(kind: Option<usize>) -> bool {
    kind.is_some_and(|it| it < KINDS_OF_WORKS.len())
}

fn is_place(kind: Option<usize>) -> bool {
    let n_works = KINDS_OF_WORKS.len();
    kind.is_some_and(|kind| (n_works..n_works + KINDS_OF_PLACES.len()).contains(&kind))
}

/// Meaning of a name.
#[derive(Debug, Default)]
struct Meaning {
    /// The passages of this very title.
    passages: Vec<usize>,
    /// Whether other titles are this name with a kind: `Veltor (film)`, `Mississippi River`.
    has_rivals: bool,
}

/// All names with their meanings.
pub(super) struct Names<'a> {
    passages: &'a [Passage],
    kinds: Vec<Option<usize>>,
    /// As the matcher numbers them.
    in_order: Vec<&'a str>,
    meanings: HashMap<&'a str, Meaning>,
    matcher: AhoCorasick,
}

impl<'a> Names<'a> {
    /// Names of passages, and the kinds of their subjects.
    pub(super) fn new(
        passages: &'a [Passage],
        kinds: &[Option<String>],
    ) -> Result<Self, TitleLinkError> {
        let mut meanings: HashMap<&str, Meaning> = HashMap::new();
        for (idx, passage) in passages.iter().enumerate() {
            let title = passage.title.as_str();
            meanings.entry(title).or_default().passages.push(idx);
            // `Romeo and Juliet` is found as a whole where only `Romeo and Juliet (film)` is known.
            if let Some(name) = without_parenthesis(title) {
                meanings.entry(name).or_default().has_rivals = true;
            }
        }
        for passage in passages {
            if let Some((name, kind)) = passage.title.rsplit_once(' ')
                && kind_of(kind).is_some()
                && let Some(meaning) = meanings.get_mut(name)
            {
                meaning.has_rivals = true;
            }
        }
        meanings.retain(|name, _| is_name(name));
        let mut names: Vec<&str> = meanings.keys().copied().collect();
        names.sort_unstable();
        let matcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&names)
            .map_err(|source| TitleLinkError(Box::new(source)))?;
        let kinds =
            kinds.iter().map(|kind| kind_of(kind.as_deref()?.rsplit(' ').next()?)).collect();
        Ok(Self { passages, kinds, in_order: names, meanings, matcher })
    }

    /// Passages whose titles a text mentions.
    pub(super) fn mentioned(&self, text: &str) -> Vec<(Range<usize>, usize)> {
        let found = self.matcher.find_iter(text);
        let mentions = found.filter_map(|matched| {
            let name = self.in_order[matched.pattern().as_usize()];
            let meaning = &self.meanings[name];
            let [passage] = meaning.passages.as_slice() else { return None };
            let means = Mention { text, range: matched.range() }.means(
                &self.passages[*passage],
                self.kinds[*passage],
                meaning.has_rivals,
            );
            means.then_some((matched.range(), *passage))
        });
        mentions.collect()
    }
}

/// Whether a title can be linked. `Valentino's` is also what is Valentino's.
fn is_name(name: &str) -> bool {
    name.chars().filter(|it| it.is_alphabetic()).count() >= LEAST_LETTERS
        && name.chars().next().is_some_and(char::is_uppercase)
        && !name.ends_with("'s")
}

/// A name in a text.
struct Mention<'a> {
    text: &'a str,
    range: Range<usize>,
}

impl<'a> Mention<'a> {
    /// Whether it means this article.
    fn means(&self, article: &Passage, kind: Option<usize>, has_rivals: bool) -> bool {
        let name = &self.text[self.range.clone()];
        let named = self.kind_beside();
        let is_named = kind.is_some() && named == kind;
        is_whole(self.text, &self.range)
            && !self.is_part_of_name()
            && !is_part_of_quote(self.text, &self.range)
            && (named.is_none() || is_named)
            && (is_named || !has_rivals)
            && (!is_work(kind) || self.last_work() == kind)
            && self.articles_agree(name, article)
            && self.numbers_beside().all(|number| article.text.contains(number))
            && (!is_place(kind)
                || self.larger_place().is_none_or(|place| article.text.contains(place)))
    }

    fn before(&self) -> &'a str {
        &self.text[..self.range.start]
    }

    fn after(&self) -> &'a str {
        &self.text[self.range.end..]
    }

    /// The word before it, with nothing but a space between.
    fn word_before(&self) -> &'a str {
        let before = self.before().strip_suffix(' ').unwrap_or_default();
        before.rsplit([' ', '(']).next().unwrap_or_default()
    }

    /// The word after it, with nothing but a space between.
    fn word_after(&self) -> &'a str {
        let after = self.after().strip_prefix(' ').unwrap_or_default();
        after.split(|it: char| !it.is_alphanumeric()).next().unwrap_or_default()
    }

    /// `University of Mississippi`, `Hesse - Kassel`, `Black & Blue`.
    fn is_part_of_name(&self) -> bool {
        let word = self.word_before();
        let joins = ["-", "–", "&"];
        let next = self.after().strip_prefix(' ').unwrap_or_default();
        if joins.contains(&word) || joins.iter().any(|it| next.starts_with(it)) {
            return true;
        }
        if !matches!(word, "of" | "de" | "von" | "van") {
            return false;
        }
        let before = self.before()[..self.range.start - 1 - word.len()].trim_end();
        let last = before.rsplit(' ').next().unwrap_or_default();
        last.starts_with(char::is_uppercase)
            && !starts_sentence(self.text, before.len() - last.len())
    }

    /// Kind that the words beside it name: `the film Veltor`, `the town of Leer`, `Knott counties`.
    fn kind_beside(&self) -> Option<usize> {
        let word = self.word_before();
        let before = if word == "of" {
            let before = self.before().strip_suffix(" of ").unwrap_or_default();
            let last = before.rsplit(' ').next().unwrap_or_default();
            Some(last).filter(|it| KINDS_NAMED_BY_OF.contains(it))
        } else {
            Some(word.trim_start_matches(['"', '`', '“']))
        };
        before.and_then(kind_of).or_else(|| kind_of(self.word_after()))
    }

    /// Work that its sentence mentions last before it, or that is named right after it.
    fn last_work(&self) -> Option<usize> {
        let sentence = &self.before()[sentence_start(self.text, self.range.start)..];
        let mut words = sentence.rsplit(|it: char| !it.is_alphanumeric());
        let work = words.find_map(|word| kind_of(word).filter(|kind| is_work(Some(*kind))));
        kind_of(self.word_after()).filter(|kind| is_work(Some(*kind))).or(work)
    }

    /// `the Mississippi` is not what its own article calls `Mississippi`, and `a Florida park` is
    /// not Florida.
    fn articles_agree(&self, name: &str, article: &Passage) -> bool {
        let word = self.word_before().to_lowercase();
        if !matches!(word.as_str(), "the" | "a" | "an") {
            return true;
        }
        let mut first = word.chars();
        let capital: String =
            first.next().into_iter().flat_map(char::to_uppercase).chain(first).collect();
        [word.as_str(), &capital].iter().any(|word| {
            let said = format!("{word} {name}");
            let mut found = article.text.match_indices(&said);
            found.any(|(at, _)| is_whole(&article.text, &(at + word.len() + 1..at + said.len())))
        })
    }

    /// Numbers right beside it: `2013 NBA draft`, `the Russian Revolution of 1905`.
    fn numbers_beside(&self) -> impl Iterator<Item = &'a str> {
        let before = self.word_before();
        let after = self.after();
        let after = [" of ", " (", " "].iter().find_map(|it| after.strip_prefix(it));
        let after = after.unwrap_or_default();
        let after = after.split(|it: char| !it.is_alphanumeric()).next().unwrap_or_default();
        let is_number = |word: &&str| {
            word.ends_with(|it: char| it.is_ascii_digit())
                && word.starts_with(|it: char| it.is_ascii_digit())
        };
        [before, after].into_iter().filter(is_number)
    }

    /// `Ohio` after `Lisbon, `.
    fn larger_place(&self) -> Option<&'a str> {
        let after = self.after().strip_prefix(", ")?;
        let word = after.split(|it: char| !it.is_alphanumeric()).next()?;
        word.starts_with(char::is_uppercase).then_some(word)
    }
}

/// Whether a range is not part of a longer word or name.
fn is_whole(text: &str, range: &Range<usize>) -> bool {
    let before = text[..range.start].chars().next_back();
    let mut after = text[range.end..].chars();
    let next = after.next();
    let joins = |character: char| {
        character.is_alphanumeric() || matches!(character, '-' | '–' | '/' | '\'' | '’')
    };
    // `Paris Hilton` is no mention of Paris, and `New York` none of York.
    let goes_on = next == Some(' ') && after.next().is_some_and(char::is_uppercase);
    let last_before = text[..range.start].trim_end().rsplit(' ').next().unwrap_or_default();
    let was_begun = text[..range.start].ends_with(' ')
        && last_before.chars().next().is_some_and(char::is_uppercase)
        && !starts_sentence(text, range.start - 1 - last_before.len());
    !before.is_some_and(joins) && !next.is_some_and(joins) && !goes_on && !was_begun
}
