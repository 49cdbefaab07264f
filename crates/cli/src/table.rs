//! Tables of evaluations for the terminal, by number of hops, with confidence intervals.

use std::fmt::Write as _;

use forage_training::record::{Evaluation, EvaluationRow, Interval};

/// Table of one evaluation.
pub fn of_one(evaluation: &Evaluation) -> String {
    let all = evaluation.rows.first().cloned().unwrap_or_default();
    let (n_failed, n_too_long) = (all.failed, all.prompt_too_long);
    let mut head = if n_failed > 0 { "  failed" } else { "" }.to_owned();
    if n_too_long > 0 {
        head += "  prompt too long";
    }
    let mut text = format!(
        "{} questions of {}, {}{}\n\n  hops      n   exact match            F1     searches  answered{head}\n",
        all.n + n_failed + n_too_long,
        evaluation.questions,
        evaluation.sampling,
        in_no_mean(&all),
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
        if n_too_long > 0 {
            let gap = if n_failed > 0 { "  " } else { "      " };
            write!(text, "{gap}{:>15}", row.prompt_too_long).expect("writing to a string");
        }
        text.push('\n');
    }
    text
}

/// Numbers of questions that are in no mean, in brackets; empty where there are none.
fn in_no_mean(row: &EvaluationRow) -> String {
    let counts = [(row.failed, "failed"), (row.prompt_too_long, "have a prompt that is too long")];
    let told: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if told.is_empty() {
        return String::new();
    }
    format!(" ({} and are in no mean)", told.join(", "))
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
        // Other questions would be compared with each other.
        let change = if old.n == new.n {
            format!("{:+.3}", new.em.mean - old.em.mean)
        } else {
            format!("of {} and {} questions", old.n, new.n)
        };
        writeln!(
            text,
            "  {:<5} {:>5}   {}   {}   {change}",
            new.name,
            new.n,
            with_interval(&old.em),
            with_interval(&new.em),
        )
        .expect("writing to a string");
    }
    let failed = [before, after].map(|one| one.rows.first().map_or(0, |row| row.failed));
    if failed != [0, 0] {
        writeln!(text, "\n  failed and in no mean: {} before, {} after", failed[0], failed[1])
            .expect("writing to a string");
    }
    let too_long = after.rows.first().map_or(0, |row| row.prompt_too_long);
    if too_long > 0 {
        writeln!(text, "\n  with a prompt that is too long and in no mean: {too_long}")
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
    fn means_over_other_questions_are_not_subtracted() {
        let mut after = evaluation(0.9);
        after.rows[0].n = 230;
        let told = before_after(&evaluation(0.5), &after);
        assert!(told.contains("of 240 and 230 questions") && !told.contains("+0.400"), "{told}");
    }

    #[test]
    fn prompts_that_are_too_long_are_told() {
        let mut evaluation = evaluation(0.5);
        evaluation.rows[0].prompt_too_long = 3;
        expect![[r"
            243 questions of test, greedy (3 have a prompt that is too long and are in no mean)

              hops      n   exact match            F1     searches  answered  prompt too long
              all     240   0.500 [0.450, 0.550]   0.000      0.00      0.00                    3
        "]]
        .assert_eq(&of_one(&evaluation));
        let told = before_after(&evaluation, &evaluation);
        assert!(told.ends_with("\n  with a prompt that is too long and in no mean: 3\n"), "{told}");
        evaluation.rows[0].failed = 2;
        let told = of_one(&evaluation);
        let counts = "(2 failed, 3 have a prompt that is too long and are in no mean)";
        assert!(told.contains(counts), "{told}");
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
