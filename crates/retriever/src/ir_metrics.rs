//! Information retrieval metrics, exactly as `trec_eval` computes them.
//!
//! A ranking is sorted by score; equal scores by the name of the passage, descending; the ranks in
//! a file are not read. A passage without a judgement is not relevant.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::trec::{Qrels, TrecRun, ranked};

/// Retrieval metric of the ranking of one topic, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Average precision, `map` of `trec_eval`: mean over the relevant passages of the precision at
    /// their ranks, 0 for one that is not found. Its mean over topics is MAP.
    AveragePrecision,
    /// Reciprocal rank of the first relevant passage, `recip_rank`. Its mean over topics is MRR.
    ReciprocalRank,
    /// Recall at k, `recall_k`: share of the relevant passages among the first k.
    Recall(usize),
    /// Hit rate at k, `success_k`: whether there is a relevant passage among the first k.
    Hit(usize),
    /// Full recall at k: whether all relevant passages are among the first k, which a question of
    /// several hops needs.
    All(usize),
    /// Precision at k, `P_k`: share of relevant passages among the first k.
    Precision(usize),
    /// Normalized discounted cumulative gain at k, `ndcg_cut_k`: relevances of the first k, each
    /// divided by log2(rank + 1), as a share of what the best ranking has. Gains are linear, not
    /// 2^relevance - 1.
    Ndcg(usize),
}

/// Error: no metric has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no measure is called `{name}`; there are `map`, `mrr`, and with a number such as 10 \
     `recall@10`, `hit@10`, `all@10`, `p@10` and `ndcg@10`"
)]
pub struct UnknownMeasure {
    /// Name that was asked for.
    pub name: String,
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::AveragePrecision => "map".to_owned(),
            Self::ReciprocalRank => "mrr".to_owned(),
            Self::Recall(k) => format!("recall@{k}"),
            Self::Hit(k) => format!("hit@{k}"),
            Self::All(k) => format!("all@{k}"),
            Self::Precision(k) => format!("p@{k}"),
            Self::Ndcg(k) => format!("ndcg@{k}"),
        };
        f.pad(&name)
    }
}

impl FromStr for Measure {
    type Err = UnknownMeasure;

    /// Reads our names, and those of `trec_eval`.
    fn from_str(name: &str) -> Result<Self, UnknownMeasure> {
        let unknown = || UnknownMeasure { name: name.to_owned() };
        let lower = name.to_ascii_lowercase();
        match lower.as_str() {
            "map" => return Ok(Self::AveragePrecision),
            "mrr" | "recip_rank" => return Ok(Self::ReciprocalRank),
            _ => {}
        }
        let (kind, k) = lower.rsplit_once(['@', '_']).ok_or_else(unknown)?;
        let k = k.parse().ok().filter(|&k| k > 0).ok_or_else(unknown)?;
        match kind {
            "recall" => Ok(Self::Recall(k)),
            "hit" | "success" => Ok(Self::Hit(k)),
            "all" => Ok(Self::All(k)),
            "p" | "precision" => Ok(Self::Precision(k)),
            "ndcg" | "ndcg_cut" => Ok(Self::Ndcg(k)),
            _ => Err(unknown()),
        }
    }
}

impl Measure {
    /// Value for one topic, from the relevance of the hits, best first, and of all judged passages.
    fn of(self, ranking: &[i64], judged: &BTreeMap<String, i64>) -> f64 {
        let n_relevant = judged.values().filter(|&&it| it > 0).count();
        let among = |k: usize| ranking.iter().take(k).filter(|&&it| it > 0).count();
        let share = |n: usize, of: usize| if of == 0 { 0.0 } else { n as f64 / of as f64 };
        let flag = |holds: bool| if holds { 1.0 } else { 0.0 };
        match self {
            Self::AveragePrecision => {
                let mut n_found = 0_usize;
                let mut sum = 0.0;
                for (idx, _) in ranking.iter().enumerate().filter(|it| *it.1 > 0) {
                    n_found += 1;
                    sum += share(n_found, idx + 1);
                }
                if n_relevant == 0 { 0.0 } else { sum / n_relevant as f64 }
            }
            Self::ReciprocalRank => {
                ranking.iter().position(|&it| it > 0).map_or(0.0, |idx| share(1, idx + 1))
            }
            Self::Recall(k) => share(among(k), n_relevant),
            Self::Hit(k) => flag(among(k) > 0),
            Self::All(k) => flag(n_relevant > 0 && among(k) == n_relevant),
            Self::Precision(k) => share(among(k), k),
            Self::Ndcg(k) => {
                let mut ideal: Vec<i64> = judged.values().copied().collect();
                ideal.sort_unstable_by(|left, right| right.cmp(left));
                let best = gain(&ideal, k);
                if best > 0.0 { gain(ranking, k) / best } else { 0.0 }
            }
        }
    }
}

/// Discounted cumulative gain of the first k.
fn gain(ranking: &[i64], k: usize) -> f64 {
    let discounted = |(idx, &relevance): (usize, &i64)| {
        if relevance > 0 { relevance as f64 / ((idx + 2) as f64).log2() } else { 0.0 }
    };
    ranking.iter().take(k).enumerate().map(discounted).sum()
}

/// Topics that a mean is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicAverage {
    /// Topics that are both in the run and in the judgements, as `trec_eval` does.
    Common,
    /// All judged topics, `trec_eval -c`: one that is not in the run counts as 0.
    Judged,
}

/// Values of metrics for a run, in the order of the metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct RunMeasures {
    /// Metrics.
    pub measures: Vec<Measure>,
    /// Values by topic.
    pub topics: BTreeMap<String, Vec<f64>>,
    /// Means over the topics; 0 where there is none.
    pub means: Vec<f64>,
}

/// Evaluates a run against relevance judgements.
pub fn measure(
    run: &TrecRun,
    qrels: &Qrels,
    measures: &[Measure],
    over: TopicAverage,
) -> RunMeasures {
    let nothing = Vec::new();
    let mut topics = BTreeMap::new();
    for (topic, judged) in qrels {
        let found = match run.topics.get(topic) {
            Some(found) => found,
            None if over == TopicAverage::Judged => &nothing,
            None => continue,
        };
        let relevance = |(passage, _): (&str, f32)| judged.get(passage).copied().unwrap_or(0);
        let ranking: Vec<i64> = ranked(found).into_iter().map(relevance).collect();
        let values = measures.iter().map(|it| it.of(&ranking, judged)).collect::<Vec<f64>>();
        topics.insert(topic.clone(), values);
    }
    let n = topics.len().max(1) as f64;
    let mean = |idx| topics.values().map(|it: &Vec<f64>| it[idx]).sum::<f64>() / n;
    let means = (0..measures.len()).map(mean).collect();
    RunMeasures { measures: measures.to_vec(), topics, means }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
        pairs.iter().map(|&(id, relevance)| (id.to_owned(), relevance)).collect()
    }

    /// Values worked out by hand from the formulas of `trec_eval`.
    #[test]
    fn one_topic() {
        let qrels: Qrels =
            [("1".to_owned(), judged(&[("a", 1), ("b", 3), ("c", 0), ("d", 2), ("e", -1)]))].into();
        let found = [("c", 9.0), ("a", 7.0), ("x", 7.0), ("b", 1.0), ("e", 0.5)];
        let found = found.map(|(id, score)| (id.to_owned(), score)).to_vec();
        let run = TrecRun { topics: [("1".to_owned(), found)].into() };
        // Ranked: c, x, a, b, e.
        let log = |rank: f64| (rank + 1.0).log2();
        let best = 3.0 + 2.0 / log(2.0) + 1.0 / log(3.0);
        for (name, expected) in [
            ("map", (1.0 / 3.0 + 2.0 / 4.0) / 3.0),
            ("mrr", 1.0 / 3.0),
            ("recip_rank", 1.0 / 3.0),
            ("recall@2", 0.0),
            ("recall_4", 2.0 / 3.0),
            ("recall@1000", 2.0 / 3.0),
            ("hit@2", 0.0),
            ("success_3", 1.0),
            ("all@1000", 0.0),
            ("P_3", 1.0 / 3.0),
            ("p@10", 0.2),
            ("ndcg@3", (1.0 / log(3.0)) / best),
            ("ndcg_cut_10", (1.0 / log(3.0) + 3.0 / log(4.0)) / best),
            ("ndcg@1", 0.0),
        ] {
            let measured = measure(&run, &qrels, &[name.parse().unwrap()], TopicAverage::Common);
            assert!((measured.means[0] - expected).abs() < 1e-12, "{name}: {measured:?}");
        }
    }

    #[test]
    fn averages() {
        let some = judged(&[("a", 1)]);
        let qrels: Qrels = [
            ("1".to_owned(), some.clone()),
            ("2".to_owned(), some),
            ("3".to_owned(), judged(&[("a", 0)])),
        ]
        .into();
        let found = vec![("a".to_owned(), 1.0)];
        let topics = ["1", "3", "not judged"].map(|it| (it.to_owned(), found.clone()));
        let run = TrecRun { topics: topics.into() };
        let mean = |over| measure(&run, &qrels, &[Measure::Hit(1)], over).means[0];
        assert!((mean(TopicAverage::Common) - 0.5).abs() < 1e-12);
        assert!((mean(TopicAverage::Judged) - 1.0 / 3.0).abs() < 1e-12);
        let none = measure(&TrecRun::default(), &qrels, &[Measure::Hit(1)], TopicAverage::Common);
        assert!(none.means[0].abs() < f64::EPSILON);
    }

    #[test]
    fn names_are_read_back() {
        for name in ["map", "mrr", "recall@5", "hit@1", "all@10", "p@30", "ndcg@10"] {
            assert_eq!(name.parse::<Measure>().unwrap().to_string(), name);
        }
        for name in ["", "recall", "recall@", "recall@0", "recall@-1", "ndgc@10", "@5"] {
            assert!(name.parse::<Measure>().is_err(), "{name}");
        }
    }
}
