//! Exact match and F1 beside Python, on strings that are hard to normalize.

use forage_reward_sdk::text::{self, squad};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    answer: String,
    golds: Vec<String>,
    normalized: String,
    em: f64,
    squad_f1: f64,
    hotpotqa_f1: f64,
}

fn cases() -> Vec<Case> {
    let cases = include_str!("../../../tests/oracles/normalize.json");
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
    assert_eq!(cases.len(), 500);
    cases
}

#[test]
fn answers_are_compared_as_python_compares_them() {
    for Case { answer, golds, normalized, em, squad_f1, hotpotqa_f1 } in cases() {
        assert_eq!(text::normalize_answer(&answer), normalized, "{answer:?}");
        for (found, expected) in [
            (squad::exact_match(&answer, &golds), em),
            (squad::word_f1(&answer, &golds), squad_f1),
            (squad::token_f1(&answer, &golds), hotpotqa_f1),
        ] {
            assert!((found - expected).abs() < 1e-9, "{answer:?} {golds:?}: {found}, {expected}");
        }
    }
}

/// The departures concern texts that fold to others, texts without spaces, and texts of which the
/// rule leaves nothing. In all others, the metrics are those of Python.
#[test]
fn departures_are_the_documented_ones() {
    let is_plain = |text: &String| {
        text::fold(text) == text.as_str()
            && !text::normalize_answer(text).is_empty()
            && !text.chars().any(|character| ('\u{3005}'..='\u{9fff}').contains(&character))
    };
    let mut n_plain = 0;
    for Case { answer, golds, em, squad_f1, hotpotqa_f1, .. } in cases() {
        if !(is_plain(&answer) && golds.iter().all(is_plain)) {
            continue;
        }
        n_plain += 1;
        for (found, expected) in [
            (text::exact_match(&answer, &golds), em),
            (text::word_f1(&answer, &golds), squad_f1),
            (text::token_f1(&answer, &golds), hotpotqa_f1),
        ] {
            assert!((found - expected).abs() < 1e-9, "{answer:?} {golds:?}: {found}, {expected}");
        }
    }
    assert!(n_plain >= 20, "{n_plain}");
}
