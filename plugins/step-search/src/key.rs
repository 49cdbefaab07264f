//! Search-key reward: how well the queries match the reference queries of the sub-questions.

use forage_reward_sdk::prelude::*;
use forage_reward_sdk::text::word_f1;

use crate::Key;

/// Search-key reward: the mean F1 over the sub-questions with reference queries, from 0 to 1; 0
/// without any.
///
/// [`Key::Best`] is equation 3 of arXiv 2505.15107. [`Key::Latest`] is that of the released code: a
/// later, worse query for a sub-question replaces a better one.
pub(crate) fn key(rule: Key, steps: &[EvidenceStep], queries: &[&str]) -> f64 {
    let references: Vec<&[Text]> =
        steps.iter().map(|step| step.queries.as_slice()).filter(|it| !it.is_empty()).collect();
    if references.is_empty() {
        return 0.0;
    }
    let mut values = vec![0.0_f64; references.len()];
    for query in queries {
        let scores: Vec<f64> = references.iter().map(|it| word_f1(query, it)).collect();
        match rule {
            Key::Best => {
                for (value, score) in values.iter_mut().zip(scores) {
                    *value = value.max(score);
                }
            }
            Key::Latest => {
                // The first of equals; a query that matches nothing has no sub-question.
                let mut best: Option<usize> = None;
                for (idx, score) in scores.iter().enumerate() {
                    if *score > best.map_or(0.0, |best| scores[best]) {
                        best = Some(idx);
                    }
                }
                if let Some(best) = best {
                    values[best] = scores[best];
                }
            }
        }
    }
    values.iter().sum::<f64>() / values.len() as f64
}
