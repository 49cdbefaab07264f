//! Programs that answer, in Python and in shell, and programs that do not.

use super::*;

fn group(n: usize) -> Group<'static> {
    let played = |member| Trajectory { member, ..Trajectory::default().search("x", []) };
    let answers = ["It is Paris.", "Lyon"];
    Group {
        question: Question::new("capital of France?", ["Paris"]),
        trajectories: (0..n).map(|it| played(it).answer(answers[it % 2])).collect(),
        step: None,
    }
}

fn process(command: &[&str], workers: usize, timeout_s: f64) -> Process {
    let command = command.iter().map(|&it| it.to_owned()).collect();
    Process::new(Config { command, workers, timeout_s }).unwrap()
}

fn rewards(process: &Process, n: usize) -> Vec<Option<f64>> {
    process.score_group(&group(n)).unwrap().iter().map(Grade::reward).collect()
}

#[test]
fn a_reward_in_python() {
    if let Err(err) = std::process::Command::new("python3").arg("--version").output() {
        eprintln!("SKIPPED: the example in Python was not tried: `python3`: {err}");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/reward.py");
    let process = process(&["python3", script], 2, 60.0);
    for n in [2, 0, 1] {
        let expected = [Some(0.4), Some(-0.1)];
        assert_eq!(rewards(&process, n), expected[..n]);
    }
    let Grade::Scored(score) = &process.score_group(&group(1)).unwrap()[0] else { panic!() };
    assert!((score.parts["toll"] - 0.1).abs() < 1e-9, "{score:?}");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(rewards(&process, 2), [Some(0.4), Some(-0.1)]));
        }
    });
}

#[test]
fn programs_that_fail_say_why() {
    for (script, message) in [
        ("exit 3", "ended without an answer (exit status: 3)"),
        ("echo 'no module named x' >&2; exit 1", "it said: no module named x"),
        ("printf '\\377 is gone\\n' >&2; exit 1", "it said: \u{fffd} is gone"),
        ("sleep 60", "gave no answer within 0.5 s"),
        ("read line; printf 'ab\\377\\n'; sleep 60", "not UTF-8, at byte 2 of a line: `ab\\xff`"),
        ("read line; exec >&-; sleep 60", "closed its standard output without an answer"),
        ("read line; echo hello", "the reply is no list in JSON"),
        ("read line; echo '[true]'", "element 0 of the reply is neither"),
        ("read line; echo '[NaN]'", "the reply has `NaN`, which is no finite number"),
        ("read line; echo '[1, 0]'", "the reply is a list of 2 for 1 trajectories"),
    ] {
        let process = process(&["sh", "-c", script], 1, 0.5);
        // Asked twice: a failure must not keep the only worker.
        for _ in 0..2 {
            let err = process.score_group(&group(1)).unwrap_err();
            assert_eq!(err, RewardError::broken(err.to_string()), "`{script}`");
            assert!(err.to_string().contains(message), "`{script}`: {err}");
        }
    }
}

#[test]
fn a_program_that_is_not_there_is_found_before_it_is_needed() {
    for (program, message) in [
        ("no-such-program", "`command`: the program `no-such-program` is in none of the folders"),
        ("./no/such/program", "`command`: the program `./no/such/program` is not a file"),
    ] {
        let config = Config { command: vec![program.to_owned()], workers: 1, timeout_s: 1.0 };
        let err = Process::new(config).unwrap_err();
        assert!(err.to_string().starts_with(message), "{err}");
    }
}

#[test]
fn a_line_too_many_is_not_the_next_reply() {
    let script = "while read -r line; do echo '[1]'; echo '[0]'; done";
    let process = process(&["sh", "-c", script], 1, 60.0);
    assert_eq!(rewards(&process, 1), [Some(1.0)]);
    // The second line may come a moment after the first.
    std::thread::sleep(Duration::from_millis(200));
    let err = process.score_group(&group(1)).unwrap_err();
    assert!(err.to_string().contains("a line that is no reply to a group: `[0]`"), "{err}");
    assert_eq!(rewards(&process, 1), [Some(1.0)], "it is started again");
}

#[test]
fn a_question_larger_than_a_pipe_arrives() {
    let mut large = group(1);
    large.trajectories[0].segments[0].text = "x".repeat(1 << 22).into();
    let process = process(&["sh", "-c", "while read -r line; do echo '[1]'; done"], 1, 60.0);
    let grades = process.score_group(&large).unwrap();
    assert_eq!(grades[0].reward(), Some(1.0));
    let alone = process.score(&large.question, &large.trajectories[0]).unwrap();
    assert_eq!(alone.reward(), Some(1.0));
}

#[test]
fn configurations_are_checked() {
    let command = vec!["true".to_owned()];
    for (command, workers, timeout_s, message) in [
        (vec![], 1, 1.0, "`command` is empty: it names a program"),
        (command.clone(), 0, 1.0, "`workers` is 0"),
        (command.clone(), 1, 0.0, "`timeout_s` must be a time above 0"),
        (command, 1, f64::NAN, "`timeout_s` must be a time above 0"),
    ] {
        let err = Process::new(Config { command, workers, timeout_s }).unwrap_err();
        assert_eq!(err.to_string(), message);
    }
}
