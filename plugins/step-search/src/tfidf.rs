//! TF-IDF cosine similarity, with the defaults of `TfidfVectorizer` in scikit-learn.
//!
//! Words are runs of two or more word characters in lower case; `idf = ln((1 + n) / (1 + df)) + 1`
//! over `n` documents; a document's vector is `count · idf`, scaled to length 1.

use std::collections::{BTreeMap, HashMap};

use forage_reward_sdk::text::is_word;

/// Gold documents, with which other documents are compared.
///
/// The vectorizer is fitted on the gold documents and the one that is compared, so the weights of a
/// gold document depend on which of its words the other one has too.
#[derive(Debug, Clone, Default)]
pub struct Gold {
    /// Index of each word.
    words: HashMap<String, usize>,
    /// Document frequency of each word among the gold documents.
    frequency: Vec<usize>,
    /// Words of each document with their counts, in alphabetical order, so that sums do not depend
    /// on the order of words in the text.
    documents: Vec<Vec<(usize, f64)>>,
    /// `idf` by document frequency, including the document that is compared.
    idf: Vec<f64>,
}

impl Gold {
    /// Gold documents with these texts.
    pub fn new<S: AsRef<str>>(documents: &[S]) -> Self {
        let mut it = Self::default();
        for document in documents {
            let lower = document.as_ref().to_lowercase();
            let mut counts = Vec::new();
            for (word, count) in count(&lower) {
                let next = it.frequency.len();
                let idx = it.words.get(word).copied().unwrap_or(next);
                if idx == next {
                    it.words.insert(word.to_owned(), next);
                    it.frequency.push(0);
                }
                it.frequency[idx] += 1;
                counts.push((idx, count));
            }
            it.documents.push(counts);
        }
        let n_documents = (documents.len() + 1) as f64;
        let idf = |frequency: usize| ((1.0 + n_documents) / (1.0 + frequency as f64)).ln() + 1.0;
        it.idf = (0..=documents.len() + 1).map(idf).collect();
        it
    }

    /// Cosine of a document with each gold document.
    ///
    /// Cosines are between 0 and 1, and 0 for a document without words.
    pub fn cosines(&self, found: &str) -> Vec<f64> {
        let lower = found.to_lowercase();
        // Weight of each gold word in the document that was found; 0 if it does not occur.
        let mut weights = vec![0.0; self.frequency.len()];
        let mut squares = 0.0;
        for (word, count) in count(&lower) {
            let idx = self.words.get(word).copied();
            let frequency = idx.map_or(0, |idx| self.frequency[idx]) + 1;
            let weight = count * self.idf[frequency];
            squares += weight * weight;
            if let Some(idx) = idx {
                weights[idx] = weight;
            }
        }
        let found_length = f64::sqrt(squares);

        let cosine = |gold: &Vec<(usize, f64)>| {
            let (mut product, mut squares) = (0.0, 0.0);
            for &(idx, count) in gold {
                let shared = weights[idx] > 0.0;
                let weight = count * self.idf[self.frequency[idx] + usize::from(shared)];
                squares += weight * weight;
                if shared {
                    product += weight * weights[idx];
                }
            }
            let length = f64::sqrt(squares);
            if product == 0.0 { 0.0 } else { (product / (found_length * length)).min(1.0) }
        };
        self.documents.iter().map(cosine).collect()
    }
}

/// Word counts of a lower-case document, in alphabetical order.
fn count(lower: &str) -> BTreeMap<&str, f64> {
    let mut counts = BTreeMap::new();
    for word in lower.split(|c: char| !(is_word(c) || c == '_')) {
        if word.chars().nth(1).is_some() {
            *counts.entry(word).or_default() += 1.0;
        }
    }
    counts
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

    fn cases() -> Vec<Case> {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../../tests/oracles/tfidf.json")).unwrap();
        assert_eq!(cases.len(), 200);
        cases
    }

    /// The formulas, step by step.
    fn by_the_formulas(found: &str, gold: &[String]) -> Vec<f64> {
        let lower: Vec<String> =
            gold.iter().map(String::as_str).chain([found]).map(str::to_lowercase).collect();
        let counts: Vec<BTreeMap<&str, f64>> = lower.iter().map(|it| count(it)).collect();
        let idf = |word: &str| {
            let frequency = counts.iter().filter(|it| it.contains_key(word)).count();
            ((1.0 + counts.len() as f64) / (1.0 + frequency as f64)).ln() + 1.0
        };
        let vectors: Vec<BTreeMap<&str, f64>> = counts
            .iter()
            .map(|it| it.iter().map(|(word, count)| (*word, count * idf(word))).collect())
            .collect();
        let length = |it: &BTreeMap<&str, f64>| it.values().map(|it| it * it).sum::<f64>().sqrt();
        let (found, gold) = vectors.split_last().unwrap();
        let cosine = |gold: &BTreeMap<&str, f64>| {
            let shared = gold.iter().filter_map(|(word, it)| Some(it * found.get(word)?));
            let product: f64 = shared.sum();
            let cosine = product / (length(found) * length(gold));
            if product == 0.0 { 0.0 } else { cosine.min(1.0) }
        };
        gold.iter().map(cosine).collect()
    }

    #[test]
    fn equal_to_scikit_learn() {
        for Case { gold, found, cosines } in cases() {
            let counted = Gold::new(&gold);
            for (found, expected) in found.iter().zip(cosines) {
                let ours = counted.cosines(found);
                assert_eq!(ours.len(), expected.len());
                let close = ours.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6);
                assert!(close, "{found:?} in {gold:?}: {ours:?}, {expected:?}");
            }
        }
    }

    #[test]
    fn equal_to_the_formulas_to_the_bit() {
        let bits = |it: Vec<f64>| it.into_iter().map(f64::to_bits).collect::<Vec<_>>();
        for Case { gold, found, .. } in cases() {
            let counted = Gold::new(&gold);
            for found in found.iter().chain(&gold) {
                let expected = by_the_formulas(found, &gold);
                assert_eq!(bits(counted.cosines(found)), bits(expected), "{found:?} in {gold:?}");
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
            let found = Gold::new(&gold).cosines(found);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?}");
        }
    }
}
