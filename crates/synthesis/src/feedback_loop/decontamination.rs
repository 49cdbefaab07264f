//! Decontamination: near-duplicates and shared links of chains, which must not be in two splits.
//!
//! Two questions are near-duplicates where the weighted Jaccard index of their words is [`NEAR`] or
//! more; a word weighs the more, the fewer questions it is in. So two questions that share a
//! template and no name are not near-duplicates.

use std::collections::{BTreeSet, HashMap, HashSet};

use forage_trajectory::{Purpose, Question, Stream};
use forage_world::Split;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::assemble::{AcceptedQuestion, Assembly, DropReason};

/// Weighted Jaccard index from which on two questions are near-duplicates.
const NEAR: f64 = 0.8;

/// Shares of the questions in the validation and test splits; the rest is for training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitShares {
    /// Share of the validation split, from 0 to 1.
    pub dev: f64,
    /// Share of the test split, from 0 to 1.
    pub test: f64,
}

/// Items whose questions are near-duplicates of questions to be avoided.
pub fn contaminated(accepted: &[AcceptedQuestion], avoid: &[String]) -> BTreeSet<u64> {
    let avoided = avoid.iter().map(String::as_str);
    let texts: Vec<&str> =
        avoided.chain(accepted.iter().map(|accepted| accepted.question.text.as_str())).collect();
    let pairs = near_pairs(&texts);
    let found =
        pairs.into_iter().filter(|(one, other)| *one < avoid.len() && *other >= avoid.len());
    found.map(|(_, other)| accepted[other - avoid.len()].index).collect()
}

/// Assigns the questions to splits, in the order of `assembly.accepted`. `given` names the split of
/// a question; where it gives none, the split is drawn with `shares`, by seed and item.
///
/// A question that shares a link of its chain (two entities, one after the other) with one of a
/// later split, or is a near-duplicate of it, is dropped: train gives way to dev and test, dev to
/// test.
pub fn split(
    assembly: &mut Assembly,
    shares: SplitShares,
    seed: u64,
    given: &dyn Fn(&Question) -> Option<Split>,
) -> Vec<Split> {
    let splits: HashMap<u64, Split> = assembly
        .accepted
        .iter()
        .map(|accepted| {
            let split = given(&accepted.question)
                .unwrap_or_else(|| draw_split(shares, seed, accepted.index));
            (accepted.index, split)
        })
        .collect();
    let of = |accepted: &AcceptedQuestion| splits[&accepted.index];
    let mut losers = BTreeSet::new();

    let mut latest: HashMap<[String; 2], Split> = HashMap::new();
    let links: Vec<_> =
        assembly.accepted.iter().map(|accepted| links(&accepted.question)).collect();
    for (one, links) in assembly.accepted.iter().zip(&links) {
        for link in links {
            let split = latest.entry(link.clone()).or_insert(of(one));
            *split = later(*split, of(one));
        }
    }
    for (one, links) in assembly.accepted.iter().zip(&links) {
        if links.iter().any(|link| latest[link] != of(one)) {
            losers.insert(one.index);
        }
    }
    let texts: Vec<&str> =
        assembly.accepted.iter().map(|accepted| accepted.question.text.as_str()).collect();
    for (one, other) in near_pairs(&texts) {
        let [one, other] = [one, other].map(|idx| &assembly.accepted[idx]);
        if of(one) != of(other) {
            let loser = if later(of(one), of(other)) == of(one) { other } else { one };
            losers.insert(loser.index);
        }
    }
    assembly.drop_items(DropReason::AcrossSplits, &losers);
    assembly.accepted.iter().map(of).collect()
}

fn draw_split(shares: SplitShares, seed: u64, index: u64) -> Split {
    let stream = Stream::new(seed, Purpose::Items).at_step(1).of_member(index, 0);
    let drawn: f64 = stream.rng().random_range(0.0..1.0);
    if drawn < shares.test {
        Split::Test
    } else if drawn < shares.test + shares.dev {
        Split::Dev
    } else {
        Split::Train
    }
}

fn later(one: Split, other: Split) -> Split {
    if one as usize > other as usize { one } else { other }
}

/// Links of a question's chain: neighbours among its entities, or among the answers of its
/// steps where it names no entities, up to its answer.
pub(crate) fn links(question: &Question) -> BTreeSet<[String; 2]> {
    let evidence = &question.evidence;
    let mut chain: Vec<String> = if evidence.entities.len() > 1 {
        evidence.entities.iter().map(|it| it.to_lowercase()).collect()
    } else {
        evidence.steps.iter().map(|step| step.answer.to_lowercase()).collect()
    };
    if let Some(answer) = question.golden_answers.first().map(|it| it.to_lowercase())
        && !chain.contains(&answer)
    {
        chain.push(answer);
    }
    let link = |pair: &[String; 2]| {
        let mut pair = pair.clone();
        pair.sort();
        pair
    };
    chain.array_windows().map(link).collect()
}

/// All pairs of texts that are near-duplicates, the smaller index first.
///
/// Two such texts share a word of each other's prefix: their words from the rarest on, until what
/// is left weighs too little (prefix filtering, exact).
fn near_pairs(texts: &[&str]) -> Vec<(usize, usize)> {
    let words: Vec<HashSet<String>> = texts.iter().map(|it| words(it)).collect();
    let mut n_texts: HashMap<&str, usize> = HashMap::new();
    for word in words.iter().flatten() {
        *n_texts.entry(word).or_default() += 1;
    }
    let weight = |word: &str| (1.0 + texts.len() as f64 / n_texts[word] as f64).ln();
    let mut holders: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut pairs = Vec::new();
    for (idx, of_text) in words.iter().enumerate() {
        let mut rarest: Vec<&str> = of_text.iter().map(String::as_str).collect();
        rarest.sort_by(|one, other| n_texts[one].cmp(&n_texts[other]).then(one.cmp(other)));
        let total: f64 = rarest.iter().map(|it| weight(it)).sum();
        let mut left = total;
        let mut candidates = BTreeSet::new();
        for word in rarest {
            if left < NEAR * total {
                break;
            }
            left -= weight(word);
            let holders = holders.entry(word).or_default();
            candidates.extend(holders.iter().copied());
            holders.push(idx);
        }
        for other in candidates {
            // In a fixed order, since sums of floats depend on it.
            let both: BTreeSet<&String> = of_text.union(&words[other]).collect();
            let (mut shared, mut all) = (0.0, 0.0);
            for word in both {
                all += weight(word);
                if of_text.contains(word) && words[other].contains(word) {
                    shared += weight(word);
                }
            }
            if shared >= NEAR * all {
                pairs.push((other, idx));
            }
        }
    }
    pairs
}

fn words(text: &str) -> HashSet<String> {
    text.split(|it: char| !it.is_alphanumeric())
        .filter(|it| !it.is_empty())
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use forage_trajectory::Evidence;

    use super::*;

    fn accepted(index: u64, text: &str, entities: &[&str]) -> AcceptedQuestion {
        let entities: Vec<String> = entities.iter().map(|it| (*it).to_owned()).collect();
        let golden_answers = entities.last().cloned().into_iter().collect();
        let evidence = Evidence { entities, ..Evidence::default() };
        AcceptedQuestion {
            question: Question {
                id: index.to_string(),
                text: text.to_owned(),
                golden_answers,
                evidence,
                ..Question::default()
            },
            index,
            round: 0,
            target_steps: 2,
            min_steps: 2,
            average: 1.0,
        }
    }

    #[test]
    fn templates_are_no_duplicates() {
        let filler: Vec<String> = ["Veltor", "Munkas", "Dorlim", "Palsem", "Quinzal", "Borvim"]
            .iter()
            .map(|it| format!("Who is the mayor of the birthplace of the director of {it}?"))
            .collect();
        let mut texts: Vec<&str> = filler.iter().map(String::as_str).collect();
        assert_eq!(near_pairs(&texts), []);
        texts.push("Who is mayor of the birthplace of the director of the Veltor?");
        texts.push("Tell me who Munkas is.");
        assert_eq!(near_pairs(&texts), [(0, 6)]);
    }

    #[test]
    fn questions_to_avoid_are_found() {
        let questions = [
            accepted(3, "Where was the director of Veltor born?", &["a", "b"]),
            accepted(4, "Who runs Dorlim?", &["c", "d"]),
        ];
        let avoid = ["where was the director of veltor born".to_owned(), "Which?".to_owned()];
        assert_eq!(contaminated(&questions, &avoid), BTreeSet::from([3]));
    }

    #[test]
    fn no_link_of_a_chain_is_in_two_splits() {
        let split_of = |question: &Question| {
            Some(match question.id.as_str() {
                "5" => Split::Test,
                "3" | "4" => Split::Dev,
                _ => Split::Train,
            })
        };
        let mut assembly = Assembly {
            accepted: vec![
                accepted(0, "alpha", &["A", "B", "C"]),
                accepted(1, "beta", &["c", "b", "E"]),
                accepted(2, "gamma", &["F", "G"]),
                accepted(3, "delta", &["B", "C", "D"]),
                accepted(4, "epsilon", &["G", "H"]),
                accepted(5, "zeta", &["H", "G", "K"]),
            ],
            ..Assembly::default()
        };
        let splits = split(&mut assembly, SplitShares::default(), 1, &split_of);
        let left: Vec<_> = assembly.accepted.iter().map(|it| it.index).collect();
        // 0 and 1 share B and C with 3, and 4 shares G and H with 5.
        assert_eq!(left, [2, 3, 5]);
        assert_eq!(splits, [Split::Train, Split::Dev, Split::Test]);
        assert_eq!(assembly.dropped[&DropReason::AcrossSplits], 3);
    }

    #[test]
    fn shares_are_kept() {
        let name = |it: u64| [format!("a{it}"), format!("b{it}")];
        let accepted: Vec<AcceptedQuestion> = (0..1000)
            .map(|it| {
                let names = name(it);
                accepted(it, &names.concat(), &names.each_ref().map(String::as_str))
            })
            .collect();
        let mut assembly = Assembly { accepted, ..Assembly::default() };
        let shares = SplitShares { dev: 0.1, test: 0.2 };
        let splits = split(&mut assembly, shares, 1, &|_| None);
        let count = |split| splits.iter().filter(|it| **it == split).count();
        assert_eq!(splits.len(), 1000);
        assert!((60..140).contains(&count(Split::Dev)), "{}", count(Split::Dev));
        assert!((150..250).contains(&count(Split::Test)), "{}", count(Split::Test));
    }
}
