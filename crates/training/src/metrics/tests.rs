//! Metrics of made-up steps.

use std::collections::BTreeMap;

use forage_trajectory::{
    Evidence, EvidenceStep, Hit, Origin, Outcome, Passage, Question, Score, Search, SegmentKind,
};

use serde_json::{Map, Value};

use super::*;
use crate::batch::tests::training;
use crate::critic::ValueLossStats;
use crate::gradient::tests::named;
use crate::loss_stats::{Advice, LossStats};
use crate::record::EvaluationRow;

/// A trajectory with searches that found these passages, and an answer whose tokens have these
/// log-probabilities. A search takes two tokens and its page three.
fn trajectory(found: &[&[&str]], answer: &str, logprobs: &[f32]) -> Trajectory {
    let mut it = Trajectory::new("q", 0);
    it.push_given(Origin::Prompt, SegmentKind::Prompt, "who?", &[1, 2]);
    for ids in found {
        let start = it.tokens.len();
        it.push_sampled(&[3, 4], &[-1.0, -1.0]);
        let segment = it.segments.len();
        it.tag(SegmentKind::Search, "<search> x </search>", start..start + 2, Some("x"));
        it.push_given(Origin::Environment, SegmentKind::Information, "page", &[5, 6, 7]);
        let hit = |id: &&str| Hit {
            id: (*id).to_owned(),
            title: String::new(),
            text: String::new(),
            score: 1.0,
        };
        let hits = ids.iter().map(hit).collect();
        it.searches.push(Search { query: "x".to_owned(), hits, segment, failure: None });
    }
    let start = it.tokens.len();
    it.push_sampled(&vec![8; logprobs.len()], logprobs);
    it.tag(SegmentKind::Answer, answer, start..start + logprobs.len(), None);
    it.outcome = Outcome::Answered;
    it
}

/// A question whose evidence is the passages `a` and `b`.
fn question() -> Question {
    let mut question = Question { golden_answers: vec!["right".to_owned()], ..Question::default() };
    question.evidence.passages = vec![Passage { id: "a".to_owned(), ..Passage::default() }];
    let passage_ids = ["a", "b"].map(str::to_owned).to_vec();
    question.evidence.steps = vec![EvidenceStep { passage_ids, ..EvidenceStep::default() }];
    question
}

fn scored(reward: f64, part: f64) -> Grade {
    let parts = BTreeMap::from([("it/part".to_owned(), part)]);
    Grade::Scored(Score { reward, parts, steps: Vec::new() })
}

fn row(metrics: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(metrics).unwrap() {
        Value::Object(row) => row,
        other => panic!("{other} is no row"),
    }
}

fn assert_row(row: &Map<String, Value>, expected: &[(&str, f64)]) {
    for (name, expected) in expected {
        let found = row.get(*name).and_then(Value::as_f64);
        assert!(
            found.is_some_and(|it| (it - expected).abs() < 1e-6),
            "`{name}` is {found:?}, not {expected}"
        );
    }
}

#[test]
fn what_a_rollout_says() {
    let mut failed = trajectory(&[], "wrong", &[]);
    failed.outcome = Outcome::Failed("no server".to_owned());
    let mut over = trajectory(&[&["c"], &["b", "b"], &["a"]], "wrong", &[-9.0]);
    over.outcome = Outcome::OverLength;
    let told = Group {
        question: question(),
        trajectories: vec![
            // Right after a search that found one of two: log-probabilities -1, -1, -0.5, -0.1.
            trajectory(&[&["a", "c"]], "right", &[-0.5, -0.1]),
            over,
            failed,
        ],
    };
    // It has no evidence, and all of its grades are the same.
    let untold = Group {
        question: Question { evidence: Evidence::default(), ..question() },
        trajectories: vec![
            trajectory(&[], "right", &[-0.2]),
            trajectory(&[&["a"]], "wrong", &[-4.0]),
        ],
    };
    let grades = [
        vec![scored(1.0, 0.5), scored(0.0, 0.5), Grade::Failed("no server".to_owned())],
        vec![scored(0.25, 0.0), scored(0.25, 1.0)],
    ];
    let row = row(&RolloutMetrics::of(&[told, untold], &grades, &[]));
    assert_row(
        &row,
        &[
            ("reward/mean", 1.5 / 4.0),
            ("reward/std", (0.5625_f64 / 3.0).sqrt()),
            ("reward/failed", 1.0),
            ("reward/it/part", 0.5),
            ("reward_std/it/part", (0.5_f64 / 3.0).sqrt()),
            ("reward_varied/it/part", 0.5),
            ("groups/zero_variance", 0.5),
            ("rollout/searches", f64::from(1 + 3 + 1) / 5.0),
            ("rollout/policy_tokens", f64::from(4 + 7 + 1 + 3) / 5.0),
            ("rollout/tokens", f64::from(9 + 18 + 2 + 3 + 8) / 5.0),
            ("outcome/answered", 0.6),
            ("outcome/over_length", 0.2),
            ("outcome/failed", 0.2),
            ("outcome/malformed", 0.0),
            // One of two, and both; the search of the third failed, and the other group has no
            // evidence.
            ("rollout/gold_retrieved", 0.75),
            // (-1 - 1 - 0.5 - 0.1) / 4, and -0.2.
            ("policy/correct_logprob", f64::midpoint(-0.65, -0.2)),
        ],
    );
}

#[test]
fn what_nobody_can_say_is_not_there() {
    let group = Group {
        question: Question { evidence: Evidence::default(), ..question() },
        trajectories: vec![trajectory(&[], "wrong", &[-0.2])],
    };
    let row = row(&RolloutMetrics::of(&[group], &[vec![Grade::NotApplicable]], &[]));
    assert!(!row.contains_key("rollout/gold_retrieved"));
    assert!(!row.contains_key("policy/correct_logprob"));
    assert!(!row.contains_key("reward/mean") && !row.contains_key("reward/std"));
    assert_row(&row, &[("reward/failed", 0.0), ("groups/zero_variance", 1.0)]);
}

#[test]
fn what_sampling_kept() {
    let mut training = training();
    training.extra_groups = 3;
    let rollout = RolloutBatch { groups: Vec::new(), grades: Vec::new(), n_extra: 2 };
    let batch = Batch {
        groups: vec![Vec::new(); 4],
        n_rejected: 5,
        n_too_long: 6,
        is_distilled: true,
        ..Batch::default()
    };
    let corrected = named("correction.name = 'token'");
    assert_row(
        &row(&SamplingMetrics::of(&corrected, &training, &rollout, &batch)),
        &[
            ("groups/extra", 2.0),
            ("groups/trained", 4.0),
            ("rollout/rejected", 5.0),
            ("distillation/too_long", 6.0),
        ],
    );
    training.extra_groups = 0;
    let row = row(&SamplingMetrics::of(&named(""), &training, &rollout, &Batch::default()));
    assert!(row.is_empty(), "{row:?}");
}

/// Statistics of so many tokens, all alike.
fn sums(n_tokens: usize) -> LossStats {
    let n = n_tokens as f64;
    LossStats {
        n_tokens,
        total: 9.0,
        loss: 9.0,
        entropy: 0.5 * n,
        n_clipped: n_tokens / 2,
        n_dual_clipped: n_tokens / 10,
        ratio_min: 1.0 - 0.01 * n,
        ratio_max: 1.0 + 0.02 * n,
        update_kl: 0.03 * n,
        reference_kl: 0.04 * n,
        n_sampled: n_tokens,
        mismatch: 0.05 * n,
        mismatch_kl: 0.06 * n,
        mismatch_max: 0.07 * n,
        llds: 0.8,
        divergence: 0.6,
        n_distilled: 4,
        entropy_gap: 2.0,
        advice: Advice { correct: 0.5, n_correct: 2, incorrect: -1.5, n_incorrect: 2 },
    }
}

#[test]
fn what_updates_say() {
    let mut all = sums(10);
    all.add(&sums(30));
    let critic = CriticStats {
        sums: ValueLossStats { n: 8, loss: 2.0, n_clipped: 6 },
        norms: vec![1.0, 2.0],
        lr: 0.125,
        explained: 0.75,
    };
    let stats = UpdateStats {
        sums: all,
        first: sums(10),
        losses: vec![1.0, 2.0],
        norms: vec![3.0, 5.0],
        norms_by_part: BTreeMap::from([("head", 6.0)]),
        lr: 0.25,
        critic: Some(critic),
        ..UpdateStats::default()
    };
    let everything = named(
        "loss = { name = 'ppo', dual_clip = 3.0 }\nkl = { coefficient = 0.1, place = 'loss' }\n\
         [llds]",
    );
    assert_row(
        &row(&UpdateMetrics::of(&everything, &stats)),
        &[
            ("loss/policy", 1.5),
            ("loss/grad_norm", 4.0),
            ("optimizer/lr", 0.25),
            ("policy/entropy", 0.5),
            ("policy/clip_fraction", 0.5),
            ("policy/dual_clip_fraction", 0.1),
            ("policy/trained_tokens", 40.0),
            ("policy/ratio_min", 0.7),
            ("policy/ratio_max", 1.6),
            ("policy/update_kl", 0.03),
            ("policy/reference_kl", 0.04),
            // Of the first update.
            ("rollout/mismatch", 0.05),
            ("rollout/mismatch_kl", 0.06),
            ("rollout/mismatch_max", 0.7),
            // Means over the updates.
            ("loss/llds", 0.8),
            ("loss/distillation", 0.6),
            ("grad_norm/head", 3.0),
            // Of eight distilled tokens.
            ("distillation/tokens", 8.0),
            ("distillation/entropy_gap", 0.5),
            ("distillation/contrast", 1.0),
            ("critic/loss", 0.25),
            ("critic/clip_fraction", 0.75),
            ("critic/grad_norm", 1.5),
            ("critic/explained_variance", 0.75),
            ("critic/lr", 0.125),
        ],
    );
    let plain = AlgorithmConfig::grpo(Surrogate::Reinforce {});
    let stats = UpdateStats { lr: 0.25, ..UpdateStats::default() };
    let row = row(&UpdateMetrics::of(&plain, &stats));
    for name in ["policy/dual_clip_fraction", "policy/reference_kl", "loss/llds", "critic/loss"] {
        assert!(!row.contains_key(name), "{name}");
    }
    // A step in which nothing moved has no ratios.
    assert!(!row.contains_key("policy/ratio_min") && !row.contains_key("loss/policy"));
    assert_row(&row, &[("policy/trained_tokens", 0.0), ("optimizer/lr", 0.25)]);
}

#[test]
fn rewards_that_do_not_apply_are_counted() {
    let with = |name: &str| {
        let parts = BTreeMap::from([(name.to_owned(), 1.0), (format!("{name}/part"), 1.0)]);
        Grade::Scored(Score { reward: 1.0, parts, steps: Vec::new() })
    };
    let grades = [
        vec![with("answer"), Grade::NotApplicable],
        vec![with("steps"), Grade::Failed("away".to_owned())],
    ];
    let names = ["answer", "steps"].map(str::to_owned);
    let group = || Group { question: question(), trajectories: vec![trajectory(&[], "x", &[]); 2] };
    let found = row(&RolloutMetrics::of(&[group(), group()], &grades, &names));
    assert_row(
        &found,
        &[
            ("reward/not_applicable", 1.0),
            ("reward_not_applicable/answer", 2.0),
            ("reward_not_applicable/steps", 2.0),
            ("reward/failed", 1.0),
        ],
    );
    let applies = [vec![with("answer"), with("answer")]];
    let found = row(&RolloutMetrics::of(&[group()], &applies, &names[..1]));
    assert!(found.keys().all(|name| !name.contains("not_applicable")), "{found:?}");
}

#[test]
fn evaluations_count_what_failed_where_anything_did() {
    let named = |name: &str, failed| EvaluationRow {
        name: name.to_owned(),
        n: 2,
        failed,
        ..EvaluationRow::default()
    };
    let rows = vec![named("all", 3), named("1", 0), named("2", 3)];
    let found = row(&EvaluationMetrics::of(&Evaluation { rows, ..Evaluation::default() }));
    assert_row(&found, &[("eval/greedy/failed", 3.0), ("eval/greedy/failed/2", 3.0)]);
    assert!(!found.contains_key("eval/greedy/failed/1"));
}
