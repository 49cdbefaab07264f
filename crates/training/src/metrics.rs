//! Metrics of a step: one row of `metrics.jsonl`, with stable names.
//!
//! [`StepMetrics`] is the row. A number that a step does not have is absent: the mean reward where
//! nothing was scored, or the loss where every update was skipped. Two kinds are 0 instead: means
//! over the trained tokens in a step without any, which `policy/trained_tokens` tells, and alarms
//! that are shares of nothing, which `outcome/answered` and `rollout/searches` tell.

use std::collections::{BTreeMap, BTreeSet};

use forage_optimizer::{AlgorithmConfig, Ppo, Surrogate};
use forage_reward_sdk::text::exact_match;
use forage_trajectory::statistics::{mean, standard_deviation};
use forage_trajectory::{Grade, Group, Outcome, Question, Trajectory};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::batch::Batch;
use crate::config::TrainingSection;
use crate::loss_stats::LossStats;
use crate::record::Evaluation;
use crate::rollout_step::{RolloutBatch, has_variance};
use crate::statistics::{differ, share};
use crate::update::{CriticStats, UpdateStats};

/// Metrics of a step of reinforcement learning: a row of `metrics.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct StepMetrics {
    /// Training steps taken.
    pub step: u64,
    /// Rewards and trajectories.
    #[serde(flatten)]
    pub rollout: Option<RolloutMetrics>,
    /// Dynamic sampling, importance correction and self-distillation.
    #[serde(flatten)]
    pub sampling: SamplingMetrics,
    /// Loss, optimizer, policy and critic.
    #[serde(flatten)]
    pub update: Option<UpdateMetrics>,
    /// Updates of the run so far that were not finite and therefore skipped.
    #[serde(rename = "train/skipped", skip_serializing_if = "Option::is_none")]
    pub skipped: Option<u64>,
    /// Evaluation on the dev questions, in the steps that have one.
    #[serde(flatten)]
    pub evaluation: Option<EvaluationMetrics>,
    /// Alarms.
    #[serde(flatten)]
    pub alarms: Option<AlarmMetrics>,
}

/// Metrics of a step of the warm start: a row of its `metrics.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct SftMetrics {
    /// Optimizer steps taken.
    pub step: u64,
    /// Cross-entropy of the trained tokens, in nats.
    #[serde(rename = "loss/imitation")]
    pub loss: f64,
    /// Norm of the gradient before clipping.
    #[serde(rename = "loss/grad_norm")]
    pub grad_norm: f64,
    /// Learning rate.
    #[serde(rename = "sft/lr")]
    pub lr: f64,
    /// Tokens of the sequences, trained or not.
    #[serde(rename = "sft/tokens")]
    pub n_tokens: usize,
    /// Evaluation on the dev questions, in the steps that have one.
    #[serde(flatten)]
    pub evaluation: Option<EvaluationMetrics>,
}

/// Durations of a step: a row of `timings.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct StepTimings {
    /// Steps taken.
    pub step: u64,
    /// Sampling and grading trajectories.
    #[serde(rename = "seconds/rollout", skip_serializing_if = "Option::is_none")]
    pub rollout: Option<f64>,
    /// Batch and updates.
    #[serde(rename = "seconds/update", skip_serializing_if = "Option::is_none")]
    pub update: Option<f64>,
    /// Whole step.
    #[serde(rename = "seconds/step")]
    pub step_seconds: f64,
    /// Teacher's forward passes, with self-distillation.
    #[serde(rename = "seconds/teacher", skip_serializing_if = "Option::is_none")]
    pub teacher: Option<f64>,
}

/// Metrics with names that are known only at run time, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NamedNumbers(pub Vec<(String, f64)>);

impl Serialize for NamedNumbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, number) in &self.0 {
            map.serialize_entry(name, number)?;
        }
        map.end()
    }
}

/// Metrics of a rollout and its grades: `reward/…`, `groups/…`, `rollout/…`, `outcome/…`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct RolloutMetrics {
    /// Mean reward of the scored trajectories.
    #[serde(rename = "reward/mean", skip_serializing_if = "Option::is_none")]
    pub reward_mean: Option<f64>,
    /// Standard deviation of the rewards over all scored trajectories.
    #[serde(rename = "reward/std", skip_serializing_if = "Option::is_none")]
    pub reward_std: Option<f64>,
    /// Of each part of a reward: its mean `reward/NAME/PART`, its standard deviation over all
    /// trajectories `reward_std/NAME/PART`, and the share of groups that differ in it
    /// `reward_varied/NAME/PART`.
    #[serde(flatten)]
    pub parts: NamedNumbers,
    /// Trajectories whose reward could not be computed.
    #[serde(rename = "reward/failed")]
    pub n_failed: usize,
    /// Trajectories whose question no reward applies to; absent where there is none.
    #[serde(rename = "reward/not_applicable", skip_serializing_if = "Option::is_none")]
    pub n_not_applicable: Option<usize>,
    /// Of each reward that does not apply to some question: the number of its trajectories,
    /// `reward_not_applicable/NAME`.
    #[serde(flatten)]
    pub not_applicable: NamedNumbers,
    /// Share of groups whose rewards do not differ.
    #[serde(rename = "groups/zero_variance")]
    pub zero_variance: f64,
    /// Executed searches a trajectory.
    #[serde(rename = "rollout/searches")]
    pub searches: f64,
    /// Tokens that the policy sampled, a trajectory.
    #[serde(rename = "rollout/policy_tokens")]
    pub policy_tokens: f64,
    /// Tokens a trajectory.
    #[serde(rename = "rollout/tokens")]
    pub tokens: f64,
    /// Shares of the outcomes.
    #[serde(flatten)]
    pub outcomes: OutcomeShares,
    /// Mean recall of the gold passages, over trajectories whose question names any.
    #[serde(rename = "rollout/gold_retrieved", skip_serializing_if = "Option::is_none")]
    pub gold_retrieved: Option<f64>,
    /// Mean log-probability of the tokens of trajectories with a right answer, as sampled.
    #[serde(rename = "policy/correct_logprob", skip_serializing_if = "Option::is_none")]
    pub correct_logprob: Option<f64>,
}

/// Shares of the outcomes of a step's trajectories.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct OutcomeShares {
    /// Ended by an answer.
    #[serde(rename = "outcome/answered")]
    pub answered: f64,
    /// Ended the last turn without an action.
    #[serde(rename = "outcome/no_answer")]
    pub no_answer: f64,
    /// Last turn was neither a search nor an answer.
    #[serde(rename = "outcome/malformed")]
    pub malformed: f64,
    /// Ran out of tokens.
    #[serde(rename = "outcome/over_length")]
    pub over_length: f64,
    /// Ran out of turns.
    #[serde(rename = "outcome/out_of_turns")]
    pub out_of_turns: f64,
    /// Ended by a search that could not be made.
    #[serde(rename = "outcome/failed")]
    pub failed: f64,
}

/// Metrics of dynamic sampling, importance correction and self-distillation, each where it is
/// configured.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct SamplingMetrics {
    /// Groups that dynamic sampling added.
    #[serde(rename = "groups/extra", skip_serializing_if = "Option::is_none")]
    pub n_extra_groups: Option<usize>,
    /// Groups that are trained.
    #[serde(rename = "groups/trained", skip_serializing_if = "Option::is_none")]
    pub n_trained_groups: Option<usize>,
    /// Trajectories that the importance correction rejected.
    #[serde(rename = "rollout/rejected", skip_serializing_if = "Option::is_none")]
    pub n_rejected: Option<usize>,
    /// Trajectories that are too long to be distilled.
    #[serde(rename = "distillation/too_long", skip_serializing_if = "Option::is_none")]
    pub n_too_long: Option<usize>,
}

/// Metrics of the updates of a step: `loss/…`, `optimizer/…`, `policy/…`, `rollout/mismatch…`,
/// `distillation/…`, `grad_norm/…`, `critic/…`.
///
/// Where a step is several updates, losses and norms are their means, and the mismatch is that of
/// the first, in which the weights are those that sampled.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct UpdateMetrics {
    /// Loss of the surrogate.
    #[serde(rename = "loss/policy", skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Norm of the gradient before clipping.
    #[serde(rename = "loss/grad_norm", skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Learning rate of the policy.
    #[serde(rename = "optimizer/lr")]
    pub lr: f64,
    /// Entropy of the policy at the trained tokens, in nats.
    #[serde(rename = "policy/entropy")]
    pub entropy: f64,
    /// Share of the trained tokens that the clip keeps from moving.
    #[serde(rename = "policy/clip_fraction")]
    pub clip_fraction: f64,
    /// Trained tokens, summed over the updates.
    #[serde(rename = "policy/trained_tokens")]
    pub n_trained_tokens: usize,
    /// Mean |training - rollout| of the log-probabilities.
    #[serde(rename = "rollout/mismatch", skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<f64>,
    /// k3 estimate of KL(rollout || training).
    #[serde(rename = "rollout/mismatch_kl", skip_serializing_if = "Option::is_none")]
    pub mismatch_kl: Option<f64>,
    /// Largest |training - rollout| of the log-probabilities.
    #[serde(rename = "rollout/mismatch_max", skip_serializing_if = "Option::is_none")]
    pub mismatch_max: Option<f64>,
    /// Smallest importance ratio.
    #[serde(rename = "policy/ratio_min", skip_serializing_if = "Option::is_none")]
    pub ratio_min: Option<f64>,
    /// Largest importance ratio.
    #[serde(rename = "policy/ratio_max", skip_serializing_if = "Option::is_none")]
    pub ratio_max: Option<f64>,
    /// k1 estimate of KL(old || new).
    #[serde(rename = "policy/update_kl")]
    pub update_kl: f64,
    /// Share of the trained tokens that the dual clip keeps from moving.
    #[serde(rename = "policy/dual_clip_fraction", skip_serializing_if = "Option::is_none")]
    pub dual_clip_fraction: Option<f64>,
    /// k3 estimate of KL(policy || reference).
    #[serde(rename = "policy/reference_kl", skip_serializing_if = "Option::is_none")]
    pub reference_kl: Option<f64>,
    /// LLDS regularizer.
    #[serde(rename = "loss/llds", skip_serializing_if = "Option::is_none")]
    pub llds: Option<f64>,
    /// Divergence of the student from its teacher.
    #[serde(rename = "loss/distillation", skip_serializing_if = "Option::is_none")]
    pub distillation: Option<f64>,
    /// Distilled tokens.
    #[serde(rename = "distillation/tokens", skip_serializing_if = "Option::is_none")]
    pub n_distilled: Option<usize>,
    /// Entropy of the student less that of its teacher, in nats.
    #[serde(rename = "distillation/entropy_gap", skip_serializing_if = "Option::is_none")]
    pub entropy_gap: Option<f64>,
    /// Mean log-probability that the teacher gives to the distilled tokens less that of the student,
    /// correct trajectories less incorrect ones, in nats: above 0 where the teacher tells them apart.
    #[serde(rename = "distillation/contrast", skip_serializing_if = "Option::is_none")]
    pub contrast: Option<f64>,
    /// Norms of the gradient by part of the model: `grad_norm/PART`.
    #[serde(flatten)]
    pub norms_by_part: NamedNumbers,
    /// Critic, where there is one.
    #[serde(flatten)]
    pub critic: Option<CriticMetrics>,
}

/// Metrics of the critic's updates.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct CriticMetrics {
    /// Value loss.
    #[serde(rename = "critic/loss", skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Share of the positions at which the clipped value was the worse one.
    #[serde(rename = "critic/clip_fraction", skip_serializing_if = "Option::is_none")]
    pub clip_fraction: Option<f64>,
    /// Norm of the gradient before clipping.
    #[serde(rename = "critic/grad_norm", skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// 1 - Var(return - value) / Var(return), before the first update.
    #[serde(rename = "critic/explained_variance")]
    pub explained_variance: f64,
    /// Learning rate of the critic.
    #[serde(rename = "critic/lr")]
    pub lr: f64,
}

/// Metrics of an evaluation on the dev questions: `eval/greedy/{em,f1,searches}`, and the same by
/// number of hops with `/HOPS` behind. Where there are any, also `eval/greedy/failed` and
/// `eval/greedy/prompt_too_long`, the numbers of questions that are in no mean.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EvaluationMetrics {
    /// Exact match over all questions; `None` where the evaluation has no row `all`.
    pub exact_match: Option<f64>,
    rows: NamedNumbers,
}

/// Metrics that warn of rewards which are earned otherwise than by answers: `alarm/…`.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct AlarmMetrics {
    /// Share of answers that are copied from what was retrieved, without a thought.
    #[serde(rename = "alarm/copied_answers")]
    pub copied_answers: f64,
    /// Share of right answers that came without a search.
    #[serde(rename = "alarm/unsearched")]
    pub unsearched: f64,
    /// Share of searches whose query its trajectory had asked before.
    #[serde(rename = "alarm/repeated_queries")]
    pub repeated_queries: f64,
    /// Share of answers with tags of the protocol inside.
    #[serde(rename = "alarm/tagged_answers")]
    pub tagged_answers: f64,
    /// Rise of the mean reward over the last evaluations where exact match did not rise; in the
    /// steps that have an evaluation.
    #[serde(rename = "alarm/reward_without_em", skip_serializing_if = "Option::is_none")]
    pub reward_without_em: Option<f64>,
}

impl Serialize for EvaluationMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.rows.serialize(serializer)
    }
}

impl EvaluationMetrics {
    /// Metrics of an evaluation.
    pub fn of(evaluation: &Evaluation) -> Self {
        let mut rows = NamedNumbers::default();
        let mut exact_match = None;
        for row in &evaluation.rows {
            let is_all = row.name == "all";
            let suffix = if is_all { String::new() } else { format!("/{}", row.name) };
            if is_all {
                exact_match = Some(row.em.mean);
            }
            rows.0.push((format!("eval/greedy/em{suffix}"), row.em.mean));
            rows.0.push((format!("eval/greedy/f1{suffix}"), row.f1.mean));
            rows.0.push((format!("eval/greedy/searches{suffix}"), row.searches));
            if row.failed > 0 {
                rows.0.push((format!("eval/greedy/failed{suffix}"), row.failed as f64));
            }
            if row.prompt_too_long > 0 {
                let name = format!("eval/greedy/prompt_too_long{suffix}");
                rows.0.push((name, row.prompt_too_long as f64));
            }
        }
        Self { exact_match, rows }
    }
}

impl RolloutMetrics {
    /// Metrics of some groups and their grades. `names` are those of the rewards that a grade
    /// is made of, as [`Grader::names`](forage_trajectory::Grader::names) gives them.
    pub fn of(groups: &[Group], grades: &[Vec<Grade>], names: &[String]) -> Self {
        let trajectories: Vec<&Trajectory> =
            groups.iter().flat_map(|group| &group.trajectories).collect();
        let rewards: Vec<f64> = grades.iter().flatten().filter_map(Grade::reward).collect();
        let per_trajectory = |count: fn(&Trajectory) -> usize| {
            share(trajectories.iter().map(|trajectory| count(trajectory)).sum(), trajectories.len())
        };
        let is_failed = |grade: &&Grade| matches!(grade, Grade::Failed(_));
        let is_inapplicable = |grade: &&Grade| matches!(grade, Grade::NotApplicable);
        let n_not_applicable = grades.iter().flatten().filter(is_inapplicable).count();
        let zero_variance = grades.iter().filter(|group| !has_variance(group)).count();
        Self {
            reward_mean: of_some(&rewards, mean),
            reward_std: of_some(&rewards, standard_deviation),
            parts: parts(grades),
            n_failed: grades.iter().flatten().filter(is_failed).count(),
            n_not_applicable: Some(n_not_applicable).filter(|count| *count > 0),
            not_applicable: not_applicable(grades, names),
            zero_variance: share(zero_variance, grades.len()),
            searches: per_trajectory(|trajectory| trajectory.searches.len()),
            policy_tokens: per_trajectory(Trajectory::n_policy_tokens),
            tokens: per_trajectory(|trajectory| trajectory.tokens.len()),
            outcomes: OutcomeShares::of(&trajectories),
            gold_retrieved: of_some(&recalls(groups), mean),
            correct_logprob: of_some(&correct_logprobs(groups), mean),
        }
    }
}

impl OutcomeShares {
    fn of(trajectories: &[&Trajectory]) -> Self {
        let mut shares = Self::default();
        let mut counts = [0; 6];
        for trajectory in trajectories {
            counts[match trajectory.outcome {
                Outcome::Answered => 0,
                Outcome::NoAnswer => 1,
                Outcome::Malformed => 2,
                Outcome::OverLength => 3,
                Outcome::OutOfTurns => 4,
                Outcome::Failed(_) => 5,
            }] += 1;
        }
        let fields = [
            &mut shares.answered,
            &mut shares.no_answer,
            &mut shares.malformed,
            &mut shares.over_length,
            &mut shares.out_of_turns,
            &mut shares.failed,
        ];
        for (field, count) in fields.into_iter().zip(counts) {
            *field = share(count, trajectories.len());
        }
        shares
    }
}

impl SamplingMetrics {
    /// Metrics of a rollout and the batch that was made of it.
    pub fn of(
        algorithm: &AlgorithmConfig,
        training: &TrainingSection,
        rollout: &RolloutBatch,
        batch: &Batch,
    ) -> Self {
        let is_dynamic = training.extra_groups > 0;
        Self {
            n_extra_groups: is_dynamic.then_some(rollout.n_extra),
            n_trained_groups: is_dynamic.then_some(batch.groups.len()),
            n_rejected: algorithm.correction.as_ref().map(|_| batch.n_rejected),
            n_too_long: batch.is_distilled.then_some(batch.n_too_long),
        }
    }
}

impl UpdateMetrics {
    /// Metrics of the updates of a step.
    pub fn of(algorithm: &AlgorithmConfig, stats: &UpdateStats) -> Self {
        let UpdateStats { sums, first, .. } = stats;
        let n_updates = stats.norms.len().max(1) as f64;
        let has_updates = !stats.norms.is_empty();
        // Where no token of the first update is trained, there was nothing to compare.
        let is_whole = stats.norms.len() == 1 && stats.skipped.is_empty();
        let has_first = first.n_tokens > 0 || is_whole;
        let of_first = |number: f64| has_first.then_some(number);
        let has_dual_clip =
            matches!(algorithm.loss, Surrogate::Ppo(Ppo { dual_clip: Some(_), .. }));
        let is_distilled = sums.n_distilled > 0;
        let norms = stats.norms_by_part.iter();
        Self {
            loss: of_some(&stats.losses, mean),
            grad_norm: of_some(&stats.norms, mean),
            lr: stats.lr,
            entropy: sums.mean(sums.entropy),
            clip_fraction: sums.mean(sums.n_clipped as f64),
            n_trained_tokens: sums.n_tokens,
            mismatch: of_first(first.mean_of_sampled(first.mismatch)),
            mismatch_kl: of_first(first.mean_of_sampled(first.mismatch_kl)),
            mismatch_max: of_first(first.mismatch_max),
            ratio_min: (sums.n_tokens > 0).then_some(sums.ratio_min),
            ratio_max: (sums.n_tokens > 0).then_some(sums.ratio_max),
            update_kl: sums.mean(sums.update_kl),
            dual_clip_fraction: has_dual_clip.then(|| sums.mean(sums.n_dual_clipped as f64)),
            reference_kl: algorithm.kl.as_ref().map(|_| sums.mean(sums.reference_kl)),
            llds: algorithm.llds.as_ref().filter(|_| has_updates).map(|_| sums.llds / n_updates),
            distillation: is_distilled.then(|| sums.divergence / n_updates),
            n_distilled: is_distilled.then_some(sums.n_distilled),
            entropy_gap: is_distilled.then(|| entropy_gap(sums)),
            contrast: sums.advice.contrast(),
            norms_by_part: NamedNumbers(
                norms.map(|(part, norm)| (format!("grad_norm/{part}"), norm / n_updates)).collect(),
            ),
            critic: stats.critic.as_ref().map(CriticMetrics::of),
        }
    }
}

impl CriticMetrics {
    fn of(stats: &CriticStats) -> Self {
        let CriticStats { sums, norms, lr, explained } = stats;
        let per_position = |sum: f64| (sums.n > 0).then(|| sum / sums.n as f64);
        Self {
            loss: per_position(sums.loss),
            clip_fraction: per_position(sums.n_clipped as f64),
            grad_norm: of_some(norms, mean),
            explained_variance: *explained,
            lr: *lr,
        }
    }
}

/// Statistic of some values; `None` where there is none.
fn of_some(values: &[f64], statistic: fn(&[f64]) -> f64) -> Option<f64> {
    (!values.is_empty()).then(|| statistic(values))
}

fn entropy_gap(sums: &LossStats) -> f64 {
    sums.entropy_gap / sums.n_distilled as f64
}

/// Mean, standard deviation and share of groups with variance of each part of a reward.
fn parts(grades: &[Vec<Grade>]) -> NamedNumbers {
    let mut parts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for grade in grades.iter().flatten() {
        if let Grade::Scored(score) = grade {
            for (name, value) in &score.parts {
                parts.entry(name).or_default().push(*value);
            }
        }
    }
    let mut numbers = Vec::new();
    for (name, values) in parts {
        let varied = grades.iter().filter(|group| varies(group, name)).count();
        numbers.push((format!("reward/{name}"), mean(&values)));
        numbers.push((format!("reward_std/{name}"), standard_deviation(&values)));
        numbers.push((format!("reward_varied/{name}"), share(varied, grades.len())));
    }
    NamedNumbers(numbers)
}

/// Number of trajectories that each reward does not apply to; a reward that applies to all has
/// none. The parts of a score have the name of each reward that applies.
fn not_applicable(grades: &[Vec<Grade>], rewards: &[String]) -> NamedNumbers {
    let lacks = |grade: &Grade, name: &str| match grade {
        Grade::Scored(score) => !score.parts.contains_key(name),
        Grade::NotApplicable => true,
        Grade::Failed(_) => false,
    };
    let counts = rewards.iter().map(|name| {
        let count = grades.iter().flatten().filter(|grade| lacks(grade, name)).count();
        (format!("reward_not_applicable/{name}"), count as f64)
    });
    NamedNumbers(counts.filter(|(_, count)| *count > 0.0).collect())
}

/// Whether the trajectories of a group differ in a part of the reward.
fn varies(group: &[Grade], part: &str) -> bool {
    let value = |grade: &Grade| match grade {
        Grade::Scored(score) => score.parts.get(part).copied(),
        Grade::NotApplicable | Grade::Failed(_) => None,
    };
    differ(&group.iter().filter_map(value).collect::<Vec<_>>())
}

/// Pairs of question and trajectory.
fn pairs(groups: &[Group]) -> impl Iterator<Item = (&Question, &Trajectory)> {
    groups.iter().flat_map(|group| group.trajectories.iter().map(|one| (&group.question, one)))
}

/// Recall of the gold passages of every trajectory whose question names any. A trajectory whose
/// search failed has none.
fn recalls(groups: &[Group]) -> Vec<f64> {
    pairs(groups)
        .filter(|(_, one)| !one.failed())
        .filter_map(|(question, one)| gold_retrieved(question, one))
        .collect()
}

/// Mean log-probability of every trajectory with a right answer.
fn correct_logprobs(groups: &[Group]) -> Vec<f64> {
    let is_correct = |(question, one): &(&Question, &Trajectory)| {
        let answer = one.final_answer();
        answer.is_some_and(|answer| exact_match(answer, &question.golden_answers) > 0.0)
    };
    pairs(groups).filter(is_correct).filter_map(|(_, one)| mean_logprob(one)).collect()
}

/// Share of the gold passages that the searches of a trajectory retrieved; `None` where the
/// evidence names none.
fn gold_retrieved(question: &Question, trajectory: &Trajectory) -> Option<f64> {
    let evidence = &question.evidence;
    let of_steps = evidence.steps.iter().flat_map(|step| &step.passage_ids);
    let of_evidence = evidence.passages.iter().map(|passage| &passage.id);
    let gold: BTreeSet<&str> = of_evidence.chain(of_steps).map(String::as_str).collect();
    let hits = || trajectory.searches.iter().flat_map(|search| &search.hits);
    let found: BTreeSet<&str> = hits().map(|hit| hit.id.as_str()).collect();
    // In an index of other ids, the passage has the same title and text.
    let is_found_by_text = |id: &str| {
        let of_id = evidence.passages.iter().filter(|passage| passage.id == id);
        of_id.into_iter().any(|passage| hits().any(|hit| hit.has_content_of(passage)))
    };
    let n_found = gold.iter().filter(|id| found.contains(*id) || is_found_by_text(id)).count();
    (!gold.is_empty()).then(|| share(n_found, gold.len()))
}

/// Mean log-probability of the policy's tokens, as they were sampled.
fn mean_logprob(trajectory: &Trajectory) -> Option<f64> {
    let n = trajectory.n_policy_tokens();
    // It is 0 where the environment wrote.
    let sum: f64 = trajectory.logprobs.iter().map(|logprob| f64::from(*logprob)).sum();
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
mod tests;
