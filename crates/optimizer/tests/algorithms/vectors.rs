//! Numbers computed by hand from the papers.

use std::f64::consts::{FRAC_1_SQRT_2, LN_2};

use burn::tensor::Tensor;
use forage_optimizer::{
    Advantage, Aggregation, Convention, DistillationConfig, Divergence, Episode, Gate,
    HindsightConfig, KlEstimator, Labels, LldsConfig, Members, Moments, Observations, Scale,
    Standing, Surrogate, Tokens, Totals, Turn, ValueConfig, distillation_loss, divergence, entropy,
    entropy_loss, estimate, gae, hindsight, kl_loss, llds_loss, n_preserved_tokens, place_rewards,
    surrogate_loss, value_loss, with_term,
};
use forage_trajectory::{
    Grade, Origin, Outcome, Purpose, Score, Search, SegmentKind, Stream, Trajectory,
};

use super::batch::{assert_close, leaf, loss_and_gradient, number};

const TOLERANCE: f64 = 1e-4;

fn own(rewards: &[f64]) -> Episode {
    Episode {
        policy: vec![true; rewards.len()],
        rewards: rewards.to_vec(),
        values: vec![0.0; rewards.len()],
        ..Episode::default()
    }
}

/// Search-R1: advantages without a critic's help, raw and whitened.
#[test]
fn gae_and_its_whitening() {
    let rewards = [0.0, 0.0, 0.5, 0.0, 0.0, 1.0];
    let (values, policy) = ([0.0; 6], [true; 6]);
    let raw = gae(&rewards, &values, &policy, [1.0, 1.0], Observations::Skip);
    assert_close("raw", &raw, &[1.5, 1.5, 1.5, 1.0, 1.0, 1.0], TOLERANCE);
    let moments = Moments::of(raw.iter().copied());
    let whitened: Vec<f64> = raw.iter().map(|it| moments.whiten(*it)).collect();
    let expected = [0.91287, 0.91287, 0.91287, -0.91287, -0.91287, -0.91287];
    assert_close("whitened", &whitened, &expected, TOLERANCE);
    let config = Advantage::Gae { gamma: 1.0, lambda: 1.0, observations: Observations::default() };
    let estimates = estimate(&config, &[own(&rewards)]).unwrap();
    assert_close("estimated", &estimates[0].advantages, &expected, TOLERANCE);
    assert_close("returns", &estimates[0].returns, &raw, TOLERANCE);
}

/// Search-R1's code takes an observation for a step with a value of its own, verl does not.
#[test]
fn observations_are_stepped_over_or_included() {
    let (rewards, values) = ([0.0, 0.0, 1.0], [0.5, 9.0, 0.25]);
    let policy = [true, false, true];
    let advantages = |it| gae(&rewards, &values, &policy, [0.5, 1.0], it);
    // 1 - 0.25; stepped over; 0.5 * 0.25 - 0.5 + 0.5 * 0.75
    assert_close("skip", &advantages(Observations::Skip), &[0.0, 0.0, 0.75], TOLERANCE);
    // 1 - 0.25; 0.5 * 0.25 - 9 + 0.5 * 0.75; 0.5 * 9 - 0.5 - 0.5 * 8.5
    assert_close("include", &advantages(Observations::Include), &[-0.25, -8.5, 0.75], TOLERANCE);
}

/// Search-R1's code takes observations into mean and deviation too, and keeps advantages of the
/// policy's tokens only.
#[test]
fn whitening_counts_observations_where_they_are_steps() {
    let episode = Episode {
        policy: vec![true, false, true],
        rewards: vec![0.0, 0.0, 1.0],
        values: vec![0.5, 9.0, 0.25],
        ..Episode::default()
    };
    // Of the raw advantages of the last test: 0 and 0.75, or -0.25, -8.5 and 0.75. The means are
    // 0.375 and -2.66667, the unbiased deviations 0.53033 and 5.07650.
    for (observations, expected, returns) in [
        (Observations::Skip, [-FRAC_1_SQRT_2, 0.0, FRAC_1_SQRT_2], [0.5, 9.0, 1.0]),
        (Observations::Include, [0.47605, 0.0, 0.67304], [0.25, 0.5, 1.0]),
    ] {
        let gae = Advantage::Gae { gamma: 0.5, lambda: 1.0, observations };
        let found = &estimate(&gae, std::slice::from_ref(&episode)).unwrap()[0];
        assert_close("whitened", &found.advantages, &expected, TOLERANCE);
        assert_close("returns", &found.returns, &returns, TOLERANCE);
    }
}

#[test]
fn k3_of_two_probabilities() {
    let distance = |p: f32, reference: f32| {
        let new = leaf(&[p.ln()], [1]);
        number(&kl_loss(KlEstimator::K3, new, &[reference.ln()], &[1.0]))
    };
    assert_close("k3", &[distance(0.8, 0.5), distance(0.5, 0.5)], &[0.095_003_6, 0.0], TOLERANCE);
}

/// E-GRPO: over-length trajectories are in mean and deviation and not in the loss; ones with a
/// format error are in both.
#[test]
fn over_length_counts_and_is_not_trained() {
    let episode = |reward: f64, standing: Standing| Episode {
        policy: vec![true, false, true],
        rewards: vec![0.0, 0.0, reward],
        standing,
        ..Episode::default()
    };
    let grpo = Advantage::Grpo { convention: Convention::Forage };
    let trained = Standing::Trained;
    let group = [(1.0, trained), (0.15, trained), (0.0, Standing::OverLength), (0.0, trained)];
    let estimates = estimate(&grpo, &group.map(|(reward, it)| episode(reward, it))).unwrap();
    let firsts: Vec<f64> = estimates.iter().map(|it| it.advantages[0]).collect();
    assert_close("group", &firsts, &[1.48365, -0.28632, -0.59866, -0.59866], TOLERANCE);
    let in_loss: Vec<bool> = estimates.iter().map(|it| it.trained).collect();
    assert_eq!(in_loss, [true, true, false, true]);
    assert!(estimates.iter().all(|it| it.advantages[1].abs() < 1e-12));

    let failed = [(1.0, trained), (f64::NAN, Standing::Failed), (0.0, trained)];
    let estimates = estimate(&grpo, &failed.map(|(reward, it)| episode(reward, it))).unwrap();
    let firsts: Vec<f64> = estimates.iter().map(|it| it.advantages[0]).collect();
    let half = 0.5_f64.sqrt();
    assert_close("failed", &firsts, &[half, 0.0, -half], TOLERANCE);
    assert!(!estimates[1].trained);
}

/// Two searches that were executed, one that was not, and a page that the policy made up.
fn searched() -> Trajectory {
    let mut it = Trajectory::new("q", 3);
    it.push_given(Origin::Prompt, SegmentKind::Prompt, "who?", &[1, 1]);
    let mut write = |kind, n: usize, observation: usize| {
        let start = it.tokens.len();
        it.push_sampled(&vec![2; n], &vec![-1.0; n]);
        it.tag(kind, "", start..start + n, None);
        let segment = it.segments.len() - 1;
        if observation > 0 {
            it.push_given(Origin::Environment, SegmentKind::Information, "", &vec![3; observation]);
        }
        segment
    };
    let positions = [
        (write(SegmentKind::Think, 2, 0), false),
        (write(SegmentKind::Search, 3, 4), true),
        (write(SegmentKind::Search, 2, 3), true),
        (write(SegmentKind::Information, 3, 0), false),
        (write(SegmentKind::Other, 2, 0), false),
        (write(SegmentKind::Answer, 2, 0), false),
    ];
    for (segment, executed) in positions {
        if executed {
            let query = String::new();
            it.searches.push(Search { query, hits: Vec::new(), segment, failure: None });
        }
    }
    it.outcome = Outcome::Answered;
    it
}

fn scored(reward: f64, steps: &[f64]) -> Grade {
    Grade::Scored(Score { reward, steps: steps.to_vec(), ..Score::default() })
}

/// StepSearch: on exactly the last token of each executed search, and on the last of all.
#[test]
fn step_rewards_stand_on_the_last_token_of_a_search() {
    let trajectory = searched();
    let episode = Episode::of(&trajectory, &scored(1.0, &[0.5, -0.25]), 7, Some(1.0)).unwrap();
    // 2 thought, 3 search | 4 page | 2 search | 3 page | 3 made up, 2 other, 2 answer
    let mut expected = vec![0.0; 21];
    (expected[4], expected[10], expected[20]) = (0.5, -0.25, 1.0);
    assert_close("rewards", &episode.rewards, &expected, 0.0);
    assert_eq!(episode.policy.iter().filter(|it| **it).count(), 14);
    assert_eq!(episode.group, 7);
    let turns: Vec<_> =
        episode.turns.iter().map(|it| (it.positions.clone(), it.state.len())).collect();
    assert_eq!(turns, [(0..5, 0), (9..11, 4), (14..21, 3)]);

    // γ = λ = 1 without a critic: what is still to come. After the last search, only the outcome.
    let raw = gae(&episode.rewards, &[0.0; 21], &episode.policy, [1.0, 1.0], Observations::Skip);
    let mut expected = vec![1.25; 5];
    expected.extend([0.0; 4].iter().chain(&[0.75; 2]).chain(&[0.0; 3]).chain(&[1.0; 7]));
    assert_close("advantages", &raw, &expected, TOLERANCE);

    // The released code's scale, and estimators that leave the steps out.
    let scaled = Episode::of(&trajectory, &scored(1.0, &[0.5, -0.25]), 7, Some(1.6)).unwrap();
    assert_close("scaled", &[scaled.rewards[4]], &[0.8], TOLERANCE);
    let outcome = Episode::of(&trajectory, &scored(1.0, &[0.5, -0.25]), 7, None).unwrap();
    assert_close("outcome", &[outcome.rewards.iter().sum::<f64>()], &[1.0], 0.0);
    let without = Episode::of(&trajectory, &scored(1.0, &[]), 7, Some(1.0)).unwrap();
    assert_eq!(without, outcome);

    let error = Episode::of(&trajectory, &scored(1.0, &[0.5]), 7, Some(1.0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "trajectory 3 of the batch has 1 step rewards for 2 executed searches"
    );
}

#[test]
fn standings_of_graded_trajectories() {
    let mut trajectory = searched();
    let standing = |trajectory: &Trajectory, grade: &Grade| {
        let episode = Episode::of(trajectory, grade, 0, None).unwrap();
        episode.without_over_length(&trajectory.outcome).standing
    };
    assert_eq!(standing(&trajectory, &scored(1.0, &[])), Standing::Trained);
    assert_eq!(standing(&trajectory, &Grade::NotApplicable), Standing::Failed);
    assert_eq!(standing(&trajectory, &Grade::Failed(String::new())), Standing::Failed);
    trajectory.outcome = Outcome::OverLength;
    assert_eq!(standing(&trajectory, &scored(0.0, &[])), Standing::OverLength);
    assert_eq!(standing(&trajectory, &Grade::NotApplicable), Standing::Failed);
    trajectory.outcome = Outcome::OutOfTurns;
    assert_eq!(standing(&trajectory, &scored(0.0, &[])), Standing::OverLength);
    trajectory.outcome = Outcome::Failed(String::new());
    assert_eq!(standing(&trajectory, &scored(0.0, &[])), Standing::Failed);
}

#[test]
fn rewards_pay_for_distance() {
    let episode = Episode {
        policy: vec![true, false, true],
        rewards: place_rewards(&[true, false, true], 1.0, &[]),
        ..Episode::default()
    };
    let penalized = episode.penalized(0.1, &[-1.0, -2.0], &[-1.5, -1.0]);
    assert_close("rewards", &penalized.rewards, &[-0.05, 0.0, 1.1], 1e-6);
    assert_close("nowhere to put it", &place_rewards(&[false], 1.0, &[]), &[0.0], 0.0);
}

/// `GiGPO`: two trajectories that meet in the state `[9]`, from which one of them gets on.
#[test]
fn turns_from_one_state_are_compared() {
    let turn = |positions, state: &[u32]| Turn { positions, state: state.to_vec() };
    let episode = |last: f64, state: &[u32]| Episode {
        policy: vec![true, false, true],
        rewards: vec![0.0, 0.0, last],
        turns: vec![turn(0..1, &[]), turn(2..3, state)],
        ..Episode::default()
    };
    let episodes = [episode(1.0, &[9]), episode(0.0, &[9]), episode(0.5, &[8])];
    let of = |scale, step_weight| {
        let gigpo = Advantage::Gigpo { gamma: 0.5, step_weight, step_scale: None, scale };
        let estimates = estimate(&gigpo, &episodes).unwrap();
        estimates.into_iter().flat_map(|it| it.advantages).collect::<Vec<f64>>()
    };
    // Trajectories: ±0.5 and 0. First turns: returns 0.5, 0, 0.25, so ±0.25 and 0. Second turns:
    // returns 1 and 0 from the same state, so ±0.5; the third is alone with its state.
    let expected = [0.75, 0.0, 1.0, -0.75, 0.0, -1.0, 0.0, 0.0, 0.0];
    assert_close("mean only", &of(Scale::None, 1.0), &expected, TOLERANCE);
    let half = 0.5_f64.sqrt();
    let (first, second) = (1.0 + 2.0, 1.0 + 2.0 * half);
    let expected = [first, 0.0, second, -first, 0.0, -second, 0.0, 0.0, 0.0];
    assert_close("deviation", &of(Scale::Deviation, 2.0), &expected, TOLERANCE);
}

#[test]
fn value_loss_is_the_worse_of_two() {
    let config = ValueConfig::default();
    let (new, old, returns) = ([1.0, 0.2, -1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]);
    let mut n_clipped = 0;
    let (loss, gradient) = loss_and_gradient(&new, |new| {
        let loss = value_loss(&config, new, &old, &returns, &[1.0; 3]);
        n_clipped = loss.n_clipped;
        loss.sum
    });
    // Held at 0.5: 0.25 > 0. Free: 0.64. Held at -0.5 it would be 2.25 < 4.
    assert_close("loss", &[loss], &[0.5 * (0.25 + 0.64 + 4.0)], TOLERANCE);
    assert_close("gradient", &gradient, &[0.0, -0.8, -2.0], TOLERANCE);
    assert_eq!(n_clipped, 1);
}

#[test]
fn entropy_of_rows() {
    let logits = leaf(&[0.0, 0.0, 0.0, 0.0, 100.0, 0.0, 0.0, 0.0], [2, 4]);
    let loss = entropy_loss(entropy(logits.clone()), &[1.0, 0.5]);
    assert_close("entropy", &[number(&loss)], &[-(4.0_f64.ln())], TOLERANCE);
    let mut gradients = loss.backward();
    let gradient = logits.grad_remove(&mut gradients).unwrap().try_into_vec_as::<f32>().unwrap();
    assert_close("gradient", &gradient, &[0.0_f32; 8], TOLERANCE);
}

/// LLDS: which tokens are pushed back, and how hard.
#[test]
fn what_went_well_is_held() {
    // Two preserved trajectories of two actions each, and one that went badly.
    let lengths = [4, 2, 2];
    let actions = [2, 2, 1, 1, 2];
    let advantages = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, -1.0, -1.0];
    let old = [0.0; 8];
    //          falls, less  | rises, more | rises, falls | falls
    let new = [-0.3, 0.1, 0.5, -0.1, 0.2, -0.1, -1.0, -1.0];
    let answers = [false, true, false, true, false, true, false, true];
    let weights = [1.0; 8];
    let tokens =
        Tokens { lengths: &lengths, old: &old, advantages: &advantages, weights: &weights };
    let n = n_preserved_tokens(&lengths, &advantages);
    assert_eq!(n, 6);
    let run = |gate, answer_weight| {
        let config = LldsConfig { coefficient: 0.2, gate, answer_weight };
        loss_and_gradient(&new, |new| llds_loss(&config, new, &tokens, &actions, &answers, n))
    };
    let sixth = 1.0 / 6.0;
    for (gate, answer_weight, sum, pushed) in [
        (Gate::Action, 1.0, 0.3 + 0.1, [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
        (Gate::Action, 0.5, 0.3 + 0.05, [1.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0]),
        (Gate::Token, 1.0, 0.3 + 0.1 + 0.1, [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0]),
        (Gate::Response, 1.0, 0.0, [0.0; 8]),
    ] {
        let (loss, gradient) = run(gate, answer_weight);
        assert_close("loss", &[loss], &[sum * sixth], TOLERANCE);
        assert_close("gradient", &gradient, &pushed.map(|it| -it * sixth), TOLERANCE);
    }
}

fn logits(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|it| it.max(1e-30).ln()).collect()
}

/// Divergence of one row, and its gradient by the student's logits.
fn row(kind: Divergence, top_k: usize, teacher: &[f32], student: &[f32]) -> (f32, Vec<f32>) {
    let shape = [1, student.len()];
    let (teacher, student) = (leaf(teacher, shape), leaf(student, shape));
    let loss = divergence(kind, top_k, student.clone(), teacher.clone()).sum();
    let mut gradients = loss.backward();
    assert!(teacher.grad_remove(&mut gradients).is_none(), "a gradient reached the teacher");
    (number(&loss), student.grad_remove(&mut gradients).unwrap().try_into_vec_as().unwrap())
}

#[test]
fn jensen_shannon_of_the_paper() {
    let distance = |p: &[f32], q: &[f32]| {
        f64::from(row(Divergence::JensenShannon, 50, &logits(p), &logits(q)).0)
    };
    let table: [(&[f32], &[f32], f64); 4] = [
        (&[0.5, 0.5], &[0.9, 0.1], 0.101_749),
        (&[0.3, 0.7], &[0.3, 0.7], 0.0),
        (&[1.0, 0.0], &[0.0, 1.0], LN_2),
        (&[0.6, 0.3, 0.1], &[0.2, 0.5, 0.3], 0.091_121),
    ];
    for (p, q, expected) in table {
        assert_close("JSD", &[distance(p, q), distance(q, p)], &[expected; 2], TOLERANCE);
    }
    let kl = |p: &[f64], q: &[f64]| p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
    let (p, q) = ([0.6, 0.3, 0.1], [0.2, 0.5, 0.3]);
    let (p32, q32) = (p.map(|it| it as f32), q.map(|it| it as f32));
    for (kind, expected) in [
        (Divergence::ForwardKl, kl(&p, &q)),
        (Divergence::ReverseKl, kl(&q, &p)),
        (Divergence::SquaredError, 0.16 + 0.04 + 0.04),
    ] {
        let (found, _) = row(kind, 50, &logits(&p32), &logits(&q32));
        assert_close("divergence", &[found], &[expected], TOLERANCE);
    }
}

#[test]
fn gradient_of_jensen_shannon_by_hand() {
    let table: [(&[f32], &[f32], &[f64]); 3] = [
        (&[0.5, 0.5], &[0.9, 0.1], &[0.060_747, -0.060_747]),
        (&[0.6, 0.3, 0.1], &[0.2, 0.5, 0.3], &[-0.078_773, 0.032_140, 0.046_632]),
        (&[0.2, 0.5, 0.3], &[0.2, 0.5, 0.3], &[0.0, 0.0, 0.0]),
    ];
    for (p, q, expected) in table {
        let (_, gradient) = row(Divergence::JensenShannon, 50, &logits(p), &logits(q));
        assert_close("gradient", &gradient, expected, TOLERANCE);
    }
}

#[test]
fn gradients_of_divergences_by_finite_differences() {
    let teacher = [0.3, -1.2, 0.9, 0.1, -0.4];
    let student = [-0.5, 0.4, 0.2, 1.1, -0.9];
    for kind in [
        Divergence::JensenShannon,
        Divergence::ForwardKl,
        Divergence::ReverseKl,
        Divergence::SquaredError,
    ] {
        for top_k in [2, 3, 5, 9] {
            let (_, gradient) = row(kind, top_k, &teacher, &student);
            let step = 1e-2;
            let moved = |at: usize, by: f32| {
                let mut student = student;
                student[at] += by;
                f64::from(row(kind, top_k, &teacher, &student).0)
            };
            let differences: Vec<f64> = (0..student.len())
                .map(|at| (moved(at, step) - moved(at, -step)) / (2.0 * f64::from(step)))
                .collect();
            assert_close(&format!("{kind:?} {top_k}"), &gradient, &differences, 2e-4);
        }
    }
}

#[test]
fn the_support_is_the_teachers() {
    let teacher = [2.0, 1.0, -3.0, -9.0];
    let student = [0.5, 1.5, 7.0, 8.0];
    for kind in [Divergence::JensenShannon, Divergence::ForwardKl] {
        let (cut, gradient) = row(kind, 2, &teacher, &student);
        let (expected, _) = row(kind, 2, &teacher[..2], &student[..2]);
        assert_close("top 2", &[cut], &[expected], TOLERANCE);
        assert_close("outside the support", &gradient[2..], &[0.0_f32; 2], 0.0);
        assert_eq!(row(kind, 4, &teacher, &student), row(kind, 50, &teacher, &student));
    }
}

fn batch_loss(config: &DistillationConfig, n_taught: &[usize]) -> (f32, f32) {
    let n: usize = n_taught.iter().sum();
    let logits = |salt: usize| -> Vec<f32> {
        (0..n * 6).map(|it| ((it * 37 + salt * 11) % 17) as f32 / 5.0).collect()
    };
    let weights = Aggregation::SequenceMean.weights(n_taught, Totals::of(n_taught));
    let (student, teacher) = (leaf(&logits(1), [n, 6]), leaf(&logits(2), [n, 6]));
    let rows = divergence(config.divergence, config.top_k, student.clone(), teacher.clone());
    let rows = rows.inner().try_into_vec_as::<f32>().unwrap();
    let mut at = 0;
    let mut sum = 0.0;
    for &n in n_taught {
        sum += rows[at..at + n].iter().sum::<f32>() / n.max(1) as f32;
        at += n;
    }
    let n_with = n_taught.iter().filter(|it| **it > 0).count().max(1);
    (number(&distillation_loss(config, student, teacher, &weights)), sum / n_with as f32)
}

#[test]
fn self_distillation_is_a_mean_over_trajectories_with_queries() {
    let config = DistillationConfig::default();
    for n_taught in [vec![3, 1], vec![2, 0, 5], vec![1]] {
        let (found, expected) = batch_loss(&config, &n_taught);
        assert_close("L_SD", &[found], &[expected], 1e-6);
        assert!(config.coefficient * f64::from(found) <= 6.94e-4);
    }
    // Without a query there is nothing to learn, and no NaN.
    assert_close("no query", &[batch_loss(&config, &[0, 0]).0], &[0.0], 0.0);
}

/// Before the warm-up ends the loss is GRPO's, bit for bit; after it, there is `α L_SD` more.
#[test]
fn self_distillation_switched_off_is_grpo() {
    let config = DistillationConfig::default();
    let lengths = [2, 1];
    let (old, advantages) = ([-1.0, -2.0, -0.5], [0.7, 0.7, -1.3]);
    let weights = Aggregation::TokenMean.weights(&lengths, Totals::of(&lengths));
    let tokens =
        Tokens { lengths: &lengths, old: &old, advantages: &advantages, weights: &weights };
    let student = [0.3, -0.2, 0.9, 1.1, 0.0, -0.6, 0.2, 0.4, -0.8];
    let teacher = [0.1, 0.8, -0.3, 0.2, 0.2, 0.5, -0.9, 0.3, 0.6];
    let run = |coefficient: Option<f64>| {
        loss_and_gradient(&student, |leaf| {
            let rows = leaf.reshape([3, 3]);
            let new: Tensor<1> = rows.clone().sum_dim(1).reshape([3]) - 1.5;
            let policy = surrogate_loss(&Surrogate::ppo(0.2, 0.2), new, &tokens).sum;
            match coefficient {
                None => policy,
                Some(coefficient) => with_term(policy, coefficient, || {
                    let teacher = super::batch::leaf(&teacher, [3, 3]);
                    distillation_loss(&config, rows, teacher, &[0.5, 0.25, 0.25])
                }),
            }
        })
    };
    let bits = |(loss, gradient): &(f32, Vec<f32>)| {
        (loss.to_bits(), gradient.iter().map(|it| it.to_bits()).collect::<Vec<u32>>())
    };
    let grpo = run(None);
    for step in [0, 49] {
        assert_eq!(bits(&run(Some(config.coefficient_at(step)))), bits(&grpo));
    }
    let weights = [0.5, 0.25, 0.25];
    let alone =
        distillation_loss(&config, leaf(&student, [3, 3]), leaf(&teacher, [3, 3]), &weights);
    let both = run(Some(config.coefficient_at(50)));
    assert_close("α L_SD", &[both.0 - grpo.0], &[1e-3 * number(&alone)], 1e-6);
    assert_ne!(bits(&both), bits(&grpo));
}

#[test]
fn hindsight_blocks_by_their_switches() {
    let f1 = [Some(0.0), Some(0.01), None, Some(1.0)];
    let stream = Stream::new(1, Purpose::Shuffle);
    let block = |config: HindsightConfig, focal| hindsight(&config, &f1, focal, stream);
    let config = HindsightConfig::default();
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(block(config, 0), [(0, no), (1, yes), (3, yes)]);
    let of = |members| block(HindsightConfig { members, ..config }, 1);
    assert_eq!(of(Members::Correct), [(1, yes), (3, yes)]);
    assert_eq!(of(Members::Focal), [(1, yes)]);
    assert_eq!(of(Members::Others), [(0, no), (3, yes)]);
    let strict = block(HindsightConfig { threshold: 0.5, ..config }, 0);
    assert_eq!(strict, [(0, no), (1, no), (3, yes)]);
    let silent = block(HindsightConfig { labels: Labels::None, ..config }, 0);
    assert_eq!(silent, [(0, None), (1, None), (3, None)]);
    // Shuffled labels are the same labels, on some stream in another order, and the same for the
    // same stream.
    let shuffled = |step| {
        let config = HindsightConfig { labels: Labels::Shuffled, ..config };
        hindsight(&config, &f1, 0, stream.at_step(step))
    };
    assert_eq!(shuffled(3), shuffled(3));
    let n_correct = |it: &[(usize, Option<bool>)]| it.iter().filter(|it| it.1 == yes).count();
    assert!((0..9).all(|it| n_correct(&shuffled(it)) == 2));
    assert!((0..9).any(|it| shuffled(it) != block(config, 0)));
    assert_eq!(hindsight(&config, &[None], 0, stream), []);
}
