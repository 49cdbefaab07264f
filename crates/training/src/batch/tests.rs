//! Batches of graded trajectories, case by case.

use std::f32::consts::FRAC_1_SQRT_2;

use forage_model::Decoder;
use forage_optimizer::Surrogate;
use forage_trajectory::{Origin, Outcome, Question, Score, SegmentKind, TokenId};

use super::*;
use crate::gradient::tests::{decoder, named};
use crate::gradient::{Objective, compute_gradient};
use crate::micro_batch::MicroBatches;
use crate::policy_loss::{Normalizers, PolicyLoss};

/// One step of one group of any size.
pub(crate) fn training() -> TrainingSection {
    let text = "steps = 1\nquestions_per_step = 1\ngroup_size = 2\nmicro_batch_tokens = 100\n\
                checkpoint_every = 1\nsave_trajectories_every = 1";
    toml::from_str(text).unwrap()
}

/// Two tokens of prompt, three of the policy, two of the environment, two of the policy.
fn trajectory(member: usize, logprob: f32, outcome: Outcome) -> Trajectory {
    let mut it = Trajectory::new("q", member);
    let tokens: Vec<TokenId> = (0..9).map(|at| (at * 4 + member as u32 * 3) % 40).collect();
    it.push_given(Origin::Prompt, SegmentKind::Prompt, "who?", &tokens[..2]);
    it.push_sampled(&tokens[2..5], &[logprob; 3]);
    it.tag(SegmentKind::Search, "<search> x </search>", 2..5, Some("x"));
    it.push_given(Origin::Environment, SegmentKind::Information, "page", &tokens[5..7]);
    it.push_sampled(&tokens[7..], &[logprob; 2]);
    it.tag(SegmentKind::Answer, "<answer> y </answer>", 7..9, Some("y"));
    it.outcome = outcome;
    it
}

const POLICY: [usize; 5] = [2, 3, 4, 7, 8];
/// What comes after the prompt.
const RESPONSE: [usize; 7] = [2, 3, 4, 5, 6, 7, 8];

/// A group of these trajectories, which were sampled alike, and their grades.
fn played(trajectories: &[(Outcome, Option<f64>)]) -> (Group, Vec<Grade>) {
    let all = trajectories.iter().enumerate();
    let trajectories_of = all.map(|(member, it)| trajectory(member, -3.5, it.0.clone())).collect();
    let grade = |it: &Option<f64>| match it {
        Some(reward) => Grade::Scored(Score { reward: *reward, ..Score::default() }),
        None => Grade::Failed("no reward".to_owned()),
    };
    let grades = trajectories.iter().map(|it| grade(&it.1)).collect();
    (Group { question: Question::default(), trajectories: trajectories_of }, grades)
}

/// The decoder of the policy, with a reference and a critic that are others.
struct Models {
    decoder: Decoder,
    reference: Decoder,
    critic: CriticState,
}

impl Models {
    fn new() -> Self {
        let decoder = decoder();
        let moved = |by: f32| decoder.weights().iter().map(|it| it.clone() * by).collect();
        let reference = decoder.with_trainable(moved(0.8));
        let mut critic = CriticState::new(&decoder);
        let weights = critic.critic.weights().into_iter().map(|it| it + 0.1).collect();
        critic.critic = critic.critic.with_weights(weights);
        Self { decoder, reference, critic }
    }

    fn policies(&self, algorithm: &AlgorithmConfig) -> Policies<'_> {
        let critic = algorithm.advantage.needs_critic().then_some(&self.critic);
        Policies { decoder: &self.decoder, reference: &self.reference, critic }
    }

    fn batch(&self, algorithm: &AlgorithmConfig, group: &Group, grades: &[Grade]) -> Batch {
        let policies = self.policies(algorithm);
        assemble(&training(), algorithm, policies, &[(group, grades)], None).unwrap()
    }
}

fn scored_targets(group: &Group) -> Vec<ScoredTargets<'_>> {
    group.trajectories.iter().map(|it| ScoredTargets { tokens: &it.tokens, at: &POLICY }).collect()
}

fn assert_near(what: &str, found: &[Option<f64>], expected: &[Option<f64>]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        match (found, expected) {
            (Some(found), Some(expected)) => {
                assert!((found - expected).abs() < 1e-4, "{what}: {found} is not {expected}");
            }
            _ => assert_eq!(found, expected, "{what}"),
        }
    }
}

#[test]
fn over_length_counts_and_is_not_trained_and_what_failed_does_neither() {
    let models = Models::new();
    let (group, grades) = played(&[
        (Outcome::Answered, Some(1.0)),
        (Outcome::NoAnswer, Some(0.0)),
        (Outcome::OverLength, Some(0.0)),
        (Outcome::OutOfTurns, Some(0.0)),
        (Outcome::Answered, None),
        (Outcome::Failed("no server".to_owned()), Some(5.0)),
    ]);
    let (high, low) = (Some(1.5), Some(-0.5));
    let plain = models.batch(&named(""), &group, &grades);
    assert_near("all", &plain.advantages[0], &[high, low, low, low, None, None]);
    let without = models.batch(&named("over_length = 'exclude'"), &group, &grades);
    assert_near("some", &without.advantages[0], &[high, low, None, None, None, None]);
    let members = |it: &Batch| -> Vec<TokenId> {
        it.groups[0].iter().map(|it| it.sample.tokens[0] / 3).collect()
    };
    assert_eq!((members(&plain), members(&without)), (vec![0, 1, 2, 3], vec![0, 1]));
    let sample = &without.groups[0][1].sample;
    assert_eq!(sample.targets, POLICY);
    assert!(sample.advantages.iter().all(|it| (it + 0.5).abs() < 1e-4), "{sample:?}");
    assert_eq!((sample.actions.as_slice(), plain.n_rejected), ([3, 2].as_slice(), 0));
}

#[test]
fn what_was_sampled_is_what_ratios_compare_with_unless_it_is_corrected() {
    let models = Models::new();
    let (mut group, grades) =
        played(&[(Outcome::Answered, Some(1.0)), (Outcome::Answered, Some(0.0))]);
    // The second one was sampled by a policy that is far away.
    group.trajectories[1] = trajectory(1, -0.01, Outcome::Answered);
    let recomputed = log_probabilities(&models.decoder, &scored_targets(&group), 1.0, 100);

    let plain = models.batch(&named(""), &group, &grades);
    for (trained, sampled) in plain.groups[0].iter().zip([-3.5, -0.01]) {
        assert_eq!(trained.sample.old_logprobs, [sampled; 5]);
        assert_eq!(trained.sample.rollout_logprobs, [sampled; 5]);
        assert!(trained.sample.reference_logprobs.is_empty());
    }

    let corrected =
        models.batch(&named("correction = { name = 'token', cap = 1.1 }"), &group, &grades);
    assert_eq!((corrected.groups[0].len(), corrected.n_rejected), (2, 0));
    for (idx, sampled, advantage) in [(0, -3.5, FRAC_1_SQRT_2), (1, -0.01, -FRAC_1_SQRT_2)] {
        let sample = &corrected.groups[0][idx].sample;
        assert_eq!(sample.old_logprobs, recomputed[idx]);
        assert_eq!(sample.rollout_logprobs, [sampled; 5]);
        for (found, old) in sample.advantages.iter().zip(&recomputed[idx]) {
            let expected = advantage * (old - sampled).exp().min(1.1);
            assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
        }
    }

    let reject = "correction = { name = 'reject', reject = { distance = 'mean-k1', high = 3.0 } }";
    let rejected = models.batch(&named(reject), &group, &grades);
    // It is still one of the two that the first is compared with.
    assert_near("kept", &rejected.advantages[0], &[Some(f64::from(FRAC_1_SQRT_2)), None]);
    assert_eq!((rejected.groups[0].len(), rejected.n_rejected), (1, 1));
    // One that is out of the loss for another reason was not rejected.
    group.trajectories[1].outcome = Outcome::OverLength;
    let excluded = named(&format!("over_length = 'exclude'\n{reject}"));
    assert_eq!(models.batch(&excluded, &group, &grades).n_rejected, 0);
}

#[test]
fn without_masking_retrieved_tokens_are_trained_like_those_of_the_policy() {
    let models = Models::new();
    let (group, grades) = played(&[(Outcome::Answered, Some(1.0)), (Outcome::Answered, Some(0.0))]);
    let asked: Vec<ScoredTargets<'_>> = group
        .trajectories
        .iter()
        .map(|it| ScoredTargets { tokens: &it.tokens, at: &RESPONSE })
        .collect();
    let recomputed = log_probabilities(&models.decoder, &asked, 1.0, 100);
    let batch = models.batch(&named("retrieved_tokens = 'train'"), &group, &grades);
    for (idx, advantage) in [(0, FRAC_1_SQRT_2), (1, -FRAC_1_SQRT_2)] {
        let sample = &batch.groups[0][idx].sample;
        assert_eq!(sample.targets, RESPONSE);
        // What was sampled stays, and what was retrieved is computed: the first ratio is 1.
        let [first, second] = [recomputed[idx][3], recomputed[idx][4]];
        assert_eq!(sample.old_logprobs, [-3.5, -3.5, -3.5, first, second, -3.5, -3.5]);
        let is_retrieved: Vec<bool> =
            sample.rollout_logprobs.iter().map(|it| it.is_nan()).collect();
        assert_eq!(is_retrieved, [false, false, false, true, true, false, false]);
        assert!(sample.advantages.iter().all(|it| (it - advantage).abs() < 1e-4), "{sample:?}");
    }
    // Only what was sampled has a mismatch.
    let algorithm = named("retrieved_tokens = 'train'");
    let samples: Vec<&Sample> = batch.groups[0].iter().map(|it| &it.sample).collect();
    let objective = PolicyLoss {
        algorithm: &algorithm,
        temperature: 1.0,
        distillation: None,
        normalizers: Normalizers::of(&samples),
    };
    let micro_batches = MicroBatches { tokens: 100, checkpointing: false };
    let objective = Objective::PolicyLoss(objective);
    let sums = compute_gradient(&models.decoder, &samples, objective, micro_batches).sums;
    assert_eq!((sums.n_tokens, sums.n_sampled), (14, 10));
    assert!(sums.mismatch.is_finite() && sums.loss.is_finite(), "{sums:?}");
}

#[test]
fn distance_is_from_the_reference_and_paid_where_it_is_said() {
    let models = Models::new();
    let (group, grades) = played(&[(Outcome::Answered, Some(1.0)), (Outcome::Answered, Some(0.0))]);
    let reference = log_probabilities(&models.reference, &scored_targets(&group), 1.0, 100);
    assert_ne!(reference, log_probabilities(&models.decoder, &scored_targets(&group), 1.0, 100));
    let advantage = "advantage.name = 'dr-grpo'";
    for (place, coefficient) in [("loss", 0.0), ("reward", 0.1)] {
        let kl = format!("kl = {{ coefficient = 0.1, place = '{place}' }}");
        let batch = models.batch(&named(&format!("{advantage}\n{kl}")), &group, &grades);
        for (trained, reference) in batch.groups[0].iter().zip(&reference) {
            assert_eq!(&trained.sample.reference_logprobs, reference);
        }
        let paid = |it: &[f32]| -> f64 { it.iter().map(|it| f64::from(-3.5 - it)).sum() };
        let scores = [1.0 - coefficient * paid(&reference[0]), -coefficient * paid(&reference[1])];
        let half = (scores[0] - scores[1]) / 2.0;
        assert_near(place, &batch.advantages[0], &[Some(half), Some(-half)]);
    }
}

#[test]
fn a_critic_learns_of_the_policys_positions_or_of_all() {
    let models = Models::new();
    let (group, grades) = played(&[(Outcome::Answered, Some(1.0)), (Outcome::Answered, None)]);
    let all: Vec<usize> = (2..9).collect();
    for (observations, expected) in [("skip", POLICY.to_vec()), ("include", all)] {
        let advantage =
            format!("name = 'gae', gamma = 0.9, lambda = 0.0, observations = '{observations}'");
        let algorithm = named(&format!("advantage = {{ {advantage} }}"));
        let batch = models.batch(&algorithm, &group, &grades);
        assert_eq!(batch.groups[0].len(), 1);
        let values = batch.groups[0][0].values.as_ref().unwrap();
        assert_eq!((&values.at, &values.tokens), (&expected, &group.trajectories[0].tokens));
        let asked = [ScoredTargets { tokens: &values.tokens, at: &expected }];
        assert_eq!(values.old, models.critic.values(&asked, 100)[0]);
        assert!(values.old.iter().all(|it| *it != 0.0));
        // With λ = 0 a return is the reward and what is expected next.
        for (at, found) in values.returns.iter().enumerate() {
            let expected = values.old.get(at + 1).map_or(1.0, |next| 0.9 * next);
            assert!((found - expected).abs() < 1e-5, "{observations} {at}: {found} {expected}");
        }
    }
    let none = models.batch(&AlgorithmConfig::grpo(Surrogate::Reinforce {}), &group, &grades);
    assert!(none.groups[0][0].values.is_none());
}
