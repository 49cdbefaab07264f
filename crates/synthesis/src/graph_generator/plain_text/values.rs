//! Values in a text: dates, numbers and names.

use std::ops::Range;

use super::sentence::{is_part_of_quote, starts_sentence, words};
use crate::feedback_loop::AnswerType;
use crate::graph_generator::english::{
    ADJECTIVE_SUFFIXES, FUNCTION_WORDS, MONTHS, WORDS_BEFORE_YEARS,
};

/// Dates, numbers and names in a text, but for those that are part of a quotation.
pub(super) fn values(text: &str) -> Vec<(Range<usize>, AnswerType)> {
    let words: Vec<_> = words(text).collect();
    let mut found = Vec::new();
    let mut idx = 0;
    while idx < words.len() {
        let (length, kind) = value(text, &words, idx);
        let range = span(&words[idx..idx + length]);
        if let Some(kind) = kind
            && !is_part_of_quote(text, &range)
        {
            found.push((range, kind));
        }
        idx += length;
    }
    found
}

/// Number of words of the value that begins at one word, and its type.
fn value(text: &str, words: &[(Range<usize>, &str)], idx: usize) -> (usize, Option<AnswerType>) {
    let here = &words[idx..];
    if let Some(length) = date(text, here) {
        // `Kentucky Route 1087` is no year.
        let is_date = length > 1 || !follows_name(text, words, idx);
        return (length, is_date.then_some(AnswerType::Date));
    }
    let next = here.get(1);
    if is_number(here[0].1)
        && !is_year(here[0].1)
        && !is_quoted_or_signed(text, here[0].0.start)
        && !next.is_some_and(|it| matches!(it.1, "AD" | "BC" | "CE" | "BCE"))
    {
        let scaled = next.is_some_and(|(range, word)| {
            matches!(*word, "thousand" | "million" | "billion")
                && text[here[0].0.end..range.start].trim().is_empty()
        });
        let is_free = !follows_name(text, words, idx);
        return (1 + usize::from(scaled), is_free.then_some(AnswerType::Number));
    }
    // The first word of a sentence is capitalized whatever it is.
    let begins = starts_sentence(text, here[0].0.start);
    let length = if begins { 1 } else { name(text, here) };
    let is_name = length >= 2
        && is_cut_well(text, &here[..length])
        && !(idx >= 2 && shares_end(text, &words[idx - 2..=idx]));
    (length.max(1), is_name.then_some(AnswerType::Entity))
}

/// Whether a number belongs to the name before it: `Apartment 23`.
fn follows_name(text: &str, words: &[(Range<usize>, &str)], idx: usize) -> bool {
    let Some((range, word)) = idx.checked_sub(1).map(|it| &words[it]) else { return false };
    word.starts_with(char::is_uppercase)
        && text[range.end..words[idx].0.start].trim().is_empty()
        && !starts_sentence(text, range.start)
}

/// Whether a name shares its end with the one before it: `Chibuto and Manjacaze Districts`.
fn shares_end(text: &str, words: &[(Range<usize>, &str)]) -> bool {
    let [(first, name), (and, joins), ..] = words else { return false };
    name.starts_with(char::is_uppercase)
        && *joins == "and"
        && text[first.end..and.start].trim().is_empty()
}

/// Whether a run of capitalized words is a name. `William F. Albright` would be cut at the full
/// stop and `Kentucky Route 15` at the number, `Adolf Hitler's` is of the name, and
/// `Native American` of `Native American tribes` is no name of theirs.
fn is_cut_well(text: &str, words: &[(Range<usize>, &str)]) -> bool {
    let (range, last) = &words[words.len() - 1];
    let next = text[range.end..].strip_prefix(' ').unwrap_or_default();
    let next = next.split(|it: char| !it.is_alphanumeric()).next().unwrap_or_default();
    let says_more = next.starts_with(char::is_lowercase) && !FUNCTION_WORDS.contains(next);
    let is_initial = last.chars().count() == 1;
    let is_numbered = next.starts_with(|it: char| it.is_ascii_digit());
    let is_adjective = says_more && ADJECTIVE_SUFFIXES.iter().any(|it| last.ends_with(it));
    let is_owner = words.iter().any(|(_, word)| word.ends_with("'s") || word.ends_with("’s"));
    !is_initial && !is_numbered && !is_adjective && !is_owner
}

fn span(words: &[(Range<usize>, &str)]) -> Range<usize> {
    words[0].0.start..words[words.len() - 1].0.end
}

/// Number of words of a date at the beginning: `June 10, 2000`, `10 June 2000`, `June 2000`,
/// `2000`.
fn date(text: &str, words: &[(Range<usize>, &str)]) -> Option<usize> {
    let word = |idx: usize| words.get(idx).map_or("", |it| it.1);
    let is_month = |it: &str| MONTHS.contains(it);
    let is_day = |word: &str| word.parse::<u32>().is_ok_and(|day| (1..=31).contains(&day));
    let length = if is_month(word(0)) && is_day(word(1)) && is_year(word(2))
        || is_day(word(0)) && is_month(word(1)) && is_year(word(2))
    {
        3
    } else if is_month(word(0)) && is_year(word(1)) {
        2
    } else if is_year(word(0)) {
        1
    } else {
        return None;
    };
    // `1990-95`, `the 1990s` and `2000 people` are no dates, `the 1990 census` is one.
    let after = &text[words[length - 1].0.end..];
    let next = after.strip_prefix(' ').unwrap_or_default();
    let next = next.split(|it: char| !it.is_alphanumeric()).next().unwrap_or_default();
    let counts = length == 1
        && next.starts_with(char::is_lowercase)
        && !FUNCTION_WORDS.contains(next)
        && !is_said_of_years(text, words[0].0.start);
    (!after.starts_with(['-', '–', '/', '%']) && !counts).then_some(length)
}

/// Whether a word is a year. Outside of dates it is no number either, since most of them are years.
fn is_year(word: &str) -> bool {
    word.len() == 4 && word.parse().is_ok_and(|it| (1000..2100).contains(&it))
}

fn is_said_of_years(text: &str, at: usize) -> bool {
    let last = text[..at].trim_end().rsplit(' ').next().unwrap_or_default().to_lowercase();
    WORDS_BEFORE_YEARS.contains(last.as_str())
}

/// Whether a byte comes after a quote or a bracket, as in the remains of tables, or after a sign,
/// which would be cut off.
fn is_quoted_or_signed(text: &str, at: usize) -> bool {
    text[..at].ends_with(['\'', '"', '{', '[', '−', '–', '-'])
}

/// `1,200` and `12.5`, but no year, which is a date, and nothing with letters.
fn is_number(word: &str) -> bool {
    word.starts_with(|it: char| it.is_ascii_digit())
        && word.ends_with(|it: char| it.is_ascii_digit())
        && word.chars().all(|it| it.is_ascii_digit() || it == ',' || it == '.')
}

/// Number of words of a name at the beginning.
fn name(text: &str, words: &[(Range<usize>, &str)]) -> usize {
    let is_capital = |word: &str| word.chars().next().is_some_and(char::is_uppercase);
    let mut length = 0;
    for (idx, (range, word)) in words.iter().enumerate() {
        // Punctuation ends a name.
        if idx > 0 && !text[words[idx - 1].0.end..range.start].trim().is_empty() {
            break;
        }
        if is_capital(word) {
            length = idx + 1;
        } else if !(idx > 0 && matches!(*word, "of" | "de" | "von" | "van")) {
            break;
        }
    }
    length
}

/// Kind of a value in a question.
pub(super) fn value_kind(kind: AnswerType, text: &str) -> &'static str {
    match kind {
        AnswerType::Date if text.len() == 4 => "year",
        AnswerType::Date => "date",
        AnswerType::Number => "number",
        AnswerType::Entity => "name",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(&str, AnswerType)> {
        values(text).into_iter().map(|(range, kind)| (&text[range], kind)).collect()
    }

    #[test]
    fn dates_numbers_and_names() {
        use AnswerType::{Date, Entity, Number};
        for (text, expected) in [
            ("It was launched on June 10, 2000 by others.", vec![("June 10, 2000", Date)]),
            ("He died on 7 May 1890, aged 40.", vec![("7 May 1890", Date), ("40", Number)]),
            ("It opened in 1996 in town.", vec![("1996", Date)]),
            (
                "About 1,200 people and 3.5 million cats.",
                vec![("1,200", Number), ("3.5 million", Number)],
            ),
            ("In the 1990s it had 2000 seats, or 20.", vec![("20", Number)]),
            (
                "It was in the 1937 novel and the 1973 and 1979 crises.",
                vec![("1937", Date), ("1973", Date)],
            ),
            ("They date it to 70 AD, at −2.41 degrees.", vec![]),
            ("It was written by William F. Albright.", vec![]),
            ("Visit the Bank of England in town.", vec![("Bank of England", Entity)]),
            (
                "It began in early 2006 with {'1': 2} at the 2010 Games.",
                vec![("2006", Date), ("2", Number), ("2010", Date)],
            ),
            ("Old Town is nice.", vec![]),
            ("It ends at Kentucky Route 1087 and at Route 15 near Vest.", vec![]),
            ("In 2005 he was in \"The 3 Wise Men of 1990\" with others.", vec![("2005", Date)]),
            ("He became Adolf Hitler's doctor, and Domino's Pizza came.", vec![]),
            ("It borders Chibuto and Manjacaze Districts of the land.", vec![]),
            ("It is named after the Dakota Sioux Native American tribes.", vec![]),
            ("She met the actor Ian Christian in town.", vec![("Ian Christian", Entity)]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
