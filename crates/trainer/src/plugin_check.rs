//! Holds a plugin to the contract of rewards, before a run does: `forage reward check`.
//!
//! [`check_plugin`] is a list of [`Check`]s. It knows nothing of what the reward pays for, but
//! that nothing earns more than the golden answer after the best searches there are.

mod samples;

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use forage_reward::{Plugin, PluginError, PluginErrorKind};
use forage_reward_sdk::{Grade, Group, Trajectory};
use serde_json::Value;

/// Bytes of the trajectory that is too long to be true.
const HUGE: usize = 10_000_000;

/// Threads that ask at once.
const THREADS: usize = 16;

/// How long latency is measured, and the most calls.
const MEASURED: (Duration, usize) = (Duration::from_secs(3), 500);

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The plugin does what it should; what was seen.
    Passed(String),
    /// It does not, and how.
    Failed(String),
    /// It was not tried, and why.
    Skipped(String),
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// What came of it.
    pub verdict: Verdict,
}

/// What a plugin is asked to keep.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    /// The reward's configuration.
    pub config: &'a Value,
    /// How long it may take for one group.
    pub deadline: Duration,
    /// Whether a grade does not depend on the order of the group.
    pub any_order: bool,
}

/// A check of a loaded plugin: what was seen, or what is wrong.
type Test<'a> = (&'static str, &'a dyn Fn() -> Result<Verdict, String>);

/// Runs all checks. A plugin that hangs is not asked again.
pub fn check_plugin(library: &Path, claims: Claims<'_>) -> Vec<Check> {
    let load = || Plugin::load(library, claims.config).map(|it| it.with_deadline(claims.deadline));
    let plugin = match load() {
        Ok(plugin) => plugin,
        Err(err) => return vec![Check { name: "handshake", verdict: Verdict::Failed(told(&err)) }],
    };
    let handshake = format!("{} {}", plugin.name(), plugin.version());
    let mut checks = vec![Check { name: "handshake", verdict: Verdict::Passed(handshake) }];
    let samples = samples::samples();
    let expected: Vec<Vec<Grade>> = match samples.iter().map(|it| plugin.score(it)).collect() {
        Ok(grades) => grades,
        Err(err) => {
            checks.push(Check { name: "samples", verdict: Verdict::Failed(told(&err)) });
            return checks;
        }
    };
    let seen = format!("{} groups scored", samples.len());
    checks.push(Check { name: "samples", verdict: Verdict::Passed(seen) });
    let given: Vec<(&Group, &[Grade])> =
        samples.iter().zip(&expected).map(|(group, grades)| (group, grades.as_slice())).collect();
    let tests: [Test<'_>; 9] = [
        ("golden answer", &|| golden(&given)),
        ("determinism", &|| determinism(&plugin, load, &given)),
        ("order", &|| order(&plugin, &given, claims.any_order)),
        ("threads", &|| threads(&plugin, &given)),
        ("empty group", &|| empty(&plugin, &given)),
        ("single members", &|| single(&plugin, &given)),
        ("long trajectory", &|| long(&plugin)),
        ("unknown fields", &|| unknown_fields(&plugin, &given)),
        ("latency", &|| latency(&plugin)),
    ];
    let mut hangs = false;
    for (name, test) in tests {
        let verdict = if hangs {
            Verdict::Skipped("it hangs".to_owned())
        } else {
            test().unwrap_or_else(Verdict::Failed)
        };
        hangs |= matches!(&verdict, Verdict::Failed(it) if it.contains(HANGS));
        checks.push(Check { name, verdict });
    }
    checks
}

/// The checks as a table.
pub fn table(checks: &[Check]) -> String {
    let mut text = String::from("  check            result   what was seen\n");
    for Check { name, verdict } in checks {
        let (result, what) = match verdict {
            Verdict::Passed(what) => ("ok", what),
            Verdict::Failed(what) => ("FAILED", what),
            Verdict::Skipped(what) => ("skipped", what),
        };
        writeln!(text, "  {name:<15}  {result:<7}  {what}").expect("a string takes all text");
    }
    text
}

/// Begins what is said of a plugin that hangs.
const HANGS: &str = "gave no answer within";

/// An error in one line. The file is the same for all.
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

fn golden(given: &[(&Group, &[Grade])]) -> Result<Verdict, String> {
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
        Verdict::Skipped("it has no opinion of any of the samples".to_owned())
    } else {
        Verdict::Passed(format!("nothing earns more, in {applied} of {} groups", given.len()))
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
) -> Result<Verdict, String> {
    let another = load().map_err(|err| told(&err))?;
    for (asked, which) in
        [(plugin, "asked again"), (plugin, "asked again"), (&another, "made anew")]
    {
        for (group, expected) in given {
            same(&asked.score(group), expected, group, which)?;
        }
    }
    Ok(Verdict::Passed("the same grades three times, and from a second instance".to_owned()))
}

fn order(plugin: &Plugin, given: &[(&Group, &[Grade])], claimed: bool) -> Result<Verdict, String> {
    if !claimed {
        return Ok(Verdict::Skipped("it is not claimed".to_owned()));
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
    Ok(Verdict::Passed("grades go with their trajectories".to_owned()))
}

fn threads(plugin: &Plugin, given: &[(&Group, &[Grade])]) -> Result<Verdict, String> {
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
        let answers = threads.into_iter().map(|it| it.join().expect("asking does not panic"));
        answers.collect::<Result<Vec<()>, String>>()
    })?;
    Ok(Verdict::Passed(format!("the same grades from {THREADS} threads at once")))
}

fn empty(plugin: &Plugin, given: &[(&Group, &[Grade])]) -> Result<Verdict, String> {
    for (group, _) in given {
        let none = Group { trajectories: Vec::new(), ..(*group).clone() };
        same(&plugin.score(&none), &[], group, "without trajectories")?;
    }
    Ok(Verdict::Passed("no trajectories, no grades".to_owned()))
}

fn single(plugin: &Plugin, given: &[(&Group, &[Grade])]) -> Result<Verdict, String> {
    let mut n = 0;
    for (group, _) in given {
        for it in &group.trajectories {
            let one = Group { trajectories: vec![it.clone()], ..(*group).clone() };
            plugin.score(&one).map_err(|err| told(&err))?;
            n += 1;
        }
    }
    Ok(Verdict::Passed(format!("{n} trajectories, each alone in its group")))
}

fn long(plugin: &Plugin) -> Result<Verdict, String> {
    let group = samples::huge(HUGE);
    let began = Instant::now();
    plugin.score(&group).map_err(|err| told(&err))?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Verdict::Passed(format!("{} MB in {seconds:.2} s", HUGE / 1_000_000)))
}

fn unknown_fields(plugin: &Plugin, given: &[(&Group, &[Grade])]) -> Result<Verdict, String> {
    for (group, expected) in given {
        same(&plugin.score_with_unknown_fields(group), expected, group, "with unknown fields")?;
    }
    Ok(Verdict::Passed("what a newer trainer adds is ignored".to_owned()))
}

fn latency(plugin: &Plugin) -> Result<Verdict, String> {
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
    Ok(Verdict::Passed(format!(
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
