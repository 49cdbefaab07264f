//! Cosines of TF-IDF vectors, as scikit-learn's `TfidfVectorizer` has them by default.
//!
//! Words are runs of two or more word characters in lower case; `idf = ln((1 + n) / (1 + df)) + 1`
//! over `n` documents; a document's vector is `count · idf`, scaled to length 1.

use std::collections::BTreeMap;

use forage_reward_sdk::text::is_word;

/// How often each word is in a document.
#[derive(Debug, Clone, Default)]
pub struct Counts(BTreeMap<String, f64>);

impl Counts {
    /// Counts the words of a document.
    pub fn new(document: &str) -> Self {
        let mut counts = BTreeMap::new();
        let lower = document.to_lowercase();
        for word in lower.split(|c: char| !(is_word(c) || c == '_')) {
            if word.chars().nth(1).is_some() {
                *counts.entry(word.to_owned()).or_default() += 1.0;
            }
        }
        Self(counts)
    }
}

/// The cosine of `found` with each gold document, by a vectorizer that was fitted on all of them.
///
/// Between 0 and 1; 0 where a document has no words.
pub fn cosines(found: &Counts, gold: &[Counts]) -> Vec<f64> {
    let mut document_frequency: BTreeMap<&str, f64> = BTreeMap::new();
    for Counts(counts) in gold.iter().chain([found]) {
        for word in counts.keys() {
            *document_frequency.entry(word).or_default() += 1.0;
        }
    }
    let n_documents = (gold.len() + 1) as f64;
    let weighted = |Counts(counts): &Counts| -> BTreeMap<String, f64> {
        let weight = |(word, count): (&String, &f64)| {
            let idf = ((1.0 + n_documents) / (1.0 + document_frequency[word.as_str()])).ln() + 1.0;
            (word.clone(), count * idf)
        };
        counts.iter().map(weight).collect()
    };
    let length = |it: &BTreeMap<String, f64>| it.values().map(|it| it * it).sum::<f64>().sqrt();

    let found = weighted(found);
    let found_length = length(&found);
    let cosine = |gold: &Counts| {
        let gold = weighted(gold);
        let product: f64 =
            gold.iter().filter_map(|(word, weight)| Some(weight * found.get(word)?)).sum();
        if product == 0.0 { 0.0 } else { (product / (found_length * length(&gold))).min(1.0) }
    };
    gold.iter().map(cosine).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        gold: Vec<String>,
        found: Vec<String>,
        cosines: Vec<Vec<f64>>,
    }

    fn counted(gold: &[&str]) -> Vec<Counts> {
        gold.iter().map(|it| Counts::new(it)).collect()
    }

    #[test]
    fn equal_to_scikit_learn() {
        let cases = include_str!("../../../tests/oracles/tfidf.json");
        let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
        assert_eq!(cases.len(), 200);
        for Case { gold, found, cosines: expected } in cases {
            let counted: Vec<Counts> = gold.iter().map(|it| Counts::new(it)).collect();
            for (found, expected) in found.iter().zip(expected) {
                let ours = cosines(&Counts::new(found), &counted);
                assert_eq!(ours.len(), expected.len());
                let close = ours.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6);
                assert!(close, "{found:?} in {gold:?}: {ours:?}, {expected:?}");
            }
        }
    }

    #[test]
    fn by_hand() {
        let capitals = ["paris is capital of france", "berlin is capital of germany"];
        let letters = ["alpha beta", "gamma delta"];
        for (gold, found, expected) in [
            (capitals, capitals[0], [1.0, 3.0 / (6.31624_f64 * 8.73350).sqrt()]),
            (capitals, "bananas grow quickly", [0.0, 0.0]),
            (letters, "alpha zeta", [0.366_447, 0.0]),
            (letters, "gamma", [0.0, 0.605_349]),
            (letters, "", [0.0, 0.0]),
        ] {
            let found = cosines(&Counts::new(found), &counted(&gold));
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?}");
        }
    }
}
