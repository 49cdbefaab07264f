//! What must hold of every algorithm on every batch.

use burn::tensor::Tensor;
use forage_optimizer::{
    AdvantageEstimator, Cispo, ConstantAggregation, DrGrpo, Episode, EpisodeTurn, Gae,
    GaeObservations, Gigpo, GigpoScale, GroupConvention, Grpo, Gspo, Inclusion, KlEstimator,
    LldsConfig, LldsGranularity, LossAggregation, LossTotals, Ppo, RatioLevel, ReinforcePlusPlus,
    ReinforcePlusPlusBaseline, Rloo, Sapo, StepGae, Surrogate, TrainedTokens, ValueConfig,
    estimate_advantages, kl_loss, llds_loss, n_preserved_tokens, surrogate_loss, value_loss,
};
use proptest::prelude::*;

use super::batch::{Rows, assert_close, loss_and_gradient, masked_loss_and_gradient, number};

fn surrogates() -> Vec<Surrogate> {
    let mut all = vec![
        Surrogate::ppo(0.2, 0.28),
        Surrogate::Ppo(Ppo { clip_low: 0.2, clip_high: 0.2, dual_clip: Some(1.5) }),
        Surrogate::Gspo(Gspo { clip_low: 0.05, clip_high: 0.05 }),
        Surrogate::Reinforce {},
    ];
    for ratio in [RatioLevel::Token, RatioLevel::Sequence] {
        all.push(Surrogate::Cispo(Cispo { clip_low: Some(0.2), clip_high: 0.28, ratio }));
        all.push(Surrogate::Sapo(Sapo { tau_positive: 1.0, tau_negative: 1.05, ratio }));
    }
    all
}

fn estimators() -> Vec<AdvantageEstimator> {
    let (gamma, lambda) = (0.99, 0.95);
    let mut all = vec![AdvantageEstimator::ReinforcePlusPlus(ReinforcePlusPlus { gamma })];
    for convention in [GroupConvention::Forage, GroupConvention::Verl, GroupConvention::Trl] {
        all.push(AdvantageEstimator::Grpo(Grpo { convention }));
        all.push(AdvantageEstimator::DrGrpo(DrGrpo { convention }));
        all.push(AdvantageEstimator::Rloo(Rloo { convention }));
        all.push(AdvantageEstimator::ReinforcePlusPlusBaseline(ReinforcePlusPlusBaseline {
            convention,
        }));
    }
    for observations in [GaeObservations::Skip, GaeObservations::Include] {
        all.push(AdvantageEstimator::Gae(Gae { gamma, lambda, observations }));
        all.push(AdvantageEstimator::StepGae(StepGae {
            gamma,
            lambda,
            observations,
            step_scale: 1.0,
        }));
    }
    for scale in [GigpoScale::None, GigpoScale::Deviation] {
        all.push(AdvantageEstimator::Gigpo(Gigpo {
            gamma,
            step_weight: 1.0,
            step_scale: None,
            scale,
        }));
    }
    all
}

const AGGREGATIONS: [LossAggregation; 4] = [
    LossAggregation::TokenMean {},
    LossAggregation::SequenceMean {},
    LossAggregation::SequenceSum {},
    LossAggregation::Constant(ConstantAggregation { length: 64 }),
];

/// Value and gradient of a further term.
type Term = Box<dyn Fn(&[f32], &TrainedTokens<'_>) -> (f32, Vec<f32>)>;

/// A loss by log-probabilities.
type Loss<'a> = Box<dyn Fn(Tensor<1>) -> Tensor<1> + 'a>;

/// Trajectories as (new, old, advantage) of each trained token.
type Step = Vec<Vec<(f32, f32, f32)>>;

/// The loss of a step in micro-batches of so many trajectories, and its gradient by `new`.
fn in_micro_batches(
    step: &Step,
    size: usize,
    loss: impl Fn(&[f32], &TrainedTokens<'_>) -> (f32, Vec<f32>),
    aggregation: LossAggregation,
) -> (f64, Vec<f32>) {
    let totals = LossTotals::of(&step.iter().map(Vec::len).collect::<Vec<usize>>());
    let mut sum = 0.0;
    let mut gradients = Vec::new();
    for part in step.chunks(size) {
        let lengths: Vec<usize> = part.iter().map(Vec::len).collect();
        let column = |of: fn(&(f32, f32, f32)) -> f32| -> Vec<f32> {
            part.iter().flatten().map(of).collect()
        };
        let (new, old, advantages) = (column(|it| it.0), column(|it| it.1), column(|it| it.2));
        let weights = aggregation.weights(&lengths, totals);
        let tokens = TrainedTokens {
            lengths: &lengths,
            old_logprobs: &old,
            advantages: &advantages,
            weights: &weights,
        };
        let (value, gradient) = loss(&new, &tokens);
        sum += f64::from(value);
        gradients.extend(gradient);
    }
    (sum, gradients)
}

fn steps() -> impl Strategy<Value = Step> {
    let token = (-3.0..0.0_f32, -3.0..0.0_f32);
    let trajectory =
        (-2.0..2.0_f32, prop::collection::vec(token, 0..6)).prop_map(|(advantage, tokens)| {
            tokens.into_iter().map(|(new, old)| (new, old, advantage)).collect()
        });
    prop::collection::vec(trajectory, 1..9)
}

/// An episode of turns with observations between them.
fn episodes() -> impl Strategy<Value = Vec<Episode>> {
    let turn = (0..4_usize, 0..3_u32, -1.0..1.0_f64);
    let episode = (0..3_usize, prop::collection::vec(turn, 0..4), 0..4_u8).prop_map(
        |(group, turns, inclusion)| {
            let mut it = Episode { group, ..Episode::default() };
            for (length, state, reward) in turns {
                let start = it.policy.len();
                it.policy.extend(std::iter::repeat_n(true, length));
                it.rewards.extend(std::iter::repeat_n(reward, length));
                it.turns.push(EpisodeTurn { positions: start..start + length, state: vec![state] });
                it.policy.push(false);
                it.rewards.push(0.0);
            }
            it.inclusion = match inclusion {
                0 => Inclusion::Failed,
                1 => Inclusion::OverLength,
                _ => Inclusion::Trained,
            };
            it
        },
    );
    prop::collection::vec(episode, 0..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn micro_batches_do_not_change_a_loss(step in steps()) {
        for surrogate in surrogates() {
            for aggregation in AGGREGATIONS {
                let run = |size| in_micro_batches(&step, size, |new, tokens| {
                    loss_and_gradient(new, |new| surrogate_loss(&surrogate, new, tokens).sum)
                }, aggregation);
                let whole = run(step.len());
                prop_assert!(whole.0.is_finite());
                for size in [1, 2, 7] {
                    let (loss, gradient) = run(size);
                    assert_close("loss", &[loss], &[whole.0], 1e-5 * whole.0.abs().max(1.0));
                    assert_close("gradient", &gradient, &whole.1, 1e-5);
                }
            }
        }
    }

    #[test]
    fn micro_batches_do_not_change_a_further_term(step in steps()) {
        let (mut lengths, mut advantages) = (Vec::new(), Vec::new());
        for trajectory in &step {
            lengths.push(trajectory.len());
            advantages.extend(trajectory.iter().map(|it| it.2));
        }
        let n_preserved = n_preserved_tokens(&lengths, &advantages);
        let llds = LldsConfig { coefficient: 0.2, gate: LldsGranularity::Action, answer_weight: 0.5 };
        let terms: [Term; 3] = [
            Box::new(|new, tokens| loss_and_gradient(new, |new| {
                kl_loss(KlEstimator::K3, new, tokens.old_logprobs, tokens.weights)
            })),
            Box::new(|new, tokens| loss_and_gradient(new, |new| {
                let config = ValueConfig::default();
                value_loss(&config, new, tokens.old_logprobs, tokens.advantages, tokens.weights).sum
            })),
            Box::new(move |new, tokens| loss_and_gradient(new, |new| {
                let answers = vec![false; new.dims()[0]];
                llds_loss(&llds, new, tokens, tokens.lengths, &answers, n_preserved)
            })),
        ];
        for term in terms {
            let run = |size| in_micro_batches(&step, size, &term, LossAggregation::SequenceMean {});
            let whole = run(step.len());
            for size in [1, 2, 7] {
                let (loss, gradient) = run(size);
                assert_close("loss", &[loss], &[whole.0], 1e-5 * whole.0.abs().max(1.0));
                assert_close("gradient", &gradient, &whole.1, 1e-5);
            }
        }
    }

    /// Also where what the model computes at them is not finite. Which tokens of a trajectory are
    /// the policy's is `Episode::of`'s and the training engine's to say.
    #[test]
    fn tokens_of_the_environment_get_no_gradient(
        policy in prop::collection::vec(any::<bool>(), 1..40),
        reward in -1.0..1.0_f32,
        strange in prop::sample::select(vec![0.3_f32, f32::NAN, f32::INFINITY, -1e30]),
    ) {
        let mask: Rows = vec![policy.iter().map(|it| f32::from(u8::from(*it))).collect()];
        let new: Rows = vec![
            policy.iter().enumerate()
                .map(|(at, policy)| if *policy { -0.7 - 0.1 * at as f32 } else { strange })
                .collect()
        ];
        let n = policy.iter().filter(|it| **it).count();
        let (lengths, old, advantages) = ([n], vec![-1.0; n], vec![reward; n]);
        for surrogate in surrogates() {
            for aggregation in AGGREGATIONS {
                let weights = aggregation.weights(&lengths, LossTotals::of(&lengths));
                let tokens = TrainedTokens {
                    lengths: &lengths, old_logprobs: &old, advantages: &advantages, weights: &weights,
                };
                let (loss, gradient) = masked_loss_and_gradient(&new, &mask, |new| {
                    surrogate_loss(&surrogate, new.clone(), &tokens).sum
                        + kl_loss(KlEstimator::K3, new, &old, &weights)
                });
                prop_assert!(loss.is_finite());
                for (gradient, policy) in gradient.iter().zip(&policy) {
                    prop_assert!(gradient.is_finite());
                    prop_assert!(*policy || gradient.to_bits() << 1 == 0, "{gradient}");
                }
            }
        }
    }

    #[test]
    fn every_estimate_is_finite_and_of_the_policy(episodes in episodes()) {
        for advantage in estimators() {
            let episodes: Vec<Episode> = episodes.iter().cloned().map(|it| Episode {
                values: vec![0.1; if advantage.needs_critic() { it.policy.len() } else { 0 }],
                ..it
            }).collect();
            let estimates = estimate_advantages(&advantage, &episodes).unwrap();
            prop_assert_eq!(estimates.len(), episodes.len());
            for (estimate, episode) in estimates.iter().zip(&episodes) {
                prop_assert_eq!(estimate.trained, episode.inclusion == Inclusion::Trained);
                prop_assert_eq!(estimate.advantages.len(), episode.policy.len());
                prop_assert_eq!(estimate.returns.len(), episode.policy.len());
                for (advantage, policy) in estimate.advantages.iter().zip(&episode.policy) {
                    let must_be_0 = !policy || episode.inclusion == Inclusion::Failed;
                    prop_assert!(advantage.is_finite() && (!must_be_0 || *advantage == 0.0));
                }
            }
        }
    }

    /// A failed trajectory changes nothing for the others.
    #[test]
    fn a_failed_trajectory_is_in_no_statistic(episodes in episodes()) {
        let alive = |it: &Episode| it.inclusion != Inclusion::Failed;
        let without: Vec<Episode> = episodes.iter().filter(|it| alive(it)).cloned().collect();
        for advantage in estimators().into_iter().filter(|it| !it.needs_critic()) {
            let estimates = estimate_advantages(&advantage, &episodes).unwrap();
            let mut of_all = estimates.into_iter().zip(&episodes).filter(|(_, of)| alive(of));
            for expected in estimate_advantages(&advantage, &without).unwrap() {
                prop_assert_eq!(of_all.next().unwrap().0, expected);
            }
        }
    }

    #[test]
    fn advantages_of_a_group_sum_to_zero(rewards in prop::collection::vec(-5.0..5.0_f64, 2..9)) {
        let one = |reward: &f64| Episode {
            policy: vec![true],
            rewards: vec![*reward],
            ..Episode::default()
        };
        let episodes: Vec<Episode> = rewards.iter().map(one).collect();
        for advantage in estimators().into_iter().filter(|it| !it.needs_critic()) {
            let estimates = estimate_advantages(&advantage, &episodes).unwrap();
            let sum: f64 = estimates.iter().map(|it| it.advantages[0]).sum();
            prop_assert!(sum.abs() < 1e-6, "{:?}: {}", advantage, sum);
        }
    }
}

/// Losses whose gradient is that of their value; CISPO and the sequence ratios hold something
/// still, so differences of their value say nothing.
#[test]
fn gradients_by_finite_differences() {
    let new = [-0.9_f32, -1.4, -0.3, -2.0, -0.65];
    let old = [-1.0_f32, -1.0, -0.4, -1.3, -0.6];
    let advantages = [0.8_f32, 0.8, -0.7, -0.7, -0.7];
    let weights = [0.2_f32, 0.3, 0.1, 0.25, 0.15];
    let tokens = TrainedTokens {
        lengths: &[2, 3],
        old_logprobs: &old,
        advantages: &advantages,
        weights: &weights,
    };
    let mut losses: Vec<(String, Loss<'_>)> = Vec::new();
    for surrogate in [
        Surrogate::ppo(0.2, 0.28),
        Surrogate::Ppo(Ppo { clip_low: 0.2, clip_high: 0.2, dual_clip: Some(1.05) }),
        Surrogate::Sapo(Sapo { tau_positive: 1.0, tau_negative: 1.05, ratio: RatioLevel::Token }),
        Surrogate::Reinforce {},
    ] {
        losses.push((
            format!("{surrogate:?}"),
            Box::new(move |new| surrogate_loss(&surrogate, new, &tokens).sum),
        ));
    }
    for estimator in [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3] {
        losses.push((
            format!("{estimator:?}"),
            Box::new(move |new| kl_loss(estimator, new, &old, &weights)),
        ));
    }
    let config = ValueConfig { clip: 0.2 };
    losses.push((
        "value".to_owned(),
        Box::new(move |new| value_loss(&config, new, &old, &[0.0; 5], &weights).sum),
    ));
    let llds = LldsConfig { coefficient: 0.2, gate: LldsGranularity::Token, answer_weight: 0.5 };
    let answers = [false, true, false, false, true];
    losses.push((
        "llds".to_owned(),
        Box::new(move |new| llds_loss(&llds, new, &tokens, &[2, 1, 2], &answers, 2)),
    ));
    for (name, loss) in losses {
        let (_, gradient) = loss_and_gradient(&new, &loss);
        let step = 1e-2_f32;
        let moved = |at: usize, by: f32| {
            let mut new = new;
            new[at] += by;
            f64::from(number(&loss(super::batch::leaf(&new, [5]))))
        };
        let differences: Vec<f64> = (0..5)
            .map(|at| (moved(at, step) - moved(at, -step)) / (2.0 * f64::from(step)))
            .collect();
        assert_close(&name, &gradient, &differences, 2e-4);
    }
}

/// A step in which everything is masked: nothing failed, nothing moves.
#[test]
fn an_all_masked_batch_has_loss_zero() {
    let lengths = [0, 0];
    for surrogate in surrogates() {
        for aggregation in AGGREGATIONS {
            let weights = aggregation.weights(&lengths, LossTotals::of(&lengths));
            let tokens = TrainedTokens {
                lengths: &lengths,
                old_logprobs: &[],
                advantages: &[],
                weights: &weights,
            };
            let (loss, gradient) =
                loss_and_gradient(&[], |new| surrogate_loss(&surrogate, new, &tokens).sum);
            assert_close("loss", &[loss], &[0.0], 0.0);
            assert!(gradient.is_empty());
        }
    }
    assert_eq!(n_preserved_tokens(&lengths, &[]), 0);
    let (rows, mask): (Rows, Rows) = (vec![vec![-1.0, f32::NAN]], vec![vec![0.0, 0.0]]);
    let tokens = TrainedTokens { lengths: &[0], old_logprobs: &[], advantages: &[], weights: &[] };
    let (loss, gradient) = masked_loss_and_gradient(&rows, &mask, |new| {
        surrogate_loss(&Surrogate::ppo(0.2, 0.2), new, &tokens).sum
    });
    assert_close("loss", &[loss], &[0.0], 0.0);
    assert_close("gradient", &gradient, &[0.0_f32; 2], 0.0);
    let masked = Episode { policy: vec![false], rewards: vec![0.0], ..Episode::default() };
    for advantage in estimators().into_iter().filter(|it| !it.needs_critic()) {
        let estimates = estimate_advantages(&advantage, &[masked.clone(), masked.clone()]).unwrap();
        assert_close("advantages", &estimates[0].advantages, &[0.0], 0.0);
    }
}

/// Ratios far beyond what f32 can hold.
#[test]
fn extreme_ratios_are_finite() {
    let (new, old) = ([-0.1, -500.0, -90.0], [-500.0, -0.1, -1.0]);
    for advantage in [-1.0, 1.0] {
        for surrogate in surrogates() {
            let advantages = [advantage; 3];
            let tokens = TrainedTokens {
                lengths: &[3],
                old_logprobs: &old,
                advantages: &advantages,
                weights: &[1.0; 3],
            };
            let (loss, gradient) =
                loss_and_gradient(&new, |new| surrogate_loss(&surrogate, new, &tokens).sum);
            assert!(loss.is_finite() && gradient.iter().all(|it| it.is_finite()), "{surrogate:?}");
        }
    }
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let whole = Episode {
        policy: vec![true, false],
        rewards: vec![1.0, 0.0],
        values: vec![0.0, 0.0],
        ..Episode::default()
    };
    let gae = AdvantageEstimator::Gae(Gae {
        gamma: 1.0,
        lambda: 1.0,
        observations: GaeObservations::Skip,
    });
    let grpo = AdvantageEstimator::Grpo(Grpo { convention: GroupConvention::Forage });
    let table: [(&AdvantageEstimator, Episode, &str); 6] = [
        (&gae, Episode { rewards: vec![1.0], ..whole.clone() }, "has 2 positions, but 1 rewards"),
        (
            &gae,
            Episode { values: vec![], ..whole.clone() },
            "has 2 positions, but 0 values of a critic",
        ),
        (&grpo, whole.clone(), "has 2 values of a critic, which the estimator does not use"),
        (
            &gae,
            Episode { rewards: vec![f64::NAN, 0.0], ..whole.clone() },
            "has the reward NaN at position 0",
        ),
        (
            &gae,
            Episode { rewards: vec![0.0, 1.0], ..whole.clone() },
            "has a reward at position 1, which the environment wrote",
        ),
        (
            &gae,
            Episode { values: vec![f64::INFINITY, 0.0], ..whole.clone() },
            "has the value inf of a critic",
        ),
    ];
    for (advantage, episode, expected) in table {
        let good = Episode {
            values: if advantage.needs_critic() { vec![0.0, 0.0] } else { vec![] },
            ..whole.clone()
        };
        let error = estimate_advantages(advantage, &[good, episode]).unwrap_err().to_string();
        assert_eq!(error, format!("trajectory 1 of the batch {expected}"));
    }
}
