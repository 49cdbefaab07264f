//! `report.html` in a real browser: it reads well with the mouse and the keyboard, asks nobody for
//! anything, and takes no text for markup.
//!
//! Needs Chromium, found by `CHROME` or in `PATH`; without one the tests say so and pass.

use std::fs;
use std::path::Path;

use anyhow::Result;
use forage_tests::browser::{self, Browser};
use forage_tests::{HOSTILE, sample_run};

fn start() -> Result<Option<Browser>> {
    let path = browser::find();
    if path.is_none() {
        eprintln!("skipped: there is no Chromium in `PATH`, and `CHROME` does not name one");
    }
    path.map(|path| Browser::start(&path)).transpose()
}

/// Writes the report of a run and returns its address.
fn report(run: &Path) -> Result<String> {
    let path = forage_cli::report::write(run)?;
    Ok(format!("file://{}", path.canonicalize()?.display()))
}

/// The page ran without complaint, loaded nothing but itself, and ran nothing of the run's texts.
fn check_quiet(browser: &mut Browser, url: &str) -> Result<()> {
    let scripts = browser.evaluate(
        "[typeof window.hacked, document.scripts.length, document.images.length].join()",
    )?;
    assert_eq!(scripts, "undefined,2,0");
    assert_eq!(browser.complaints, [""; 0]);
    let asked: Vec<_> = browser.requests.iter().filter(|it| !it.starts_with(url)).collect();
    assert!(asked.is_empty(), "{asked:?}");
    Ok(())
}

#[test]
fn a_person_reads_a_run() -> Result<()> {
    let Some(mut browser) = start()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let run = folder.path().join("quickstart");
    fs::create_dir(&run)?;
    sample_run(&run)?;
    let url = report(&run)?;
    browser.open(&url)?;

    // What came of it.
    assert_eq!(browser.text("h1")?, "quickstart");
    assert!(browser.text("#run-facts")?.contains("tiny (1.2 M parameters)"));
    let headline = browser.text(".card")?;
    assert!(headline.contains("Exact match, greedy") && headline.contains('→'), "{headline}");
    assert_eq!(browser.evaluate("document.querySelectorAll('tbody tr.total').length")?, 2);
    let charts = browser.evaluate("document.querySelectorAll('svg.axes path.line').length")?;
    assert!(charts.as_u64() > Some(20), "{charts} lines");

    // From the list to a trajectory, another of its group, and a page it read.
    browser.click(".items a[href^='#t=120/train/']")?;
    browser
        .wait_for("document.querySelector('.content').innerText.includes('step 120 · train')")?;
    let question = browser.text(".content h3")?;
    assert!(browser.text(".items a[aria-current=true]")?.contains(&question[..20]));
    browser.click("#tab-2")?;
    browser.wait_for("document.querySelector('#tab-2').ariaSelected === 'true'")?;
    assert_eq!(browser.evaluate("location.hash.split('/').at(-1)")?, "2");
    assert!(browser.text(".score")?.contains("Advantage"));
    assert_eq!(browser.evaluate("document.querySelector('.hit .body').checkVisibility()")?, false);
    browser.click(".hit summary")?;
    browser.wait_for("document.querySelector('.hit').open")?;
    assert!(browser.text(".hit .body")?.contains("passage c"));

    // On by the button, and back by the keyboard.
    let place = browser.text(".where")?;
    browser.click("[data-move='1']")?;
    browser.wait_for(&format!("document.querySelector('.where').innerText !== {place:?}"))?;
    assert_ne!(browser.text(".content h3")?, question);
    browser.press("ArrowLeft")?;
    browser.wait_for(&format!("document.querySelector('.where').innerText === {place:?}"))?;
    assert_eq!(browser.text(".content h3")?, question);

    // Text that would like to be markup is found, and shown as it is.
    browser.click("input[type=search]")?;
    browser.type_text("window.hacked")?;
    browser.wait_for("document.querySelector('.filters output').innerText.includes(' of ')")?;
    browser.open(&format!("{url}#t=120/greedy/held-out-3/0"))?;
    browser.wait_for("document.querySelector('.content').innerText.includes('held-out-3')")?;
    let shown = browser.evaluate("document.querySelector('.content h3').textContent")?;
    assert!(shown.as_str().is_some_and(|it| it.ends_with(HOSTILE)), "{shown}");

    // A single value is read off a chart with the keyboard.
    browser.evaluate("document.querySelector('svg.axes').focus()")?;
    browser.press("ArrowRight")?;
    assert!(browser.text(".readout:not([hidden])")?.starts_with("Step 1\n"));

    browser.click("#theme")?;
    browser.wait_for("document.documentElement.dataset.theme === 'light'")?;
    browser.resize(360, 740)?;
    browser.wait_for("document.documentElement.scrollWidth <= 360")?;
    check_quiet(&mut browser, &url)
}

#[test]
fn a_run_that_has_written_nothing_has_a_page() -> Result<()> {
    let Some(mut browser) = start()? else { return Ok(()) };
    let run = tempfile::tempdir()?;
    let url = report(run.path())?;
    browser.open(&url)?;
    assert!(browser.text("#viewer")?.contains("no trajectories yet"));
    assert!(browser.text("#curves")?.contains("no metrics yet"));
    check_quiet(&mut browser, &url)
}

#[test]
fn a_person_reads_a_synthesis() -> Result<()> {
    let Some(mut browser) = start()? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let run = folder.path().join("made");
    fs::create_dir(&run)?;
    let row = |passed: f64| {
        serde_json::json!(
            {"items": 40, "correct": 0.75, "passed": passed, "average": 0.5, "searches": 2.5}
        )
    };
    let after = |rounds: u64, passed: f64| {
        serde_json::json!({
            "rounds": rounds, "all": row(passed), "agent_runs": 160 * (rounds + 1),
            "by_steps": {"2": row(passed), "3": row(passed / 2.0)},
        })
    };
    let made = serde_json::json!({
        "rounds": [after(0, 0.25), after(1, 0.5)],
        "reasons": [{"too easy": 20, "wrong": 10}, {}],
        "lost_runs": {}, "accepted": 2, "dropped": {}, "by_searches": {"2": 2},
        "usage": {"calls": 0, "prompt_tokens": 0, "completion_tokens": 0, "money": 0.0},
    });
    fs::write(run.join("report.json"), made.to_string())?;
    fs::write(run.join("journal.jsonl"), "")?;
    let question = serde_json::json!({
        "id": "sage-000000", "question": HOSTILE, "golden_answers": ["Rome"],
        "evidence": {"steps": [{"question": "Where?", "answer": "Rome"}]},
    });
    fs::write(run.join("train.jsonl"), format!("{question}\n"))?;
    let url = report(&run)?;
    browser.open(&url)?;

    assert_eq!(browser.text("h1")?, "made");
    let headline = browser.text(".card")?;
    assert!(headline.contains("25.0% →") && headline.contains("50.0%"), "{headline}");
    // Four measures by S and four by round.
    assert_eq!(browser.evaluate("document.querySelectorAll('figure.chart').length")?, 8);
    assert!(browser.text("#reasons")?.contains("too easy"));
    assert!(!browser.text("#reasons")?.contains("in round 1"));
    browser.click("#questions summary")?;
    browser.wait_for("document.querySelector('#questions details').open")?;
    assert!(browser.text("#questions summary")?.contains("window.hacked = 1"));

    // A chart over S moves its own kind only.
    browser.evaluate("document.querySelector('svg.axes').focus()")?;
    browser.press("ArrowRight")?;
    assert!(browser.text(".readout:not([hidden])")?.starts_with("S 2\n"));
    let cursors = "document.querySelectorAll('.cursor[visibility=visible]').length";
    assert_eq!(browser.evaluate(cursors)?, 4);
    browser.resize(360, 740)?;
    browser.wait_for("document.documentElement.scrollWidth <= 360")?;
    check_quiet(&mut browser, &url)
}
