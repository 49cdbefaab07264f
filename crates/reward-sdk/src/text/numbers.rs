//! Numbers that the rule of `SQuAD` would confuse: it deletes signs and points.

use super::fold::fold;

/// Letters that stand for what the rule of `SQuAD` would delete. They are letters of an undeciphered
/// script, Linear A, so that the rule takes them for parts of words.
const MINUS: char = '\u{10600}';
const POINT: char = '\u{10601}';
const COLON: char = '\u{10602}';
const SLASH: char = '\u{10603}';
const PLUS: char = '\u{10604}';
const SHARP: char = '\u{10605}';
const RANGE: char = '\u{10606}';
const COMMA: char = '\u{10607}';

/// Text in which numbers keep their sign and their decimal point through
/// [`normalize_answer`](super::normalize_answer), for comparing them with the other metrics of this
/// module.
///
/// - `35` is not `3.5`, `5` is not `-5`, `15 %` is not `1.5 %`, `$12 million` is not
///   `$1.2 million`, `1030` is not `10:30`.
/// - A number is compared by its value: `1,000` is `1000`, `3.50` is `3.5`, `.5` is `0.5`. The
///   comma separates groups of three digits, and the point is the decimal one. A comma between
///   other digits stays: `3,5` is neither `35` nor `3.5`.
/// - `+`, `#` and `-` at the end of a word count: `C++` is not `C`.
/// - Units, currencies and the percent sign are treated as without it.
///
/// ```
/// use forage_reward_sdk::text::{exact_match, mark_numbers};
///
/// let is_right = |answer: &str, gold: &str| {
///     exact_match(&mark_numbers(answer), &[mark_numbers(gold)]) > 0.0
/// };
/// assert!(!is_right("$12 million", "$1.2 million"));
/// assert!(is_right("1,000", "1000"));
/// ```
pub fn mark_numbers(text: &str) -> String {
    let folded = fold(text);
    let characters: Vec<char> = folded.chars().collect();
    let mut marked = String::with_capacity(folded.len());
    let mut at = 0;
    while at < characters.len() {
        if let Some((number, end)) = number(&characters, at) {
            marked.push_str(&number);
            at = end;
        } else {
            marked.push(mark(&characters, at));
            at += 1;
        }
    }
    marked
}

/// The number that begins here, with its sign, in its shortest form; and where it ends.
fn number(characters: &[char], begin: usize) -> Option<(String, usize)> {
    let before = begin.checked_sub(1).map(|at| characters[at]);
    if before.is_some_and(is_digit) {
        return None;
    }
    let starts_word = !before.is_some_and(char::is_alphanumeric);
    let mut at = begin;
    let mut sign = "";
    if starts_word && matches!(characters[at], '-' | '+') {
        // A currency may stand between a sign and its number.
        at += 1;
        at += usize::from(characters.get(at).is_some_and(|c| is_currency(*c)));
        sign = if characters[begin] == '-' { "\u{10600}" } else { "" };
    }
    let digits = |from: usize| {
        let end = (from..characters.len()).find(|at| !is_digit(characters[*at]));
        end.unwrap_or(characters.len())
    };
    let mut end = digits(at);
    let mut whole: String = characters[at..end].iter().collect();
    // Groups of three digits, as long as they follow one of up to three.
    let is_group = |end: usize| {
        characters.get(end).is_some_and(|c| is_group_separator(*c)) && digits(end + 1) == end + 4
    };
    let may_have_groups = (1..=3).contains(&whole.len());
    while may_have_groups && is_group(end) {
        whole.extend(&characters[end + 1..end + 4]);
        end += 4;
    }
    let point = characters.get(end) == Some(&'.');
    let fraction_end = if point { digits(end + 1) } else { end };
    let has_fraction = fraction_end > end + 1;
    // Two points are a date or a version, whose parts are no fractions.
    let goes_on = has_fraction
        && characters.get(fraction_end) == Some(&'.')
        && characters.get(fraction_end + 1).is_some_and(|c| is_digit(*c));
    if whole.is_empty() && !(has_fraction && starts_word) {
        return None;
    }
    let digits_of_fraction = if has_fraction { &characters[end + 1..fraction_end] } else { &[] };
    let is_zero = whole.chars().chain(digits_of_fraction.iter().copied()).all(|digit| digit == '0');
    let mut number = if is_zero { String::new() } else { sign.to_owned() };
    number.push_str(if whole.is_empty() { "0" } else { &whole });
    if !has_fraction || goes_on {
        return Some((number, end));
    }
    let fraction: String = characters[end + 1..fraction_end].iter().collect();
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        number.push(POINT);
        number.push_str(fraction);
    }
    Some((number, fraction_end))
}

/// Character, or the letter that stands for it where it counts.
fn mark(characters: &[char], at: usize) -> char {
    let character = characters[at];
    let before = at.checked_sub(1).map(|before| characters[before]);
    let after = characters.get(at + 1).copied();
    if character.is_ascii_punctuation() && is_between_digits(characters, at) {
        return ' ';
    }
    if before.is_some_and(is_digit) && after.is_some_and(is_digit) {
        return match character {
            '.' => POINT,
            ':' => COLON,
            '/' => SLASH,
            '-' => RANGE,
            // One that does not separate groups of three digits may be a decimal one.
            ',' => COMMA,
            // Operators and the like: what stood apart is not joined.
            other if other.is_ascii_punctuation() => ' ',
            other => other,
        };
    }
    let is_exponent = matches!(before, Some('e' | 'E')) && at >= 2 && is_digit(characters[at - 2]);
    if character == '-' && is_exponent && after.is_some_and(is_digit) {
        return MINUS;
    }
    // Signs at the end of a word, such as those of C++ and of A−.
    let ends_word = |sign: char| {
        let word = characters[..at].iter().rposition(|c| *c != sign);
        let rest = characters[at..].iter().find(|c| **c != sign);
        word.is_some_and(|word| characters[word].is_alphanumeric())
            && !rest.is_some_and(|c| c.is_alphanumeric())
    };
    match character {
        '+' if ends_word('+') => PLUS,
        '#' if ends_word('#') => SHARP,
        '-' if ends_word('-') => MINUS,
        other => other,
    }
}

/// Whether several marks stand between two digits, such as `**` and `)(`.
fn is_between_digits(characters: &[char], at: usize) -> bool {
    let is_mark = |character: &char| character.is_ascii_punctuation();
    let before = characters[..at].iter().rposition(|it| !is_mark(it));
    let after = characters[at..].iter().position(|it| !is_mark(it)).map(|it| at + it);
    let (Some(before), Some(after)) = (before, after) else { return false };
    after - before > 2 && is_digit(characters[before]) && is_digit(characters[after])
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit()
}

fn is_currency(character: char) -> bool {
    matches!(character, '$' | '€' | '£' | '¥' | '₹' | '₽' | '₩')
}

/// Separator of groups of three digits: a comma, an apostrophe, or a space that does not break.
fn is_group_separator(character: char) -> bool {
    matches!(character, ',' | '\'' | '\u{a0}' | '\u{2009}' | '\u{202f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::exact_match;

    #[test]
    fn numbers_are_compared_by_their_value() {
        // The last column is the rule of SQuAD.
        for (answer, gold, compared, squad) in [
            ("35", "3.5", false, true),
            ("5", "-5", false, true),
            ("15%", "1.5%", false, true),
            ("15 %", "1.5 %", false, true),
            ("$12 million", "$1.2 million", false, true),
            ("C", "C++", false, true),
            ("C", "C#", false, true),
            ("A-", "A+", false, true),
            ("1030", "10:30", false, true),
            ("12", "1/2", false, true),
            ("1000", "1.000", false, true),
            ("191418", "1914-18", false, true),
            ("-$5", "$5", false, true),
            ("1.2.3", "12.3", false, true),
            ("1000", "1,000", true, true),
            ("1,234,567", "1234567", true, true),
            ("1'000", "1,000", true, true),
            ("1\u{202f}000", "1000", true, false),
            ("1,00", "100", false, true),
            ("3,5", "35", false, true),
            ("1,2,3", "123", false, true),
            ("1e-5", "1e5", false, true),
            ("10^6", "106", false, true),
            ("10**6", "106", false, true),
            ("5*3", "53", false, true),
            ("5'11\"", "511", false, true),
            ("(3)(4)", "34", false, true),
            ("10^6", "10 ^ 6", true, false),
            ("0.0", "-0.0", true, true),
            ("1.5", "\u{661}\u{66b}\u{665}", true, true),
            ("-0", "0", true, true),
            ("1911.0", "1911", true, false),
            ("3.50", "3.5", true, false),
            (".5", "0.5", true, false),
            ("+5", "5", true, true),
            ("−5", "-5", true, true),
            ("-$5", "$-5", true, true),
            ("1914–1918", "1914-1918", true, true),
            ("50", "50%", true, true),
            ("c++", "C++", true, true),
            ("The 39 Steps.", "39 steps", true, true),
            ("well-known", "wellknown", true, true),
            ("F-16", "F16", true, true),
            ("July 4, 1911", "July 4 1911", true, true),
            ("35", "36", false, false),
        ] {
            let found = exact_match(&mark_numbers(answer), &[mark_numbers(gold)]) > 0.0;
            assert_eq!(found, compared, "{answer} {gold} {:?}", mark_numbers(answer));
            assert_eq!(exact_match(answer, &[gold]) > 0.0, squad, "{answer} {gold}");
        }
    }
}
