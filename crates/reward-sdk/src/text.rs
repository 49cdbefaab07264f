//! Answer metrics: exact match and token F1, as `SQuAD` defines them.
//!
//! The rule is that of the official scripts of `SQuAD` and `HotpotQA`, of Search-R1, verl and
//! `FlashRAG`, so that numbers can be compared; [`squad`] has it letter for letter. It is written
//! by hand, because a regex engine would dominate the build time of a plugin.
//!
//! # Departures
//!
//! Nothing changes for texts in ASCII of which the rule leaves something.
//!
//! - Characters that look the same are the same: see [`fold`].
//! - A golden answer of which the rule leaves nothing (`A`, `The The`, `+`) does not equal every
//!   other such text, and no answer at all least of all: its articles stay, and where it is
//!   punctuation alone, it is compared as written.
//! - For F1, each character of Chinese and Japanese is a token, as in the metrics of CMRC 2018 and
//!   MLQA. Words of Thai, Lao, Khmer and Burmese are not told apart: such a text is one token, since
//!   a letter of an alphabet says nothing about an answer.

pub mod squad;

mod fold;
mod numbers;
mod words;

pub use fold::fold;
pub use numbers::mark_numbers;
pub use squad::{is_word, normalize_answer};
pub use words::n_words;

/// Exact match: 1 if the prediction equals any golden answer, both normalized; else 0. A prediction
/// of nothing equals none.
pub fn exact_match<S: AsRef<str>>(prediction: &str, golden_answers: &[S]) -> f64 {
    let prediction = comparable(prediction);
    let equals = |gold: &S| comparable(gold.as_ref()) == prediction;
    f64::from(u8::from(!prediction.is_empty() && golden_answers.iter().any(equals)))
}

/// Substring exact match: 1 if the prediction contains any golden answer, both normalized; else 0.
///
/// The match is by characters and not by words, as in the published scripts: `party` contains
/// `art`. One departure: a golden answer of which the normalization leaves nothing has to be equal,
/// instead of being contained in everything.
pub fn sub_exact_match<S: AsRef<str>>(prediction: &str, golden_answers: &[S]) -> f64 {
    let normalized = normalize_answer(&fold(prediction));
    let contains = |gold: &S| {
        let gold = gold.as_ref();
        let plain = normalize_answer(&fold(gold));
        if plain.is_empty() {
            return exact_match(prediction, &[gold]) > 0.0;
        }
        normalized.contains(&plain)
    };
    f64::from(u8::from(golden_answers.iter().any(contains)))
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
        if squad::differ_in_verdict(prediction, gold) { 0.0 } else { f1(prediction, gold) }
    })
}

/// Whether an answer is a list of candidates: it has more than `max_words` words, and more than any
/// golden answer. Rewards that pay for parts of answers do not pay for lists.
pub fn is_list<S: AsRef<str>>(answer: &str, golden_answers: &[S], max_words: usize) -> bool {
    let longest = golden_answers.iter().map(|gold| n_words(gold.as_ref())).max();
    n_words(answer) > longest.unwrap_or(0).max(max_words)
}

/// Text in the form in which answers are compared: folded and normalized. Where nothing would be
/// left, articles stay; where nothing is left then, it is the text as written, without white space
/// around it.
///
/// ```
/// use forage_reward_sdk::text::comparable;
///
/// let forms = ["The  Beatles!", "The The", "A", "+", " "].map(comparable);
/// assert_eq!(forms, ["beatles", "the the", "a", "+", ""]);
/// ```
pub fn comparable(answer: &str) -> String {
    let folded = fold(answer);
    let normalized = normalize_answer(&folded);
    if !normalized.is_empty() {
        return normalized;
    }
    let mut plain = folded.to_lowercase();
    plain.retain(|character| !character.is_ascii_punctuation());
    let words: Vec<&str> = plain.split_whitespace().collect();
    if words.is_empty() { folded.trim().to_owned() } else { words.join(" ") }
}

/// The highest score among the golden answers.
fn best<S: AsRef<str>>(
    prediction: &str,
    golden_answers: &[S],
    score: impl Fn(&str, &str) -> f64,
) -> f64 {
    let prediction = comparable(prediction);
    let scores = golden_answers.iter().map(|gold| score(&prediction, &comparable(gold.as_ref())));
    scores.fold(0.0, f64::max)
}

/// F1 of two comparable texts.
fn f1(prediction: &str, gold: &str) -> f64 {
    squad::f1(words::tokens(prediction), words::tokens(gold))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        check(table);
    }

    #[test]
    fn golden_answers_of_which_nothing_is_left() {
        check(&[
            ("", &["A"], 0.0, 0.0, 0.0),
            ("", &[""], 0.0, 0.0, 0.0),
            ("", &["!!!"], 0.0, 0.0, 0.0),
            ("?", &["A"], 0.0, 0.0, 0.0),
            ("the", &["A"], 0.0, 0.0, 0.0),
            ("banana", &["A"], 0.0, 0.0, 0.0),
            ("(a).", &["A"], 1.0, 1.0, 1.0),
            ("the the!", &["The The"], 1.0, 1.0, 1.0),
            ("the", &["The The"], 0.0, 0.0, 2.0 / 3.0),
            ("-", &["+"], 0.0, 0.0, 0.0),
            (" + ", &["+"], 1.0, 1.0, 1.0),
            ("＋", &["+"], 1.0, 1.0, 1.0),
            ("!!!", &["!!!"], 1.0, 1.0, 1.0),
            ("!!", &["!!!"], 0.0, 0.0, 0.0),
            ("x", &["?"], 0.0, 0.0, 0.0),
        ]);
    }

    #[test]
    fn texts_that_look_the_same_are_equal() {
        check(&[
            ("Maeve O'Dunn", &["Maeve O’Dunn"], 1.0, 1.0, 1.0),
            ("Café Zülow", &["Cafe\u{301} Zu\u{308}low"], 1.0, 1.0, 1.0),
            ("1911", &["１９１１"], 1.0, 1.0, 1.0),
            ("“The Wall”", &["The Wall"], 1.0, 1.0, 1.0),
            ("مُحَمَّد أحمد", &["محمد احمد"], 1.0, 1.0, 1.0),
            ("Сергей Королёв", &["Сергей Королев"], 1.0, 1.0, 1.0),
            ("New\u{a0}York", &["New York"], 1.0, 1.0, 1.0),
            ("《紅樓夢》", &["紅樓夢"], 1.0, 1.0, 1.0),
            ("resume", &["résumé"], 0.0, 0.0, 0.0),
        ]);
    }

    #[test]
    fn texts_without_spaces() {
        check(&[
            ("東京", &["東京"], 1.0, 1.0, 1.0),
            // 2 of 4 characters, and 2 of 2.
            ("日本東京", &["東京"], 0.0, 1.0, 2.0 / 3.0),
            ("กรุงเทพ", &["กรุงเทพฯ"], 0.0, 0.0, 0.0),
        ]);
        let listed = "東京大阪京都名古屋福岡札幌仙台広島横浜神戸";
        assert!(is_list(listed, &["東京"], 20));
        assert!(!is_list("東京タワー", &["東京"], 20));
    }

    #[track_caller]
    fn check(table: &[(&str, &[&str], f64, f64, f64)]) {
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
        for (answer, expected) in [("a b", false), ("x y z", false), ("x y z w", true)] {
            assert_eq!(is_list(answer, &["x", "x y z"], 2), expected, "{answer}");
        }
    }
}
