//! The teacher's pass: what it sees at the taught tokens of an update, each text read once.
//!
//! Trajectories of one question have the same block before them, so where they were sampled alike
//! their lessons are alike, and where one searched on, its lesson begins with that of the other.
//! A lesson that begins another one is heard while that is read. What is kept is the teacher's
//! final hidden states, a row a taught token: a vocabulary is wide, so its logits are made where
//! they are compared.

use burn::tensor::Tensor;
use forage_model::{Decoder, parallel};
use forage_trajectory::TokenId;

use super::Lesson;
use crate::learner::Sample;
use crate::micro_batch::{Asked, cut, indices, packed};

/// What the teacher sees in an update.
#[derive(Debug, Clone)]
pub struct Teacher<'a> {
    decoder: &'a Decoder,
    /// Final hidden states, `[R, D]`, without a graph.
    hidden_rd: Tensor<2>,
    /// For each sample, the rows of its taught tokens.
    rows: Vec<Vec<i64>>,
}

/// A text that the teacher reads.
struct Reading<'a> {
    tokens: &'a [TokenId],
    /// Positions that any of its lessons is about, ascending.
    at: Vec<usize>,
    /// The samples whose lessons it holds.
    samples: Vec<usize>,
}

impl<'a> Teacher<'a> {
    /// Reads the lessons of some samples in micro-batches of at most `limit` tokens, with the
    /// weights of `decoder`. `None` where there is no lesson.
    pub fn read(decoder: &'a Decoder, samples: &[&Sample], limit: usize) -> Option<Self> {
        let lessons: Vec<Option<&Lesson>> = samples.iter().map(|it| it.lesson.as_ref()).collect();
        let readings = readings(&lessons);
        let asked: Vec<Asked<'_>> =
            readings.iter().map(|it| Asked { tokens: it.tokens, at: &it.at }).collect();
        let batches = cut(&asked, limit);
        let hidden = parallel::map_on(decoder.device(), batches.clone(), |batch| {
            let some: Vec<Asked<'_>> = batch.iter().map(|&idx| asked[idx]).collect();
            decoder.hidden(&packed(&some)).inner()
        });
        if hidden.is_empty() {
            return None;
        }
        let mut rows = vec![Vec::new(); samples.len()];
        let mut first = 0;
        for reading in batches.into_iter().flatten().map(|it| &readings[it]) {
            for &sample in &reading.samples {
                let at = lessons[sample].iter().flat_map(|it| &it.at);
                let row = |at| reading.at.binary_search(at).expect("it is asked about");
                rows[sample] = at.map(|it| (first + row(it)) as i64).collect();
            }
            first += reading.at.len();
        }
        Some(Self { decoder, hidden_rd: Tensor::cat(hidden, 0), rows })
    }

    /// Its logits at the taught tokens of some of the samples, end to end: `[Q, V]`, without a
    /// graph. `None` where none of them is taught.
    pub fn logits(&self, samples: &[usize]) -> Option<Tensor<2>> {
        let rows: Vec<i64> = samples.iter().flat_map(|&it| &self.rows[it]).copied().collect();
        (!rows.is_empty()).then(|| {
            let rows = indices(rows, self.decoder.device());
            self.decoder.logits(self.hidden_rd.clone().select(0, rows))
        })
    }
}

/// The texts that hold all lessons, none of them the beginning of another.
fn readings<'a>(lessons: &[Option<&'a Lesson>]) -> Vec<Reading<'a>> {
    let mut order: Vec<(&'a Lesson, usize)> =
        lessons.iter().enumerate().filter_map(|(idx, it)| it.map(|it| (it, idx))).collect();
    // Descending: between a text and its beginning stand only texts that begin alike.
    order.sort_by(|(a, _), (b, _)| b.tokens.cmp(&a.tokens));
    let mut readings: Vec<Reading<'a>> = Vec::new();
    for (lesson, sample) in order {
        match readings.last_mut() {
            Some(reading) if reading.tokens.starts_with(&lesson.tokens) => {
                reading.at.extend(&lesson.at);
                reading.samples.push(sample);
            }
            _ => readings.push(Reading {
                tokens: &lesson.tokens,
                at: lesson.at.clone(),
                samples: vec![sample],
            }),
        }
    }
    for reading in &mut readings {
        reading.at.sort_unstable();
        reading.at.dedup();
    }
    readings
}

#[cfg(test)]
mod tests {
    use forage_model::numbers;

    use super::*;
    use crate::learner::tests::decoder;

    fn lesson(tokens: &[TokenId], at: &[usize]) -> Lesson {
        Lesson { tokens: tokens.to_vec(), at: at.to_vec(), taught: (0..at.len()).collect() }
    }

    #[test]
    fn what_begins_another_text_is_not_read_again() {
        let lessons = [
            lesson(&[1, 2, 3], &[2]),
            lesson(&[1, 2, 3, 4, 5], &[1, 4]),
            lesson(&[1, 2, 9], &[2]),
            lesson(&[1, 2, 3], &[1, 2]),
            lesson(&[1, 2, 3, 5], &[3]),
        ];
        let mut all: Vec<Option<&Lesson>> = lessons.iter().map(Some).collect();
        all.insert(1, None);
        let found: Vec<(&[TokenId], &[usize], &[usize])> = vec![
            (&[1, 2, 9], &[2], &[3]),
            (&[1, 2, 3, 5], &[3], &[5]),
            (&[1, 2, 3, 4, 5], &[1, 2, 4], &[2, 0, 4]),
        ];
        let readings = readings(&all);
        let readings: Vec<(&[TokenId], &[usize], &[usize])> = readings
            .iter()
            .map(|it| (it.tokens, it.at.as_slice(), it.samples.as_slice()))
            .collect();
        assert_eq!(readings, found);
    }
    #[test]
    fn texts_that_are_read_together_say_what_each_says_by_itself() {
        let lessons = [
            lesson(&[1, 2, 3, 4, 5, 6, 7], &[2, 6]),
            lesson(&[1, 2, 3, 4, 5], &[1, 4]),
            lesson(&[9, 2, 3, 4, 5], &[3]),
            lesson(&[1, 2, 3, 4, 5], &[1, 4]),
        ];
        let mut samples: Vec<Sample> = lessons
            .into_iter()
            .map(|it| Sample { lesson: Some(it), ..Sample::default() })
            .collect();
        samples.insert(2, Sample::default());
        let samples: Vec<&Sample> = samples.iter().collect();
        let decoder = decoder();
        for limit in [1, 100] {
            let teacher = Teacher::read(&decoder, &samples, limit).unwrap();
            assert_eq!(teacher.hidden_rd.dims()[0], 5, "each place of each text once");
            for (idx, sample) in samples.iter().enumerate() {
                let Some(lesson) = &sample.lesson else {
                    assert!(teacher.logits(&[idx]).is_none());
                    continue;
                };
                let asked = Asked { tokens: &lesson.tokens, at: &lesson.at };
                let alone = decoder.logits(decoder.hidden(&packed(&[asked])));
                let together = teacher.logits(&[idx]).unwrap();
                for (one, other) in numbers(&alone).iter().zip(numbers(&together)) {
                    assert!((one - other).abs() < 1e-5, "{one} {other}");
                }
            }
        }
        assert!(Teacher::read(&decoder, &[&Sample::default()], 10).is_none());
    }
}
