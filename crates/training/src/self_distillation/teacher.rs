//! Teacher of the self-distillation: one forward pass over the texts of an update, with shared
//! prefixes.
//!
//! Trajectories of one question have the same prompt and often the same hindsight block, and where
//! they were sampled alike their texts are alike further on. Within a micro-batch, a common prefix
//! is computed once, and texts of one question stay together, unless they alone exceed a
//! micro-batch. Nothing is computed after the last distilled token, and the last layer at the
//! distilled tokens only.
//!
//! What is kept is the teacher's final hidden states, a row a distilled token: a vocabulary is
//! wide, so logits are made where they are compared.

use burn::tensor::Tensor;
use forage_model::{Decoder, PackedSequences, parallel};
use forage_trajectory::TokenId;

use super::target::{DistillationTarget, TeacherText};
use crate::micro_batch::indices;
use crate::sample::Sample;

/// Final hidden states of the teacher at the distilled tokens of an update.
#[derive(Debug, Clone)]
pub struct Teacher<'a> {
    decoder: &'a Decoder,
    /// Final hidden states, `[R, D]`, without a graph.
    hidden_rd: Tensor<2>,
    /// For each sample, the rows of its distilled tokens.
    rows: Vec<Vec<i64>>,
}

/// Text that the teacher reads.
#[derive(Debug, Clone, Copy)]
struct Reading<'a> {
    tokens: &'a [TokenId],
    /// Positions of the distilled tokens.
    at: &'a [usize],
    /// Prompt, with which the text begins.
    prompt: &'a [TokenId],
}

impl<'a> Teacher<'a> {
    /// Forward pass over the distillation targets of some samples, in micro-batches of at most
    /// `limit` tokens, with the weights of `decoder`. `None` where there is no target. On return
    /// the pass is over, also on a device that computes asynchronously.
    pub fn read(decoder: &'a Decoder, samples: &[&Sample], limit: usize) -> Option<Self> {
        let readings: Vec<Reading<'_>> = targets(samples)
            .flat_map(|(sample, target)| readings(samples[sample], target))
            .collect();
        if readings.is_empty() {
            return None;
        }
        let batches = batches(&readings, limit);
        let hidden = parallel::map_on(decoder.device(), batches.clone(), |batch| {
            let some: Vec<(&[TokenId], &[usize])> =
                batch.iter().map(|&idx| (readings[idx].tokens, readings[idx].at)).collect();
            decoder.hidden_states_no_grad(&PackedSequences::with_shared_prefixes(&some))
        });
        decoder.device().sync().expect("a device that computes");
        // The rows of each text.
        let mut of_texts = vec![0..0; readings.len()];
        let mut end = 0;
        for idx in batches.into_iter().flatten() {
            of_texts[idx] = end..end + readings[idx].at.len() as i64;
            end = of_texts[idx].end;
        }
        let mut rows = vec![Vec::new(); samples.len()];
        let mut of_texts = of_texts.into_iter();
        for (sample, target) in targets(samples) {
            rows[sample] = of_texts.by_ref().take(target.texts.len()).flatten().collect();
        }
        Some(Self { decoder, hidden_rd: Tensor::cat(hidden, 0), rows })
    }

    /// Logits at the distilled tokens of some of the samples, end to end: `[Q, V]`, without a
    /// graph. `None` where none of them is distilled.
    pub fn logits(&self, samples: &[usize]) -> Option<Tensor<2>> {
        let rows: Vec<i64> =
            samples.iter().flat_map(|&sample| &self.rows[sample]).copied().collect();
        (!rows.is_empty()).then(|| {
            let rows = indices(rows, self.decoder.device());
            self.decoder.logits(self.hidden_rd.clone().select(0, rows))
        })
    }
}

/// Distillation targets, with the indices of their samples.
fn targets<'a>(samples: &[&'a Sample]) -> impl Iterator<Item = (usize, &'a DistillationTarget)> {
    let target = |(idx, sample): (usize, &&'a Sample)| Some((idx, sample.distillation.as_ref()?));
    samples.iter().enumerate().filter_map(target)
}

/// Texts of a target. What comes before the first trained token is the prompt.
fn readings<'a>(
    sample: &'a Sample,
    target: &'a DistillationTarget,
) -> impl Iterator<Item = Reading<'a>> {
    let prompt = &sample.tokens[..sample.targets.first().map_or(0, |at| *at)];
    let reading =
        move |text: &'a TeacherText| Reading { tokens: &text.tokens, at: &text.at, prompt };
    target.texts.iter().map(reading)
}

/// Splits texts into micro-batches of at most `limit` tokens, counting common prefixes once; a text
/// that is longer is one by itself. Texts of one prompt are in the same micro-batch where it can
/// hold them.
fn batches(readings: &[Reading<'_>], limit: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..readings.len()).collect();
    // Next to a text stand those that it shares most with.
    order.sort_by(|&a, &b| readings[b].tokens.cmp(readings[a].tokens));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut filled = 0;
    for question in order.chunk_by(|&a, &b| readings[a].prompt == readings[b].prompt) {
        let mut last: &[TokenId] = &[];
        let fresh: Vec<usize> = question
            .iter()
            .map(|&idx| {
                let tokens = readings[idx].tokens;
                let both = tokens.iter().zip(last);
                last = tokens;
                tokens.len() - both.take_while(|(one, other)| one == other).count()
            })
            .collect();
        if batches.is_empty() || filled + fresh.iter().sum::<usize>() > limit {
            batches.push(Vec::new());
            filled = 0;
        }
        for (&idx, fresh) in question.iter().zip(fresh) {
            let batch = batches.last_mut().expect("there is one");
            if batch.is_empty() || fresh == 0 || filled + fresh <= limit {
                batch.push(idx);
                filled += fresh;
            } else {
                batches.push(vec![idx]);
                filled = readings[idx].tokens.len();
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use forage_model::numbers;

    use super::*;
    use crate::gradient::tests::decoder;
    use crate::micro_batch::{ScoredTargets, packed};

    fn text(tokens: &[TokenId], at: &[usize]) -> TeacherText {
        TeacherText { tokens: tokens.to_vec(), at: at.to_vec() }
    }

    #[test]
    fn texts_of_a_question_are_read_together() {
        let texts: [&[TokenId]; 7] = [
            &[1, 2, 3, 7],
            &[1, 2, 9, 9],
            &[1, 2, 3, 4, 5],
            &[8, 2, 3],
            &[1, 2, 3, 4, 5],
            &[8, 2, 3, 4],
            &[1, 2, 3],
        ];
        let readings = texts.map(|tokens| Reading { tokens, at: &[1], prompt: &tokens[..2] });
        let batches = |limit| batches(&readings, limit);
        assert_eq!(batches(100), [[5, 3, 1, 0, 2, 4, 6]]);
        assert_eq!(batches(12), [[5, 3, 1, 0, 2, 4, 6]], "4 tokens, and 4 + 2 + 2 more");
        assert_eq!(batches(11), [vec![5, 3], vec![1, 0, 2, 4, 6]]);
        assert_eq!(batches(7), [vec![5, 3], vec![1, 0], vec![2, 4, 6]], "cut as it must be");
        assert_eq!(batches(1), [vec![5, 3], vec![1], vec![0], vec![2, 4, 6]], "no text fits");
    }

    #[test]
    fn texts_that_are_read_together_say_what_each_says_by_itself() {
        let targets = [
            vec![text(&[1, 2, 3, 4, 5, 6, 7], &[2, 6])],
            vec![text(&[1, 2, 3, 4, 5], &[1, 4]), text(&[1, 2, 8], &[1])],
            vec![text(&[9, 2, 3, 4, 5], &[3])],
            vec![text(&[1, 2, 3, 4, 5], &[1, 4])],
        ];
        let sample = |texts: Vec<TeacherText>| {
            let tokens = texts[0].tokens.clone();
            let distillation = Some(DistillationTarget { texts, ..DistillationTarget::default() });
            Sample { tokens, targets: vec![2], distillation, ..Sample::default() }
        };
        let mut samples: Vec<Sample> = targets.into_iter().map(sample).collect();
        samples.insert(2, Sample::default());
        let samples: Vec<&Sample> = samples.iter().collect();
        let decoder = decoder();
        for limit in [1, 6, 100] {
            let teacher = Teacher::read(&decoder, &samples, limit).unwrap();
            for (idx, sample) in samples.iter().enumerate() {
                let Some(target) = &sample.distillation else {
                    assert!(teacher.logits(&[idx]).is_none());
                    continue;
                };
                let alone = |it: &TeacherText| {
                    let asked = ScoredTargets { tokens: &it.tokens, at: &it.at };
                    numbers(&decoder.logits(decoder.hidden_states(&packed(&[asked]))))
                };
                let alone: Vec<f32> = target.texts.iter().flat_map(alone).collect();
                let together = numbers(&teacher.logits(&[idx]).unwrap());
                assert_eq!(alone.len(), together.len());
                for (one, other) in alone.iter().zip(&together) {
                    assert!((one - other).abs() < 1e-5, "{one} {other}");
                }
            }
        }
        assert!(Teacher::read(&decoder, &[&Sample::default()], 10).is_none());
    }
}
