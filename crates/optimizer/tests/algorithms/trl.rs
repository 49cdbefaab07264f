//! TRL 1.16's `GRPOTrainer`, loss and gradient, to 1e-5.

use forage_optimizer::{
    Cispo, ConstantAggregation, Gspo, KlEstimator, LossAggregation, LossTotals, RatioLevel, Sapo,
    Surrogate, TrainedTokens, kl_loss, surrogate_loss, with_term,
};

use super::batch::{
    Rows, assert_close, cases, fixture, lengths, masked_loss_and_gradient, pick, rows,
};

const TRL: &str = include_str!("../fixtures/trl.json");

#[test]
fn losses_and_gradients() {
    let all = fixture(TRL);
    let [old, new, reference, completion, tool] =
        ["old", "new", "ref", "completion_mask", "tool_mask"].map(|it| rows(&all[it]));
    let advantages: Vec<f32> = serde_json::from_value(all["advantages"].clone()).unwrap();
    let advantages: Rows = advantages.iter().map(|it| vec![*it; old[0].len()]).collect();
    let mut n_cases = 0;
    for (name, case) in cases(&all) {
        let parts: Vec<&str> = name.split('|').collect();
        let [loss, level, beta, masked] = parts[..] else { panic!("`{name}`") };
        let both = completion.iter().zip(&tool);
        let mask: Rows = if masked == "tool_mask=True" {
            both.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).collect()).collect()
        } else {
            completion.clone()
        };
        let beta: f64 = beta.strip_prefix("beta").unwrap().parse().unwrap();
        let ratio = if level == "token" { RatioLevel::Token } else { RatioLevel::Sequence };
        let surrogate = match (loss, ratio) {
            // TRL's bound is 5, and ours 1 + 4.
            ("cispo", ratio) => Surrogate::Cispo(Cispo { clip_low: None, clip_high: 4.0, ratio }),
            ("sapo", ratio) => {
                Surrogate::Sapo(Sapo { tau_positive: 1.0, tau_negative: 1.05, ratio })
            }
            (_, RatioLevel::Token) => Surrogate::ppo(0.2, 0.28),
            (_, RatioLevel::Sequence) => Surrogate::Gspo(Gspo { clip_low: 0.2, clip_high: 0.28 }),
        };
        let aggregation = match loss {
            "grpo" | "sapo" => LossAggregation::SequenceMean {},
            "bnpo" | "dapo" | "cispo" => LossAggregation::TokenMean {},
            "dr_grpo" => LossAggregation::Constant(ConstantAggregation { length: 6 }),
            "luspo" => LossAggregation::SequenceSum {},
            other => panic!("no mean for `{other}`"),
        };
        let lengths = lengths(&mask);
        let weights = aggregation.weights(&lengths, LossTotals::of(&lengths));
        let [old, reference, advantages] =
            [&old, &reference, &advantages].map(|it| pick(it, &mask));
        let tokens = TrainedTokens {
            lengths: &lengths,
            old_logprobs: &old,
            advantages: &advantages,
            weights: &weights,
        };
        let (found, gradient) = masked_loss_and_gradient(&new, &mask, |new| {
            let policy = surrogate_loss(&surrogate, new.clone(), &tokens).sum;
            with_term(policy, beta, || kl_loss(KlEstimator::K3, new, &reference, &weights))
        });
        assert_close(name, &[found], &[case["loss"].as_f64().unwrap()], 1e-5);
        let expected: Vec<f32> = rows(&case["grad"]).into_iter().flatten().collect();
        assert_close(name, &gradient, &expected, 1e-5);
        n_cases += 1;
    }
    assert_eq!(n_cases, 52);
}
