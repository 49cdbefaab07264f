//! Mix of question shapes: how many hops, and how many comparisons.

use serde::{Deserialize, Serialize};

use crate::error::WorldError;
use crate::shape::QuestionShape;

/// Mix of question shapes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuestionMix {
    /// Numbers of hops, 1 to 4: question `i` has `hops[i % hops.len()]`. Default: 1, 2, 3, 4.
    pub hops: Vec<usize>,
    /// Share of comparisons in all questions; they take the place of chains of two hops. Default:
    /// 0.12.
    pub comparison: f64,
}

impl Default for QuestionMix {
    fn default() -> Self {
        Self { hops: vec![1, 2, 3, 4], comparison: 0.12 }
    }
}

impl QuestionMix {
    /// Checks that the mix does not contradict itself.
    pub fn check(&self) -> Result<(), WorldError> {
        if self.hops.is_empty() {
            return Err(WorldError::Mix("`hops` is empty"));
        }
        if !self.hops.iter().all(|hops| (1..=4).contains(hops)) {
            return Err(WorldError::Mix("`hops` may hold 1 to 4"));
        }
        let two_hops = self.share_of_two_hops();
        if !(0.0..=two_hops).contains(&self.comparison) {
            return Err(WorldError::Mix("`comparison` exceeds the share of two hops in `hops`"));
        }
        Ok(())
    }

    /// Shape of a question, spread evenly: a function of its index alone.
    pub fn shape(&self, index: usize) -> QuestionShape {
        let hops = self.hops[index % self.hops.len()];
        if hops == 2 {
            let in_cycle = |upto: usize| self.hops[..upto].iter().filter(|it| **it == 2).count();
            let n_two_hops = index / self.hops.len() * in_cycle(self.hops.len())
                + in_cycle(index % self.hops.len());
            let share = self.comparison / self.share_of_two_hops();
            // The tiny excess keeps a share of exactly 1 from rounding down.
            let n_comparisons = |n: usize| (n as f64).mul_add(share, 1e-9) as usize;
            if n_comparisons(n_two_hops + 1) > n_comparisons(n_two_hops) {
                return QuestionShape::Comparison;
            }
        }
        QuestionShape::Bridge { hops }
    }

    fn share_of_two_hops(&self) -> f64 {
        self.hops.iter().filter(|it| **it == 2).count() as f64 / self.hops.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_that_contradict_themselves_are_refused() {
        for (hops, comparison, fine) in [
            (vec![1, 2, 3, 4], 0.25, true),
            (vec![1, 2, 3, 4], 0.26, false),
            (vec![2], 1.0, true),
            (vec![1], 0.0, true),
            (vec![1], 0.1, false),
            (vec![], 0.0, false),
            (vec![5], 0.0, false),
            (vec![2], f64::NAN, false),
        ] {
            let mix = QuestionMix { hops, comparison };
            assert_eq!(mix.check().is_ok(), fine, "{mix:?}");
        }
    }

    #[test]
    fn comparisons_have_their_share_of_every_prefix() {
        for comparison in [0.0, 0.12, 0.2, 0.25] {
            let mix = QuestionMix { comparison, ..QuestionMix::default() };
            let mut n_comparisons = 0;
            for index in 0..1000 {
                match mix.shape(index) {
                    QuestionShape::Bridge { hops } => assert_eq!(hops, 1 + index % 4),
                    QuestionShape::Comparison => {
                        assert_eq!(index % 4, 1);
                        n_comparisons += 1;
                    }
                }
                let due = comparison * (index + 1) as f64;
                assert!((f64::from(n_comparisons) - due).abs() <= 1.5, "{comparison} {index}");
            }
        }
    }
}
