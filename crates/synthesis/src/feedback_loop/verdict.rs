//! Verdict on a pair: pass@K and difficulty, from K attempts.

use forage_trajectory::Stream;
use rand::seq::IteratorRandom;
use serde::{Deserialize, Serialize};

use super::roles::{Feedback, Judgement};
use super::trace::AgentRun;

/// Attempt at a pair: a run of the agent with its judgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attempt {
    /// The run came to an end.
    Ran {
        /// The run.
        run: AgentRun,
        /// Its judgement: wrong where it has no answer.
        judgement: Judgement,
    },
    /// The run was lost, and does not count.
    Lost {
        /// The reason.
        reason: String,
    },
}

impl Attempt {
    fn ran(&self) -> Option<(&AgentRun, bool)> {
        match self {
            Self::Ran { run, judgement } => Some((run, judgement.right)),
            Self::Lost { .. } => None,
        }
    }
}

/// Verdict on a pair: correctness and difficulty.
///
/// A pair is correct if any run answered it (pass@K). Its difficulty is the fewest executed
/// searches among the right runs; wrong runs do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairVerdict {
    /// Runs that came to an end.
    pub n_runs: usize,
    /// Runs that were right.
    pub n_right: usize,
    /// Fewest searches of a right run, and the index of that run; the first of equals.
    pub shortest: Option<(usize, usize)>,
    /// Searches of all runs that came to an end.
    pub n_searches: usize,
}

impl PairVerdict {
    /// Verdict of the attempts at a pair.
    pub fn of(attempts: &[Attempt]) -> Self {
        let mut verdict = Self::default();
        for (idx, (run, right)) in
            attempts.iter().enumerate().filter_map(|(idx, attempt)| Some((idx, attempt.ran()?)))
        {
            let searches = run.trace.n_searches();
            verdict.n_runs += 1;
            verdict.n_searches += searches;
            if right {
                verdict.n_right += 1;
                if verdict.shortest.is_none_or(|(fewest, _)| searches < fewest) {
                    verdict.shortest = Some((searches, idx));
                }
            }
        }
        verdict
    }

    /// Whether any run was right (pass@K).
    pub fn is_correct(&self) -> bool {
        self.n_right > 0
    }

    /// Share of the runs that were right (Avg@K); 0 without runs.
    pub fn average(&self) -> f64 {
        self.n_right as f64 / self.n_runs.max(1) as f64
    }

    /// Fewest searches of a run that was right.
    pub fn min_steps(&self) -> Option<usize> {
        self.shortest.map(|(steps, _)| steps)
    }

    /// Whether the pair is correct and as hard as the target.
    pub fn passes(&self, target_steps: usize) -> bool {
        self.min_steps().is_some_and(|it| it >= target_steps)
    }

    /// Feedback for the generator of a pair that did not pass.
    pub fn feedback<'a>(&self, attempts: &'a [Attempt], stream: Stream) -> Feedback<'a> {
        if let Some((_, idx)) = self.shortest
            && let Some((run, _)) = attempts[idx].ran()
        {
            return Feedback::TooEasy(run);
        }
        let answered = attempts
            .iter()
            .filter_map(Attempt::ran)
            .map(|(run, _)| run)
            .filter(|run| run.answer().is_some());
        Feedback::Wrong(answered.choose(&mut stream.rng()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use forage_trajectory::Purpose;

    use super::*;
    use crate::feedback_loop::trace::{ExecutedSearch, Trace, TraceTurn};

    fn run(name: &str, steps: usize, answer: Option<&str>) -> AgentRun {
        let searched =
            TraceTurn { searched: Some(ExecutedSearch::default()), ..TraceTurn::default() };
        AgentRun {
            answer: answer.map(str::to_owned),
            trace: Trace { prompt: name.to_owned(), turns: vec![searched; steps] },
        }
    }

    fn attempts(rows: &[(bool, usize)]) -> Vec<Attempt> {
        rows.iter()
            .enumerate()
            .map(|(idx, (right, steps))| Attempt::Ran {
                run: run(&idx.to_string(), *steps, Some("x")),
                judgement: Judgement { right: *right, reply: String::new() },
            })
            .collect()
    }

    #[test]
    fn the_steps_of_a_wrong_run_are_not_used() {
        // algorithms.md 6.3.
        let attempts = attempts(&[(false, 2), (true, 5), (true, 3), (false, 7)]);
        let verdict = PairVerdict::of(&attempts);
        assert!(verdict.is_correct());
        assert!((verdict.average() - 0.5).abs() < 1e-12);
        assert_eq!(verdict.shortest, Some((3, 2)));
        assert_eq!(verdict.n_searches, 17);
        assert!(verdict.passes(3) && !verdict.passes(4));
        let stream = Stream::new(1, Purpose::Feedback);
        let Feedback::TooEasy(shown) = verdict.feedback(&attempts, stream) else {
            panic!("a correct pair is not wrong");
        };
        assert_eq!(shown.trace.prompt, "2");
    }

    #[test]
    fn a_wrong_pair_is_shown_any_run_with_an_answer() {
        let answers = [None, Some("a"), Some(" "), Some("b")];
        let mut attempts: Vec<Attempt> = answers
            .iter()
            .enumerate()
            .map(|(idx, answer)| Attempt::Ran {
                run: run(&idx.to_string(), 1, *answer),
                judgement: Judgement::default(),
            })
            .collect();
        let verdict = PairVerdict::of(&attempts);
        assert!(!verdict.is_correct() && !verdict.passes(1));
        let shown = |attempts: &[Attempt], seed| match verdict
            .feedback(attempts, Stream::new(seed, Purpose::Feedback))
        {
            Feedback::Wrong(run) => run.map(|it| it.trace.prompt.clone()),
            Feedback::TooEasy(_) => panic!("nothing was right"),
        };
        let seen: BTreeSet<_> = (0..40).filter_map(|seed| shown(&attempts, seed)).collect();
        assert_eq!(seen, BTreeSet::from(["1".to_owned(), "3".to_owned()]));
        attempts.retain(|it| it.ran().is_some_and(|(run, _)| run.answer().is_none()));
        assert_eq!(shown(&attempts, 1), None);
    }

    #[test]
    fn a_lost_run_says_nothing() {
        let mut attempts = attempts(&[(true, 4), (false, 1)]);
        attempts.push(Attempt::Lost { reason: "refused".into() });
        let verdict = PairVerdict::of(&attempts);
        assert_eq!((verdict.n_runs, verdict.n_right), (2, 1));
        let Feedback::TooEasy(shown) =
            verdict.feedback(&attempts, Stream::new(1, Purpose::Feedback))
        else {
            panic!("a run was right");
        };
        assert_eq!(shown.trace.prompt, "0");
        assert_eq!(PairVerdict::of(&attempts[2..]), PairVerdict::default());
    }
}
