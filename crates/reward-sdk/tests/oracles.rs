//! Exact match and F1 beside Python, on strings that are hard to normalize.

use forage_reward_sdk::text;
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

#[test]
fn answers_are_compared_as_python_compares_them() {
    let cases = include_str!("../../../tests/oracles/normalize.json");
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
    assert_eq!(cases.len(), 500);
    for Case { answer, golds, normalized, em, squad_f1, hotpotqa_f1 } in cases {
        assert_eq!(text::normalize_answer(&answer), normalized, "{answer:?}");
        for (found, expected) in [
            (text::exact_match(&answer, &golds), em),
            (text::word_f1(&answer, &golds), squad_f1),
            (text::token_f1(&answer, &golds), hotpotqa_f1),
        ] {
            assert!((found - expected).abs() < 1e-9, "{answer:?} {golds:?}: {found}, {expected}");
        }
    }
}
