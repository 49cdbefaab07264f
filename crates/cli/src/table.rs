//! Tables of evaluations for the terminal, by number of hops, with confidence intervals.

use std::fmt::Write as _;

use forage_training::record::{Evaluation, Interval};

/// Table of one evaluation.
pub fn of_one(evaluation: &Evaluation) -> String {
    let (n, n_failed) = evaluation.rows.first().map_or((0, 0), |row| (row.n, row.failed));
    let failed = match n_failed {
        0 => String::new(),
        n_failed => format!(" ({n_failed} failed and are in no mean)"),
    };
    let head = if n_failed > 0 { "  failed" } else { "" };
    let mut text = format!(
        "{} questions of {}, {}{failed}\n\n  hops      n   exact match            F1     searches  answered{head}\n",
        n + n_failed,
        evaluation.questions,
        evaluation.sampling,
    );
    for row in &evaluation.rows {
        write!(
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
        if n_failed > 0 {
            write!(text, "      {:>6}", row.failed).expect("writing to a string");
        }
        text.push('\n');
    }
    text
}

/// Table of the exact match before and after training.
pub fn before_after(before: &Evaluation, after: &Evaluation) -> String {
    let mut text = format!(
        "held-out exact match, {} (95 % intervals)\n\n  hops      n   before                 after                  change\n",
        after.sampling
    );
    // Where every question of a number of hops failed, one of the two has no row.
    for new in &after.rows {
        let Some(old) = before.rows.iter().find(|row| row.name == new.name) else { continue };
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
    let failed = [before, after].map(|one| one.rows.first().map_or(0, |row| row.failed));
    if failed != [0, 0] {
        writeln!(text, "\n  failed and in no mean: {} before, {} after", failed[0], failed[1])
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
    fn failed_questions_are_told() {
        let failing = |em, failed| {
            let mut evaluation = evaluation(em);
            evaluation.rows[0].failed = failed;
            evaluation
        };
        expect![[r"
            250 questions of test, greedy (10 failed and are in no mean)

              hops      n   exact match            F1     searches  answered  failed
              all     240   0.500 [0.450, 0.550]   0.000      0.00      0.00          10
        "]]
        .assert_eq(&of_one(&failing(0.5, 10)));
        let mut after = failing(0.9, 0);
        after.rows.push(EvaluationRow { name: "2".into(), ..EvaluationRow::default() });
        expect![[r"
            held-out exact match, greedy (95 % intervals)

              hops      n   before                 after                  change
              all     240   0.500 [0.450, 0.550]   0.900 [0.850, 0.950]   +0.400

              failed and in no mean: 10 before, 0 after
        "]]
        .assert_eq(&before_after(&failing(0.5, 10), &after));
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
