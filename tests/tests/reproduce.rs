//! Designs of experiments: every one runs, with two seeds of two tiny steps, and makes its pages.

use std::process::Command;

use forage_tests::{Scratch, forage};

/// Folder of the designs.
const CLAIMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../benchmarks/claims");

/// `python3`, which runs the designs; none where it is not installed, which is said.
fn python() -> Option<Command> {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no `python3`, which runs the designs");
        return None;
    }
    Some(Command::new("python3"))
}

#[test]
fn verdicts_follow_from_the_numbers() {
    let Some(mut command) = python() else { return };
    let ended = command.args(["-m", "unittest", "discover", CLAIMS]).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn every_design_runs_from_the_shipped_agent() {
    if python().is_none() {
        return;
    }
    let scratch = Scratch::new();
    let designs = std::fs::read_dir(CLAIMS).unwrap().map(|entry| entry.unwrap().path());
    let designs: Vec<_> = designs.filter(|path| path.join("design.toml").is_file()).collect();
    assert!(!designs.is_empty());
    for design in designs {
        let name = design.file_name().unwrap().to_str().unwrap();
        let out = scratch.path(name);
        let run = |more: &[&str]| {
            let mut command = python().unwrap();
            command.arg(format!("{CLAIMS}/run.py")).args([name, "--smoke", "--seeds", "2"]);
            command.args(more).arg("--out").arg(&out).arg("--forage").arg(forage());
            let ended = command.output().unwrap();
            let text = String::from_utf8_lossy(&ended.stdout).into_owned();
            assert!(ended.status.success(), "{text}{}", String::from_utf8_lossy(&ended.stderr));
            text
        };
        let told = run(&["--jobs", "2"]);
        assert!(told.contains(" runs, 0 of them finished"), "{told}");
        let page = std::fs::read_to_string(out.join(format!("{name}.md"))).unwrap();
        for part in ["**Verdict: illustration, not evidence.**", "Budget a run", "Gate, "] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(page.contains("| primary |") || page.contains("| difference |"), "{page}");
        let curves = std::fs::read_to_string(out.join(format!("{name}.html"))).unwrap();
        assert!(curves.contains("<polyline") && curves.ends_with("</html>\n"));
        // Again, there is nothing left to do, and the page is the same.
        let again = run(&[]);
        assert!(!again.contains("min left"), "{again}");
        assert_eq!(std::fs::read_to_string(out.join(format!("{name}.md"))).unwrap(), page);
    }
}
