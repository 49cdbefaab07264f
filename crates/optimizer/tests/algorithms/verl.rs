//! verl 0.9.1, to 1e-5.

use forage_optimizer::{
    AdvantageEstimator, Cispo, ConstantAggregation, DrGrpo, Episode, Gae, GaeObservations,
    GroupConvention, Grpo, Gspo, IcePop, ImportanceCorrection, KlEstimator, LossAggregation,
    LossTotals, Ppo, RatioLevel, ReinforcePlusPlus, ReinforcePlusPlusBaseline, RejectionDistance,
    RejectionOnly, RejectionSampling, Rloo, Sapo, SequenceTis, Surrogate, TokenTis, TrainedTokens,
    estimate_advantages, importance_weights, kl_estimate, surrogate_loss,
};

use super::batch::{
    assert_close, cases, fixture, lengths, loss_and_gradient, masked_loss_and_gradient, pick, rows,
};

const VERL: &str = include_str!("../fixtures/verl.json");

const TOLERANCE: f64 = 1e-5;

fn gae(gamma: f64, lambda: f64) -> AdvantageEstimator {
    AdvantageEstimator::Gae(Gae { gamma, lambda, observations: GaeObservations::Skip })
}

#[test]
fn advantages() {
    let section = &fixture(VERL)["advantage"];
    let mask = rows(&section["response_mask"]);
    let rewards = rows(&section["token_level_rewards"]);
    let values = rows(&section["values"]);
    let index: Vec<&str> =
        section["index"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let convention = GroupConvention::Verl;
    let mut n_cases = 0;
    for (name, case) in cases(section) {
        let advantage = match name {
            "grpo_std" | "grpo_singleton_group" => AdvantageEstimator::Grpo(Grpo { convention }),
            "grpo_nostd(dr_grpo)" => AdvantageEstimator::DrGrpo(DrGrpo { convention }),
            "rloo" => AdvantageEstimator::Rloo(Rloo { convention }),
            "reinforce_pp_baseline" => {
                AdvantageEstimator::ReinforcePlusPlusBaseline(ReinforcePlusPlusBaseline {
                    convention,
                })
            }
            "reinforce_pp_gamma1" => {
                AdvantageEstimator::ReinforcePlusPlus(ReinforcePlusPlus { gamma: 1.0 })
            }
            "reinforce_pp_gamma0.9" => {
                AdvantageEstimator::ReinforcePlusPlus(ReinforcePlusPlus { gamma: 0.9 })
            }
            "gae_g1.0_l1.0" => gae(1.0, 1.0),
            "gae_g0.99_l0.95" => gae(0.99, 0.95),
            other => panic!("no estimator for `{other}`"),
        };
        let wide = |row: &[f32]| row.iter().map(|it| f64::from(*it)).collect::<Vec<f64>>();
        let episodes: Vec<Episode> = (0..mask.len())
            .map(|idx| Episode {
                group: match name {
                    "grpo_singleton_group" => idx,
                    _ => usize::from(index[idx] == "b"),
                },
                policy: mask[idx].iter().map(|it| *it > 0.0).collect(),
                rewards: wide(&rewards[idx]),
                values: if advantage.needs_critic() { wide(&values[idx]) } else { Vec::new() },
                ..Episode::default()
            })
            .collect();
        let estimates = estimate_advantages(&advantage, &episodes).unwrap();
        let of_policy: Vec<f32> =
            estimates.iter().zip(&episodes).flat_map(|(it, of)| it.of_policy(of)).collect();
        assert_close(name, &of_policy, &pick(&rows(&case["advantages"]), &mask), TOLERANCE);
        if name.starts_with("gae") || name.starts_with("reinforce_pp_gamma") {
            let returns =
                estimates.iter().map(|it| it.returns.iter().map(|it| *it as f32).collect());
            let returns = pick(&returns.collect(), &mask);
            assert_close(name, &returns, &pick(&rows(&case["returns"]), &mask), TOLERANCE);
        }
        n_cases += 1;
    }
    assert_eq!(n_cases, 9);
}

#[test]
fn policy_losses_and_gradients() {
    let section = &fixture(VERL)["policy"];
    let [old, new, advantages, mask] =
        ["old", "new", "advantages", "mask"].map(|it| rows(&section[it]));
    let lengths = lengths(&mask);
    let [old, advantages] = [old, advantages].map(|it| pick(&it, &mask));
    let n_tokens = old.len() as f64;
    let mut n_cases = 0;
    for (name, case) in cases(section) {
        let (loss, mode) = name.split_once('|').unwrap();
        let surrogate = match loss {
            "vanilla" => {
                Surrogate::Ppo(Ppo { clip_low: 0.2, clip_high: 0.2, dual_clip: Some(3.0) })
            }
            "vanilla_clip_higher" => {
                Surrogate::Ppo(Ppo { clip_low: 0.2, clip_high: 0.28, dual_clip: Some(3.0) })
            }
            "gspo" => Surrogate::Gspo(Gspo { clip_low: 3e-4, clip_high: 4e-4 }),
            "cispo" => Surrogate::Cispo(Cispo {
                clip_low: Some(0.2),
                clip_high: 0.28,
                ratio: RatioLevel::Token,
            }),
            "sapo" => Surrogate::Sapo(Sapo {
                tau_positive: 1.0,
                tau_negative: 1.05,
                ratio: RatioLevel::Token,
            }),
            "gpg" => Surrogate::Reinforce {},
            other => panic!("no loss for `{other}`"),
        };
        // verl's SAPO has one mean, whatever it is asked for.
        let mode = if loss == "sapo" { "seq-mean-token-mean" } else { mode };
        let aggregation = match mode {
            "token-mean" => LossAggregation::TokenMean {},
            "seq-mean-token-mean" => LossAggregation::SequenceMean {},
            "seq-mean-token-sum" => LossAggregation::SequenceSum {},
            "seq-mean-token-sum-norm" => {
                LossAggregation::Constant(ConstantAggregation { length: mask[0].len() })
            }
            other => panic!("no mean for `{other}`"),
        };
        let weights = aggregation.weights(&lengths, LossTotals::of(&lengths));
        let tokens = TrainedTokens {
            lengths: &lengths,
            old_logprobs: &old,
            advantages: &advantages,
            weights: &weights,
        };
        let mut seen = None;
        let (found, gradient) = masked_loss_and_gradient(&new, &mask, |new| {
            let loss = surrogate_loss(&surrogate, new, &tokens);
            seen = Some(loss.ratios);
            loss.sum
        });
        let expected = case["loss"].as_f64().unwrap();
        assert_close(name, &[found], &[expected], TOLERANCE);
        let expected: Vec<f32> = rows(&case["grad"]).into_iter().flatten().collect();
        assert_close(name, &gradient, &expected, TOLERANCE);
        let ratios = seen.unwrap();
        for (key, found) in [
            ("actor/pg_clipfrac", ratios.n_clipped as f64 / n_tokens),
            ("actor/pg_clipfrac_lower", ratios.n_dual_clipped as f64 / n_tokens),
            ("actor/ppo_kl", ratios.kl / n_tokens),
        ] {
            if let Some(expected) = case["metrics"][key].as_f64() {
                assert_close(&format!("{name} {key}"), &[found], &[expected], TOLERANCE);
            }
        }
        n_cases += 1;
    }
    assert_eq!(n_cases, 24);
}

#[test]
fn kl_estimates() {
    let section = &fixture(VERL)["kl"];
    let flat = |key: &str| rows(&section[key]).into_iter().flatten().collect::<Vec<f32>>();
    let (new, reference) = (flat("logprob"), flat("ref"));
    let mut n_cases = 0;
    for (name, case) in cases(section) {
        let estimator = match name {
            "kl" | "k1" => KlEstimator::K1,
            "mse" | "k2" => KlEstimator::K2,
            "low_var_kl" | "k3" => KlEstimator::K3,
            other => panic!("no estimate for `{other}`"),
        };
        let mut found = Vec::new();
        loss_and_gradient(&new, |new| {
            let estimates = kl_estimate(estimator, new, &reference);
            found = estimates.clone().inner().try_into_vec_as::<f32>().unwrap();
            estimates.sum()
        });
        let expected: Vec<f32> = rows(case).into_iter().flatten().collect();
        assert_close(name, &found, &expected, TOLERANCE);
        n_cases += 1;
    }
    assert_eq!(n_cases, 6);
}

#[test]
fn aggregations() {
    let section = &fixture(VERL)["agg_loss"];
    let [numbers, mask] = ["mat", "mask"].map(|it| rows(&section[it]));
    let lengths = lengths(&mask);
    let totals = LossTotals::of(&lengths);
    for (aggregation, name) in [
        (LossAggregation::TokenMean {}, "token-mean"),
        (LossAggregation::SequenceMean {}, "seq-mean-token-mean"),
        (LossAggregation::SequenceSum {}, "seq-mean-token-sum"),
        (
            LossAggregation::Constant(ConstantAggregation { length: mask[0].len() }),
            "seq-mean-token-sum-norm",
        ),
    ] {
        let pairs = aggregation.weights(&lengths, totals).into_iter().zip(pick(&numbers, &mask));
        let found: f32 = pairs.map(|(weight, number)| weight * number).sum();
        assert_close(name, &[found], &[section["cases"][name].as_f64().unwrap()], TOLERANCE);
    }
}

#[test]
fn corrections() {
    let section = &fixture(VERL)["rollout_corr"];
    let [old, rollout, mask] =
        ["old_log_prob", "rollout_log_prob", "mask"].map(|it| rows(&section[it]));
    let lengths = lengths(&mask);
    let reject = |distance, low, high| RejectionSampling { distance, low, high };
    let ratio = reject(RejectionDistance::SumK1, Some(0.5), 2.0);
    let mean = reject(RejectionDistance::MeanK1, Some(0.9), 1.1);
    let k3 = reject(RejectionDistance::MeanK3, None, 0.01);
    let table = [
        ("token_tis_2", ImportanceCorrection::Token(TokenTis { cap: 2.0, reject: None })),
        ("seq_tis_2", ImportanceCorrection::Sequence(SequenceTis { cap: 2.0, reject: None })),
        (
            "token_icepop",
            ImportanceCorrection::Icepop(IcePop { floor: 0.5, cap: 5.0, reject: None }),
        ),
        (
            "seq_is_rs",
            ImportanceCorrection::Sequence(SequenceTis { cap: 2.0, reject: Some(ratio) }),
        ),
        ("geo_rs", ImportanceCorrection::Reject(RejectionOnly { reject: mean })),
        ("k3_rs", ImportanceCorrection::Reject(RejectionOnly { reject: k3 })),
    ];
    for (name, correction) in table {
        let case = &section["cases"][name];
        let found =
            importance_weights(&correction, &lengths, &pick(&old, &mask), &pick(&rollout, &mask));
        match &case["weights"] {
            serde_json::Value::Null => assert_close(name, &found.weights, &[1.0_f32; 12], 0.0),
            weights => assert_close(name, &found.weights, &pick(&rows(weights), &mask), TOLERANCE),
        }
        let kept: Vec<bool> = rows(&case["mask"]).iter().map(|row| row[0] > 0.0).collect();
        assert_eq!(found.kept, kept, "{name}");
    }
    // The caps and bounds do something too.
    let gaps = [1.0_f32, -1.0, 0.0];
    let corrected =
        |it: &ImportanceCorrection| importance_weights(it, &[2, 1], &gaps, &[0.0; 3]).weights;
    let icepop = ImportanceCorrection::Icepop(IcePop { floor: 0.5, cap: 2.0, reject: None });
    assert_close("icepop", &corrected(&icepop), &[0.0_f32, 0.0, 1.0], TOLERANCE);
    let token = ImportanceCorrection::Token(TokenTis { cap: 2.0, reject: None });
    assert_close("token", &corrected(&token), &[2.0, (-1.0_f64).exp(), 1.0], TOLERANCE);
}
