//! Checks of a plugin against the contract of rewards: `forage reward check`.
//!
//! [`check_plugin`] makes a list of [`Check`]s on sample groups. It knows nothing of what the
//! reward measures, except that no trajectory earns more than the golden answer after ideal
//! searches.

mod samples;

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use forage_reward::{Plugin, PluginError, PluginErrorKind};
use forage_reward_sdk::{Grade, Group, Trajectory};
use serde_json::Value;

/// Size of the long trajectory, in bytes.
const HUGE: usize = 10_000_000;

/// Number of threads that score at once.
const THREADS: usize = 16;

/// Limits of the measurement of latency: time, and number of calls.
const MEASURED: (Duration, usize) = (Duration::from_secs(3), 500);

/// Result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckResult {
    /// Passed, with what was observed.
    Passed(String),
    /// Failed, with what is wrong.
    Failed(String),
    /// Not checked, with the reason.
    Skipped(String),
}

/// Check of a plugin: a line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Name of the property that is checked.
    pub name: &'static str,
    /// Result.
    pub result: CheckResult,
}

/// Options of a check.
#[derive(Debug, Clone, Copy)]
pub struct CheckOptions<'a> {
    /// Configuration of the reward.
    pub config: &'a Value,
    /// Maximum time for scoring one group.
    pub deadline: Duration,
    /// Whether grades must not depend on the order of the group.
    pub any_order: bool,
}

/// Name and function of a check of a loaded plugin; an error is what is wrong.
type Test<'a> = (&'static str, &'a dyn Fn() -> Result<CheckResult, String>);

/// Runs all checks. After a missed deadline, the others are skipped.
pub fn check_plugin(library: &Path, options: CheckOptions<'_>) -> Vec<Check> {
    let load = || {
        Plugin::load(library, options.config).map(|plugin| plugin.with_deadline(options.deadline))
    };
    let plugin = match load() {
        Ok(plugin) => plugin,
        Err(err) => {
            return vec![Check { name: "handshake", result: CheckResult::Failed(told(&err)) }];
        }
    };
    let handshake = format!("{} {}", plugin.name(), plugin.version());
    let mut checks = vec![Check { name: "handshake", result: CheckResult::Passed(handshake) }];
    let samples = samples::samples();
    let expected: Vec<Vec<Grade>> = match samples.iter().map(|it| plugin.score(it)).collect() {
        Ok(grades) => grades,
        Err(err) => {
            checks.push(Check { name: "samples", result: CheckResult::Failed(told(&err)) });
            return checks;
        }
    };
    let seen = format!("{} groups scored", samples.len());
    checks.push(Check { name: "samples", result: CheckResult::Passed(seen) });
    let given: Vec<(&Group, &[Grade])> =
        samples.iter().zip(&expected).map(|(group, grades)| (group, grades.as_slice())).collect();
    let tests: [Test<'_>; 9] = [
        ("golden answer", &|| golden(&given)),
        ("determinism", &|| determinism(&plugin, load, &given)),
        ("order", &|| order(&plugin, &given, options.any_order)),
        ("threads", &|| threads(&plugin, &given)),
        ("empty group", &|| empty(&plugin, &given)),
        ("single members", &|| single(&plugin, &given)),
        ("long trajectory", &|| long(&plugin)),
        ("unknown fields", &|| unknown_fields(&plugin, &given)),
        ("latency", &|| latency(&plugin)),
    ];
    let mut hangs = false;
    for (name, test) in tests {
        let result = if hangs {
            CheckResult::Skipped("it hangs".to_owned())
        } else {
            test().unwrap_or_else(CheckResult::Failed)
        };
        hangs |= matches!(&result, CheckResult::Failed(it) if it.contains(HANGS));
        checks.push(Check { name, result });
    }
    checks
}

/// Table of the checks.
pub fn table(checks: &[Check]) -> String {
    let mut text = String::from("  check            result   what was seen\n");
    for Check { name, result } in checks {
        let (result, what) = match result {
            CheckResult::Passed(what) => ("ok", what),
            CheckResult::Failed(what) => ("FAILED", what),
            CheckResult::Skipped(what) => ("skipped", what),
        };
        writeln!(text, "  {name:<15}  {result:<7}  {what}").expect("a string takes all text");
    }
    text
}

/// Beginning of the message about a missed deadline.
const HANGS: &str = "gave no answer within";

/// Error of a plugin in one line, without the path of its library.
fn told(err: &PluginError) -> String {
    let question = err.question().map(|id| format!("question `{id}`: ")).unwrap_or_default();
    let member = match err.kind() {
        PluginErrorKind::BrokeContract(_) => {
            err.member().map(|it| format!(", for member {it}")).unwrap_or_default()
        }
        _ => String::new(),
    };
    let causes = std::error::Error::source(err.kind());
    let cause = causes.map(|it| format!(": {it}")).unwrap_or_default();
    format!("{question}{}{member}{cause}", err.kind())
}

fn golden(given: &[(&Group, &[Grade])]) -> Result<CheckResult, String> {
    let mut applied = 0;
    for (group, grades) in given {
        let id = &group.question.id;
        let top = match &grades[0] {
            Grade::Scored(score) => score.reward,
            Grade::NotApplicable => continue,
            Grade::Failed(reason) => {
                return Err(format!("question `{id}`: the golden answer failed: {reason}"));
            }
        };
        applied += 1;
        for (it, grade) in group.trajectories.iter().zip(*grades) {
            if let Some(reward) = grade.reward().filter(|it| *it > top) {
                let wrong = describe(it);
                return Err(format!(
                    "question `{id}`: {wrong} earns {reward}, the golden answer {top}"
                ));
            }
        }
    }
    Ok(if applied == 0 {
        CheckResult::Skipped("it has no opinion of any of the samples".to_owned())
    } else {
        CheckResult::Passed(format!("nothing earns more, in {applied} of {} groups", given.len()))
    })
}

fn describe(it: &Trajectory) -> String {
    let answer = it.answer.as_ref().map_or("no answer".to_owned(), |it| format!("`{it}`"));
    let plural = if it.searches.len() == 1 { "search" } else { "searches" };
    format!("{answer} after {} {plural}", it.searches.len())
}

fn determinism(
    plugin: &Plugin,
    load: impl Fn() -> Result<Plugin, PluginError>,
    given: &[(&Group, &[Grade])],
) -> Result<CheckResult, String> {
    let another = load().map_err(|err| told(&err))?;
    for (asked, which) in
        [(plugin, "asked again"), (plugin, "asked again"), (&another, "made anew")]
    {
        for (group, expected) in given {
            same(&asked.score(group), expected, group, which)?;
        }
    }
    Ok(CheckResult::Passed("the same grades three times, and from a second instance".to_owned()))
}

fn order(
    plugin: &Plugin,
    given: &[(&Group, &[Grade])],
    claimed: bool,
) -> Result<CheckResult, String> {
    if !claimed {
        return Ok(CheckResult::Skipped("it is not claimed".to_owned()));
    }
    for (group, expected) in given {
        let mut turned = (*group).clone();
        turned.trajectories.reverse();
        let expected: Vec<Grade> = expected.iter().rev().cloned().collect();
        same(&plugin.score(&turned), &expected, group, "in reverse order")?;
        turned.trajectories.rotate_left(3);
        let mut rotated = expected;
        rotated.rotate_left(3);
        same(&plugin.score(&turned), &rotated, group, "in another order")?;
    }
    Ok(CheckResult::Passed("grades go with their trajectories".to_owned()))
}

fn threads(plugin: &Plugin, given: &[(&Group, &[Grade])]) -> Result<CheckResult, String> {
    const ROUNDS: usize = 4;
    let ask = || -> Result<(), String> {
        for _ in 0..ROUNDS {
            for (group, expected) in given {
                same(&plugin.score(group), expected, group, "from many threads")?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        let answers =
            threads.into_iter().map(|thread| thread.join().expect("asking does not panic"));
        answers.collect::<Result<Vec<()>, String>>()
    })?;
    Ok(CheckResult::Passed(format!("the same grades from {THREADS} threads at once")))
}

fn empty(plugin: &Plugin, given: &[(&Group, &[Grade])]) -> Result<CheckResult, String> {
    for (group, _) in given {
        let none = Group { trajectories: Vec::new(), ..(*group).clone() };
        same(&plugin.score(&none), &[], group, "without trajectories")?;
    }
    Ok(CheckResult::Passed("no trajectories, no grades".to_owned()))
}

fn single(plugin: &Plugin, given: &[(&Group, &[Grade])]) -> Result<CheckResult, String> {
    let mut n = 0;
    for (group, _) in given {
        for it in &group.trajectories {
            let one = Group { trajectories: vec![it.clone()], ..(*group).clone() };
            plugin.score(&one).map_err(|err| told(&err))?;
            n += 1;
        }
    }
    Ok(CheckResult::Passed(format!("{n} trajectories, each alone in its group")))
}

fn long(plugin: &Plugin) -> Result<CheckResult, String> {
    let group = samples::huge(HUGE);
    let began = Instant::now();
    plugin.score(&group).map_err(|err| told(&err))?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(CheckResult::Passed(format!("{} MB in {seconds:.2} s", HUGE / 1_000_000)))
}

fn unknown_fields(plugin: &Plugin, given: &[(&Group, &[Grade])]) -> Result<CheckResult, String> {
    for (group, expected) in given {
        same(&plugin.score_with_unknown_fields(group), expected, group, "with unknown fields")?;
    }
    Ok(CheckResult::Passed("what a newer Forage adds is ignored".to_owned()))
}

fn latency(plugin: &Plugin) -> Result<CheckResult, String> {
    let (limit, most) = MEASURED;
    let group = samples::large(16);
    let began = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || (times.len() < most && began.elapsed() < limit) {
        let asked = Instant::now();
        plugin.score(&group).map_err(|err| told(&err))?;
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    Ok(CheckResult::Passed(format!(
        "p50 {:.2} ms, p99 {:.2} ms for a group of 16 with {} KB, {} calls",
        at(0.5).as_secs_f64() * 1e3,
        at(0.99).as_secs_f64() * 1e3,
        group.to_bytes().len() / 1000,
        times.len(),
    )))
}

fn same(
    scored: &Result<Vec<Grade>, PluginError>,
    expected: &[Grade],
    group: &Group,
    which: &str,
) -> Result<(), String> {
    let id = &group.question.id;
    let scored = scored.as_ref().map_err(|err| format!("{which}: {}", told(err)))?;
    let differing = scored.iter().zip(expected).find(|(one, other)| one != other);
    match differing {
        Some((now, before)) => {
            Err(format!("question `{id}`, {which}: {now:?} instead of {before:?}"))
        }
        None if scored.len() != expected.len() => {
            Err(format!("question `{id}`, {which}: {} grades", scored.len()))
        }
        None => Ok(()),
    }
}
