//! Tables of evaluations for the terminal, by number of hops, with confidence intervals.

use std::fmt::Write as _;

use forage_training::record::{Evaluation, Interval};

/// Table of one evaluation.
pub fn of_one(evaluation: &Evaluation) -> String {
    let mut text = format!(
        "{} questions of {}, {}\n\n  hops      n   exact match            F1     searches  answered\n",
        evaluation.rows.first().map_or(0, |it| it.n),
        evaluation.questions,
        evaluation.sampling,
    );
    for row in &evaluation.rows {
        writeln!(
            text,
            "  {:<5} {:>5}   {}   {:.3}      {:.2}      {:.2}",
            row.name,
            row.n,
            with_interval(&row.em),
            row.f1.mean,
            row.searches,
            row.answered,
        )
        .expect("writing to a string");
    }
    text
}

/// Table of the exact match before and after training.
pub fn before_after(before: &Evaluation, after: &Evaluation) -> String {
    let mut text = format!(
        "held-out exact match, {} (95 % intervals)\n\n  hops      n   before                 after                  change\n",
        after.sampling
    );
    for (old, new) in before.rows.iter().zip(&after.rows) {
        writeln!(
            text,
            "  {:<5} {:>5}   {}   {}   {:+.3}",
            new.name,
            new.n,
            with_interval(&old.em),
            with_interval(&new.em),
            new.em.mean - old.em.mean,
        )
        .expect("writing to a string");
    }
    text
}

fn with_interval(it: &Interval) -> String {
    format!("{:.3} [{:.3}, {:.3}]", it.mean, it.low, it.high)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use forage_training::record::EvaluationRow;

    fn evaluation(em: f64) -> Evaluation {
        let interval = Interval { mean: em, low: em - 0.05, high: em + 0.05 };
        let row =
            EvaluationRow { name: "all".into(), n: 240, em: interval, ..EvaluationRow::default() };
        Evaluation { step: 0, sampling: "greedy".into(), questions: "test".into(), rows: vec![row] }
    }

    #[test]
    fn columns_stand_under_their_heads() {
        expect![[r"
            held-out exact match, greedy (95 % intervals)

              hops      n   before                 after                  change
              all     240   0.500 [0.450, 0.550]   0.900 [0.850, 0.950]   +0.400
        "]]
        .assert_eq(&before_after(&evaluation(0.5), &evaluation(0.9)));
    }
}
