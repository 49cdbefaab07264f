//! Answer metrics: exact match and token F1, as `SQuAD` defines them.
//!
//! The rules are those of the official scripts of `SQuAD` and `HotpotQA`, of Search-R1, verl and
//! `FlashRAG`, so that numbers can be compared. They are written by hand, because a regex engine
//! would dominate the build time of a plugin.

use std::collections::HashMap;

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

/// Exact match: 1 if the prediction equals any golden answer, both normalized; else 0.
pub fn exact_match<S: AsRef<str>>(prediction: &str, golden_answers: &[S]) -> f64 {
    let prediction = normalize_answer(prediction);
    let matched = golden_answers.iter().any(|gold| normalize_answer(gold.as_ref()) == prediction);
    f64::from(u8::from(matched))
}

/// Substring exact match: 1 if the prediction contains any golden answer, both normalized; else 0.
///
/// The match is by characters and not by words, as in the published scripts: `party` contains
/// `art`. One departure: a golden answer that is empty after normalization matches nothing, instead
/// of everything.
pub fn sub_exact_match<S: AsRef<str>>(prediction: &str, golden_answers: &[S]) -> f64 {
    let prediction = normalize_answer(prediction);
    let matched = golden_answers.iter().any(|gold| {
        let gold = normalize_answer(gold.as_ref());
        !gold.is_empty() && prediction.contains(&gold)
    });
    f64::from(u8::from(matched))
}

/// Token F1 of `SQuAD` v1.1: harmonic mean of precision and recall over normalized words, for the
/// golden answer with the highest F1.
///
/// A word counts as often as both texts have it. An empty prediction scores 0, even for an empty
/// golden answer.
pub fn word_f1<S: AsRef<str>>(prediction: &str, golden_answers: &[S]) -> f64 {
    best(prediction, golden_answers, f1)
}

/// Token F1 of `HotpotQA` and `FlashRAG`: [`word_f1`], except that `yes`, `no` and `noanswer` match
/// as a whole or not at all.
pub fn token_f1<S: AsRef<str>>(prediction: &str, golden_answers: &[S]) -> f64 {
    best(prediction, golden_answers, |prediction, gold| {
        let is_verdict = |text: &str| matches!(text, "yes" | "no" | "noanswer");
        let differ = prediction != gold && (is_verdict(prediction) || is_verdict(gold));
        if differ { 0.0 } else { f1(prediction, gold) }
    })
}

/// Number of words of a text after normalization.
pub fn n_words(text: &str) -> usize {
    normalize_answer(text).split(' ').filter(|word| !word.is_empty()).count()
}

/// Whether an answer is a list of candidates: it has more than `max_words` words, and more than any
/// golden answer. Rewards that pay for parts of answers do not pay for lists.
pub fn is_list<S: AsRef<str>>(answer: &str, golden_answers: &[S], max_words: usize) -> bool {
    let longest = golden_answers.iter().map(|gold| n_words(gold.as_ref())).max();
    n_words(answer) > longest.unwrap_or(0).max(max_words)
}

/// The highest score among the golden answers.
fn best<S: AsRef<str>>(
    prediction: &str,
    golden_answers: &[S],
    score: impl Fn(&str, &str) -> f64,
) -> f64 {
    let prediction = normalize_answer(prediction);
    let scores =
        golden_answers.iter().map(|gold| score(&prediction, &normalize_answer(gold.as_ref())));
    scores.fold(0.0, f64::max)
}

/// F1 of two normalized texts.
fn f1(prediction: &str, gold: &str) -> f64 {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in gold.split(' ').filter(|word| !word.is_empty()) {
        *left.entry(word).or_default() += 1;
    }
    let n_gold: usize = left.values().sum();
    let (mut n_prediction, mut n_shared) = (0_usize, 0_usize);
    for word in prediction.split(' ').filter(|word| !word.is_empty()) {
        n_prediction += 1;
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
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

    #[test]
    fn matches() {
        // prediction, golden answers, exact match, sub exact match, F1
        let table: &[(&str, &[&str], f64, f64, f64)] = &[
            ("The  Beatles!", &["beatles"], 1.0, 1.0, 1.0),
            ("Paris, France", &["Paris"], 0.0, 1.0, 2.0 / 3.0),
            ("Paris", &["London", "paris."], 1.0, 1.0, 1.0),
            ("party", &["art"], 0.0, 1.0, 0.0),
            ("New York City", &["New York"], 0.0, 1.0, 0.8),
            ("York New", &["New York"], 0.0, 0.0, 1.0),
            ("to be or not to be", &["to be"], 0.0, 1.0, 0.5),
            ("capital france", &["capital of france"], 0.0, 0.0, 0.8),
            ("be", &["be be be be"], 0.0, 0.0, 0.4),
            ("x y", &["y z w", "x y z"], 0.0, 0.0, 0.8),
            ("yes", &["yes"], 1.0, 1.0, 1.0),
            ("yes it is", &["yes"], 0.0, 1.0, 0.0),
            ("no", &["no way"], 0.0, 0.0, 0.0),
            ("no answer", &["noanswer"], 0.0, 0.0, 0.0),
            ("", &["x"], 0.0, 0.0, 0.0),
            ("x", &["the"], 0.0, 0.0, 0.0),
            ("x", &[], 0.0, 0.0, 0.0),
        ];
        for &(prediction, golds, em, sub_em, f1) in table {
            let found = (
                exact_match(prediction, golds),
                sub_exact_match(prediction, golds),
                token_f1(prediction, golds),
            );
            let close = [found.0 - em, found.1 - sub_em, found.2 - f1];
            assert!(close.iter().all(|it| it.abs() < 1e-9), "{prediction:?} {golds:?}: {found:?}");
        }
    }

    #[test]
    fn only_one_of_the_rules_knows_verdicts() {
        for (prediction, gold, squad, hotpotqa) in [
            ("yes it is", "yes", 0.5, 0.0),
            ("no", "no way", 2.0 / 3.0, 0.0),
            ("yes", "Yes.", 1.0, 1.0),
            ("", "", 0.0, 0.0),
        ] {
            assert!((word_f1(prediction, &[gold]) - squad).abs() < 1e-9, "{prediction}");
            assert!((token_f1(prediction, &[gold]) - hotpotqa).abs() < 1e-9, "{prediction}");
        }
        assert_eq!(n_words("The Tower of London, a"), 3);
        for (answer, expected) in [("a b", false), ("x y z", false), ("x y z w", true)] {
            assert_eq!(is_list(answer, &["x", "x y z"], 2), expected, "{answer}");
        }
    }
}
