//! The rule of the official scripts of `SQuAD` and `HotpotQA`, letter for letter.
//!
//! Search-R1, verl and `FlashRAG` share it. It is compared with Python on 500 awkward strings. The
//! metrics of the parent module prepare the texts before it and treat golden answers of which it
//! leaves nothing; these here do neither.

use std::collections::HashMap;
use std::hash::Hash;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Answer normalization of `SQuAD`: lower case, no ASCII punctuation, no articles, single spaces.
///
/// The order matters: `U.S.` becomes `us`, and `the-man` becomes `theman`, which keeps its article.
/// The steps are Python's `lower`, `string.punctuation`, `\b(a|an|the)\b` and `split`. Quotes and
/// dashes beyond ASCII stay. `\b` is a boundary of Unicode letters and numbers.
///
/// ```
/// use forage_reward_sdk::text::normalize_answer;
///
/// assert_eq!(normalize_answer("The  Beatles!"), "beatles");
/// ```
pub fn normalize_answer(answer: &str) -> String {
    let mut plain = answer.to_lowercase();
    plain.retain(|c| !c.is_ascii_punctuation());

    let mut spaced = String::with_capacity(plain.len());
    let mut rest = plain.as_str();
    while let Some(first) = rest.chars().next() {
        // A run of letters and digits, or of other characters: word boundaries are between them.
        let in_word = is_word(first);
        let end = rest.find(|c| is_word(c) != in_word).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        spaced.push_str(if matches!(run, "a" | "an" | "the") { " " } else { run });
        rest = tail;
    }

    let words: Vec<&str> = spaced.split(is_space).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// Exact match of the official scripts: 1 if the prediction equals any golden answer, both
/// normalized, also where nothing is left of the two; else 0.
pub fn exact_match<S: AsRef<str>>(prediction: &str, golden_answers: &[S]) -> f64 {
    let prediction = normalize_answer(prediction);
    let matched = golden_answers.iter().any(|gold| normalize_answer(gold.as_ref()) == prediction);
    f64::from(u8::from(matched))
}

/// Token F1 of the script of `SQuAD` v1.1.
pub fn word_f1<S: AsRef<str>>(prediction: &str, golden_answers: &[S]) -> f64 {
    let prediction = normalize_answer(prediction);
    let golds = golden_answers.iter().map(|gold| normalize_answer(gold.as_ref()));
    golds.map(|gold| f1(words(&prediction), words(&gold))).fold(0.0, f64::max)
}

/// Token F1 of the script of `HotpotQA`.
pub fn token_f1<S: AsRef<str>>(prediction: &str, golden_answers: &[S]) -> f64 {
    let prediction = normalize_answer(prediction);
    let golds = golden_answers.iter().map(|gold| normalize_answer(gold.as_ref()));
    let score = |gold: String| {
        if differ_in_verdict(&prediction, &gold) {
            0.0
        } else {
            f1(words(&prediction), words(&gold))
        }
    };
    golds.map(score).fold(0.0, f64::max)
}

fn words(normalized: &str) -> impl Iterator<Item = &str> {
    normalized.split(' ').filter(|word| !word.is_empty())
}

/// Whether two normalized texts differ, and one of them is `yes`, `no` or `noanswer`.
pub(super) fn differ_in_verdict(prediction: &str, gold: &str) -> bool {
    let is_verdict = |text: &str| matches!(text, "yes" | "no" | "noanswer");
    prediction != gold && (is_verdict(prediction) || is_verdict(gold))
}

/// F1 of two lists of tokens: harmonic mean of precision and recall. A token counts as often as
/// both lists have it.
pub(super) fn f1<T: Eq + Hash>(
    prediction: impl Iterator<Item = T>,
    gold: impl Iterator<Item = T>,
) -> f64 {
    let mut left: HashMap<T, usize> = HashMap::new();
    for token in gold {
        *left.entry(token).or_default() += 1;
    }
    let n_gold: usize = left.values().sum();
    let (mut n_prediction, mut n_shared) = (0_usize, 0_usize);
    for token in prediction {
        n_prediction += 1;
        if let Some(count) = left.get_mut(&token).filter(|count| **count > 0) {
            *count -= 1;
            n_shared += 1;
        }
    }
    if n_shared == 0 {
        return 0.0;
    }
    let precision = n_shared as f64 / n_prediction as f64;
    let recall = n_shared as f64 / n_gold as f64;
    2.0 * precision * recall / (precision + recall)
}

/// Word character: Python's `str.isalnum`. With the underscore, these are the word characters of
/// its regular expressions.
///
/// They are the letters and numbers by general category. `char::is_alphanumeric` also accepts marks
/// and symbols that Unicode calls alphabetic, such as vowel signs.
pub fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    matches!(
        c.general_category_group(),
        GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number
    )
}

/// White space of Python's `split`: that of Unicode and four separators more.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalized_as_python_does() {
        // Right-hand sides are the output of the official SQuAD v1.1 script.
        for (answer, expected) in [
            ("The  Beatles!", "beatles"),
            ("beatles", "beatles"),
            ("U.S.", "us"),
            ("the-man", "theman"),
            ("the man", "man"),
            ("An apple a day", "apple day"),
            ("Anna and Theo", "anna and theo"),
            ("a_b", "ab"),
            ("the", ""),
            ("", ""),
            ("  \t\n ", ""),
            ("“The Wall”", "“ wall”"),
            ("the—a", "—"),
            ("L'Été à la mer", "lété à la mer"),
            ("à a", "à"),
            ("a\u{301} b", "\u{301} b"),
            ("東京 the 京都", "東京 京都"),
            ("thé", "thé"),
            ("1,000", "1000"),
            ("a1", "a1"),
            ("x\u{1c}y\u{a0}z\u{3000}w", "x y z w"),
            ("ΟΔΟΣ", "οδος"),
            ("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", ""),
            ("İstanbul", "i\u{307}stanbul"),
            ("THE a AN", ""),
        ] {
            assert_eq!(normalize_answer(answer), expected, "{answer:?}");
        }
    }
}
