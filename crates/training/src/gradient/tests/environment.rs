//! Tokens that the policy did not write never receive a gradient, whatever the trajectory and the
//! loss.

use std::collections::BTreeSet;

use burn::tensor::Device;
use forage_optimizer::{Episode, ValueConfig};
use forage_trajectory::{Grade, Group, Origin, Outcome, Question, Score, SegmentKind, Trajectory};
use proptest::prelude::*;

use super::*;
use crate::batch::tests::training;
use crate::batch::{Policies, assemble};
use crate::critic::{CriticState, ValueSample, critic_gradient};
use crate::self_distillation::DistillationTargets;

/// Segments as (origin, number of tokens, log-probability of each).
type Segments = Vec<(u8, usize, f32)>;

/// Maximum length of a trajectory, and so the number of tokens that no other has.
const LONGEST: usize = 64;

/// Every loss and every term that a run file can ask for, each alone.
const LOSSES: [&str; 24] = [
    "",
    "loss.name = 'ppo'",
    "loss = { name = 'ppo', clip_high = 0.28, dual_clip = 1.2 }",
    "loss.name = 'gspo'",
    "loss.name = 'cispo'",
    "loss = { name = 'cispo', ratio = 'sequence' }",
    "loss.name = 'sapo'",
    "loss = { name = 'sapo', ratio = 'sequence' }",
    "entropy = 0.5",
    "kl = { coefficient = 0.5, place = 'reward' }",
    "kl = { coefficient = 0.5, place = 'loss', estimator = 'k1' }",
    "kl = { coefficient = 0.5, place = 'loss', estimator = 'k2' }",
    "kl = { coefficient = 0.5, place = 'loss', estimator = 'k3' }",
    "llds = { coefficient = 2.0, gate = 'token' }",
    "llds = { coefficient = 2.0, gate = 'action' }",
    "llds = { coefficient = 2.0, gate = 'response' }",
    "correction.name = 'token'",
    "correction.name = 'sequence'",
    "self_distillation.divergence = 'jensen-shannon'",
    "self_distillation.divergence = 'forward-kl'",
    "self_distillation.divergence = 'reverse-kl'",
    "self_distillation.divergence = 'squared-error'",
    "advantage.name = 'gae'",
    "advantage = { name = 'gae', observations = 'include' }",
];

/// A trajectory of tokens that stand nowhere else: `first`, `first + 1`, ….
fn trajectory(member: usize, segments: &Segments) -> Trajectory {
    let mut it = Trajectory::new("q", member);
    let first = member * LONGEST;
    it.push_given(Origin::Prompt, SegmentKind::Prompt, "who?", &[first as TokenId]);
    for &(origin, n, logprob) in segments {
        let start = it.tokens.len();
        let tokens: Vec<TokenId> = (start..start + n).map(|at| (first + at) as TokenId).collect();
        match origin {
            0 | 1 => {
                it.push_sampled(&tokens, &vec![logprob; n]);
                let kind = if origin == 0 { SegmentKind::Answer } else { SegmentKind::Search };
                it.tag(kind, "", start..start + n, None);
            }
            2 => it.push_given(Origin::Environment, SegmentKind::Information, "", &tokens),
            _ => it.push_given(Origin::Prompt, SegmentKind::Prompt, "", &tokens),
        }
    }
    it.outcome = Outcome::Answered;
    it
}

/// A decoder whose layer adds nothing, with a head of its own: its logits after a token are a
/// function of that token's embedding alone. Where no token stands twice, the gradient of a row of
/// the embedding is 0 where that of the logits is.
fn shallow(seed: u64) -> Decoder {
    let shape = FreshModel {
        vocab_size: 2 * LONGEST,
        hidden_size: 8,
        intermediate_size: 8,
        layers: 1,
        heads: 1,
        kv_heads: 1,
        max_positions: 4 * LONGEST,
        rope_theta: 100.0,
    };
    let mut config = shape.config();
    config.tie_word_embeddings = false;
    let fresh = Decoder::init(&config, seed, &Device::flex());
    let mute = |name: &str| name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
    let pairs = fresh.trainable_parameters().into_iter().zip(fresh.weights());
    let weights =
        pairs.map(|(spec, it)| if mute(&spec.name) { it.zeros_like() } else { it.clone() });
    fresh.with_trainable(weights.collect())
}

/// A critic whose head is not 0, so that a gradient passes through it.
fn critic() -> CriticState {
    let mut state = CriticState::new(&shallow(1));
    let mut weights = state.critic.weights();
    let head = weights.pop().unwrap();
    weights.push(head.ones_like() * 0.3);
    state.critic = state.critic.with_weights(weights);
    state
}

/// The rows of an embedding's gradient in which anything is not 0.
fn moved(gradient: &Tensor<2>) -> BTreeSet<usize> {
    let [_, width] = gradient.dims();
    let numbers = numbers(gradient);
    let rows = numbers.chunks(width).enumerate();
    rows.filter(|(_, row)| row.iter().any(|it| *it != 0.0)).map(|(idx, _)| idx).collect()
}

/// The rows of the tokens after which something stands that may be trained.
fn before(group: &Group, may: impl Fn(&Trajectory, usize) -> bool) -> BTreeSet<usize> {
    let of_one = |it: &Trajectory| -> Vec<usize> {
        let at = (1..it.tokens.len()).filter(|&at| may(it, at));
        at.map(|at| it.tokens[at - 1] as usize).collect()
    };
    group.trajectories.iter().flat_map(of_one).collect()
}

/// Rows of the embeddings of policy and critic that have a gradient, computed as in training.
fn moved_by(terms: &str, group: &Group) -> [BTreeSet<usize>; 2] {
    let algorithm = named(terms);
    let (decoder, reference, critic) = (shallow(1), shallow(2), critic());
    let critic = algorithm.advantage.needs_critic().then_some(&critic);
    let policies = Policies { decoder: &decoder, reference: &reference, critic };
    let distilled = algorithm.self_distillation.is_some().then(|| {
        let of_one = |it: &Trajectory| {
            let targets = Sample::of_trajectory(it, 0.0).targets;
            (!targets.is_empty()).then(|| target(&[3, 1, 4], &it.tokens, &targets, 0))
        };
        DistillationTargets {
            targets: group.trajectories.iter().map(of_one).collect(),
            n_too_long: 0,
        }
    });
    let config = algorithm.self_distillation.as_ref();
    let distillation = config.map(|config| DistillationTerm { config, coefficient: 1.0 });
    let grades = [1.0, 0.0].map(|reward| Grade::Scored(Score { reward, ..Score::default() }));
    let batch =
        assemble(&training(), &algorithm, policies, &[(group, &grades)], distilled).unwrap();

    let trained = &batch.groups[0];
    let samples: Vec<&Sample> = trained.iter().map(|it| &it.sample).collect();
    let normalizers = Normalizers::of(&samples);
    let objective =
        PolicyLoss { algorithm: &algorithm, temperature: 0.8, distillation, normalizers };
    let learned =
        compute_gradient(&decoder, &samples, Objective::PolicyLoss(objective), plainly(100));
    let values: Vec<&ValueSample> = trained.iter().filter_map(|it| it.values.as_ref()).collect();
    let of_critic = critic.map_or_else(BTreeSet::new, |it| {
        moved(&critic_gradient(&it.critic, &values, &ValueConfig::default(), 100).0[0])
    });
    [moved(&learned.gradients[0]), of_critic]
}

fn group(segments: [&Segments; 2]) -> Group {
    let trajectories =
        segments.iter().enumerate().map(|(member, it)| trajectory(member, it)).collect();
    Group { question: Question::default(), trajectories }
}

fn segments() -> impl Strategy<Value = Segments> {
    prop::collection::vec((0..4_u8, 0..6_usize, -7.0..-3.0_f32), 0..11)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn tokens_of_the_environment_get_no_gradient(one in segments(), other in segments()) {
        let group = group([&one, &other]);
        let of_policy = before(&group, |it, at| it.policy_mask()[at]);
        let after_prompt = before(&group, |it, at| {
            let prompt = it.segments.iter().take_while(|it| it.origin == Origin::Prompt);
            at >= prompt.last().map_or(0, |it| it.tokens.end)
        });
        for terms in LOSSES {
            let [policy, critic] = moved_by(terms, &group);
            prop_assert!(policy.is_subset(&of_policy), "{}: {:?} {:?}", terms, policy, of_policy);
            // Where observations are steps, they have values, and nothing else.
            let valued = if terms.contains("include") { &after_prompt } else { &of_policy };
            prop_assert!(critic.is_subset(valued), "{}: {:?} {:?}", terms, critic, valued);
        }
    }

    #[test]
    fn episodes_and_samples_agree_on_what_is_trained(segments in segments()) {
        let trajectory = trajectory(0, &segments);
        let sample = Sample::of_trajectory(&trajectory, 1.0);
        let grade = Grade::Scored(Score { reward: 1.0, ..Score::default() });
        let episode = Episode::of(&trajectory, &grade, 0, None).unwrap();
        // Positions of an episode are counted from behind the prompt.
        let first = trajectory.tokens.len() - episode.policy.len();
        let positions = episode.policy.iter().enumerate().filter(|(_, policy)| **policy);
        let of_episode: Vec<usize> = positions.map(|(at, _)| first + at).collect();
        prop_assert_eq!(&sample.targets, &of_episode);
        prop_assert_eq!(sample.targets.len(), trajectory.n_policy_tokens());
        prop_assert_eq!(sample.actions.iter().sum::<usize>(), sample.targets.len());
        let answers = trajectory.segments.iter().filter(|it| it.kind == SegmentKind::Answer);
        let n_answers: usize = answers.map(|it| it.tokens.len()).sum();
        prop_assert_eq!(sample.answers.iter().filter(|it| **it).count(), n_answers);
    }
}

/// The property would hold of losses that do nothing.
#[test]
fn every_loss_moves_what_the_policy_wrote() {
    let segments = vec![(1, 3, -4.0), (2, 4, 0.0), (0, 2, -5.5)];
    let group = group([&segments, &segments]);
    let of_policy = before(&group, |it, at| it.policy_mask()[at]);
    assert_eq!(of_policy.len(), 10);
    for terms in LOSSES {
        let [policy, critic] = moved_by(terms, &group);
        assert!(!policy.is_empty(), "{terms}");
        let everything = terms.contains("entropy") || terms.contains("k2") || terms.is_empty();
        assert!(!everything || policy == of_policy, "{terms}: {policy:?}");
        // With observations, eight more.
        let n_valued = if terms.contains("include") { 18 } else { 10 };
        let expected = if terms.contains("gae") { n_valued } else { 0 };
        assert_eq!(critic.len(), expected, "{terms}");
    }
}
